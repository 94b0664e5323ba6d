// SPDX-License-Identifier: Apache-2.0
// The commonest requests at a glance: GET of a small string that is here, and SET of one to a value of the same length. The answer and
// what is counted are the command's; whatever is not plainly that (missing, of another type, large, with a deadline, under a policy that
// notes accesses; for SET also with maxmemory or anybody but the log who listens for changes) is left untouched to the command layer. Costs
// the lookup and one copy; the resumable parser, a command's call, its statistics and the reply's way through RESP are saved.
#pragma once

#include "engine/shard/conn.h"
#include "engine/shard/native.h"
#include "engine/store/find.h"
#include "proto/fcnp_reply.h"
#include "proto/resp_hot.h"

#define GLANCE_MAX 512 // bytes of a value

// Frames of one batch, as they are gathered.
struct frames {
    uint32_t count;
    uint32_t args;  // of worker.args in use
    uint32_t asked; // so many entries have been asked for
    bool known;     // the client has authenticated
    size_t offset;  // behind the last one
    struct native_memo memo;
};

// Takes what begins at in[offset], as long as it is fcnp_hottest's and its prefix agrees with itself; of another worker's key if it is
// small and its hash is right, too.
void glance_gather(struct conn *c, struct slice in, struct frames *f);

#define GATHER_MEMOS 8 // shards take turns at random, so the last one is not enough

// Requests of one batch in RESP, as they are gathered.
struct gathered {
    uint32_t count;
    uint32_t args;                          // of worker.args in use
    size_t offset;                          // behind the last one
    struct native_memo memos[GATHER_MEMOS]; // by the shard's lower bits
};

static inline void gathered_init(struct gathered *g)
{
    g->count = g->args = 0;
    g->offset = 0;
    for (uint32_t i = 0; i < GATHER_MEMOS; i++)
        g->memos[i].shard = NO_SHARD;
}

// Takes what begins at in[offset], as long as it is resp_hottest's; of another worker's keys too (those will be forwarded).
void glance_gather_resp(struct conn *c, struct slice in, struct gathered *g);
// Requests of this connection may be taken so: it has authenticated, has a port of all shards, and the parser holds nothing of a cut one.
bool glance_may_gather(const struct conn *c);

// Nothing stands between a request of this connection and its reply, but perhaps replies that are due from elsewhere.
static inline bool glance_may(const struct conn *c)
{
    const struct worker *w = c->worker;
    return conn_runs(c) && !c->queueing && w->txns.intents.count == 0 && w->watch.reply_min > GLANCE_MAX &&
           (c->client.flags & (CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP | CLIENT_REPLY_SKIP_NEXT | CLIENT_CLOSE_AFTER_REPLY)) == 0;
}

#define GLANCE_HEAD 8 // bytes that either protocol writes before a value, at most; RESP puts two behind it

// False: nothing has happened.
static inline bool glance_get(const struct item *item, struct buf *out, bool native)
{
    struct slice value;
    if (unlikely(out->cap - out->len < GLANCE_HEAD + GLANCE_MAX + 2))
        return false;
    if (!keyspace_glance(item->keyspace, item->request.argv[1], item->hash, GLANCE_MAX, &value))
        return false;
    uint8_t *to = out->data + out->len;
    size_t head = FCNP_HEADER;
    if (native)
        fcnp_reply_header(to, FCNP_VALUE, (uint32_t)value.len);
    else
        head = resp_hot_head(to, (uint32_t)value.len);
    copy_short(to + head, value.data, value.len);
    if (!native)
        store_u16(to + head + value.len, '\r' | '\n' << 8);
    out->len += head + value.len + (native ? 0 : 2);
    return true;
}

// `told`: the caller tells whoever listens for changes.
static inline bool glance_set(const struct item *item, struct buf *out, bool native, bool told)
{
    static_assert(FCNP_HEADER == GLANCE_HEAD, "both replies have room");
    if (unlikely(out->cap - out->len < GLANCE_HEAD) ||
        !keyspace_overwrite(item->keyspace, item->request.argv[1], item->hash, item->request.argv[2], told))
        return false;
    uint8_t *to = out->data + out->len;
    if (native)
        fcnp_reply_header(to, FCNP_OK, 0);
    else
        memcpy(to, "+OK\r\n", 5);
    out->len += native ? FCNP_HEADER : 5;
    return true;
}

// What was answered.
struct glanced {
    uint32_t gets, sets;
};

// False: it wants its command.
static inline bool glance_item(const struct item *item, struct buf *out, bool may_set, bool native, struct glanced *done)
{
    if (item->request.argc == 2) {
        if (unlikely(!glance_get(item, out, native)))
            return false;
        done->gets++;
    } else {
        if (unlikely(!may_set) || !glance_set(item, out, native, false))
            return false;
        done->sets++;
    }
    return true;
}

// Items from `i` on at a worker that logs, as far as that goes: a GET where it need not wait for the log, a SET with its record.
uint32_t glance_logged(struct conn *c, struct item *items, uint32_t i, uint32_t end, uint32_t ahead, uint32_t count, bool native);

static inline void glance_count(struct conn *c, const struct glanced *done, const struct item *last)
{
    struct worker *w = c->worker;
    w->stats.commands += done->gets + done->sets;
    w->commands[command_index(w->native_commands[FCNP_GET])].calls += done->gets;
    w->commands[command_index(w->native_commands[FCNP_SET])].calls += done->sets;
    c->client.requests += done->gets + done->sets;
    c->client.last_command = last->command;
}
