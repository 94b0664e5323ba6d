// SPDX-License-Identifier: Apache-2.0
// One key with its value, header and optional deadline, in a slab slot. Opaque but for these views; an entry pointer is valid
// until the next change of its keyspace (a change may move it).
//
//   | head | lengths | recency 1 or 3 | deadline 5 (+8) | key | value |
//            2, 3, 4 or 12 bytes by form; recency only under an eviction policy; deadline only where there is one
//
//   head bit   meaning
//   0-2        type (7 = the slot is free)
//   3          mark
//   4-5        form of the lengths
//   6          has a deadline
//   7          has recency
//
//   form       lengths                            for
//   SHORT      key u8, value u8                   header of 3 bytes; key of two bytes or more (SLAB_LIMBO)
//   MEDIUM     key u8, value u16
//   LONG       key u16, value u16                 all that fits a slot
//   OUTSIDE    key u32, value's blob pointer      the key in the slot, or a blob pointer when it is longer than ENTRY_KEY_INLINE
//
//   recency    bit 7 of the first byte clear: that byte is all, and S3-FIFO's (s3fifo.h). Set: 23 bits of a sampled policy (evict.h).
//              An entry keeps what the policy of its time gave it until it is written again.
//   deadline   40 bits: bits 0-38 ms since ENTRY_EPOCH, bit 39 the deadline wheel's own mark. The largest value (ENTRY_WIDE) says
//              that 8 bytes follow with the Unix ms as they are: any deadline is kept exactly.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/prefetch.h"
#include "base/slice.h"
#include "engine/store/blob.h"

struct entry {
    uint8_t head;
    uint8_t rest[];
};

// Stored in the entry header: 3 bits.
enum entry_type { ENTRY_STRING, ENTRY_LIST, ENTRY_SET, ENTRY_SORTED_SET, ENTRY_HASH, ENTRY_STREAM };

#define ENTRY_NO_DEADLINE INT64_C(-1)

// Views

static inline struct slice entry_key(const struct entry *e);
// Contiguous, whatever the size.
static inline struct slice entry_value(const struct entry *e);
// The same bytes to change in place (not their number). When a reader has pinned a large value, it is copied first and the
// reader keeps the old bytes: NULL when there is no memory for that, never otherwise.
static inline uint8_t *entry_value_bytes(struct entry *e);
static inline enum entry_type entry_type(const struct entry *e);
// Unix ms, or ENTRY_NO_DEADLINE.
static inline int64_t entry_deadline(const struct entry *e);
// A bit for the type's own use: strings note here that they were changed in place (OBJECT ENCODING raw).
static inline bool entry_mark(const struct entry *e);
static inline void entry_set_mark(struct entry *e, bool mark);
// The pages of a large value, NULL for one in a slot; for replies that send them without a copy (blob_pin).
static inline struct blob *entry_blob(const struct entry *e);
// All bytes this entry occupies: slot, index share and large value.
size_t entry_memory(const struct entry *e);

// Inside the store

enum entry_form { ENTRY_SHORT, ENTRY_MEDIUM, ENTRY_LONG, ENTRY_OUTSIDE };

#define ENTRY_HEAD_TYPE     0x07u
#define ENTRY_HEAD_MARK     0x08u
#define ENTRY_HEAD_FORM     0x30u
#define ENTRY_HEAD_DEADLINE 0x40u
#define ENTRY_HEAD_RECENCY  0x80u

#define ENTRY_KEY_INLINE 32768u                    // longer keys are blobs
#define ENTRY_EPOCH      INT64_C(1704067200000)    // 2024-01-01; 39 bits reach 2041
#define ENTRY_WIDE       ((UINT64_C(1) << 39) - 1) // 39 one bits
#define ENTRY_FILED      (UINT64_C(1) << 39)

#define ENTRY_RECENCY_LONG 0x80u // in its first byte: two more follow
#define ENTRY_RECENCY_BITS 23

// Bytes before the key by the upper four bits of the head (form, deadline, recency), wide deadlines and long recency apart.
static const uint8_t ENTRY_HEAD_LEN[16] = { 3, 4, 5, 13, 8, 9, 10, 18, 4, 5, 6, 14, 9, 10, 11, 19 };
static const uint8_t ENTRY_LENGTHS_LEN[4] = { 3, 4, 5, 13 };

// Asks for header and key: of a usual length, and wherever the entry begins in its line.
static inline void entry_prefetch(const void *e)
{
    prefetch(e);
    prefetch((const uint8_t *)e + 24);
}

static inline enum entry_form entry_form(const struct entry *e)
{
    return (enum entry_form)((e->head & ENTRY_HEAD_FORM) >> 4);
}

// The value of a small entry, whose address would wait for the header: the second line, and the third one when it begins near the end of
// its first.
static inline void entry_prefetch_value(const void *e)
{
    prefetch((const uint8_t *)e + 64);
    prefetch((const uint8_t *)e + 88);
}

static inline void entry_prefetch_small(const struct entry *e)
{
    prefetch(e);
    entry_prefetch_value(e);
}

// Where the recency is, or would be.
static inline uint8_t *entry_recency(const struct entry *e)
{
    return (uint8_t *)(uintptr_t)e + ENTRY_LENGTHS_LEN[entry_form(e)];
}

// Bytes of recency: 0, 1 or 3.
static inline uint32_t entry_recency_len(const struct entry *e)
{
    if ((e->head & ENTRY_HEAD_RECENCY) == 0)
        return 0;
    return (*entry_recency(e) & ENTRY_RECENCY_LONG) != 0 ? 3 : 1;
}

static inline uint32_t entry_recency_load(const uint8_t *at)
{
    return (at[0] & ~ENTRY_RECENCY_LONG) | (uint32_t)load_u16(at + 1) << 7;
}

static inline void entry_recency_store(uint8_t *at, uint32_t field)
{
    at[0] = (uint8_t)(field | ENTRY_RECENCY_LONG);
    store_u16(at + 1, (uint16_t)(field >> 7));
}

static inline uint32_t entry_deadline_at(const struct entry *e)
{
    return ENTRY_LENGTHS_LEN[entry_form(e)] + entry_recency_len(e);
}

static inline size_t entry_head_len(const struct entry *e)
{
    size_t len = ENTRY_HEAD_LEN[e->head >> 4];
    if (unlikely((e->head & (ENTRY_HEAD_DEADLINE | ENTRY_HEAD_RECENCY)) != 0)) {
        if ((e->head & ENTRY_HEAD_RECENCY) != 0 && (*entry_recency(e) & ENTRY_RECENCY_LONG) != 0)
            len += 2;
        if ((e->head & ENTRY_HEAD_DEADLINE) != 0 && unlikely((load_u40((const uint8_t *)e + len - 5) & ENTRY_WIDE) == ENTRY_WIDE))
            len += 8;
    }
    return len;
}

static inline size_t entry_key_len(const struct entry *e)
{
    enum entry_form form = entry_form(e);
    if (likely(form < ENTRY_LONG))
        return e->rest[0];
    return form == ENTRY_LONG ? load_u16(e->rest) : load_u32(e->rest);
}

static inline struct blob *entry_pointer(const void *at)
{
    return (struct blob *)(uintptr_t)load_u64(at); // NOLINT: stored by entry_write
}

static inline struct blob *entry_blob(const struct entry *e)
{
    return entry_form(e) == ENTRY_OUTSIDE ? entry_pointer(e->rest + 4) : NULL;
}

static inline struct blob *entry_key_blob(const struct entry *e)
{
    if (entry_form(e) != ENTRY_OUTSIDE || load_u32(e->rest) <= ENTRY_KEY_INLINE)
        return NULL;
    return entry_pointer((const uint8_t *)e + entry_head_len(e));
}

static inline struct slice entry_key(const struct entry *e)
{
    const uint8_t *key = (const uint8_t *)e + entry_head_len(e);
    size_t len = entry_key_len(e);
    if (unlikely(len > ENTRY_KEY_INLINE && entry_form(e) == ENTRY_OUTSIDE))
        key = entry_pointer(key)->data;
    return slice_of(key, len);
}

static inline struct slice entry_value(const struct entry *e)
{
    enum entry_form form = entry_form(e);
    const uint8_t *key = (const uint8_t *)e + entry_head_len(e);
    if (likely(form == ENTRY_SHORT))
        return slice_of(key + e->rest[0], e->rest[1]);
    if (form == ENTRY_MEDIUM)
        return slice_of(key + e->rest[0], load_u16(e->rest + 1));
    if (form == ENTRY_LONG)
        return slice_of(key + load_u16(e->rest), load_u16(e->rest + 2));
    const struct blob *b = entry_pointer(e->rest + 4);
    return slice_of(b->data, b->len);
}

// The value's pages, alone in the entry's hands. False: out of memory.
bool entry_own_blob(struct entry *e) warn_unused;

static inline uint8_t *entry_value_bytes(struct entry *e)
{
    if (unlikely(entry_form(e) == ENTRY_OUTSIDE)) {
        if (blob_pinned(entry_pointer(e->rest + 4)) && !entry_own_blob(e))
            return NULL;
        return entry_pointer(e->rest + 4)->data;
    }
    return (uint8_t *)e + (size_t)(entry_value(e).data - (const uint8_t *)e);
}

static inline enum entry_type entry_type(const struct entry *e)
{
    return (enum entry_type)(e->head & ENTRY_HEAD_TYPE);
}

static inline int64_t entry_deadline(const struct entry *e)
{
    if (likely((e->head & ENTRY_HEAD_DEADLINE) == 0))
        return ENTRY_NO_DEADLINE;
    const uint8_t *at = (const uint8_t *)e + entry_deadline_at(e);
    uint64_t field = load_u40(at) & ENTRY_WIDE;
    return likely(field != ENTRY_WIDE) ? ENTRY_EPOCH + (int64_t)field : (int64_t)load_u64(at + 5);
}

static inline bool entry_expired(const struct entry *e, int64_t now_ms)
{
    return unlikely((e->head & ENTRY_HEAD_DEADLINE) != 0) && entry_deadline(e) <= now_ms;
}

static inline bool entry_mark(const struct entry *e)
{
    return (e->head & ENTRY_HEAD_MARK) != 0;
}

static inline void entry_set_mark(struct entry *e, bool mark)
{
    e->head = (uint8_t)((e->head & ~ENTRY_HEAD_MARK) | (mark ? ENTRY_HEAD_MARK : 0));
}

// What an entry will look like.
struct entry_plan {
    size_t key_len;
    size_t value_len;
    int64_t deadline;
    uint32_t recency; // a byte, or ENTRY_RECENCY_BITS bits
    enum entry_type type;
    enum entry_form form;
    uint8_t recency_len; // 0, 1 or 3
    uint32_t head_len;
    size_t size; // of the slot
};

// Chooses form and size from the lengths, deadline and recency_len; `outside` = the value is a blob already.
void entry_plan(struct entry_plan *plan, bool outside);
// The header; the key and the value are the caller's to write behind it.
void entry_write_head(struct entry *e, const struct entry_plan *plan);
void entry_write_deadline(struct entry *e, int64_t deadline_ms);
bool entry_deadline_wide(int64_t deadline_ms);
