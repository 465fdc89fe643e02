/* says: before the start */
#include <stdlib.h>

int main(int count, char **words) {
    size_t size = atol(words[1]);
    char *chunk = malloc(size);
    chunk[-1] ^= 1;
    free(chunk);
    return 0;
}
