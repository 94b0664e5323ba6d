// SPDX-License-Identifier: Apache-2.0
// What FCNP asks for beyond RESP: routes that the client chose, GET without a key, replies as frames. How its bytes become requests
// is session_frames.c's, how they run run.c's.
//
// The client's hash and shard are hints. The key is always compared; and it is hashed here again before anything is stored, asked of
// another worker or answered as missing. So a wrong hint can lead to the right value or to an error, and never to anything else.
#pragma once

#include "engine/shard/conn.h"
#include "engine/shard/mesh.h"
#include "proto/fcnp.h"

void native_commands_init(const struct command *commands[256]);

// The frame's command, looked up, routed and checked against the frame's own route. True: nothing may be parsed behind it before it
// has run.
bool native_prepare(struct conn *c, struct item *item, const struct fcnp_request *frame);
// Makes the request one that is answered here, with an error.
void native_refuse(const struct conn *c, struct item *item, enum refusal why);

// What a frame says of its key.
struct native_claim {
    uint64_t hash, tag;
    uint32_t shard;
    uint8_t flags;
};

// And what is true.
static inline enum refusal native_compare(const struct conn *c, const struct native_claim *claim, uint64_t hash, uint32_t shard)
{
    if (unlikely((claim->flags & FCNP_HASH) && claim->hash != hash))
        return REFUSE_HASH;
    if (unlikely((claim->flags & FCNP_TAG) && claim->tag != hash >> 56))
        return REFUSE_HASH;
    if (unlikely((claim->flags & FCNP_SHARD) && claim->shard != shard))
        return REFUSE_SHARD;
    if (likely(c->only_shard == NO_SHARD))
        return REFUSE_NOT;
    if (!(claim->flags & FCNP_SHARD))
        return REFUSE_UNROUTED;
    return shard == c->only_shard ? REFUSE_NOT : REFUSE_SHARD;
}

// native_prepare_hot without belief.
void native_prepare_hot_again(struct conn *c, struct item *item, const struct fcnp_hot *hot, struct slice *argv);
// A route hash that was taken from the frame is looked at after all: a request for whose key it is wrong is refused.
void native_verify(const struct conn *c, struct item *item);

// The keyspace of the last frame: most come for the same shard as the one before.
struct native_memo {
    uint32_t shard; // NO_SHARD: none yet
    uint32_t worker;
    struct keyspace *keyspace; // NULL: another worker's
};

static inline void native_remember(const struct conn *c, struct native_memo *memo, uint32_t shard)
{
    struct worker *w = c->worker;
    *memo = (struct native_memo){ shard, shard % w->server->worker_count, store_keyspace(w->store, shard, c->client.db) };
}

// native_prepare for a hot frame of a client who has authenticated. `argv`: room for 3.
//
// The client's hash is believed for now, where whole keys are routed by: a key that is found was put there under its true hash. For one
// that is not found it is looked at (native_verify) before anything is done or answered.
static inline void native_prepare_hot(struct conn *c, struct item *item, const struct fcnp_hot *hot, struct slice *argv,
                                      struct native_memo *memo, bool believe)
{
    struct worker *w = c->worker;
    item->command = w->native_commands[hot->opcode];
    item->request = (struct request){ .argc = hot->opcode + 1u, .argv = argv };
    static_assert(FCNP_GET == 1 && FCNP_SET == 2, "the opcode is the number of arguments");
    bool get = hot->opcode == FCNP_GET;
    argv[0] = slice_of(get ? "GET" : "SET", 3);
    argv[1] = hot->key;
    if (!get)
        argv[2] = hot->value;
    item->refusal = REFUSE_NOT;
    item->spread = item->displaced = false;
    bool claim = believe && (hot->flags & FCNP_HASH) != 0 && w->route.mode == ROUTE_FULL_KEY;
    uint64_t hash = claim ? hot->key_hash : hash_route(hot->key);
    uint32_t shard = likely(w->route.mode == ROUTE_FULL_KEY) ? route_shard_of_hash(&w->route, hash) : route_shard(&w->route, hot->key);
    if (unlikely(shard != memo->shard))
        native_remember(c, memo, shard);
    struct native_claim said = { hot->key_hash, hot->key_tag, hot->route_shard, hot->flags };
    enum refusal why = native_compare(c, &said, hash, shard);
    if (unlikely(claim && (why != REFUSE_NOT || memo->keyspace == NULL))) {
        native_prepare_hot_again(c, item, hot, argv);
        return;
    }
    item->hot = (uint8_t)(memo->keyspace == NULL ? HOT_FRAME : claim ? HOT_CLAIM : HOT_GLANCE);
    item->claim = hash;
    item->shard = shard;
    item->worker = memo->worker;
    item->keyspace = memo->keyspace;
    if (likely(item->keyspace != NULL)) {
        item->hash = w->public_hash ? route_mix(hash) : keyspace_hash(item->keyspace, hot->key);
        keyspace_prefetch(item->keyspace, item->hash);
    }
    if (unlikely(why != REFUSE_NOT))
        native_refuse(c, item, why);
}

// On a direct port: refuses what does not belong to its shard.
void native_check_port(const struct conn *c, struct item *item, enum refusal refusal);

// What parsers may accept from this client.
struct fcnp_limits native_limits(const struct conn *c);

// Error text of a refusal that FCNP or direct ports cause.
const char *native_refusal(enum refusal refusal);

// Turns a bare GET into an ordinary one of the key that it means, or into what travels to the worker that knows the key.
void native_find_bare(struct conn *c, struct item *item, const struct fcnp_request *frame);
// The same for another worker: argv[1] is what native_find_bare made.
void native_serve_bare(struct worker *w, const struct mesh_request *head, const struct slice *argv, struct buf *out);
// Does its key belong to a transaction that goes first? Then it was taken (defer.h).
bool native_defer_bare(struct worker *w, uint32_t from, const struct mesh_request *head, const struct slice *argv);

// One RESP reply, appended as a frame of this enum fcnp_shape.
void native_frame(struct buf *out, struct slice resp, uint8_t shape);
