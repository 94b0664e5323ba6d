// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/session.h"

#include <errno.h>
#include <stdlib.h>

#include "engine/shard/glance.h"
#include "engine/shard/metrics.h"
#include "engine/shard/multi.h"
#include "engine/shard/native.h"
#include "engine/shard/run.h"
#include "proto/fcnp_reply.h"

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

// What was received is the store's now, or nobody's: it must not count twice.
static void blobs_done(struct conn *c)
{
    drop_blobs(c);
    if (c->blobs_cap > 0)
        conn_charge(c);
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
        .foreign = FCNP_MAGIC,
        .before_auth = !known,
    };
}

// In the protocol of the frame that is wrong.
static void protocol_error(struct conn *c, const char *text, bool native)
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

static void run_split(struct conn *c);

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

// Does the cut frame in `carry` speak FCNP?
static bool in_native_frame(const struct conn *c)
{
    return c->carry.len > 0 && c->carry.data[0] == FCNP_MAGIC;
}

static void blob_complete(struct conn *c)
{
    struct blob *blob = c->blob;
    c->blob = NULL;
    blob_trim(blob); // at home, where that costs nothing
    if (in_native_frame(c))
        c->split_ready = true; // the value ends the frame
    else
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
    if (c->blob_left > 0)
        return;
    blob_complete(c);
    if (c->split_ready && conn_runs(c))
        run_split(c);
}

static bool start_blob(struct conn *c)
{
    c->blob = blob_new(store_blobs(c->worker->store));
    if (c->blob == NULL) {
        conn_close(c);
        return false;
    }
    c->blob_left = c->parser.big_len;
    c->blob_arg = c->parser.args_seen;
    if (in_native_frame(c)) {
        size_t head;
        int rc = fcnp_head(&c->worker->native, buf_view(&c->carry), &head, &c->blob_left);
        assert(rc == FCNP_READY && head == c->carry.len);
        c->blob_arg = c->carry.data[2] == FCNP_SET ? 2 : 3; // SET key value, PSETEX key ms value
    }
    return true;
}

// The one request has to wait (CLIENT PAUSE): kept as it came, pieces and pages in one.
static void keep_single(struct conn *c, const struct item *item)
{
    struct buf frame;
    buf_init(&frame, BUF_NO_LIMIT);
    buf_format(&frame, "*%u\r\n", item->request.argc);
    for (uint32_t i = 0; i < item->request.argc; i++) {
        buf_format(&frame, "$%zu\r\n", item->request.argv[i].len);
        buf_append_slice(&frame, item->request.argv[i]);
        buf_append(&frame, "\r\n", 2);
    }
    buf_deinit(&c->carry);
    c->carry = frame;
    c->backlog = true;
    if (frame.failed)
        conn_close(c);
}

// Runs the one request that was put together from pieces.
static void run_single(struct conn *c, struct item *item)
{
    item->end = c->carry.len < UINT32_MAX ? (uint32_t)c->carry.len : UINT32_MAX;
    run_prepare(c, item);
    if (unlikely(c->only_shard != NO_SHARD))
        native_check_port(c, item, REFUSE_SHARD);
    if (run_batch(c, item, 1) == 0 && c->held)
        keep_single(c, item);
    else
        c->carry.len = 0;
    blobs_done(c);
}

// False: it has to wait, and is still where it was.
static bool run_single_frame(struct conn *c)
{
    struct worker *w = c->worker;
    w->items[0].end = c->carry.len < UINT32_MAX ? (uint32_t)c->carry.len : UINT32_MAX;
    native_prepare(c, &w->items[0], &w->natives[0]);
    if (run_frames(c, &w->items[0], &w->natives[0], 1, 0) == 0 && c->held)
        return false;
    blobs_done(c);
    c->carry.len = 0;
    return true;
}

// The frame in `carry` whose value has been collected.
static void run_split(struct conn *c)
{
    struct worker *w = c->worker;
    const struct blob *blob = c->blobs[c->blob_arg];
    struct slice value = slice_of(blob->data, blob->len);
    c->split_ready = false;
    w->native.limits = native_limits(c);
    int rc = fcnp_parse_split(&w->native, buf_view(&c->carry), value, w->args, BATCH_ARGS, &w->natives[0]);
    assert(rc == FCNP_READY);
    c->split_ready = !run_single_frame(c);
}

static void parse_failed(struct conn *c, int result)
{
    if (result == -EPROTO)
        protocol_error(c, c->parser.error, false);
    else
        conn_close(c);
}

static void frame_failed(struct conn *c, int result)
{
    if (result == -EPROTO)
        protocol_error(c, c->worker->native.error, true);
    else
        conn_close(c);
}

// What is left of a batch when not all of it ran or could be parsed; `used`: bytes before it. Returns the bytes used.
static size_t stop_batch(struct conn *c, const struct item *items, uint32_t ran, size_t used)
{
    resp_reset(&c->parser);
    c->backlog = true;
    c->big_head = 0;
    return ran == 0 ? used : items[ran - 1].end;
}

// One frame more of a batch. Its result, as of fcnp_parse; *last: nothing may be parsed behind it before it has run.
static int gather_frame(struct conn *c, struct slice in, struct frames *f, bool *last)
{
    struct worker *w = c->worker;
    struct item *item = &w->items[f->count];
    struct fcnp_request *frame = &w->natives[f->count];
    struct slice rest = slice_of(in.data + f->offset, in.len - f->offset);
    struct slice *argv = w->args + f->args;
    struct fcnp_hot hot;
    size_t used;
    if (likely(f->known && fcnp_hot(rest, w->native.limits.frame_max, &hot))) {
        native_prepare_hot(c, item, &hot, argv, &f->memo, true);
        used = hot.len;
        f->args += 3;
    } else {
        int result = fcnp_parse(&w->native, rest, argv, BATCH_ARGS - f->args, frame, &used);
        if (result <= FCNP_PARTIAL)
            return result;
        bool own_args = frame->rq.argc == 0 || frame->rq.argv == argv;
        if (own_args)
            f->args += frame->rq.argc;
        *last = native_prepare(c, item, frame) || !own_args;
    }
    f->offset += used;
    item->end = (uint32_t)f->offset;
    f->count++;
    if (f->count > PREFETCH_LAG + f->asked)
        run_prefetch(w->items, f->asked++);
    return FCNP_READY;
}

// run_whole for FCNP, as long as frames are.
static size_t run_whole_frames(struct conn *c, struct slice in, bool *more)
{
    struct worker *w = c->worker;
    struct fcnp *parser = &w->native;
    size_t plain = native_glance_run(c, in);
    if (likely(plain == in.len)) {
        *more = c->state == CONN_OPEN;
        return plain;
    }
    struct frames f = { .memo.shard = NO_SHARD, .known = (c->client.flags & CLIENT_AUTHENTICATED) != 0, .offset = plain };
    int result = FCNP_READY;
    bool last = false;
    parser->limits = native_limits(c);
    bool routed = f.known && in.len <= parser->limits.frame_max;
    while (result == FCNP_READY && !last) {
        if (likely(routed))
            glance_gather(c, in, &f);
        if (f.count == BATCH_REQUESTS || f.args > BATCH_ARGS / 2 || f.offset == in.len || in.data[f.offset] != FCNP_MAGIC)
            break;
        result = gather_frame(c, in, &f, &last);
    }
    size_t offset = f.offset;
    uint32_t count = f.count;
    uint32_t ran = run_frames(c, w->items, w->natives, count, f.asked);
    if (ran < count) {
        *more = false;
        return stop_batch(c, w->items, ran, plain);
    }
    *more = c->state == CONN_OPEN && result > FCNP_PARTIAL;
    if (*more || c->state != CONN_OPEN)
        return offset;
    uint64_t value_len = 0;
    if (result == FCNP_PARTIAL && parser->limits.frame_max >= BLOB_MIN)
        result = fcnp_head(parser, slice_of(in.data + offset, in.len - offset), &c->big_head, &value_len);
    if (result == FCNP_READY && value_len < BLOB_MIN)
        c->big_head = 0;
    if (result < 0)
        frame_failed(c, result);
    return offset;
}

// Requests at the beginning of `in`, run in place. Returns the bytes used; *more is false when nothing more can be done with the rest
// now: it is a cut frame (and the parser knows how far it got), or the connection may not go on.
static size_t run_whole(struct conn *c, struct slice in, bool *more)
{
    struct worker *w = c->worker;
    uint32_t count = 0, args = 0;
    size_t offset = 0;
    int result = RESP_READY;
    bool cut = false, glances = glance_may_gather(c);
    struct gathered g;
    gathered_init(&g);
    while (count < BATCH_REQUESTS && offset < in.len) {
        if (likely(glances)) {
            g.count = count;
            g.args = args;
            g.offset = offset;
            glance_gather_resp(c, in, &g);
            count = g.count;
            args = g.args;
            offset = g.offset;
            if (count == BATCH_REQUESTS || offset == in.len)
                break;
        }
        struct item *item = &w->items[count];
        size_t used;
        result =
            resp_parse(&c->parser, slice_of(in.data + offset, in.len - offset), w->args + args, BATCH_ARGS - args, &item->request, &used);
        if (result == RESP_EMPTY) {
            offset += used;
            continue;
        }
        if (result == RESP_FOREIGN)
            break;
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
            run_prefetch(w->items, count - 1 - PREFETCH_LAG);
    }
    for (uint32_t i = 0; unlikely(c->only_shard != NO_SHARD) && i < count; i++)
        native_check_port(c, &w->items[i], REFUSE_SHARD);
    uint32_t ran = run_batch(c, w->items, count);
    if (ran < count) {
        *more = false;
        return stop_batch(c, w->items, ran, 0);
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

// finish_cut for FCNP.
static size_t finish_cut_frame(struct conn *c, struct slice in, bool *done)
{
    struct worker *w = c->worker;
    size_t taken = 0;
    size_t step = FRAME_HINT;
    *done = false;
    w->native.limits = native_limits(c);
    for (;;) {
        if (c->blob != NULL) {
            taken += fill_blob(c, slice_of(in.data + taken, in.len - taken));
            if (c->state != CONN_OPEN || c->blob != NULL)
                return in.len;
            run_split(c);
            *done = true;
            return taken;
        }
        // Of what stands before a large value no more than a step too much, of a small frame not a byte.
        uint64_t len = fcnp_frame_len(buf_view(&c->carry));
        uint64_t want = len > 0 ? len - c->carry.len : FCNP_HEADER - c->carry.len;
        if (len > BLOB_MIN && want > step)
            want = step;
        size_t n = in.len - taken < want ? in.len - taken : (size_t)want;
        buf_append(&c->carry, in.data + taken, n);
        if (c->carry.failed) {
            conn_close(c);
            return in.len;
        }
        taken += n;
        step *= 2;
        size_t used, head;
        uint64_t value_len;
        int result = fcnp_parse(&w->native, buf_view(&c->carry), w->args, BATCH_ARGS, &w->natives[0], &used);
        if (result == FCNP_PARTIAL && w->native.limits.frame_max >= BLOB_MIN) {
            result = fcnp_head(&w->native, buf_view(&c->carry), &head, &value_len);
            if (result == FCNP_READY && value_len >= BLOB_MIN) {
                assert(c->carry.len - head <= taken);
                taken -= c->carry.len - head;
                c->carry.len = head;
                if (!start_blob(c))
                    return in.len;
                continue;
            }
            if (result == FCNP_READY)
                result = FCNP_PARTIAL;
        }
        if (result == FCNP_PARTIAL) {
            if (taken < in.len)
                continue;
            return taken;
        }
        if (result < 0) {
            frame_failed(c, result);
            return in.len;
        }
        assert(used == c->carry.len);
        c->backlog = !run_single_frame(c);
        *done = true;
        return taken;
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
        else
            c->carry.len = 0;
        *done = true;
        return taken;
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
            stop_batch(c, NULL, 0, 0);
            break;
        }
        struct slice rest = slice_of(in.data + used, in.len - used);
        used += rest.data[0] == FCNP_MAGIC ? run_whole_frames(c, rest, &more) : run_whole(c, rest, &more);
    }
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
        struct slice rest = slice_of(in.data + used, in.len - used);
        used += in_native_frame(c) ? finish_cut_frame(c, rest, &done) : finish_cut(c, rest, &done);
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
        size_t used = in_native_frame(c) ? finish_cut_frame(c, in, &done) : finish_cut(c, in, &done);
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
        run_split(c);
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
