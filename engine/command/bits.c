// SPDX-License-Identifier: Apache-2.0
// Strings as rows of bits: bit 0 is the highest bit of the first byte.
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/command/places.h"
#include "engine/command/string_value.h"
#include "proto/number.h"

static const char OFFSET_ERROR[] = "ERR bit offset is not an integer or out of range";

bool string_bit_offset(struct call *c, uint32_t arg, unsigned bits, uint64_t *out)
{
    struct slice text = c->argv[arg];
    bool times = bits > 0 && text.len > 0 && text.data[0] == '#';
    int64_t offset;
    if (times)
        text = slice_of(text.data + 1, text.len - 1);
    bool ok = number_parse_i64(text, &offset) && (!times || !__builtin_mul_overflow(offset, (int64_t)bits, &offset));
    if (!ok || offset < 0 || (uint64_t)offset >> 3 >= c->bulk_max) {
        reply_error(c->reply, OFFSET_ERROR);
        return false;
    }
    *out = (uint64_t)offset;
    return true;
}

static bool parse_bit(struct call *c, uint32_t arg, const char *error, unsigned *out)
{
    int64_t bit;
    if (!number_parse_i64(c->argv[arg], &bit) || (bit & ~INT64_C(1)) != 0) {
        reply_error(c->reply, error);
        return false;
    }
    *out = (unsigned)bit;
    return true;
}

void cmd_setbit(struct call *c)
{
    uint64_t offset;
    unsigned bit;
    struct entry *e;
    if (!string_bit_offset(c, 2, 0, &offset) || !parse_bit(c, 3, "ERR bit is not an integer or out of range", &bit) ||
        !string_find(c, 1, &e))
        return;
    size_t at = offset >> 3;
    unsigned shift = 7 - (offset & 7);
    bool grows = e == NULL || entry_value(e).len <= at;
    uint8_t *bytes = string_extend(c, 1, e, at + 1);
    if (bytes == NULL)
        return;
    unsigned old = bytes[at] >> shift & 1;
    bytes[at] = (uint8_t)((bytes[at] & ~(1u << shift)) | bit << shift);
    if (!grows && old != bit)
        keyspace_wrote(c->keyspace, c->argv[1], c->hash, at, at + 1);
    c->dirty += grows || old != bit;
    reply_integer(c->reply, old);
}

void cmd_getbit(struct call *c)
{
    uint64_t offset;
    struct entry *e;
    if (!string_bit_offset(c, 2, 0, &offset) || !string_find(c, 1, &e))
        return;
    struct slice value = e == NULL ? slice_of("", 0) : entry_value(e);
    size_t at = offset >> 3;
    reply_integer(c->reply, at < value.len ? value.data[at] >> (7 - (offset & 7)) & 1 : 0);
}

// ---- ranges

// Bits [first, last] of a string, last inclusive; empty when first > last.
struct bit_range {
    uint64_t first, last;
    bool empty;
};

static bool parse_unit(struct call *c, uint32_t arg, bool *is_bit)
{
    *is_bit = slice_is(c->argv[arg], "bit");
    if (*is_bit || slice_is(c->argv[arg], "byte"))
        return true;
    reply_error(c->reply, REPLY_SYNTAX);
    return false;
}

// Negative ends count from the end and stop at the begin; in bytes or bits, then in bits.
static struct bit_range range_of(size_t len, int64_t start, int64_t end, bool is_bit)
{
    int64_t total = (int64_t)(is_bit ? len * 8 : len);
    start = start >= 0 ? start : start + total < 0 ? 0 : start + total;
    end = end >= 0 ? end : end + total < 0 ? 0 : end + total;
    if (end >= total)
        end = total - 1;
    if (start > end)
        return (struct bit_range){ .empty = true };
    if (is_bit)
        return (struct bit_range){ .first = (uint64_t)start, .last = (uint64_t)end };
    return (struct bit_range){ .first = (uint64_t)start * 8, .last = (uint64_t)end * 8 + 7 };
}

// The byte of `at` (a bit number, a multiple of 8) with the bits outside the range cleared.
static uint8_t byte_within(struct slice value, const struct bit_range *r, uint64_t at)
{
    unsigned byte = value.data[at >> 3];
    if (at < r->first)
        byte &= 0xffu >> (r->first - at);
    if (r->last - at < 7)
        byte &= 0xffu << (7 - (r->last - at));
    return (uint8_t)byte;
}

static int64_t count_bits(struct slice value, const struct bit_range *r)
{
    uint64_t at = r->first & ~UINT64_C(7), end = r->last & ~UINT64_C(7);
    int64_t count = __builtin_popcount(byte_within(value, r, at));
    if (at == end)
        return count;
    const uint8_t *p = value.data + (at >> 3) + 1, *last = value.data + (end >> 3);
    for (; last - p >= 8; p += 8)
        count += __builtin_popcountll(load_u64(p));
    for (; p < last; p++)
        count += __builtin_popcount(*p);
    return count + __builtin_popcount(byte_within(value, r, end));
}

void cmd_bitcount(struct call *c)
{
    int64_t start = 0, end = -1;
    bool is_bit = false;
    struct entry *e;
    if (c->argc > 5) {
        reply_error(c->reply, REPLY_SYNTAX);
        return;
    }
    // The unit is read before the end, as in Redis: an error names the first mistake in that order.
    if ((c->argc > 2 && !string_integer(c, 2, &start)) || (c->argc > 4 && !parse_unit(c, 4, &is_bit)) ||
        (c->argc > 3 && !string_integer(c, 3, &end)) || !string_find(c, 1, &e))
        return;
    // BITCOUNT alone calls such a range empty before it stops both ends at the begin.
    bool backwards = start < 0 && end < 0 && start > end;
    struct bit_range r = range_of(e == NULL ? 0 : entry_value(e).len, start, end, is_bit);
    reply_integer(c->reply, e == NULL || backwards || r.empty ? 0 : count_bits(entry_value(e), &r));
}

// The first bit of the range that is `bit`, UINT64_MAX = none.
static uint64_t find_bit(struct slice value, const struct bit_range *r, unsigned bit)
{
    const uint8_t all_other = bit ? 0x00 : 0xff;
    for (uint64_t at = r->first & ~UINT64_C(7); at <= r->last; at += 8) {
        // Whole words of the other bit are passed over.
        while (at >= r->first && at + 63 <= r->last && load_u64(value.data + (at >> 3)) == (bit ? 0 : UINT64_MAX))
            at += 64;
        if (at > r->last)
            break;
        uint8_t byte = value.data[at >> 3];
        if (byte == all_other)
            continue;
        for (uint64_t i = at < r->first ? r->first : at; i <= r->last && i < at + 8; i++)
            if ((byte >> (7 - (i & 7)) & 1) == bit)
                return i;
    }
    return UINT64_MAX;
}

void cmd_bitpos(struct call *c)
{
    unsigned bit;
    int64_t start = 0, end = -1, number;
    bool is_bit = false;
    struct entry *e;
    if (!string_integer(c, 2, &number) || !parse_bit(c, 2, "ERR The bit argument must be 1 or 0.", &bit))
        return;
    if (c->argc > 6) {
        reply_error(c->reply, REPLY_SYNTAX);
        return;
    }
    if ((c->argc > 3 && !string_integer(c, 3, &start)) || (c->argc > 5 && !parse_unit(c, 5, &is_bit)) ||
        (c->argc > 4 && !string_integer(c, 4, &end)) || !string_find(c, 1, &e))
        return;
    if (e == NULL) {
        reply_integer(c->reply, bit ? -1 : 0);
        return;
    }
    struct slice value = entry_value(e);
    struct bit_range r = range_of(value.len, start, end, is_bit);
    uint64_t found = r.empty ? UINT64_MAX : find_bit(value, &r, bit);
    if (found != UINT64_MAX)
        reply_integer(c->reply, (int64_t)found);
    else if (bit == 0 && !r.empty && c->argc < 5)
        reply_integer(c->reply, (int64_t)value.len * 8); // zero bits follow the string without end
    else
        reply_integer(c->reply, -1);
}

// ---- BITOP

enum bit_operation { BIT_AND, BIT_OR, BIT_XOR, BIT_NOT, BIT_OPERATIONS };

static enum bit_operation parse_operation(struct slice word)
{
    static const char *const names[] = { "and", "or", "xor", "not" };
    unsigned op = 0;
    while (op < BIT_OPERATIONS && !slice_is(word, names[op]))
        op++;
    return (enum bit_operation)op;
}

static uint64_t combine(enum bit_operation op, uint64_t a, uint64_t b)
{
    switch (op) {
    case BIT_AND:
        return a & b;
    case BIT_OR:
        return a | b;
    case BIT_XOR:
        return a ^ b;
    case BIT_NOT:
    case BIT_OPERATIONS:
        break;
    }
    return ~b;
}

// result[0, len) = result op source; behind the source's end its bits are 0.
static void apply(enum bit_operation op, uint8_t *result, size_t len, struct slice source)
{
    size_t at = 0, whole = source.len < len ? source.len : len;
    for (; at + 8 <= whole; at += 8)
        store_u64(result + at, combine(op, load_u64(result + at), load_u64(source.data + at)));
    for (; at < whole; at++)
        result[at] = (uint8_t)combine(op, result[at], source.data[at]);
    if (op == BIT_AND && at < len)
        memset(result + at, 0, len - at);
}

static bool source_of(struct call *c, uint32_t arg, struct slice *out)
{
    struct place at = call_place(c, arg);
    struct entry *e = keyspace_find(at.keyspace, c->argv[arg], at.hash, c->now_ms);
    *out = e == NULL ? slice_of(NULL, 0) : entry_value(e);
    if (e == NULL || entry_type(e) == ENTRY_STRING)
        return true;
    reply_error(c->reply, REPLY_WRONGTYPE);
    return false;
}

// The result is made beside the keyspace: the target may be one of the sources.
static bool store_result(struct call *c, struct slice result)
{
    struct place to = call_place(c, 2);
    if (result.len == 0) {
        c->dirty += keyspace_delete(to.keyspace, c->argv[2], to.hash, c->now_ms);
        return true;
    }
    struct entry *e = keyspace_set(to.keyspace, c->argv[2], to.hash, ENTRY_STRING, result, ENTRY_NO_DEADLINE, c->now_ms);
    if (e == NULL) {
        reply_error(c->reply, REPLY_OUT_OF_MEMORY);
        return false;
    }
    entry_set_mark(e, true);
    c->dirty++;
    return true;
}

void cmd_bitop(struct call *c)
{
    enum bit_operation op = parse_operation(c->argv[1]);
    size_t len = 0;
    struct slice source;
    if (op == BIT_OPERATIONS) {
        reply_error(c->reply, REPLY_SYNTAX);
        return;
    }
    if (op == BIT_NOT && c->argc != 4) {
        reply_error(c->reply, "ERR BITOP NOT must be called with a single source key.");
        return;
    }
    for (uint32_t arg = 3; arg < c->argc; arg++) {
        if (!source_of(c, arg, &source))
            return;
        len = source.len > len ? source.len : len;
    }
    uint8_t *result = calloc(1, len + 1);
    if (result == NULL) {
        reply_error(c->reply, REPLY_OUT_OF_MEMORY);
        return;
    }
    for (uint32_t arg = 3; arg < c->argc && source_of(c, arg, &source); arg++)
        apply(arg == 3 && op != BIT_NOT ? BIT_OR : op, result, len, source);
    if (store_result(c, slice_of(result, len)))
        reply_integer(c->reply, (int64_t)len);
    free(result);
}
