// SPDX-License-Identifier: Apache-2.0
// FCNP replies. Commands write RESP3 (a struct reply whose protocol is PROTOCOL_FCNP writes its shapes) and the finished reply is
// turned into a frame in place, so that replies gathered from several workers need no other path and RESP pays nothing.
//
//   size_t mark = fcnp_reply_begin(&reply, request.shape);
//   ... the command writes one reply ...
//   fcnp_reply_end(&reply, mark, request.shape);
//
//   magic 0xFB | version 2 | status | flags 0 | body_len u32 | body
//
// An item of an Array is bare bytes: integers, doubles and booleans (1, 0) as text; an aggregate in an aggregate as its RESP3 text.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "proto/fcnp.h"
#include "proto/reply.h"

enum fcnp_status {
    FCNP_OK = 0,
    FCNP_NULL = 1,
    FCNP_ERROR = 2,
    FCNP_INTEGER = 3,
    FCNP_VALUE = 4,
    FCNP_BOOLEAN = 5,
    FCNP_ARRAY = 6,
    FCNP_FLOAT = 7,
};

#define FCNP_NULL_ITEM UINT32_MAX

// fcnp_reply_end for whatever is not hot.
void fcnp_reply_finish(struct reply *r, size_t mark, uint8_t shape);

// Leaves room for the header and chooses the shapes for the command to write.
static inline size_t fcnp_reply_begin(struct reply *r, uint8_t shape)
{
    size_t mark = r->out->len;
    if (buf_reserve(r->out, FCNP_HEADER) != NULL)
        buf_advance(r->out, FCNP_HEADER);
    r->protocol = shape == FCNP_RESP2 ? PROTOCOL_RESP2 : PROTOCOL_FCNP;
    return mark;
}

static inline void fcnp_reply_header(uint8_t *header, uint8_t status, uint32_t body_len)
{
    store_u64(header, (uint64_t)body_len << 32 | (uint32_t)status << 16 | FCNP_VERSION << 8 | FCNP_REPLY_MAGIC);
}

// Exactly one reply, or none (then no frame either), was written since `mark`. In a failed buffer
// (base/buf.h) the frames before `mark` stay and nothing of this one.
static inline void fcnp_reply_end(struct reply *r, size_t mark, uint8_t shape)
{
    struct buf *b = r->out;
    if (unlikely(b->failed || shape != FCNP_PLAIN || b->len < mark + FCNP_HEADER + 5)) {
        fcnp_reply_finish(r, mark, shape);
        return;
    }
    uint8_t *header = b->data + mark, *at = header + FCNP_HEADER;
    // A hit, `$len CR LF bytes CR LF`: the length is known from the buffer's end, no digit is read.
    if (likely(at[0] == '$' && at[1] != '-')) {
        size_t line = at[2] == '\r' ? 4 : at[3] == '\r' ? 5 : at[4] == '\r' ? 6 : 0;
        if (likely(line > 0)) {
            size_t len = b->len - mark - FCNP_HEADER - line - 2;
            memmove(at, at + line, len);
            fcnp_reply_header(header, FCNP_VALUE, (uint32_t)len);
            b->len = mark + FCNP_HEADER + len;
            return;
        }
    }
    if (at[0] == '+' && at[1] == 'O' && at[2] == 'K' && at[3] == '\r') {
        fcnp_reply_header(header, FCNP_OK, 0);
        b->len = mark + FCNP_HEADER;
        return;
    }
    fcnp_reply_finish(r, mark, shape);
}
