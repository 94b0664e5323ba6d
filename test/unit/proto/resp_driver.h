// SPDX-License-Identifier: Apache-2.0
// A connection around the RESP parser, for tests and the fuzzer: takes bytes in any pieces and writes down what came out.
//
//   (3:SET)(1:k)(1:v)\n   a request      .\n   an empty one      !text\n   an error, the end
//
// The transcript must not depend on how the bytes were cut. The frame lies in a block of exactly its size, at another address
// for every call, so that the sanitizer sees each byte read too far and each pointer kept too long.
#pragma once

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "proto/resp.h"
#include "proto/resp_hot.h"

#define DRIVER_BIGS 64

struct driver {
    struct resp parser;
    struct buf frame;
    struct buf transcript;
    struct buf bigs[DRIVER_BIGS]; // payloads of the frame being read; the last of big_count is being collected
    int big_count;
    bool collecting;
    uint64_t big_min;
    uint32_t argv_max;
    uint64_t calls, bigs_seen;
};

static inline const struct resp_limits *driver_limits(void)
{
    static const struct resp_limits limits = {
        .args_max = 1024 * 1024, .bulk_max = 512 << 20, .inline_max = 64 << 10, .frame_max = 1 << 30, .inline_allowed = true
    };
    return &limits;
}

static inline void driver_init(struct driver *d, const struct resp_limits *limits)
{
    *d = (struct driver){ .argv_max = 16, .big_min = limits->big_min };
    resp_init(&d->parser, limits);
    buf_init(&d->frame, BUF_NO_LIMIT);
    buf_init(&d->transcript, BUF_NO_LIMIT);
}

static inline void driver_drop_bigs(struct driver *d)
{
    while (d->big_count > 0)
        buf_deinit(&d->bigs[--d->big_count]);
}

static inline void driver_deinit(struct driver *d)
{
    driver_drop_bigs(d);
    resp_deinit(&d->parser);
    buf_deinit(&d->frame);
    buf_deinit(&d->transcript);
}

static inline void driver_write_request(struct driver *d, const struct request *rq)
{
    char head[32];
    for (uint32_t i = 0; i < rq->argc; i++) {
        int len = snprintf(head, sizeof head, "(%zu:", rq->argv[i].len);
        buf_append(&d->transcript, head, (size_t)len);
        buf_append_slice(&d->transcript, rq->argv[i]);
        buf_append(&d->transcript, ")", 1);
    }
    buf_append(&d->transcript, "\n", 1);
}

// The payload's first bytes lie behind the frame; the rest is still to come.
static inline void driver_start_big(struct driver *d, size_t used)
{
    assert(d->big_count < DRIVER_BIGS && d->frame.len - used < d->parser.big_len);
    struct buf *big = &d->bigs[d->big_count++];
    buf_init(big, d->parser.big_len);
    buf_append(big, d->frame.data + used, d->frame.len - used);
    d->frame.len = used;
    d->collecting = true;
    d->bigs_seen++;
}

// What of the new bytes belongs to a big payload.
static inline size_t driver_collect(struct driver *d, struct slice bytes)
{
    struct buf *big = &d->bigs[d->big_count - 1];
    size_t missing = d->parser.big_len - big->len;
    size_t take = bytes.len < missing ? bytes.len : missing;
    buf_append(big, bytes.data, take);
    if (big->len == d->parser.big_len) {
        resp_big_done(&d->parser, big->data);
        d->collecting = false;
    }
    return take;
}

static inline int driver_parse(struct driver *d)
{
    struct slice local[16];
    struct request rq = { 0 };
    size_t used = 0, len = d->frame.len;
    uint8_t *exact = malloc(len + (len == 0));
    assert(exact != NULL);
    if (len > 0)
        memcpy(exact, d->frame.data, len);
    d->parser.limits.big_min = d->big_count < DRIVER_BIGS ? d->big_min : 0;
    int rc = resp_parse(&d->parser, slice_of(exact, len), local, d->argv_max, &rq, &used);
    d->calls++;
    assert(used <= len);
    if (rc == RESP_READY)
        driver_write_request(d, &rq);
    else if (rc == RESP_EMPTY)
        buf_append(&d->transcript, ".\n", 2);
    free(exact);
    if (rc == RESP_BIG)
        driver_start_big(d, used);
    if (rc == RESP_READY || rc == RESP_EMPTY) {
        assert(used > 0);
        buf_consume(&d->frame, used);
        driver_drop_bigs(d);
    }
    return rc;
}

// False once an error ended the stream.
static inline bool driver_feed(struct driver *d, struct slice bytes)
{
    if (d->collecting) {
        size_t taken = driver_collect(d, bytes);
        bytes = slice_of(bytes.data + taken, bytes.len - taken);
        if (d->collecting)
            return true;
    }
    buf_append_slice(&d->frame, bytes);
    int rc;
    do
        rc = driver_parse(d);
    while (rc == RESP_READY || rc == RESP_EMPTY);
    if (rc >= 0)
        return true;
    buf_append(&d->transcript, "!", 1);
    buf_append(&d->transcript, d->parser.error, strlen(d->parser.error));
    buf_append(&d->transcript, "\n", 1);
    return false;
}

// Does resp_hottest take it? What it says then must be what the parser says.
static inline bool driver_hot(struct slice bytes)
{
    uint8_t *copy = malloc(bytes.len > 0 ? bytes.len : 1); // of exactly its size, as the frames above
    assert(copy != NULL);
    if (bytes.len > 0)
        memcpy(copy, bytes.data, bytes.len);
    struct resp_hot hot;
    bool is = resp_hottest(slice_of(copy, bytes.len), &hot);
    if (is) {
        struct resp parser;
        struct request rq;
        struct slice argv[3];
        size_t used = 0;
        resp_init(&parser, driver_limits());
        int rc = resp_parse(&parser, slice_of(copy, bytes.len), argv, 3, &rq, &used);
        assert(rc == RESP_READY && used == hot.len && used <= RESP_HOT_MAX && rq.argc == hot.argc);
        assert(slice_equal(rq.argv[0], hot.name) && slice_equal(rq.argv[1], hot.key));
        assert(slice_equal(rq.argc == 3 ? rq.argv[2] : slice_of(copy, 0), hot.value));
        resp_deinit(&parser);
    }
    free(copy);
    return is;
}
