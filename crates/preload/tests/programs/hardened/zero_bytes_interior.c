/* says: inside a chunk */
#include <stdlib.h>

int main(int count, char **words) {
    size_t size = atol(words[1]);
    char *chunk = malloc(0);
    free(chunk + 1);
    return 0;
}
