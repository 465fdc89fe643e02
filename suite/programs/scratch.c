/* False sharing: do chunks of two threads share a cache line?
 *
 * Active: each thread allocates a small chunk, writes to it many times, frees it, and
 * begins again. An allocator that gives neighbours to two threads makes their
 * processors fight for one line. Passive (scratch_passive.c): the first chunk of every
 * thread comes from the main thread, side by side with the others'. Whoever gives a freed
 * chunk back to the thread that freed it keeps the lines shared for ever.
 *
 * The patterns are those of cache-thrash and cache-scratch by Berger, of the Hoard
 * allocator (2000). */
#include "common.h"

#ifndef PASSIVE
#define PASSIVE 0
#endif

#define ROUNDS 700000
#define WRITES 1500
#define BYTES 8

static unsigned char *given[256];

static void *scratch(void *argument) {
    int mine = (int)(intptr_t)argument;
    if (PASSIVE) {
        check(given[mine], BYTES);
        free(given[mine]);
    }
    for (long round = 0; round < work(ROUNDS); round++) {
        volatile unsigned char *chunk = (volatile unsigned char *)must(malloc(BYTES));
        for (int i = 0; i < BYTES; i++) chunk[i] = 0;
        for (int write = 0; write < WRITES; write++) chunk[write % BYTES]++;
        for (int i = 0; i < BYTES; i++)
            if (chunk[i] != (unsigned char)((WRITES + BYTES - 1 - i) / BYTES))
                wrong((void *)chunk, BYTES);
        free((void *)chunk);
    }
    return NULL;
}

int main(int argc, char **argv) {
    arguments(argc, argv, "Small chunks that each thread writes to again and again.");
    if (PASSIVE) {
        for (int t = 0; t < threads; t++) {
            given[t] = (unsigned char *)must(malloc(BYTES));
            stamp(given[t], BYTES);
        }
    }
    run_threads(threads, scratch);
    printf("%ld chunks written %d times\n", threads * work(ROUNDS), WRITES);
    return 0;
}
