/* A key-value store in memory, shared by all threads: words of any length come and go.
 *
 * 65 536 buckets in a hash table behind 64 locks. Each entry is a node, a key and a value, three
 * chunks of their own sizes. Setting a key again reallocates its value, of a few bytes or a
 * few thousand, or one that grows by 16 bytes. Threads share the table and its locks; each
 * has keys of its own. */
#include "common.h"

#define BUCKETS 65536
#define KEYS 200000
#define LOCKS 64
#define OPERATIONS 500000

struct entry { struct entry *next; char *key; unsigned char *value; size_t bytes; };

static struct entry *buckets[BUCKETS];
static pthread_mutex_t locks[LOCKS];
static long kept[256];

static uint32_t hash(const char *key) {
    uint32_t h = 2166136261u;
    for (; *key; key++) h = (h ^ (unsigned char)*key) * 16777619u;
    return h ^ h >> 15;
}

static size_t value_bytes(struct random *r) {
    size_t most = random_between(r, 0, 15) == 0 ? 3000 : 120;
    return random_between(r, 1, most);
}

static void set(struct entry *entry, size_t bytes) {
    if (entry->value) check_paint(entry->value, entry->bytes);
    entry->bytes = bytes;
    entry->value = (unsigned char *)must(realloc(entry->value, bytes));
    paint(entry->value, bytes);
}

static void drop(struct entry *entry) {
    check_paint(entry->value, entry->bytes);
    free(entry->value);
    free(entry->key);
    free(entry);
}

static void *serve(void *argument) {
    int mine = (int)(intptr_t)argument;
    struct random r = random_from(mine);
    long count = 0;
    for (long i = 0; i < work(OPERATIONS); i++) {
        char key[48];
        size_t number = random_between(&r, 0, KEYS - 1);
        /* The threads' keys differ, so that the end does not depend on who was first. */
        snprintf(key, sizeof key, "%.*s:%zu:%d", 3 + (int)(number % 17), "customer:orders:open",
                 number, mine);
        uint32_t h = hash(key) % BUCKETS;
        size_t act = random_between(&r, 0, 9), bytes = value_bytes(&r);
        pthread_mutex_lock(&locks[h % LOCKS]);
        struct entry **link = &buckets[h];
        while (*link && strcmp((*link)->key, key) != 0) link = &(*link)->next;
        struct entry *entry = *link;
        if (!entry && act < 7) {
            entry = (struct entry *)must(calloc(1, sizeof *entry));
            entry->key = (char *)must(strdup(key));
            entry->next = buckets[h];
            set(entry, bytes);
            buckets[h] = entry;
            count++;
        } else if (entry && act < 5) {
            set(entry, act == 0 ? entry->bytes + 16 : bytes);
        } else if (entry && act < 8) {
            *link = entry->next;
            count--;
            drop(entry);
        } else if (entry) {
            check_paint(entry->value, entry->bytes);
        }
        pthread_mutex_unlock(&locks[h % LOCKS]);
    }
    kept[mine] = count;
    return NULL;
}

int main(int argc, char **argv) {
    arguments(argc, argv, "A shared key-value store with values of all sizes.");
    for (int i = 0; i < LOCKS; i++) pthread_mutex_init(&locks[i], NULL);
    run_threads(threads, serve);
    long count = 0, found = 0;
    uint64_t bytes = 0;
    for (int t = 0; t < threads; t++) count += kept[t];
    for (int b = 0; b < BUCKETS; b++) {
        while (buckets[b]) {
            struct entry *entry = buckets[b];
            buckets[b] = entry->next;
            bytes += entry->bytes;
            found++;
            drop(entry);
        }
    }
    if (found != count) wrong(buckets, sizeof buckets);
    printf("%ld keys with %llu bytes at the end\n", found, (unsigned long long)bytes);
    return 0;
}
