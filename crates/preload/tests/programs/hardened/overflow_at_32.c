/* says: behind the end */
#include <stdlib.h>

int main(int count, char **words) {
    size_t size = atol(words[1]);
    char *chunk = malloc(size);
    chunk[size + 31] ^= 1;
    free(chunk);
    return 0;
}
