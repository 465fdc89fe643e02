/* A server that works in bursts of random sizes, 8 to 16 000 bytes, small ones more often.
 *
 * A burst allocates some hundred chunks, resizes a few, and frees half of them in
 * another order; the other half goes into a mailbox of the next thread, which frees it
 * during its own burst. The pattern is that of a server with many kinds of requests, as
 * in the rptest of the rpmalloc benchmark. */
#include "common.h"
#include <sched.h>
#include <stdatomic.h>

#define BURSTS 12000
#define SMALLEST 8
#define LARGEST 16000
#define MOST 400

struct item { void *chunk; size_t bytes; };
struct parcel { struct parcel *next; long count; struct item items[MOST]; };

/* Parcels for a thread: anybody puts one in, the thread takes all of them. */
static _Atomic(struct parcel *) mailboxes[256];
static atomic_long waiting[256];
static atomic_long sent, received;
static atomic_int serving;

static void open_mail(int mine) {
    struct parcel *parcel = atomic_exchange(&mailboxes[mine], NULL);
    while (parcel) {
        for (long i = 0; i < parcel->count; i++) {
            check(parcel->items[i].chunk, parcel->items[i].bytes);
            free(parcel->items[i].chunk);
        }
        received += parcel->count;
        waiting[mine]--;
        struct parcel *next = parcel->next;
        free(parcel);
        parcel = next;
    }
}

/* A mailbox that holds 16 parcels is full; whoever waits for it reads its own mail. */
static void post(int mine, int to, struct parcel *parcel) {
    while (waiting[to] >= 16) {
        open_mail(mine);
        sched_yield();
    }
    waiting[to]++;
    parcel->next = atomic_load(&mailboxes[to]);
    while (!atomic_compare_exchange_weak(&mailboxes[to], &parcel->next, parcel)) {}
}

/* Mostly small: half of them are below 2000 bytes. */
static size_t size(struct random *r) {
    double unit = (double)(random_next(r) >> 11) / 9007199254740992.0;
    return SMALLEST + (size_t)((LARGEST - SMALLEST) * unit * unit * unit);
}

static void *serve(void *argument) {
    int mine = (int)(intptr_t)argument;
    struct random r = random_from(mine);
    struct item items[MOST];
    for (long burst = 0; burst < work(BURSTS); burst++) {
        long count = (long)random_between(&r, MOST / 4, MOST);
        for (long i = 0; i < count; i++) {
            items[i].bytes = size(&r);
            items[i].chunk = must(malloc(items[i].bytes));
            stamp(items[i].chunk, items[i].bytes);
        }
        for (long i = 0; i < count / 8; i++) {
            struct item *item = &items[random_between(&r, 0, count - 1)];
            check(item->chunk, item->bytes);
            item->bytes = size(&r);
            item->chunk = must(realloc(item->chunk, item->bytes));
            stamp(item->chunk, item->bytes);
        }
        struct parcel *parcel = (struct parcel *)must(malloc(sizeof *parcel));
        parcel->count = 0;
        while (count > 0) {
            long which = (long)random_between(&r, 0, count - 1);
            struct item item = items[which];
            items[which] = items[--count];
            if (count % 2) {
                parcel->items[parcel->count++] = item;
            } else {
                check(item.chunk, item.bytes);
                free(item.chunk);
            }
        }
        sent += parcel->count;
        post(mine, (mine + 1) % threads, parcel);
        open_mail(mine);
    }
    serving--;
    while (serving > 0) {
        open_mail(mine);
        sched_yield();
    }
    return NULL;
}

int main(int argc, char **argv) {
    arguments(argc, argv, "Bursts of 8 to 16 000 bytes, half of them freed by another thread.");
    serving = threads;
    run_threads(threads, serve);
    for (int t = 0; t < threads; t++) open_mail(t);
    if (sent != received) wrong(&sent, sizeof sent);
    printf("%ld chunks changed threads\n", sent);
    return 0;
}
