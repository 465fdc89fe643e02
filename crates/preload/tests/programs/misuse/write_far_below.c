/* faults */
#include <stdlib.h>

/* A mebibyte before: in a small heap there is no chunk. */
int main(int count, char **words) {
    size_t size = atol(words[1]);
    volatile char *chunk = malloc(size);
    chunk[-(1 << 20)] = 1;
    return 0;
}
