/* A library that is opened with RTLD_DEEPBIND: frees what it is given, and gives what it allocates. */
#include <stdlib.h>
#include <string.h>

void *exchange(void *chunk) {
    free(chunk);
    chunk = malloc(100);
    return chunk ? memset(chunk, 7, 100) : NULL;
}
