// SPDX-License-Identifier: Apache-2.0
// RESP requests (arrays of bulk strings, and inline commands), parsed in place and resumable at any byte.
// Format: Redis serialization protocol specification (RESP2, RESP3); error texts as Redis 7.2.
//
// The caller keeps the bytes of the current frame together: `frame` always begins with the frame's first byte, and may lie
// elsewhere at the next call (the parser keeps offsets, never pointers). A call never looks at a byte twice, but for the length
// lines themselves. Nothing is allocated for a declared length or count, only for arguments that have arrived.
//
//   frame fits one buffer     resp_parse -> RESP_READY, argv are views, *used bytes consumed       (the ordinary path)
//   frame is cut              resp_parse -> RESP_PARTIAL; the caller carries the bytes over and calls again with more
//   a big argument is cut     resp_parse -> RESP_BIG: bytes [frame, frame + *used) are the frame up to the payload's first byte.
//                             The caller collects the `big_len` payload bytes elsewhere (those behind *used are its first ones),
//                             calls resp_big_done(), and goes on with a frame that lacks the payload: next come its CR LF.
//                             Only asked for when limits.big_min > 0, the declared length is at least that, and its payload is
//                             not yet complete.
#pragma once

#include <stdint.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/slice.h"
#include "proto/request.h"

enum resp_result {
    RESP_PARTIAL = 0,
    RESP_READY = 1,
    RESP_EMPTY = 2, // an empty line or *0: *used bytes are spent, no request, no reply
    RESP_BIG = 3,
    RESP_FOREIGN = 4, // begins with limits.foreign: another protocol's frame
    // -EPROTO: parser->error says why ("ERR Protocol error: ..." without a CR LF). Nothing more may be parsed.
    // -ENOMEM: no memory for arguments that arrived.
};

struct resp_limits {
    uint32_t args_max;   // arguments per request (1024 * 1024)
    uint64_t bulk_max;   // bytes per argument (512 MiB)
    uint32_t inline_max; // bytes of an inline line (64 KiB)
    uint64_t big_min;    // arguments from this size on are RESP_BIG; 0 = never
    uint64_t frame_max;  // bytes of one whole request
    bool inline_allowed;
    uint8_t foreign;  // 0 = none
    bool before_auth; // chooses the error texts "unauthenticated multibulk length" and "unauthenticated bulk length"
};

struct resp_arg {
    uint64_t offset; // from the frame's first byte; UINT64_MAX: `big` holds the bytes
    uint64_t len;
    const uint8_t *big;
};

// State between calls. Zero-initialised = ready for a new frame; resp_reset keeps the heap arrays for the next one.
struct resp {
    struct resp_limits limits;
    uint64_t position;   // bytes of the frame understood so far
    uint64_t scanned;    // bytes known to hold no line end behind `position`
    uint64_t collected;  // bytes of big payloads, which the frame lacks
    uint32_t args_total; // 0: the count line has not been read
    uint32_t args_seen;
    bool in_payload;       // the length line of argument args_seen has been read
    bool big_ready;        // its payload has been handed over by resp_big_done: CR LF comes next
    int64_t bulk_len;      // its length
    struct resp_arg *args; // of a cut frame; heap, grows as arguments arrive
    uint32_t args_cap;
    struct slice *argv; // heap; for requests that had been cut or have more arguments than the caller's array
    uint32_t argv_cap;
    struct buf line; // unquoted arguments of an inline command
    uint64_t big_len;
    char error[128];
};

void resp_init(struct resp *p, const struct resp_limits *limits);
void resp_deinit(struct resp *p);
// Forget a cut frame.
void resp_reset(struct resp *p);

// `argv`, `argv_max`: the caller's array for requests that arrive whole; larger ones are put into the parser's own.
// On RESP_READY `*rq` points into one of the two, valid until the next call, and `*used` is the length of the frame.
int resp_parse(struct resp *p, struct slice frame, struct slice *argv, uint32_t argv_max, struct request *rq, size_t *used) warn_unused;

// The payload of the argument that RESP_BIG named lies at `data` (big_len bytes), which stays until the request has run.
void resp_big_done(struct resp *p, const uint8_t *data);

// Heap bytes held, for accounting.
size_t resp_memory(const struct resp *p);
