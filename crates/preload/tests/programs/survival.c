/* What a process goes through: forks in threads, short threads, signals, dlopen, limits.
 * The argument says which. */
#include "check.h"
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>

/* A few hundred chunks of all sizes, checked. */
static void churn(unsigned seed) {
    enum { COUNT = 200 };
    unsigned char *chunks[COUNT] = {0};
    size_t sizes[COUNT];
    for (int step = 0; step < 2000; step++) {
        seed = seed * 1103515245 + 12345;
        int at = (seed >> 16) % COUNT;
        if (chunks[at]) {
            for (size_t i = 0; i < sizes[at]; i += 97) CHECK(chunks[at][i] == (unsigned char)at);
            free(chunks[at]);
        }
        sizes[at] = seed % 7 ? (seed >> 8) % 500 : (seed >> 8) % 100000;
        CHECK((chunks[at] = malloc(sizes[at])));
        memset(chunks[at], at, sizes[at]);
    }
    for (int at = 0; at < COUNT; at++) free(chunks[at]);
}

static volatile int stop;

static void *churn_until_stop(void *seed) {
    while (!stop) churn((uintptr_t)seed);
    return NULL;
}

static void *churn_once(void *seed) {
    churn((uintptr_t)seed);
    return malloc(100);
}

static void forks(void) {
    pthread_t threads[3];
    for (uintptr_t i = 0; i < 3; i++)
        CHECK(pthread_create(&threads[i], NULL, churn_until_stop, (void *)i) == 0);
    for (int round = 0; round < 50; round++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            churn(round);
            /* Also with threads of its own. */
            pthread_t thread;
            CHECK(pthread_create(&thread, NULL, churn_once, NULL) == 0);
            pthread_join(thread, NULL);
            _exit(0);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
    }
    stop = 1;
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
}

/* Memory after the last round against memory after the first. */
static long resident(void) {
    long pages, all;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file && fscanf(file, "%ld %ld", &all, &pages) == 2);
    fclose(file);
    return pages * 4;
}

static void *hello(void *data) {
    char *chunk = malloc(1000);
    memset(chunk, 1, 1000);
    free(data);
    return chunk;
}

static void threads(void) {
    long first = 0;
    for (int round = 0; round < 500; round++) {
        pthread_t threads[8];
        void *left;
        for (int i = 0; i < 8; i++)
            CHECK(pthread_create(&threads[i], NULL, hello, malloc(50)) == 0);
        for (int i = 0; i < 8; i++) pthread_join(threads[i], &left), free(left);
        if (round == 50) first = resident();
    }
    /* In KiB. What each of the 3600 threads since then had is more than 10. */
    CHECK(resident() < first + 2000);
}

static volatile int signals;

static void on_signal(int number) {
    signals++;
}

static void with_signals(void) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval timer = {{0, 300}, {0, 300}};
    setitimer(ITIMER_REAL, &timer, NULL);
    pthread_t other;
    CHECK(pthread_create(&other, NULL, churn_until_stop, (void *)7) == 0);
    for (unsigned i = 0; i < 50 || signals < 20; i++) churn(i);
    stop = 1;
    pthread_join(other, NULL);
}

static void libraries(void) {
    for (int round = 0; round < 20; round++) {
        void *library = dlopen("libm.so.6", RTLD_NOW | RTLD_LOCAL);
        CHECK(library);
        double (*root)(double) = (double (*)(double))dlsym(library, "sqrt");
        CHECK(root && root(49) == 7);
        CHECK(dlsym(library, "no_such_function") == NULL && dlerror());
        churn(round);
        dlclose(library);
    }
}

/* Memory that runs out under a limit of so many bytes, which limit.c has set. */
static void limited(size_t bytes) {
    char **chain = NULL;
    size_t got = 0;
    for (;;) {
        errno = 0;
        char **chunk = malloc(100000);
        if (!chunk) break;
        memset(chunk, 1, 100000);
        *chunk = (char *)chain;
        chain = chunk;
        got += 100000;
    }
    CHECK(errno == ENOMEM && got > bytes / 3);
    errno = 0;
    CHECK(calloc(1, 50000000) == NULL && errno == ENOMEM);
    while (chain) {
        char **next = (char **)*chain;
        free(chain);
        chain = next;
    }
    /* All of it can be had again. */
    char *large = malloc(got / 2);
    CHECK(large);
    memset(large, 1, got / 2);
    free(large);
    churn(1);
}

/* Before any constructor of the program's, and after the last destructor of it. */
static char *early;
__attribute__((constructor(101))) static void first(void) { CHECK((early = malloc(100))); }
__attribute__((destructor(101))) static void last(void) {
    free(early);
    churn(5);
}
static void at_exit(void) { churn(6); }

static pthread_key_t key;
static int destroyed;
static void destroy(void *value) {
    churn(3);
    free(value);
    /* Again, as long as the system allows. */
    if (++destroyed % 3) pthread_setspecific(key, malloc(64));
}
static void *with_key(void *_) {
    pthread_setspecific(key, malloc(64));
    return NULL;
}

static void ends(void) {
    CHECK(early && atexit(at_exit) == 0);
    /* Keys beyond the first few are kept in memory that is allocated. */
    for (int i = 0; i < 100; i++) CHECK(pthread_key_create(&key, destroy) == 0);
    for (int i = 0; i < 50; i++) {
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, with_key, NULL) == 0);
        pthread_join(thread, NULL);
    }
    CHECK(destroyed >= 50);
}

/* One thread allocates what the other frees. */
static void *box[64];
static void *consume(void *_) {
    for (int got = 0; got < 300000;) {
        for (int i = 0; i < 64; i++) {
            void *chunk = __atomic_exchange_n(&box[i], NULL, __ATOMIC_ACQ_REL);
            if (chunk) free(chunk), got++;
        }
        sched_yield();
    }
    return NULL;
}

static void handed_over(void) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, consume, NULL) == 0);
    for (int given = 0; given < 300000;) {
        for (int i = 0; i < 64 && given < 300000; i++) {
            if (__atomic_load_n(&box[i], __ATOMIC_ACQUIRE)) continue;
            void *chunk = malloc(16 + given % 1000);
            memset(chunk, 1, 16);
            __atomic_store_n(&box[i], chunk, __ATOMIC_RELEASE);
            given++;
        }
        sched_yield();
    }
    pthread_join(thread, NULL);
}

int main(int count, char **words) {
    CHECK(count > 1);
    if (!strcmp(words[1], "forks")) forks();
    else if (!strcmp(words[1], "threads")) threads();
    else if (!strcmp(words[1], "signals")) with_signals();
    else if (!strcmp(words[1], "libraries")) libraries();
    else if (!strcmp(words[1], "limited")) limited((size_t)atol(words[2]) << 20);
    else if (!strcmp(words[1], "ends")) ends();
    else if (!strcmp(words[1], "handed_over")) handed_over();
    else return 2;
    return 0;
}
