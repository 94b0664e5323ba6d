// SPDX-License-Identifier: Apache-2.0
// Invariants: a chunk in the list has records in [first, end), except that the tail may be empty; records = their number.
#include "engine/store/queue.h"

#include <errno.h>
#include <string.h>

#include "engine/store/entry.h"

#define CHUNK_RECORDS  252u
#define PREFETCH_AHEAD 8u

struct chunk {
    uint32_t next;
    uint32_t number;
    uint32_t first;
    uint32_t end;
    uint32_t refs[CHUNK_RECORDS];
};
static_assert(sizeof(struct chunk) == 1024, "a slot class of its own size");

static struct chunk *chunk_at(const struct slabs *slabs, uint32_t ref)
{
    return arena_at(&slabs->arena, ref);
}

void queue_init(struct queue *q, struct slabs *slabs)
{
    *q = (struct queue){ .slabs = slabs };
}

int queue_make_room(struct queue *q)
{
    if (q->spare == 0)
        q->spare = slab_take(q->slabs, SLAB_ORDER, sizeof(struct chunk));
    return q->spare == 0 ? -ENOMEM : 0;
}

static struct chunk *new_tail(struct queue *q)
{
    assert(q->spare != 0);
    uint32_t ref = q->spare;
    q->spare = 0;
    struct chunk *c = chunk_at(q->slabs, ref);
    c->next = 0;
    c->number = q->number++;
    c->first = c->end = 0;
    if (q->tail != 0)
        chunk_at(q->slabs, q->tail)->next = ref;
    else
        q->head = ref;
    q->tail = ref;
    return c;
}

uint32_t queue_push(struct queue *q, uint32_t ref)
{
    struct chunk *c = q->tail == 0 ? NULL : chunk_at(q->slabs, q->tail);
    if (c == NULL || c->end == CHUNK_RECORDS)
        c = new_tail(q);
    c->refs[c->end++] = ref;
    q->records++;
    return c->number;
}

static void drop_head(struct queue *q)
{
    uint32_t ref = q->head;
    q->head = chunk_at(q->slabs, ref)->next;
    if (q->head == 0)
        q->tail = 0;
    if (q->sweep_before == ref)
        q->sweep_before = 0; // the next one to look at is the head now
    slab_give(q->slabs, ref);
}

bool queue_pop(struct queue *q, struct queue_record *r)
{
    while (q->head != 0) {
        struct chunk *c = chunk_at(q->slabs, q->head);
        if (c->first == c->end) {
            drop_head(q);
            continue;
        }
        if (c->first + PREFETCH_AHEAD < c->end)
            entry_prefetch(arena_at(&q->slabs->arena, c->refs[c->first + PREFETCH_AHEAD]));
        *r = (struct queue_record){ .ref = c->refs[c->first++], .number = c->number };
        q->records--;
        if (c->first == c->end)
            drop_head(q);
        return true;
    }
    return false;
}

uint32_t queue_detach(struct queue *q)
{
    uint32_t chunks = q->head;
    if (q->spare != 0)
        slab_give(q->slabs, q->spare);
    uint32_t number = q->number;
    queue_init(q, q->slabs);
    q->number = number;
    return chunks;
}

bool queue_free_some(struct slabs *slabs, uint32_t *chunks, uint32_t *budget)
{
    for (; *chunks != 0 && *budget > 0; --*budget) {
        uint32_t ref = *chunks;
        *chunks = chunk_at(slabs, ref)->next;
        slab_give(slabs, ref);
    }
    return *chunks == 0;
}

// Keeps the true records of a chunk, in their order.
static void sweep_chunk(struct queue *q, struct chunk *c, queue_true_fn *is_true, void *context)
{
    uint32_t kept = c->first;
    for (uint32_t i = c->first; i < c->end; i++) {
        if (i + PREFETCH_AHEAD < c->end)
            entry_prefetch(arena_at(&q->slabs->arena, c->refs[i + PREFETCH_AHEAD]));
        if (is_true(context, (struct queue_record){ .ref = c->refs[i], .number = c->number }))
            c->refs[kept++] = c->refs[i];
    }
    q->records -= c->end - kept;
    c->end = kept;
}

// The chunk behind `before` goes when it is empty or fits into `before`. True: it is gone.
static bool sweep_merge(struct queue *q, uint32_t before_ref, queue_moved_fn *moved, void *context)
{
    struct chunk *before = before_ref == 0 ? NULL : chunk_at(q->slabs, before_ref);
    uint32_t ref = before == NULL ? q->head : before->next;
    struct chunk *c = chunk_at(q->slabs, ref);
    uint32_t count = c->end - c->first;
    if (before == NULL) {
        if (count == 0)
            drop_head(q);
        return count == 0;
    }
    if (count > CHUNK_RECORDS - before->end)
        return false;
    for (uint32_t i = c->first; i < c->end; i++) {
        before->refs[before->end++] = c->refs[i];
        moved(context, (struct queue_record){ .ref = c->refs[i], .number = before->number });
    }
    before->next = c->next;
    if (q->tail == ref)
        q->tail = before_ref;
    slab_give(q->slabs, ref);
    return true;
}

bool queue_sweep(struct queue *q, uint32_t *budget, queue_true_fn *is_true, queue_moved_fn *moved, void *context)
{
    if (!q->sweeping) {
        q->sweeping = true;
        q->sweep_before = 0;
    }
    while (*budget > 0) {
        uint32_t ref = q->sweep_before == 0 ? q->head : chunk_at(q->slabs, q->sweep_before)->next;
        if (ref == 0) {
            q->sweeping = false;
            return false;
        }
        struct chunk *c = chunk_at(q->slabs, ref);
        uint32_t cost = c->end - c->first + 1;
        *budget -= cost < *budget ? cost : *budget;
        sweep_chunk(q, c, is_true, context);
        if (!sweep_merge(q, q->sweep_before, moved, context))
            q->sweep_before = ref;
    }
    return true;
}
