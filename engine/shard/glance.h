// SPDX-License-Identifier: Apache-2.0
// The commonest frame at a glance: GET of a small string that is here. The answer and what is counted are the command's; whatever is
// not plainly such a hit (missing, of another type, large, with a deadline, under a policy that notes accesses) is left untouched to
// the command layer. Costs the lookup and one copy; a command's call, its statistics and the reply's way through RESP are saved.
#pragma once

#include "engine/shard/conn.h"
#include "engine/shard/native.h"
#include "engine/store/find.h"
#include "proto/fcnp_reply.h"

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

// Takes what begins at in[offset], as long as it is fcnp_hot_get's, of a key of this worker, and its prefix agrees with itself.
void glance_gather(struct conn *c, struct slice in, struct frames *f);

// Nothing stands between a request of this connection and its reply.
static inline bool glance_may(const struct conn *c)
{
    const struct worker *w = c->worker;
    return conn_runs(c) && c->pending == NULL && !c->queueing && w->txns.intents.count == 0 && w->watch.reply_min > GLANCE_MAX &&
           (c->client.flags & (CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP | CLIENT_REPLY_SKIP_NEXT | CLIENT_CLOSE_AFTER_REPLY)) == 0;
}

// False: nothing has happened.
static inline bool glance_get(const struct item *item, struct buf *out)
{
    struct slice value;
    if (unlikely(out->cap - out->len < FCNP_HEADER + GLANCE_MAX))
        return false;
    if (!keyspace_glance(item->keyspace, item->request.argv[1], item->hash, GLANCE_MAX, &value))
        return false;
    uint8_t *to = out->data + out->len;
    fcnp_reply_header(to, FCNP_VALUE, (uint32_t)value.len);
    copy_short(to + FCNP_HEADER, value.data, value.len);
    out->len += FCNP_HEADER + value.len;
    return true;
}

// `count` requests beginning with `first` were answered.
static inline void glance_count(struct conn *c, const struct item *first, uint32_t count)
{
    struct worker *w = c->worker;
    w->stats.commands += count;
    w->commands[command_index(first->command)].calls += count;
    c->client.requests += count;
    c->client.last_command = first->command;
}
