/* What libmallocer.so tells a program of its heap.
 *
 * The library is preloaded, so a program need not be linked with it. Declared weak, the
 * functions are null where it is not there:
 *
 *     if (mallocer_statistics) {
 *         struct mallocer_statistics seen;
 *         mallocer_statistics(&seen, sizeof seen);
 *     }
 */
#ifndef MALLOCER_H
#define MALLOCER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* All sizes are bytes. */
struct mallocer_statistics {
    size_t max_heap;      /* what the heap may take at most */
    size_t peak_heap;     /* the most it ever had */
    size_t heap;          /* what it has now */
    size_t in_use;        /* what the program holds of it */
    size_t overhead;      /* bookkeeping beside it */
    uint64_t misses;      /* searches in a row, up to now, that found no room */
    uint64_t most_misses; /* the longest such row */
    uint64_t all_misses;  /* all such searches */
    size_t blocks;        /* how many blocks the heap is made of */
};

enum mallocer_kind {
    MALLOCER_POOL = 1,     /* chunks of one slab */
    MALLOCER_EXTENT = 2,   /* one large chunk */
    MALLOCER_RETAINED = 3, /* empty, kept for the next pool or extent */
};

struct mallocer_block {
    size_t start; /* its address */
    size_t bytes; /* its size */
    size_t slab;  /* the size of its chunks; 0 if it has none */
    size_t used;  /* bytes of it in chunks that are out */
    int kind;     /* enum mallocer_kind */
};

/* Writes the first `bytes` bytes of the statistics to `place`; returns how many bytes
 * this library knows of. */
size_t mallocer_statistics(struct mallocer_statistics *place, size_t bytes)
    __attribute__((weak));

/* Writes the blocks from number `skip` on to `place`, at most `room`; returns how many. */
size_t mallocer_blocks(size_t skip, struct mallocer_block *place, size_t room)
    __attribute__((weak));

/* Writes a report to the file descriptor, as JSON if `json` is not 0, else as text. */
void mallocer_report(int descriptor, int json) __attribute__((weak));

#ifdef __cplusplus
}
#endif

#endif
