/* Statistics by the functions of mallocer.h, against what the program does. */
#include "../../include/mallocer.h"
#include "check.h"
#include <signal.h>

static struct mallocer_statistics seen(void) {
    struct mallocer_statistics seen;
    CHECK(mallocer_statistics(&seen, sizeof seen) == sizeof seen);
    CHECK(seen.max_heap >= seen.peak_heap && seen.peak_heap >= seen.heap);
    CHECK(seen.heap >= seen.in_use && seen.most_misses >= seen.misses);
    CHECK(seen.all_misses >= seen.most_misses);
    return seen;
}

int main(int count, char **words) {
    if (!mallocer_statistics) return 3;
    enum { CHUNKS = 100000 };
    static void *chunks[CHUNKS];
    struct mallocer_statistics before = seen();
    for (int i = 0; i < CHUNKS; i++) chunks[i] = malloc(96);
    struct mallocer_statistics full = seen();
    CHECK(full.in_use >= before.in_use + 96 * CHUNKS);
    CHECK(full.in_use < before.in_use + 100 * CHUNKS);
    CHECK(full.all_misses > before.all_misses && full.blocks > before.blocks);

    static struct mallocer_block blocks[4096];
    size_t known = mallocer_blocks(0, blocks, 4096);
    CHECK(known == full.blocks);
    size_t bytes = 0, of_slab = 0;
    for (size_t i = 0; i < known; i++) {
        bytes += blocks[i].bytes;
        CHECK(blocks[i].used <= blocks[i].bytes);
        if (blocks[i].slab == 96 && blocks[i].kind == MALLOCER_POOL) of_slab += blocks[i].used;
    }
    CHECK(bytes == full.heap && of_slab >= 96 * CHUNKS);
    struct mallocer_block one;
    CHECK(mallocer_blocks(known - 1, &one, 1) == 1 && one.start == blocks[known - 1].start);
    CHECK(mallocer_blocks(known, &one, 1) == 0);

    for (int i = 0; i < CHUNKS; i++) free(chunks[i]);
    struct mallocer_statistics after = seen();
    CHECK(after.in_use < before.in_use + 1000 && after.peak_heap >= full.heap);
    /* An older program knows less of them. */
    size_t two[3] = {0, 0, 77};
    mallocer_statistics((void *)two, 2 * sizeof *two);
    CHECK(two[0] == after.max_heap && two[2] == 77);
    if (count > 1) {
        raise(atoi(words[1]));
        fprintf(stderr, "after the signal\n");
    }
    return 0;
}
