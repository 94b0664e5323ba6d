// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/metrics.h"
#include "engine/shard/multi.h"
#include "engine/shard/session_inside.h"
#include "proto/fcnp_reply.h"

#define CARRY_KEEP 16384

void session_init(struct conn *c)
{
    buf_init(&c->carry, BUF_NO_LIMIT);
    buf_init(&c->later, BUF_NO_LIMIT);
    struct resp_limits limits = { 0 };
    resp_init(&c->parser, &limits);
    session_set_limits(c);
}

void session_deinit(struct conn *c)
{
    if (c->blob != NULL)
        c->blob = blob_free(c->blob);
    session_blobs_drop(c);
    free(c->blobs);
    buf_deinit(&c->carry);
    buf_deinit(&c->later);
    resp_deinit(&c->parser);
}

// Before AUTH: a handful of short arguments, so that strangers cannot make us keep much (limits as Redis' since CVE-2021-32675).
void session_set_limits(struct conn *c)
{
    const struct options *o = &c->worker->options;
    bool known = (c->client.flags & CLIENT_AUTHENTICATED) != 0;
    c->parser.limits = (struct resp_limits){
        .args_max = known ? 1024 * 1024 : 10,
        .bulk_max = known ? o->proto_max_bulk_len : 16384,
        .inline_max = 64 * 1024,
        .big_min = known ? BLOB_MIN : 0,
        .frame_max = o->client_query_buffer_limit,
        .inline_allowed = true,
        .foreign = FCNP_MAGIC,
        .before_auth = !known,
    };
}

void session_protocol_error(struct conn *c, const char *text, bool native)
{
    struct worker *w = c->worker;
    w->stats.protocol_errors++;
    struct buf *out = c->pending != NULL ? &c->stash : conn_out_begin(c);
    size_t before = out->len;
    struct reply reply = { .out = out, .protocol = c->client.protocol };
    if (native)
        fcnp_reply_begin(&reply, FCNP_PLAIN);
    reply_error(&reply, text);
    if (native)
        fcnp_reply_end(&reply, before, FCNP_PLAIN);
    if (c->pending != NULL)
        container_of(c->pending_tail, struct pending, next)->after += out->len - before;
    else
        conn_out_end(c);
    conn_end(c);
}

size_t session_stop_batch(struct conn *c, const struct item *items, uint32_t ran, size_t used)
{
    resp_reset(&c->parser);
    c->backlog = true;
    c->big_head = 0;
    return ran == 0 ? used : items[ran - 1].end;
}

// Bytes behind `used` become the carry.
static void carry_over(struct conn *c, struct slice in, size_t used)
{
    c->carry.len = 0;
    buf_append(&c->carry, in.data + used, in.len - used);
    c->worker->stats.bytes_copied += in.len - used;
    if (c->carry.len == 0 && c->carry.cap > CARRY_KEEP)
        buf_deinit(&c->carry);
    if (c->carry.failed || c->carry.len > c->worker->options.client_query_buffer_limit + OUTPUT_HIGH) {
        c->worker->stats.query_limit_closed++;
        conn_close(c);
    }
}

// Not behind the carry: that may be a frame that the parser has begun.
static void keep_for_later(struct conn *c, struct slice in)
{
    buf_append_slice(&c->later, in);
    if (!c->later.failed && c->later.len <= c->worker->options.client_query_buffer_limit + OUTPUT_HIGH)
        return;
    c->worker->stats.query_limit_closed++;
    conn_close(c);
}

// Whole requests and then a cut one, from memory that stays put meanwhile.
static void run_all(struct conn *c, struct slice in)
{
    size_t used = 0;
    bool more = true;
    while (more && used < in.len) {
        if (unlikely(!conn_runs(c) && c->state == CONN_OPEN)) {
            // Not even an error in what follows may be answered yet: EXEC's replies come first.
            session_stop_batch(c, NULL, 0, 0);
            break;
        }
        struct slice rest = slice_of(in.data + used, in.len - used);
        used += rest.data[0] == FCNP_MAGIC ? session_frames_run(c, rest, &more) : session_resp_run(c, rest, &more);
    }
    if (c->state != CONN_OPEN)
        return;
    if (c->big_head > 0) {
        size_t head = c->big_head;
        c->big_head = 0;
        carry_over(c, slice_of(in.data + used, head), 0);
        if (c->state != CONN_OPEN || !session_blobs_start(c))
            return;
        used += head;
        bool done;
        struct slice rest = slice_of(in.data + used, in.len - used);
        used += session_in_frame(c) ? session_frames_finish(c, rest, &done) : session_resp_finish(c, rest, &done);
        if (c->state == CONN_OPEN && used < in.len && session_has_kept(c))
            keep_for_later(c, slice_of(in.data + used, in.len - used));
        else if (c->state == CONN_OPEN && used < in.len)
            run_all(c, slice_of(in.data + used, in.len - used));
        return;
    }
    carry_over(c, in, used);
}

void session_feed(struct conn *c, struct slice in)
{
    if (unlikely(c->admin)) {
        metrics_feed(c, in);
        return;
    }
    if (unlikely(!conn_runs(c) || session_has_kept(c))) {
        keep_for_later(c, in);
        return;
    }
    if (c->carry.len > 0 || c->blob != NULL) {
        bool done;
        size_t used = session_in_frame(c) ? session_frames_finish(c, in, &done) : session_resp_finish(c, in, &done);
        if (c->state != CONN_OPEN || used == in.len)
            return;
        in = slice_of(in.data + used, in.len - used);
        if (unlikely(session_has_kept(c))) {
            keep_for_later(c, in);
            return;
        }
    }
    run_all(c, in);
}

// What is kept is taken out of the connection first, because running may keep more.
static void resume_from(struct conn *c, struct buf *from, void (*feed)(struct conn *c, struct slice in))
{
    struct buf kept = *from;
    buf_init(from, BUF_NO_LIMIT);
    feed(c, buf_view(&kept));
    buf_deinit(&kept);
}

void session_resume(struct conn *c)
{
    if (unlikely(c->multi != NULL))
        multi_resume(c);
    if (!conn_runs(c))
        return;
    if (c->split_ready)
        session_frames_run_split(c);
    if (conn_runs(c) && c->backlog) {
        c->backlog = false;
        resp_reset(&c->parser);
        resume_from(c, &c->carry, run_all);
    }
    if (conn_runs(c) && !c->backlog && c->later.len > 0)
        resume_from(c, &c->later, session_feed);
    if (c->state != CONN_OPEN)
        return;
    if (c->end_seen && !session_has_kept(c))
        conn_end(c);
    conn_read_on(c);
}
