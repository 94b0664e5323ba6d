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

// Leaves room for the header and chooses the shapes for the command to write.
size_t fcnp_reply_begin(struct reply *r, uint8_t shape);
// Exactly one reply, or none (then no frame either), was written since `mark`. In a failed buffer
// (base/buf.h) the frames before `mark` stay and nothing of this one.
void fcnp_reply_end(struct reply *r, size_t mark, uint8_t shape);
