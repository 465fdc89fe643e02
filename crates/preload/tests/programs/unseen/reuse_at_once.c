/* says: nothing */
#include <stdlib.h>

int main(int count, char **words) {
    size_t size = atol(words[1]);
    for (int i = 0; i < 1000; i++) {
        char *chunk = malloc(size);
        free(chunk);
        char *other = malloc(size);
        if (other == chunk) return 1;
        free(other);
    }
    return 0;
}
