/* A pool of threads of which one at a time has much to do.
 *
 * Of sixteen times THREADS threads each in turn allocates 1000 chunks of 16 to 8000 bytes and frees them again,
 * while the others wait. What a thread keeps at hand when its turn is over, nobody can use. */
#include "common.h"

#include <semaphore.h>

#define POOL 16
#define TURNS 20
#define CHUNKS 1000

static sem_t turn[POOL * 256];

static void *body(void *argument) {
    int number = (int)(intptr_t)argument, next = (number + 1) % (threads * POOL);
    struct random random = random_from((uintptr_t)argument);
    char *chunks[CHUNKS];
    size_t bytes[CHUNKS];
    for (long left = work(TURNS); left > 0; left--) {
        while (sem_wait(&turn[number]) != 0) continue;
        for (int i = 0; i < CHUNKS; i++) {
            bytes[i] = random_between(&random, 16, 8000);
            chunks[i] = (char *)must(malloc(bytes[i]));
            paint(chunks[i], bytes[i]);
        }
        for (int i = 0; i < CHUNKS; i++) {
            check_paint(chunks[i], bytes[i]);
            free(chunks[i]);
        }
        sem_post(&turn[next]);
    }
    return NULL;
}

int main(int argc, char **argv) {
    pthread_t pool[POOL * 256];
    arguments(argc, argv, "A pool of threads of which one at a time has much to do.");
    for (int i = 0; i < threads * POOL; i++) sem_init(&turn[i], 0, i == 0);
    for (int i = 0; i < threads * POOL; i++) pool[i] = start(body, (void *)(intptr_t)i);
    for (int i = 0; i < threads * POOL; i++) pthread_join(pool[i], NULL);
    printf("%ld turns\n", threads * POOL * work(TURNS));
    return 0;
}
