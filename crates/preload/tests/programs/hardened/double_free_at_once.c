/* says: freed twice */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static atomic_int ready;

static void *release(void *chunk) {
    ready++;
    while (ready < 2) {}
    free(chunk);
    return NULL;
}

/* Two threads free one chunk at the same moment. */
static void twice(size_t size) {
    char *chunk = malloc(size);
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, release, chunk);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
}

int main(int count, char **words) {
    size_t size = atol(words[1]);
    for (int i = 0; i < 50; i++) {
        int status;
        pid_t child = fork();
        if (child == 0) {
            close(2);
            twice(size);
            _exit(0);
        }
        waitpid(child, &status, 0);
        if (!WIFSIGNALED(status)) return 1;
        /* A large chunk may have lost all access when the second thread looks at it. */
        int fault = size > 32 << 10 && WTERMSIG(status) == SIGSEGV;
        if (WTERMSIG(status) != SIGABRT && !fault) return 1;
    }
    twice(size);
    return 0;
}
