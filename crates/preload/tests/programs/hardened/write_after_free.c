/* says: after it was freed */
#include <stdlib.h>

int main(int count, char **words) {
    size_t size = atol(words[1]);
    char *chunk = malloc(size);
    free(chunk);
    chunk[size / 2] ^= 1;
    return 0;
}
