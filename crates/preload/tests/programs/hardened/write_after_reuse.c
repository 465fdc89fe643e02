/* says: after it was freed */
#include <stdlib.h>

int main(int count, char **words) {
    size_t size = atol(words[1]);
    char *chunk = malloc(size);
    free(chunk);
    char *other = malloc(size);
    chunk[size / 2] ^= 1;
    for (int i = 0; i < 100000; i++) free(malloc(size));
    free(other);
    return 0;
}
