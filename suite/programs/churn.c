/* Threads that replace random small chunks among a hundred, as fast as they can.
 *
 * Sizes from 4 to 32 768 bytes, half as often each time they double, as in malloc-thread
 * of glibc's benchtests: the working set is small, and what is measured is the shortest
 * way through malloc and free beside other threads that do the same. */
#include "common.h"

#define HELD 1024
#define REPLACES 20000000

static uint64_t bytes_asked[256];

struct slot { void *chunk; size_t bytes; };

static void *replace(void *argument) {
    int mine = (int)(intptr_t)argument;
    struct random r = random_from(mine);
    static const int SIZES = 4096;
    uint16_t *sizes = (uint16_t *)must(malloc(SIZES * sizeof *sizes));
    for (int i = 0; i < SIZES; i++) {
        int doubled = __builtin_ctzll(random_next(&r) >> 32 | 1u << 12);
        sizes[i] = (uint16_t)random_between(&r, 4u << doubled, (8u << doubled) - 1);
    }
    struct slot *held = (struct slot *)must(calloc(HELD, sizeof *held));
    uint64_t asked = 0;
    for (long i = 0; i < work(REPLACES); i++) {
        uint64_t draw = random_next(&r);
        struct slot *slot = &held[draw >> 54];
        if (slot->chunk) {
            check(slot->chunk, slot->bytes);
            free(slot->chunk);
        }
        slot->bytes = sizes[draw >> 20 & (SIZES - 1)];
        slot->chunk = must(malloc(slot->bytes));
        stamp(slot->chunk, slot->bytes);
        asked += slot->bytes;
    }
    for (int i = 0; i < HELD; i++) {
        if (!held[i].chunk) continue;
        check(held[i].chunk, held[i].bytes);
        free(held[i].chunk);
    }
    free(held);
    free(sizes);
    bytes_asked[mine] = asked;
    return NULL;
}

int main(int argc, char **argv) {
    arguments(argc, argv, "Random replaces in a small working set, each thread its own.");
    run_threads(threads, replace);
    uint64_t sum = 0;
    for (int t = 0; t < threads; t++) sum += bytes_asked[t];
    printf("%ld replaces, %llu bytes\n", threads * work(REPLACES), (unsigned long long)sum);
    return 0;
}
