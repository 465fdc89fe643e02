/* says: behind the end */
#include <stdlib.h>

int main(int count, char **words) {
    size_t size = atol(words[1]);
    char *chunk = realloc(malloc(size + 6), size + 3);
    chunk[size + 3] ^= 1;
    free(chunk);
    return 0;
}
