// SPDX-License-Identifier: Apache-2.0
// Requests in FCNP: whole frames, run in place, and the one that a buffer's end has cut.
#include <errno.h>

#include "engine/shard/glance.h"
#include "engine/shard/native.h"
#include "engine/shard/run.h"
#include "engine/shard/session_inside.h"

// False: it has to wait, and is still where it was.
static bool run_single_frame(struct conn *c)
{
    struct worker *w = c->worker;
    w->items[0].end = c->carry.len < UINT32_MAX ? (uint32_t)c->carry.len : UINT32_MAX;
    native_prepare(c, &w->items[0], &w->natives[0]);
    if (run_frames(c, &w->items[0], &w->natives[0], 1, 0) == 0 && c->held)
        return false;
    session_blobs_done(c);
    c->carry.len = 0;
    return true;
}

void session_frames_run_split(struct conn *c)
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

static void frame_failed(struct conn *c, int result)
{
    if (result == -EPROTO)
        session_protocol_error(c, c->worker->native.error, true);
    else
        conn_close(c);
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

size_t session_frames_run(struct conn *c, struct slice in, bool *more)
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
        return session_stop_batch(c, w->items, ran, plain);
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

size_t session_frames_finish(struct conn *c, struct slice in, bool *done)
{
    struct worker *w = c->worker;
    size_t taken = 0;
    size_t step = FRAME_HINT;
    *done = false;
    w->native.limits = native_limits(c);
    for (;;) {
        if (c->blob != NULL) {
            taken += session_blobs_fill(c, slice_of(in.data + taken, in.len - taken));
            if (c->state != CONN_OPEN || c->blob != NULL)
                return in.len;
            session_frames_run_split(c);
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
                if (!session_blobs_start(c))
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
