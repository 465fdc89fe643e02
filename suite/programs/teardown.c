/* A large structure that is taken down without being looked at.
 *
 * A table of 200 000 chunks of 48 bytes is filled. Every second one is freed and replaced by one of 96, and then all
 * are freed in order. Only one in sixteen is read before: the others are cold, as nodes are that a program knows by their
 * addresses alone. */
#include "common.h"

#define CHUNKS 200000
#define ROUNDS 60
#define LOOKED_AT 16

static void *fresh(size_t bytes) {
    void *chunk = must(malloc(bytes));
    stamp(chunk, bytes);
    return chunk;
}

static void end(void *chunk, int number, size_t bytes) {
    if (number % LOOKED_AT == 0) check(chunk, bytes);
    free(chunk);
}

static void *body(void *argument) {
    void **chunks = (void **)must(malloc(CHUNKS * sizeof *chunks));
    long rounds = work(ROUNDS);
    for (long round = 0; round < rounds; round++) {
        for (int i = 0; i < CHUNKS; i++) chunks[i] = fresh(48);
        for (int i = 0; i < CHUNKS; i += 2) end(chunks[i], i, 48);
        for (int i = 0; i < CHUNKS; i += 2) chunks[i] = fresh(96);
        for (int i = 0; i < CHUNKS; i++) end(chunks[i], i, i % 2 ? 48 : 96);
    }
    free(chunks);
    return argument;
}

int main(int argc, char **argv) {
    arguments(argc, argv, "A large structure that is taken down without being looked at.");
    run_threads(threads, body);
    printf("%ld rounds of %d chunks\n", threads * work(ROUNDS), CHUNKS);
    return 0;
}
