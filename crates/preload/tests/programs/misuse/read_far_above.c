/* faults */
#include <stdlib.h>

/* A mebibyte further: in a small heap there is no chunk. */
int main(int count, char **words) {
    size_t size = atol(words[1]);
    volatile char *chunk = malloc(size);
    return chunk[size - 1 + (1 << 20)];
}
