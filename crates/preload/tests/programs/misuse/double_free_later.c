/* says: freed twice */
#include <stdlib.h>

int main(int count, char **words) {
    size_t size = atol(words[1]);
    char *chunk = malloc(size), *other = malloc(size), *third = malloc(size);
    free(other);
    free(chunk);
    free(third);
    free(chunk);
    return 0;
}
