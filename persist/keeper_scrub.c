// SPDX-License-Identifier: Apache-2.0
// Rot shows while the data is still in memory, and not at the next start: full segments and the newest snapshot are read again, a piece
// every eighth of a second (8 MiB/s at most), all of them once, then a rest. What does not verify is said once a round, and counted.
#include <errno.h>
#include <string.h>

#include "persist/keeper_inside.h"

void keeper_scrub_init(struct keeper *k)
{
    k->scrub.fd = -1;
}

static void close_segment(struct keeper *k)
{
    struct scrub *c = &k->scrub;
    if (c->fd >= 0)
        k->disk->ops->close(k->disk, c->fd);
    c->fd = -1;
}

void keeper_scrub_deinit(struct keeper *k)
{
    close_segment(k);
    k->scrub.reader = snapshot_reader_free(k->scrub.reader);
}

void keeper_scrub_forget(struct keeper *k, uint64_t id)
{
    if (k->scrub.id == id)
        close_segment(k);
}

static void rot(struct keeper *k, const char *name, uint64_t offset, const char *what)
{
    atomic_fetch_add_explicit(&k->stats.scrub_errors, 1, memory_order_relaxed);
    keeper_say(k, LOG_WARNING,
               "%s: %s at offset %llu, though it was good when it was written. The data is still in memory: BGSAVE writes it anew", name,
               what, (unsigned long long)offset);
}

// The first full segment behind the one that was read last; NULL: that was the last.
static const struct full_segment *next_full(const struct keeper *k)
{
    const struct keeper_segments *s = &k->segments;
    for (uint32_t i = 0; i < s->full_count; i++) {
        if (s->full[i].id > k->scrub.id && s->full[i].epoch != 0)
            return &s->full[i];
    }
    return NULL;
}

static void open_segment(struct keeper *k, const struct full_segment *full)
{
    struct scrub *c = &k->scrub;
    char name[SEGMENT_NAME_MAX];
    c->id = full->id;
    c->epoch = full->epoch;
    c->last_lsn = full->last_lsn;
    c->size = full->size;
    c->offset = BLOCK_SIZE;
    segment_name(full->id, name);
    uint64_t size = 0;
    c->fd = k->disk->ops->open(k->disk, name, DISK_READ | keeper_open_flags(k), &size);
    if (c->fd < 0)
        rot(k, name, 0, "it cannot be opened");
    else if (size != full->size)
        rot(k, name, size, "its length has changed");
    if (c->fd >= 0 && size != full->size)
        close_segment(k);
}

// Frames of the piece that is in memory; how many bytes they take. 0: the next one does not verify. *end: the last one was there.
static uint64_t verify_frames(struct keeper *k, uint64_t len, bool *end)
{
    struct scrub *c = &k->scrub;
    uint64_t at = 0;
    while (at + BLOCK_SIZE <= len && !*end) {
        struct frame_head h;
        const uint8_t *frame = k->block + at;
        struct frame_place place = { .store = &k->origin.store, .segment = c->id, .epoch = c->epoch, .offset = c->offset + at };
        if (frame_peek(&h, frame, c->epoch) != 0)
            return at;
        uint64_t size = (uint64_t)h.blocks * BLOCK_SIZE;
        if (size > len - at)
            return at;
        if (frame_verify(&h, &place, frame) != 0)
            return at;
        at += size;
        *end = h.lsn >= c->last_lsn;
    }
    return at;
}

static void scrub_segment(struct keeper *k)
{
    struct scrub *c = &k->scrub;
    uint64_t left = c->size - BLOCK_SIZE - c->offset;
    uint64_t len = left < KEEPER_PIECE ? left : KEEPER_PIECE;
    char name[SEGMENT_NAME_MAX];
    segment_name(c->id, name);
    bool end = len == 0;
    int failed = end ? 0 : k->disk->ops->read(k->disk, c->fd, k->block, len, c->offset);
    uint64_t good = failed == 0 && !end ? verify_frames(k, len, &end) : 0;
    memset(k->block, 0, len);
    atomic_fetch_add_explicit(&k->stats.scrubbed_bytes, len, memory_order_relaxed);
    if (failed != 0)
        rot(k, name, c->offset, "it cannot be read");
    else if (good == 0 && !end)
        rot(k, name, c->offset, "a frame does not verify");
    c->offset += good;
    if (failed != 0 || end || good == 0)
        close_segment(k);
}

// The files of the newest set, one after the other. True: that was the last.
static bool scrub_snapshot(struct keeper *k)
{
    struct scrub *c = &k->scrub;
    if (k->manifest.set_count == 0)
        return true;
    const struct snapshot_set *set = &k->manifest.sets[0];
    if (c->set != set->id) { // a newer one: from its beginning
        c->reader = snapshot_reader_free(c->reader);
        c->set = set->id;
        c->file = 0;
    }
    const char *why = "it cannot be read";
    struct slice run = { 0 };
    int got = 0;
    if (c->reader == NULL)
        got = snapshot_reader_open(&c->reader, k->disk, c->set, c->file, &k->origin.store, &why);
    for (uint64_t bytes = 0; bytes < KEEPER_PIECE && got == 0; bytes += run.len) {
        got = snapshot_reader_next(c->reader, &run, &why);
        if (got == 0)
            atomic_fetch_add_explicit(&k->stats.scrubbed_bytes, run.len, memory_order_relaxed);
    }
    if (got == 0)
        return false;
    if (got < 0) {
        char name[SNAPSHOT_NAME_MAX];
        snapshot_name(c->set, c->file, name);
        rot(k, name, 0, why);
    }
    c->reader = snapshot_reader_free(c->reader);
    if (++c->file < set->files)
        return false;
    c->set = 0;
    return true;
}

uint64_t keeper_scrub_step(struct keeper *k, uint64_t now_ns)
{
    struct scrub *c = &k->scrub;
    if (now_ns < c->next_ns)
        return c->next_ns - now_ns;
    c->next_ns = now_ns + KEEPER_SCRUB_STEP_NS;
    if (c->fd >= 0) {
        scrub_segment(k);
        return KEEPER_SCRUB_STEP_NS;
    }
    const struct full_segment *full = next_full(k);
    if (full != NULL) {
        open_segment(k, full);
    } else if (scrub_snapshot(k)) {
        c->id = 0;
        c->next_ns = now_ns + KEEPER_SCRUB_REST_NS;
    }
    return c->next_ns - now_ns;
}
