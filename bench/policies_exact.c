// SPDX-License-Identifier: Apache-2.0
#include <stdbool.h>
#include <stdlib.h>

#include "bench/policies_exact.h"

#define NONE UINT32_MAX

enum place { NOWHERE, SMALL, MAIN };

struct object {
    uint32_t next;
    uint32_t prev;
    uint8_t place;
    uint8_t reads;
    uint64_t ghost; // its place in the ring + 1, 0 = not remembered
};

struct list {
    uint32_t head; // oldest
    uint32_t tail;
    uint64_t bytes;
    uint64_t count;
};

struct cache {
    const struct trace *trace;
    struct object *objects;
    struct list small, main;
    uint64_t capacity;
    uint32_t *ghost; // ring of ids
    uint64_t ghost_first, ghost_end;
};

static void append(struct cache *c, struct list *l, uint32_t id, enum place place)
{
    struct object *o = &c->objects[id];
    o->next = NONE;
    o->prev = l->tail;
    o->place = (uint8_t)place;
    if (l->tail != NONE)
        c->objects[l->tail].next = id;
    else
        l->head = id;
    l->tail = id;
    l->bytes += c->trace->cost[id];
    l->count++;
}

static void unlink_object(struct cache *c, struct list *l, uint32_t id)
{
    struct object *o = &c->objects[id];
    if (o->prev != NONE)
        c->objects[o->prev].next = o->next;
    else
        l->head = o->next;
    if (o->next != NONE)
        c->objects[o->next].prev = o->prev;
    else
        l->tail = o->prev;
    o->place = NOWHERE;
    l->bytes -= c->trace->cost[id];
    l->count--;
}

// The ghost holds as many ids as main has objects.
static void ghost_add(struct cache *c, uint32_t id)
{
    c->ghost[c->ghost_end++ % c->trace->objects] = id;
    c->objects[id].ghost = c->ghost_end;
    for (; c->ghost_end - c->ghost_first > c->main.count && c->ghost_first < c->ghost_end; c->ghost_first++) {
        struct object *o = &c->objects[c->ghost[c->ghost_first % c->trace->objects]];
        if (o->ghost == c->ghost_first + 1)
            o->ghost = 0;
    }
}

static void evict_main(struct cache *c)
{
    for (;;) {
        uint32_t id = c->main.head;
        unlink_object(c, &c->main, id);
        if (c->objects[id].reads == 0)
            return;
        c->objects[id].reads--;
        append(c, &c->main, id, MAIN);
    }
}

static void evict_small(struct cache *c)
{
    uint32_t id = c->small.head;
    unlink_object(c, &c->small, id);
    if (c->objects[id].reads > 1) {
        c->objects[id].reads = 0;
        append(c, &c->main, id, MAIN);
        return;
    }
    ghost_add(c, id);
}

static void s3fifo_insert(struct cache *c, uint32_t id)
{
    while (c->small.bytes + c->main.bytes + c->trace->cost[id] > c->capacity) {
        if (c->small.count > 0 && (c->small.bytes * 10 > c->capacity || c->main.count == 0))
            evict_small(c);
        else
            evict_main(c);
    }
    struct object *o = &c->objects[id];
    o->reads = 0;
    if (o->ghost != 0) {
        o->ghost = 0;
        append(c, &c->main, id, MAIN);
    } else {
        append(c, &c->small, id, SMALL);
    }
}

static void insert(struct cache *c, uint32_t id)
{
    while (c->main.bytes + c->trace->cost[id] > c->capacity)
        unlink_object(c, &c->main, c->main.head);
    append(c, &c->main, id, MAIN);
}

// True: it was there.
static bool request(struct cache *c, enum exact policy, uint32_t id)
{
    struct object *o = &c->objects[id];
    if (o->place == NOWHERE) {
        if (policy == EXACT_S3FIFO)
            s3fifo_insert(c, id);
        else
            insert(c, id);
        return false;
    }
    if (policy == EXACT_LRU) {
        unlink_object(c, &c->main, id);
        append(c, &c->main, id, MAIN);
    }
    if (o->reads < 3)
        o->reads++;
    return true;
}

// Belady: a heap of (next use, id), with entries that are out of date left in it.

struct use {
    uint32_t at;
    uint32_t id;
};

struct heap {
    struct use *uses;
    size_t count;
};

static void heap_push(struct heap *h, struct use u)
{
    size_t i = h->count++;
    for (; i > 0 && h->uses[(i - 1) / 2].at < u.at; i = (i - 1) / 2)
        h->uses[i] = h->uses[(i - 1) / 2];
    h->uses[i] = u;
}

static struct use heap_pop(struct heap *h)
{
    struct use top = h->uses[0], last = h->uses[--h->count];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < h->count; i = child) {
        if (child + 1 < h->count && h->uses[child + 1].at > h->uses[child].at)
            child++;
        if (h->uses[child].at <= last.at)
            break;
        h->uses[i] = h->uses[child];
    }
    h->uses[i] = last;
    return top;
}

static uint64_t belady(const struct trace *t, uint64_t capacity, uint32_t from)
{
    uint32_t *next = malloc((size_t)t->length * sizeof *next);
    uint32_t *due = malloc((size_t)t->objects * sizeof *due); // next use of what is in the cache, NONE = not in it
    struct heap h = { .uses = malloc((size_t)t->length * sizeof *h.uses) };
    for (uint32_t id = 0; id < t->objects; id++)
        due[id] = t->length;
    for (uint32_t i = t->length; i-- > 0;) {
        next[i] = due[t->ids[i]];
        due[t->ids[i]] = i;
    }
    for (uint32_t id = 0; id < t->objects; id++)
        due[id] = NONE;
    uint64_t misses = 0, bytes = 0;
    for (uint32_t i = 0; i < t->length; i++) {
        uint32_t id = t->ids[i];
        if (due[id] == NONE) {
            misses += i >= from;
            bytes += t->cost[id];
        }
        due[id] = next[i];
        heap_push(&h, (struct use){ .at = next[i], .id = id });
        while (bytes > capacity) {
            struct use u = heap_pop(&h);
            if (due[u.id] != u.at)
                continue;
            due[u.id] = NONE;
            bytes -= t->cost[u.id];
        }
    }
    free(next);
    free(due);
    free(h.uses);
    return misses;
}

uint64_t exact_misses(enum exact policy, const struct trace *t, uint64_t capacity, uint32_t from)
{
    if (policy == EXACT_BELADY)
        return belady(t, capacity, from);
    struct cache c = { .trace = t, .capacity = capacity };
    c.small = c.main = (struct list){ .head = NONE, .tail = NONE };
    c.objects = calloc(t->objects, sizeof *c.objects);
    c.ghost = malloc((size_t)t->objects * sizeof *c.ghost);
    uint64_t misses = 0;
    for (uint32_t i = 0; i < t->length; i++)
        misses += !request(&c, policy, t->ids[i]) && i >= from;
    free(c.objects);
    free(c.ghost);
    return misses;
}
