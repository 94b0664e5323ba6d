// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/glance.h"

#include "engine/shard/run.h"

// A plain frame of another worker's key, small as those in RESP are. A hash that is not the key's is for the command layer to refuse.
static bool may_travel(const struct conn *c, const struct native_memo *memo, const struct fcnp_hot *hot, uint64_t hash)
{
    return memo->worker != c->worker->id && hot->key.len + hot->value.len <= RESP_HOT_MAX &&
           ((hot->flags & FCNP_HASH) == 0 || hash_route(hot->key) == hash);
}

void glance_gather(struct conn *c, struct slice in, struct frames *f)
{
    struct worker *w = c->worker;
    const struct route route = w->route;
    struct native_memo memo = f->memo;
    struct slice *argv = w->args + f->args;
    uint32_t count = f->count, asked = f->asked, only = c->only_shard;
    const uint8_t *at = in.data + f->offset, *end = in.data + in.len;
    struct fcnp_hot hot;
    if (unlikely(route.mode != ROUTE_FULL_KEY))
        return;
    for (; count < BATCH_REQUESTS && fcnp_hottest(slice_of(at, (size_t)(end - at)), &hot); count++) {
        uint64_t hash = likely((hot.flags & FCNP_HASH) != 0) ? hot.key_hash : hash_route(hot.key);
        uint32_t shard = route_shard_of_hash(&route, hash);
        if (likely(hot.flags == FCNP_FLAGS)) {
            if (unlikely(hot.route_shard != shard || hot.key_tag != hash >> 56 || (only != shard && only != NO_SHARD)))
                break;
        } else if (hot.flags == FCNP_SHARD) {
            if (unlikely(hot.route_shard != shard || (only != shard && only != NO_SHARD)))
                break;
        } else if (unlikely(only != NO_SHARD)) {
            break;
        }
        if (unlikely(shard != memo.shard))
            native_remember(c, &memo, shard);
        bool here = memo.keyspace != NULL;
        if (unlikely(!here) && !may_travel(c, &memo, &hot, hash))
            break;
        at += hot.len;
        struct item *item = &w->items[count];
        argv[0] = slice_of(hot.opcode == FCNP_GET ? "GET" : "SET", 3);
        argv[1] = hot.key;
        argv[2] = hot.value;
        *item = (struct item){
            .request = { .argc = hot.opcode + 1u, .argv = argv },
            .command = w->native_commands[hot.opcode],
            .keyspace = memo.keyspace,
            .claim = hash,
            .shard = shard,
            .worker = memo.worker,
            .end = (uint32_t)(at - in.data),
            .hot = HOT_AWAY,
        };
        argv += 3;
        if (likely(here)) {
            item->hot = (hot.flags & FCNP_HASH) != 0 ? HOT_CLAIM : HOT_GLANCE;
            item->hash = keyspace_hash_here(memo.keyspace, hot.key, hash);
            keyspace_prefetch_here(memo.keyspace, item->hash);
        }
        if (count >= PREFETCH_LAG + asked)
            run_prefetch(w->items, asked++);
    }
    f->memo = memo;
    f->args = (uint32_t)(argv - w->args);
    f->count = count;
    f->asked = asked;
    f->offset = (size_t)(at - in.data);
}

static inline bool set_logged(struct conn *c, const struct item *item, bool native)
{
    struct worker *w = c->worker;
    if (unlikely(!effects_takes(&w->effects, item->hash)) || !glance_set(item, &c->out, native, true))
        return false;
    effects_overwritten(w, item->shard, c->client.db, item->hash, item->request.argv[1], item->request.argv[2]);
    return true;
}

uint32_t glance_logged(struct conn *c, struct item *items, uint32_t i, uint32_t end, uint32_t ahead, uint32_t count, bool native)
{
    struct worker *w = c->worker;
    const uint32_t first = i;
    struct glanced done = { 0 };
    if (native) { // what waits asks for nothing of its own, and is told so in a frame (begin_frame)
        c->client.protocol = PROTOCOL_RESP3;
        c->frame = FCNP_PLAIN + 1;
        c->bare = false;
        c->level = GATE_NO;
    }
    bool may_get = gate_lets_reads(c), may_set = w->options.maxmemory == 0 && gate_lets_sets(c);
    for (; i < end && items[i].hot >= HOT_GLANCE; i++) {
        if (i + ahead < count)
            run_prefetch(items, i + ahead);
        if (items[i].request.argc == 2) {
            if (unlikely(!may_get) || !glance_get(&items[i], &c->out, native))
                break;
            done.gets++;
        } else {
            if (unlikely(!may_set) || !set_logged(c, &items[i], native))
                break;
            if (done.sets++ == 0)
                may_get = may_get && gate_lets_reads(c); // it may show what this SET has changed
        }
    }
    if (done.sets > 0) {
        w->save.changes += done.sets;
        gate_conn(c, effects_building(&w->effects), gate_asked(c));
    }
    if (i > first)
        glance_count(c, &done, &items[i - 1]);
    return i;
}

bool glance_may_gather(const struct conn *c)
{
    const struct resp *p = &c->parser;
    return (c->client.flags & CLIENT_AUTHENTICATED) != 0 && c->only_shard == NO_SHARD && p->limits.frame_max >= RESP_HOT_MAX &&
           p->position == 0 && p->scanned == 0 && p->args_total == 0;
}

void glance_gather_resp(struct conn *c, struct slice in, struct gathered *g)
{
    struct worker *w = c->worker;
    const struct route route = w->route;
    struct slice *argv = w->args + g->args;
    uint32_t count = g->count, own = w->id;
    const uint8_t *at = in.data + g->offset, *end = in.data + in.len;
    struct resp_hot hot;
    for (; count < BATCH_REQUESTS && resp_hottest(slice_of(at, (size_t)(end - at)), &hot); count++) {
        uint32_t shard = route_shard(&route, hot.key);
        struct native_memo *memo = &g->memos[shard % GATHER_MEMOS];
        if (unlikely(shard != memo->shard))
            native_remember(c, memo, shard);
        struct keyspace *keyspace = memo->keyspace;
        bool here = memo->worker == own;
        if (unlikely(keyspace == NULL && here))
            break;
        at += hot.len;
        struct item *item = &w->items[count];
        argv[0] = hot.name;
        argv[1] = hot.key;
        argv[2] = hot.value;
        *item = (struct item){
            .request = { .argc = hot.argc, .argv = argv },
            .command = w->native_commands[hot.argc == 2 ? FCNP_GET : FCNP_SET],
            .keyspace = keyspace,
            .shard = shard,
            .worker = memo->worker,
            .end = (uint32_t)(at - in.data),
            .hot = here ? HOT_GLANCE : HOT_AWAY,
        };
        argv += hot.argc;
        if (likely(keyspace != NULL)) {
            item->hash = keyspace_hash(keyspace, hot.key);
            keyspace_prefetch_here(keyspace, item->hash);
        }
        if (count >= PREFETCH_LAG)
            run_prefetch(w->items, count - PREFETCH_LAG);
    }
    g->args = (uint32_t)(argv - w->args);
    g->count = count;
    g->offset = (size_t)(at - in.data);
}
