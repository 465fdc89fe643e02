/* says: foreign */
#include <stdlib.h>
#include <sys/mman.h>

int main(int count, char **words) {
    size_t size = atol(words[1]);
    malloc(size);
    free(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    return 0;
}
