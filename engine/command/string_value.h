// SPDX-License-Identifier: Apache-2.0
// What the commands on strings (and on their bits) share. Each returns false after it has written the error reply.
#pragma once

#include "engine/command/command.h"

// *out: the entry, NULL when there is none.
static inline bool string_find(struct call *c, uint32_t arg, struct entry **out)
{
    *out = call_find(c, arg);
    if (likely(*out == NULL || entry_type(*out) == ENTRY_STRING))
        return true;
    reply_error(c->reply, REPLY_WRONGTYPE);
    return false;
}

// Integer argument; "value is not an integer or out of range".
bool string_integer(struct call *c, uint32_t arg, int64_t *out) warn_unused;
// `offset` + `len` within proto-max-bulk-len.
bool string_length_ok(struct call *c, uint64_t offset, uint64_t len) warn_unused;
// Bit offset argument, also `#n` (n times `bits`) when `bits` > 0; the byte it lies in is within proto-max-bulk-len.
bool string_bit_offset(struct call *c, uint32_t arg, unsigned bits, uint64_t *out) warn_unused;
// The bytes to change in place. Makes the entry when it is NULL, or longer (zero bytes) when it is shorter than `len`; marks it as
// changed. NULL = out of memory, and the error reply is written.
uint8_t *string_extend(struct call *c, uint32_t arg, struct entry *e, size_t len) warn_unused;

// A time to live, given as in SET and GETEX.
enum string_time {
    TIME_SECONDS = 1 << 0, // else milliseconds
    TIME_UNIX = 1 << 1,    // else from now
};
// *deadline_ms: Unix ms; "invalid expire time in 'set' command".
bool string_deadline(struct call *c, uint32_t arg, unsigned time, int64_t *deadline_ms) warn_unused;
