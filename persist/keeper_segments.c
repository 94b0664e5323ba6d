// SPDX-License-Identifier: Apache-2.0
// Segments: made ahead in small steps, handed to the log, taken back full, kept as long as no snapshot holds what is in them, and made new.
//
//   new file, filled with zeros   ---> log-<id>.skry.part -> headers -> fsync -> log-<id>.skry -> directory -> the log
//   old file, renamed, directory  --->
//
// A file that is not finished has a name that recovery does not look at, so that half a segment is never seen. An old file goes the same
// way only after the manifest that no longer needs it is durable.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "persist/keeper_inside.h"

// ---- lists

int keeper_segments_full(struct keeper *k, const struct full_segment *c)
{
    struct keeper_segments *s = &k->segments;
    if (s->full_count == s->full_cap) {
        uint32_t cap = s->full_cap == 0 ? 16 : s->full_cap * 2;
        struct full_segment *grown = realloc(s->full, cap * sizeof *grown);
        if (grown == NULL)
            return -ENOMEM;
        s->full = grown;
        s->full_cap = cap;
    }
    uint32_t at = s->full_count++;
    for (; at > 0 && s->full[at - 1].id > c->id; at--)
        s->full[at] = s->full[at - 1];
    s->full[at] = *c;
    atomic_fetch_add_explicit(&k->stats.log_bytes, c->size, memory_order_relaxed);
    return 0;
}

int keeper_segments_old(struct keeper *k, uint64_t id, uint64_t size)
{
    struct keeper_segments *s = &k->segments;
    if (s->old_count == s->old_cap) {
        uint32_t cap = s->old_cap == 0 ? 16 : s->old_cap * 2;
        struct old_segment *grown = realloc(s->old, cap * sizeof *grown);
        if (grown == NULL)
            return -ENOMEM;
        s->old = grown;
        s->old_cap = cap;
    }
    s->old[s->old_count++] = (struct old_segment){ .id = id, .size = size };
    return 0;
}

uint64_t keeper_segments_first(const struct keeper *k, uint64_t lsn)
{
    const struct keeper_segments *s = &k->segments;
    for (uint32_t i = 0; i < s->full_count; i++) {
        if (s->full[i].last_lsn > lsn)
            return s->full[i].id;
    }
    if (s->given_count > 0)
        return s->given[0];
    return s->made != NULL ? s->made->header.id : s->next_id;
}

void keeper_segments_forget(struct keeper *k, uint64_t first)
{
    struct keeper_segments *s = &k->segments;
    uint32_t gone = 0;
    while (gone < s->full_count && s->full[gone].id < first && keeper_segments_old(k, s->full[gone].id, s->full[gone].size) == 0) {
        keeper_scrub_forget(k, s->full[gone].id);
        atomic_fetch_sub_explicit(&k->stats.log_bytes, s->full[gone].size, memory_order_relaxed);
        gone++;
    }
    s->full_count -= gone;
    if (gone > 0 && s->full_count > 0)
        memmove(s->full, s->full + gone, s->full_count * sizeof *s->full);
}

void keeper_segments_deinit(struct keeper *k)
{
    struct keeper_segments *s = &k->segments;
    if (s->making.fd >= 0)
        k->disk->ops->close(k->disk, s->making.fd);
    while (s->made != NULL) {
        struct log_segment *next = s->made->next;
        k->disk->ops->close(k->disk, s->made->fd);
        free(s->made);
        s->made = next;
    }
    free(s->full);
    free(s->old);
}

void keeper_segments_put_away(struct keeper *k)
{
    struct keeper_segments *s = &k->segments;
    struct making *m = &s->making;
    if (m->fd >= 0) {
        k->disk->ops->close(k->disk, m->fd);
        (void)k->disk->ops->unlink(k->disk, m->part); // should it stay, the next start takes it away
        m->fd = -1;
        s->next_id++;
    }
    while (s->made != NULL) {
        struct log_segment *made = s->made;
        s->made = made->next;
        k->disk->ops->close(k->disk, made->fd);
        if (keeper_segments_old(k, made->header.id, made->header.size) != 0)
            keeper_say(k, LOG_WARNING, "out of memory: segment %llu stays until the next start", (unsigned long long)made->header.id);
        free(made);
    }
    s->trouble = 0;
    s->retry_ns = 0;
}

static int unlink_segment(struct keeper *k, uint64_t id)
{
    char name[SEGMENT_NAME_MAX];
    segment_name(id, name);
    int failed = k->disk->ops->unlink(k->disk, name);
    return failed == -ENOENT ? 0 : failed;
}

int keeper_segments_remove(struct keeper *k, uint64_t from)
{
    struct keeper_segments *s = &k->segments;
    int failed = 0;
    while (s->full_count > 0 && s->full[s->full_count - 1].id >= from && failed == 0) {
        const struct full_segment *last = &s->full[s->full_count - 1];
        failed = unlink_segment(k, last->id);
        keeper_scrub_forget(k, last->id);
        atomic_fetch_sub_explicit(&k->stats.log_bytes, last->size, memory_order_relaxed);
        s->full_count--;
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < s->old_count; i++) {
        bool goes = s->old[i].id >= from && failed == 0;
        if (goes)
            failed = unlink_segment(k, s->old[i].id);
        else
            s->old[kept++] = s->old[i];
    }
    s->old_count = kept;
    return failed == 0 ? k->disk->ops->sync_names(k->disk) : failed;
}

// ---- making

static void names_of(const struct making *m, char name[SEGMENT_NAME_MAX], char part[PART_NAME_MAX])
{
    segment_name(m->header.id, name);
    (void)snprintf(part, PART_NAME_MAX, "%s.part", name);
}

// For good: of segments that a start has cut, a later one says that it follows an earlier one, so the later one must go first.
static int remove_segment(struct keeper *k, const char *name)
{
    int failed = k->disk->ops->unlink(k->disk, name);
    if (failed == -ENOENT)
        return 0;
    return failed != 0 ? failed : k->disk->ops->sync_names(k->disk);
}

// An old file of the right size, under the name of what it will be: 1, none; or -errno.
static int begin_recycled(struct keeper *k)
{
    struct keeper_segments *s = &k->segments;
    struct making *m = &s->making;
    struct disk *d = k->disk;
    char name[SEGMENT_NAME_MAX];
    while (s->old_count > 0) {
        struct old_segment old = s->old[s->old_count - 1];
        segment_name(old.id, name);
        if (old.size == m->header.size) {
            int failed = d->ops->rename(d, name, m->part);
            if (failed != 0 && failed != -ENOENT)
                return failed;
            s->old_count--;
            if (failed != 0)
                continue;
            // Before its header is another segment's: a file of a segment's name with the header of another one is refused.
            failed = d->ops->sync_names(d);
            if (failed != 0)
                return failed;
            m->fd = d->ops->open(d, m->part, DISK_WRITE | keeper_open_flags(k), &old.size);
            m->recycled = true;
            m->offset = old.size;
            return m->fd < 0 ? m->fd : 0;
        }
        int failed = remove_segment(k, name);
        if (failed != 0)
            return failed;
        s->old_count--;
        atomic_fetch_add_explicit(&k->stats.segments_removed, 1, memory_order_relaxed);
    }
    return 1;
}

static int begin_new(struct keeper *k)
{
    struct making *m = &k->segments.making;
    struct disk *d = k->disk;
    uint64_t size = 0;
    int failed = d->ops->unlink(d, m->part);
    if (failed != 0 && failed != -ENOENT)
        return failed;
    m->fd = d->ops->open(d, m->part, DISK_WRITE | DISK_CREATE | keeper_open_flags(k), &size);
    if (m->fd < 0)
        return m->fd;
    m->recycled = false;
    m->offset = 0;
    return d->ops->allocate(d, m->fd, m->header.size);
}

static int make_begin(struct keeper *k)
{
    struct making *m = &k->segments.making;
    struct disk *d = k->disk;
    char name[SEGMENT_NAME_MAX];
    m->header = (struct segment_header){
        .store = k->origin.store,
        .history = k->origin.history,
        .id = k->segments.next_id,
        .shards = k->origin.shards,
        .size = k->origin.segment_size,
    };
    d->ops->entropy(d, &m->header.epoch, sizeof m->header.epoch);
    names_of(m, name, m->part);
    int got = begin_recycled(k);
    return got == 1 ? begin_new(k) : got;
}

static int write_headers(struct keeper *k)
{
    struct making *m = &k->segments.making;
    struct disk *d = k->disk;
    segment_encode(&m->header, k->block);
    int failed = d->ops->write(d, m->fd, k->block, BLOCK_SIZE, 0);
    if (failed == 0)
        failed = d->ops->write(d, m->fd, k->block, BLOCK_SIZE, m->header.size - BLOCK_SIZE);
    memset(k->block, 0, BLOCK_SIZE);
    return failed;
}

static int make_end(struct keeper *k)
{
    struct keeper_segments *s = &k->segments;
    struct making *m = &s->making;
    struct disk *d = k->disk;
    char name[SEGMENT_NAME_MAX];
    struct log_segment *made = calloc(1, sizeof *made);
    int failed = made == NULL ? -ENOMEM : write_headers(k);
    if (failed == 0)
        failed = d->ops->sync(d, m->fd);
    names_of(m, name, m->part);
    if (failed == 0)
        failed = d->ops->rename(d, m->part, name);
    if (failed == 0)
        failed = d->ops->sync_names(d);
    if (failed != 0) {
        free(made);
        return failed;
    }
    *made = (struct log_segment){ .header = m->header, .fd = m->fd };
    struct log_segment **at = &s->made;
    while (*at != NULL)
        at = &(*at)->next;
    *at = made;
    m->fd = -1;
    s->next_id++;
    atomic_fetch_add_explicit(m->recycled ? &k->stats.segments_recycled : &k->stats.segments_made, 1, memory_order_relaxed);
    return 0;
}

// The next piece: 0; 1: it is made; -errno, and nothing is being made any more.
static int make_some(struct keeper *k)
{
    struct making *m = &k->segments.making;
    struct disk *d = k->disk;
    int failed = 0;
    if (m->fd < 0)
        failed = make_begin(k);
    else if (m->offset < m->header.size) {
        uint64_t left = m->header.size - m->offset;
        uint64_t len = left < KEEPER_PIECE ? left : KEEPER_PIECE;
        failed = d->ops->write(d, m->fd, k->block, len, m->offset);
        m->offset += len;
    } else {
        failed = make_end(k);
        if (failed == 0)
            return 1;
    }
    if (failed == 0)
        return 0;
    // Its id is not used again: the file may be there under its name.
    if (m->fd >= 0)
        d->ops->close(d, m->fd);
    m->fd = -1;
    k->segments.next_id++;
    (void)d->ops->unlink(d, m->part);
    return failed;
}

int keeper_segments_make(struct keeper *k)
{
    int got;
    do {
        got = make_some(k);
    } while (got == 0);
    return got == 1 ? 0 : got;
}

// ---- from and to the log

static void take_back(struct keeper *k)
{
    struct keeper_segments *s = &k->segments;
    struct log_segment *back;
    while ((back = log_segment_take(k->log)) != NULL) {
        k->disk->ops->close(k->disk, back->fd);
        const struct segment_header *h = &back->header;
        bool begun = h->first_lsn != 0;
        struct full_segment full = { .id = h->id, .epoch = h->epoch, .size = h->size, .last_lsn = back->last_lsn };
        int failed = begun ? keeper_segments_full(k, &full) : keeper_segments_old(k, h->id, h->size);
        if (failed != 0)
            keeper_say(k, LOG_WARNING, "out of memory: segment %llu stays until the next start", (unsigned long long)h->id);
        for (uint32_t i = 0; i < s->given_count; i++) {
            if (s->given[i] != h->id)
                continue;
            s->given_count--;
            memmove(s->given + i, s->given + i + 1, (s->given_count - i) * sizeof *s->given);
            break;
        }
        free(back);
    }
}

static void give(struct keeper *k)
{
    struct keeper_segments *s = &k->segments;
    while (s->made != NULL && s->given_count < KEEPER_GIVEN_MAX) {
        struct log_segment *made = s->made;
        s->made = made->next;
        s->given[s->given_count++] = made->header.id;
        log_segment_give(k->log, made);
    }
}

static void trouble(struct keeper *k, int error)
{
    struct keeper_segments *s = &k->segments;
    if (s->trouble == error) {
        if (error != 0)
            log_segment_trouble(k->log, error); // a log that stops counts them
        return;
    }
    if (error != 0)
        keeper_say(k, LOG_WARNING, "no segment can be made: %s; tried again every second", strerror(-error));
    else
        keeper_say(k, LOG_NOTICE, "segments can be made again");
    s->trouble = error;
    log_segment_trouble(k->log, error);
}

// Old files beyond what is kept for recycling.
static void remove_some(struct keeper *k)
{
    struct keeper_segments *s = &k->segments;
    uint32_t keep = k->options.log ? k->options.segments_spare : 0;
    char name[SEGMENT_NAME_MAX];
    if (s->old_count <= keep)
        return;
    segment_name(s->old[s->old_count - 1].id, name);
    int failed = remove_segment(k, name);
    if (failed != 0)
        keeper_say(k, LOG_WARNING, "%s could not be removed: %s; it stays until the next start", name, strerror(-failed));
    s->old_count--;
    atomic_fetch_add_explicit(&k->stats.segments_removed, 1, memory_order_relaxed);
}

uint64_t keeper_segments_step(struct keeper *k, uint64_t now_ns)
{
    struct keeper_segments *s = &k->segments;
    remove_some(k);
    if (k->log == NULL)
        return s->old_count > (k->options.log ? k->options.segments_spare : 0) ? 0 : UINT64_MAX;
    take_back(k);
    if (log_stopped(k->log)) // it begins none any more
        return UINT64_MAX;
    give(k);
    uint32_t ready = log_segments_ready(k->log);
    if (ready >= k->options.segments_ready && s->making.fd < 0)
        return s->old_count > k->options.segments_spare ? 0 : UINT64_MAX;
    if (now_ns < s->retry_ns)
        return s->retry_ns - now_ns;
    int got = make_some(k);
    s->retry_ns = got < 0 ? now_ns + KEEPER_RETRY_NS : 0;
    if (got != 0)
        trouble(k, got < 0 ? got : 0);
    give(k);
    if (got < 0)
        return KEEPER_RETRY_NS;
    // Somebody waits for it, or it takes its time: the log's own writes go first.
    return got == 1 || ready == 0 ? 0 : KEEPER_PACE_NS;
}
