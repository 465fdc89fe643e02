/* The C library's own measure: blocks of one size allocated and freed in groups.
 *
 * For sizes from 16 to 4096 bytes, groups of 25 and of 1600 blocks are allocated and then
 * freed, the second half before the first. With one thread the main one does it; several
 * threads do it at once, each for itself, and allocators may treat that differently.
 *
 * The pattern is that of malloc-simple and malloc-thread in glibc's benchtests. */
#include "common.h"

static const struct { long blocks, groups; } shapes[] = { { 25, 60000 }, { 1600, 250 } };
static const size_t sizes[] = { 16, 32, 64, 128, 512, 1024, 4096 };

static void *groups(void *argument) {
    (void)argument;
    void *blocks[1600];
    for (unsigned s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        for (unsigned shape = 0; shape < 2; shape++) {
            long count = shapes[shape].blocks, half = count / 2;
            for (long g = 0; g < work(shapes[shape].groups); g++) {
                for (long i = 0; i < count; i++) {
                    blocks[i] = must(malloc(sizes[s]));
                    *(uint64_t *)blocks[i] = (uint64_t)i;
                }
                for (long i = half; i < count; i++) {
                    if (*(uint64_t *)blocks[i] != (uint64_t)i) wrong(blocks[i], sizes[s]);
                    free(blocks[i]);
                }
                for (long i = 0; i < half; i++) {
                    if (*(uint64_t *)blocks[i] != (uint64_t)i) wrong(blocks[i], sizes[s]);
                    free(blocks[i]);
                }
            }
        }
    }
    return NULL;
}

int main(int argc, char **argv) {
    arguments(argc, argv, "Groups of blocks of one size; one thread is the main one.");
    if (threads == 1) {
        groups(NULL);
    } else {
        run_threads(threads, groups);
    }
    printf("groups of %ld and %ld blocks in %d threads\n",
           shapes[0].blocks, shapes[1].blocks, threads);
    return 0;
}
