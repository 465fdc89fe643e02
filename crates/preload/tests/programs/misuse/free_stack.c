/* says: foreign */
#include <stdlib.h>

int main(int count, char **words) {
    size_t size = atol(words[1]);
    char on_stack[64];
    malloc(size);
    free(on_stack);
    return 0;
}
