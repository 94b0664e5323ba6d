// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/native.h"

#include "base/bytes.h"
#include "engine/shard/defer.h"
#include "engine/shard/forward.h"
#include "engine/shard/run.h"
#include "proto/fcnp_reply.h"

#define STRANGER_FRAME_MAX 16384 // bytes and arguments of a frame before AUTH, as RESP's
#define STRANGER_ARGS_MAX  10
#define ARGS_MAX           (1024 * 1024)

struct fcnp_limits native_limits(const struct conn *c)
{
    bool known = (c->client.flags & CLIENT_AUTHENTICATED) != 0;
    return (struct fcnp_limits){
        .frame_max = FCNP_HEADER + (known ? c->worker->options.proto_max_bulk_len : STRANGER_FRAME_MAX),
        .args_max = known ? ARGS_MAX : STRANGER_ARGS_MAX,
        .levels = (c->client.flags & CLIENT_LEVELS) != 0,
    };
}

const char *native_refusal(enum refusal refusal)
{
    static const char *const TEXTS[] = {
        [REFUSE_UNSUPPORTED] = FCNP_ERROR_UNSUPPORTED,
        [REFUSE_HASH] = "ERR FCNP key hash mismatch",
        [REFUSE_SHARD] = "ERR FCNP route shard mismatch",
        [REFUSE_UNROUTED] = "ERR FCNP direct shard port requires routed GET/SET/DEL",
        [REFUSE_BARE_KEYED] = "ERR FCNP bare GET needs index-hash public",
        [REFUSE_BARE_PREFIX] = "ERR FCNP bare GET needs route-mode full-key",
        [REFUSE_BARE_AMBIGUOUS] = "ERR FCNP bare GET is ambiguous",
    };
    assert(refusal < sizeof TEXTS / sizeof TEXTS[0] && TEXTS[refusal] != NULL);
    return TEXTS[refusal];
}

void native_refuse(const struct conn *c, struct item *item, enum refusal why)
{
    item->refusal = (uint8_t)why;
    if (item->hot != HOT_NOT)
        item->hot = HOT_FRAME;
    item->worker = c->worker->id;
    item->spread = false;
}

// ---- what is asked for

void native_commands_init(const struct command *commands[256])
{
    for (uint32_t opcode = 0; opcode < 256; opcode++) {
        struct slice words[2];
        uint32_t count = fcnp_words((uint8_t)opcode, words);
        commands[opcode] = count > 0 ? command_find(words, count) : NULL;
    }
}

static inline const struct command *command_of(const struct worker *w, const struct fcnp_request *frame)
{
    if (unlikely(frame->opcode == FCNP_RESP_COMMAND))
        return command_find(frame->rq.argv, frame->rq.argc);
    return w->native_commands[frame->opcode];
}

// A prefix of a request without a key says nothing; of one with many it is the first one's.
static void check_route(const struct conn *c, struct item *item, const struct fcnp_request *frame)
{
    struct command_keys keys;
    if (!command_keys(item->command, item->request.argv, item->request.argc, &keys))
        return;
    struct native_claim claim = { frame->key_hash, frame->key_tag, frame->route_shard, frame->flags };
    enum refusal why = native_compare(c, &claim, hash_route(item->request.argv[keys.first]), item->shard);
    if (why != REFUSE_NOT)
        native_refuse(c, item, why);
}

void native_check_port(const struct conn *c, struct item *item, enum refusal refusal)
{
    if (item->refusal != REFUSE_NOT || (item->command->flags & CMD_LOCAL) != 0)
        return;
    struct command_keys keys;
    bool one = command_keys(item->command, item->request.argv, item->request.argc, &keys) && keys.first == keys.last;
    if (!one)
        native_refuse(c, item, refusal);
    else if (item->shard != c->only_shard)
        native_refuse(c, item, REFUSE_SHARD);
}

// Who the key belongs to follows from its hash alone, as long as whole keys are routed by.
static void place_bare(struct conn *c, struct item *item, const struct fcnp_request *frame)
{
    struct worker *w = c->worker;
    enum refusal why = REFUSE_NOT;
    item->spread = item->displaced = false;
    item->keyspace = NULL;
    item->shard = route_shard_of_hash(&w->route, frame->key_hash);
    item->worker = item->shard % w->server->worker_count;
    if ((c->client.flags & CLIENT_AUTHENTICATED) == 0)
        why = REFUSE_AUTH;
    else if (w->options.index_hash != INDEX_HASH_PUBLIC)
        why = REFUSE_BARE_KEYED;
    else if (w->route.mode != ROUTE_FULL_KEY)
        why = REFUSE_BARE_PREFIX;
    else {
        struct native_claim claim = { frame->key_hash, frame->key_tag, frame->route_shard, frame->flags };
        why = native_compare(c, &claim, frame->key_hash, item->shard);
    }
    if (why != REFUSE_NOT)
        native_refuse(c, item, why);
}

bool native_prepare(struct conn *c, struct item *item, const struct fcnp_request *frame)
{
    item->request = frame->rq;
    item->refusal = REFUSE_NOT;
    item->hot = HOT_NOT;
    item->command = command_of(c->worker, frame);
    if (frame->rq.argc > 0 && frame->bare) {
        place_bare(c, item, frame);
        return false;
    }
    bool alone = run_place(c, item);
    if (unlikely(item->command == NULL)) {
        if (frame->opcode != FCNP_RESP_COMMAND)
            item->refusal = REFUSE_UNSUPPORTED;
        return false;
    }
    if (item->refusal == REFUSE_NOT && (frame->flags != 0 || c->only_shard != NO_SHARD))
        check_route(c, item, frame);
    if (unlikely(c->only_shard != NO_SHARD))
        native_check_port(c, item, REFUSE_UNROUTED);
    return alone;
}

void native_prepare_hot_again(struct conn *c, struct item *item, const struct fcnp_hot *hot, struct slice *argv)
{
    struct native_memo memo = { .shard = NO_SHARD };
    native_prepare_hot(c, item, hot, argv, &memo, false);
}

void native_verify(const struct conn *c, struct item *item)
{
    item->hot = HOT_FRAME;
    if (unlikely(hash_route(item->request.argv[1]) != item->claim))
        native_refuse(c, item, REFUSE_HASH);
}

// ---- bare GET

// Looks in one keyspace: the key, or why there is none.
static enum refusal find_bare(struct worker *w, uint32_t shard, uint32_t db, uint64_t hash, uint32_t key_len, struct slice *key)
{
    uint32_t count = 0;
    struct entry *e = keyspace_find_public(store_keyspace(w->store, shard, db), hash, key_len, w->now_ms, &count);
    if (count > 1)
        return REFUSE_BARE_AMBIGUOUS;
    if (e == NULL)
        return REFUSE_BARE_MISS;
    *key = entry_key(e);
    return REFUSE_NOT;
}

void native_find_bare(struct conn *c, struct item *item, const struct fcnp_request *frame)
{
    struct worker *w = c->worker;
    w->bare_argv[0] = slice_cstr("GET");
    item->request = (struct request){ .argc = 2, .argv = w->bare_argv };
    if (item->worker != w->id) {
        store_u64(w->bare_name, frame->key_hash);
        store_u32(w->bare_name + 8, frame->key_len);
        w->bare_argv[1] = slice_of(w->bare_name, sizeof w->bare_name);
        return;
    }
    item->refusal = (uint8_t)find_bare(w, item->shard, c->client.db, frame->key_hash, frame->key_len, &w->bare_argv[1]);
    if (item->refusal != REFUSE_NOT)
        return;
    item->keyspace = store_keyspace(w->store, item->shard, c->client.db);
    item->hash = keyspace_hash(item->keyspace, w->bare_argv[1]);
}

void native_serve_bare(struct worker *w, const struct mesh_request *head, const struct slice *argv, struct buf *out)
{
    assert(head->argc == 2 && argv[1].len == sizeof w->bare_name);
    struct slice get[2] = { slice_cstr("GET") };
    enum refusal refusal = find_bare(w, head->shard, head->db, load_u64(argv[1].data), load_u32(argv[1].data + 8), &get[1]);
    struct reply reply = { .out = out, .protocol = head->protocol };
    if (unlikely(w->gated) && refusal != REFUSE_NOT)
        gate_read_all(w, NULL);
    if (refusal == REFUSE_NOT)
        run_here(w,
                 &(struct here){ .command = command_find(get, 2),
                                 .argv = get,
                                 .argc = 2,
                                 .db = head->db,
                                 .protocol = head->protocol,
                                 .refer = (head->flags & MESH_REFER) != 0 ? forward_refer : NULL },
                 out);
    else if (refusal == REFUSE_BARE_MISS)
        reply_null(&reply);
    else
        reply_error(&reply, native_refusal(refusal));
}

bool native_defer_bare(struct worker *w, uint32_t from, const struct mesh_request *head, const struct slice *argv)
{
    struct slice get[2] = { slice_cstr("GET") };
    if (find_bare(w, head->shard, head->db, load_u64(argv[1].data), load_u32(argv[1].data + 8), &get[1]) != REFUSE_NOT)
        return false;
    struct mesh_request as_get = *head;
    as_get.command = (uint16_t)command_index(command_find(get, 2));
    return defer_served(w, from, &as_get, get, keyspace_hash(store_keyspace(w->store, head->shard, head->db), get[1]));
}

// ---- replies

void native_frame(struct buf *out, struct slice resp, uint8_t shape)
{
    struct reply reply = { .out = out };
    size_t mark = fcnp_reply_begin(&reply, shape);
    buf_append_slice(out, resp);
    fcnp_reply_end(&reply, mark, shape);
}
