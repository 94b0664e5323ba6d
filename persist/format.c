// SPDX-License-Identifier: Apache-2.0
// The tables of offsets are in format.h. Decoders look at every length before they use it; what they are given may be anything.
#include "persist/format.h"

#include <errno.h>
#include <inttypes.h>

#include "base/bytes.h"

static const char SEGMENT_MAGIC[8] = { 'S', 'K', 'R', 'Y', 'L', 'O', 'G', '1' };
static const char FRAME_MAGIC[4] = { 'S', 'K', 'R', 'F' };
static const char NAME_FRONT[] = "log-", NAME_BACK[] = ".skry";

enum { FORMAT = 1, NAME_DIGITS = 20 };
enum { CHAIN_FLAGS = FRAME_FIRST | FRAME_MIDDLE | FRAME_LAST, ALONE_FLAGS = FRAME_SEAL | FRAME_CLEAN_STOP };
enum { FRAME_FLAGS = CHAIN_FLAGS | ALONE_FLAGS | FRAME_TXN, RECORD_FLAGS = RECORD_DEADLINE | RECORD_MARK | RECORD_TYPE };

// CRC of a block with the four bytes at `at` read as zero.
static uint32_t block_crc(const uint8_t *block, size_t at)
{
    static const uint8_t ZEROS[4];
    uint32_t crc = crc32c(0, block, at);
    crc = crc32c(crc, ZEROS, sizeof ZEROS);
    return crc32c(crc, block + at + 4, BLOCK_SIZE - at - 4);
}

// ---- segments

void segment_encode(const struct segment_header *h, uint8_t block[BLOCK_SIZE])
{
    memset(block, 0, BLOCK_SIZE);
    memcpy(block, SEGMENT_MAGIC, 8);
    store_u32(block + 8, FORMAT);
    memcpy(block + 16, h->store.bytes, 16);
    store_u64(block + 32, h->id);
    store_u64(block + 40, h->epoch);
    store_u64(block + 48, h->first_lsn);
    memcpy(block + 56, h->history.bytes, 16);
    store_u64(block + 72, h->previous_id);
    store_u64(block + 80, h->previous_lsn);
    store_u32(block + 88, h->previous_crc);
    store_u32(block + 92, BLOCK_SIZE);
    store_u64(block + 96, h->size);
    store_u32(block + 104, h->shards);
    store_u32(block + 12, block_crc(block, 12));
}

static const char *header_fault(const struct segment_header *h, const uint8_t *block)
{
    if (memcmp(block, SEGMENT_MAGIC, 8) != 0)
        return "magic";
    if (load_u32(block + 8) != FORMAT)
        return "format";
    if (load_u32(block + 12) != block_crc(block, 12))
        return "checksum";
    if (load_u32(block + 92) != BLOCK_SIZE)
        return "block size";
    if (h->size % BLOCK_SIZE != 0 || h->size < 4 * BLOCK_SIZE)
        return "segment size";
    if (!is_power_of_two(h->shards) || h->shards > SHARDS_MAX)
        return "shard count";
    if (h->id == 0)
        return "id";
    return NULL;
}

int segment_decode(struct segment_header *h, const uint8_t block[BLOCK_SIZE], const char **why)
{
    memcpy(h->store.bytes, block + 16, 16);
    memcpy(h->history.bytes, block + 56, 16);
    h->id = load_u64(block + 32);
    h->epoch = load_u64(block + 40);
    h->first_lsn = load_u64(block + 48);
    h->previous_id = load_u64(block + 72);
    h->previous_lsn = load_u64(block + 80);
    h->previous_crc = load_u32(block + 88);
    h->size = load_u64(block + 96);
    h->shards = load_u32(block + 104);
    *why = header_fault(h, block);
    return *why == NULL ? 0 : -EBADMSG;
}

void segment_name(uint64_t id, char name[SEGMENT_NAME_MAX])
{
    snprintf(name, SEGMENT_NAME_MAX, "%s%0*" PRIu64 "%s", NAME_FRONT, NAME_DIGITS, id, NAME_BACK);
}

uint64_t segment_id_of(const char *name)
{
    size_t front = sizeof NAME_FRONT - 1;
    if (strlen(name) != front + NAME_DIGITS + sizeof NAME_BACK - 1 || memcmp(name, NAME_FRONT, front) != 0)
        return 0;
    if (strcmp(name + front + NAME_DIGITS, NAME_BACK) != 0)
        return 0;
    uint64_t id = 0;
    for (const char *digit = name + front; digit < name + front + NAME_DIGITS; digit++) {
        if (*digit < '0' || *digit > '9')
            return 0;
        if (!size_mul(id, 10, &id) || !size_add(id, (uint64_t)(*digit - '0'), &id))
            return 0;
    }
    return id;
}

// ---- frames

static uint32_t place_crc(const struct frame_place *place)
{
    uint8_t bytes[40];
    memcpy(bytes, place->store->bytes, 16);
    store_u64(bytes + 16, place->segment);
    store_u64(bytes + 24, place->epoch);
    store_u64(bytes + 32, place->offset);
    return crc32c(0, bytes, sizeof bytes);
}

void frame_encode(struct frame_head *h, const struct frame_place *place, uint8_t *frame, uint32_t parts_crc)
{
    h->blocks = (uint16_t)frame_blocks(h->payload);
    assert(h->blocks >= 1 && frame_blocks(h->payload) <= FRAME_BLOCKS_MAX && h->lsn > 0 && h->durable < h->lsn);
    memcpy(frame, FRAME_MAGIC, 4);
    store_u32(frame + 4, 0);
    store_u32(frame + 8, h->payload);
    store_u16(frame + 12, h->blocks);
    store_u16(frame + 14, h->flags);
    store_u64(frame + 16, h->lsn);
    store_u64(frame + 24, h->durable);
    store_u32(frame + 32, h->previous_crc);
    store_u32(frame + 36, h->batches);
    store_u64(frame + 40, h->epoch);
    store_u64(frame + 48, (uint64_t)h->made_ms);
    uint8_t *padding = frame + FRAME_HEAD + h->payload;
    size_t padding_len = (size_t)h->blocks * BLOCK_SIZE - FRAME_HEAD - h->payload;
    memset(padding, 0, padding_len);
    uint32_t crc = crc32c(place_crc(place), frame, FRAME_HEAD);
    crc = crc32c_join(crc, parts_crc, h->payload);
    h->crc = crc32c(crc, padding, padding_len);
    store_u32(frame + 4, h->crc);
}

static bool frame_flags_fit(const struct frame_head *h)
{
    uint32_t chain = h->flags & CHAIN_FLAGS, alone = h->flags & ALONE_FLAGS;
    if ((h->flags & ~FRAME_FLAGS) != 0 || (chain & (chain - 1)) != 0)
        return false;
    return alone == 0 || ((h->flags & (h->flags - 1)) == 0 && h->payload == 0);
}

int frame_peek(struct frame_head *h, const uint8_t head[FRAME_HEAD], uint64_t epoch)
{
    h->crc = load_u32(head + 4);
    h->payload = load_u32(head + 8);
    h->blocks = load_u16(head + 12);
    h->flags = load_u16(head + 14);
    h->lsn = load_u64(head + 16);
    h->durable = load_u64(head + 24);
    h->previous_crc = load_u32(head + 32);
    h->batches = load_u32(head + 36);
    h->epoch = load_u64(head + 40);
    h->made_ms = (int64_t)load_u64(head + 48);
    if (memcmp(head, FRAME_MAGIC, 4) != 0 || h->epoch != epoch)
        return -EBADMSG;
    if (h->blocks < 1 || h->blocks > FRAME_BLOCKS_MAX || h->blocks != frame_blocks(h->payload))
        return -EBADMSG;
    if (h->durable >= h->lsn || !frame_flags_fit(h)) // LSN 0 has no durable LSN below it
        return -EBADMSG;
    return 0;
}

int frame_verify(const struct frame_head *h, const struct frame_place *place, const uint8_t *frame)
{
    uint8_t head[FRAME_HEAD];
    size_t len = (size_t)h->blocks * BLOCK_SIZE;
    memcpy(head, frame, FRAME_HEAD);
    store_u32(head + 4, 0);
    uint32_t crc = crc32c(place_crc(place), head, FRAME_HEAD);
    if (crc32c(crc, frame + FRAME_HEAD, len - FRAME_HEAD) != h->crc)
        return -EBADMSG;
    for (size_t at = FRAME_HEAD + h->payload; at < len; at++) {
        if (frame[at] != 0)
            return -EBADMSG;
    }
    return 0;
}

// ---- sub-batches and records

int sub_batch_next(struct sub_batch *b, const uint8_t **at, uint64_t *left)
{
    if (*left == 0)
        return 1;
    if (*left < SUB_BATCH_HEAD)
        return -EBADMSG;
    b->shard = load_u16(*at);
    b->count = load_u16(*at + 2);
    b->bytes = load_u32(*at + 4);
    b->first = load_u64(*at + 8);
    b->records = *at + SUB_BATCH_HEAD;
    if (b->bytes > *left - SUB_BATCH_HEAD || b->shard >= SHARDS_MAX || b->count == 0)
        return -EBADMSG;
    if (b->first == 0 || b->first > UINT64_MAX - b->count)
        return -EBADMSG;
    *at += SUB_BATCH_HEAD + b->bytes;
    *left -= SUB_BATCH_HEAD + b->bytes;
    return 0;
}

void sub_batch_encode(const struct sub_batch *b, uint8_t to[SUB_BATCH_HEAD])
{
    store_u16(to, b->shard);
    store_u16(to + 2, b->count);
    store_u32(to + 4, b->bytes);
    store_u64(to + 8, b->first);
}

static bool contents_fit(const struct record *r)
{
    switch (r->op) {
    case RECORD_SET:
        return r->value.len <= RECORD_VALUE_MAX;
    case RECORD_EFFECT:
        return r->value.len <= RECORD_ARGS_MAX;
    case RECORD_DELETE:
    case RECORD_EXPIRE:
        return r->value.len == 0;
    default:
        return false;
    }
}

// Key and value from the `len` bytes behind the head and deadline.
static bool record_split(struct record *r, const uint8_t *body, uint64_t len)
{
    if (len < 4)
        return false;
    uint32_t key_len = load_u32(body);
    if (key_len > len - 4 || key_len > RECORD_KEY_MAX)
        return false;
    r->key = slice_of(body + 4, key_len);
    r->value = slice_of(body + 4 + key_len, len - 4 - key_len);
    return contents_fit(r);
}

int record_next(struct record *r, const struct sub_batch *b, const uint8_t **at, uint32_t *taken)
{
    const uint8_t *record = *at;
    size_t left = (size_t)(b->records + b->bytes - record);
    if (*taken == b->count)
        return left == 0 ? 1 : -EBADMSG;
    if (left < RECORD_HEAD)
        return -EBADMSG;
    uint64_t size = load_u32(record), front = RECORD_HEAD - 4;
    r->op = record[4];
    r->flags = record[5];
    r->db = load_u16(record + 6);
    if (size > left || (r->flags & ~RECORD_FLAGS) != 0 || load_u32(record + 8) != *taken)
        return -EBADMSG;
    r->sequence = b->first + *taken;
    r->deadline_ms = -1;
    if (r->flags & RECORD_DEADLINE) {
        if (size < RECORD_HEAD + 8)
            return -EBADMSG;
        r->deadline_ms = (int64_t)load_u64(record + front);
        if (r->deadline_ms < 0)
            return -EBADMSG;
        front += 8;
    }
    if (size < front || !record_split(r, record + front, size - front))
        return -EBADMSG;
    *at += size;
    ++*taken;
    return 0;
}

uint64_t record_size(const struct record *r)
{
    return RECORD_HEAD + (r->deadline_ms >= 0 ? 8 : 0) + (uint64_t)r->key.len + r->value.len;
}

void record_encode(const struct record *r, uint64_t first, uint8_t *to)
{
    bool deadline = r->deadline_ms >= 0;
    assert(r->key.len <= RECORD_KEY_MAX && r->value.len <= RECORD_ARGS_MAX);
    store_u32(to, (uint32_t)record_size(r));
    to[4] = r->op;
    to[5] = (uint8_t)((r->flags & ~RECORD_DEADLINE) | (deadline ? RECORD_DEADLINE : 0));
    store_u16(to + 6, r->db);
    store_u32(to + 8, (uint32_t)(r->sequence - first));
    uint8_t *body = to + RECORD_HEAD - 4;
    if (deadline) {
        store_u64(body, (uint64_t)r->deadline_ms);
        body += 8;
    }
    store_u32(body, (uint32_t)r->key.len);
    body += 4;
    copy_short(body, r->key.data, r->key.len);
    copy_short(body + r->key.len, r->value.data, r->value.len);
}

bool record_rewrite(const struct record *r, uint8_t *at)
{
    const uint8_t *body = at + RECORD_HEAD - 4 + ((at[5] & RECORD_DEADLINE) != 0 ? 8 : 0);
    if (load_u32(at) != record_size(r) || at[4] != r->op || load_u16(at + 6) != r->db || load_u32(body) != r->key.len)
        return false;
    if (r->key.len > 0 && memcmp(body + 4, r->key.data, r->key.len) != 0)
        return false;
    struct record same = *r;
    same.sequence = load_u32(at + 8);
    record_encode(&same, 0, at);
    return true;
}

int effect_args(struct slice value, struct slice *argv, uint32_t max)
{
    const uint8_t *at = value.data;
    size_t left = value.len;
    if (left < 4)
        return -EBADMSG;
    uint32_t count = load_u32(at);
    if (count > max || count > INT32_MAX)
        return -EBADMSG;
    at += 4;
    left -= 4;
    for (uint32_t i = 0; i < count; i++) {
        if (left < 4)
            return -EBADMSG;
        uint32_t len = load_u32(at);
        at += 4;
        left -= 4;
        if (len > left)
            return -EBADMSG;
        argv[i] = slice_of(at, len);
        at += len;
        left -= len;
    }
    return left == 0 ? (int)count : -EBADMSG;
}
