/* A service in which threads come and go in rounds and pass chunks around.
 *
 * In every round THREADS new threads allocate arrays of words, from one word to some
 * thousand, mostly small. One in five stays for the whole round; the others are
 * freed at random, or exchanged with a chunk from a table that all threads share, so
 * that half of the frees meet a chunk of another thread. At the end of a round a tenth
 * of the table is freed by the main thread. Every word of every chunk is written and
 * checked.
 *
 * The pattern is that of mimalloc's stress test. */
#include "common.h"
#include <stdatomic.h>

#define ROUNDS 200
#define ALLOCATIONS 12000
#define SHARED 1000

static _Atomic(uintptr_t *) shared[SHARED];
static atomic_long freed;
static int round_now;

/* The first word is the number of words, turned about by a key; the others count down. */
static const uintptr_t KEY = 0xBF58476D1CE4E5B9u;

static uintptr_t *words_new(struct random *r) {
    size_t words = random_between(r, 1, 24);
    if (random_between(r, 0, 49) == 0) words *= 10;
    if (random_between(r, 0, 499) == 0) words *= 40;
    uintptr_t *chunk = (uintptr_t *)must(random_between(r, 0, 9) == 0
        ? calloc(words, sizeof *chunk) : malloc(words * sizeof *chunk));
    for (size_t i = 0; i < words; i++) chunk[i] = (words - i) ^ KEY;
    return chunk;
}

static void words_free(uintptr_t *chunk) {
    if (!chunk) return;
    size_t words = chunk[0] ^ KEY;
    for (size_t i = 0; i < words; i++)
        if ((chunk[i] ^ KEY) != words - i) wrong(chunk, words * sizeof *chunk);
    free(chunk);
}

static void *client(void *argument) {
    struct random r = random_from((uintptr_t)argument + 1000 * round_now);
    long todo = work(ALLOCATIONS), kept = 0, loose = 0, gone = 0;
    uintptr_t **keep = (uintptr_t **)must(malloc((todo + 1) * sizeof *keep));
    uintptr_t **held = (uintptr_t **)must(malloc((todo + 1) * sizeof *held));
    for (long i = 0; i < todo; i++) {
        if (random_between(&r, 0, 4) == 0) {
            keep[kept++] = words_new(&r);
        } else {
            held[loose++] = words_new(&r);
        }
        if (loose > 0 && random_between(&r, 0, 2) != 0) {
            long which = (long)random_between(&r, 0, loose - 1);
            uintptr_t *chunk = held[which];
            if (random_between(&r, 0, 1) == 0) {
                chunk = atomic_exchange(&shared[random_between(&r, 0, SHARED - 1)], chunk);
            }
            held[which] = held[--loose];
            gone += chunk != NULL;
            words_free(chunk);
        }
    }
    gone += kept + loose;
    while (kept > 0) words_free(keep[--kept]);
    while (loose > 0) words_free(held[--loose]);
    free(keep);
    free(held);
    atomic_fetch_add(&freed, gone);
    return NULL;
}

int main(int argc, char **argv) {
    arguments(argc, argv, "Rounds of threads that exchange chunks through a shared table.");
    struct random r = random_from(7);
    for (round_now = 0; round_now < ROUNDS; round_now++) {
        run_threads(threads, client);
        for (int i = 0; i < SHARED; i++) {
            if (round_now + 1 < ROUNDS && random_between(&r, 0, 9) != 0) continue;
            uintptr_t *chunk = atomic_exchange(&shared[i], NULL);
            freed += chunk != NULL;
            words_free(chunk);
        }
    }
    printf("%ld chunks checked and freed\n", freed);
    return 0;
}
