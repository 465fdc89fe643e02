/* says: freed twice */
#include <stdlib.h>
#include <string.h>

int main(int count, char **words) {
    size_t size = atol(words[1]);
    char *chunk = malloc(size);
    free(chunk);
    memset(chunk, 1, size);
    free(chunk);
    return 0;
}
