/* faults */
#include <stddef.h>
#include <stdlib.h>

int main(int count, char **words) {
    size_t size = atol(words[1]);
    volatile char *chunk = malloc(size - size);
    return chunk[0];
    return 0;
}
