// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/defer.h"
#include "engine/shard/forward.h"

#include <stdlib.h>

#include "engine/shard/args.h"
#include "engine/shard/multi.h"
#include "engine/shard/run.h"

struct deferred {
    struct ticket ticket;
    const struct command *command;
    struct args args;
    uint32_t db;
    uint8_t protocol;
    uint8_t level; // enum gate_level that the client asks for
    bool refer;    // as struct forward's
    uint64_t watcher;
    uint32_t from;           // another worker asked, or
    uint64_t cookie;         //
    struct pending *pending; // a connection of this one
    struct intent intents[];
};

// 0: a cursor, which reads all keys.
static uint32_t keys_of(const struct command *command, const struct slice *argv, uint32_t argc, struct command_keys *keys)
{
    if (!command_keys(command, argv, argc, keys))
        return 0;
    return (keys->last - keys->first) / keys->step + 1;
}

// Is any of the command's keys, which all belong to this worker, announced by somebody who goes first?
static bool conflicts(struct worker *w, const struct command *command, const struct slice *argv, uint32_t argc, uint64_t hash)
{
    const struct intents *table = &w->txns.intents;
    bool exclusive = (command->flags & CMD_WRITE) != 0;
    if (unlikely((command->flags & CMD_CURSOR) != 0))
        return intents_conflict_all(table);
    if (likely(command->key_first == command->key_last && (command->flags & CMD_MOVABLE_KEYS) == 0))
        return intents_conflict(table, txn_print(hash), exclusive);
    struct command_keys keys;
    if (!command_keys(command, argv, argc, &keys))
        return false;
    for (uint32_t i = keys.first; i <= keys.last; i += keys.step)
        if (intents_conflict(table, txn_print_of(w, argv[i]), exclusive))
            return true;
    return false;
}

static struct deferred *deferred_free(struct deferred *d)
{
    args_deinit(&d->args);
    free(d);
    return NULL;
}

// NULL: out of memory; the blobs are still the caller's.
static struct deferred *deferred_new(struct worker *w, const struct command *command, const struct slice *argv, uint32_t argc, uint32_t db,
                                     struct blob **blobs, uint32_t blobs_cap)
{
    struct command_keys keys;
    uint32_t count = keys_of(command, argv, argc, &keys);
    struct deferred *d = malloc(sizeof *d + (count + 1) * sizeof d->intents[0]);
    if (d == NULL)
        return NULL;
    *d = (struct deferred){ .command = command, .db = db };
    if (!args_copy(&d->args, argv, argc, blobs, blobs_cap)) {
        free(d);
        return NULL;
    }
    bool exclusive = (command->flags & CMD_WRITE) != 0;
    enum intent_mode some = exclusive ? INTENT_SOME_EXCLUSIVE : INTENT_SOME_SHARED;
    ticket_init(&d->ticket, d->intents, count + 1, count == 0 ? INTENT_SHARED : some);
    d->ticket.kind = TICKET_DEFERRED;
    for (uint32_t i = 0; i < count; i++)
        ticket_key(&d->ticket, i + 1, txn_print_of(w, argv[keys.first + i * keys.step]), exclusive);
    return d;
}

bool defer_item(struct conn *c, const struct item *item)
{
    struct worker *w = c->worker;
    const struct request *rq = &item->request;
    uint32_t db = c->client.db;
    bool touches = item->keyspace != NULL || (item->command->flags & CMD_CURSOR) != 0;
    if (!touches || multi_running(c) || !conflicts(w, item->command, rq->argv, rq->argc, item->hash))
        return false;
    struct deferred *d = deferred_new(w, item->command, rq->argv, rq->argc, db, c->blobs, c->blobs_cap);
    struct pending *p = d != NULL ? conn_expect(c) : NULL;
    if (p == NULL || intents_enqueue(&w->txns.intents, &d->ticket) != 0) {
        if (d != NULL)
            deferred_free(d);
        conn_close(c);
        return true;
    }
    p->silent = (c->client.flags & (CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP)) != 0;
    d->protocol = c->client.protocol;
    d->level = gate_asked(c);
    d->refer = conn_may_refer(c);
    d->watcher = c->client.id;
    d->pending = p;
    c->client.last_command = item->command;
    return true;
}

bool defer_served(struct worker *w, uint32_t from, const struct mesh_request *head, const struct slice *argv, uint64_t hash)
{
    const struct command *command = command_at(head->command);
    if (!conflicts(w, command, argv, head->argc, hash))
        return false;
    struct blob **blobs = (head->flags & MESH_HAS_BLOBS) != 0 ? forward_blobs(head) : NULL;
    struct deferred *d = deferred_new(w, command, argv, head->argc, head->db, blobs, blobs != NULL ? head->argc : 0);
    bool queued = d != NULL && intents_enqueue(&w->txns.intents, &d->ticket) == 0;
    if (queued) {
        d->protocol = head->protocol;
        d->level = (head->flags & MESH_LEVEL) >> MESH_LEVEL_SHIFT;
        d->refer = (head->flags & MESH_REFER) != 0;
        d->watcher = forward_watcher(head);
        d->from = from;
        d->cookie = head->cookie;
    } else {
        for (uint32_t i = 0; d == NULL && blobs != NULL && i < head->argc; i++)
            blob_free(blobs[i]);
        if (d != NULL)
            deferred_free(d);
        static const char text[] = "-ERR out of memory\r\n";
        struct buf out;
        buf_init(&out, BUF_NO_LIMIT);
        buf_append(&out, text, sizeof text - 1);
        forward_reply(w, from, head->cookie, &out, NULL);
    }
    free(blobs);
    return true;
}

void defer_run(struct worker *w, struct ticket *t)
{
    struct deferred *d = container_of(t, struct deferred, ticket);
    struct conn *c = d->pending != NULL ? d->pending->conn : NULL;
    struct buf out;
    buf_init(&out, BUF_NO_LIMIT);
    struct here here = {
        .client = c != NULL ? &c->client : NULL,
        .command = d->command,
        .argv = d->args.argv,
        .argc = d->args.argc,
        .blobs = d->args.blobs,
        .db = d->db,
        .protocol = d->protocol,
        .watcher = d->watcher,
        .refer = d->refer ? forward_refer : NULL,
    };
    if (unlikely(w->gated))
        gate_serve(&w->gate, d->level);
    uint8_t level = c != NULL ? c->level : 0;
    if (c != NULL)
        c->level = d->level; // the connection's frame may be over by now
    run_here(w, &here, &out);
    if (c != NULL)
        c->level = level;
    struct blob *found = w->found;
    w->found = NULL;
    if (d->pending == NULL) {
        if (likely(!w->gated) || !gate_keep(w, d->from, d->cookie, &out, &found)) {
            forward_reply(w, d->from, d->cookie, &out, found);
            w->stats.requests_served++;
        }
    } else if (found != NULL) {
        buf_deinit(&out);
        conn_deliver_value(w, d->pending, found);
    } else if (out.failed) {
        if (c != NULL)
            conn_close(c);
        conn_deliver(w, d->pending, NULL, NULL, NULL, 0);
        buf_deinit(&out);
    } else {
        conn_deliver(w, d->pending, NULL, out.data, out.data, out.len);
    }
    intents_release(&w->txns.intents, t);
    deferred_free(d);
}
