// SPDX-License-Identifier: Apache-2.0
// A keeper on the model disk beside the simplest log there could be: one frame a call, written and synced before it returns. Frame n says
// SET n, so that what a directory holds is a range of numbers.
#pragma once

#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/test.h"
#include "persist/keeper.h"
#include "test/sim/disk.h"

#define HOUSE_SEGMENT (64u * 1024)
#define HOUSE_SHARDS  4u
#define HOUSE_KEYS    4096u

struct log {
    struct sim_disk *disk;
    struct log_stats stats;
    struct log_origin origin;
    struct log_segment *ready, *current, *back;
    uint64_t offset, lsn, last_segment;
    uint32_t last_crc;
    bool stopped;
    int trouble;
    uint32_t troubles; // times that it was told
};

const struct log_stats *log_stats(const struct log *l)
{
    return &l->stats;
}

static void log_queue(struct log_segment **list, struct log_segment *s)
{
    while (*list != NULL)
        list = &(*list)->next;
    s->next = NULL;
    *list = s;
}

void log_segment_give(struct log *l, struct log_segment *s)
{
    log_queue(&l->ready, s);
}

struct log_segment *log_segment_take(struct log *l)
{
    struct log_segment *s = l->back;
    if (s != NULL)
        l->back = s->next;
    return s;
}

void log_segment_trouble(struct log *l, int error)
{
    l->trouble = error;
    l->troubles++;
}

uint32_t log_segments_ready(const struct log *l)
{
    uint32_t n = 0;
    for (const struct log_segment *s = l->ready; s != NULL; s = s->next)
        n++;
    return n;
}

bool log_stopped(const struct log *l)
{
    return l->stopped;
}

void log_end(const struct log *l, struct log_origin *origin)
{
    origin->lsn = l->lsn;
    origin->last_crc = l->last_crc;
    origin->last_segment = l->last_segment;
}

static int log_begin_segment(struct log *l)
{
    struct disk *d = &l->disk->disk;
    uint8_t *block = disk_memory(BLOCK_SIZE);
    if (l->current != NULL)
        log_queue(&l->back, l->current);
    struct log_segment *s = l->current = l->ready;
    if (s == NULL) {
        disk_memory_free(block, BLOCK_SIZE);
        return -ENOSPC;
    }
    l->ready = s->next;
    s->header.first_lsn = l->lsn + 1;
    s->header.previous_id = l->last_segment;
    s->header.previous_lsn = l->lsn;
    s->header.previous_crc = l->last_crc;
    l->last_segment = s->header.id;
    l->offset = BLOCK_SIZE;
    segment_encode(&s->header, block);
    int failed = d->ops->write(d, s->fd, block, BLOCK_SIZE, 0);
    if (failed == 0)
        failed = d->ops->write(d, s->fd, block, BLOCK_SIZE, HOUSE_SEGMENT - BLOCK_SIZE);
    disk_memory_free(block, BLOCK_SIZE);
    return failed;
}

// The next frame. 0: it is durable.
static int log_append(struct log *l, uint16_t flags)
{
    struct disk *d = &l->disk->disk;
    if (l->current == NULL || l->offset == HOUSE_SEGMENT - BLOCK_SIZE) {
        int failed = log_begin_segment(l);
        if (failed != 0)
            return failed;
    }
    uint8_t *frame = disk_memory(BLOCK_SIZE);
    char key[8];
    uint64_t lsn = l->lsn + 1;
    struct record r = { .op = RECORD_SET, .sequence = lsn, .deadline_ms = -1, .value = slice_cstr("value") };
    r.key = slice_of(key, (size_t)snprintf(key, sizeof key, "%u", (unsigned)lsn));
    struct sub_batch b = { .shard = 0, .count = 1, .first = lsn, .bytes = (uint32_t)record_size(&r) };
    uint32_t payload = flags == 0 ? SUB_BATCH_HEAD + b.bytes : 0;
    if (payload > 0) {
        sub_batch_encode(&b, frame + FRAME_HEAD);
        record_encode(&r, lsn, frame + FRAME_HEAD + SUB_BATCH_HEAD);
    }
    struct log_segment *s = l->current;
    struct frame_head h = { .payload = payload,
                            .flags = flags,
                            .lsn = lsn,
                            .durable = l->lsn,
                            .previous_crc = l->last_crc,
                            .batches = payload > 0,
                            .epoch = s->header.epoch };
    struct frame_place place = { .store = &l->origin.store, .segment = s->header.id, .epoch = s->header.epoch, .offset = l->offset };
    frame_encode(&h, &place, frame, crc32c(0, frame + FRAME_HEAD, payload));
    int failed = d->ops->write(d, s->fd, frame, BLOCK_SIZE, l->offset);
    if (failed == 0)
        failed = d->ops->sync(d, s->fd);
    disk_memory_free(frame, BLOCK_SIZE);
    if (failed != 0)
        return failed;
    l->offset += BLOCK_SIZE;
    l->lsn = s->last_lsn = lsn;
    l->last_crc = h.crc;
    atomic_store(&l->stats.lsn, lsn);
    atomic_store(&l->stats.durable_lsn, lsn);
    return 0;
}

// ---- the house

struct house {
    struct sim_disk *disk;
    struct keeper *k;
    struct log log;
    bool logs;
    bool during;    // frames are appended while a snapshot runs
    bool base;      // the next snapshot is a log's base
    uint32_t above; // its numbers begin above this one, and its watermark is the log's end
    uint64_t now_ns;
    uint32_t workers;
    bool there[HOUSE_KEYS]; // as loaded
    uint64_t top;           // the last number that has been a frame of this or an earlier life
    uint32_t woken, workers_woken, warnings;
    char text[RECOVER_TEXT_MAX];
};

static void house_wake(void *context)
{
    ((struct house *)context)->woken++;
}

static void house_wake_workers(void *context)
{
    ((struct house *)context)->workers_woken++;
}

static void house_say(void *context, int level, const char *text)
{
    struct house *h = context;
    h->warnings += level >= 3;
    (void)snprintf(h->text, sizeof h->text, "%s", text);
}

static int house_open(struct house *h, struct sim_disk *d, uint32_t workers, bool logs)
{
    *h = (struct house){ .disk = d, .workers = workers, .logs = logs, .now_ns = 1 };
    d->now_ns = &h->now_ns;
    struct keeper_options o = {
        .recover = { .segment_size = HOUSE_SEGMENT },
        .shards = HOUSE_SHARDS,
        .workers = workers,
        .segments_ready = 2,
        .segments_spare = 2,
        .log = logs,
        .wake = house_wake,
        .wake_workers = house_wake_workers,
        .say = house_say,
        .context = h,
    };
    return keeper_new(&h->k, &d->disk, &o);
}

static void house_note(struct house *h, struct slice key)
{
    uint32_t n = 0;
    for (size_t i = 0; i < key.len; i++)
        n = n * 10 + (uint32_t)(key.data[i] - '0');
    check(n < HOUSE_KEYS);
    if (n < HOUSE_KEYS)
        h->there[n] = true;
}

static void house_apply(struct house *h, const struct recover_item *item)
{
    const uint8_t *at = item->bytes.data;
    uint64_t left = item->bytes.len;
    struct snapshot_entry e;
    struct sub_batch b;
    if (item->piece == RECOVER_RESTART) {
        memset(h->there, 0, sizeof h->there);
        return;
    }
    if (item->piece == RECOVER_ENTRY_RUN) {
        while (snapshot_entry_next(&e, &at, &left) == 0)
            house_note(h, e.key);
        return;
    }
    while (sub_batch_next(&b, &at, &left) == 0) {
        const uint8_t *record = b.records;
        uint32_t taken = 0;
        struct record r;
        while (record_next(&r, &b, &record, &taken) == 0) {
            if (r.sequence > item->watermarks[b.shard])
                house_note(h, r.key);
        }
    }
}

// All workers take turns; the first notes what it sees.
static enum keeper_load house_load(struct house *h)
{
    bool waits;
    enum keeper_load state;
    while ((state = keeper_load_step(h->k, &waits)) == KEEPER_LOADING) {
        for (uint32_t w = 0; w < h->workers; w++) {
            struct load_piece *p;
            while ((p = keeper_piece_take(h->k, w)) != NULL) {
                if (w == 0)
                    house_apply(h, &p->item);
                keeper_piece_done(h->k, p);
            }
        }
    }
    return state;
}

static void house_log(struct house *h, const struct log_origin *origin)
{
    struct log *l = &h->log;
    *l = (struct log){ .disk = h->disk, .origin = *origin };
    l->lsn = h->top = l->origin.lsn;
    l->last_crc = l->origin.last_crc;
    l->last_segment = l->origin.last_segment;
    atomic_store(&l->stats.lsn, l->lsn);
    atomic_store(&l->stats.durable_lsn, l->lsn);
}

static int house_begin(struct house *h)
{
    struct log_origin origin;
    int failed = keeper_begin(h->k, &origin);
    if (failed != 0)
        return failed;
    house_log(h, &origin);
    if (h->logs)
        keeper_attach(h->k, &h->log);
    return 0;
}

// Steps until there is nothing to be done at once, at most so many.
static void house_steps(struct house *h, uint32_t most)
{
    for (uint32_t i = 0; i < most; i++) {
        uint64_t ns = keeper_step(h->k);
        if (ns > UINT64_C(10000000))
            return;
        h->now_ns += ns + 1;
    }
}

static void house_close(struct house *h)
{
    struct log *l = &h->log;
    if (l->current != NULL)
        log_queue(&l->back, l->current);
    struct log_segment *lists[] = { l->ready, l->back };
    for (int i = 0; i < 2; i++) {
        for (struct log_segment *s = lists[i], *next; s != NULL; s = next) {
            next = s->next;
            h->disk->disk.ops->close(&h->disk->disk, s->fd);
            free(s);
        }
    }
    h->k = keeper_free(h->k);
    h->disk->now_ns = NULL;
}

// A set of what there is up to the log's end: all numbers up to `top` lie in worker 0's file. False: it has failed.
static bool house_snapshot(struct house *h, uint32_t top)
{
    int64_t now_ms = 1750000000000 + top;
    uint64_t set = h->base ? keeper_base_begin(h->k, now_ms) : keeper_snapshot_begin(h->k, now_ms);
    check(set != 0);
    struct snapshot_watermark mark[HOUSE_SHARDS] = { { 0, h->above > 0 ? h->log.lsn : top }, { 1, 0 }, { 2, 0 }, { 3, 0 } };
    struct keeper_snapshot_status status;
    for (uint32_t w = 0; w < h->workers; w++) {
        struct snapshot_chunk *c = NULL;
        for (uint32_t n = 1; w == 0 && n <= top; n++) {
            char key[8];
            struct snapshot_entry e = { .deadline_ms = -1, .value = slice_cstr("value") };
            e.key = slice_of(key, (size_t)snprintf(key, sizeof key, "%u", (unsigned)(h->above + n)));
            for (int i = 0; i < 100 && c == NULL; i++, c = keeper_chunk_take(h->k, set, w))
                (void)keeper_step(h->k);
            if (c == NULL)
                break;
            check_equal(snapshot_chunk_add(c, &e, 0), snapshot_entry_size(&e));
            if (n % 40 == 0) { // small ones, so that there are many
                keeper_chunk_give(h->k, set, w, c);
                c = NULL;
            }
        }
        if (c != NULL)
            keeper_chunk_give(h->k, set, w, c);
        for (int i = 0; i < 3 && h->during; i++) // the log goes on meanwhile
            (void)log_append(&h->log, 0);
        uint32_t own = 0;
        struct snapshot_watermark marks[HOUSE_SHARDS];
        for (uint32_t i = 0; i < HOUSE_SHARDS; i++)
            if (i % h->workers == w)
                marks[own++] = mark[i];
        keeper_file_end(h->k, set, w, marks, own);
    }
    do {
        (void)keeper_step(h->k);
        keeper_snapshot_status(h->k, &status);
    } while (status.state == SNAPSHOT_RUNS);
    check_equal(status.id, set);
    return status.state == SNAPSHOT_WRITTEN;
}
