// SPDX-License-Identifier: Apache-2.0
// Requests in RESP: whole ones, run in place, and the one that a buffer's end has cut.
#include <errno.h>

#include "engine/shard/glance.h"
#include "engine/shard/native.h"
#include "engine/shard/run.h"
#include "engine/shard/session_inside.h"

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
    session_blobs_done(c);
}

static void parse_failed(struct conn *c, int result)
{
    if (result == -EPROTO)
        session_protocol_error(c, c->parser.error, false);
    else
        conn_close(c);
}

size_t session_resp_run(struct conn *c, struct slice in, bool *more)
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
        return session_stop_batch(c, w->items, ran, 0);
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

size_t session_resp_finish(struct conn *c, struct slice in, bool *done)
{
    size_t taken = 0;
    size_t step = FRAME_HINT;
    *done = false;
    for (;;) {
        if (c->blob != NULL) {
            taken += session_blobs_fill(c, slice_of(in.data + taken, in.len - taken));
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
            if (!session_blobs_start(c))
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
