// SPDX-License-Identifier: Apache-2.0
// Between recovery and service. The first manifest of a directory is durable before any other file is made in it: files without a manifest
// are refused. What an interrupted life left aside (".part"), snapshots that no manifest names, segments below the first and behind
// the last one that counts: removed, or made new.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "persist/keeper_inside.h"

struct names {
    struct keeper *k;
    uint64_t *segments;
    uint32_t segment_count, segment_cap;
    char (*junk)[PART_NAME_MAX];
    uint32_t junk_count, junk_cap;
    bool no_memory;
};

static bool ends_with(const char *name, const char *end)
{
    size_t len = strlen(name), end_len = strlen(end);
    return len >= end_len && strcmp(name + len - end_len, end) == 0;
}

static bool set_counts(const struct keeper *k, uint64_t set)
{
    for (uint32_t i = 0; i < k->manifest.set_count; i++) {
        if (k->manifest.sets[i].id == set)
            return true;
    }
    return false;
}

static void note_set(struct keeper *k, uint64_t set)
{
    if (set > atomic_load_explicit(&k->set.id, memory_order_relaxed))
        atomic_store_explicit(&k->set.id, set, memory_order_relaxed);
}

static bool is_junk(struct keeper *k, const char *name)
{
    uint64_t set, id = segment_id_of(name);
    uint32_t file;
    if (id != 0)
        return manifest_hides(&k->manifest, id);
    if (snapshot_name_parse(name, &set, &file)) {
        note_set(k, set);
        return !set_counts(k, set);
    }
    return ends_with(name, ".skry.part") && (strncmp(name, "log-", 4) == 0 || strncmp(name, "snapshot-", 9) == 0);
}

static bool room(void **items, uint32_t count, uint32_t *cap, size_t size)
{
    if (count < *cap)
        return true;
    uint32_t more = *cap == 0 ? 32 : *cap * 2;
    void *grown = realloc(*items, more * size);
    if (grown == NULL)
        return false;
    *items = grown;
    *cap = more;
    return true;
}

static void name_found(void *context, const char *name)
{
    struct names *n = context;
    uint64_t id = segment_id_of(name);
    if (id != 0 && !manifest_hides(&n->k->manifest, id)) {
        void *items = n->segments;
        n->no_memory |= !room(&items, n->segment_count, &n->segment_cap, sizeof *n->segments);
        n->segments = items;
        if (!n->no_memory)
            n->segments[n->segment_count++] = id;
    }
    if (strlen(name) < PART_NAME_MAX && is_junk(n->k, name)) {
        void *items = n->junk;
        n->no_memory |= !room(&items, n->junk_count, &n->junk_cap, sizeof *n->junk);
        n->junk = items;
        if (!n->no_memory)
            memcpy(n->junk[n->junk_count++], name, strlen(name) + 1);
    }
}

static int by_id(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

// Its header; false: none that is valid in front.
static bool peek_segment(struct keeper *k, uint64_t id, struct segment_header *h, uint64_t *size)
{
    struct disk *d = k->disk;
    char name[SEGMENT_NAME_MAX];
    const char *why;
    segment_name(id, name);
    int fd = d->ops->open(d, name, DISK_READ | keeper_open_flags(k), size);
    if (fd < 0)
        return false;
    uint64_t at = 0;
    bool good = false;
    for (int i = 0; i < 2 && !good && *size >= 2 * BLOCK_SIZE; i++, at = *size / BLOCK_SIZE * BLOCK_SIZE - BLOCK_SIZE)
        good = d->ops->read(d, fd, k->block, BLOCK_SIZE, at) == 0 && segment_decode(h, k->block, &why) == 0 && h->id == id;
    memset(k->block, 0, BLOCK_SIZE);
    d->ops->close(d, fd);
    return good;
}

// Needed ones count as full, with the LSN that they end at; the others are old.
static int sort_segments(struct keeper *k, struct names *n)
{
    struct keeper_segments *s = &k->segments;
    if (n->segment_count > 0)
        qsort(n->segments, n->segment_count, sizeof *n->segments, by_id);
    // Not below the manifest's first one, though there may be none of that name (any more): recovery does not look there.
    s->next_id = k->origin.last_segment + 1 > k->manifest.first_segment ? k->origin.last_segment + 1 : k->manifest.first_segment;
    uint64_t end = k->origin.lsn; // of the one that is looked at
    int failed = 0;
    for (uint32_t i = n->segment_count; i-- > 0 && failed == 0;) {
        uint64_t id = n->segments[i], size = 0;
        struct segment_header h;
        bool good = peek_segment(k, id, &h, &size);
        if (id >= s->next_id)
            s->next_id = id + 1;
        if (id > k->origin.last_segment)
            continue;
        if (id < k->manifest.first_segment) {
            failed = keeper_segments_old(k, id, size);
            continue;
        }
        failed = keeper_segments_full(k, &(struct full_segment){ .id = id, .epoch = good ? h.epoch : 0, .size = size, .last_lsn = end });
        if (good && h.first_lsn > 0)
            end = h.first_lsn - 1;
    }
    // What this start has cut, and what was made ahead: the newest goes first (keeper_segments.c).
    for (uint32_t i = 0; i < n->segment_count && failed == 0; i++) {
        uint64_t id = n->segments[i], size = 0;
        struct segment_header h;
        if (id <= k->origin.last_segment)
            continue;
        (void)peek_segment(k, id, &h, &size);
        failed = keeper_segments_old(k, id, size);
    }
    return failed;
}

int keeper_files_list(struct keeper *k)
{
    struct disk *d = k->disk;
    struct names n = { .k = k };
    int failed = d->ops->list(d, name_found, &n);
    if (failed == 0 && n.no_memory)
        failed = -ENOMEM;
    for (uint32_t i = 0; i < n.junk_count && failed == 0; i++) {
        failed = d->ops->unlink(d, n.junk[i]);
        failed = failed == -ENOENT ? 0 : failed;
    }
    if (failed == 0)
        failed = sort_segments(k, &n);
    free(n.segments);
    free(n.junk);
    return failed;
}

static void new_identity(struct keeper *k, struct manifest *m)
{
    struct disk *d = k->disk;
    *m = (struct manifest){ .shards = k->options.shards };
    d->ops->entropy(d, &m->store, sizeof m->store);
    d->ops->entropy(d, &m->history, sizeof m->history);
    k->origin.store = m->store;
    k->origin.history = m->history;
    k->origin.shards = m->shards;
}

// Is there this segment's header at `offset`? It is left in k->block.
static bool header_at(struct keeper *k, int fd, uint64_t id, uint64_t offset, struct segment_header *h)
{
    const char *why;
    return k->disk->ops->read(k->disk, fd, k->block, BLOCK_SIZE, offset) == 0 && segment_decode(h, k->block, &why) == 0 && h->id == id;
}

// R6: of a segment that is needed one header is bad: it becomes as the other one again, before that goes too.
static int mend(struct keeper *k, int fd, uint64_t id, uint64_t size)
{
    struct segment_header h, twin;
    uint64_t last = size / BLOCK_SIZE * BLOCK_SIZE - BLOCK_SIZE, bad = last;
    if (!header_at(k, fd, id, 0, &h)) {
        if (!header_at(k, fd, id, last, &h))
            return 0;
        bad = 0;
    }
    if (h.size != last + BLOCK_SIZE || header_at(k, fd, id, bad, &twin))
        return 0;
    segment_encode(&h, k->block);
    int failed = k->disk->ops->write(k->disk, fd, k->block, BLOCK_SIZE, bad);
    return failed == 0 ? k->disk->ops->sync(k->disk, fd) : failed;
}

static void mend_segments(struct keeper *k)
{
    for (uint32_t i = 0; i < k->segments.full_count; i++) {
        const struct full_segment *s = &k->segments.full[i];
        char name[SEGMENT_NAME_MAX];
        uint64_t size = 0;
        segment_name(s->id, name);
        int fd = k->disk->ops->open(k->disk, name, DISK_WRITE | keeper_open_flags(k), &size);
        int failed = fd < 0 ? fd : size >= 2 * BLOCK_SIZE ? mend(k, fd, s->id, size) : 0;
        if (fd >= 0)
            k->disk->ops->close(k->disk, fd);
        if (failed != 0)
            keeper_say(k, LOG_WARNING, "%s: a bad header could not be written anew: %s", name, strerror(-failed));
    }
    memset(k->block, 0, BLOCK_SIZE);
}

int keeper_begin(struct keeper *k, struct log_origin *origin)
{
    assert(keeper_load_state(k) == KEEPER_LOADED);
    struct manifest m;
    recover_origin(k->recover, &k->origin, &m);
    k->origin.segment_size = k->options.recover.segment_size;
    k->manifest = m;
    k->manifest_new = m.generation == 0; // what is there is not valid
    if (m.generation == 0)
        new_identity(k, &m);
    k->recover = recover_free(k->recover);
    int failed = keeper_files_list(k);
    if (failed == 0 && m.hidden_segment != 0) // gone before a manifest hides them no more
        failed = k->disk->ops->sync_names(k->disk);
    if (failed != 0)
        return failed;
    m.hidden_segment = 0;
    m.flags = k->options.log ? MANIFEST_LOG : 0;
    m.route_mode = k->options.route_mode;
    m.segment_size = k->origin.segment_size;
    m.witness = k->origin.lsn;
    failed = keeper_manifest_write(k, &m);
    if (failed == 0 && k->manifest.generation == 1) // the other copy has its room, whatever fills the disk from now on
        failed = keeper_manifest_write(k, &m);
    if (failed != 0)
        return failed;
    k->manifest_ns = k->disk->ops->now_ns(k->disk);
    k->set.last_save_ms = m.set_count > 0 ? m.sets[0].made_ms : 0;
    *origin = k->origin;
    mend_segments(k); // nothing is written before the manifest
    failed = k->options.log ? keeper_segments_make(k) : 0;
    return failed == -ENOSPC || failed == -EDQUOT ? 0 : failed; // tried again by each step; until then the log is full
}
