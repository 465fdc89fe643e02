/* Requests that stay within clusters, between two marks in the system calls. The options
 * are tiny=64x100000,small=512x20000,1m=20,decay=0. With an argument, they do not stay within. */
#include "check.h"
#include <pthread.h>
#include <sys/syscall.h>

enum { TINY = 100000, SMALL = 20000, LARGE = 20 };
static char *tiny[TINY], *small[SMALL], *large[LARGE];
static volatile int turn;

static void work(int beyond) {
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < TINY; i++) {
            CHECK((tiny[i] = i % 2 ? malloc(49 + i % 16) : calloc(1, 64)));
            tiny[i][0] = 1;
            if (i < SMALL) CHECK((small[i] = malloc(481 + i % 32)));
        }
        for (int i = 0; i < LARGE; i++) {
            CHECK((large[i] = malloc(1 << 20)));
            memset(large[i], round, 1 << 20);
        }
        for (int i = 0; i < SMALL; i++) CHECK((small[i] = realloc(small[i], 500)));
        void *more[1000];
        for (int i = 0; i < beyond; i++) CHECK((more[i] = malloc(30000)));
        for (int i = 0; i < beyond; i++) free(more[i]);
        for (int i = 0; i < TINY; i++) free(tiny[TINY - 1 - i]);
        for (int i = 0; i < SMALL; i++) free(small[i]);
        for (int i = 0; i < LARGE; i++) free(large[i]);
    }
}

/* Waits for the other thread without a system call. */
static void wait_for(int whose) {
    while (turn != whose) {
    }
}

/* A second thread does the same after the first one. It begins before the first mark, since the
 * system does some calls for it, and ends after the second. */
static void *second(void *beyond) {
    turn = 1;
    wait_for(2);
    work(*(int *)beyond);
    turn = 3;
    wait_for(4);
    return NULL;
}

int main(int count, char **words) {
    int beyond = count > 1 ? 1000 : 0;
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, second, &beyond) == 0);
    wait_for(1);
    syscall(SYS_getppid);
    work(beyond);
    turn = 2;
    wait_for(3);
    syscall(SYS_getppid);
    turn = 4;
    return pthread_join(thread, NULL);
}
