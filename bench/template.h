// SPDX-License-Identifier: Apache-2.0
// A request as bytes with places to be filled in: the key's digits, what depends on the key, the value.
//
//   RESP    *2 $3 GET            | $16 key:...........   |
//   FCNP    header, hash, length |     key:...........   | value     (the specification's sections 1, 2 and 4)
//           `---- head ---------'  `--- unit, per key --------- ...
//
// FCNP sends the key's hash; to a direct port (`direct`) also its shard and tag, or with `shard_prefix` the shard alone, which is all that
// the port needs. Requests of several keys carry none of the three.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bench/options.h"

struct template
{
    enum op_kind kind;
    uint32_t keys;     // keys of one request
    uint64_t head_len; // what comes before the first unit
    uint64_t unit_len; // what comes before a value, or the whole of a key without value
    uint64_t key_end;  // offset of the byte after the key, within a unit
    uint64_t value_len;
    uint64_t len; // of the whole request
    bool has_value;
    bool line_ends; // CRLF behind a value
    uint8_t flags;  // of FCNP: what the head has room for, 0, 1 the key's hash, 2 its shard, 7 hash, shard and tag
    uint8_t *bytes; // head and one unit; of an echo only room for the message
};

enum { TEMPLATE_HASH = 1, TEMPLATE_SHARD = 2, TEMPLATE_FULL = 7 };
enum { TEMPLATE_PREFIX_AT = 8, TEMPLATE_SHARD_AT = 16, TEMPLATE_TAG_AT = 20 };

// FCNP has no opcode for it, or a direct port does not take it.
bool template_possible(const struct options *o, enum op_kind kind);
// `slack`: bytes of room behind. 0 or -ENOMEM.
int template_build(struct template *t, const struct options *o, enum op_kind kind, uint64_t value_len, uint64_t slack);
void template_free(struct template *t);
