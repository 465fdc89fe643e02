/* says: freed twice */
#include <malloc.h>
#include <stdlib.h>

int main(int count, char **words) {
    size_t size = atol(words[1]);
    char *chunk = malloc(size);
    free(chunk);
    malloc_usable_size(chunk);
    return 0;
}
