/* says: the size is wrong */
#include <stdlib.h>

int main(int count, char **words) {
    size_t size = atol(words[1]);
    void free_sized(void *, size_t) __attribute__((weak));
    char *chunk = malloc(size);
    free_sized(chunk, size + 1);
    return 0;
}
