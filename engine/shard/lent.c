// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/lent.h"

#include <stdlib.h>

#include "engine/shard/conn.h"

static void lent_free(struct lent *h)
{
    list_remove(&h->link);
    buf_deinit(&h->out);
    refs_deinit(&h->refs);
    free(h);
}

// All of it in pieces; false: they are too many.
static bool all_pieces(struct lent *h, const struct conn *c)
{
    uint64_t len = 0;
    h->message = (struct msghdr){ .msg_iov = h->pieces };
    h->message.msg_iovlen = refs_pieces(&c->sending_refs, buf_view(&c->sending), 0, h->pieces);
    for (size_t i = 0; i < h->message.msg_iovlen; i++)
        len += h->pieces[i].iov_len;
    return len == c->sending_total;
}

struct lent *lent_send(struct conn *c)
{
    struct worker *w = c->worker;
    uint64_t least = w->options.send_zerocopy_min;
    if (least == 0 || c->sending_refs.bytes < least || (w->reactor->features & REACTOR_ZEROCOPY_SEND) == 0)
        return NULL;
    if (c->sent > 0 || c->no_zerocopy || c->sending_total > LENT_SEND_MAX || w->lent_count == LENTS_MAX)
        return NULL;
    struct lent *h = calloc(1, sizeof *h);
    if (h == NULL || !all_pieces(h, c)) {
        free(h);
        return NULL;
    }
    buf_init(&h->out, BUF_NO_LIMIT);
    h->conn = c;
    h->op.owner = OWNER_LENT;
    h->op.fd = c->send.fd;
    h->op.fixed_buffer = -1;
    h->op.kind = OP_SENDV;
    h->op.flags = OP_ZEROCOPY;
    h->op.data = &h->message;
    list_append(&w->lents, &h->link);
    w->lent_count++;
    w->stats.zerocopy_sends++;
    reactor_submit(w->reactor, &h->op);
    return h;
}

void lent_leave(struct lent *h, struct buf *out, struct refs *refs)
{
    h->conn = NULL;
    h->out = *out;
    h->refs = *refs;
    buf_init(out, BUF_NO_LIMIT);
    *refs = (struct refs){ 0 };
    if (h->ended)
        lent_free(h);
}

void lent_on_completion(struct worker *w, const struct completion *done)
{
    struct lent *h = container_of(done->op, struct lent, op);
    bool first = !h->answered;
    h->answered = true;
    h->ended = (done->flags & COMPLETION_MORE) == 0;
    if (h->ended) {
        w->lent_count--;
        w->stats.zerocopy_copied += !first && done->result > 0;
    }
    if (first)
        conn_on_lent(h->conn, done->result);
    else if (h->conn == NULL)
        lent_free(h);
}

void lent_deinit(struct worker *w)
{
    list_for_each_safe (node, &w->lents)
        lent_free(container_of(node, struct lent, link));
}
