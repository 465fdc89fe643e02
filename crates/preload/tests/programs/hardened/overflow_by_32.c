/* says: behind the end */
#include <stdlib.h>
#include <string.h>

int main(int count, char **words) {
    size_t size = atol(words[1]);
    char *chunk = malloc(size);
    memset(chunk + size, 0, 32);
    free(chunk);
    return 0;
}
