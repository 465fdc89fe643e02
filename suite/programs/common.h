/* What every program of the suite shares: arguments, random numbers, checked contents,
 * threads.
 *
 * A program does a fixed amount of work, whatever the time: `PROGRAM [THREADS [PERCENT]]`,
 * two threads and 100 % by default. It takes random numbers from seeds, so that every
 * allocator serves the same requests. It checks what is in its chunks before it frees
 * them; a wrong byte ends it with status 1, memory that is refused with status 3. What it
 * prints at the end depends on the work alone, so that two runs can be compared.
 *
 * One program is one file, and what is here is `static`, so that each is built by
 * `cc -O2 -pthread PROGRAM.c -lm` and nothing else. */
#ifndef SUITE_COMMON_H
#define SUITE_COMMON_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define UNUSED __attribute__((unused))

/* ---- arguments ---- */

static int threads = 2;     /* at least 1 */
static int percent = 100;   /* of the full work */

/* Reads THREADS and PERCENT, or prints what the program is. */
static void arguments(int argc, char **argv, const char *about) {
    if (argc > 3 || (argc > 1 && argv[1][0] == '-')) {
        printf("%s\n\nusage: %s [THREADS [PERCENT]]   (default 2 and 100)\n", about, argv[0]);
        exit(argc > 1 && strcmp(argv[1], "--help") == 0 ? 0 : 2);
    }
    if (argc > 1) threads = atoi(argv[1]);
    if (argc > 2) percent = atoi(argv[2]);
    if (threads < 1 || threads > 256 || percent < 1 || percent > 10000) {
        fprintf(stderr, "%s: THREADS is 1 to 256 and PERCENT 1 to 10000\n", argv[0]);
        exit(2);
    }
}

/* `full` operations, scaled by PERCENT; at least 1. */
UNUSED static long work(long full) {
    long scaled = (long)((double)full * percent / 100.0);
    return scaled > 0 ? scaled : 1;
}

/* ---- random numbers: xorshift64* (Vigna 2016) ---- */

struct random { uint64_t state; };

UNUSED static struct random random_from(uint64_t seed) {
    struct random r = { (seed + 1) * 0x9E3779B97F4A7C15u };
    return r;
}

UNUSED static inline uint64_t random_next(struct random *r) {
    uint64_t x = r->state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    r->state = x;
    return x * 0x2545F4914F6CDD1Du;
}

/* From `low` to `high`, both included. */
UNUSED static inline size_t random_between(struct random *r, size_t low, size_t high) {
    uint64_t spread = high - low + 1;
    return low + (size_t)(((random_next(r) >> 32) * spread) >> 32);
}

/* ---- memory, and what is in it ---- */

UNUSED static inline void *must(void *chunk) {
    if (!chunk) {
        fprintf(stderr, "memory was refused\n");
        exit(3);
    }
    return chunk;
}

UNUSED static inline void wrong(const void *chunk, size_t bytes) {
    fprintf(stderr, "wrong contents in the chunk of %zu bytes at %p\n", bytes, chunk);
    _exit(1);
}

/* A stamp follows from where a chunk is and how long, so that a chunk that is given out
 * twice, or written to by a neighbour, does not pass. It stands in the first word and in
 * the last byte; the middle is not touched. */
static inline uint64_t stamp_of(const void *chunk, size_t bytes) {
    return ((uint64_t)(uintptr_t)chunk ^ (bytes << 48)) * 0x9E3779B97F4A7C15u;
}

UNUSED static inline void stamp(void *chunk, size_t bytes) {
    uint64_t word = stamp_of(chunk, bytes);
    if (bytes >= 8) {
        memcpy(chunk, &word, 8);
        if (bytes > 8) ((unsigned char *)chunk)[bytes - 1] = (unsigned char)(word >> 56);
    } else if (bytes) {
        *(unsigned char *)chunk = (unsigned char)(word >> 56);
    }
}

UNUSED static inline void check(const void *chunk, size_t bytes) {
    uint64_t word = stamp_of(chunk, bytes);
    if (bytes >= 8) {
        if (memcmp(chunk, &word, 8) != 0) wrong(chunk, bytes);
        if (bytes > 8 && ((const unsigned char *)chunk)[bytes - 1] != (unsigned char)(word >> 56))
            wrong(chunk, bytes);
    } else if (bytes && *(const unsigned char *)chunk != (unsigned char)(word >> 56)) {
        wrong(chunk, bytes);
    }
}

/* The whole of a chunk, every byte the same one. */
UNUSED static inline void paint(void *chunk, size_t bytes) {
    memset(chunk, (int)(stamp_of(chunk, bytes) >> 56), bytes);
}

UNUSED static inline void check_paint(const void *chunk, size_t bytes) {
    const unsigned char *byte = (const unsigned char *)chunk;
    unsigned char colour = (unsigned char)(stamp_of(chunk, bytes) >> 56);
    if (bytes && (byte[0] != colour || memcmp(byte, byte + 1, bytes - 1) != 0)) wrong(chunk, bytes);
}

/* ---- threads ---- */

/* What a thread is told: which one it is, counted from 0. */
typedef void *(*thread_main)(void *);

UNUSED static pthread_t start(thread_main body, void *argument) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, body, argument) != 0) {
        fprintf(stderr, "a thread was refused\n");
        exit(3);
    }
    return thread;
}

/* `count` threads that run `body(0)`, `body(1)`, …; returns when all have ended. */
UNUSED static void run_threads(int count, thread_main body) {
    pthread_t running[256];
    for (int i = 0; i < count; i++) running[i] = start(body, (void *)(intptr_t)i);
    for (int i = 0; i < count; i++) pthread_join(running[i], NULL);
}

#endif
