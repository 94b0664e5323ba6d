// SPDX-License-Identifier: Apache-2.0
#include "persist/fcw2.h"

#include <string.h>

static void put_head(uint8_t *to, uint8_t flags, uint64_t payload)
{
    memcpy(to, "FCW2", 4);
    to[4] = flags;
    store_u32(to + 5, (uint32_t)payload);
}

static void put_crc(const struct crc32_tables *t, uint8_t *from, size_t len)
{
    store_u32(from + len, crc32(t, 0, from, len));
}

static uint8_t *put_bytes(uint8_t *to, struct slice bytes)
{
    if (bytes.len > 0)
        memcpy(to, bytes.data, bytes.len);
    return to + bytes.len;
}

void fcw2_frame_encode(const struct crc32_tables *t, const struct fcw2_record *r, uint8_t *to)
{
    assert(r->key.len <= FCW2_PART_MAX && r->value.len <= FCW2_PART_MAX);
    size_t len = FCW2_RECORD_HEAD + r->key.len + r->value.len;
    uint8_t *record = to + FCW2_HEAD;
    put_head(to, 0, len + FCW2_CRC);
    record[0] = r->op;
    store_u32(record + 1, (uint32_t)r->key.len);
    store_u32(record + 5, (uint32_t)r->value.len);
    store_u64(record + 9, r->timestamp_ms);
    store_u64(record + 17, (uint64_t)r->deadline_ms);
    put_bytes(put_bytes(record + FCW2_RECORD_HEAD, r->key), r->value);
    put_crc(t, record, len);
    put_crc(t, to, FCW2_HEAD + len + FCW2_CRC);
}

void fcw2_effect_encode(const struct crc32_tables *t, const struct fcw2_effect *e, uint8_t *to)
{
    size_t len = FCW2_EFFECT_HEAD + e->key.len + e->argv.len;
    uint8_t *record = to + FCW2_HEAD;
    put_head(to, FCW2_EFFECT, len);
    store_u32(record, e->shard);
    store_u64(record + 4, e->sequence);
    store_u64(record + 12, e->timestamp_ms);
    record[20] = 4;
    store_u64(record + 21, e->hash);
    store_u64(record + 29, e->hash >> 56);
    store_u64(record + 37, UINT64_MAX);
    store_u32(record + 45, (uint32_t)e->key.len);
    store_u32(record + 49, (uint32_t)e->argv.len);
    put_bytes(put_bytes(record + FCW2_EFFECT_HEAD, e->key), e->argv);
    put_crc(t, to, FCW2_HEAD + len);
}
