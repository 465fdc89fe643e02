/* Chunks of the C library's own malloc are passed on to it. */
#include "check.h"
#include <dlfcn.h>
#include <malloc.h>

int main(int count, char **words) {
    void *libc = dlopen("libc.so.6", RTLD_NOW);
    CHECK(libc);
    void *(*own)(size_t) = (void *(*)(size_t))dlsym(libc, "malloc");
    CHECK(own && own != malloc);
    char *chunks[100];
    for (int i = 0; i < 100; i++) CHECK((chunks[i] = own(100 + i * 10)));
    for (int i = 0; i < 100; i++) {
        memset(chunks[i], i, 100);
        CHECK(malloc_usable_size(chunks[i]) >= 100 + i * 10);
        if (i % 2) CHECK((chunks[i] = realloc(chunks[i], 3000)));
        for (int at = 0; at < 100; at++) CHECK(chunks[i][at] == i);
        free(chunks[i]);
    }
    CHECK(realloc(own(10), 0) == NULL);
    if (count > 1) {
        /* What it finds wrong is its own to tell. */
        char *chunk = own(50);
        free(chunk);
        free(chunk);
    }
    return 0;
}
