/* A write after a free to a chunk that has left the quarantine, and whose memory nobody gets
 * again. */
#include "check.h"

int main(int count, char **words) {
    size_t size = atol(words[1]);
    enum { CHUNKS = 1000 };
    char *chunks[CHUNKS];
    for (int i = 0; i < CHUNKS; i++) chunks[i] = malloc(size);
    for (int i = 0; i < CHUNKS; i++) free(chunks[i]);
    chunks[3][size / 2] ^= 1;
    return 0;
}
