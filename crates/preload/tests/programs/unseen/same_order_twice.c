/* says: nothing */
#include <stdlib.h>

int main(int count, char **words) {
    size_t size = atol(words[1]);
    /* Fresh chunks do not come in the order of their addresses. */
    char *last = malloc(size);
    int ascending = 0;
    for (int i = 0; i < 100; i++) {
        char *next = malloc(size);
        ascending += next > last;
        last = next;
    }
    return size < 4096 && ascending > 80;
    return 0;
}
