/* says: foreign */
#include <stdlib.h>

int main(int count, char **words) {
    size_t size = atol(words[1]);
    static char in_program[64];
    malloc(size);
    free(in_program);
    return 0;
}
