/* Threads that come and go by the thousand, each leaving something alive.
 *
 * A short-lived thread allocates 400 chunks, frees most of them and what its predecessor
 * has left over, and leaves 40 to its successor. THREADS such lines run beside
 * each other. Memory must not grow with the number of threads that have been.  */
#include "common.h"

#define LIVES 10000
#define EACH 400
#define LEFT 40

struct item { void *chunk; size_t bytes; };
struct line { struct random random; struct item left[LEFT]; };

static void *life(void *argument) {
    struct line *line = (struct line *)argument;
    struct item items[EACH];
    struct random random = line->random;
    for (int i = 0; i < EACH; i++) {
        items[i].bytes = random_between(&random, 16, i % 16 ? 400 : 8000);
        items[i].chunk = must(malloc(items[i].bytes));
        stamp(items[i].chunk, items[i].bytes);
    }
    for (int i = 0; i < EACH; i++) {
        /* Every fifth one takes the place of one that is left over from before. */
        struct item out = items[i];
        if (i % (EACH / LEFT) == 0) {
            struct item *left = &line->left[i / (EACH / LEFT)];
            struct item before = *left;
            *left = out;
            out = before;
        }
        if (!out.chunk) continue;
        check(out.chunk, out.bytes);
        free(out.chunk);
    }
    line->random = random;
    return NULL;
}

static long lives(void) { return work(LIVES) / threads + 1; }

static void *line_of_threads(void *argument) {
    struct line *line = (struct line *)must(calloc(1, sizeof *line));
    line->random = random_from((uintptr_t)argument);
    for (long i = 0; i < lives(); i++) pthread_join(start(life, line), NULL);
    for (int i = 0; i < LEFT; i++) {
        check(line->left[i].chunk, line->left[i].bytes);
        free(line->left[i].chunk);
    }
    free(line);
    return NULL;
}

int main(int argc, char **argv) {
    arguments(argc, argv, "Short-lived threads that leave chunks to their successors.");
    run_threads(threads, line_of_threads);
    printf("%ld threads lived\n", threads * lives());
    return 0;
}
