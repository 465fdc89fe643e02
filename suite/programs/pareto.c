/* Random replaces among many live chunks, with sizes that follow a Pareto law.
 *
 * Each thread holds 60 000 chunks. Sizes begin at 16 bytes; half of them stay below 40,
 * one in a hundred is above 2000, the largest are 256 KiB. Thread and chunks stay
 * together, so this measures plain malloc and free without any passing between threads.
 *
 * The pattern is that of the alloc-test benchmark of node.cpp: sizes and lifetimes as in
 * programs, not of one size in one order. */
#include "common.h"
#include <math.h>

#define HELD 60000
#define REPLACES 8000000
#define SIZES 65536
#define LARGEST 262144

static uint32_t sizes[SIZES];   /* drawn beforehand, so that nobody measures `pow` */
static uint64_t bytes_held[256];

struct slot { void *chunk; size_t bytes; };

static void fill(struct slot *slot, struct random *r) {
    slot->bytes = sizes[random_next(r) >> 48];
    slot->chunk = must(malloc(slot->bytes));
    stamp(slot->chunk, slot->bytes);
}

static void empty(struct slot *slot) {
    check(slot->chunk, slot->bytes);
    free(slot->chunk);
}

static void *replace(void *argument) {
    int mine = (int)(intptr_t)argument;
    struct random r = random_from(mine);
    struct slot *held = (struct slot *)must(calloc(HELD, sizeof *held));
    for (long i = 0; i < work(REPLACES); i++) {
        struct slot *slot = &held[random_between(&r, 0, HELD - 1)];
        if (slot->chunk) empty(slot);
        fill(slot, &r);
    }
    for (long i = 0; i < HELD; i++) {
        if (!held[i].chunk) continue;
        bytes_held[mine] += held[i].bytes;
        empty(&held[i]);
    }
    free(held);
    return NULL;
}

int main(int argc, char **argv) {
    arguments(argc, argv, "Random replaces with sizes of a Pareto law; each thread its own.");
    struct random r = random_from(11);
    for (int i = 0; i < SIZES; i++) {
        double unit = ((double)(random_next(&r) >> 11) + 1.0) / 9007199254740993.0;
        double bytes = 16.0 * pow(unit, -1.0 / 1.1);
        sizes[i] = bytes < LARGEST ? (uint32_t)bytes : LARGEST;
    }
    run_threads(threads, replace);
    uint64_t sum = 0;
    for (int t = 0; t < threads; t++) sum += bytes_held[t];
    printf("%ld replaces, %llu bytes held\n", threads * work(REPLACES), (unsigned long long)sum);
    return 0;
}
