// SPDX-License-Identifier: Apache-2.0
#include "test/sim/frames.h"

#include <inttypes.h>
#include <strings.h>

#include "base/bytes.h"
#include "base/hash.h"

#define LEVELS (UINT64_C(1) << 32) // in HELLO's version

enum { OP_GET = 1, OP_SET = 2, OP_DELETE = 5, OP_EXISTS = 6, OP_MGET = 10, OP_MSET = 11, OP_HELLO = 61, OP_RESP_COMMAND = 200 };

static bool is_word(struct slice s, const char *word)
{
    return s.len == strlen(word) && strncasecmp((const char *)s.data, word, s.len) == 0;
}

bool frames_may(const struct slice *words, uint32_t count)
{
    static const char *const NOT[] = { "HELLO", "QUIT", "RESET", "CLIENT", "MULTI", "EXEC", "DISCARD", "WATCH", "UNWATCH", "AUTH" };
    for (size_t i = 0; i < sizeof NOT / sizeof NOT[0]; i++)
        if (is_word(words[0], NOT[i]))
            return false;
    return count > 0;
}

static uint8_t opcode_of(const struct slice *words, uint32_t count)
{
    if (count == 2 && is_word(words[0], "GET"))
        return OP_GET;
    if (count == 3 && is_word(words[0], "SET"))
        return OP_SET;
    if (count == 2 && is_word(words[0], "DEL"))
        return OP_DELETE;
    if (count == 2 && is_word(words[0], "EXISTS"))
        return OP_EXISTS;
    if (count >= 2 && is_word(words[0], "MGET"))
        return OP_MGET;
    if (count >= 3 && count % 2 == 1 && is_word(words[0], "MSET"))
        return OP_MSET;
    return OP_RESP_COMMAND;
}

static void put_u32(struct buf *b, uint64_t value)
{
    uint32_t v = (uint32_t)value;
    buf_append(b, &v, sizeof v);
}

static void put_u64(struct buf *b, uint64_t value)
{
    buf_append(b, &value, sizeof value);
}

static void put_operands(struct buf *b, uint8_t opcode, const struct slice *words, uint32_t count)
{
    uint32_t first = opcode == OP_RESP_COMMAND ? 0 : 1;
    if (opcode == OP_MGET || opcode == OP_RESP_COMMAND)
        put_u32(b, count - first);
    if (opcode == OP_MSET)
        put_u32(b, (count - 1) / 2);
    for (uint32_t i = first; i < count; i++) {
        put_u32(b, words[i].len);
        if (opcode == OP_SET || opcode == OP_MSET) {
            put_u32(b, words[i + 1].len);
            buf_append_slice(b, words[i]);
            i++;
        }
        buf_append_slice(b, words[i]);
    }
}

static uint32_t shard_of(uint64_t hash, uint32_t shards)
{
    return shards == 1 ? 0 : (uint32_t)((hash << 7) / (UINT64_MAX / shards + 1));
}

void frames_hello(struct buf *out)
{
    uint8_t head[4] = { 0xFA, 2, OP_HELLO, 0 };
    buf_append(out, head, sizeof head);
    put_u32(out, 8);
    put_u64(out, 2 | LEVELS);
}

bool frames_one_key(const struct slice *words, uint32_t count)
{
    return count == 2 || opcode_of(words, count) == OP_SET;
}

enum frames_form frames_put(struct buf *out, const struct slice *words, uint32_t count, uint8_t flags, uint32_t shards)
{
    uint8_t opcode = opcode_of(words, count);
    bool routed = (flags & (FRAMES_HASH | FRAMES_SHARD | FRAMES_TAG)) != 0;
    uint64_t hash = routed ? XXH3_64bits(words[1].data, words[1].len) : 0;
    size_t at = out->len;
    uint8_t head[4] = { 0xFA, 2, opcode, flags };
    buf_append(out, head, sizeof head);
    put_u32(out, 0);
    if (flags & FRAMES_HASH)
        put_u64(out, hash);
    if (flags & FRAMES_SHARD)
        put_u32(out, shard_of(hash, shards));
    if (flags & FRAMES_TAG)
        put_u64(out, hash >> 56);
    put_operands(out, opcode, words, count);
    store_u32(out->data + at + 4, (uint32_t)(out->len - at - 8));
    return opcode == OP_RESP_COMMAND ? FRAMES_RESP : FRAMES_OWN;
}

long frames_length(struct slice in)
{
    if (in.len < 8)
        return 0;
    if (in.data[0] != 0xFB || in.data[1] != 2 || in.data[3] != 0)
        return -1;
    uint64_t len = 8 + (uint64_t)load_u32(in.data + 4);
    return in.len < len ? 0 : (long)len;
}

static void put_bulk(struct buf *out, struct slice value)
{
    buf_format(out, "$%zu\r\n", value.len);
    buf_append_slice(out, value);
    buf_append(out, "\r\n", 2);
}

static bool put_array(struct buf *out, struct slice body)
{
    if (body.len < 4)
        return false;
    uint32_t count = load_u32(body.data);
    size_t at = 4;
    buf_format(out, "*%u\r\n", count);
    for (uint32_t i = 0; i < count; i++) {
        if (body.len - at < 4)
            return false;
        uint32_t len = load_u32(body.data + at);
        at += 4;
        if (len == UINT32_MAX) {
            buf_append(out, "$-1\r\n", 5);
            continue;
        }
        if (body.len - at < len)
            return false;
        put_bulk(out, slice_of(body.data + at, len));
        at += len;
    }
    return at == body.len;
}

bool frames_to_resp(struct slice frame, enum frames_form form, struct buf *out)
{
    struct slice body = slice_of(frame.data + 8, frame.len - 8);
    uint8_t status = frame.data[2];
    if (form == FRAMES_RESP && status == 4) {
        buf_append_slice(out, body);
        return true;
    }
    switch (status) {
    case 0:
        buf_append(out, "+OK\r\n", 5);
        return body.len == 0;
    case 1:
        buf_append(out, "$-1\r\n", 5);
        return body.len == 0;
    case 2:
        buf_format(out, "-%.*s\r\n", (int)body.len, (const char *)body.data);
        return true;
    case 3:
        if (body.len == 8)
            buf_format(out, ":%" PRId64 "\r\n", (int64_t)load_u64(body.data));
        return body.len == 8;
    case 4:
        put_bulk(out, body);
        return true;
    case 6:
        return put_array(out, body);
    default:
        return false;
    }
}
