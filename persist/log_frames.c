// SPDX-License-Identifier: Apache-2.0
// Frames: from the unit's batches into a slot's memory, and from there to the disk.
//
// The payload's checksum is put together from those that the workers computed, so a byte that changed since makes a frame that does not
// verify. Where a batch is cut by frames of a chain, its pieces are summed anew, and the whole is compared with the worker's sum before the
// frame that would complete the batch goes out: a chain without its last frame counts for nothing.
#include "persist/log_inside.h"

#include <errno.h>

#include "base/stream.h"

bool log_frames_free(const struct log *l)
{
    bool alone = l->sync == LOG_SYNC_ALWAYS && l->options.method == LOG_METHOD_LINKED;
    if (l->slot_count > 0 && l->slots[l->slot_first].synced && l->slots[l->slot_first].method == LOG_METHOD_LINKED)
        return false;
    return l->slot_count < (alone ? 1 : l->options.frames_in_flight);
}

static struct log_slot *slot_next(struct log *l)
{
    return &l->slots[(l->slot_first + l->slot_count) % l->options.frames_in_flight];
}

// ---- payload

// Bytes of the unit's first batch into the frame; *crc goes on over them.
static int piece_take(struct log *l, uint8_t *to, uint64_t room, uint64_t *taken, uint32_t *crc)
{
    struct log_unit *u = &l->unit;
    struct log_batch *b = u->first;
    uint64_t left = b->data.len - u->at, len = left < room ? left : room;
    uint32_t sum = b->crc;
    if (len < b->data.len) {
        sum = crc32c(0, b->data.data + u->at, len);
        u->crc = crc32c_join(u->at == 0 ? 0 : u->crc, sum, len);
        if (len == left && u->crc != b->crc)
            return -EBADMSG;
    }
    if (len > 0)
        stream_copy(to, b->data.data + u->at, len); // the device reads it, we do not
    *crc = crc32c_join(*crc, sum, len);
    *taken = len;
    u->at += len;
    u->bytes -= len;
    if (len < left)
        return 0;
    u->first = b->next;
    u->at = 0;
    log_cut_give_back(l, b);
    return 0;
}

static int payload_take(struct log *l, uint8_t *to, uint64_t room, uint32_t *crc)
{
    // Also the batches behind that have only markers.
    while (l->unit.first != NULL && (room > 0 || l->unit.first->data.len == 0)) {
        uint64_t taken = 0;
        int rc = piece_take(l, to, room, &taken, crc);
        if (rc != 0)
            return rc;
        to += taken;
        room -= taken;
    }
    return 0;
}

// ---- ops

static void op_submit(struct log *l, struct log_slot *slot, uint32_t which, void *data, size_t len, uint64_t offset, uint8_t flags)
{
    struct op *op = &slot->ops[which];
    uint16_t tag = (uint16_t)((uint32_t)(slot - l->slots) * LOG_SLOT_OPS + which);
    *op = (struct op){
        .kind = which == LOG_OP_SYNC ? OP_FSYNC : OP_WRITE,
        .owner = l->options.owner,
        .flags = flags,
        .fd = slot->stretch->segment->fd,
        .data = data,
        .len = (uint32_t)len,
        .fixed_buffer = which == LOG_OP_SYNC ? -1 : l->fixed_buffer,
        .tag = tag,
        .offset = offset,
    };
    slot->waiting++;
    l->ops++;
    reactor_submit(l->r, op);
}

static void slot_submit(struct log *l, struct log_slot *slot, uint64_t offset, size_t len)
{
    struct log_stretch *s = slot->stretch;
    enum log_method method = l->sync == LOG_SYNC_ALWAYS ? log_method_choose(l, slot->blocks) : LOG_METHOD_FDATASYNC;
    bool linked = method == LOG_METHOD_LINKED;
    uint8_t flags = linked ? OP_LINK : method == LOG_METHOD_DSYNC ? OP_DSYNC : 0;
    slot->synced = flags != 0;
    slot->method = (uint8_t)method;
    slot->fresh = s->fresh;
    slot->submitted_ns = l->r->now_ns;
    if (slot->synced)
        atomic_store_explicit(&l->stats.method, method, memory_order_relaxed);
    if (s->fresh) {
        segment_encode(&s->segment->header, slot->header);
        op_submit(l, slot, LOG_OP_HEADER, slot->header, BLOCK_SIZE, 0, flags);
        op_submit(l, slot, LOG_OP_HEADER_COPY, slot->header, BLOCK_SIZE, s->segment->header.size - BLOCK_SIZE, flags);
        s->fresh = false;
    }
    op_submit(l, slot, LOG_OP_FRAME, slot->memory, len, offset, flags);
    if (linked)
        op_submit(l, slot, LOG_OP_SYNC, NULL, 0, 0, 0);
}

// The frame whose payload is in place.
static void slot_send(struct log *l, struct log_slot *slot, struct frame_head *h, uint32_t parts_crc)
{
    struct log_stretch *s = slot->stretch;
    struct frame_place place = {
        .store = &s->segment->header.store, .segment = s->segment->header.id, .epoch = s->segment->header.epoch, .offset = s->offset
    };
    h->lsn = ++l->lsn;
    h->durable = l->durable.lsn;
    h->previous_crc = l->last_crc;
    if (l->options.fault == LOG_FAULT_NO_EPOCH)
        place.segment = place.epoch = 0;
    h->epoch = place.epoch;
    h->made_ms = l->r->wall_ms;
    frame_encode(h, &place, slot->memory, parts_crc);
    size_t len = (size_t)h->blocks * BLOCK_SIZE;
    l->last_crc = h->crc;
    l->witness = h->durable;
    s->offset += len;
    s->last_lsn = slot->lsn = h->lsn;
    slot->blocks = h->blocks;
    if (slot->ends_unit) {
        slot->mark.lsn = h->lsn;
        slot->mark.bytes = l->cut_bytes;
        memcpy(slot->mark.positions, l->cut, l->options.ports * sizeof *l->cut);
    }
    l->slot_count++;
    l->active_ns = l->r->now_ns;
    log_add(&l->stats.frames, 1);
    log_add(&l->stats.bytes, len);
    log_add(&l->stats.payload_bytes, h->payload);
    if (slot->ends_unit)
        atomic_store_explicit(&l->stats.lsn, h->lsn, memory_order_release);
    slot_submit(l, slot, place.offset, len);
}

// How much of the unit goes into its next frame: all of it, or what fits of a chain.
static uint64_t frame_payload(const struct log *l, bool *chain)
{
    const struct log_unit *u = &l->unit;
    uint64_t most = log_frames_capacity(l, l->blocks_max);
    *chain = u->begun || u->bytes > most;
    uint32_t left = log_segments_left(l);
    if (*chain && left > 0)
        most = log_frames_capacity(l, left);
    return u->bytes < most ? u->bytes : most;
}

// Nothing but markers: durable with what is before it.
static void unit_end_empty(struct log *l)
{
    struct log_slot *newest = &l->slots[(l->slot_first + l->slot_count - 1) % l->options.frames_in_flight];
    uint32_t crc = 0;
    int rc = payload_take(l, l->arena, 0, &crc);
    assert(rc == 0);
    struct log_mark *mark = l->slot_count > 0 ? &newest->mark : &l->written;
    memcpy(mark->positions, l->cut, l->options.ports * sizeof *l->cut);
    l->unit.active = false;
}

bool log_frames_write(struct log *l)
{
    struct log_unit *u = &l->unit;
    if (u->bytes == 0) {
        unit_end_empty(l);
        return true;
    }
    bool chain;
    uint64_t payload = frame_payload(l, &chain);
    struct log_stretch *s = log_segments_place(l, frame_blocks(payload));
    if (s == NULL)
        return false;
    struct log_slot *slot = slot_next(l);
    struct frame_head h = { .payload = (uint32_t)payload, .batches = u->begun ? 0 : u->batches };
    slot->ends_unit = payload == u->bytes;
    if (chain)
        h.flags = u->begun ? (slot->ends_unit ? FRAME_LAST : FRAME_MIDDLE) : FRAME_FIRST;
    if (u->txn)
        h.flags |= FRAME_TXN;
    slot->stretch = s;
    slot->oldest_ns = u->oldest_ns;
    uint32_t crc = 0;
    int rc = payload_take(l, slot->memory + FRAME_HEAD, payload, &crc);
    if (rc != 0) {
        log_poison(l, rc);
        return false;
    }
    u->begun = true;
    u->active = !slot->ends_unit;
    slot_send(l, slot, &h, crc);
    l->payload_lsn = h.lsn;
    return true;
}

// LOG_FAULT_IN_PLACE: the last frame once more where it lies, with itself as its witness.
static bool seal_in_place(struct log *l)
{
    struct log_slot *slot = &l->slots[(l->slot_first + l->options.frames_in_flight - 1) % l->options.frames_in_flight];
    struct log_stretch *s = slot->stretch;
    struct frame_head h;
    if (s == NULL || slot->lsn != l->lsn || frame_peek(&h, slot->memory, s->segment->header.epoch) != 0)
        return false;
    uint64_t len = (uint64_t)h.blocks * BLOCK_SIZE;
    struct frame_place place = {
        .store = &s->segment->header.store, .segment = s->segment->header.id, .epoch = s->segment->header.epoch, .offset = s->offset - len
    };
    h.durable = h.lsn - 1;
    frame_encode(&h, &place, slot->memory, crc32c(0, slot->memory + FRAME_HEAD, h.payload));
    l->last_crc = h.crc;
    l->witness = l->payload_lsn;
    l->slot_first = (uint32_t)(slot - l->slots);
    l->slot_count++;
    slot_submit(l, slot, place.offset, len);
    return true;
}

bool log_frames_close(struct log *l, enum frame_flag flag)
{
    if (l->options.fault == LOG_FAULT_IN_PLACE && flag == FRAME_SEAL && seal_in_place(l))
        return true;
    struct log_stretch *s = log_segments_place(l, 1);
    if (s == NULL)
        return false;
    struct log_slot *slot = slot_next(l);
    struct frame_head h = { .flags = (uint16_t)flag };
    slot->stretch = s;
    slot->ends_unit = true;
    slot->oldest_ns = 0;
    slot_send(l, slot, &h, 0);
    return true;
}

// ---- completions

static bool overlooked(const struct log *l, const struct completion *done)
{
    if (l->options.fault == LOG_FAULT_SHORT_WRITE)
        return done->result >= 0;
    if (l->options.fault == LOG_FAULT_CANCELED && l->options.method == LOG_METHOD_LINKED)
        return done->op->kind == OP_WRITE || done->result == -ECANCELED;
    return false;
}

void log_frames_done(struct log *l, const struct completion *done)
{
    struct log_slot *slot = &l->slots[done->op->tag / LOG_SLOT_OPS];
    slot->waiting--;
    l->ops--;
    if (overlooked(l, done))
        return;
    if (done->result != (int32_t)done->op->len) // of a sync: 0
        log_poison(l, done->result < 0 ? done->result : -EIO);
}

void log_frames_advance(struct log *l)
{
    for (; l->slot_count > 0; l->slot_count--) {
        struct log_slot *slot = &l->slots[l->slot_first];
        if (slot->waiting > 0)
            return;
        l->slot_first = (l->slot_first + 1) % l->options.frames_in_flight;
        l->written_lsn = slot->stretch->written_lsn = slot->lsn;
        if (slot->synced) {
            log_flush_count(l, slot->submitted_ns);
            log_method_note(l, slot, l->r->now_ns - slot->submitted_ns);
        } else {
            l->unsynced_lsn = slot->lsn;
            l->unflushed_since_ns = log_earlier(l->unflushed_since_ns, l->r->now_ns);
        }
        l->active_ns = l->r->now_ns;
        l->unflushed_oldest_ns = log_earlier(l->unflushed_oldest_ns, slot->oldest_ns);
        if (slot->ends_unit) {
            log_mark_copy(l, &l->written, &slot->mark);
            log_mark_copy(l, &slot->stretch->end, &slot->mark);
        }
    }
}
