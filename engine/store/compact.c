// SPDX-License-Identifier: Apache-2.0
// Whoever keeps references to entries: the index (changed here), the deadline wheel (gets a new record; the old one says nothing
// any more), the eviction pool (checks what it holds), S3-FIFO's queues (the entry goes to the end of its queue).
#include "engine/store/compact.h"

#include <string.h>

#include "engine/store/inside.h"

// Entries touched that take as long as moving one: to find it, and its bytes.
#define COMPACT_COST  4u
#define COMPACT_BYTES 4096u // one more for so many

static uint32_t move_cost(const struct store *s, uint32_t ref)
{
    return ref == 0 ? COMPACT_COST : COMPACT_COST + slab_slot_size(&s->world.slabs, ref) / COMPACT_BYTES;
}

static bool move_entry(struct store *s, uint32_t ref)
{
    struct slabs *slabs = &s->world.slabs;
    const struct entry *e = store_entry(s, ref);
    int64_t deadline = entry_deadline(e);
    struct owner o = store_owner(s, ref);
    if (o.keyspace == NULL || (deadline != ENTRY_NO_DEADLINE && deadline_make_room(&s->deadlines) != 0))
        return false;
    bool tracked = s3fifo_tracks(&s->s3fifo, e), listed = s->s3fifo.on && s3fifo_wants(&s->s3fifo, deadline);
    if (listed && s3fifo_make_room(&s->s3fifo) != 0)
        return false;
    uint32_t size = slab_slot_size(slabs, ref);
    uint32_t moved = slab_take(slabs, SLAB_ENTRY, size);
    if (moved == 0)
        return false;
    memcpy(store_entry(s, moved), e, size);
    o.spot.bucket->refs[o.spot.slot] = moved;
    if (deadline != ENTRY_NO_DEADLINE) {
        entry_write_deadline(store_entry(s, moved), deadline); // without the wheel's mark
        deadline_add(&s->deadlines, moved, deadline);
    }
    if (tracked) {
        s3fifo_admit(s, moved, o.hash, *entry_recency(e));
        s3fifo_forget(s, e);
    } else if (listed) {
        s3fifo_adopt(s, moved);
    }
    slab_give(slabs, ref);
    return true;
}

bool compact_some(struct store *s, uint32_t *budget)
{
    struct slabs *slabs = &s->world.slabs;
    while (*budget > 0) {
        if (!slab_drain_begin(slabs))
            return false;
        uint32_t ref = slab_drain_next(slabs);
        uint32_t cost = move_cost(s, ref);
        *budget -= *budget < cost ? *budget : cost;
        if (ref != 0 && !move_entry(s, ref))
            return false;
    }
    return true;
}
