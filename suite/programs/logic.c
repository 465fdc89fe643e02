/* Minimising logic functions: covers of cubes as bit vectors, in lists that grow and shrink.
 *
 * A cube is a small chunk of bits, a cover an array of cubes that is reallocated as it grows.
 * The program takes random covers, merges and drops cubes until nothing changes, and
 * complements them by splitting on a variable, recursively: a tree of temporary covers of
 * all sizes. One thread.
 *
 * The pattern is that of espresso, which allocator studies have used since Zorn and
 * Grunwald (1992). */
#include "common.h"

#define VARIABLES 24
#define FUNCTIONS 60
#define CUBES 34

/* Two bits a variable: 01 means it must be 0, 10 must be 1, 11 either. */
struct cube { uint64_t bits; int literals; int weight; };
struct cover { int count, room; struct cube **cubes; };

static const uint64_t ALL = ((uint64_t)1 << 2 * VARIABLES) - 1;

static struct cube *cube_new(uint64_t bits) {
    size_t more = (size_t)__builtin_popcountll(bits) / 16 * 8;   /* cubes of several sizes */
    struct cube *cube = (struct cube *)must(malloc(sizeof *cube + more));
    cube->bits = bits;
    cube->literals = 2 * VARIABLES - __builtin_popcountll(bits);
    cube->weight = 1;
    return cube;
}

static struct cover *cover_new(void) {
    struct cover *cover = (struct cover *)must(malloc(sizeof *cover));
    cover->count = 0;
    cover->room = 4;
    cover->cubes = (struct cube **)must(malloc(cover->room * sizeof(struct cube *)));
    return cover;
}

static void cover_add(struct cover *cover, struct cube *cube) {
    if (cover->count == cover->room) {
        cover->room += cover->room / 2 + 1;
        cover->cubes = (struct cube **)must(
            realloc(cover->cubes, cover->room * sizeof(struct cube *)));
    }
    cover->cubes[cover->count++] = cube;
}

static void cover_drop(struct cover *cover, int at) {
    free(cover->cubes[at]);
    cover->cubes[at] = cover->cubes[--cover->count];
}

static void cover_free(struct cover *cover) {
    for (int i = 0; i < cover->count; i++) free(cover->cubes[i]);
    free(cover->cubes);
    free(cover);
}

/* A cube is empty where a variable may be neither 0 nor 1. */
static bool empty(uint64_t bits) {
    const uint64_t low = ALL / 3;
    return ((bits | bits >> 1) & low) != low;
}

/* Drops cubes that lie within another one, and merges those that differ in one variable. */
static void tidy(struct cover *cover) {
    for (bool again = true; again;) {
        again = false;
        for (int i = 0; i < cover->count; i++) {
            for (int j = cover->count; j-- > i + 1;) {
                uint64_t a = cover->cubes[i]->bits, b = cover->cubes[j]->bits;
                if ((a & b) == b) {
                    cover_drop(cover, j);
                } else if ((a & b) == a) {
                    struct cube *larger = cover->cubes[j];
                    cover->cubes[j] = cover->cubes[i];
                    cover->cubes[i] = larger;
                    cover_drop(cover, j);
                    again = true;
                } else {
                    uint64_t differ = a ^ b;
                    int at = __builtin_ctzll(differ) & ~1;
                    if (differ >> at >> 2) continue;
                    struct cube *merged = cube_new(a | b);
                    merged->weight = cover->cubes[i]->weight + cover->cubes[j]->weight;
                    cover_drop(cover, j);
                    free(cover->cubes[i]);
                    cover->cubes[i] = merged;
                    again = true;
                }
            }
        }
    }
}

/* The cubes of a cover where a variable has a value, free of that variable. */
static struct cover *half(const struct cover *cover, int variable, uint64_t value) {
    struct cover *out = cover_new();
    uint64_t mask = (uint64_t)3 << 2 * variable;
    for (int i = 0; i < cover->count; i++) {
        uint64_t bits = cover->cubes[i]->bits;
        if (bits & value << 2 * variable) cover_add(out, cube_new(bits | mask));
    }
    return out;
}

/* The variable that most cubes speak of. */
static int busiest(const struct cover *cover) {
    int best = 0, most = -1;
    for (int v = 0; v < VARIABLES; v++) {
        int speak = 0;
        for (int i = 0; i < cover->count; i++) speak += (cover->cubes[i]->bits >> 2 * v & 3) != 3;
        if (speak > most) {
            most = speak;
            best = v;
        }
    }
    return best;
}

static struct cover *complement(const struct cover *cover) {
    struct cover *out = cover_new();
    if (cover->count == 0) {
        cover_add(out, cube_new(ALL));
        return out;
    }
    for (int i = 0; i < cover->count; i++)
        if (cover->cubes[i]->bits == ALL) return out;
    int variable = busiest(cover);
    for (uint64_t value = 1; value <= 2; value++) {
        struct cover *part = half(cover, variable, value), *rest = complement(part);
        for (int i = 0; i < rest->count; i++) {
            uint64_t bits = rest->cubes[i]->bits & ~((uint64_t)(3 - value) << 2 * variable);
            cover_add(out, cube_new(bits));
        }
        cover_free(part);
        cover_free(rest);
    }
    if (out->count < 200) tidy(out);
    return out;
}

int main(int argc, char **argv) {
    arguments(argc, argv, "Minimises and complements random logic functions; one thread.");
    struct random r = random_from(2);
    uint64_t sum = 0;
    long cubes = 0;
    for (long f = 0; f < work(FUNCTIONS); f++) {
        struct cover *cover = cover_new();
        for (int i = 0; i < CUBES; i++) {
            uint64_t bits = ALL;
            for (int v = 0; v < 5; v++) {
                int variable = (int)random_between(&r, 0, VARIABLES - 1);
                bits &= ~((uint64_t)random_between(&r, 1, 2) << 2 * variable);
            }
            if (!empty(bits)) cover_add(cover, cube_new(bits));
        }
        tidy(cover);
        struct cover *outside = complement(cover);
        /* No cube of the complement may meet one of the function. */
        for (int i = 0; i < outside->count; i++) {
            sum += outside->cubes[i]->bits * (uint64_t)outside->cubes[i]->literals;
            for (int j = 0; j < cover->count; j++)
                if (!empty(outside->cubes[i]->bits & cover->cubes[j]->bits)) wrong(cover, 0);
        }
        cubes += outside->count;
        cover_free(outside);
        cover_free(cover);
    }
    printf("%ld cubes outside, sum %llu\n", cubes, (unsigned long long)sum);
    return 0;
}
