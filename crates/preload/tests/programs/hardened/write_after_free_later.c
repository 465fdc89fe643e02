/* says: after it was freed */
#include <stdlib.h>

int main(int count, char **words) {
    size_t size = atol(words[1]);
    char *chunk = malloc(size);
    free(chunk);
    chunk[size - 1] ^= 1;
    for (int i = 0; i < 100000; i++) free(malloc(size));
    return 0;
}
