/* Chunks go to a library that asks for symbols of its own first, and come from it. */
#include "check.h"
#include <dlfcn.h>
#include <malloc.h>

int main(int count, char **words) {
    void *library = dlopen(words[1], RTLD_NOW | RTLD_DEEPBIND);
    CHECK(library);
    void *(*exchange)(void *) = (void *(*)(void *))dlsym(library, "exchange");
    CHECK(exchange);
    for (size_t size = 1; size < 1 << 20; size += size / 2 + 1) {
        char *chunk = malloc(size);
        CHECK(chunk);
        chunk = exchange(chunk);
        CHECK(chunk && chunk[0] == 7 && chunk[99] == 7 && malloc_usable_size(chunk) >= 100);
        free(chunk);
    }
    CHECK(dlclose(library) == 0);
    /* What a caller is told of a name that is nowhere is the C library's to say. */
    CHECK(dlopen("no-such-library.so", RTLD_NOW) == NULL && strstr(dlerror(), "no-such-library"));
    CHECK(dlopen(NULL, RTLD_NOW | RTLD_DEEPBIND));
    return 0;
}
