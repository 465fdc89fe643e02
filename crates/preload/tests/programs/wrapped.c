/* A program that has a free of its own in front of the library's, as tracers do: it sees its own calls alone. */
#include "check.h"
#include <dlfcn.h>

static long seen;

void free(void *chunk) {
    static void (*behind)(void *);
    if (!behind) behind = (void (*)(void *))dlsym(RTLD_NEXT, "free");
    seen++;
    behind(chunk);
}

int main(void) {
    free(malloc(1));
    for (size_t step = 1; step < 40; step++) {
        /* Twice, so that what it moves to is at hand. */
        for (int round = 0; round < 2; round++) {
            char *chunk = malloc(step);
            long before = seen;
            for (size_t size = step; size < 1 << 20; size *= 2) CHECK((chunk = realloc(chunk, size)) != NULL);
            CHECK(seen == before);
            free(chunk);
            CHECK(seen == before + 1);
        }
    }
    return 0;
}
