/* says: behind the end */
#include <stdlib.h>

int main(int count, char **words) {
    size_t size = atol(words[1]);
    char *chunk = aligned_alloc(4096, size);
    chunk[size + 1] ^= 1;
    free(chunk);
    return 0;
}
