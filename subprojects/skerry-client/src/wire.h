// SPDX-License-Identifier: Apache-2.0
// FCNP v2 as bytes (specification, sections 1, 2, 4, 5): requests are written, replies are read. No I/O, no clock, no allocation.
//
//   request   fa 02 opcode flags body_len:u32 | hash:u64 shard:u32 tag:u64 (flags 07) | body of the opcode
//   reply     fb 02 status 00    body_len:u32 | body of the status
// All integers are little-endian.
#pragma once

#include <skerry/client.h>
#include <stdbool.h>

enum {
    WIRE_GET = 1,
    WIRE_SET = 2,
    WIRE_SETEX = 3,
    WIRE_GETEX = 4,
    WIRE_DELETE = 5,
    WIRE_EXISTS = 6,
    WIRE_TTL = 7,
    WIRE_EXPIRE = 8,
    WIRE_PING = 9,
    WIRE_MGET = 10,
    WIRE_MSET = 11,
    WIRE_AUTH = 60,
    WIRE_HELLO = 61,
    WIRE_RESP = 200,

    WIRE_HEADER = 8,                 // bytes of a frame's header, of both directions
    WIRE_PREFIX = 20,                // bytes of the whole routing prefix
    WIRE_SHARD_AT = WIRE_HEADER + 8, // where a routed frame names its shard
};

// What follows the routing prefix.
enum wire_layout {
    WIRE_KEY,              // L B
    WIRE_KEY_VALUE,        // key_len value_len key value
    WIRE_NUMBER_KEY,       // u64 L B
    WIRE_NUMBER_KEY_VALUE, // u64 key_len value_len key value
    WIRE_REST,             // the value's bytes and nothing else
    WIRE_TWO,              // L B of the key, L B of the value
    WIRE_LIST,             // C, C x LB of the parts
    WIRE_PAIRS,            // C, C x (key_len value_len key value) of parts and values
};

struct wire_request {
    uint8_t opcode;
    enum wire_layout layout;
    bool routed; // carries the whole routing prefix, for `key` (which need not be in the body)
    struct skerry_client_bytes key, value;
    uint64_t number;
    const struct skerry_client_bytes *parts, *values;
    size_t part_count;
};

// Bytes of the whole frame; 0 when a length or count does not fit the format's 32 bits.
uint64_t skc_wire_length(const struct wire_request *request);
// Writes the frame of skc_wire_length() bytes; the shard is left 0 (skc_wire_set_shard).
void skc_wire_write(const struct wire_request *request, unsigned char *out);
void skc_wire_set_shard(unsigned char *frame, uint32_t shard);
uint64_t skc_wire_hash(const unsigned char *frame); // of a routed frame
// Takes the routing prefix away: the frame then begins WIRE_PREFIX bytes later, at the pointer that is given back.
unsigned char *skc_wire_strip(unsigned char *frame);

// Looks at the bytes that have arrived: 1 and the length of the first frame when the header is there and right, 0 when it is not there
// yet, -1 with *why. The frame itself need not be there yet; a wrong byte is noticed when it arrives.
int skc_wire_frame(const unsigned char *bytes, size_t length, uint64_t *frame_length, const char **why);

// Reads a whole frame; views point into it. 0, or -1 with *why. Leaves reply->status, tag and error alone.
int skc_wire_reply(const unsigned char *frame, uint64_t frame_length, struct skerry_client_reply *reply, const char **why);

// What may answer an opcode: a set of bits 1 << kind; errors may answer everything. All bits for opcodes that are not known here.
unsigned skc_wire_answers(uint8_t opcode);
const char *skc_wire_name(uint8_t opcode); // "GET"; NULL for one that is not known here
