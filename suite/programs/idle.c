/* A process that does nothing much: what an allocator costs before it has done anything. */
#include "common.h"

int main(int argc, char **argv) {
    arguments(argc, argv, "Ten chunks, and the end.");
    void *chunks[10];
    for (size_t i = 0; i < 10; i++) {
        chunks[i] = must(malloc(24 << (9 - i)));
        stamp(chunks[i], 24 << (9 - i));
    }
    for (size_t i = 0; i < 10; i++) {
        check(chunks[i], 24 << (9 - i));
        free(chunks[i]);
    }
    puts("ten chunks");
    return 0;
}
