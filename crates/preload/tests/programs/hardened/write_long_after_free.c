/* says: after it was freed */
#include <stdlib.h>

int main(int count, char **words) {
    size_t size = atol(words[1]);
    enum { CHUNKS = 300 };
    char *chunks[CHUNKS];
    for (int i = 0; i < CHUNKS; i++) chunks[i] = malloc(size);
    for (int i = 0; i < CHUNKS; i++) free(chunks[i]);
    /* Some of them are in quarantine, others on their way to be used again. */
    for (int i = 0; i < CHUNKS; i++) chunks[i][size / 2] ^= 1;
    for (int i = 0; i < 100000; i++) free(malloc(size));
    return 0;
}
