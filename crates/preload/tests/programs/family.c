/* Every function of the malloc family, at the corners that the manual pages speak of. */
#include "check.h"
#include <malloc.h>

/* Newer and older than the C library at hand. */
void free_sized(void *, size_t) __attribute__((weak));
void free_aligned_sized(void *, size_t, size_t) __attribute__((weak));
void cfree(void *) __attribute__((weak));

static void zero_bytes(void) {
    char *one = malloc(0), *two = malloc(0);
    CHECK(one && two && one != two);
    free(one), free(two);
    CHECK((one = calloc(0, 8)) && (two = calloc(8, 0)) && one != two);
    free(one), free(two);
    CHECK((one = realloc(NULL, 0)));
    /* As free: null, and errno as it was. */
    errno = 77;
    CHECK(realloc(one, 0) == NULL && errno == 77);
    free(NULL);
    CHECK(malloc_usable_size(NULL) == 0);
}

static void too_much(void) {
    size_t sizes[] = {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - 15, SIZE_MAX - 4096, PTRDIFF_MAX,
                      (size_t)PTRDIFF_MAX + 1, (size_t)2 << 40};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t size = opaque(sizes[i]);
        char *chunk = malloc(100);
        memset(chunk, 7, 100);
        errno = 0;
        CHECK(malloc(size) == NULL && errno == ENOMEM);
        errno = 0;
        CHECK(calloc(size, 1) == NULL && errno == ENOMEM);
        errno = 0;
        CHECK(realloc(chunk, size) == NULL && errno == ENOMEM);
        for (int at = 0; at < 100; at++) CHECK(chunk[at] == 7);
        errno = 0;
        CHECK(memalign(64, size) == NULL && errno == ENOMEM);
        errno = 0;
        CHECK(aligned_alloc(64, size) == NULL && errno == ENOMEM);
        errno = 0;
        CHECK(valloc(size) == NULL && errno == ENOMEM);
        errno = 0;
        CHECK(pvalloc(size) == NULL && errno == ENOMEM);
        void *place = chunk;
        errno = 77;
        CHECK(posix_memalign(&place, 64, size) == ENOMEM && place == chunk && errno == 77);
        free(chunk);
    }
    errno = 0;
    CHECK(calloc(opaque(SIZE_MAX / 2), 3) == NULL && errno == ENOMEM);
    errno = 0;
    CHECK(reallocarray(NULL, opaque(SIZE_MAX / 2), 3) == NULL && errno == ENOMEM);
}

static void alignments(void) {
    for (size_t align = 1; align <= (size_t)1 << 30; align *= 2) {
        for (size_t size = 0; size < 100000; size = size * 3 + 1) {
            char *chunk = memalign(align, size);
            CHECK(chunk && (uintptr_t)chunk % align == 0 && (uintptr_t)chunk % 16 == 0);
            CHECK(malloc_usable_size(chunk) >= size);
            memset(chunk, 1, size);
            free(chunk);
            CHECK((chunk = aligned_alloc(align, size)) && (uintptr_t)chunk % align == 0);
            free_aligned_sized(chunk, align, size);
            if (align >= sizeof(void *)) {
                void *place;
                CHECK(posix_memalign(&place, align, size) == 0 && (uintptr_t)place % align == 0);
                free(place);
            }
        }
    }
    size_t wrong[] = {0, 3, 24, 4095};
    for (int i = 0; i < 4; i++) {
        void *place = &place;
        CHECK(posix_memalign(&place, wrong[i], 8) == EINVAL && place == &place);
        errno = 0;
        CHECK(aligned_alloc(wrong[i], 8) == NULL && errno == EINVAL);
        errno = 0;
        CHECK(memalign(wrong[i], 8) == NULL && errno == EINVAL);
    }
    void *place;
    CHECK(posix_memalign(&place, 4, 8) == EINVAL);
    char *page = valloc(1);
    CHECK(page && (uintptr_t)page % 4096 == 0);
    free(page);
    CHECK((page = pvalloc(4097)) && (uintptr_t)page % 4096 == 0);
    CHECK(malloc_usable_size(page) >= 8192);
    free(page);
}

static void contents(void) {
    for (size_t size = 1; size < 3000000; size += size / 3 + 1) {
        unsigned char *chunk = calloc(1, size);
        CHECK(chunk && (uintptr_t)chunk % 16 == 0);
        for (size_t at = 0; at < size; at++) CHECK(chunk[at] == 0);
        /* All of it may be used. */
        memset(chunk, 0xa5, malloc_usable_size(chunk));
        size_t now = size;
        for (size_t next = 1; next < 4 * size; next += next * 2) {
            size_t kept = next < now ? next : now;
            chunk = realloc(chunk, next);
            CHECK(chunk);
            for (size_t at = 0; at < kept; at++) CHECK(chunk[at] == 0xa5);
            memset(chunk, 0xa5, next);
            now = next;
        }
        free_sized(chunk, now);
    }
    int *array = reallocarray(NULL, 1000, sizeof *array);
    CHECK(array);
    cfree(array);
}

static void statistics(void) {
    size_t before = mallinfo2().uordblks;
    char *chunk = malloc(100000);
    struct mallinfo2 info = mallinfo2();
    CHECK(info.uordblks >= before + 100000 && info.arena >= info.uordblks);
    CHECK((size_t)mallinfo().uordblks == info.uordblks);
    CHECK(info.fordblks == info.arena - info.uordblks);
    free(chunk);
    CHECK(malloc_trim(0) == 1);
    CHECK(mallinfo2().uordblks <= before + 1000);
    CHECK(mallopt(M_MMAP_THRESHOLD, 1) == 0);
    malloc_stats();
    CHECK(malloc_info(0, stderr) == 0);
    CHECK(malloc_info(1, stderr) == -1 && errno == EINVAL);
}

/* A free leaves errno as it is, also where it asks the system for something. */
static void errno_is_kept(void) {
    enum { COUNT = 300 };
    static char *chunks[COUNT];
    for (size_t size = 16; size < (size_t)200 << 20; size *= 5) {
        int count = size > 1 << 20 ? 3 : COUNT;
        for (int i = 0; i < count; i++) CHECK((chunks[i] = malloc(size)));
        for (int i = 0; i < count; i++) {
            errno = 77;
            free(chunks[i]);
            CHECK(errno == 77);
        }
    }
}

int main(void) {
    zero_bytes();
    too_much();
    alignments();
    contents();
    statistics();
    errno_is_kept();
    return 0;
}
