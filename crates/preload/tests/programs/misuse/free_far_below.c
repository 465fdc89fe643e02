/* says: foreign */
#include <stdlib.h>

int main(int count, char **words) {
    size_t size = atol(words[1]);
    char *chunk = malloc(size);
    free(chunk - ((size_t)1 << 40));
    return 0;
}
