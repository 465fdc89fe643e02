/* Arrays that grow beside each other, by realloc, half as long again each time, up to 8 MiB.
 *
 * Each thread has eight of them. Which one grows is random; one that would be longer than 8 MiB is
 * freed, and begins again. What it has gained is written to, a byte in every OS page. */
#include "common.h"

#define ARRAYS 8
#define STEPS 3000
#define MOST ((size_t)8 << 20)
#define PAGE 4096

static void *body(void *argument) {
    struct random random = random_from((uintptr_t)argument);
    char *arrays[ARRAYS] = {0};
    size_t lengths[ARRAYS] = {0};
    long steps = work(STEPS);
    for (long step = 0; step < steps; step++) {
        size_t at = random_between(&random, 0, ARRAYS - 1), old = lengths[at];
        size_t longer = old ? old + old / 2 : PAGE;
        if (longer > MOST) {
            free(arrays[at]);
            arrays[at] = NULL;
            lengths[at] = 0;
            continue;
        }
        arrays[at] = (char *)must(realloc(arrays[at], longer));
        for (size_t i = (old + PAGE - 1) / PAGE * PAGE; i < longer; i += PAGE) arrays[at][i] = (char)(at + i / PAGE);
        /* All that was there has come along. */
        for (size_t i = 0; i < old; i += 16 * PAGE)
            if (arrays[at][i] != (char)(at + i / PAGE)) wrong(arrays[at], longer);
        lengths[at] = longer;
    }
    for (int i = 0; i < ARRAYS; i++) free(arrays[i]);
    return NULL;
}

int main(int argc, char **argv) {
    arguments(argc, argv, "Arrays that grow beside each other by realloc.");
    run_threads(threads, body);
    printf("%ld steps\n", threads * work(STEPS));
    return 0;
}
