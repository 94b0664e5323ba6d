// SPDX-License-Identifier: Apache-2.0
// Everything here comes from files that anybody may have made: lengths are checked before they are awaited, sums before contents count.
#include <errno.h>
#include <lz4.h>
#include <string.h>

#include "persist/fcw2.h"

#define LZ4_RATIO_MAX 255u // a block cannot say more with one byte

void fcw2_reader_init(struct fcw2_reader *r, struct source *s, const struct crc32_tables *t)
{
    *r = (struct fcw2_reader){ .source = s, .tables = t, .why = "" };
    buf_init(&r->plain, BUF_NO_LIMIT);
}

void fcw2_reader_deinit(struct fcw2_reader *r)
{
    buf_deinit(&r->plain);
}

int fcw2_unpack(struct slice packed, uint64_t max, struct buf *out)
{
    if (packed.len < 4)
        return -EBADMSG;
    uint64_t size = load_u32(packed.data), block = packed.len - 4;
    if (size > max || size > INT32_MAX || block > INT32_MAX || size > block * LZ4_RATIO_MAX)
        return -EBADMSG;
    uint8_t *to = buf_reserve(out, size + 1);
    if (to == NULL)
        return -ENOMEM;
    int got = LZ4_decompress_safe((const char *)packed.data + 4, (char *)to, (int)block, (int)size);
    if (got < 0 || (uint64_t)got != size)
        return -EBADMSG;
    buf_advance(out, size);
    return 0;
}

static int bad(struct fcw2_reader *r, const char *why)
{
    r->why = why;
    return -EBADMSG;
}

// What a need says when a record has begun: its end is not there.
static int cut(struct fcw2_reader *r, int result)
{
    if (result != 1)
        return result;
    r->torn = true;
    return bad(r, "ends inside of a record");
}

// The condition that a record's first 25 bytes violate, or NULL; *len: bytes of the record with its CRC.
static const char *check_head(const uint8_t *p, uint64_t *len)
{
    uint64_t key = load_u32(p + 1), value = load_u32(p + 5);
    if (p[0] < FCW2_SET || p[0] > FCW2_EXPIRE)
        return "an unknown operation";
    if (key > FCW2_PART_MAX || value > FCW2_PART_MAX)
        return "a length beyond 512 MiB";
    if (p[0] != FCW2_SET && value > 0)
        return "a value where none belongs";
    *len = FCW2_RECORD_HEAD + key + value + FCW2_CRC;
    return NULL;
}

static void read_record(const uint8_t *p, struct fcw2_record *out)
{
    size_t key = load_u32(p + 1), value = load_u32(p + 5);
    *out = (struct fcw2_record){
        .op = p[0],
        .timestamp_ms = load_u64(p + 9),
        .deadline_ms = (int64_t)load_u64(p + 17),
        .key = slice_of(p + FCW2_RECORD_HEAD, key),
        .value = slice_of(p + FCW2_RECORD_HEAD + key, value),
    };
}

static bool crc_holds(const struct fcw2_reader *r, const uint8_t *p, size_t len)
{
    return crc32(r->tables, 0, p, len) == load_u32(p + len);
}

// A record that fills `bytes`.
static int parse_whole(struct fcw2_reader *r, struct slice bytes, struct fcw2_record *out)
{
    uint64_t len;
    if (bytes.len < FCW2_RECORD_HEAD + FCW2_CRC)
        return bad(r, "a payload too short for a record");
    const char *why = check_head(bytes.data, &len);
    if (why != NULL)
        return bad(r, why);
    if (len != bytes.len)
        return bad(r, "lengths that do not fill the payload");
    if (!crc_holds(r, bytes.data, bytes.len - FCW2_CRC))
        return bad(r, "a record's checksum");
    read_record(bytes.data, out);
    return 0;
}

static int next_bare(struct fcw2_reader *r, struct fcw2_record *out)
{
    struct source *s = r->source;
    int result = source_need(s, FCW2_RECORD_HEAD);
    if (result == 1 && source_left(s) == 0)
        return 1;
    if (result != 0)
        return cut(r, result);
    uint64_t len;
    const char *why = check_head(source_view(s), &len);
    if (why != NULL)
        return bad(r, why);
    if ((result = source_need(s, len)) != 0)
        return cut(r, result);
    if ((result = parse_whole(r, slice_of(source_view(s), len), out)) == 0)
        source_take(s, len);
    return result;
}

// The window holds the whole frame; 1: an effect, nothing for us.
static int parse_frame(struct fcw2_reader *r, const uint8_t *p, uint32_t payload, struct fcw2_record *out)
{
    if (!crc_holds(r, p, FCW2_HEAD + payload))
        return bad(r, "a frame's checksum");
    struct slice record = slice_of(p + FCW2_HEAD, payload);
    if ((p[4] & ~(FCW2_LZ4 | FCW2_EFFECT)) != 0 || p[4] == (FCW2_LZ4 | FCW2_EFFECT))
        return bad(r, "unknown flags");
    if (p[4] == FCW2_EFFECT)
        return 1;
    if (p[4] == FCW2_LZ4) {
        r->plain.len = 0;
        int failed = fcw2_unpack(record, 2 * (uint64_t)FCW2_PART_MAX + FCW2_RECORD_HEAD + FCW2_CRC, &r->plain);
        if (failed != 0)
            return failed == -EBADMSG ? bad(r, "a payload that does not unpack") : failed;
        record = buf_view(&r->plain);
    }
    return parse_whole(r, record, out);
}

static int next_framed(struct fcw2_reader *r, struct fcw2_record *out)
{
    struct source *s = r->source;
    for (;;) {
        int result = source_need(s, FCW2_HEAD);
        if (result == 1 && source_left(s) == 0)
            return 1;
        if (result != 0)
            return cut(r, result);
        if (memcmp(source_view(s), "FCW2", 4) != 0)
            return bad(r, "no frame where one belongs");
        uint32_t payload = load_u32(source_view(s) + 5);
        if (payload > 2 * (uint64_t)FCW2_PART_MAX)
            return bad(r, "a length beyond 1 GiB");
        size_t len = FCW2_HEAD + (size_t)payload + FCW2_CRC;
        if ((result = source_need(s, len)) != 0)
            return cut(r, result);
        if ((result = parse_frame(r, source_view(s), payload, out)) < 0)
            return result;
        source_take(s, len);
        if (result == 0)
            return 0;
    }
}

int fcw2_reader_next(struct fcw2_reader *r, struct fcw2_record *out)
{
    if (!r->begun) {
        int result = source_need(r->source, 4);
        if (result < 0)
            return result;
        r->framed = result == 0 && memcmp(source_view(r->source), "FCW2", 4) == 0;
        r->begun = true;
    }
    return r->framed ? next_framed(r, out) : next_bare(r, out);
}

// ---- snapshots

static int snapshot_bad(struct fcw2_snapshot *n, int result, const char *why)
{
    n->why = why;
    return result < 0 && result != -EBADMSG ? result : -EBADMSG;
}

int fcw2_snapshot_open(struct fcw2_snapshot *n, struct source *s)
{
    *n = (struct fcw2_snapshot){ .why = "" };
    int result = source_need(s, 28);
    if (result != 0)
        return snapshot_bad(n, result, "ends inside of the head");
    const uint8_t *p = source_view(s);
    if (memcmp(p, "FCSNAP1", 8) != 0)
        return snapshot_bad(n, 0, "no FCSNAP1");
    if (load_u32(p + 8) != 1)
        return snapshot_bad(n, 0, "a version other than 1");
    n->timestamp_ms = load_u64(p + 12);
    n->entries = load_u64(p + 20);
    source_take(s, 28);
    return 0;
}

int fcw2_snapshot_next(struct fcw2_snapshot *n, struct source *s, struct fcw2_record *out)
{
    int result = source_need(s, n->taken < n->entries ? 16 : 1);
    if (n->taken == n->entries)
        return result == 1 ? 1 : snapshot_bad(n, result, "bytes behind its last entry");
    if (result != 0)
        return snapshot_bad(n, result, "ends before its last entry");
    uint64_t key = load_u32(source_view(s)), value = load_u32(source_view(s) + 4), deadline = load_u64(source_view(s) + 8);
    if (key > FCW2_PART_MAX || value > FCW2_PART_MAX)
        return snapshot_bad(n, 0, "a length beyond 512 MiB");
    if ((result = source_need(s, 16 + key + value)) != 0)
        return snapshot_bad(n, result, "ends inside of an entry");
    const uint8_t *p = source_view(s) + 16;
    *out =
        (struct fcw2_record){ .op = FCW2_SET, .timestamp_ms = n->timestamp_ms, .key = slice_of(p, key), .value = slice_of(p + key, value) };
    out->deadline_ms = deadline == UINT64_MAX ? -1 : deadline > INT64_MAX ? INT64_MAX : (int64_t)deadline;
    source_take(s, 16 + key + value);
    n->taken++;
    return 0;
}

// ---- names

static bool take_text(const char **at, const char *text)
{
    size_t len = strlen(text);
    if (strncmp(*at, text, len) != 0)
        return false;
    *at += len;
    return true;
}

static bool take_number(const char **at, uint32_t digits_max, uint64_t *out)
{
    uint32_t digits = 0;
    *out = 0;
    for (; **at >= '0' && **at <= '9' && digits < digits_max; (*at)++, digits++)
        if (!size_mul(*out, 10, out) || !size_add(*out, (uint64_t)(**at - '0'), out))
            return false;
    return digits > 0;
}

bool fcw2_segment_name(const char *name, uint64_t *number)
{
    uint64_t time;
    if (!take_text(&name, "segment-") || !take_number(&name, 20, number) || !take_text(&name, "-") || !take_number(&name, 20, &time))
        return false;
    return take_text(&name, ".wal") && (*name == '\0' || strcmp(name, ".lz4") == 0);
}

bool fcw2_snapshot_name(const char *name, uint64_t *time_ms, bool *packed)
{
    if (!take_text(&name, "snapshot-") || !take_number(&name, 20, time_ms) || !take_text(&name, ".bin"))
        return false;
    *packed = strcmp(name, ".lz4") == 0;
    return *packed || *name == '\0';
}
