/* says: nothing */
#include <stdlib.h>
#include <string.h>

int main(int count, char **words) {
    size_t size = atol(words[1]);
    char *chunk = malloc(size);
    memset(chunk, 'S', size);
    free(chunk);
    for (size_t at = 0; at < size; at++)
        if (chunk[at] == 'S') return 1;
    return 0;
}
