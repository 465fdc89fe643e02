/* A malloc with a fault, to show that the programs of the suite find one.
 *
 * Now and then it gives out the chunk before once more, while that is still in use; nothing is
 * ever reused otherwise, so that it is the contents alone that can tell. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *next, *end, *before;
static size_t before_bytes;
static unsigned calls;

static void *take(size_t bytes, size_t alignment) {
    pthread_mutex_lock(&lock);
    char *chunk = before;
    /* About one call in three, in no step with the program's own pattern. */
    calls = calls * 1103515245 + 12345;
    if ((calls >> 16 & 255) > 85 || bytes > before_bytes || bytes < 8 || alignment > 16) {
        uintptr_t at = ((uintptr_t)next + 16 + alignment - 1) & -(uintptr_t)alignment;
        if (!next || at + bytes > (uintptr_t)end) {
            size_t more = bytes + alignment + (64 << 20);
            next = mmap(NULL, more, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
            if (next == MAP_FAILED) __builtin_trap();
            end = next + more;
            at = ((uintptr_t)next + 16 + alignment - 1) & -(uintptr_t)alignment;
        }
        chunk = (char *)at;
        next = chunk + bytes;
        ((size_t *)chunk)[-1] = bytes;
        before = chunk;
        before_bytes = bytes;
    }
    pthread_mutex_unlock(&lock);
    return chunk;
}

void *malloc(size_t bytes) { return take(bytes, 16); }
void free(void *chunk) { (void)chunk; }

void *calloc(size_t count, size_t bytes) { return memset(take(count * bytes, 16), 0, count * bytes); }

void *realloc(void *old, size_t bytes) {
    void *chunk = take(bytes, 16);
    if (old && chunk != old) {
        size_t had = ((size_t *)old)[-1];
        memcpy(chunk, old, had < bytes ? had : bytes);
    }
    return chunk;
}

int posix_memalign(void **chunk, size_t alignment, size_t bytes) {
    *chunk = take(bytes, alignment < 16 ? 16 : alignment);
    return 0;
}

void *aligned_alloc(size_t alignment, size_t bytes) {
    return take(bytes, alignment < 16 ? 16 : alignment);
}
