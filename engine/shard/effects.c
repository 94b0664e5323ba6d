// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/effects.h"

#include <stdlib.h>

#include "base/crc32c.h"
#include "engine/shard/effects_dirty.h"
#include "engine/shard/effects_records.h"
#include "engine/shard/export.h"
#include "engine/shard/gate.h"
#include "engine/shard/txn.h"
#include "engine/shard/worker.h"
#include "proto/number.h"

#define RANGE_MIN     4096                // smaller values are written whole
#define BATCH_MAX     (256 * 1024 * 1024) // a turn's records beyond it go in several batches
#define FRESH_MAX     1024                // values up to it are settled behind their command
#define NEVER_EXPIRED INT64_MIN

// ---- records

static void append_range(struct worker *w, const struct dirty *d, uint32_t shard, uint32_t db, const struct entry *entry)
{
    char offset[NUMBER_TEXT_MAX];
    struct slice value = entry_value(entry), key = slice_of(d->key, d->key_len);
    uint64_t hi = d->hi < value.len ? d->hi : value.len, lo = d->lo < hi ? d->lo : hi;
    struct slice argv[] = {
        slice_cstr("SETRANGE"),
        slice_of(offset, number_format_u64(offset, lo)),
        slice_of(value.data + lo, hi - lo),
    };
    effects_records_effect(w, shard, db, key, entry_mark(entry) ? RECORD_MARK : 0, argv, 3);
}

static bool as_range(const struct dirty *d, const struct entry *entry)
{
    uint64_t len = entry_value(entry).len;
    return (d->what & DIRTY_VALUE) == 0 && len >= RANGE_MIN && entry_type(entry) == ENTRY_STRING &&
           (d->lo >= d->hi || d->hi - d->lo <= len / 2);
}

// A SET of what the entry is. (Into the record that is written from: a copy would wait for the stores of the first one.)
static inline void record_fill(struct record *r, const struct entry *entry, uint32_t db)
{
    r->op = RECORD_SET;
    r->flags = (uint8_t)((uint32_t)entry_type(entry) << 4 | (entry_mark(entry) ? RECORD_MARK : 0));
    r->db = (uint16_t)db;
    r->deadline_ms = entry_deadline(entry);
    if (r->deadline_ms != ENTRY_NO_DEADLINE)
        r->flags |= RECORD_DEADLINE;
    r->key = entry_key(entry);
    r->value = entry_value(entry);
}

// What the key is now becomes its record.
static void settle(struct worker *w, struct dirty *d)
{
    struct effects *e = &w->effects;
    uint32_t shard = d->shard, db = d->db;
    struct slice key = slice_of(d->key, d->key_len);
    const struct entry *entry = keyspace_peek(d->keyspace, key, d->node.hash, NEVER_EXPIRED);
    struct record r = { .op = RECORD_DELETE, .db = (uint16_t)db, .deadline_ms = -1, .key = key };
    if (entry != NULL) {
        r.deadline_ms = entry_deadline(entry);
        if (r.deadline_ms != ENTRY_NO_DEADLINE)
            r.flags = RECORD_DEADLINE;
    }
    bool range = entry != NULL && (d->what & DIRTY_RANGE) != 0 && as_range(d, entry);
    if (range)
        append_range(w, d, shard, db, entry);
    if (entry != NULL && !range && d->what != DIRTY_DEADLINE)
        record_fill(&r, entry, db);
    else if (entry != NULL)
        r.op = RECORD_EXPIRE;
    if (!range || (d->what & DIRTY_DEADLINE) != 0)
        effects_records_append(w, shard, d->node.hash, &r);
    gate_changed(w, d->node.hash);
    effects_dirty_remove(e, d);
}

// ---- the key that a command changes alone

// It is as dirty as any other.
static void fresh_keep(struct worker *w)
{
    struct effects *e = &w->effects;
    if (likely(e->fresh.entry == NULL))
        return;
    struct dirty *d = effects_dirty_add(w, e->fresh.keyspace, e->fresh.hash, entry_key(e->fresh.entry));
    if (d != NULL)
        d->what = DIRTY_VALUE;
    e->fresh.entry = NULL;
}

static bool has_room(const struct effects *e)
{
    return e->batch == NULL || e->batch->data.len <= BATCH_MAX;
}

static bool fresh_fits(const struct worker *w)
{
    const struct effects *e = &w->effects;
    return has_room(e) && w->txns.intents.count == 0 && entry_value(e->fresh.entry).len <= FRESH_MAX;
}

void effects_command_ends(struct worker *w)
{
    struct effects *e = &w->effects;
    uint32_t shard, db;
    e->fresh.wanted = false;
    if (e->fresh.entry == NULL)
        return;
    store_place(w->store, e->fresh.keyspace, &shard, &db);
    if (!fresh_fits(w)) {
        fresh_keep(w);
        return;
    }
    struct record r;
    record_fill(&r, e->fresh.entry, db);
    effects_records_append(w, shard, e->fresh.hash, &r);
    gate_changed(w, e->fresh.hash);
    e->fresh.entry = NULL;
}

bool effects_takes(const struct effects *e, uint64_t hash)
{
    return has_room(e) && !e->open && !effects_is_dirty(e, hash);
}

void effects_overwritten(struct worker *w, uint32_t shard, uint32_t db, uint64_t hash, struct slice key, struct slice value)
{
    struct record r = { .op = RECORD_SET,
                        .flags = (uint8_t)((uint32_t)ENTRY_STRING << 4),
                        .db = (uint16_t)db,
                        .deadline_ms = ENTRY_NO_DEADLINE,
                        .key = key,
                        .value = value };
    w->effects.changes++;
    effects_records_append(w, shard, hash, &r);
    gate_changed(w, hash);
}

// ---- what the store says

static void cleared(struct worker *w, struct keyspace *ks)
{
    struct effects *e = &w->effects;
    fresh_keep(w);
    uint32_t shard, db, dropped = 0;
    store_place(w->store, ks, &shard, &db);
    list_for_each_safe (node, &e->shards[shard / w->server->worker_count]) {
        struct dirty *d = container_of(node, struct dirty, link);
        if (d->keyspace != ks)
            continue;
        effects_dirty_remove(e, d);
        dropped++;
    }
    if (dropped == 0 && keyspace_count(ks) == 0)
        return;
    e->changes++;
    struct slice argv[] = { slice_cstr("FLUSHDB") };
    effects_records_effect(w, shard, db, slice_of(NULL, 0), 0, argv, 1);
    gate_changed_all(w);
}

void effects_changed(struct worker *w, const struct store_change *change)
{
    struct effects *e = &w->effects;
    if (unlikely(change->kind == STORE_CLEAR)) {
        cleared(w, change->keyspace);
        return;
    }
    e->changes++;
    fresh_keep(w);
    struct dirty *d = e->dirty.count == 0 ? NULL : effects_dirty_find(e, change->keyspace, change->hash, change->key);
    e->coalesced += d != NULL;
    if (d == NULL && e->fresh.wanted && change->entry != NULL) {
        e->fresh.keyspace = change->keyspace;
        e->fresh.hash = change->hash;
        e->fresh.entry = change->entry;
        return;
    }
    if (d == NULL && (d = effects_dirty_add(w, change->keyspace, change->hash, change->key)) == NULL)
        return;
    switch (change->kind) {
    case STORE_SET:
    case STORE_GONE:
        d->what |= DIRTY_VALUE;
        break;
    case STORE_DEADLINE:
        d->what |= DIRTY_DEADLINE;
        break;
    case STORE_RANGE:
        d->lo = change->lo < d->lo ? change->lo : d->lo;
        d->hi = change->hi > d->hi ? change->hi : d->hi;
        d->what |= DIRTY_RANGE;
        break;
    case STORE_MARK:
        d->what |= DIRTY_RANGE;
        break;
    case STORE_CLEAR:
        break;
    }
}

void effects_swapped(struct worker *w, uint32_t a, uint32_t b)
{
    struct effects *e = &w->effects;
    if (!e->on || a == b)
        return;
    fresh_keep(w);
    char text[2][NUMBER_TEXT_MAX];
    struct slice argv[] = {
        slice_cstr("SWAPDB"),
        slice_of(text[0], number_format_u64(text[0], a)),
        slice_of(text[1], number_format_u64(text[1], b)),
    };
    uint32_t workers = w->server->worker_count;
    for (uint32_t i = 0; i < effects_dirty_shards(w); i++) {
        // Whoever swaps holds all keys, or is alone.
        list_for_each_safe (node, &e->shards[i])
            settle(w, container_of(node, struct dirty, link));
        effects_records_effect(w, i * workers + w->id, 0, slice_of(NULL, 0), 0, argv, 3);
    }
    e->changes++;
    gate_changed_all(w);
}

// ---- settling

// The share that the key is granted to alone, and that is at work.
static const struct ticket *holder(const struct worker *w, uint64_t print)
{
    const struct ticket *t = intents_holder(&w->txns.intents, print);
    // One that has this key and waits for others has done nothing yet.
    return t != NULL && t->kind == TICKET_SHARE && t->waiting == 0 && list_empty(&t->link) ? t : NULL;
}

static void settle_print(struct worker *w, uint64_t print)
{
    struct effects *e = &w->effects;
    for (uint64_t low = 0; low < 2; low++)
        for (struct chained *node = chains_first(&e->dirty, txn_print_hash(print, low)), *next; node != NULL; node = next) {
            next = chains_next(node);
            settle(w, effects_dirty_of(node));
        }
}

// The shard's dirty keys are about to be settled one after the other: a sub-batch, and not by way of a lane.
static void begin_shard(struct effects *e, uint32_t index)
{
    if (!list_empty(&e->shards[index]) && e->batch != NULL)
        effects_records_close(e);
}

static void settle_shard(struct worker *w, uint32_t index)
{
    struct effects *e = &w->effects;
    begin_shard(e, index);
    list_for_each_safe (node, &e->shards[index])
        settle(w, container_of(node, struct dirty, link));
}

static void settle_everything(struct worker *w)
{
    struct effects *e = &w->effects;
    uint32_t shards = effects_dirty_shards(w);
    for (uint32_t i = 0; i < shards && e->dirty.count > 0; i++)
        settle_shard(w, i);
}

static void settle_ticket(struct worker *w, const struct ticket *t)
{
    fresh_keep(w);
    if (w->effects.dirty.count == 0)
        return;
    if (t->intents[0].mode == INTENT_EXCLUSIVE) {
        settle_everything(w);
        return;
    }
    for (uint32_t i = 1; i < t->count; i++)
        if (t->intents[i].mode == INTENT_EXCLUSIVE)
            settle_print(w, t->intents[i].print);
}

void effects_settle_share(struct worker *w, const struct ticket *t)
{
    struct effects *e = &w->effects;
    if (!e->on)
        return;
    settle_ticket(w, t);
    if (t->intents[0].mode != INTENT_EXCLUSIVE)
        return;
    effects_flush(w); // what is older does not wait for it
    e->open = true;
}

void effects_cut(struct worker *w)
{
    effects_records_keep(&w->effects);
}

void effects_mark(struct worker *w, uint64_t txn, uint32_t parts)
{
    struct effects *e = &w->effects;
    if (!e->on || parts < 2 || w->server->logging.fault == GATE_FAULT_NO_MARKERS || !effects_records_begin(w))
        return;
    struct log_batch *b = e->batch;
    if (b->marker_count == b->marker_cap) {
        uint32_t cap = b->marker_cap == 0 ? 4 : b->marker_cap * 2;
        struct log_marker *grown = realloc(b->markers, cap * sizeof *grown);
        if (grown == NULL) {
            effects_records_lose(e);
            return;
        }
        b->markers = grown;
        b->marker_cap = cap;
    }
    b->markers[b->marker_count++] = (struct log_marker){ .txn = txn, .parts = parts };
}

void effects_settle_released(struct worker *w, const struct ticket *t, uint64_t txn, uint32_t parts)
{
    struct effects *e = &w->effects;
    if (!e->on)
        return;
    settle_ticket(w, t);
    if (t->intents[0].mode == INTENT_EXCLUSIVE)
        e->open = false;
    effects_mark(w, txn, parts);
}

static void take_back(struct effects *e)
{
    e->batch->next = e->spare;
    e->spare = e->batch;
    e->batch = NULL;
}

static void send_batch(struct worker *w)
{
    struct effects *e = &w->effects;
    struct log_batch *b = e->batch;
    if (b == NULL)
        return;
    effects_records_close(e);
    if (unlikely(effects_records_count(e)))
        worker_charge_durability(w);
    if (export_is_wanted(&w->server->export))
        export_turn_records(w, buf_view(&b->data));
    if (!e->logs) {
        e->failed = false; // the export has lost a change, and counts it
        take_back(e);
        return;
    }
    b->position = ++e->position;
    b->built_ns = w->reactor->now_ns;
    b->crc = crc32c(0, b->data.data, b->data.len);
    b->sync = gate_take_sync(w);
    b->soon = gate_take_soon(w);
    if (unlikely(w->gate.state == LOG_POISONED || e->failed)) {
        take_back(e); // nobody takes it any more
        return;
    }
    e->batch = NULL;
    e->sent_bytes += b->data.len;
    e->bytes += b->data.len;
    e->batches++;
    gate_sent(w, b->built_ns);
    bool sync = b->sync;
    log_port_send(e->port, b);
    logging_wake(w, sync);
}

void effects_settle_all(struct worker *w)
{
    struct effects *e = &w->effects;
    fresh_keep(w);
    bool shares = w->txns.intents.count > 0;
    uint32_t shards = effects_dirty_shards(w);
    for (uint32_t i = 0; e->on && i < shards && e->dirty.count > 0; i++) {
        begin_shard(e, i);
        list_for_each_safe (node, &e->shards[i]) {
            struct dirty *d = container_of(node, struct dirty, link);
            if (shares && holder(w, txn_print(d->node.hash)) != NULL)
                continue;
            settle(w, d);
            if (unlikely(e->batch != NULL && e->batch->data.len > BATCH_MAX) && !e->open)
                send_batch(w);
        }
    }
}

void effects_flush(struct worker *w)
{
    struct effects *e = &w->effects;
    if (e->open)
        return;
    if (e->dirty.count > 0 || e->fresh.entry != NULL)
        effects_settle_all(w);
    send_batch(w);
}

// ---- questions

uint64_t effects_memory(const struct effects *e)
{
    return effects_records_memory(e) + effects_dirty_memory(e);
}

bool effects_is_dirty(const struct effects *e, uint64_t hash)
{
    if (unlikely(e->fresh.entry != NULL && e->fresh.hash == hash))
        return true;
    return e->dirty.count > 0 && chains_first(&e->dirty, hash) != NULL;
}

bool effects_is_held(const struct worker *w, uint64_t hash)
{
    return w->txns.intents.count > 0 && holder(w, txn_print(hash)) != NULL;
}

uint64_t effects_sequence(const struct worker *w, uint32_t shard)
{
    return w->effects.sequences[shard / w->server->worker_count];
}
