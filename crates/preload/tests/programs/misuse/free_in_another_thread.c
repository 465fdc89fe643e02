/* says: freed twice */
#include <pthread.h>
#include <stdlib.h>

static void *release(void *chunk) {
    free(chunk);
    return NULL;
}

int main(int count, char **words) {
    size_t size = atol(words[1]);
    char *chunk = malloc(size);
    pthread_t thread;
    pthread_create(&thread, NULL, release, chunk);
    pthread_join(thread, NULL);
    free(chunk);
    return 0;
}
