/* Threads that exchange chunks of all sizes and alignments, got in every way: memory goes
 * from small chunks to large ones and back. Nothing here is misuse, and every byte is looked
 * at. */
#include "check.h"

#include <pthread.h>
#include <stdatomic.h>

enum { SLOTS = 4096, OPERATIONS = 100000, THREADS = 4, ROUNDS = 3 };

static _Atomic(char *) slots[SLOTS];

static char colour(char *chunk) { return (char)((uintptr_t)chunk >> 4); }

static void paint(char *chunk, size_t size) {
    memcpy(chunk, &size, sizeof size);
    memset(chunk + sizeof size, colour(chunk), size - sizeof size);
}

static void give_up(char *chunk) {
    size_t size;
    memcpy(&size, chunk, sizeof size);
    char *painted = chunk + sizeof size;
    size_t rest = size - sizeof size;
    CHECK(rest == 0 || *painted == colour(chunk));
    CHECK(rest < 2 || memcmp(painted, painted + 1, rest - 1) == 0);
    free(chunk);
}

static void *exchange(void *seed) {
    uint64_t random = (uintptr_t)seed * 7919 + 1;
    for (int i = 0; i < OPERATIONS; i++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        size_t size = 8 + (random >> 20) % ((size_t)1 << (4 + (random >> 50) % 13));
        char *chunk;
        switch (random >> 8 & 15) {
        case 0:
            chunk = aligned_alloc((size_t)16 << (random >> 12) % 13, size);
            break;
        case 1:
            chunk = calloc(1, size);
            CHECK(*chunk == 0 && memcmp(chunk, chunk + 1, size - 1) == 0);
            break;
        case 2:
            chunk = malloc(size / 2 + 8);
            memset(chunk, 1, size / 2 + 8);
            chunk = realloc(chunk, size);
            break;
        default:
            chunk = malloc(size);
        }
        CHECK(chunk);
        paint(chunk, size);
        char *other = atomic_exchange(&slots[random % SLOTS], chunk);
        if (other) give_up(other);
    }
    return NULL;
}

int main(void) {
    for (int round = 0; round < ROUNDS; round++) {
        pthread_t threads[THREADS];
        for (int i = 0; i < THREADS; i++)
            pthread_create(&threads[i], NULL, exchange, (void *)(intptr_t)(10 * round + i));
        for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    }
    for (int i = 0; i < SLOTS; i++)
        if (slots[i]) give_up(slots[i]);
    return 0;
}
