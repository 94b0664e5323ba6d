// SPDX-License-Identifier: Apache-2.0
// BITFIELD: integers of 1 to 64 bits (unsigned: 63) at any bit offset, most significant bit first.
//
// All operations are parsed before the first of them runs, so that an error changes nothing. Numbers travel as uint64_t holding
// two's complement; a field's own sign is a matter of reading and of overflow.
#include "engine/command/string_value.h"
#include "proto/number.h"

enum field_action { FIELD_GET, FIELD_SET, FIELD_ADD };
enum field_overflow { FIELD_WRAP, FIELD_SATURATE, FIELD_FAIL };

struct field {
    enum field_action action;
    enum field_overflow overflow;
    bool is_signed;
    unsigned bits;
    uint64_t offset;
    int64_t operand;
};

static bool parse_type(struct call *c, uint32_t arg, struct field *f)
{
    struct slice text = c->argv[arg];
    int64_t bits = 0;
    bool sign = text.len > 0 && text.data[0] == 'i';
    bool ok = text.len > 1 && (sign || text.data[0] == 'u') && number_parse_i64(slice_of(text.data + 1, text.len - 1), &bits);
    if (!ok || bits < 1 || bits > (sign ? 64 : 63)) {
        reply_error(c->reply, "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.");
        return false;
    }
    f->is_signed = sign;
    f->bits = (unsigned)bits;
    return true;
}

static bool parse_overflow(struct call *c, uint32_t arg, enum field_overflow *out)
{
    static const char *const names[] = { [FIELD_WRAP] = "wrap", [FIELD_SATURATE] = "sat", [FIELD_FAIL] = "fail" };
    for (unsigned i = 0; i < 3; i++)
        if (slice_is(c->argv[arg], names[i])) {
            *out = (enum field_overflow)i;
            return true;
        }
    reply_error(c->reply, "ERR Invalid OVERFLOW type specified");
    return false;
}

// Parses at *arg: 1 = an operation, 0 = an OVERFLOW (applies to what follows), -1 = error replied. Moves *arg behind it.
static int parse_field(struct call *c, uint32_t *arg, enum field_overflow *overflow, struct field *f)
{
    uint32_t at = *arg, left = c->argc - at - 1;
    struct slice word = c->argv[at];
    if (left >= 1 && slice_is(word, "overflow")) {
        *arg = at + 2;
        return parse_overflow(c, at + 1, overflow) ? 0 : -1;
    }
    if (left >= 2 && slice_is(word, "get"))
        f->action = FIELD_GET;
    else if (left >= 3 && slice_is(word, "set"))
        f->action = FIELD_SET;
    else if (left >= 3 && slice_is(word, "incrby"))
        f->action = FIELD_ADD;
    else {
        reply_error(c->reply, REPLY_SYNTAX);
        return -1;
    }
    f->overflow = *overflow;
    if (!parse_type(c, at + 1, f) || !string_bit_offset(c, at + 2, f->bits, &f->offset))
        return -1;
    if (f->action != FIELD_GET && !string_integer(c, at + 3, &f->operand))
        return -1;
    *arg = at + (f->action == FIELD_GET ? 3 : 4);
    return 1;
}

// First pass: how many operations, and the bytes that the writing ones need.
struct plan {
    uint32_t count;
    bool writes;
    uint64_t bytes;
};

static bool make_plan(struct call *c, struct plan *p)
{
    enum field_overflow overflow = FIELD_WRAP;
    struct field f;
    *p = (struct plan){ 0 };
    for (uint32_t arg = 2; arg < c->argc;) {
        int got = parse_field(c, &arg, &overflow, &f);
        if (got < 0)
            return false;
        if (got == 0)
            continue;
        p->count++;
        if (f.action == FIELD_GET)
            continue;
        uint64_t end = (f.offset + f.bits - 1) / 8 + 1;
        p->writes = true;
        p->bytes = end > p->bytes ? end : p->bytes;
    }
    return true;
}

// Bits behind the end of the string are 0.
static uint64_t read_bits(struct slice value, const struct field *f)
{
    uint64_t result = 0;
    for (unsigned i = 0; i < f->bits; i++) {
        uint64_t at = f->offset + i;
        unsigned bit = at >> 3 < value.len ? (unsigned)(value.data[at >> 3] >> (7 - (at & 7))) & 1u : 0;
        result = result << 1 | bit;
    }
    if (f->is_signed && f->bits < 64 && (result >> (f->bits - 1) & 1))
        result |= UINT64_MAX << f->bits;
    return result;
}

static void write_bits(uint8_t *bytes, const struct field *f, uint64_t number)
{
    for (unsigned i = 0; i < f->bits; i++) {
        uint64_t at = f->offset + i;
        unsigned shift = 7 - (at & 7);
        unsigned bit = (unsigned)(number >> (f->bits - 1 - i) & 1);
        bytes[at >> 3] = (uint8_t)((bytes[at >> 3] & ~(1u << shift)) | bit << shift);
    }
}

static uint64_t wrap(const struct field *f, uint64_t number)
{
    if (f->bits == 64)
        return number;
    uint64_t mask = (UINT64_C(1) << f->bits) - 1;
    number &= mask;
    if (f->is_signed && (number >> (f->bits - 1) & 1))
        number |= ~mask;
    return number;
}

// base + operand in the field's width; false = overflow under FAIL. Wide enough for i64 + i64 and u63 + i64.
static bool result_of(const struct field *f, uint64_t base, uint64_t *out)
{
    __int128 low = f->is_signed ? -((__int128)1 << (f->bits - 1)) : 0;
    __int128 high = f->is_signed ? ((__int128)1 << (f->bits - 1)) - 1 : ((__int128)1 << f->bits) - 1;
    __int128 sum = f->is_signed ? (__int128)(int64_t)base : (__int128)base;
    sum += f->operand;
    // SET of an unsigned field reads its operand as unsigned, as Redis does: -1 is the largest number.
    if (f->action == FIELD_SET && !f->is_signed)
        sum = (__int128)(uint64_t)f->operand;
    bool fits = sum >= low && sum <= high;
    if (!fits && f->overflow == FIELD_FAIL)
        return false;
    if (!fits && f->overflow == FIELD_SATURATE)
        sum = sum < low ? low : high;
    *out = wrap(f, (uint64_t)sum);
    return true;
}

// `lo` and `hi`: the bytes that fields have changed.
static void run_field(struct call *c, const struct field *f, struct slice value, uint8_t *bytes, uint64_t *lo, uint64_t *hi)
{
    uint64_t old = read_bits(value, f), fresh;
    if (f->action == FIELD_GET) {
        reply_integer(c->reply, (int64_t)old);
        return;
    }
    if (!result_of(f, f->action == FIELD_ADD ? old : 0, &fresh)) {
        reply_null(c->reply);
        return;
    }
    write_bits(bytes, f, fresh);
    if (fresh != old) {
        uint64_t first = f->offset >> 3, end = ((f->offset + f->bits - 1) >> 3) + 1;
        c->dirty++;
        *lo = first < *lo ? first : *lo;
        *hi = end > *hi ? end : *hi;
    }
    reply_integer(c->reply, (int64_t)(f->action == FIELD_ADD ? fresh : old));
}

static void run_plan(struct call *c, const struct plan *p)
{
    struct entry *e;
    if (!string_find(c, 1, &e))
        return;
    struct slice value = e == NULL ? slice_of(NULL, 0) : entry_value(e);
    uint8_t *bytes = NULL;
    bool grows = value.len < p->bytes;
    if (p->writes) {
        uint64_t len = grows ? p->bytes : value.len;
        c->dirty += grows;
        bytes = string_extend(c, 1, e, len);
        if (bytes == NULL)
            return;
        value = slice_of(bytes, len);
    }
    enum field_overflow overflow = FIELD_WRAP;
    struct field f;
    uint64_t lo = UINT64_MAX, hi = 0;
    reply_array(c->reply, p->count);
    for (uint32_t arg = 2; arg < c->argc;)
        if (parse_field(c, &arg, &overflow, &f) == 1)
            run_field(c, &f, value, bytes, &lo, &hi);
    if (hi > 0)
        keyspace_wrote(c->keyspace, c->argv[1], c->hash, lo, hi);
}

void cmd_bitfield(struct call *c)
{
    struct plan p;
    if (make_plan(c, &p))
        run_plan(c, &p);
}

void cmd_bitfield_ro(struct call *c)
{
    struct plan p;
    if (!make_plan(c, &p))
        return;
    if (p.writes)
        reply_error(c->reply, "ERR BITFIELD_RO only supports the GET subcommand");
    else
        run_plan(c, &p);
}
