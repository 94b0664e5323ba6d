// SPDX-License-Identifier: Apache-2.0
// One pull parser over a source: every byte goes through take(), which adds it to the checksum. Structure that is passed over costs no
// memory; loops are bounded by bytes, since every element has at least one.
#include "persist/rdb.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/crc64.h"

#define PIECE         ((size_t)64 * 1024)
#define LZF_RATIO_MAX 264u // what three bytes can say

enum rdb_opcode {
    OPCODE_SLOT_INFO = 244,
    OPCODE_FUNCTION2 = 245,
    OPCODE_FUNCTION_EARLY = 246,
    OPCODE_MODULE_AUX = 247,
    OPCODE_IDLE = 248,
    OPCODE_FREQ = 249,
    OPCODE_AUX = 250,
    OPCODE_RESIZEDB = 251,
    OPCODE_EXPIRE_MS = 252,
    OPCODE_EXPIRE = 253,
    OPCODE_SELECTDB = 254,
    OPCODE_EOF = 255,
};

enum rdb_type {
    TYPE_STRING = 0,
    TYPE_LIST = 1,
    TYPE_SET = 2,
    TYPE_ZSET = 3,
    TYPE_HASH = 4,
    TYPE_ZSET_2 = 5,
    TYPE_MODULE = 6,
    TYPE_MODULE_2 = 7,
    TYPE_HASH_ZIPMAP = 9,
    TYPE_LIST_ZIPLIST = 10,
    TYPE_SET_INTSET = 11,
    TYPE_ZSET_ZIPLIST = 12,
    TYPE_HASH_ZIPLIST = 13,
    TYPE_LIST_QUICKLIST = 14,
    TYPE_STREAM = 15,
    TYPE_HASH_LISTPACK = 16,
    TYPE_ZSET_LISTPACK = 17,
    TYPE_LIST_QUICKLIST_2 = 18,
    TYPE_STREAM_2 = 19,
    TYPE_SET_LISTPACK = 20,
    TYPE_STREAM_3 = 21,
};

struct rdb {
    struct source *source;
    struct buf key, value, packed;
    uint64_t db, crc;
    int64_t deadline_ms;
    bool begun;
    struct rdb_totals totals;
    char why[160];
    struct crc64_tables tables;
};

int rdb_new(struct rdb **out, struct source *s)
{
    struct rdb *r = calloc(1, sizeof *r);
    if (r == NULL)
        return -ENOMEM;
    r->source = s;
    r->deadline_ms = -1;
    buf_init(&r->key, RDB_VALUE_MAX + 1);
    buf_init(&r->value, RDB_VALUE_MAX + 1);
    buf_init(&r->packed, RDB_VALUE_MAX + 1);
    crc64_init(&r->tables);
    *out = r;
    return 0;
}

struct rdb *rdb_free(struct rdb *r)
{
    if (r == NULL)
        return NULL;
    buf_deinit(&r->key);
    buf_deinit(&r->value);
    buf_deinit(&r->packed);
    free(r);
    return NULL;
}

const char *rdb_why(const struct rdb *r)
{
    return r->why;
}

uint64_t rdb_offset(const struct rdb *r)
{
    return r->source->offset;
}

const struct rdb_totals *rdb_totals(const struct rdb *r)
{
    return &r->totals;
}

const char *rdb_kind_name(enum rdb_kind kind)
{
    static const char *const NAMES[RDB_KINDS] = { "string", "list", "set", "zset", "hash", "stream", "module" };
    return NAMES[kind];
}

// ---- bytes

static printf_like(3, 4) int refuse(struct rdb *r, int error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(r->why, sizeof r->why, format, args);
    va_end(args);
    return error;
}

static int need(struct rdb *r, size_t n)
{
    int result = source_need(r->source, n);
    return result == 1 ? refuse(r, -EBADMSG, "ends before its end") : result;
}

static const uint8_t *take(struct rdb *r, size_t n)
{
    const uint8_t *at = source_view(r->source);
    r->crc = crc64(&r->tables, r->crc, at, n);
    source_take(r->source, n);
    return at;
}

// `n` bytes into `to`, or nowhere (NULL).
static int take_long(struct rdb *r, uint64_t n, struct buf *to)
{
    while (n > 0) {
        size_t piece = n < PIECE ? (size_t)n : PIECE;
        int failed = need(r, piece);
        if (failed != 0)
            return failed;
        const uint8_t *at = take(r, piece);
        if (to != NULL)
            buf_append(to, at, piece);
        n -= piece;
    }
    return to != NULL && to->failed ? -ENOMEM : 0;
}

static int take_byte(struct rdb *r, uint8_t *out)
{
    int failed = need(r, 1);
    if (failed == 0)
        *out = *take(r, 1);
    return failed;
}

static int skip(struct rdb *r, uint64_t n)
{
    return take_long(r, n, NULL);
}

// A length, or (*encoded, when it is allowed) the form of a string that is not plain.
static int take_length(struct rdb *r, uint64_t *out, bool *encoded)
{
    uint8_t first;
    int failed = take_byte(r, &first);
    if (failed != 0)
        return failed;
    if (encoded != NULL)
        *encoded = first >= 0xc0;
    if (first < 0x40) {
        *out = first;
        return 0;
    }
    if (first >= 0xc0 && encoded != NULL) {
        *out = first & 0x3f;
        return 0;
    }
    size_t more = first < 0x80 ? 1 : first == 0x80 ? 4 : first == 0x81 ? 8 : 0;
    if (more == 0)
        return refuse(r, -EBADMSG, "an unknown form of length, 0x%02x", first);
    if ((failed = need(r, more)) != 0)
        return failed;
    const uint8_t *at = take(r, more);
    uint64_t value = first < 0x80 ? first & 0x3f : 0;
    for (size_t i = 0; i < more; i++)
        value = value << 8 | at[i];
    *out = value;
    return 0;
}

static int skip_lengths(struct rdb *r, uint32_t count)
{
    uint64_t ignored;
    int failed = 0;
    for (uint32_t i = 0; i < count && failed == 0; i++)
        failed = take_length(r, &ignored, NULL);
    return failed;
}

// ---- strings

bool rdb_lzf(struct slice packed, uint8_t *out, size_t size)
{
    const uint8_t *in = packed.data;
    size_t at = 0, to = 0;
    while (at < packed.len) {
        size_t control = in[at++];
        if (control < 32) { // control + 1 bytes as they are
            size_t run = control + 1;
            if (run > packed.len - at || run > size - to)
                return false;
            memcpy(out + to, in + at, run);
            at += run;
            to += run;
            continue;
        }
        size_t run = control >> 5;
        if (run == 7) {
            if (at == packed.len)
                return false;
            run += in[at++];
        }
        if (at == packed.len)
            return false;
        size_t back = ((control & 0x1f) << 8 | in[at++]) + 1;
        run += 2;
        if (back > to || run > size - to)
            return false;
        for (size_t i = 0; i < run; i++, to++) // may overlap: byte by byte
            out[to] = out[to - back];
    }
    return to == size;
}

static int take_lzf(struct rdb *r, struct buf *to)
{
    uint64_t packed, size;
    int failed = take_length(r, &packed, NULL);
    if (failed == 0)
        failed = take_length(r, &size, NULL);
    if (failed != 0)
        return failed;
    if (to == NULL)
        return skip(r, packed);
    if (packed > RDB_VALUE_MAX || size > RDB_VALUE_MAX || size > packed * LZF_RATIO_MAX)
        return refuse(r, -EBADMSG, "a packed string of %" PRIu64 " bytes that says it is %" PRIu64, packed, size);
    r->packed.len = 0;
    if ((failed = take_long(r, packed, &r->packed)) != 0)
        return failed;
    uint8_t *out = buf_reserve(to, size + 1);
    if (out == NULL)
        return -ENOMEM;
    if (!rdb_lzf(buf_view(&r->packed), out, size))
        return refuse(r, -EBADMSG, "a string that does not unpack");
    buf_advance(to, size);
    return 0;
}

static int take_integer(struct rdb *r, size_t bytes, struct buf *to)
{
    int failed = need(r, bytes);
    if (failed != 0)
        return failed;
    const uint8_t *at = take(r, bytes);
    int32_t value = bytes == 1 ? (int8_t)at[0] : bytes == 2 ? (int16_t)load_u16(at) : (int32_t)load_u32(at);
    if (to != NULL)
        buf_format(to, "%" PRId32, value);
    return to != NULL && to->failed ? -ENOMEM : 0;
}

// Into `to`, or nowhere (NULL).
static int take_string(struct rdb *r, struct buf *to)
{
    uint64_t len = 0;
    bool encoded;
    if (to != NULL)
        to->len = 0;
    int failed = take_length(r, &len, &encoded);
    if (failed != 0)
        return failed;
    if (!encoded) {
        if (len > RDB_VALUE_MAX)
            return refuse(r, -EBADMSG, "a string of %" PRIu64 " bytes", len);
        return take_long(r, len, to);
    }
    if (len <= 2)
        return take_integer(r, (size_t)1 << len, to);
    return len == 3 ? take_lzf(r, to) : refuse(r, -EBADMSG, "an unknown form of string, %" PRIu64, len);
}

static int skip_string(struct rdb *r)
{
    return take_string(r, NULL);
}

// ---- what is passed over

static int skip_pair(struct rdb *r)
{
    int failed = skip_string(r);
    return failed != 0 ? failed : skip_string(r);
}

// A score as text behind its length; 253 to 255: not a number, infinite.
static int skip_score(struct rdb *r)
{
    uint8_t len;
    int failed = take_byte(r, &len);
    return failed != 0 || len >= 253 ? failed : skip(r, len);
}

// `count` elements of `strings` strings each, then `tail` bytes, or a score as text.
static int skip_elements(struct rdb *r, uint32_t strings, uint64_t tail, bool score)
{
    uint64_t count;
    int failed = take_length(r, &count, NULL);
    for (; count > 0 && failed == 0; count--) {
        for (uint32_t i = 0; i < strings && failed == 0; i++)
            failed = skip_string(r);
        if (failed == 0 && tail > 0)
            failed = skip(r, tail);
        if (failed == 0 && score)
            failed = skip_score(r);
    }
    return failed;
}

static int skip_quicklist_2(struct rdb *r)
{
    uint64_t nodes;
    int failed = take_length(r, &nodes, NULL);
    for (; nodes > 0 && failed == 0; nodes--) {
        failed = skip_lengths(r, 1); // plain or packed
        if (failed == 0)
            failed = skip_string(r);
    }
    return failed;
}

// Pending entries: id, and with `owner` the time and the count of its delivery.
static int skip_pending(struct rdb *r, bool owner)
{
    uint64_t count;
    int failed = take_length(r, &count, NULL);
    for (; count > 0 && failed == 0; count--) {
        failed = skip(r, owner ? 16 + 8 : 16);
        if (failed == 0 && owner)
            failed = skip_lengths(r, 1);
    }
    return failed;
}

static int skip_consumers(struct rdb *r, uint8_t type)
{
    uint64_t count;
    int failed = take_length(r, &count, NULL);
    for (; count > 0 && failed == 0; count--) {
        if ((failed = skip_string(r)) == 0)
            failed = skip(r, type == TYPE_STREAM_3 ? 16 : 8); // seen, active
        if (failed == 0)
            failed = skip_pending(r, false);
    }
    return failed;
}

static int skip_stream(struct rdb *r, uint8_t type)
{
    uint64_t groups = 0;
    int failed = skip_elements(r, 2, 0, false); // master entry, listpack
    if (failed == 0)
        failed = skip_lengths(r, type == TYPE_STREAM ? 3 : 8); // length, last id; first id, highest deleted id, entries added
    if (failed == 0)
        failed = take_length(r, &groups, NULL);
    for (; groups > 0 && failed == 0; groups--) {
        if ((failed = skip_string(r)) == 0)
            failed = skip_lengths(r, type == TYPE_STREAM ? 2 : 3); // last delivered id; entries read
        if (failed == 0)
            failed = skip_pending(r, true);
        if (failed == 0)
            failed = skip_consumers(r, type);
    }
    return failed;
}

// A module's values say what they are.
static int skip_module_values(struct rdb *r)
{
    for (;;) {
        uint64_t opcode;
        int failed = take_length(r, &opcode, NULL);
        if (failed != 0 || opcode == 0)
            return failed;
        switch (opcode) {
        case 1: // signed, unsigned
        case 2:
            failed = skip_lengths(r, 1);
            break;
        case 3: // float, double
        case 4:
            failed = skip(r, opcode == 3 ? 4 : 8);
            break;
        case 5:
            failed = skip_string(r);
            break;
        default:
            return refuse(r, -EBADMSG, "an unknown opcode of a module, %" PRIu64, opcode);
        }
        if (failed != 0)
            return failed;
    }
}

static int skip_module(struct rdb *r)
{
    int failed = skip_lengths(r, 1); // its name
    return failed != 0 ? failed : skip_module_values(r);
}

// The value of a type that is not a string.
static int skip_value(struct rdb *r, uint8_t type, enum rdb_kind *kind)
{
    switch ((enum rdb_type)type) {
    case TYPE_LIST:
    case TYPE_LIST_QUICKLIST:
        *kind = RDB_LIST;
        return skip_elements(r, 1, 0, false);
    case TYPE_LIST_QUICKLIST_2:
        *kind = RDB_LIST;
        return skip_quicklist_2(r);
    case TYPE_LIST_ZIPLIST:
        *kind = RDB_LIST;
        return skip_string(r);
    case TYPE_SET:
        *kind = RDB_SET;
        return skip_elements(r, 1, 0, false);
    case TYPE_SET_INTSET:
    case TYPE_SET_LISTPACK:
        *kind = RDB_SET;
        return skip_string(r);
    case TYPE_ZSET:
        *kind = RDB_ZSET;
        return skip_elements(r, 1, 0, true);
    case TYPE_ZSET_2:
        *kind = RDB_ZSET;
        return skip_elements(r, 1, 8, false);
    case TYPE_ZSET_ZIPLIST:
    case TYPE_ZSET_LISTPACK:
        *kind = RDB_ZSET;
        return skip_string(r);
    case TYPE_HASH:
        *kind = RDB_HASH;
        return skip_elements(r, 2, 0, false);
    case TYPE_HASH_ZIPMAP:
    case TYPE_HASH_ZIPLIST:
    case TYPE_HASH_LISTPACK:
        *kind = RDB_HASH;
        return skip_string(r);
    case TYPE_STREAM:
    case TYPE_STREAM_2:
    case TYPE_STREAM_3:
        *kind = RDB_STREAM;
        return skip_stream(r, type);
    case TYPE_MODULE_2:
        *kind = RDB_MODULE;
        return skip_module(r);
    case TYPE_MODULE:
        return refuse(r, -ENOTSUP, "a module's value that only the module can read");
    case TYPE_STRING:
    default:
        return refuse(r, -ENOTSUP, "type %u, which no server of before RDB version %d writes", type, RDB_VERSION_MAX + 1);
    }
}

// ---- the file

static int begin(struct rdb *r)
{
    int failed = need(r, 9);
    if (failed != 0)
        return failed;
    char head[10] = { 0 };
    memcpy(head, take(r, 9), 9);
    if (memcmp(head, "VALKEY", 6) == 0)
        return refuse(r, -ENOTSUP, "version %.3s of Valkey's own numbering; version %d and older can be read", head + 6, RDB_VERSION_MAX);
    if (memcmp(head, "REDIS", 5) != 0)
        return refuse(r, -EBADMSG, "no RDB file");
    for (int i = 5; i < 9; i++) {
        if (head[i] < '0' || head[i] > '9')
            return refuse(r, -EBADMSG, "no version");
        r->totals.version = r->totals.version * 10 + (uint32_t)(head[i] - '0');
    }
    if (r->totals.version > RDB_VERSION_MAX)
        return refuse(r, -ENOTSUP, "version %u; version %d and older can be read", r->totals.version, RDB_VERSION_MAX);
    r->begun = true;
    return r->totals.version == 0 ? refuse(r, -EBADMSG, "version 0") : 0;
}

static int end(struct rdb *r)
{
    if (r->totals.version >= 5) {
        uint64_t want = r->crc;
        int failed = need(r, 8);
        if (failed != 0)
            return failed;
        uint64_t is = load_u64(take(r, 8));
        r->totals.unchecked = is == 0;
        if (is != 0 && is != want)
            return refuse(r, -EBADMSG, "the checksum does not match");
    }
    int more = source_need(r->source, 1);
    return more == 0 ? refuse(r, -EBADMSG, "bytes behind its end") : more;
}

static int take_deadline(struct rdb *r, size_t bytes)
{
    int failed = need(r, bytes);
    if (failed != 0)
        return failed;
    const uint8_t *at = take(r, bytes);
    int64_t value = bytes == 4 ? (int64_t)(int32_t)load_u32(at) * 1000 : (int64_t)load_u64(at);
    r->deadline_ms = value < 0 ? 0 : value;
    return 0;
}

static int skip_module_aux(struct rdb *r)
{
    r->totals.auxiliary++;
    int failed = skip_lengths(r, 3); // module, opcode and value of when
    return failed != 0 ? failed : skip_module_values(r);
}

// 0: done; 1: the opcode is a type.
static int run_opcode(struct rdb *r, uint8_t opcode)
{
    switch ((enum rdb_opcode)opcode) {
    case OPCODE_SELECTDB:
        return take_length(r, &r->db, NULL);
    case OPCODE_RESIZEDB:
        return skip_lengths(r, 2);
    case OPCODE_SLOT_INFO:
        return skip_lengths(r, 3);
    case OPCODE_AUX:
        return skip_pair(r);
    case OPCODE_EXPIRE_MS:
        return take_deadline(r, 8);
    case OPCODE_EXPIRE:
        return take_deadline(r, 4);
    case OPCODE_IDLE:
        return skip_lengths(r, 1);
    case OPCODE_FREQ:
        return skip(r, 1);
    case OPCODE_FUNCTION2:
        r->totals.functions++;
        return skip_string(r);
    case OPCODE_MODULE_AUX:
        return skip_module_aux(r);
    case OPCODE_FUNCTION_EARLY:
        return refuse(r, -ENOTSUP, "a function of a release candidate of Redis 7");
    case OPCODE_EOF:
    default:
        return 1;
    }
}

int rdb_next(struct rdb *r, struct rdb_entry *out)
{
    int failed = r->begun ? 0 : begin(r);
    while (failed == 0) {
        uint8_t opcode;
        if ((failed = take_byte(r, &opcode)) != 0)
            break;
        if (opcode == OPCODE_EOF)
            return end(r);
        if ((failed = run_opcode(r, opcode)) <= 0)
            continue;
        enum rdb_kind kind = RDB_STRING;
        failed = take_string(r, &r->key);
        if (failed == 0)
            failed = opcode == TYPE_STRING ? take_string(r, &r->value) : skip_value(r, opcode, &kind);
        if (failed != 0)
            break;
        r->totals.keys[kind]++;
        int64_t deadline_ms = r->deadline_ms;
        r->deadline_ms = -1;
        if (kind != RDB_STRING)
            continue;
        *out = (struct rdb_entry){ .db = r->db, .deadline_ms = deadline_ms, .key = buf_view(&r->key), .value = buf_view(&r->value) };
        return 0;
    }
    return failed;
}
