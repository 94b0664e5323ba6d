// SPDX-License-Identifier: Apache-2.0
// FCNP requests: a stream of frames gives the same requests whole as with any cut before them, arguments lie inside the frame (or
// are words and numbers), and echoing a request as a reply, as items of an array or alone, gives a frame that reads back.
//
//   byte 0   bit 0: tiny frame limit, bits 1-3: argv_max
#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "proto/fcnp_reply.h"

// A frame of one array that holds the request's arguments, taken apart again.
static void check_reply(const struct request *rq, bool tiny)
{
    struct buf out;
    buf_init(&out, tiny ? 64 : BUF_NO_LIMIT);
    struct reply r = { .out = &out, .protocol = PROTOCOL_FCNP };
    size_t mark = fcnp_reply_begin(&r, FCNP_PLAIN);
    reply_array(&r, rq->argc);
    for (uint32_t i = 0; i < rq->argc; i++)
        reply_bulk(&r, rq->argv[i]);
    fcnp_reply_end(&r, mark, FCNP_PLAIN);
    if (out.failed) {
        assert(out.len == 0 && tiny);
        buf_deinit(&out);
        return;
    }
    assert(out.len >= 12 && load_u32(out.data) == 0x000602fb && load_u32(out.data + 4) == out.len - 8);
    assert(load_u32(out.data + 8) == rq->argc);
    const uint8_t *at = out.data + 12;
    for (uint32_t i = 0; i < rq->argc; i++) {
        uint32_t len = load_u32(at);
        assert(slice_equal(slice_of(at + 4, len), rq->argv[i]));
        at += 4 + len;
    }
    assert(at == out.data + out.len);
    buf_deinit(&out);
    buf_init(&out, BUF_NO_LIMIT);
    mark = fcnp_reply_begin(&r, FCNP_PLAIN);
    reply_bulk(&r, rq->argv[rq->argc - 1]);
    fcnp_reply_end(&r, mark, FCNP_PLAIN);
    assert(load_u32(out.data) == 0x000402fb);
    assert(slice_equal(slice_of(out.data + 8, load_u32(out.data + 4)), rq->argv[rq->argc - 1]));
    buf_deinit(&out);
}

static void check_request(const struct fcnp *p, struct slice frame, const struct fcnp_request *rq)
{
    assert(rq->rq.argc > 0 && rq->rq.argc <= p->limits.args_max + 6);
    for (uint32_t i = 0; i < rq->rq.argc; i++) {
        struct slice a = rq->rq.argv[i];
        bool inside = a.data >= frame.data && a.data + a.len <= frame.data + frame.len;
        assert(inside || a.len <= NUMBER_TEXT_MAX);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 4096)
        return 0;
    struct fcnp_limits limits = { .frame_max = data[0] & 1 ? 64 : 1 << 20, .args_max = data[0] & 1 ? 8 : 1024 };
    uint32_t argv_max = data[0] >> 1 & 7;
    struct fcnp p;
    fcnp_init(&p, &limits);
    struct slice local[8];
    size_t left = size - 1, used;
    data++;
    int rc = FCNP_READY;
    while (left > 0 && rc > 0) {
        uint8_t *exact = malloc(left); // so that a byte read too far is seen
        assert(exact != NULL);
        memcpy(exact, data, left);
        struct slice rest = slice_of(exact, left);
        struct fcnp_request rq;
        rc = fcnp_parse(&p, rest, local, argv_max, &rq, &used);
        assert(rc != -ENOMEM && (rc > 0 ? used >= FCNP_HEADER && used <= left : used == 0));
        assert(rc != FCNP_PARTIAL || fcnp_frame_len(rest) == 0 || fcnp_frame_len(rest) > left);
        if (rc == FCNP_READY) {
            check_request(&p, slice_of(exact, used), &rq);
            check_reply(&rq.rq, data[0] & 1);
        }
        size_t whole = rc > 0 ? used : 0, ignored;
        struct fcnp_request other;
        for (size_t len = 0; len < whole && len < 48; len++)
            assert(fcnp_parse(&p, slice_of(exact, len), local, argv_max, &other, &ignored) == FCNP_PARTIAL);
        free(exact);
        data += whole;
        left -= whole;
    }
    fcnp_deinit(&p);
    return 0;
}
