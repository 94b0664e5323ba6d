// SPDX-License-Identifier: Apache-2.0
// FCNP v2 requests, the binary protocol: a frame becomes the argv of the RESP command that does the same, so that one command
// layer serves both. Format: the FCNP specification, sections 1, 2 and 4; fcnp.def has a line an opcode.
//
//   offset 0 magic 0xFA | 1 version 2 | 2 opcode | 3 flags | 4 body_len u32 | 8 body: routing prefix as the flags say, then operands
//
// Valid: (1) no other flag than the three; (2) 8 + body_len <= frame_max; (3) the operands fill the body exactly.
// A header is judged as soon as its bytes are here, a body when it is whole; nothing is allocated for a declared length or count
// beyond what the bytes present can hold. Without state between calls: a cut frame is simply given again with more bytes.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/slice.h"
#include "proto/number.h"
#include "proto/request.h"

#define FCNP_MAGIC       0xFA
#define FCNP_REPLY_MAGIC 0xFB
#define FCNP_VERSION     2
#define FCNP_HEADER      8

enum fcnp_flag { FCNP_HASH = 1, FCNP_SHARD = 2, FCNP_TAG = 4 };
#define FCNP_FLAGS     7u    // all of them
#define FCNP_LEVEL     0x18u // where HELLO asked for it: how safe the change has to be; 1 no, 2 everysec, 3 always
#define FCNP_LEVEL_ONE 8u

enum fcnp_opcode {
#define FCNP_OP(number, name, word, subword, wire, order, reply) FCNP_##name = (number),
#include "proto/fcnp.def"
#undef FCNP_OP
};

// How fcnp_reply_end turns the command's reply into a frame.
enum fcnp_shape {
    FCNP_PLAIN,   // by the type of the reply
    FCNP_SECONDS, // milliseconds become seconds, rounded up
    FCNP_RESP2,   // a Value that holds the RESP2 text
};

enum fcnp_result {
    FCNP_PARTIAL = 0,
    FCNP_READY = 1,
    FCNP_UNSUPPORTED = 2, // a whole frame of an opcode that does not exist: answer FCNP_ERROR_UNSUPPORTED, go on
    // -EPROTO: parser->error says why. Nothing more may be parsed. -ENOMEM: no memory for argv.
};

#define FCNP_ERROR_UNSUPPORTED "ERR unsupported command"

struct fcnp_limits {
    uint64_t frame_max; // header and body (512 MiB + 8)
    uint32_t args_max;  // of the resulting argv
    bool levels;        // HELLO has asked for levels: two flag bits of a frame
};

// In HELLO's protocol number: frames may say how safe what they change shall be before they are answered (FCNP_LEVEL).
#define FCNP_HELLO_LEVELS (UINT64_C(1) << 32)

struct fcnp_request {
    struct request rq; // HELLO's version is argv[1] and must not change the protocol
    uint8_t opcode;    // enum fcnp_opcode
    uint8_t flags;     // which of route_shard, key_hash and key_tag were sent; the others hold nothing
    uint8_t level;     // 0: as the connection has it; 1: no, 2: everysec, 3: always
    uint8_t shape;     // enum fcnp_shape
    bool bare;         // GET without key bytes (argc 1): the entry is named by key_hash, key_tag and key_len
    uint32_t route_shard;
    uint32_t key_len;
    uint64_t key_hash;
    uint64_t key_tag;
    char numbers[2][NUMBER_TEXT_MAX]; // operands that RESP has as text
};

// Zero-initialised but for its limits = ready.
struct fcnp {
    struct fcnp_limits limits;
    struct slice *argv; // heap; for requests with more arguments than the caller's array
    uint32_t argv_cap;
    char error[96];
};

void fcnp_init(struct fcnp *p, const struct fcnp_limits *limits);
void fcnp_deinit(struct fcnp *p);

// On FCNP_READY and FCNP_UNSUPPORTED *used is the length of the frame. The request's slices are views of `frame`, of constant words
// and of the request's own numbers. argv is the caller's array; or the parser's, valid until the next call.
int fcnp_parse(struct fcnp *p, struct slice frame, struct slice *argv, uint32_t argv_max, struct fcnp_request *out,
               size_t *used) warn_unused;

// Bytes of the routing prefix by flags.
static const uint8_t FCNP_PREFIX_LEN[8] = { 0, 8, 4, 12, 8, 16, 12, 20 };

// A GET or SET without a fault, as nearly all frames are: taken apart in registers.
struct fcnp_hot {
    uint64_t len; // of the frame
    struct slice key;
    struct slice value;
    uint64_t key_hash; // like the next two only meant where the flags say so
    uint64_t key_tag;
    uint32_t route_shard;
    uint8_t opcode; // FCNP_GET, FCNP_SET
    uint8_t flags;
};

// The commonest ones, by fixed offsets: with the whole prefix, the shard or the hash alone, or none.
//   0 head | 8 key hash u64 | 16 route shard u32 | 20 key tag u64 | 28 key length u32 | of SET: value length u32 | key | value
//   0 head | 8 key hash u64 | 16 key length u32 ...
//   0 head | 8 route shard u32 | 12 key length u32 ...
//   0 head | 8 key length u32 ...
static inline bool fcnp_hottest(struct slice frame, struct fcnp_hot *out)
{
    if (unlikely(frame.len < FCNP_HEADER + 20))
        return false;
    uint64_t head = load_u64(frame.data), len = FCNP_HEADER + (head >> 32);
    uint32_t opcode = (uint8_t)(head >> 16), flags = (uint8_t)(head >> 24);
    if (unlikely((head & 0xffff) != (FCNP_MAGIC | FCNP_VERSION << 8) || opcode - FCNP_GET > FCNP_SET - FCNP_GET))
        return false;
    if (unlikely(flags > FCNP_SHARD && flags != FCNP_FLAGS))
        return false;
    size_t at = FCNP_HEADER + FCNP_PREFIX_LEN[flags];
    if (unlikely(len > frame.len || len < at + 8)) // GET of a key of less than 4 bytes: not here
        return false;
    uint64_t key_len = load_u32(frame.data + at), value_len = opcode == FCNP_GET ? 0 : load_u32(frame.data + at + 4);
    at += opcode * 4;
    if (unlikely(len != at + key_len + value_len))
        return false;
    out->len = len;
    out->key = slice_of(frame.data + at, key_len);
    out->value = slice_of(frame.data + at + key_len, value_len);
    out->key_hash = load_u64(frame.data + 8);
    out->route_shard = load_u32(frame.data + (flags == FCNP_SHARD ? 8 : 16));
    out->key_tag = load_u64(frame.data + 20);
    out->opcode = (uint8_t)opcode;
    out->flags = (uint8_t)flags;
    return true;
}

// Any of them with keys of 4 to 255 bytes and values of up to 65535; what its prefix holds is read by whoever needs it.
struct fcnp_small {
    uint64_t len; // of the frame
    const uint8_t *prefix;
    const uint8_t *key; // the value follows
    uint32_t key_len, value_len;
    uint8_t opcode, flags;
};

static inline __attribute__((__always_inline__)) bool fcnp_small(const uint8_t *p, size_t left, struct fcnp_small *out)
{
    if (unlikely(left < FCNP_HEADER + 8))
        return false;
    uint64_t head = load_u64(p), len = FCNP_HEADER + (head >> 32);
    uint32_t opcode = (uint8_t)(head >> 16), flags = (uint8_t)(head >> 24);
    const uint32_t odd = ((uint32_t)head & 0xffff) ^ (FCNP_MAGIC | FCNP_VERSION << 8);
    static_assert(FCNP_GET == 1 && FCNP_SET == 2, "the opcode is the number of lengths");
    if (unlikely((odd | flags >> 3 | (opcode - FCNP_GET) >> 1) != 0))
        return false;
    const uint32_t at = FCNP_HEADER + FCNP_PREFIX_LEN[flags];
    if (unlikely(len > left || len < at + 8))
        return false;
    uint32_t key_len = load_u32(p + at), value_len = load_u32(p + at + 4) & -(opcode >> 1);
    if (unlikely((key_len >> 8 | value_len >> 16) != 0 || len != at + opcode * 4 + key_len + value_len))
        return false;
    *out = (struct fcnp_small){ len, p + FCNP_HEADER, p + at + opcode * 4, key_len, value_len, (uint8_t)opcode, (uint8_t)flags };
    return true;
}

// False: no such frame, cut, or wrong; fcnp_parse knows.
static inline bool fcnp_hot(struct slice frame, uint64_t frame_max, struct fcnp_hot *out)
{
    if (unlikely(frame.len < FCNP_HEADER + 4))
        return false;
    uint64_t head = load_u64(frame.data), len = FCNP_HEADER + (head >> 32);
    uint32_t opcode = (uint8_t)(head >> 16), flags = (uint8_t)(head >> 24);
    if (unlikely((head & 0xffff) != (FCNP_MAGIC | FCNP_VERSION << 8) || opcode - FCNP_GET > FCNP_SET - FCNP_GET || flags > 7))
        return false;
    if (unlikely(len > frame_max || len > frame.len))
        return false;
    const uint8_t *prefix = frame.data + FCNP_HEADER, *lengths = prefix + FCNP_PREFIX_LEN[flags], *end = frame.data + len;
    const uint8_t *key = lengths + (opcode == FCNP_GET ? 4 : 8);
    if (unlikely(key > end))
        return false;
    uint64_t key_len = load_u32(lengths), value_len = opcode == FCNP_GET ? 0 : load_u32(lengths + 4);
    if (unlikely(key_len + value_len != (uint64_t)(end - key)))
        return false; // a bare GET too
    out->len = len;
    out->key = slice_of(key, key_len);
    out->value = slice_of(key + key_len, value_len);
    out->opcode = (uint8_t)opcode;
    out->flags = (uint8_t)flags;
    out->key_hash = flags & FCNP_HASH ? load_u64(prefix) : 0;
    out->route_shard = flags & FCNP_SHARD ? load_u32(flags & FCNP_HASH ? prefix + 8 : prefix) : 0;
    out->key_tag = flags & FCNP_TAG ? load_u64(lengths - 8) : 0;
    return true;
}

// The words that an opcode's command begins with; 0: none, or they are the client's (FCNP_RESP_COMMAND).
uint32_t fcnp_words(uint8_t opcode, struct slice words[2]);

// A large value need not lie in the frame: it may be collected elsewhere.
//
//   fcnp_parse -> FCNP_PARTIAL, fcnp_head -> FCNP_READY: bytes [frame, frame + *head) stand before the value of a SET or SETEX, which
//   has *value_len bytes and ends the frame. fcnp_parse_split then takes these two parts for the frame.
//
// FCNP_PARTIAL: no such frame, or its key is still cut. -EPROTO: its lengths are not those of the body.
int fcnp_head(struct fcnp *p, struct slice frame, size_t *head, uint64_t *value_len) warn_unused;
int fcnp_parse_split(struct fcnp *p, struct slice head, struct slice value, struct slice *argv, uint32_t argv_max,
                     struct fcnp_request *out) warn_unused;

// Bytes of the frame that begins here, 0 while its header is cut: how much a receiver may want to make room for as bytes arrive.
uint64_t fcnp_frame_len(struct slice frame);
