// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/native_glance.h"

#include "engine/shard/ahead.h"
#include "engine/shard/glance.h"
#include "engine/shard/native.h"
#include "engine/shard/session.h"
#include "reactor/ticks.h"

#define GLANCE_BYTES 65536 // of `in` in one pass: replies to so much stay within the arena

// What is the same for all frames of a pass.
struct pass {
    struct conn *conn;
    struct glance_frames *frames;
    struct slice in;
    struct native_memo memo; // of a direct port its shard's
    uint32_t served;
    uint32_t used; // bytes
    bool direct;
    bool may_set;
    bool cut; // the next frame is not plain, or there is none
    struct glanced done;
};

static void begin_pass(struct pass *p, struct conn *c, struct glance_frames *f, struct slice in)
{
    *p = (struct pass){ .conn = c, .frames = f, .in = in, .memo.shard = NO_SHARD, .direct = c->only_shard != NO_SHARD };
    if (p->direct)
        native_remember(c, &p->memo, c->only_shard);
}

// ---- take

// At a port of one shard: every other is an error, which is not for here.
static always_inline bool take_routed(const struct pass *p, struct slice rest, struct fcnp_hot *hot, uint64_t *hash)
{
    const struct route *route = &p->conn->worker->route;
    uint32_t only = p->memo.shard;
    if (unlikely(!fcnp_routed(rest, hot)))
        return false;
    *hash = hot->key_hash;
    uint64_t shard = *hash << 7 >> 1 >> (route->shift - 1); // of one shard 0
    return likely(((hot->route_shard ^ only) | (shard ^ only) | (hot->key_tag ^ *hash >> 56)) == 0);
}

static always_inline bool take_any(struct pass *p, struct slice rest, struct fcnp_hot *hot, uint64_t *hash)
{
    if (unlikely(!fcnp_hottest(rest, hot) || hot->key.len > UINT8_MAX))
        return false;
    *hash = likely(hot->flags != 0) ? hot->key_hash : hash_route(hot->key);
    uint32_t shard = route_shard_of_hash(&p->conn->worker->route, *hash);
    if (unlikely(hot->flags == FCNP_FLAGS && (hot->route_shard != shard || hot->key_tag != *hash >> 56)))
        return false;
    if (unlikely(shard != p->memo.shard))
        native_remember(p->conn, &p->memo, shard);
    return true;
}

static always_inline bool take_frame(struct pass *p, bool direct)
{
    struct glance_frames *f = p->frames;
    struct slice rest = slice_of(p->in.data + f->end, p->in.len - f->end);
    struct fcnp_hot hot;
    uint64_t hash;
    if (unlikely(!(direct ? take_routed(p, rest, &hot, &hash) : take_any(p, rest, &hot, &hash)) || hot.value.len > GLANCE_MAX))
        return false;
    struct keyspace *ks = p->memo.keyspace;
    if (unlikely(ks->index.directory == NULL))
        return false;
    struct glance_slot *s = &f->slots[f->taken++ % GLANCE_SLOTS];
    s->hash = keyspace_hash_here(ks, hot.key, hash);
    s->key = hot.key.data;
    s->keyspace = ks;
    const struct find_step step = keyspace_step_home(ks, s->hash);
    s->home = step.bucket;
    s->tag = step.tag;
    s->end = f->end += (uint32_t)hot.len;
    s->value_len = (uint16_t)hot.value.len;
    s->key_len = (uint8_t)hot.key.len;
    s->opcode = hot.opcode;
    return true;
}

static __attribute__((noinline)) void take_some(struct pass *p, uint32_t count)
{
    for (; count > 0 && !p->cut; count--)
        p->cut = !(p->direct ? take_frame(p, true) : take_frame(p, false));
}

// ---- ask

static always_inline void ask(struct glance_slot *s)
{
    s->entry = keyspace_step_entry(s->keyspace, (struct find_step){ s->home, s->tag });
}

static __attribute__((noinline)) void ask_some(struct glance_frames *f, uint32_t until)
{
    for (; f->asked < until && f->asked < f->taken; f->asked++)
        ask(&f->slots[f->asked % GLANCE_SLOTS]);
}

static always_inline void ask_again(struct glance_slot *s)
{
    if (unlikely(s->entry == NULL))
        s->entry = keyspace_step_beyond(s->keyspace, s->hash);
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

static always_inline bool serve(const struct glance_slot *s, struct buf *out, bool may_set)
{
    struct slice key = slice_of(s->key, s->key_len);
    struct entry *e = keyspace_step_find(s->keyspace, s->entry, key, s->hash);
    if (unlikely(e == NULL))
        return false;
    if (s->opcode != FCNP_GET)
        return may_set && serve_set(e, slice_of(key.data + key.len, s->value_len), out);
    if (unlikely(!serve_get(e, out)))
        return false;
    s->keyspace->stats.hits++;
    return true;
}

// ---- the pass

// Serves up to `count` frames more. False: that was all.
static always_inline bool serve_of(struct pass *p, uint32_t count, bool direct)
{
    struct glance_frames *f = p->frames;
    struct buf out = p->conn->out; // in registers
    uint32_t at = p->served, last = at + count, gets = 0;
    for (; at != last; at++) {
        if (likely(!p->cut))
            p->cut = !take_frame(p, direct);
        if (likely(f->asked < f->taken))
            ask(&f->slots[f->asked++ % GLANCE_SLOTS]);
        if (likely(f->again < f->asked))
            ask_again(&f->slots[f->again++ % GLANCE_SLOTS]);
        const struct glance_slot *s = &f->slots[at % GLANCE_SLOTS];
        if (unlikely(at == f->taken) || unlikely(!serve(s, &out, p->may_set)))
            break;
        gets += s->opcode == FCNP_GET;
    }
    p->conn->out.len = out.len;
    p->done.gets += gets;
    p->done.sets += at - p->served - gets;
    p->used = at > 0 ? f->slots[(at - 1) % GLANCE_SLOTS].end : 0;
    p->served = at;
    return at == last;
}

static __attribute__((noinline)) bool serve_some(struct pass *p, uint32_t count)
{
    struct glance_frames *f = p->frames;
    uint32_t at = p->served;
    if (f->taken - at < GLANCE_TAKE)
        take_some(p, GLANCE_TAKE - (f->taken - at));
    ask_some(f, at + GLANCE_ASK);
    // What serve_of does not pass any more.
    for (; f->again < at + GLANCE_AGAIN && f->again < f->asked; f->again++)
        ask_again(&f->slots[f->again % GLANCE_SLOTS]);
    return p->direct ? serve_of(p, count, true) : serve_of(p, count, false);
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
    const struct glance_slot *s = &p->frames->slots[(p->served - 1) % GLANCE_SLOTS];
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
    const struct glance_slot *s = &p->frames->slots[(p->served - 1) % GLANCE_SLOTS];
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

static inline bool may_look(const struct conn *c)
{
    const struct worker *w = c->worker;
    return (c->client.flags & CLIENT_AUTHENTICATED) != 0 && w->route.mode == ROUTE_FULL_KEY && !w->store->has_recency &&
           (c->only_shard != NO_SHARD || w->server->worker_count == 1);
}

static inline bool may_run(const struct conn *c, struct slice in)
{
    struct worker *w = c->worker;
    if (unlikely(!may_look(c) || !glance_may(c) || c->pending != NULL || w->gated || w->watching || w->watch.alone == UINT32_MAX ||
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

static void begin_frames(struct glance_frames *f, const struct conn *c, const uint8_t *begin)
{
    f->begin = begin;
    f->conn = c;
    f->taken = f->asked = f->again = f->end = 0;
}

static void count_served(const struct pass *p)
{
    struct conn *c = p->conn;
    struct worker *w = c->worker;
    const struct item last = { .command = command_of(w, &p->frames->slots[(p->served - 1) % GLANCE_SLOTS]) };
    glance_count(c, &p->done, &last);
    w->stats.native_frames += p->served;
    if (unlikely(conn_unsent(c) > OUTPUT_HIGH))
        c->paused = true;
}

size_t native_glance_run(struct conn *c, struct slice in)
{
    struct worker *w = c->worker;
    struct glance_frames *f = &w->native_glance.frames[w->native_glance.now];
    in.len = in.len < GLANCE_BYTES ? in.len : GLANCE_BYTES;
    if (!may_run(c, in))
        return 0;
    if (f->begin != in.data || f->conn != c)
        begin_frames(f, c, in.data);
    conn_out_begin(c);
    begin_stretch(w);
    struct pass p;
    begin_pass(&p, c, f, in);
    p.may_set = w->options.maxmemory == 0 && store_lets_overwrite(w->store, false);
    serve_all(&p);
    stretch_end(&p);
    if (p.served > 0)
        count_served(&p);
    conn_out_end(c);
    f->begin = NULL;
    return p.used;
}

void native_glance_next(struct worker *w, const struct completion *next)
{
    struct native_glance *g = &w->native_glance;
    g->now ^= 1;
    struct glance_frames *f = &g->frames[g->now];
    if (f->begin != NULL)
        ask_some(f, UINT32_MAX);
    f = &g->frames[g->now ^ 1];
    f->begin = NULL;
    if (next == NULL || next->op->owner != OWNER_CONN_RECV || next->result <= AHEAD_BYTES || (next->flags & COMPLETION_BUFFER) == 0 ||
        *next->data != FCNP_MAGIC)
        return;
    struct conn *c = container_of(next->op, struct conn, recv);
    if (c->state != CONN_OPEN || c->carry.len > 0 || c->into_blob || !may_look(c))
        return;
    struct pass p;
    begin_frames(f, c, next->data);
    begin_pass(&p, c, f, slice_of(next->data, (size_t)next->result));
    take_some(&p, GLANCE_NEXT);
}

void native_glance_forget(struct worker *w)
{
    w->native_glance.frames[0].begin = w->native_glance.frames[1].begin = NULL;
}
