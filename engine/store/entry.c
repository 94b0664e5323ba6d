// SPDX-License-Identifier: Apache-2.0
#include "engine/store/entry.h"

#include "engine/store/slab.h"

static_assert(ENTRY_STREAM < SLAB_FREE_MARK, "a live entry's type is never the mark of a free slot");
static_assert(ENTRY_KEY_INLINE + 64 < SLAB_SLOT_MAX, "an inline key fits a slot");

#define INDEX_SHARE 6 // bytes: 5 1/3 per place at 0.8 to 0.92 of them taken

static size_t blob_bytes(const struct blob *b)
{
    return b == NULL ? 0 : sizeof *b + b->cap;
}

size_t entry_memory(const struct entry *e)
{
    size_t slot = entry_head_len(e) + entry_key_len(e);
    if (entry_form(e) != ENTRY_OUTSIDE)
        slot += entry_value(e).len;
    else if (entry_key_blob(e) != NULL)
        slot = entry_head_len(e) + 8;
    return slab_round(slot) + INDEX_SHARE + blob_bytes(entry_blob(e)) + blob_bytes(entry_key_blob(e));
}

bool entry_deadline_wide(int64_t deadline_ms)
{
    return deadline_ms < ENTRY_EPOCH || deadline_ms - ENTRY_EPOCH >= (int64_t)ENTRY_WIDE;
}

void entry_plan(struct entry_plan *plan, bool outside)
{
    uint32_t extra = plan->recency_len;
    if (plan->deadline != ENTRY_NO_DEADLINE)
        extra += entry_deadline_wide(plan->deadline) ? 13 : 5;
    size_t body = plan->key_len + plan->value_len;
    if (outside || plan->value_len >= BLOB_MIN || plan->key_len > ENTRY_KEY_INLINE || body + extra + 5 > SLAB_SLOT_MAX)
        plan->form = ENTRY_OUTSIDE;
    else if (plan->key_len > 255 || plan->key_len + ENTRY_LENGTHS_LEN[ENTRY_SHORT] < SLAB_LIMBO)
        plan->form = ENTRY_LONG; // header and key are at least what a slot in limbo overwrites
    else
        plan->form = plan->value_len > 255 ? ENTRY_MEDIUM : ENTRY_SHORT;
    plan->head_len = ENTRY_LENGTHS_LEN[plan->form] + extra;
    if (plan->form == ENTRY_OUTSIDE)
        body = plan->key_len > ENTRY_KEY_INLINE ? 8 : plan->key_len;
    plan->size = plan->head_len + body;
}

static void write_lengths(struct entry *e, const struct entry_plan *plan)
{
    switch (plan->form) {
    case ENTRY_SHORT:
        e->rest[0] = (uint8_t)plan->key_len;
        e->rest[1] = (uint8_t)plan->value_len;
        break;
    case ENTRY_MEDIUM:
        e->rest[0] = (uint8_t)plan->key_len;
        store_u16(e->rest + 1, (uint16_t)plan->value_len);
        break;
    case ENTRY_LONG:
        store_u16(e->rest, (uint16_t)plan->key_len);
        store_u16(e->rest + 2, (uint16_t)plan->value_len);
        break;
    case ENTRY_OUTSIDE:
        store_u32(e->rest, (uint32_t)plan->key_len);
        break;
    }
}

void entry_write_head(struct entry *e, const struct entry_plan *plan)
{
    uint32_t head = (uint32_t)plan->type | (uint32_t)plan->form << 4;
    if (plan->deadline != ENTRY_NO_DEADLINE)
        head |= ENTRY_HEAD_DEADLINE;
    if (plan->recency_len > 0)
        head |= ENTRY_HEAD_RECENCY;
    e->head = (uint8_t)head;
    write_lengths(e, plan);
    if (plan->recency_len == 1)
        *entry_recency(e) = (uint8_t)plan->recency;
    else if (plan->recency_len == 3)
        entry_recency_store(entry_recency(e), plan->recency);
    if (plan->deadline != ENTRY_NO_DEADLINE)
        entry_write_deadline(e, plan->deadline);
}

void entry_write_deadline(struct entry *e, int64_t deadline_ms)
{
    uint8_t *at = (uint8_t *)e + entry_deadline_at(e);
    if (!entry_deadline_wide(deadline_ms)) {
        store_u40(at, (uint64_t)(deadline_ms - ENTRY_EPOCH));
        return;
    }
    store_u40(at, ENTRY_WIDE);
    store_u64(at + 5, (uint64_t)deadline_ms);
}

bool entry_own_blob(struct entry *e)
{
    struct blob *old = entry_blob(e);
    assert(old != NULL);
    struct blob *copy = blob_clone(old);
    if (copy == NULL)
        return false;
    store_u64(e->rest + 4, (uint64_t)(uintptr_t)copy);
    blob_free(old);
    return true;
}
