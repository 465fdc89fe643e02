/* says: nothing */
#include <stdlib.h>
#include <string.h>

int main(int count, char **words) {
    size_t size = atol(words[1]);
    for (int round = 0; round < 100; round++) {
        char *chunk = malloc(size);
        memset(chunk, 'S', size);
        chunk = realloc(chunk, 1);
        chunk = realloc(chunk, size);
        for (size_t at = 1; at < size; at++)
            if (chunk[at] == 'S') return 1;
        chunk[0] = 0;
        free(chunk);
    }
    return 0;
}
