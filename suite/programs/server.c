/* A server under churn: every connection is handled by a thread that frees what others
 * have allocated.
 *
 * Each of THREADS workers holds 5000 chunks of 8 to 1000 bytes and replaces random ones.
 * After a while the worker ends, and a new thread takes over all that it held. So every
 * chunk outlives the thread that asked for it, and is freed by another one.
 *
 * The pattern is that of Larson and Krishnan, "Memory allocation for long-running server
 * applications" (ISMM 1998). */
#include "common.h"

#ifndef SMALLEST
#define SMALLEST 8
#define LARGEST 1000
#define HELD 5000
#define GENERATIONS 120
#define REPLACES 220000
#endif

#ifdef SIZED
#include <new>
static void *take(size_t bytes) { return ::operator new(bytes); }
static void give(void *chunk, size_t bytes) { ::operator delete(chunk, bytes); }
#else
static void *take(size_t bytes) { return must(malloc(bytes)); }
static void give(void *chunk, size_t bytes) { (void)bytes; free(chunk); }
#endif

struct slot { void *chunk; size_t bytes; };

/* What one worker hands over to the next. */
struct shift {
    struct slot *held;
    struct random random;
    int generations_left;
    long replaces;
};

static void fill(struct slot *slot, struct random *random) {
    slot->bytes = random_between(random, SMALLEST, LARGEST);
    slot->chunk = take(slot->bytes);
    stamp(slot->chunk, slot->bytes);
}

static void empty(struct slot *slot) {
    check(slot->chunk, slot->bytes);
    give(slot->chunk, slot->bytes);
}

static void *worker(void *argument) {
    struct shift *shift = (struct shift *)argument;
    /* On the stack: shifts are neighbours, and their lines must not go to and fro. */
    struct random random = shift->random;
    for (long i = 0; i < shift->replaces; i++) {
        struct slot *slot = &shift->held[random_between(&random, 0, HELD - 1)];
        empty(slot);
        fill(slot, &random);
    }
    shift->random = random;
    return NULL;
}

/* Starts one worker after another on the same shift. */
static void *connection(void *argument) {
    struct shift *shift = (struct shift *)argument;
    while (shift->generations_left-- > 0) pthread_join(start(worker, shift), NULL);
    return NULL;
}

int main(int argc, char **argv) {
    arguments(argc, argv, "Threads that hand over their chunks to their successors.");
    struct shift *shifts = (struct shift *)must(calloc(threads, sizeof *shifts));
    pthread_t connections[256];
    for (int t = 0; t < threads; t++) {
        shifts[t].held = (struct slot *)must(malloc(HELD * sizeof(struct slot)));
        shifts[t].random = random_from(t);
        shifts[t].generations_left = GENERATIONS;
        shifts[t].replaces = work(REPLACES);
        for (int i = 0; i < HELD; i++) fill(&shifts[t].held[i], &shifts[t].random);
        connections[t] = start(connection, &shifts[t]);
    }
    uint64_t sum = 0;
    for (int t = 0; t < threads; t++) {
        pthread_join(connections[t], NULL);
        for (int i = 0; i < HELD; i++) {
            sum += shifts[t].held[i].bytes;
            empty(&shifts[t].held[i]);
        }
        free(shifts[t].held);
    }
    printf("%ld replaces, %llu bytes held at the end\n",
           threads * GENERATIONS * work(REPLACES), (unsigned long long)sum);
    free(shifts);
    return 0;
}
