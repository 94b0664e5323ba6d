// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/bundle.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "engine/shard/forward.h"
#include "engine/shard/multi.h"
#include "engine/shard/native.h"
#include "engine/shard/run.h"

#define POOL_MAX  256  // bundles kept for the next time
#define HELD_KEEP 4096 // bytes that one keeps for answers

// ---- made by the worker that has the connection

static inline uint8_t flags_of(const struct conn *c, bool native)
{
    return (uint8_t)(MESH_REFER | ((c->client.flags & CLIENT_NO_TOUCH) != 0 ? MESH_NO_TOUCH : 0) | (native ? MESH_FRAMES : 0));
}

static struct bundle *bundle_new(struct conn *c, bool native)
{
    struct worker *w = c->worker;
    struct bundle *b = w->bundles;
    if (likely(b != NULL)) {
        w->bundles = b->next_free;
        w->bundle_count--;
    } else {
        b = malloc(sizeof *b);
        if (b == NULL)
            return NULL;
        buf_init(&b->held, BUF_NO_LIMIT);
    }
    b->pending = (struct pending){ .kind = PENDING_BUNDLE, .frame = native ? FCNP_PLAIN + 1 : 0 };
    b->count = b->left = b->values = b->lead = 0;
    b->piece = slice_of(NULL, 0);
    b->turn = w->mesh.pushes;
    b->db = (uint16_t)c->client.db;
    b->protocol = c->client.protocol;
    b->flags = flags_of(c, native);
    return b;
}

void bundle_free(struct worker *w, struct bundle *b)
{
    for (uint32_t i = 0; unlikely(b->values > 0) && i < b->count; i++) {
        if (b->answers[i].len != BUNDLE_VALUE)
            continue;
        blob_free((struct blob *)(uintptr_t)b->answers[i].at);
        b->values--;
    }
    b->held.len = 0;
    if (unlikely(b->held.failed || b->held.cap > HELD_KEEP))
        buf_deinit(&b->held);
    b->held.failed = false;
    if (unlikely(w->bundle_count >= POOL_MAX)) {
        buf_deinit(&b->held);
        free(b);
        return;
    }
    b->next_free = w->bundles;
    w->bundles = b;
    w->bundle_count++;
}

void bundle_pool_free(struct worker *w)
{
    for (struct bundle *b = w->bundles, *next; b != NULL; b = next) {
        next = b->next_free;
        buf_deinit(&b->held);
        free(b);
    }
    w->bundles = NULL;
}

// Replies of this turn that stand in front of it would wait in the turn's memory for what comes in a later one.
static void take_lead(struct conn *c, struct bundle *b)
{
    struct buf *out = &c->out;
    if (c->pending != NULL || out->len == 0 || !out->borrowed || out->failed || out->len >= HOLD_MAX || c->refs.count > 0 || c->gated)
        return;
    assert(c->stash.len == 0);
    buf_append(&c->stash, out->data, out->len);
    if (c->stash.failed)
        return;
    b->lead = (uint32_t)out->len;
    out->len = 0;
}

static void join(struct conn *c, struct bundle *b)
{
    take_lead(c, b);
    b->pending.conn = c;
    *c->pending_tail = &b->pending;
    c->pending_tail = &b->pending.next;
    c->bundles++;
}

// Room in the message to the request's worker. NULL: out of memory.
static struct mesh_plain *room_for(struct conn *c, struct bundle *b, uint32_t target, size_t size)
{
    struct mesh *m = &c->worker->mesh;
    struct mesh_plain *plain = mesh_lengthen(m, target, MESH_BUNDLE, (uintptr_t)&b->pending, size);
    if (likely(plain != NULL))
        return plain;
    struct mesh_request *head = mesh_append(m, target, MESH_REQUESTS, sizeof *head + size);
    if (head == NULL)
        return NULL;
    *head = (struct mesh_request){
        .cookie = (uintptr_t)&b->pending,
        .size = (uint32_t)(sizeof *head + size),
        .argc = 1,
        .shard = MESH_NO_SHARD,
        .db = b->db,
        .command = MESH_BUNDLE,
        .protocol = b->protocol,
        .flags = b->flags,
    };
    return (struct mesh_plain *)(head + 1);
}

static bool add(struct conn *c, struct bundle *b, const struct item *item)
{
    const struct slice *argv = item->request.argv;
    uint32_t argc = item->request.argc;
    struct slice key = argv[1], value = argc == 3 ? argv[2] : slice_of(NULL, 0);
    size_t size = round_up(sizeof(struct mesh_plain) + key.len + value.len, MESH_ALIGN);
    struct mesh_plain *plain = room_for(c, b, item->worker, size);
    if (unlikely(plain == NULL))
        return false;
    if (b->count == 0) {
        join(c, b);
    } else {
        b->after[b->count - 1] = (uint32_t)b->pending.after;
        b->pending.after = 0;
    }
    *plain = (struct mesh_plain){ (uint16_t)key.len, (uint16_t)value.len, (uint16_t)item->shard, (uint8_t)b->count, (uint8_t)argc };
    uint8_t *to = (uint8_t *)(plain + 1);
    copy_short(to, key.data, key.len);
    copy_short(to + key.len, value.data, value.len);
    b->count++;
    b->left++;
    c->pending_count++;
    return true;
}

// Behind what is due: a reply of this worker.
static inline bool answer_behind(struct conn *c, const struct item *item, bool may_set, bool native, struct glanced *done)
{
    struct buf *stash = &c->stash;
    size_t before = stash->len;
    if (unlikely(buf_reserve(stash, GLANCE_HEAD + GLANCE_MAX + 2) == NULL) || !glance_item(item, stash, may_set, native, done))
        return false;
    container_of(c->pending_tail, struct pending, next)->after += stash->len - before;
    return true;
}

// The last one that is due, if it is a bundle of this turn and of the same session.
static struct bundle *last_bundle(const struct conn *c, bool native)
{
    if (c->pending == NULL)
        return NULL;
    struct pending *last = container_of(c->pending_tail, struct pending, next);
    struct bundle *b = bundle_of(last);
    if (last->kind != PENDING_BUNDLE || last->ready || b->turn != c->worker->mesh.pushes)
        return NULL;
    return b->db == c->client.db && b->protocol == c->client.protocol && b->flags == flags_of(c, native) ? b : NULL;
}

// Requests may go to other workers so: there is room for them all.
static bool may_bundle(const struct conn *c, uint32_t count)
{
    return !multi_running(c) && c->pending_count + count <= PENDING_MAX;
}

uint32_t bundle_range(struct conn *c, struct item *items, uint32_t i, uint32_t end, uint32_t ahead, uint32_t count, bool native)
{
    struct worker *w = c->worker;
    if (native)
        c->client.protocol = PROTOCOL_RESP3; // of what is answered alone, as begin_frame says
    struct bundle *b = last_bundle(c, native);
    struct glanced done = { 0 };
    uint32_t first = i, away = 0;
    bool may_set = w->options.maxmemory == 0, may_go = (end - i > 1 || b != NULL) && may_bundle(c, end - i);
    for (; i < end && items[i].hot >= HOT_AWAY; i++) {
        if (i + ahead < count)
            run_prefetch(items, i + ahead);
        if (items[i].hot == HOT_AWAY) {
            if (unlikely(!may_go))
                break;
            if ((b == NULL || b->count == BATCH_REQUESTS) && unlikely((b = bundle_new(c, native)) == NULL))
                break;
            if (unlikely(!add(c, b, &items[i])))
                break;
            away++;
        } else if (unlikely(c->pending == NULL || !answer_behind(c, &items[i], may_set, native, &done))) {
            break;
        }
    }
    if (b != NULL && unlikely(b->count == 0)) // the mesh had no memory
        bundle_free(w, b);
    if (i == first)
        return i;
    glance_count(c, &done, &items[i - 1]);
    c->client.requests += away;
    w->stats.requests_forwarded += away;
    if (unlikely(conn_unsent(c) > OUTPUT_HIGH))
        c->paused = true;
    if (unlikely(c->pending_count >= PENDING_MAX))
        c->crowded = true;
    return i;
}

// ---- served by the worker that has the keys

// A piece on its way: in the open block, behind what is written there.
struct piece {
    struct mesh_reply *reply; // NULL: none
    struct buf out;
};

static void piece_end(struct worker *w, uint32_t to, uint64_t cookie, struct piece *p)
{
    if (p->reply == NULL)
        return;
    if (p->out.len > 0) {
        struct mesh_reply *reply = mesh_append(&w->mesh, to, MESH_REPLIES, sizeof *reply + p->out.len);
        assert(reply == p->reply);
        *reply = (struct mesh_reply){ .cookie = cookie, .len = (uint32_t)p->out.len, .heap = MESH_PIECE };
    }
    p->reply = NULL;
}

#define PIECE_ROOM (BUNDLE_REPLY_HEAD + GLANCE_HEAD + GLANCE_MAX + 2)

// There is room for one reply more. False: out of memory.
static inline bool piece_room(struct worker *w, uint32_t to, uint64_t cookie, struct piece *p)
{
    if (likely(p->reply != NULL && p->out.cap - p->out.len >= PIECE_ROOM))
        return true;
    piece_end(w, to, cookie, p);
    uint8_t *at = NULL;
    size_t room = mesh_room(&w->mesh, to, MESH_REPLIES, &at);
    if (room < sizeof *p->reply + PIECE_ROOM)
        return false;
    p->reply = (struct mesh_reply *)(void *)at;
    buf_init_borrowed(&p->out, at + sizeof *p->reply, room - sizeof *p->reply, BUF_NO_LIMIT);
    return true;
}

static inline bool answer(const struct item *item, struct piece *p, bool may_set, bool native, struct glanced *done)
{
    size_t head = p->out.len;
    p->out.len += BUNDLE_REPLY_HEAD;
    if (unlikely(!glance_item(item, &p->out, may_set, native, done))) {
        p->out.len = head;
        return false;
    }
    uint32_t len = (uint32_t)(p->out.len - head - BUNDLE_REPLY_HEAD);
    store_u32(p->out.data + head, item->end | len << 16);
    return true;
}

// Requests of one block that are served together.
struct serving {
    uint32_t from;
    uint32_t count;
    const struct mesh_request *heads[BATCH_REQUESTS]; // the bundle of each
};

static void serve_alone(struct worker *w, const struct serving *s, uint32_t i, struct span *timed)
{
    const struct item *item = &w->items[i];
    struct mesh_request head = *s->heads[i];
    head.cookie = bundle_cookie(head.cookie, item->end);
    head.argc = item->request.argc;
    head.shard = (uint16_t)item->shard;
    head.command = (uint16_t)command_index(item->command);
    head.flags &= (uint8_t)~MESH_FRAMES;
    forward_serve_single(w, s->from, &head, item, timed);
}

// The keyspace of the request before: most are of the same shard.
struct memo {
    uint32_t shard, db;
    struct keyspace *keyspace;
};

static inline struct keyspace *keyspace_of(struct worker *w, struct memo *memo, uint32_t shard, uint32_t db)
{
    if (unlikely(shard != memo->shard || db != memo->db))
        *memo = (struct memo){ shard, db, store_keyspace(w->store, shard, db) };
    return memo->keyspace;
}

// Takes apart what begins at `at`. Returns what is behind it.
static inline const uint8_t *take(struct worker *w, const uint8_t *at, struct item *item, struct slice *argv, struct memo *memo,
                                  uint32_t db)
{
    const struct mesh_plain *plain = (const struct mesh_plain *)(const void *)at;
    const uint8_t *bytes = (const uint8_t *)(plain + 1);
    uint32_t argc = plain->argc;
    argv[0] = slice_of(argc == 2 ? "GET" : "SET", 3);
    argv[1] = slice_of(bytes, plain->key_len);
    argv[2] = slice_of(bytes + plain->key_len, plain->value_len);
    struct keyspace *keyspace = keyspace_of(w, memo, plain->shard, db);
    *item = (struct item){
        .request = { .argc = argc, .argv = argv },
        .command = w->native_commands[argc == 2 ? FCNP_GET : FCNP_SET],
        .keyspace = keyspace,
        .hash = keyspace_hash(keyspace, argv[1]),
        .shard = plain->shard,
        .worker = w->id,
        .end = plain->at,
    };
    keyspace_prefetch_here(keyspace, item->hash);
    return at + round_up(sizeof *plain + plain->key_len + plain->value_len, MESH_ALIGN);
}

// Whole bundles, as many as there is room for.
static uint32_t gather(struct worker *w, const struct mesh_block *block, uint32_t offset, struct serving *s)
{
    struct slice *argv = w->args;
    struct memo memo = { .shard = NO_SHARD };
    uint32_t count = 0;
    while (offset < block->len) {
        const struct mesh_request *head = (const struct mesh_request *)(const void *)(block->data + offset);
        if (head->command != MESH_BUNDLE || count + head->argc > BATCH_REQUESTS)
            break;
        const uint8_t *at = (const uint8_t *)(head + 1);
        for (uint32_t i = 0; i < head->argc; i++, count++, argv += 3) {
            prefetch(at + MESH_AHEAD);
            s->heads[count] = head;
            at = take(w, at, &w->items[count], argv, &memo, head->db);
            if (count >= PREFETCH_LAG)
                run_prefetch(w->items, count - PREFETCH_LAG);
        }
        offset += head->size;
    }
    s->count = count;
    return offset;
}

static void blame(struct worker *w, uint32_t at, uint64_t ticks)
{
    const struct item *item = &w->items[at];
    stopwatch_keep(w, LOG_SLOW, stopwatch_blame(w, item->command, item->request.argv, item->request.argc, ticks), NULL);
}

static cold bool times_alone(struct worker *w, struct span *span, uint32_t i)
{
    const struct item *item = &w->items[i];
    bool sampled = i == span->sample;
    if (sampled && span->weight != 1)
        span->sample += stopwatch_distance(&w->watch);
    if (!sampled && !stopwatch_times_alone(&w->watch, item->command, item->request.argc))
        return false;
    uint64_t ticks = span_cut_served(w, span, i);
    if (unlikely(ticks > 0 && ticks >= w->watch.slow_ticks))
        blame(w, i - 1, ticks);
    return true;
}

static void serve(struct worker *w, const struct serving *s)
{
    struct item *items = w->items;
    struct span span = span_begin(w, s->count);
    struct piece piece = { .reply = NULL };
    struct glanced done = { 0 };
    uint64_t cookie = 0;
    bool may = !w->gated && w->txns.intents.count == 0 && w->watch.reply_min > GLANCE_MAX;
    bool may_set = w->options.maxmemory == 0;
    uint32_t asked = s->count > PREFETCH_LAG ? s->count - PREFETCH_LAG : 0;
    for (uint32_t few = 0; few < 4 && asked < s->count; few++)
        run_prefetch(items, asked++);
    for (uint32_t i = 0; i < s->count; i++) {
        if (i + asked < s->count)
            run_prefetch(items, i + asked);
        if (cookie != s->heads[i]->cookie) {
            piece_end(w, s->from, cookie, &piece);
            cookie = s->heads[i]->cookie;
        }
        bool alone = span_picks(w, &span, i, items[i].command->flags) && times_alone(w, &span, i);
        if (likely(may && !alone) && likely(piece_room(w, s->from, cookie, &piece)) &&
            likely(answer(&items[i], &piece, may_set, (s->heads[i]->flags & MESH_FRAMES) != 0, &done)))
            continue;
        piece_end(w, s->from, cookie, &piece);
        serve_alone(w, s, i, alone ? &span : NULL);
    }
    piece_end(w, s->from, cookie, &piece);
    uint64_t ticks = span_close(w, &span, s->count);
    if (unlikely(ticks > 0))
        blame(w, s->count - 1, ticks);
    w->stats.commands += done.gets + done.sets;
    w->stats.requests_served += done.gets + done.sets;
    w->commands[command_index(w->native_commands[FCNP_GET])].calls += done.gets;
    w->commands[command_index(w->native_commands[FCNP_SET])].calls += done.sets;
}

uint32_t bundle_serve(struct worker *w, const struct mesh_block *block, uint32_t offset)
{
    struct serving s; // gather fills it in
    s.from = block->from;
    offset = gather(w, block, offset, &s);
    serve(w, &s);
    return offset;
}

// ---- answered

static void answered(struct worker *w, struct bundle *b, uint32_t count)
{
    assert(b->left >= count);
    b->left -= count;
    if (b->left > 0)
        return;
    b->pending.ready = true;
    struct conn *c = b->pending.conn;
    if (unlikely(c == NULL))
        bundle_free(w, b);
    else if (likely(c->pending == &b->pending))
        conn_advance(c);
}

static void hold(struct bundle *b, uint32_t at, struct slice bytes)
{
    assert(at < b->count);
    b->answers[at] = (struct bundle_answer){ .at = b->held.len, .len = bytes.len };
    buf_append_slice(&b->held, bytes);
}

static void hold_framed(struct bundle *b, uint32_t at, struct slice resp)
{
    assert(at < b->count);
    uint64_t begin = b->held.len;
    native_frame(&b->held, resp, (uint8_t)(b->pending.frame - 1));
    b->answers[at] = (struct bundle_answer){ .at = begin, .len = b->held.len - begin };
}

void bundle_piece(struct worker *w, struct pending *p, struct slice piece)
{
    struct bundle *b = bundle_of(p);
    const uint8_t *at = piece.data, *end = at + piece.len;
    uint32_t count = 0;
    if (likely(b->left == b->count && p->conn != NULL && p->conn->pending == p)) {
        for (; at < end; at += BUNDLE_REPLY_HEAD + (load_u32(at) >> 16))
            count++;
        if (likely(count == b->count)) {
            b->piece = piece;
            answered(w, b, count);
            return;
        }
        at = piece.data;
        count = 0;
    }
    for (; at < end; count++) {
        uint32_t head = load_u32(at);
        hold(b, head & 0xffff, slice_of(at + BUNDLE_REPLY_HEAD, head >> 16));
        at += BUNDLE_REPLY_HEAD + (head >> 16);
    }
    answered(w, b, count);
}

void bundle_reply(struct worker *w, struct pending *p, uint32_t at, struct slice bytes)
{
    struct bundle *b = bundle_of(p);
    if (p->frame != 0)
        hold_framed(b, at, bytes);
    else
        hold(b, at, bytes);
    answered(w, b, 1);
}

void bundle_value(struct worker *w, struct pending *p, uint32_t at, struct blob *value)
{
    struct bundle *b = bundle_of(p);
    assert(at < b->count);
    b->answers[at] = (struct bundle_answer){ .at = (uintptr_t)value, .len = BUNDLE_VALUE };
    b->values++;
    if (p->conn != NULL)
        p->conn->pending_values += value->len;
    answered(w, b, 1);
}

// A whole answer, in order: one pass over it.
static void pour(const struct bundle *b, struct buf *out, const uint8_t *stash, uint64_t stash_len)
{
    uint8_t *to = buf_reserve(out, b->piece.len + stash_len);
    if (to == NULL)
        return;
    const uint8_t *at = b->piece.data, *begin = to;
    copy_short(to, stash, b->lead);
    to += b->lead;
    stash += b->lead;
    for (uint32_t i = 0; i < b->count; i++) {
        uint32_t len = load_u32(at) >> 16, after = i + 1 < b->count ? b->after[i] : 0;
        prefetch(at + MESH_AHEAD);
        copy_short(to, at + BUNDLE_REPLY_HEAD, len);
        at += BUNDLE_REPLY_HEAD + len;
        to += len;
        copy_short(to, stash, after);
        to += after;
        stash += after;
    }
    buf_advance(out, (size_t)(to - begin));
}

static void write_held(struct conn *c, struct bundle *b, struct buf *out, const uint8_t *stash)
{
    out->failed |= b->held.failed;
    buf_append(out, stash, b->lead);
    stash += b->lead;
    for (uint32_t i = 0; i < b->count; i++) {
        const struct bundle_answer *a = &b->answers[i];
        if (unlikely(a->len == BUNDLE_VALUE))
            conn_write_value(c, out, (struct blob *)(uintptr_t)a->at, b->pending.frame != 0);
        else if (!out->failed)
            buf_append(out, b->held.data + a->at, a->len);
        if (i + 1 == b->count)
            break;
        buf_append(out, stash, b->after[i]);
        stash += b->after[i];
    }
}

uint64_t bundle_write(struct conn *c, struct bundle *b, struct buf *out, uint64_t stash)
{
    uint64_t len = b->lead;
    for (uint32_t i = 0; i + 1 < b->count; i++)
        len += b->after[i];
    static const uint8_t NONE[1]; // of which no byte is taken: to a null pointer not even nothing may be added
    const uint8_t *bytes = c->stash.data != NULL ? c->stash.data + stash : NONE;
    if (likely(b->piece.len > 0))
        pour(b, out, bytes, len);
    else
        write_held(c, b, out, bytes);
    return len;
}
