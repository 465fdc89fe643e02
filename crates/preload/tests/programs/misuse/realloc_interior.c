/* says: inside a chunk */
#include <stdlib.h>

int main(int count, char **words) {
    size_t size = atol(words[1]);
    char *chunk = malloc(size);
    realloc(chunk + size / 2, size);
    return 0;
}
