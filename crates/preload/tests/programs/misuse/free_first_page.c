/* says: foreign */
#include <stdlib.h>

int main(int count, char **words) {
    size_t size = atol(words[1]);
    malloc(size);
    free((void *)8);
    return 0;
}
