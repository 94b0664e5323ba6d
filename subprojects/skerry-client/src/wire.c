// SPDX-License-Identifier: Apache-2.0
#include "wire.h"

#include <string.h>

enum { REQUEST_MAGIC = 0xfa, REPLY_MAGIC = 0xfb, VERSION = 2, FLAGS_ROUTED = 7 };

static const struct {
    uint8_t opcode;
    const char *name;
    unsigned answers;
} opcodes[] = {
#define BIT(kind) (1u << SKERRY_CLIENT_KIND_##kind)
    { WIRE_GET, "GET", BIT(VALUE) | BIT(NULL) },
    { WIRE_SET, "SET", BIT(OK) },
    { WIRE_SETEX, "SETEX", BIT(OK) },
    { WIRE_GETEX, "GETEX", BIT(VALUE) | BIT(NULL) },
    { WIRE_DELETE, "DELETE", BIT(INTEGER) },
    { WIRE_EXISTS, "EXISTS", BIT(INTEGER) },
    { WIRE_TTL, "TTL", BIT(INTEGER) },
    { WIRE_EXPIRE, "EXPIRE", BIT(INTEGER) },
    { WIRE_PING, "PING", BIT(VALUE) | BIT(OK) },
    { WIRE_MGET, "MGET", BIT(ARRAY) },
    { WIRE_MSET, "MSET", BIT(OK) },
    { WIRE_AUTH, "AUTH", BIT(OK) },
    { WIRE_HELLO, "HELLO", BIT(ARRAY) },
    { WIRE_RESP, "COMMAND", BIT(VALUE) },
#undef BIT
};

unsigned skc_wire_answers(uint8_t opcode)
{
    for (size_t i = 0; i < sizeof opcodes / sizeof opcodes[0]; i++)
        if (opcodes[i].opcode == opcode)
            return opcodes[i].answers;
    return ~0u;
}

const char *skc_wire_name(uint8_t opcode)
{
    for (size_t i = 0; i < sizeof opcodes / sizeof opcodes[0]; i++)
        if (opcodes[i].opcode == opcode)
            return opcodes[i].name;
    return NULL;
}

static unsigned char *put(unsigned char *out, uint64_t number, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        *out++ = (unsigned char)(number >> (8 * i));
    return out;
}

static unsigned char *put_bytes(unsigned char *out, struct skerry_client_bytes bytes)
{
    if (bytes.length > 0)
        memcpy(out, bytes.data, bytes.length);
    return out + bytes.length;
}

static uint64_t take(const unsigned char *in, unsigned bytes)
{
    uint64_t number = 0;
    for (unsigned i = 0; i < bytes; i++)
        number |= (uint64_t)in[i] << (8 * i);
    return number;
}

// ---- requests

uint64_t skc_wire_length(const struct wire_request *r)
{
    if (r->key.length > UINT32_MAX || r->value.length > UINT32_MAX || r->part_count > UINT32_MAX)
        return 0;
    uint64_t body = r->routed ? WIRE_PREFIX : 0;
    switch (r->layout) {
    case WIRE_KEY:
        body += 4 + r->key.length;
        break;
    case WIRE_TWO:
    case WIRE_KEY_VALUE:
        body += 8 + r->key.length + r->value.length;
        break;
    case WIRE_NUMBER_KEY:
        body += 12 + r->key.length;
        break;
    case WIRE_NUMBER_KEY_VALUE:
        body += 16 + r->key.length + r->value.length;
        break;
    case WIRE_REST:
        body += r->value.length;
        break;
    case WIRE_LIST:
    case WIRE_PAIRS:
        body += 4;
        for (size_t i = 0; i < r->part_count; i++) {
            if (r->parts[i].length > UINT32_MAX || (r->layout == WIRE_PAIRS && r->values[i].length > UINT32_MAX))
                return 0;
            body += 4 + r->parts[i].length + (r->layout == WIRE_PAIRS ? 4 + r->values[i].length : 0);
            if (body > UINT32_MAX) // checked in the loop: 2^32 parts of 2^32 bytes would wrap around
                return 0;
        }
        break;
    }
    return body > UINT32_MAX ? 0 : WIRE_HEADER + body;
}

void skc_wire_write(const struct wire_request *r, unsigned char *out)
{
    uint64_t length = skc_wire_length(r);
    *out++ = REQUEST_MAGIC;
    *out++ = VERSION;
    *out++ = r->opcode;
    *out++ = r->routed ? FLAGS_ROUTED : 0;
    out = put(out, length - WIRE_HEADER, 4);
    if (r->routed) {
        uint64_t hash = skerry_client_hash(r->key.data, r->key.length);
        out = put(out, hash, 8);
        out = put(out, 0, 4);
        out = put(out, hash >> 56, 8);
    }
    if (r->layout == WIRE_NUMBER_KEY || r->layout == WIRE_NUMBER_KEY_VALUE)
        out = put(out, r->number, 8);
    switch (r->layout) {
    case WIRE_KEY:
    case WIRE_NUMBER_KEY:
        out = put(out, r->key.length, 4);
        put_bytes(out, r->key);
        break;
    case WIRE_KEY_VALUE:
    case WIRE_NUMBER_KEY_VALUE:
        out = put(out, r->key.length, 4);
        out = put(out, r->value.length, 4);
        out = put_bytes(out, r->key);
        put_bytes(out, r->value);
        break;
    case WIRE_TWO:
        out = put(out, r->key.length, 4);
        out = put_bytes(out, r->key);
        out = put(out, r->value.length, 4);
        put_bytes(out, r->value);
        break;
    case WIRE_REST:
        put_bytes(out, r->value);
        break;
    case WIRE_LIST:
        out = put(out, r->part_count, 4);
        for (size_t i = 0; i < r->part_count; i++) {
            out = put(out, r->parts[i].length, 4);
            out = put_bytes(out, r->parts[i]);
        }
        break;
    case WIRE_PAIRS:
        out = put(out, r->part_count, 4);
        for (size_t i = 0; i < r->part_count; i++) {
            out = put(out, r->parts[i].length, 4);
            out = put(out, r->values[i].length, 4);
            out = put_bytes(out, r->parts[i]);
            out = put_bytes(out, r->values[i]);
        }
        break;
    }
}

void skc_wire_set_shard(unsigned char *frame, uint32_t shard)
{
    put(frame + WIRE_SHARD_AT, shard, 4);
}

uint64_t skc_wire_hash(const unsigned char *frame)
{
    return take(frame + WIRE_HEADER, 8);
}

unsigned char *skc_wire_strip(unsigned char *frame)
{
    unsigned char header[WIRE_HEADER];
    memcpy(header, frame, WIRE_HEADER);
    header[3] = 0;
    put(header + 4, take(frame + 4, 4) - WIRE_PREFIX, 4);
    memcpy(frame + WIRE_PREFIX, header, WIRE_HEADER);
    return frame + WIRE_PREFIX;
}

// ---- replies

// -1 any length
static const int body_lengths[] = {
    [SKERRY_CLIENT_KIND_OK] = 0,     [SKERRY_CLIENT_KIND_NULL] = 0,    [SKERRY_CLIENT_KIND_ERROR] = -1, [SKERRY_CLIENT_KIND_INTEGER] = 8,
    [SKERRY_CLIENT_KIND_VALUE] = -1, [SKERRY_CLIENT_KIND_BOOLEAN] = 1, [SKERRY_CLIENT_KIND_ARRAY] = -1, [SKERRY_CLIENT_KIND_FLOAT] = 8,
};
enum { KINDS = sizeof body_lengths / sizeof body_lengths[0] };

static int fail(const char **why, const char *text)
{
    *why = text;
    return -1;
}

int skc_wire_frame(const unsigned char *bytes, size_t length, uint64_t *frame_length, const char **why)
{
    if (length > 0 && bytes[0] != REPLY_MAGIC)
        return fail(why, "a reply does not begin with the magic byte fb");
    if (length > 1 && bytes[1] != VERSION)
        return fail(why, "a reply's version is not 2");
    if (length > 2 && bytes[2] >= KINDS)
        return fail(why, "a reply's status is unknown");
    if (length > 3 && bytes[3] != 0)
        return fail(why, "a reply's flags are not 0");
    if (length < WIRE_HEADER)
        return 0;
    uint64_t body = take(bytes + 4, 4);
    if (body_lengths[bytes[2]] >= 0 && body != (uint64_t)body_lengths[bytes[2]])
        return fail(why, "a reply's length is not that of its status");
    *frame_length = WIRE_HEADER + body;
    return 1;
}

// An array is walked once before anybody reads it: afterwards skerry_client_item() need not doubt its lengths.
static int check_array(const unsigned char *body, uint64_t length, size_t *count, const char **why)
{
    if (length < 4)
        return fail(why, "an array's count is cut off");
    uint64_t left = length - 4, items = take(body, 4);
    if (items > left / 4)
        return fail(why, "an array has fewer items than its count says");
    const unsigned char *at = body + 4;
    for (uint64_t i = 0; i < items; i++) {
        if (left < 4)
            return fail(why, "an array has fewer items than its count says");
        uint64_t item = take(at, 4);
        at += 4;
        left -= 4;
        if (item == UINT32_MAX)
            continue;
        if (item > left)
            return fail(why, "an array's item is longer than the array");
        at += item;
        left -= item;
    }
    if (left != 0)
        return fail(why, "bytes follow the last item of an array");
    *count = (size_t)items;
    return 0;
}

int skc_wire_reply(const unsigned char *frame, uint64_t frame_length, struct skerry_client_reply *reply, const char **why)
{
    uint64_t said = 0;
    if (frame_length < WIRE_HEADER || skc_wire_frame(frame, WIRE_HEADER, &said, why) != 1)
        return frame_length < WIRE_HEADER ? fail(why, "a reply is cut off") : -1;
    if (said != frame_length)
        return fail(why, "a reply is cut off");
    const unsigned char *body = frame + WIRE_HEADER;
    size_t length = (size_t)(frame_length - WIRE_HEADER);
    reply->kind = frame[2];
    reply->bytes = (struct skerry_client_bytes){ 0 };
    reply->integer = 0;
    reply->number = 0;
    reply->count = 0;
    uint64_t bits;
    switch ((enum skerry_client_kind)frame[2]) {
    case SKERRY_CLIENT_KIND_ERROR:
    case SKERRY_CLIENT_KIND_VALUE:
        reply->bytes = (struct skerry_client_bytes){ body, length };
        return 0;
    case SKERRY_CLIENT_KIND_INTEGER:
        bits = take(body, 8);
        memcpy(&reply->integer, &bits, sizeof bits);
        return 0;
    case SKERRY_CLIENT_KIND_BOOLEAN:
        if (body[0] > 1)
            return fail(why, "a boolean is neither 0 nor 1");
        reply->integer = body[0];
        return 0;
    case SKERRY_CLIENT_KIND_FLOAT:
        bits = take(body, 8);
        memcpy(&reply->number, &bits, sizeof bits);
        return 0;
    case SKERRY_CLIENT_KIND_ARRAY:
        reply->bytes = (struct skerry_client_bytes){ body, length };
        return check_array(body, length, &reply->count, why);
    case SKERRY_CLIENT_KIND_OK:
    case SKERRY_CLIENT_KIND_NULL:
    case SKERRY_CLIENT_KIND_NONE:
        break;
    }
    return 0;
}

int skerry_client_item(const struct skerry_client_reply *reply, size_t *cursor, struct skerry_client_bytes *item)
{
    const unsigned char *body = reply->bytes.data;
    size_t at = *cursor == 0 ? 4 : *cursor;
    if (reply->kind != SKERRY_CLIENT_KIND_ARRAY || at > reply->bytes.length || reply->bytes.length - at < 4)
        return 0;
    uint32_t length = (uint32_t)take(body + at, 4);
    at += 4;
    *item = (struct skerry_client_bytes){ 0 };
    if (length != UINT32_MAX) {
        if (length > reply->bytes.length - at) // only when the cursor is not ours
            return 0;
        *item = (struct skerry_client_bytes){ body + at, length };
        at += length;
    }
    *cursor = at;
    return 1;
}
