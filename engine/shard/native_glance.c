// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/native_glance.h"

#include "engine/shard/ahead.h"
#include "engine/shard/glance.h"
#include "engine/shard/native.h"
#include "engine/shard/session.h"
#include "reactor/ticks.h"

#define NONE_YET     (NO_SHARD - 1) // no frame is of this shard
#define GLANCE_BYTES 65536          // of `in` in one pass: replies to so much stay within the arena

// What is the same for all frames of a pass.
struct pass {
    struct conn *conn;
    struct native_glance *stream;
    uint32_t served;
    uint32_t used; // bytes
    uint8_t receive;
    bool logs; // what is set becomes records, and the reply may have to wait for them (gate.h)
    bool may_get, may_set;
    struct glanced done;
};

static inline struct glance_slot *slot_at(struct native_glance *g, uint32_t number)
{
    return &g->slots[number % GLANCE_SLOTS];
}

// ---- take

// The shard that a frame names, or its key's; NO_SHARD: it contradicts itself, or is not plain here. A shard that is only named is the
// key's when the key is found there. `hash`: of the route, where index-hash public wants it.
static always_inline uint32_t shard_of(const struct worker *w, const struct glance_taker *t, const struct fcnp_small *f, uint64_t *hash)
{
    struct slice key = slice_of(f->key, f->key_len);
    if (likely(f->flags == FCNP_FLAGS)) {
        *hash = load_u64(f->prefix);
        uint32_t shard = load_u32(f->prefix + 8);
        bool agrees = ((route_shard_of_hash(&w->route, *hash) ^ shard) | (load_u64(f->prefix + 12) ^ *hash >> 56)) == 0;
        return likely(agrees) ? shard : NO_SHARD;
    }
    if (likely(f->flags == FCNP_SHARD)) {
        uint32_t shard = load_u32(f->prefix);
        *hash = unlikely(w->public_hash) ? hash_route(key) : 0;
        return likely(shard < w->route.shards) ? shard : NO_SHARD;
    }
    if (unlikely(t->direct || f->flags > FCNP_HASH))
        return NO_SHARD;
    *hash = f->flags == FCNP_HASH ? load_u64(f->prefix) : hash_route(key);
    return route_shard_of_hash(&w->route, *hash);
}

// False: the next frame is not plain, or there is none.
static always_inline bool take_frame(struct worker *w, struct native_glance *g)
{
    struct glance_taker *t = &g->taker;
    struct fcnp_small f;
    uint64_t hash = 0;
    if (unlikely(!fcnp_small(t->in.data + t->end, t->in.len - t->end, &f) || f.value_len > GLANCE_MAX))
        return false;
    uint32_t shard = shard_of(w, t, &f, &hash);
    if (unlikely(shard != t->shard)) {
        if (t->direct || shard == NO_SHARD)
            return false;
        t->keyspace = store_keyspace(w->store, shard, t->conn->client.db);
        t->shard = shard;
    }
    struct keyspace *ks = t->keyspace;
    if (unlikely(ks->index.directory == NULL))
        return false;
    struct glance_slot *s = slot_at(g, g->taken++);
    s->hash = keyspace_hash_here(ks, slice_of(f.key, f.key_len), hash);
    s->key = f.key;
    s->keyspace = ks;
    const struct find_step step = keyspace_step_home(ks, s->hash);
    s->home = step.bucket;
    s->tag = step.tag;
    s->end = t->end += (uint32_t)f.len;
    s->value_len = (uint16_t)f.value_len;
    s->shard = (uint16_t)shard;
    s->key_len = (uint8_t)f.key_len;
    s->opcode = f.opcode;
    s->receive = (uint8_t)(g->back - 1);
    return true;
}

// May frames of this connection be answered so, as far as the connection and the server are concerned?
static inline bool may_look(const struct conn *c)
{
    const struct worker *w = c->worker;
    return (c->client.flags & CLIENT_AUTHENTICATED) != 0 && w->route.mode == ROUTE_FULL_KEY && !w->store->has_recency &&
           (c->only_shard != NO_SHARD || w->server->worker_count == 1);
}

static void open_receive(struct native_glance *g, const struct conn *c, struct slice in)
{
    g->receives[g->back++ % GLANCE_RECEIVES] = (struct glance_receive){ in.data, c };
    bool direct = c->only_shard != NO_SHARD;
    g->taker = (struct glance_taker){
        .conn = c,
        .in = slice_of(in.data, in.len < GLANCE_BYTES ? in.len : GLANCE_BYTES),
        .clipped = in.len > GLANCE_BYTES,
        .direct = direct,
        .shard = direct ? c->only_shard : NONE_YET,
        .keyspace = direct ? store_keyspace(c->worker->store, c->only_shard, c->client.db) : NULL,
    };
}

// The turn's next receive, if frames may be taken of it. (Small ones are looked at by ahead.h.)
static __attribute__((noinline)) bool open_next(struct native_glance *g)
{
    if (g->taker.clipped || g->next >= g->count)
        return false;
    const struct completion *done = &g->list[g->next++];
    if (done->op->owner != OWNER_CONN_RECV || done->result <= AHEAD_BYTES || (done->flags & COMPLETION_BUFFER) == 0)
        return false;
    const struct conn *c = container_of(done->op, struct conn, recv);
    if (*done->data != FCNP_MAGIC || c->state != CONN_OPEN || c->carry.len > 0 || c->into_blob || !may_look(c))
        return false;
    open_receive(g, c, slice_of(done->data, (size_t)done->result));
    return true;
}

static always_inline void take(struct worker *w, struct native_glance *g)
{
    const struct glance_taker *t = &g->taker;
    if (unlikely(t->end == t->in.len) && !open_next(g))
        g->stopped = true;
    else if (unlikely(!take_frame(w, g)))
        g->stopped = true;
}

static __attribute__((noinline)) void take_some(struct worker *w, struct native_glance *g, uint32_t until)
{
    while (g->taken != until && !g->stopped)
        take(w, g);
}

// The stream begins with these bytes, of the completion that is handled.
static __attribute__((noinline)) void begin_stream(struct native_glance *g, const struct conn *c, struct slice in)
{
    g->front = g->back;
    g->taken = g->asked = g->again = g->served;
    g->stopped = false;
    g->next = g->now + 1;
    open_receive(g, c, in);
}

// ---- ask

static always_inline void ask(struct glance_slot *s)
{
    s->entry = keyspace_step_entry(s->keyspace, (struct find_step){ s->home, s->tag });
}

static always_inline void ask_again(struct glance_slot *s)
{
    if (unlikely(s->entry == NULL))
        s->entry = keyspace_step_beyond(s->keyspace, s->hash);
}

static inline bool is_before(uint32_t number, uint32_t until)
{
    return (int32_t)(number - until) < 0;
}

// The cursors at their distances from `served`, as far as there are frames.
static void keep_distances(struct worker *w, struct native_glance *g)
{
    assert(g->taken - g->served <= GLANCE_SLOTS - 1);
    if (is_before(g->taken, g->served + GLANCE_TAKE) && !g->stopped)
        take_some(w, g, g->served + GLANCE_TAKE);
    for (; is_before(g->asked, g->served + GLANCE_ASK) && g->asked != g->taken; g->asked++)
        ask(slot_at(g, g->asked));
    for (; is_before(g->again, g->served + GLANCE_AGAIN) && g->again != g->asked; g->again++)
        ask_again(slot_at(g, g->again));
}

// ---- serve

static always_inline bool serve_get(const struct entry *e, struct buf *out)
{
    struct slice value = keyspace_plain_value(e);
    if (unlikely(value.len > GLANCE_MAX || out->cap - out->len < FCNP_HEADER + GLANCE_MAX))
        return false;
    uint8_t *to = out->data + out->len;
    fcnp_reply_header(to, FCNP_VALUE, (uint32_t)value.len);
    copy_short(to + FCNP_HEADER, value.data, value.len);
    out->len += FCNP_HEADER + value.len;
    return true;
}

static always_inline bool serve_set(struct entry *e, struct slice value, struct buf *out)
{
    if (unlikely(out->cap - out->len < FCNP_HEADER || !entry_overwrite(e, value)))
        return false;
    fcnp_reply_header(out->data + out->len, FCNP_OK, 0);
    out->len += FCNP_HEADER;
    return true;
}

static always_inline bool serve_logged(struct pass *p, const struct glance_slot *s, struct entry *e, struct slice value, struct buf *out)
{
    struct worker *w = p->conn->worker;
    if (unlikely(!effects_takes(&w->effects, s->hash)) || !serve_set(e, value, out))
        return false;
    effects_overwritten(w, s->shard, p->conn->client.db, s->hash, slice_of(s->key, s->key_len), value);
    p->may_get = p->may_get && gate_lets_reads(p->conn); // it may show what this SET has changed
    return true;
}

static always_inline bool serve(struct pass *p, const struct glance_slot *s, struct buf *out, bool logs)
{
    struct slice key = slice_of(s->key, s->key_len), value = slice_of(key.data + key.len, s->value_len);
    struct entry *e = keyspace_step_find(s->keyspace, s->entry, key, s->hash);
    if (unlikely(e == NULL))
        return false;
    if (s->opcode != FCNP_GET)
        return p->may_set && (logs ? serve_logged(p, s, e, value, out) : serve_set(e, value, out));
    if (unlikely((logs && !p->may_get) || !serve_get(e, out)))
        return false;
    s->keyspace->stats.hits++;
    return true;
}

// ---- the pass

// Serves up to `count` frames more. False: that was all.
static always_inline bool serve_frames(struct pass *p, uint32_t count, bool logs)
{
    struct worker *w = p->conn->worker;
    struct native_glance *g = p->stream;
    keep_distances(w, g);
    struct buf out = p->conn->out; // in registers
    const uint32_t first = g->served, last = first + count;
    uint32_t at = first, gets = 0;
    for (; at != last; at++) {
        const struct glance_slot *s = slot_at(g, at);
        if (unlikely(at == g->taken || s->receive != p->receive))
            break;
        if (likely(!g->stopped))
            take(w, g);
        if (likely(g->asked != g->taken))
            ask(slot_at(g, g->asked++));
        if (likely(g->again != g->asked))
            ask_again(slot_at(g, g->again++));
        if (unlikely(!serve(p, s, &out, logs)))
            break;
        gets += s->opcode == FCNP_GET;
    }
    p->conn->out.len = out.len;
    p->done.gets += gets;
    p->done.sets += at - first - gets;
    p->served += at - first;
    p->used = at != first ? slot_at(g, at - 1)->end : p->used;
    g->served = at;
    return at == last;
}

static __attribute__((noinline)) bool serve_unlogged(struct pass *p, uint32_t count)
{
    return serve_frames(p, count, false);
}

static __attribute__((noinline)) bool serve_logging(struct pass *p, uint32_t count)
{
    return serve_frames(p, count, true);
}

static inline bool serve_some(struct pass *p, uint32_t count)
{
    return likely(!p->logs) ? serve_unlogged(p, count) : serve_logging(p, count);
}

static const struct command *command_of(const struct worker *w, const struct glance_slot *s)
{
    return w->native_commands[s->opcode];
}

// As a command's argv, for whoever writes down what was slow.
static uint32_t argv_of(const struct glance_slot *s, struct slice argv[3])
{
    argv[0] = slice_cstr(s->opcode == FCNP_GET ? "GET" : "SET");
    argv[1] = slice_of(s->key, s->key_len);
    argv[2] = slice_of(s->key + s->key_len, s->value_len);
    return s->opcode + 1u;
}

// The last frame served ends a stretch that took long.
static cold void stretch_slow(const struct pass *p, uint64_t ticks)
{
    struct worker *w = p->conn->worker;
    const struct glance_slot *s = &p->stream->slots[(p->stream->served - 1) % GLANCE_SLOTS];
    struct slice argv[3];
    uint32_t argc = argv_of(s, argv);
    stopwatch_keep(w, LOG_SLOW, stopwatch_blame(w, command_of(w, s), argv, argc, ticks), &p->conn->client);
}

// What was served since the stopwatch's mark ends here.
static void stretch_end(const struct pass *p)
{
    struct worker *w = p->conn->worker;
    uint64_t now = reactor_ticks(w->reactor), ticks = ticks_between(w->watch.mark, now);
    w->watch.mark = now;
    if (unlikely(ticks >= w->watch.slow_ticks) && p->served > 0)
        stretch_slow(p, ticks);
}

// The one of many that is timed by itself. False: that was all.
static __attribute__((noinline)) bool serve_timed(struct pass *p)
{
    struct worker *w = p->conn->worker;
    stretch_end(p);
    if (!serve_some(p, 1))
        return false;
    const struct glance_slot *s = &p->stream->slots[(p->stream->served - 1) % GLANCE_SLOTS];
    struct slice argv[3];
    uint32_t argc = argv_of(s, argv);
    uint64_t now = reactor_ticks(w->reactor), ticks = ticks_between(w->watch.mark, now);
    w->watch.mark = now;
    w->watch.until_sample = stopwatch_distance(&w->watch);
    stopwatch_keep(w, LOG_SLOW, stopwatch_note(w, command_of(w, s), argv, argc, ticks, STOPWATCH_EVERY), &p->conn->client);
    return true;
}

static void serve_all(struct pass *p)
{
    struct stopwatch *s = &p->conn->worker->watch;
    for (;;) {
        uint32_t before = p->served, until = s->until_sample;
        bool more = serve_some(p, until);
        s->until_sample = until - (p->served - before);
        if (!more || !serve_timed(p))
            return;
    }
}

static inline bool may_run(const struct conn *c, struct slice in)
{
    struct worker *w = c->worker;
    if (unlikely(!may_look(c) || !glance_may(c) || c->pending != NULL || w->watching || w->watch.alone == UINT32_MAX ||
                 w->watch.request_min <= in.len || in.len > native_limits(c).frame_max))
        return false;
    // The only request of the first batch after a wait is timed as itself (span.h).
    return w->watch.mark != 0 || !w->watch.rested || in.len != fcnp_frame_len(in);
}

static void begin_stretch(struct worker *w)
{
    if (w->watch.mark == 0)
        w->watch.mark = reactor_ticks(w->reactor);
    w->watch.rested = false;
}

static void count_served(const struct pass *p)
{
    struct conn *c = p->conn;
    struct worker *w = c->worker;
    const struct item last = { .command = command_of(w, &p->stream->slots[(p->stream->served - 1) % GLANCE_SLOTS]) };
    glance_count(c, &p->done, &last);
    w->stats.native_frames += p->served;
    if (unlikely(conn_unsent(c) > OUTPUT_HIGH))
        c->paused = true;
}

// The connection's replies wait for what was set. (Frames that ask for more than the connection are not plain.)
static void wait_for_log(const struct pass *p)
{
    struct conn *c = p->conn;
    struct worker *w = c->worker;
    w->save.changes += p->done.sets;
    c->frame = FCNP_PLAIN + 1;
    gate_conn(c, effects_building(&w->effects), gate_asked(c));
    c->frame = 0;
}

static void ask_leave(struct pass *p)
{
    struct conn *c = p->conn;
    struct worker *w = c->worker;
    p->logs = w->gated;
    p->may_get = !p->logs || gate_lets_reads(c);
    p->may_set = w->options.maxmemory == 0 && store_lets_overwrite(w->store, p->logs) && (!p->logs || gate_lets_sets(c));
}

// These bytes are what the stream goes on with.
static inline bool comes_next(const struct native_glance *g, const struct conn *c, const uint8_t *begin)
{
    const struct glance_receive *r = &g->receives[g->front % GLANCE_RECEIVES];
    return g->front != g->back && r->begin == begin && r->conn == c;
}

size_t native_glance_run(struct conn *c, struct slice in)
{
    struct worker *w = c->worker;
    struct native_glance *g = &w->native_glance;
    if (!may_run(c, slice_of(in.data, in.len < GLANCE_BYTES ? in.len : GLANCE_BYTES)))
        return 0;
    if (unlikely(!comes_next(g, c, in.data)))
        begin_stream(g, c, in);
    conn_out_begin(c);
    begin_stretch(w);
    struct pass p = { .conn = c, .stream = g, .receive = g->front };
    ask_leave(&p);
    serve_all(&p);
    stretch_end(&p);
    if (p.served > 0)
        count_served(&p);
    if (p.logs && p.done.sets > 0)
        wait_for_log(&p);
    conn_out_end(c);
    if (likely(p.used == in.len))
        g->front++;
    else
        native_glance_forget(w);
    return p.used;
}

void native_glance_over(struct worker *w, const struct completion *list, uint32_t count)
{
    struct native_glance *g = &w->native_glance;
    g->list = list;
    g->count = count;
    g->now = 0;
    native_glance_forget(w);
}

void native_glance_forget(struct worker *w)
{
    w->native_glance.front = w->native_glance.back;
}
