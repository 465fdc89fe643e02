/* says: nothing */
#include <stdlib.h>
#include <string.h>

int main(int count, char **words) {
    size_t size = atol(words[1]);
    for (int round = 0; round < 300; round++) {
        char *chunk = malloc(size);
        for (size_t at = 0; at < size; at++)
            if (chunk[at] == 'S') return 1;
        memset(chunk, 'S', size);
        free(chunk);
    }
    return 0;
}
