/* Pure producers and pure consumers: chunks flow one way, and no thread frees what it has
 * allocated.
 *
 * THREADS / 2 threads (at least one) allocate batches of 256 chunks, mostly of 16 to 128
 * bytes, and queue them; as many others take batches from the queue, check and free them.
 * The queue holds 64 batches, so memory stays bounded when one side is faster.
 *
 * The pattern is that of the xmalloc test by Lever and Boreham, "malloc() performance in a
 * multithreaded Linux environment" (2000). */
#include "common.h"

#define BATCH 256
#define QUEUED 64
#define BATCHES 24000

struct batch { struct batch *next; unsigned bytes[BATCH]; void *chunks[BATCH]; };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t filled = PTHREAD_COND_INITIALIZER, drained = PTHREAD_COND_INITIALIZER;
static struct batch *queue;
static int queued, producing;
static long consumed;

static void *produce(void *argument) {
    struct random r = random_from((uintptr_t)argument);
    long batches = work(BATCHES) / producing;
    for (long b = 0; b < batches; b++) {
        struct batch *batch = (struct batch *)must(malloc(sizeof *batch));
        for (int i = 0; i < BATCH; i++) {
            size_t bytes = random_between(&r, 16, 128);
            if (random_between(&r, 0, 63) == 0) bytes *= 16;
            batch->bytes[i] = (unsigned)bytes;
            batch->chunks[i] = must(malloc(bytes));
            stamp(batch->chunks[i], bytes);
        }
        pthread_mutex_lock(&lock);
        while (queued >= QUEUED) pthread_cond_wait(&drained, &lock);
        batch->next = queue;
        queue = batch;
        queued++;
        pthread_cond_signal(&filled);
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

/* Ends at a batch without chunks. */
static void *consume(void *argument) {
    (void)argument;
    for (;;) {
        pthread_mutex_lock(&lock);
        while (!queue) pthread_cond_wait(&filled, &lock);
        struct batch *batch = queue;
        if (!batch->chunks[0]) {
            pthread_mutex_unlock(&lock);
            return NULL;
        }
        queue = batch->next;
        queued--;
        consumed += BATCH;
        pthread_cond_signal(&drained);
        pthread_mutex_unlock(&lock);
        for (int i = 0; i < BATCH; i++) {
            check(batch->chunks[i], batch->bytes[i]);
            free(batch->chunks[i]);
        }
        free(batch);
    }
}

int main(int argc, char **argv) {
    arguments(argc, argv, "Some threads only allocate, others only free.");
    producing = threads / 2 ? threads / 2 : 1;
    pthread_t producers[256], consumers[256];
    for (int t = 0; t < producing; t++) {
        producers[t] = start(produce, (void *)(intptr_t)t);
        consumers[t] = start(consume, NULL);
    }
    for (int t = 0; t < producing; t++) pthread_join(producers[t], NULL);
    static struct batch end;
    pthread_mutex_lock(&lock);
    struct batch **last = &queue;
    while (*last) last = &(*last)->next;
    *last = &end;
    pthread_cond_broadcast(&filled);
    pthread_mutex_unlock(&lock);
    for (int t = 0; t < producing; t++) pthread_join(consumers[t], NULL);
    printf("%ld chunks produced and consumed\n", consumed);
    return 0;
}
