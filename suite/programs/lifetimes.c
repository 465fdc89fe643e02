/* Short lives among long ones.
 *
 * Step by step a thread allocates eight chunks of 16 to 271 bytes. Seven are freed at once; the eighth takes
 * the place of a random one of 100 000, which is freed, most of them without being read again. */
#include "common.h"

#define HELD 100000
#define STEPS 1500000
#define EACH 8
#define STAYS 3
#define LOOKED_AT 16

struct item { void *chunk; size_t bytes; };

static void *body(void *argument) {
    struct random random = random_from((uintptr_t)argument);
    struct item *held = (struct item *)must(calloc(HELD, sizeof *held));
    long steps = work(STEPS) / threads + 1;
    for (long step = 0; step < steps; step++) {
        struct item items[EACH];
        for (int i = 0; i < EACH; i++) {
            items[i].bytes = random_between(&random, 16, 271);
            items[i].chunk = must(malloc(items[i].bytes));
            stamp(items[i].chunk, items[i].bytes);
        }
        struct item *place = &held[random_between(&random, 0, HELD - 1)];
        if (place->chunk && step % LOOKED_AT == 0) check(place->chunk, place->bytes);
        free(place->chunk);
        *place = items[STAYS];
        for (int i = 0; i < EACH; i++) {
            if (i == STAYS) continue;
            check(items[i].chunk, items[i].bytes);
            free(items[i].chunk);
        }
    }
    for (int i = 0; i < HELD; i++) {
        if (held[i].chunk) check(held[i].chunk, held[i].bytes);
        free(held[i].chunk);
    }
    free(held);
    return NULL;
}

int main(int argc, char **argv) {
    arguments(argc, argv, "Short lives among long ones.");
    run_threads(threads, body);
    printf("%ld steps\n", threads * (work(STEPS) / threads + 1));
    return 0;
}
