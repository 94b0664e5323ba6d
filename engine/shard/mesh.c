// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/mesh.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/relax.h"
#include "engine/shard/worker.h"
#include "engine/store/blob.h"

#define POOL_MAX    64 // blocks kept per worker; more go back to the heap
#define EMPTIES_MAX 4  // that go back with one block

static_assert(sizeof(struct mesh_request) == 24, "a request's head is small beside its key");
static_assert(sizeof(struct mesh_reply) == 16, "and a reply's beside its value");

struct mesh_rings {
    uint32_t count;
    struct spsc *rings; // [from * count + to]
    void **slots;
};

struct mesh_rings *mesh_rings_new(uint32_t count)
{
    struct mesh_rings *r = calloc(1, sizeof *r);
    if (r == NULL)
        return NULL;
    r->count = count;
    r->rings = aligned_alloc(SPSC_LINE, sizeof(struct spsc) * count * count);
    r->slots = calloc((size_t)count * count, MESH_RING_SLOTS * sizeof(void *));
    if (r->rings == NULL || r->slots == NULL)
        return mesh_rings_free(r);
    for (uint32_t i = 0; i < count * count; i++)
        spsc_init(&r->rings[i], r->slots + (size_t)i * MESH_RING_SLOTS, MESH_RING_SLOTS);
    return r;
}

// Answers that nobody takes any more.
static void block_discard(struct mesh_block *b)
{
    for (uint32_t offset = 0; b->kind == MESH_REPLIES && offset < b->len;) {
        const struct mesh_reply *reply = (const struct mesh_reply *)(const void *)(b->data + offset);
        const void *what = reply + 1;
        if (reply->heap == MESH_HEAP)
            free(((const struct mesh_heap *)what)->bytes);
        else if (reply->heap == MESH_VALUE)
            blob_unpin((struct blob *)(uintptr_t)load_u64(what));
        else if (reply->heap == MESH_NOTE)
            command_entry_free(((const struct mesh_note *)what)->entry);
        offset += (uint32_t)round_up(sizeof *reply + reply->len, MESH_ALIGN);
    }
    for (struct mesh_block *e = b->empties, *next; e != NULL; e = next) {
        next = e->next;
        free(e);
    }
    free(b);
}

struct mesh_rings *mesh_rings_free(struct mesh_rings *r)
{
    if (r == NULL)
        return NULL;
    for (uint32_t i = 0; r->rings != NULL && r->slots != NULL && i < r->count * r->count; i++) {
        void *block;
        while ((block = spsc_pop(&r->rings[i])) != NULL)
            block_discard(block);
    }
    free(r->rings);
    free(r->slots);
    free(r);
    return NULL;
}

int mesh_init(struct mesh *m, struct mesh_rings *rings, uint32_t self, uint32_t count)
{
    m->self = self;
    m->count = count;
    m->peers = calloc(count, sizeof *m->peers);
    if (m->peers == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < count; i++) {
        m->peers[i].out = &rings->rings[self * count + i];
        m->peers[i].in = &rings->rings[i * count + self];
        m->peers[i].backlog_tail = &m->peers[i].backlog;
    }
    return 0;
}

void mesh_deinit(struct mesh *m)
{
    for (uint32_t i = 0; m->peers != NULL && i < m->count; i++) {
        for (int kind = 0; kind < 2; kind++)
            if (m->peers[i].open[kind] != NULL)
                block_discard(m->peers[i].open[kind]);
        for (struct mesh_block *b = m->peers[i].backlog, *next; b != NULL; b = next) {
            next = b->next;
            block_discard(b);
        }
    }
    free(m->peers);
    for (struct mesh_block *b = m->pool, *next; b != NULL; b = next) {
        next = b->next;
        free(b);
    }
}

static struct mesh_block *block_new(struct mesh *m, enum mesh_kind kind, size_t room)
{
    struct mesh_block *b = m->pool;
    if (likely(room <= MESH_BLOCK_SIZE && b != NULL)) {
        m->pool = b->next;
        m->pool_count--;
    } else {
        size_t cap = room <= MESH_BLOCK_SIZE ? MESH_BLOCK_SIZE : round_up(room, 16);
        if (cap > UINT32_MAX || (b = malloc(sizeof *b + cap)) == NULL)
            return NULL;
        b->cap = (uint32_t)cap;
        m->bytes += sizeof *b + cap;
    }
    b->next = b->empties = NULL;
    b->kind = kind;
    b->from = m->self;
    b->len = 0;
    b->count = 0;
    b->newest = 0;
    b->refs = 1;
    return b;
}

void mesh_block_release(struct mesh *m, struct mesh_block *b)
{
    assert(b->refs > 0);
    if (--b->refs > 0)
        return;
    if (b->cap != MESH_BLOCK_SIZE || m->pool_count >= POOL_MAX) {
        m->bytes -= sizeof *b + b->cap;
        free(b);
        return;
    }
    b->next = m->pool;
    m->pool = b;
    m->pool_count++;
}

static void add_empties(struct mesh *m, struct mesh_peer *p, struct mesh_block *b)
{
    for (int i = 0; i < EMPTIES_MAX && p->owed > 0 && m->pool != NULL; i++) {
        struct mesh_block *empty = m->pool;
        m->pool = empty->next;
        m->pool_count--;
        p->owed--;
        empty->next = b->empties;
        b->empties = empty;
    }
}

static void take_empties(struct mesh *m, struct mesh_peer *p, struct mesh_block *b)
{
    for (struct mesh_block *empty = b->empties, *next; empty != NULL; empty = next) {
        next = empty->next;
        p->owed++;
        empty->refs = 1;
        mesh_block_release(m, empty);
    }
    b->empties = NULL;
}

// The open block joins the blocks that wait to be pushed.
static void close_open(struct mesh *m, struct mesh_peer *p, enum mesh_kind kind)
{
    struct mesh_block *b = p->open[kind];
    if (likely(b->cap == MESH_BLOCK_SIZE))
        p->owed--;
    add_empties(m, p, b);
    *p->backlog_tail = b;
    p->backlog_tail = &b->next;
    p->backlog_count++;
    p->open[kind] = NULL;
}

static struct mesh_block *open_block(struct mesh *m, uint32_t target, enum mesh_kind kind, size_t room)
{
    struct mesh_peer *p = &m->peers[target];
    struct mesh_block *b = p->open[kind];
    if (likely(b != NULL && b->cap - b->len >= room))
        return b;
    if (b != NULL && b->len > 0) {
        close_open(m, p, (enum mesh_kind)kind);
    } else if (b != NULL) {
        p->open[kind] = NULL;
        mesh_block_release(m, b);
    }
    return p->open[kind] = block_new(m, kind, room);
}

void *mesh_append(struct mesh *m, uint32_t target, enum mesh_kind kind, size_t size)
{
    assert(target < m->count && target != m->self);
    size = round_up(size, MESH_ALIGN);
    struct mesh_block *b = open_block(m, target, kind, size);
    if (b == NULL)
        return NULL;
    void *at = b->data + b->len;
    b->newest = b->len;
    b->len += (uint32_t)size;
    b->count++;
    return at;
}

#define ROOM_MIN 1024

size_t mesh_room(struct mesh *m, uint32_t target, enum mesh_kind kind, uint8_t **at)
{
    struct mesh_block *b = open_block(m, target, kind, ROOM_MIN);
    if (b == NULL)
        return 0;
    *at = b->data + b->len;
    return b->cap - b->len;
}

static bool push_backlog(struct mesh_peer *p, struct worker_stats *stats)
{
    bool pushed = false;
    while (p->backlog != NULL) {
        struct mesh_block *b = p->backlog;
        struct mesh_block *next = b->next;
        uint32_t len = b->len; // the block is the receiver's at once
        if (!spsc_push(p->out, b))
            break;
        p->backlog = next;
        p->backlog_count--;
        stats->mesh_messages++;
        stats->mesh_bytes += len;
        pushed = true;
    }
    if (p->backlog == NULL)
        p->backlog_tail = &p->backlog;
    return pushed;
}

bool mesh_push_to(struct mesh *m, struct worker **workers, uint32_t target)
{
    struct mesh_peer *p = &m->peers[target];
    for (int kind = 0; kind < 2; kind++)
        if (p->open[kind] != NULL && p->open[kind]->len > 0)
            close_open(m, p, (enum mesh_kind)kind);
    if (p->backlog == NULL || !push_backlog(p, &workers[m->self]->stats))
        return false;
    _Atomic uint64_t *word = &workers[target]->mesh.inbox[m->self / 64];
    uint64_t bit = UINT64_C(1) << (m->self % 64);
    // The bit may still stand from an earlier push; a read is cheaper than taking the line, but it must not pass the push.
    atomic_thread_fence(memory_order_seq_cst);
    if ((atomic_load_explicit(word, memory_order_relaxed) & bit) == 0)
        atomic_fetch_or_explicit(word, bit, memory_order_seq_cst);
    return true;
}

void mesh_push(struct mesh *m, struct worker **workers)
{
    m->pushes++;
    for (uint32_t t = 0; t < m->count; t++)
        if (mesh_push_to(m, workers, t))
            reactor_wake(workers[t]->reactor, workers[m->self]->reactor);
}

bool mesh_takes(const struct mesh *m, uint32_t target)
{
    const struct mesh_peer *p = &m->peers[target];
    uint32_t blocks = p->backlog_count + (p->open[MESH_REQUESTS] != NULL) + (p->open[MESH_REPLIES] != NULL);
    return spsc_count(p->out) + blocks < MESH_RING_SLOTS;
}

bool mesh_has_mail(struct mesh *m)
{
    for (uint32_t i = 0; i < (m->count + 63) / 64; i++)
        if (atomic_load_explicit(&m->inbox[i], memory_order_relaxed) != 0)
            return true;
    return false;
}

bool mesh_has_backlog(const struct mesh *m)
{
    for (uint32_t t = 0; t < m->count; t++)
        if (m->peers[t].backlog != NULL)
            return true;
    return false;
}

uint64_t mesh_collect(struct mesh *m, uint32_t word)
{
    if (atomic_load_explicit(&m->inbox[word], memory_order_relaxed) == 0)
        return 0;
    uint64_t peers = atomic_exchange_explicit(&m->inbox[word], 0, memory_order_seq_cst);
    // A sender that still saw its bit does not set it again: the rings are looked at after the bits are gone (test/model/wake.pml).
    fence_behind_rmw();
    return peers;
}

void mesh_remind(struct mesh *m, uint32_t peer)
{
    atomic_fetch_or_explicit(&m->inbox[peer / 64], UINT64_C(1) << (peer % 64), memory_order_relaxed);
}

struct mesh_block *mesh_take(struct mesh *m, uint32_t peer)
{
    struct mesh_peer *p = &m->peers[peer];
    struct mesh_block *b = spsc_pop(p->in);
    if (b == NULL)
        return NULL;
    if (likely(b->cap == MESH_BLOCK_SIZE))
        p->owed++;
    if (unlikely(b->empties != NULL))
        take_empties(m, p, b);
    return b;
}
