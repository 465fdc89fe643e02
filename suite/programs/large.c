/* Blocks of 5 to 25 MiB, replaced at random among twenty of them.
 *
 * One byte of every OS page is written (but for the last byte of a block, which is the stamp's):
 * whoever gives a block back to the system with every free pays for its page faults again and
 * again; whoever keeps them all, in memory. */
#include "common.h"

#define HELD 20
#define REPLACES 300
#define MIB 1048576
#define OS_PAGE 4096

int main(int argc, char **argv) {
    arguments(argc, argv, "Random replaces among twenty blocks of 5 to 25 MiB; one thread.");
    struct random r = random_from(3);
    struct { unsigned char *chunk; size_t bytes; } held[HELD] = { { NULL, 0 } };
    long pages = 0;
    for (long i = 0; i < work(REPLACES) + HELD; i++) {
        int at = (int)random_between(&r, 0, HELD - 1);
        bool last = i >= work(REPLACES);
        if (last) at = (int)(i - work(REPLACES));
        unsigned char *chunk = held[at].chunk;
        size_t bytes = held[at].bytes;
        if (chunk) {
            for (size_t b = 0; b + 1 < bytes; b += OS_PAGE)
                if (chunk[b] != (unsigned char)(bytes / OS_PAGE + at)) wrong(chunk, bytes);
            check(chunk + 1, bytes - 1);
            free(chunk);
            held[at].chunk = NULL;
        }
        if (last) continue;
        bytes = random_between(&r, 5 * MIB, 25 * MIB);
        chunk = (unsigned char *)must(malloc(bytes));
        for (size_t b = 0; b + 1 < bytes; b += OS_PAGE, pages++)
            chunk[b] = (unsigned char)(bytes / OS_PAGE + at);
        stamp(chunk + 1, bytes - 1);
        held[at].chunk = chunk;
        held[at].bytes = bytes;
    }
    printf("%ld OS pages written\n", pages);
    return 0;
}
