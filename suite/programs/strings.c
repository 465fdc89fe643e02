/* Growing by reallocation: strings, line buffers and one large array.
 *
 * A thousand strings grow by small appends at random and are cut back now and then. Between
 * them lists of words are read into arrays that double. At the end one array grows in steps
 * of an eighth, to 96 MiB for all threads together. Whoever can grow a chunk where it stands,
 * or move OS pages instead of bytes, wins. Each thread has its own. */
#include "common.h"

#define STRINGS 1000
#define APPENDS 2500000
#define LONGEST 20000

struct string { char *bytes; size_t count, room; };

/* Character number `i` of every string, so that a wrong copy shows. */
static char letter(size_t i) { return (char)('a' + i % 23 + (i >> 8) % 3); }

static void check_string(const struct string *s) {
    for (size_t i = 0; i < s->count; i += i < 64 ? 1 : 61)
        if (s->bytes[i] != letter(i)) wrong(s->bytes, s->count);
}

static void append(struct string *s, size_t count) {
    if (s->count + count > s->room) {
        s->room = s->count + count;
        s->bytes = (char *)must(realloc(s->bytes, s->room));
    }
    for (size_t i = 0; i < count; i++, s->count++) s->bytes[s->count] = letter(s->count);
}

static uint64_t sums[256];
static pthread_barrier_t all_written;

static void *write_text(void *argument) {
    int mine = (int)(intptr_t)argument;
    struct random r = random_from(mine);
    uint64_t sum = 0;
    struct string *strings = (struct string *)must(calloc(STRINGS, sizeof *strings));
    for (long i = 0; i < work(APPENDS); i++) {
        struct string *s = &strings[random_between(&r, 0, STRINGS - 1)];
        append(s, random_between(&r, 1, 40));
        if (s->count > LONGEST || random_between(&r, 0, 299) == 0) {
            check_string(s);
            sum += s->count;
            if (random_between(&r, 0, 1)) {
                free(s->bytes);
                s->bytes = NULL;
                s->count = s->room = 0;
            } else {
                s->count = s->room = s->count / 4 + 1;
                s->bytes = (char *)must(realloc(s->bytes, s->room));
            }
        }
        if (i % 1024 == 0) {
            uint32_t *list = NULL;
            size_t room = 0;
            for (uint32_t n = 0; n < 3000; n++) {
                if (n == room) {
                    room = room ? room * 2 : 4;
                    list = (uint32_t *)must(realloc(list, room * sizeof *list));
                }
                list[n] = n * 7;
            }
            for (uint32_t n = 0; n < 3000; n++)
                if (list[n] != n * 7) wrong(list, room);
            free(list);
        }
    }
    for (int i = 0; i < STRINGS; i++) {
        check_string(&strings[i]);
        free(strings[i].bytes);
    }
    free(strings);
    sums[mine] = sum;
    /* All arrays are there at once, so that the peak does not depend on who is first. */
    pthread_barrier_wait(&all_written);

    size_t words = 1024, most = (size_t)work(100) * 96 * 1048576 / 100 / threads / sizeof(uint64_t);
    uint64_t *array = NULL;
    for (size_t filled = 0; filled < most; words += words / 8) {
        array = (uint64_t *)must(realloc(array, words * sizeof *array));
        for (; filled < words; filled++) array[filled] = filled;
    }
    for (size_t i = 0; i < most; i += 509)
        if (array[i] != i) wrong(array, most);
    pthread_barrier_wait(&all_written);
    free(array);
    return NULL;
}

int main(int argc, char **argv) {
    arguments(argc, argv, "Strings and arrays that grow by realloc.");
    pthread_barrier_init(&all_written, NULL, threads);
    run_threads(threads, write_text);
    uint64_t sum = 0;
    for (int t = 0; t < threads; t++) sum += sums[t];
    printf("%llu bytes of text cut or dropped\n", (unsigned long long)sum);
    return 0;
}
