// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/effects_records.h"

#include "base/bytes.h"
#include "engine/shard/worker.h"

#define BATCH_KEEP      (1024 * 1024)       // memory of a batch that is kept for the next one
#define SPARE_KEEP      (2 * 1024 * 1024)   // of all that have come back
#define GIVE_BACK_LEAST (1024 * 1024)       // bytes that were let go
#define TRIM_MOST       1024                // batches looked at or freed at a time
#define SUB_BATCH_MAX   (512 * 1024 * 1024) // bytes from which another one is begun

static uint64_t memory_of(const struct log_batch *b)
{
    return sizeof *b + b->data.cap + b->marker_cap * sizeof *b->markers;
}

// Its large memory goes.
static void shrink(struct effects *e, struct log_batch *b)
{
    if (b->data.cap <= BATCH_KEEP)
        return;
    e->batch_bytes -= b->data.cap;
    e->let_go += b->data.cap;
    buf_deinit(&b->data);
}

bool effects_records_begin(struct worker *w)
{
    struct effects *e = &w->effects;
    if (e->batch != NULL)
        return true;
    if (e->spare == NULL && e->port != NULL)
        e->spare = log_port_recycle(e->port);
    struct log_batch *b = e->spare;
    if (b != NULL)
        e->spare = b->next;
    else if ((b = log_batch_new()) != NULL)
        e->batch_bytes += memory_of(b);
    if (b == NULL) {
        effects_records_lose(e);
        return false;
    }
    shrink(e, b);
    e->begun_bytes = memory_of(b);
    b->data.len = 0;
    b->data.failed = false;
    b->next = NULL;
    b->batches = b->marker_count = 0;
    b->sync = b->soon = false;
    assert(e->lanes.used == NULL);
    e->batch = b;
    e->sub.count = 0;
    e->begun++;
    e->recent_from = 0;
    return true;
}

void effects_records_close(struct effects *e)
{
    if (e->sub.count == 0)
        return;
    sub_batch_encode(&e->sub, e->batch->data.data + e->sub_at);
    e->batch->batches += 1 + effects_lanes_pour(&e->lanes, &e->batch->data);
    e->sub.count = 0;
    if (unlikely(e->batch->data.failed))
        effects_records_lose(e);
}

bool effects_records_count(struct effects *e)
{
    uint64_t bytes = memory_of(e->batch), before = e->begun_bytes;
    e->batch_bytes += bytes - before;
    e->begun_bytes = bytes;
    return bytes != before;
}

void effects_records_drop(struct effects *e, struct log_batch *b)
{
    e->batch_bytes -= memory_of(b);
    e->let_go += memory_of(b);
    log_batch_free(b);
}

uint64_t effects_records_memory(const struct effects *e)
{
    return e->batch_bytes + (e->batch != NULL ? memory_of(e->batch) - e->begun_bytes : 0) + e->scratch.cap +
           effects_lanes_memory(&e->lanes);
}

bool effects_records_gone(struct effects *e, uint32_t ticks)
{
    e->quiet_ticks = e->let_go == e->let_go_before ? e->quiet_ticks + 1 : 0;
    e->let_go_before = e->let_go;
    if (e->let_go < GIVE_BACK_LEAST || e->quiet_ticks < ticks)
        return false;
    e->let_go = e->let_go_before = 0;
    return true;
}

void effects_records_trim(struct effects *e)
{
    struct log_batch **at = &e->spare;
    uint64_t kept = 0;
    effects_lanes_trim(&e->lanes);
    for (uint32_t i = 0; i < TRIM_MOST; i++) {
        if (*at == NULL && e->port != NULL)
            *at = log_port_recycle(e->port);
        struct log_batch *b = *at;
        if (b == NULL)
            return;
        shrink(e, b);
        if (kept + memory_of(b) <= SPARE_KEEP) {
            kept += memory_of(b);
            at = &b->next;
            continue;
        }
        *at = b->next;
        effects_records_drop(e, b);
    }
}

static void sub_open(struct worker *w, uint32_t shard)
{
    struct effects *e = &w->effects;
    struct sub_batch *sub = &e->sub;
    if (sub->count > 0 && sub->shard == shard && sub->count < UINT16_MAX && sub->bytes < SUB_BATCH_MAX)
        return;
    effects_records_close(e);
    struct buf *data = &e->batch->data;
    e->sub_at = data->len;
    *sub = (struct sub_batch){ .shard = (uint16_t)shard, .first = e->sequences[shard / w->server->worker_count] + 1 };
    if (buf_reserve(data, SUB_BATCH_HEAD) != NULL)
        buf_advance(data, SUB_BATCH_HEAD);
}

// Behind the shard's last one. A failed log: NULL.
static struct sub_batch *room_for(struct worker *w, uint32_t shard, uint64_t size, struct recent *place, uint8_t **to)
{
    struct effects *e = &w->effects;
    uint32_t index = shard / w->server->worker_count;
    struct sub_batch *sub;
    if (unlikely(e->sub.count > 0 && e->sub.shard != shard) && (*to = effects_lanes_room(&e->lanes, index, size, &sub)) != NULL) {
        if (sub->count == 0)
            *sub = (struct sub_batch){ .shard = (uint16_t)shard, .first = e->sequences[index] + 1 };
        place->batch = e->lanes.generation;
        place->record = *to;
        return sub;
    }
    sub_open(w, shard);
    *to = buf_reserve(&e->batch->data, size);
    if (*to == NULL) {
        effects_records_lose(e);
        return NULL;
    }
    place->batch = e->begun;
    place->at = e->batch->data.len;
    buf_advance(&e->batch->data, size);
    return &e->sub;
}

static struct recent append(struct worker *w, uint32_t shard, struct record *r)
{
    struct effects *e = &w->effects;
    struct recent place = { 0 };
    if (!effects_records_begin(w))
        return place;
    uint64_t size = record_size(r);
    uint8_t *to;
    struct sub_batch *sub = room_for(w, shard, size, &place, &to);
    if (unlikely(sub == NULL))
        return place;
    r->sequence = ++e->sequences[shard / w->server->worker_count];
    record_encode(r, sub->first, to);
    sub->count++;
    sub->bytes += (uint32_t)size;
    e->records++;
    return place;
}

// Where it is, if it may be written over.
static uint8_t *record_of(const struct effects *e, const struct recent *last)
{
    if (e->batch == NULL)
        return NULL;
    if (last->record != NULL)
        return last->batch == e->lanes.generation ? last->record : NULL;
    return last->batch == e->begun && last->at >= e->recent_from ? e->batch->data.data + last->at : NULL;
}

// The key's last record in this batch, when it is a SET of the same size, becomes this one.
static bool rewrite(struct effects *e, const struct recent *last, uint64_t hash, const struct record *r)
{
    uint8_t *record = last->hash == hash ? record_of(e, last) : NULL;
    if (likely(record == NULL))
        return false;
    bool done = record_rewrite(r, record);
    e->coalesced += done;
    return done;
}

void effects_records_append(struct worker *w, uint32_t shard, uint64_t hash, struct record *r)
{
    struct effects *e = &w->effects;
    struct recent *last = &e->recent[hash % EFFECTS_RECENT];
    if (r->op == RECORD_SET && rewrite(e, last, hash, r))
        return;
    struct recent place = append(w, shard, r);
    place.hash = hash;
    if (r->op == RECORD_SET && likely(!e->failed))
        *last = place;
    else if (last->hash == hash)
        *last = (struct recent){ .hash = hash };
}

// Arguments of an effect, the name first.
static struct slice arguments(struct effects *e, const struct slice *argv, uint32_t argc)
{
    struct buf *out = &e->scratch;
    uint8_t number[4];
    out->len = 0;
    store_u32(number, argc);
    buf_append(out, number, sizeof number);
    for (uint32_t i = 0; i < argc; i++) {
        store_u32(number, (uint32_t)argv[i].len);
        buf_append(out, number, sizeof number);
        buf_append_slice(out, argv[i]);
    }
    if (out->failed)
        effects_records_lose(e);
    return buf_view(out);
}

void effects_records_effect(struct worker *w, uint32_t shard, uint32_t db, struct slice key, uint8_t flags, const struct slice *argv,
                            uint32_t argc)
{
    struct effects *e = &w->effects;
    struct record r = { .op = RECORD_EFFECT, .flags = flags, .db = (uint16_t)db, .deadline_ms = -1, .key = key };
    r.value = arguments(e, argv, argc);
    if (!e->failed)
        append(w, shard, &r);
    effects_records_keep(e);
    if (e->scratch.cap > BATCH_KEEP)
        buf_deinit(&e->scratch);
}
