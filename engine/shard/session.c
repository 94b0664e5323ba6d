// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/session.h"

#include <errno.h>
#include <stdlib.h>

#include "engine/shard/run.h"

#define FRAME_HINT 512 // bytes of the next buffer that are first added to a cut frame: most frames end there
#define CARRY_KEEP 16384

void session_init(struct conn *c)
{
    buf_init(&c->carry, BUF_NO_LIMIT);
    buf_init(&c->later, BUF_NO_LIMIT);
    struct resp_limits limits = { 0 };
    resp_init(&c->parser, &limits);
    session_set_limits(c);
}

static void drop_blobs(struct conn *c)
{
    for (uint32_t i = 0; i < c->blobs_cap; i++)
        if (c->blobs[i] != NULL)
            c->blobs[i] = blob_free(c->blobs[i]);
}

void session_deinit(struct conn *c)
{
    if (c->blob != NULL)
        c->blob = blob_free(c->blob);
    drop_blobs(c);
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
        .before_auth = !known,
    };
}

static void protocol_error(struct conn *c)
{
    struct worker *w = c->worker;
    w->stats.protocol_errors++;
    struct buf *out = c->pending != NULL ? &c->stash : conn_out_begin(c);
    size_t before = out->len;
    struct reply reply = { .out = out, .protocol = c->client.protocol };
    reply_error(&reply, c->parser.error);
    if (c->pending != NULL)
        container_of(c->pending_tail, struct pending, next)->after += out->len - before;
    else
        conn_out_end(c);
    conn_end(c);
}

static bool keep_blob(struct conn *c, uint32_t arg, struct blob *blob)
{
    if (arg >= c->blobs_cap) {
        uint32_t cap = arg < 8 ? 8 : arg * 2;
        struct blob **grown = realloc(c->blobs, cap * sizeof *grown);
        if (grown == NULL)
            return false;
        memset(grown + c->blobs_cap, 0, (cap - c->blobs_cap) * sizeof *grown);
        c->blobs = grown;
        c->blobs_cap = cap;
    }
    assert(c->blobs[arg] == NULL);
    c->blobs[arg] = blob;
    return true;
}

static void blob_complete(struct conn *c)
{
    struct blob *blob = c->blob;
    c->blob = NULL;
    resp_big_done(&c->parser, blob->data);
    if (!keep_blob(c, c->blob_arg, blob)) {
        blob_free(blob);
        conn_close(c);
    }
}

// Bytes of a big argument that came in an ordinary buffer. Returns how many were taken.
static size_t fill_blob(struct conn *c, struct slice in)
{
    size_t taken = 0;
    while (c->blob_left > 0 && taken < in.len) {
        size_t want = in.len - taken < c->blob_left ? in.len - taken : (size_t)c->blob_left;
        size_t room = blob_reserve(c->blob, c->blob_left);
        if (room == 0) {
            conn_close(c);
            return in.len;
        }
        size_t n = room < want ? room : want;
        memcpy(c->blob->data + c->blob->len, in.data + taken, n);
        c->blob->len += n;
        c->blob_left -= n;
        taken += n;
    }
    c->worker->stats.bytes_copied += taken;
    if (c->blob_left == 0)
        blob_complete(c);
    return taken;
}

void session_blob_received(struct conn *c, uint64_t len)
{
    assert(c->blob != NULL && len <= c->blob_left);
    c->blob->len += len;
    c->blob_left -= len;
    if (c->blob_left == 0)
        blob_complete(c);
}

static bool start_blob(struct conn *c)
{
    c->blob = blob_new(c->worker->memory);
    if (c->blob == NULL) {
        conn_close(c);
        return false;
    }
    c->blob_left = c->parser.big_len;
    c->blob_arg = c->parser.args_seen;
    return true;
}

// Runs the one request that was put together from pieces.
static void run_single(struct conn *c, struct item *item)
{
    run_prepare(c, item);
    run_batch(c, item, 1);
    drop_blobs(c);
}

static void parse_failed(struct conn *c, int result)
{
    if (result == -EPROTO)
        protocol_error(c);
    else
        conn_close(c);
}

// Requests at the beginning of `in`, run in place. Returns the bytes used; *more is false when nothing more can be done with the rest
// now: it is a cut frame (and the parser knows how far it got), or the connection may not go on.
static size_t run_whole(struct conn *c, struct slice in, bool *more)
{
    struct worker *w = c->worker;
    uint32_t count = 0, args = 0;
    size_t offset = 0;
    int result = RESP_READY;
    bool cut = false;
    while (count < BATCH_REQUESTS && offset < in.len) {
        struct item *item = &w->items[count];
        size_t used;
        result =
            resp_parse(&c->parser, slice_of(in.data + offset, in.len - offset), w->args + args, BATCH_ARGS - args, &item->request, &used);
        if (result == RESP_EMPTY) {
            offset += used;
            continue;
        }
        if (result != RESP_READY) {
            cut = true;
            c->big_head = result == RESP_BIG ? used : 0;
            break;
        }
        offset += used;
        item->end = (uint32_t)offset;
        bool own_args = item->request.argv == w->args + args;
        if (own_args)
            args += item->request.argc;
        count++;
        // A request in the parser's own array must run before the parser is used again.
        if (run_prepare(c, item) || !own_args || args > BATCH_ARGS / 2)
            break;
        if (count > PREFETCH_LAG)
            run_prefetch(&w->items[count - 1 - PREFETCH_LAG]);
    }
    uint32_t ran = run_batch(c, w->items, count);
    if (ran < count) {
        resp_reset(&c->parser);
        *more = false;
        c->backlog = true;
        c->big_head = 0;
        return ran == 0 ? 0 : w->items[ran - 1].end;
    }
    if (cut && c->state == CONN_OPEN) {
        *more = false;
        if (result < 0)
            parse_failed(c, result);
    } else {
        *more = c->state == CONN_OPEN;
    }
    return offset;
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

// A frame that the last buffer cut: adds what is needed of `in` to the carry and runs that one request.
// Returns how much of `in` was used; *done says whether the frame is over.
static size_t finish_cut(struct conn *c, struct slice in, bool *done)
{
    size_t taken = 0;
    size_t step = FRAME_HINT;
    *done = false;
    for (;;) {
        if (c->blob != NULL) {
            taken += fill_blob(c, slice_of(in.data + taken, in.len - taken));
            if (c->state != CONN_OPEN || c->blob != NULL)
                return in.len;
        }
        size_t before = c->carry.len;
        size_t n = in.len - taken < step ? in.len - taken : step;
        buf_append(&c->carry, in.data + taken, n);
        if (c->carry.failed) {
            conn_close(c);
            return in.len;
        }
        taken += n;
        step *= 2;
        struct item *item = &c->worker->items[0];
        size_t used;
        int result = resp_parse(&c->parser, buf_view(&c->carry), c->worker->args, BATCH_ARGS, &item->request, &used);
        if (result == RESP_BIG) {
            // What stands behind the header is payload: back to `in`, from where it goes to the pages.
            assert(used >= before || c->carry.len == before);
            size_t payload = c->carry.len - used;
            assert(payload <= taken);
            taken -= payload;
            c->carry.len = used;
            if (!start_blob(c))
                return in.len;
            continue;
        }
        if (result == RESP_PARTIAL) {
            if (taken < in.len)
                continue;
            return taken;
        }
        if (result < 0) {
            parse_failed(c, result);
            return in.len;
        }
        assert(used >= before || result == RESP_EMPTY);
        taken -= c->carry.len - used;
        if (result == RESP_READY)
            run_single(c, item);
        c->carry.len = 0;
        *done = true;
        return taken;
    }
}

// Whole requests and then a cut one, from memory that stays put meanwhile.
static void run_all(struct conn *c, struct slice in)
{
    size_t used = 0;
    bool more = true;
    while (more && used < in.len)
        used += run_whole(c, slice_of(in.data + used, in.len - used), &more);
    if (c->state != CONN_OPEN)
        return;
    if (c->big_head > 0) {
        size_t head = c->big_head;
        c->big_head = 0;
        carry_over(c, slice_of(in.data + used, head), 0);
        if (c->state != CONN_OPEN || !start_blob(c))
            return;
        used += head;
        bool done;
        used += finish_cut(c, slice_of(in.data + used, in.len - used), &done);
        if (c->state == CONN_OPEN && used < in.len)
            run_all(c, slice_of(in.data + used, in.len - used));
        return;
    }
    carry_over(c, in, used);
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

void session_feed(struct conn *c, struct slice in)
{
    if (unlikely(!conn_runs(c) || c->backlog)) {
        keep_for_later(c, in);
        return;
    }
    if (c->carry.len > 0 || c->blob != NULL) {
        bool done;
        size_t used = finish_cut(c, in, &done);
        if (c->state != CONN_OPEN || used == in.len)
            return;
        in = slice_of(in.data + used, in.len - used);
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
    if (!conn_runs(c))
        return;
    if (c->backlog) {
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
