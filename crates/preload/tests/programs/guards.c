/* Large chunks of all lengths, again and again: each has a page without access on both sides,
 * also where another chunk was before, and what was freed has none. */
#include "check.h"

#include <setjmp.h>
#include <signal.h>

#define PAGE 4096

static sigjmp_buf out;

static void faulted(int number) {
    siglongjmp(out, 1);
}

static int faults(volatile char *byte) {
    if (sigsetjmp(out, 1)) return 1;
    (void)*byte;
    return 0;
}

int main(void) {
    signal(SIGSEGV, faulted);
    enum { HELD = 12 };
    char *held[HELD] = { 0 };
    size_t sizes[HELD] = { 0 };
    unsigned state = 1;
    for (int round = 0; round < 600; round++) {
        state = state * 1103515245 + 12345;
        int which = (state >> 16) % HELD;
        if (held[which]) {
            CHECK(held[which][0] == which && held[which][sizes[which] - 1] == which);
            free(held[which]);
            CHECK(faults(held[which]) && faults(held[which] + sizes[which] - 1));
        }
        size_t size = sizes[which] = 66000 + (state >> 8) % 200000;
        char *chunk = held[which] = round % 3 ? malloc(size) : calloc(1, size);
        for (size_t at = 0; at < size && round % 3 == 0; at += 512) CHECK(chunk[at] == 0);
        memset(chunk, which, size);
        char *first = (char *)((uintptr_t)chunk & ~(uintptr_t)(PAGE - 1));
        char *behind = (char *)((uintptr_t)(chunk + size + PAGE - 1) & ~(uintptr_t)(PAGE - 1));
        CHECK(faults(first - 1) && faults(first - PAGE));
        CHECK(faults(behind) && faults(behind + PAGE - 1));
    }
    return 0;
}
