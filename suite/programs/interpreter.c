/* An interpreter at work: strings, tables and trees that a collector sweeps.
 *
 * A toy language's objects, every one a chunk of its own: cons cells, strings that are
 * concatenated, tables that grow by reallocation. A script of fixed operations builds lists
 * and tables of them, rewrites parts, and forgets others. Whenever twice as much is allocated
 * as was alive after the last collection, mark and sweep frees what cannot be reached, the
 * youngest first. One thread.
 *
 * The pattern is that of interpreters such as Lua under a script that builds data. */
#include "common.h"

#define STEPS 4000000
#define GLOBALS 4096

enum kind { CELL, STRING, TABLE };

/* All objects hang in one list, which the sweep walks. */
struct object { struct object *next; uint8_t kind, marked; uint32_t count; };
struct cell { struct object object; struct object *head, *tail; };
struct string { struct object object; uint32_t hash; char bytes[]; };
struct table { struct object object; uint32_t room; struct object **slots; };

static struct object *all, *globals[GLOBALS];
static long live, limit = 20000, collections, swept;

static void *object_new(enum kind kind, size_t bytes, uint32_t count) {
    struct object *object = (struct object *)must(malloc(bytes));
    object->next = all;
    object->kind = (uint8_t)kind;
    object->marked = 0;
    object->count = count;
    all = object;
    live++;
    return object;
}

static struct object *cell_new(struct object *head, struct object *tail) {
    struct cell *cell = (struct cell *)object_new(CELL, sizeof *cell, 2);
    cell->head = head;
    cell->tail = tail;
    return &cell->object;
}

static uint32_t hash(const char *bytes, uint32_t count) {
    uint32_t h = 2166136261u;
    for (uint32_t i = 0; i < count; i++) h = (h ^ (unsigned char)bytes[i]) * 16777619u;
    return h;
}

static struct object *string_new(const char *a, uint32_t a_count, const char *b, uint32_t b_count) {
    uint32_t count = a_count + b_count;
    struct string *string = (struct string *)object_new(STRING, sizeof *string + count + 1, count);
    memcpy(string->bytes, a, a_count);
    memcpy(string->bytes + a_count, b, b_count);
    string->bytes[count] = 0;
    string->hash = hash(string->bytes, count);
    return &string->object;
}

static struct object *table_new(void) {
    struct table *table = (struct table *)object_new(TABLE, sizeof *table, 0);
    table->room = 0;
    table->slots = NULL;
    return &table->object;
}

static void table_push(struct table *table, struct object *value) {
    if (table->object.count == table->room) {
        table->room = table->room ? table->room * 2 : 4;
        table->slots = (struct object **)must(
            realloc(table->slots, table->room * sizeof(struct object *)));
    }
    table->slots[table->object.count++] = value;
}

static void mark(struct object *object) {
    while (object && !object->marked) {
        object->marked = 1;
        if (object->kind == CELL) {
            mark(((struct cell *)object)->head);
            object = ((struct cell *)object)->tail;
        } else if (object->kind == TABLE) {
            struct table *table = (struct table *)object;
            for (uint32_t i = 0; i < object->count; i++) mark(table->slots[i]);
            return;
        } else {
            return;
        }
    }
}

static void object_free(struct object *object) {
    if (object->kind == STRING) {
        struct string *string = (struct string *)object;
        if (string->hash != hash(string->bytes, object->count)) wrong(object, object->count);
    } else if (object->kind == TABLE) {
        free(((struct table *)object)->slots);
    }
    free(object);
    live--;
    swept++;
}

static void collect(void) {
    for (int i = 0; i < GLOBALS; i++) mark(globals[i]);
    for (struct object **link = &all; *link;) {
        struct object *object = *link;
        if (object->marked) {
            object->marked = 0;
            link = &object->next;
        } else {
            *link = object->next;
            object_free(object);
        }
    }
    collections++;
    limit = live * 2 > 20000 ? live * 2 : 20000;
}

static uint32_t depth(struct object *object) {
    uint32_t d = 0;
    while (object && object->kind == CELL && d < 100) {
        object = ((struct cell *)object)->tail;
        d++;
    }
    return d;
}

int main(int argc, char **argv) {
    arguments(argc, argv, "Objects of an interpreter with a mark-and-sweep collector; one thread.");
    struct random r = random_from(8);
    uint64_t sum = 0;
    for (long step = 0; step < work(STEPS); step++) {
        struct object **slot = &globals[random_between(&r, 0, GLOBALS - 1)];
        struct object *other = globals[random_between(&r, 0, GLOBALS - 1)];
        switch (random_between(&r, 0, 9)) {
        case 0: case 1: case 2: {
            char text[40];
            int count = snprintf(text, sizeof text, "name%zu", random_between(&r, 0, 99999999));
            *slot = cell_new(string_new(text, (uint32_t)count, "", 0),
                             depth(*slot) < 60 ? *slot : NULL);
            break;
        }
        case 3: case 4:
            if (other && other->kind == STRING && other->count < 400) {
                struct string *string = (struct string *)other;
                *slot = string_new(string->bytes, other->count, ", and so on", 11);
            } else {
                *slot = string_new("text", 4, " to begin with", 14);
            }
            break;
        case 5: case 6: case 7:
            if (!*slot || (*slot)->kind != TABLE || (*slot)->count > 200) *slot = table_new();
            table_push((struct table *)*slot, string_new("value", 5, (char *)&step, 4));
            break;
        case 8:
            *slot = cell_new(other && other->kind == STRING ? other : NULL, NULL);
            break;
        default:
            sum += *slot ? (*slot)->count : 0;
            if (random_between(&r, 0, 3) == 0) *slot = NULL;
        }
        if (live > limit) collect();
    }
    memset(globals, 0, sizeof globals);
    collect();
    printf("%ld objects swept in %ld collections, sum %llu\n",
           swept, collections, (unsigned long long)sum);
    return 0;
}
