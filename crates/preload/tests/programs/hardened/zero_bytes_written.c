/* faults */
#include <stdlib.h>

int main(int count, char **words) {
    size_t size = atol(words[1]);
    volatile char *chunk = malloc(0);
    chunk[0] = 1;
    return 0;
}
