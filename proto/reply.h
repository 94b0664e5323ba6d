// SPDX-License-Identifier: Apache-2.0
// Replies, written in the protocol that the client speaks. Commands call these and never see a protocol.
//
// RESP3 types fall back to RESP2 shapes as Redis does: map -> array of twice the length, set and push -> array, double -> bulk,
// boolean -> integer, null -> null bulk (null array -> *-1), verbatim -> bulk, big number -> bulk.
// For FCNP the RESP3 shapes are written, and proto/fcnp_reply.h turns the whole reply into a frame at its end.
// A writer never fails by itself: bytes that do not fit the buffer's limit mark the buffer failed (base/buf.h).
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/bytes.h"
#include "base/slice.h"
#include "proto/number.h"
#include "proto/request.h"

struct reply {
    struct buf *out;
    uint8_t protocol;    // enum protocol
    uint64_t errors;     // error replies written, for statistics
    char error_code[16]; // first word of the last one, as in errorstats
};

static inline void reply_ok(struct reply *r);
void reply_simple(struct reply *r, const char *text); // +text
void reply_queued(struct reply *r);
static inline void reply_null(struct reply *r);
void reply_null_array(struct reply *r);
static inline void reply_integer(struct reply *r, int64_t value);
static inline void reply_bulk(struct reply *r, struct slice value);
void reply_bulk_cstr(struct reply *r, const char *text);
void reply_bulk_format(struct reply *r, const char *format, ...) printf_like(2, 3);
void reply_bulk_integer(struct reply *r, int64_t value);         // its digits as a bulk string
static inline void reply_array(struct reply *r, uint64_t count); // `count` replies follow
void reply_map(struct reply *r, uint64_t pairs);
void reply_set(struct reply *r, uint64_t count);
void reply_push(struct reply *r, uint64_t count);
void reply_double(struct reply *r, double value); // shortest text that reads back the same (17 digits as Redis)
void reply_boolean(struct reply *r, bool value);
void reply_big_number(struct reply *r, struct slice digits);
void reply_verbatim(struct reply *r, const char *three_letters, struct slice text);
void reply_raw(struct reply *r, struct slice bytes); // already encoded for this protocol

// An array whose length is known at the end only: remembers where the header goes and moves the tail once.
size_t reply_array_later(struct reply *r);
void reply_array_set(struct reply *r, size_t mark, uint64_t count);

// `-CODE text`; CR, LF and NUL in the result become spaces. The text carries its code: reply_error(r, "ERR no such key").
void reply_error(struct reply *r, const char *text);
void reply_error_format(struct reply *r, const char *format, ...) printf_like(2, 3);

// Texts that every command shares, spelled as Redis 7.2 spells them.
extern const char REPLY_WRONGTYPE[];       // WRONGTYPE Operation against a key holding the wrong kind of value
extern const char REPLY_SYNTAX[];          // ERR syntax error
extern const char REPLY_NOT_INTEGER[];     // ERR value is not an integer or out of range
extern const char REPLY_NOT_FLOAT[];       // ERR value is not a valid float
extern const char REPLY_OUT_OF_RANGE[];    // ERR index out of range
extern const char REPLY_NO_KEY[];          // ERR no such key
extern const char REPLY_OUT_OF_MEMORY[];   // OOM command not allowed when used memory > 'maxmemory'.
extern const char REPLY_STRING_TOO_LONG[]; // ERR string exceeds maximum allowed size (proto-max-bulk-len)

// The inline ones: a reply of a small value costs one compare for room, a store for the header and the value's copy.

#define REPLY_HEADER_MAX 24 // mark, 20 digits, CR LF, and the slack that reply_put_header may overwrite

// `to` has REPLY_HEADER_MAX bytes; returns the first byte behind the header.
static inline uint8_t *reply_put_header(uint8_t *to, char mark, uint64_t number)
{
    if (likely(number < 10)) {
        store_u32(to, (uint32_t)(uint8_t)mark | ('0' + (uint32_t)number) << 8 | 0x0a0d0000u);
        return to + 4;
    }
    if (likely(number < 100)) {
        uint64_t tens = number / 10;
        store_u64(to, (uint64_t)(uint8_t)mark | ('0' + tens) << 8 | ('0' + number - tens * 10) << 16 | 0x0a0d000000u);
        return to + 5;
    }
    to[0] = (uint8_t)mark;
    to += 1 + number_format_u64((char *)to + 1, number);
    store_u16(to, 0x0a0d);
    return to + 2;
}

static inline void reply_put_count(struct reply *r, char mark, uint64_t number)
{
    uint8_t *to = buf_reserve(r->out, REPLY_HEADER_MAX);
    if (likely(to != NULL))
        r->out->len += (size_t)(reply_put_header(to, mark, number) - to);
}

static inline void reply_ok(struct reply *r)
{
    buf_append(r->out, "+OK\r\n", 5);
}

static inline void reply_null(struct reply *r)
{
    if (r->protocol >= PROTOCOL_RESP3)
        buf_append(r->out, "_\r\n", 3);
    else
        buf_append(r->out, "$-1\r\n", 5);
}

static inline void reply_integer(struct reply *r, int64_t value)
{
    if (likely(value >= 0)) {
        reply_put_count(r, ':', (uint64_t)value);
        return;
    }
    uint8_t *to = buf_reserve(r->out, REPLY_HEADER_MAX);
    if (to == NULL)
        return;
    to[0] = ':';
    size_t len = 1 + number_format_i64((char *)to + 1, value);
    store_u16(to + len, 0x0a0d);
    r->out->len += len + 2;
}

static inline void reply_bulk(struct reply *r, struct slice value)
{
    uint8_t *start = buf_reserve(r->out, value.len + REPLY_HEADER_MAX + 2);
    if (unlikely(start == NULL))
        return;
    uint8_t *to = reply_put_header(start, '$', value.len);
    copy_short(to, value.data, value.len);
    to += value.len;
    store_u16(to, 0x0a0d);
    r->out->len += (size_t)(to + 2 - start);
}

static inline void reply_array(struct reply *r, uint64_t count)
{
    reply_put_count(r, '*', count);
}
