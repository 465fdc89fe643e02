/* Stacks of small chunks, freed partly in order and partly in reverse.
 *
 * A round allocates runs of chunks of one size, sizes 8 to 1000 in turn; small sizes come
 * in longer runs. Every third run is freed from its end, every third from its start, and
 * the rest waits for later rounds, until the ring of waiting runs is full. Every chunk
 * is written as a whole, and checked.
 *
 * The pattern is that of the "SmartHeap" benchmarks sh6bench and sh8bench by MicroQuill:
 * with one thread like the first, with several like the second, where runs go to another
 * thread to be freed. */
#include "common.h"
#include <stdatomic.h>

#define ROUNDS 1000
#define WAITING 64

struct run { size_t bytes; long count; void *chunks[]; };

static _Atomic(struct run *) handed[256][WAITING];
static atomic_long checked;

static struct run *run_new(size_t bytes, long count) {
    struct run *run = (struct run *)must(malloc(sizeof *run + count * sizeof(void *)));
    run->bytes = bytes;
    run->count = count;
    for (long i = 0; i < count; i++) {
        run->chunks[i] = must(malloc(bytes));
        paint(run->chunks[i], bytes);
    }
    return run;
}

static void one_free(struct run *run, long i) {
    check_paint(run->chunks[i], run->bytes);
    free(run->chunks[i]);
}

static void run_free(struct run *run, bool backwards) {
    if (!run) return;
    if (backwards) {
        for (long i = run->count; i-- > 0;) one_free(run, i);
    } else {
        for (long i = 0; i < run->count; i++) one_free(run, i);
    }
    checked += run->count;
    free(run);
}

static void *stacks(void *argument) {
    int mine = (int)(intptr_t)argument;
    int other = (mine + 1) % threads;
    long number = 0;
    for (long round = 0; round < work(ROUNDS); round++) {
        for (size_t bytes = 8; bytes <= 1000; bytes += bytes < 128 ? 8 : 56) {
            struct run *run = run_new(bytes, 20000 / (long)bytes + 10 + round % 7);
            switch (number % 3) {
            case 0: run_free(run, true); break;
            case 1: run_free(run, false); break;
            default:
                run = atomic_exchange(&handed[other][number / 3 % WAITING], run);
                run_free(run, number % 2);
            }
            number++;
        }
    }
    return NULL;
}

int main(int argc, char **argv) {
    arguments(argc, argv, "Stacks of small chunks, freed partly in reverse.");
    run_threads(threads, stacks);
    for (int t = 0; t < threads; t++)
        for (int i = 0; i < WAITING; i++) run_free(atomic_exchange(&handed[t][i], NULL), true);
    printf("%ld chunks written and checked\n", checked);
    return 0;
}
