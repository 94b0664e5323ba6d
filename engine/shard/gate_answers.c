// SPDX-License-Identifier: Apache-2.0
// Answers to other workers that wait: held here, where what they say was done, and sent when it is safe.
#include <stdlib.h>

#include "engine/shard/conn.h"
#include "engine/shard/forward.h"
#include "engine/shard/gate_inside.h"

// An answer to another worker that waits.
struct answer {
    struct list link;
    struct gate_need need;
    uint32_t to;
    uint64_t cookie;
    struct buf out;
    struct blob *value; // as forward_reply's
    bool grant;         // of a transaction, no reply
};

void gate_answers_deinit(struct gate *g)
{
    struct list *node;
    while ((node = list_take_first(&g->answers)) != NULL) {
        struct answer *a = container_of(node, struct answer, link);
        buf_deinit(&a->out);
        blob_free(a->value);
        free(a);
    }
}

static void unknown_outcome(struct buf *out, struct blob **value)
{
    struct reply reply = { .out = out, .protocol = PROTOCOL_RESP2 };
    *value = blob_free(*value);
    out->len = 0;
    reply_error(&reply, GATE_UNKNOWN);
}

static uint64_t answer_memory(const struct answer *a)
{
    return sizeof *a + a->out.cap + (a->value != NULL ? a->value->len : 0);
}

static void make_unknown(struct buf *out, struct blob **value, bool grant)
{
    if (grant)
        txn_answer_unknown(out);
    else
        unknown_outcome(out, value);
}

static bool keep(struct worker *w, uint32_t to, uint64_t cookie, struct buf *out, struct blob **value, bool grant)
{
    struct gate *g = &w->gate;
    if (gate_met(g, g->serve))
        return false;
    struct answer *a = gate_is_poisoned(w) ? NULL : malloc(sizeof *a);
    if (a == NULL) {
        make_unknown(out, value, grant); // it is true
        return false;
    }
    *a = (struct answer){ .need = g->serve, .to = to, .cookie = cookie, .value = *value, .grant = grant };
    if (out->borrowed) {
        buf_init(&a->out, BUF_NO_LIMIT);
        buf_append_slice(&a->out, buf_view(out));
    } else {
        a->out = *out;
    }
    list_append(&g->answers, &a->link);
    g->held++;
    g->held_bytes += answer_memory(a);
    return true;
}

bool gate_keep(struct worker *w, uint32_t to, uint64_t cookie, struct buf *out, struct blob **value)
{
    return keep(w, to, cookie, out, value, false);
}

bool gate_keep_grant(struct worker *w, uint32_t to, uint64_t cookie, struct buf *out)
{
    struct blob *none = NULL;
    return keep(w, to, cookie, out, &none, true);
}

static void send_answer(struct worker *w, struct answer *a)
{
    if (a->to != w->id) {
        forward_reply(w, a->to, a->cookie, &a->out, a->value);
        return;
    }
    conn_deliver(w, (struct pending *)(uintptr_t)a->cookie, NULL, NULL, a->out.data, a->out.len);
    buf_deinit(&a->out);
}

void gate_answers_send(struct worker *w, bool poisoned)
{
    struct gate *g = &w->gate;
    struct list waiting;
    list_init(&waiting);
    for (struct list *node; (node = list_take_first(&g->answers)) != NULL;)
        list_append(&waiting, node);
    list_for_each_safe (node, &waiting) {
        struct answer *a = container_of(node, struct answer, link);
        bool safe = gate_met(g, a->need);
        list_remove(node);
        if (!safe && !poisoned) {
            list_append(&g->answers, node);
            continue;
        }
        g->held_bytes -= answer_memory(a);
        if (!safe)
            make_unknown(&a->out, &a->value, a->grant);
        send_answer(w, a);
        w->stats.requests_served++;
        free(a);
    }
}
