/* Sizes that go up and down: a program that goes from one kind of work to the next, and back.
 *
 * Each thread holds 20 000 chunks. Phase by phase it replaces them, in order, by chunks of the next
 * length: 32 to 63 bytes, 64 to 127, and so on to 2 KiB, and then from the shortest again. What the old
 * sizes leave should serve the new ones. */
#include "common.h"

#define HELD 20000
#define PHASES 240
#define LENGTHS 6

struct item { char *chunk; size_t bytes; };

static void *body(void *argument) {
    struct random random = random_from((uintptr_t)argument);
    struct item *items = (struct item *)must(calloc(HELD, sizeof *items));
    long phases = work(PHASES);
    for (long phase = 0; phase < phases; phase++) {
        size_t least = (size_t)32 << phase % LENGTHS;
        for (int i = 0; i < HELD; i++) {
            struct item *item = &items[i];
            if (item->chunk) check_paint(item->chunk, item->bytes);
            free(item->chunk);
            item->bytes = random_between(&random, least, least * 2 - 1);
            item->chunk = (char *)must(malloc(item->bytes));
            paint(item->chunk, item->bytes);
        }
    }
    for (int i = 0; i < HELD; i++) free(items[i].chunk);
    free(items);
    return NULL;
}

int main(int argc, char **argv) {
    arguments(argc, argv, "Chunks of one length replaced by those of the next, up and down.");
    run_threads(threads, body);
    printf("%ld phases of %d chunks\n", threads * work(PHASES), HELD);
    return 0;
}
