/* What stays behind: most of what was allocated together is freed, and some of it is not.
 *
 * Ten times a thread fills up a table of 100 000 places with chunks of one length, each time longer, and frees 49
 * of 50 at random. So the memory of every length is almost free, and hardly any long piece of it is. */
#include "common.h"

#define PLACES 100000
#define FILLS 10
#define ROUNDS 4

struct item { char *chunk; size_t bytes; };

static void *body(void *argument) {
    struct random random = random_from((uintptr_t)argument);
    struct item *items = (struct item *)must(calloc(PLACES, sizeof *items));
    long fills = work(FILLS * ROUNDS);
    for (long fill = 0; fill < fills; fill++) {
        size_t bytes = 48 + (size_t)(fill % FILLS) * 56;
        for (int i = 0; i < PLACES; i++) {
            if (items[i].chunk) continue;
            items[i].bytes = bytes;
            items[i].chunk = (char *)must(malloc(bytes));
            stamp(items[i].chunk, bytes);
        }
        for (int i = 0; i < PLACES; i++) {
            if (random_between(&random, 0, 49) == 0) continue;
            check(items[i].chunk, items[i].bytes);
            free(items[i].chunk);
            items[i].chunk = NULL;
        }
    }
    for (int i = 0; i < PLACES; i++) free(items[i].chunk);
    free(items);
    return NULL;
}

int main(int argc, char **argv) {
    arguments(argc, argv, "Ever longer chunks, of which one in fifty stays.");
    run_threads(threads, body);
    printf("%ld times %d places\n", threads * work(FILLS * ROUNDS), PLACES);
    return 0;
}
