// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/gather.h"

#include <stdlib.h>

#include "engine/shard/server_commands.h"

bool gather_parts(struct gather *g, uint32_t parts)
{
    g->part = calloc(parts, sizeof *g->part);
    g->parts = g->part != NULL ? parts : 0;
    return g->part != NULL;
}

static void gather_free(struct gather *g)
{
    for (uint32_t i = 0; i < g->parts; i++)
        free(g->part[i].bytes);
    txn_deinit(&g->txn);
    free(g->part);
    free(g->order);
    free(g->part_of_key);
    args_deinit(&g->args);
    buf_deinit(&g->reply);
    free(g);
}

struct forward gather_forward(const struct gather *g, uint32_t target, const struct slice *argv, uint32_t argc)
{
    return (struct forward){
        .target = target,
        .shard = NO_SHARD,
        .db = g->db,
        .command = (uint16_t)command_index(g->command),
        .protocol = g->protocol,
        .in_txn = true,
        .no_touch = g->due->conn != NULL && (g->due->conn->client.flags & CLIENT_NO_TOUCH) != 0,
        .level = g->txn.level,
        .watcher = g->watcher,
        .argc = argc,
        .argv = argv,
    };
}

static void run_part(struct worker *w, struct gather *g, uint32_t part, const struct forward *f)
{
    struct buf out;
    buf_init(&out, BUF_NO_LIMIT);
    if (f->command >= MESH_WORDS) {
        struct mesh_request head = { .command = f->command, .shard = (uint16_t)f->shard, .db = (uint16_t)f->db, .argc = f->argc };
        if (unlikely(w->gated))
            gate_serve(&w->gate, f->level);
        steps_serve(w, &head, f->argv, &out);
        if (unlikely(w->gated) && g->due->conn != NULL)
            gate_take_serve(g->due->conn);
    } else {
        struct conn *c = g->due->conn;
        struct here here = {
            .client = c != NULL ? &c->client : NULL,
            .command = command_at(f->command),
            .argv = f->argv,
            .argc = f->argc,
            .db = f->db,
            .protocol = f->protocol,
            .in_txn = f->in_txn,
            .watcher = f->watcher,
        };
        uint8_t level = c != NULL ? c->level : 0;
        if (c != NULL)
            c->level = g->txn.level; // by now the connection may be at another request
        run_here(w, &here, &out);
        if (c != NULL)
            c->level = level;
    }
    gather_part(w, g, part, out.data, out.data, out.len);
}

void gather_send(struct worker *w, struct gather *g, uint32_t part, const struct forward *f)
{
    if (f->target == w->id) {
        run_part(w, g, part, f);
        return;
    }
    struct pending *p = pending_new(w);
    if (p != NULL) {
        p->kind = PENDING_PART;
        p->owner = g;
        p->part = part;
    }
    if (p == NULL || !forward_send(w, f, p)) {
        static const char text[] = "-ERR out of memory\r\n";
        gather_part(w, g, part, NULL, (const uint8_t *)text, sizeof text - 1);
        return;
    }
    w->stats.requests_forwarded++;
}

void gather_release(struct worker *w, struct gather *g)
{
    if (g->owns_txn && g->txn.state == TXN_GRANTED)
        txn_release(w, &g->txn);
}

void gather_finish(struct worker *w, struct gather *g, struct buf *answer)
{
    gather_release(w, g);
    struct conn *c = g->due->conn;
    if (unlikely(g->txn.position > 0) && c != NULL)
        gate_conn(c, g->txn.position, g->txn.level);
    // A failed buffer means out of memory: the connection cannot be kept in step, so it ends.
    if (answer->failed && c != NULL)
        conn_close(c);
    if (answer->borrowed || answer->data == NULL) {
        conn_deliver(w, g->due, NULL, NULL, answer->data, answer->len);
    } else {
        conn_deliver(w, g->due, NULL, answer->data, answer->data, answer->len);
        buf_init(answer, BUF_NO_LIMIT);
    }
    gather_free(g);
}

void gather_part(struct worker *w, struct gather *g, uint32_t part, uint8_t *heap, const uint8_t *bytes, uint64_t len)
{
    struct part *p = &g->part[part];
    p->bytes = heap;
    if (heap == NULL) {
        p->bytes = malloc(len > 0 ? len : 1);
        if (p->bytes != NULL)
            memcpy(p->bytes, bytes, len);
    }
    p->len = p->bytes != NULL ? len : 0;
    if (g->phase == GATHER_PARTS && p->more)
        fanout_answered(w, g, part);
    gather_landed(w, g);
}

// CONFIG SET appendonly: true, it is answered later.
static cold bool switches_log(struct worker *w, struct gather *g, struct reply *reply)
{
    const char *why;
    struct buf *answer = reply->out;
    if (answer->failed || answer->len == 0 || answer->data[0] != '+')
        return false;
    if (logging_switch_take(w, g, &why)) {
        buf_deinit(answer);
        gather_free(g);
        return true;
    }
    if (why != NULL) {
        answer->len = 0;
        reply_error(reply, why);
    }
    return false;
}

void gather_landed(struct worker *w, struct gather *g)
{
    if (--g->left > 0)
        return;
    switch ((enum gather_phase)g->phase) {
    case GATHER_QUEUED:
        assert(false);
        break;
    case GATHER_PARTS: {
        struct buf answer;
        buf_init(&answer, BUF_NO_LIMIT);
        struct reply reply = { .out = &answer, .protocol = g->protocol };
        merge_parts(w, g, &reply);
        if (unlikely(g->command->run == cmd_config_set) && switches_log(w, g, &reply))
            break;
        gather_finish(w, g, &answer);
        break;
    }
    case GATHER_FETCH:
        steps_run(w, g);
        break;
    case GATHER_PUT:
        steps_finish(w, g);
        break;
    case GATHER_WALK:
        walk_answered(w, g);
        break;
    }
}
