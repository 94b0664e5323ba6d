// SPDX-License-Identifier: Apache-2.0
// Records of shards that take turns: each shard's are one sub-batch, in their order, and what they make of another store is the same.
#include "engine/shard/effects_lanes.h"

#include <stdio.h>

#include "engine/shard/effects_records.h"
#include "test/unit/shard/rig.h"

#define VALUE 400 // bytes; ten records fill a chunk

struct pair {
    struct rig from, to;
    uint64_t next[SHARDS]; // sequence
};

static void begin(struct pair *p)
{
    rig_start(&p->from, 0, true);
    rig_start(&p->to, 0, false);
    p->from.w->gated = true; // a small value is a record behind its command
    for (uint32_t i = 0; i < SHARDS; i++)
        p->next[i] = 1;
}

static void end(struct pair *p)
{
    rig_stop(&p->from);
    rig_stop(&p->to);
}

static void set(struct rig *r, uint32_t number, char fill, uint32_t len)
{
    char key[32], value[4096];
    snprintf(key, sizeof key, "key:%08u", number);
    memset(value, fill, sizeof value);
    struct slice argv[] = { slice_cstr("SET"), slice_cstr(key), slice_of(value, len) };
    run(r, 0, argv, 3);
}

static uint32_t shard_of(const struct rig *r, uint32_t number)
{
    char key[32];
    snprintf(key, sizeof key, "key:%08u", number);
    return route_shard(&r->w->route, slice_cstr(key));
}

// Of the numbers from `from` on, the first one whose key is the shard's.
static uint32_t of_shard(const struct rig *r, uint32_t shard, uint32_t from)
{
    while (shard_of(r, from) != shard)
        from++;
    return from;
}

static bool is(struct rig *r, uint32_t number, char fill, uint32_t len)
{
    char key[32];
    snprintf(key, sizeof key, "key:%08u", number);
    struct keyspace *ks = store_keyspace(r->w->store, shard_of(r, number), 0);
    const struct entry *e = keyspace_peek(ks, slice_cstr(key), keyspace_hash(ks, slice_cstr(key)), NOW);
    if (e == NULL || entry_value(e).len != len)
        return false;
    for (uint32_t i = 0; i < len; i++)
        if (entry_value(e).data[i] != fill)
            return false;
    return true;
}

// Sequences go on without a gap in every shard. Returns how many sub-batches there are.
static uint32_t walk(struct pair *p, struct slice unit)
{
    struct sub_batch sub;
    const uint8_t *at = unit.data;
    uint64_t left = unit.len;
    uint32_t count = 0;
    while (sub_batch_next(&sub, &at, &left) == 0) {
        const uint8_t *record = sub.records;
        struct record r;
        uint32_t taken = 0;
        check(sub.shard < SHARDS && sub.first == p->next[sub.shard] && sub.count > 0);
        while (record_next(&r, &sub, &record, &taken) == 0)
            check_equal(r.sequence, p->next[sub.shard]++);
        check_equal(taken, sub.count);
        count++;
    }
    check_equal(left, 0);
    return count;
}

// What the turn has made goes over. Returns the sub-batches.
static uint32_t turn_ends(struct pair *p)
{
    char why[EFFECTS_WHY_MAX] = "";
    uint32_t count = 0;
    effects_flush(p->from.w);
    for (struct log_batch *b = log_port_pull(&p->from.port.in), *next; b != NULL; b = next) {
        next = b->next;
        uint32_t subs = walk(p, buf_view(&b->data));
        check_equal(b->batches, subs);
        check_equal(effects_apply_unit(p->to.w, buf_view(&b->data), NULL, why), 0);
        count += subs;
        log_port_push(&p->from.port.spent, b);
    }
    check(p->from.w->effects.lanes.used == NULL && p->from.w->effects.lanes.chunks == 0);
    return count;
}

static void shards_that_take_turns_have_a_sub_batch_each(void)
{
    struct pair p;
    begin(&p);
    for (uint32_t i = 0; i < 400; i++)
        set(&p.from, i, 'a', 10);
    turn_ends(&p);
    for (uint32_t i = 0; i < 400; i++)
        set(&p.from, i, 'b', 10);
    check_equal(p.from.w->effects.dirty.count, 0);
    check_equal(turn_ends(&p), SHARDS);
    for (uint32_t i = 0; i < 400; i++)
        check(is(&p.to, i, 'b', 10));
    end(&p);
}

static void a_record_in_a_lane_is_written_over_until_it_is_cut(void)
{
    struct pair p;
    begin(&p);
    struct effects *e = &p.from.w->effects;
    uint32_t here = of_shard(&p.from, 0, 0), there = of_shard(&p.from, 1, 0);
    set(&p.from, here, 'a', 10);
    set(&p.from, there, 'a', 10);
    turn_ends(&p);
    uint64_t records = e->records;
    set(&p.from, here, 'b', 10);
    set(&p.from, there, 'b', 10);
    check(e->lanes.used != NULL);
    set(&p.from, there, 'c', 10);
    check_equal(e->records - records, 2);
    check_equal(e->coalesced, 1);
    effects_cut(p.from.w); // a snapshot has it as it is now
    set(&p.from, there, 'd', 10);
    check_equal(e->records - records, 3);
    set(&p.from, there, 'e', 10);
    check_equal(e->coalesced, 2);
    check_equal(turn_ends(&p), 2);
    check(is(&p.to, here, 'b', 10) && is(&p.to, there, 'e', 10));
    set(&p.from, here, 'f', 10);
    set(&p.from, there, 'f', 10); // the chunk is the same one, the record another
    check_equal(e->coalesced, 2);
    turn_ends(&p);
    check(is(&p.to, there, 'f', 10));
    end(&p);
}

// Larger than a lane takes: the sub-batch that is open ends, and the lanes before it.
static void a_shards_records_keep_their_order_whatever_their_size(void)
{
    struct pair p;
    begin(&p);
    uint32_t here = of_shard(&p.from, 0, 0), there = of_shard(&p.from, 1, 0), third = of_shard(&p.from, 2, 0);
    uint32_t large = of_shard(&p.from, 1, there + 1);
    set(&p.from, here, 'a', 10);
    set(&p.from, there, 'a', 10);
    set(&p.from, third, 'a', 10);
    set(&p.from, large, 'a', LANE_RECORD);
    turn_ends(&p);
    set(&p.from, here, 'b', 10);
    set(&p.from, there, 'b', 10);
    set(&p.from, third, 'b', 10);
    check(p.from.w->effects.lanes.used != NULL);
    set(&p.from, large, 'b', LANE_RECORD);
    check(p.from.w->effects.lanes.used == NULL);
    set(&p.from, there, 'c', 10);
    set(&p.from, third, 'c', 10);
    check(p.from.w->effects.lanes.used != NULL);
    check_equal(turn_ends(&p), 5);
    check(is(&p.to, here, 'b', 10) && is(&p.to, there, 'c', 10) && is(&p.to, third, 'c', 10) && is(&p.to, large, 'b', LANE_RECORD));
    end(&p);
}

static void lanes_are_bounded_and_most_of_their_memory_goes(void)
{
    struct pair p;
    begin(&p);
    const struct effects_lanes *l = &p.from.w->effects.lanes;
    for (uint32_t i = 0; i < 5000; i++)
        set(&p.from, i, 'a', VALUE);
    turn_ends(&p);
    bool full = false;
    for (uint32_t i = 0; i < 5000; i++) {
        set(&p.from, i, 'b', VALUE);
        check(l->chunks <= LANES_CHUNKS);
        full = full || l->chunks == LANES_CHUNKS;
    }
    check(full);
    check(effects_lanes_memory(l) > 0 && effects_memory(&p.from.w->effects) > effects_lanes_memory(l));
    check(turn_ends(&p) > SHARDS);
    for (uint32_t i = 0; i < 5000; i++)
        check(is(&p.to, i, 'b', VALUE));
    check_equal(effects_lanes_memory(l), LANES_CHUNKS * sizeof(struct lane_chunk));
    effects_records_trim(&p.from.w->effects);
    check_equal(effects_lanes_memory(l), LANES_KEPT * sizeof(struct lane_chunk));
    end(&p);
}

TESTS(TEST(shards_that_take_turns_have_a_sub_batch_each), TEST(a_record_in_a_lane_is_written_over_until_it_is_cut),
      TEST(a_shards_records_keep_their_order_whatever_their_size), TEST(lanes_are_bounded_and_most_of_their_memory_goes))
