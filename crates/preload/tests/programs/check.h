/* For the programs of the tests: says which check failed, and ends the program. */
#ifndef CHECK_H
#define CHECK_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHECK(what)                                                        \
    do {                                                                   \
        if (!(what)) {                                                     \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #what);     \
            _exit(1);                                                      \
        }                                                                  \
    } while (0)

/* Who waits for ever is ended, and so is the test. No program takes more than some seconds; the
 * rest is for a machine that is busy. */
__attribute__((constructor)) static void end_some_time(void) { alarm(600); }

/* A size that the compiler cannot reason about. */
static inline size_t opaque(size_t size) {
    volatile size_t hidden = size;
    return hidden;
}

#endif
