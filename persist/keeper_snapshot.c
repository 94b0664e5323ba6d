// SPDX-License-Identifier: Apache-2.0
// Taking a snapshot in.
//
//   worker                               keeper
//   keeper_snapshot_begin -------------> SET_WRITES: a writer for each file, chunks for each worker
//   take, fill, give ------------------> written; the chunk goes back
//   keeper_file_end -------------------> trailer, fsync, rename
//                                        all files: directory fsync, SET_VERIFIES: read back
//                                        manifest that names it: it counts; what it replaces goes
//
// What is given for a set that is no more is thrown away: every chunk says whose it is. Failure: any error before the manifest is durable
// leaves the set before as it was, and removes the new files.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "persist/keeper_inside.h"

#define VERIFY_RUNS 8 // of entries, a step

static uint32_t state_of(const struct keeper_set *s)
{
    return atomic_load_explicit(&s->state, memory_order_acquire);
}

static bool runs(const struct keeper_set *s, uint64_t set)
{
    return state_of(s) == SNAPSHOT_RUNS && atomic_load_explicit(&s->id, memory_order_relaxed) == set;
}

static void push(_Atomic(struct snapshot_chunk *) *list, struct snapshot_chunk *c)
{
    struct snapshot_chunk *first = atomic_load_explicit(list, memory_order_relaxed);
    do {
        c->next = first;
    } while (!atomic_compare_exchange_weak_explicit(list, &first, c, memory_order_release, memory_order_relaxed));
}

// Oldest first.
static struct snapshot_chunk *pull(_Atomic(struct snapshot_chunk *) *list)
{
    struct snapshot_chunk *newest = atomic_exchange_explicit(list, NULL, memory_order_acquire), *oldest = NULL;
    while (newest != NULL) {
        struct snapshot_chunk *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

static void free_all(struct snapshot_chunk *c)
{
    while (c != NULL) {
        struct snapshot_chunk *next = c->next;
        snapshot_chunk_free(c);
        c = next;
    }
}

int keeper_set_init(struct keeper *k)
{
    size_t bytes = k->options.workers * sizeof *k->set.files;
    k->set.files = aligned_alloc(64, bytes);
    if (k->set.files == NULL)
        return -ENOMEM;
    memset(k->set.files, 0, bytes);
    return 0;
}

void keeper_set_deinit(struct keeper *k)
{
    struct keeper_set *s = &k->set;
    for (uint32_t i = 0; s->files != NULL && i < k->options.workers; i++) {
        struct keeper_file *f = &s->files[i];
        snapshot_writer_free(f->writer);
        free_all(f->mine);
        free_all(pull(&f->in));
        free_all(pull(&f->spare));
        free(f->marks);
    }
    snapshot_reader_free(s->reader);
    free(s->files);
}

// ---- workers

static uint64_t begin(struct keeper *k, int64_t now_ms, bool base)
{
    struct keeper_set *s = &k->set;
    uint64_t id = 0;
    keeper_hold(s);
    bool free = state_of(s) != SNAPSHOT_RUNS;
    for (uint32_t i = 0; i < k->options.workers && free; i++)
        free = atomic_load_explicit(&s->files[i].busy, memory_order_acquire) == 0;
    if (free) {
        id = atomic_load_explicit(&s->id, memory_order_relaxed) + 1;
        atomic_store_explicit(&s->id, id, memory_order_relaxed);
        atomic_store_explicit(&s->entries, 0, memory_order_relaxed);
        atomic_store_explicit(&s->bytes, 0, memory_order_relaxed);
        s->began_ms = now_ms;
        s->base = base;
        // The end of a unit: what lies behind it is read from its first frame on.
        s->lsn = k->log != NULL ? atomic_load_explicit(&log_stats(k->log)->durable_lsn, memory_order_acquire) : k->origin.lsn;
        for (uint32_t i = 0; i < k->options.workers; i++) {
            atomic_store_explicit(&s->files[i].ended, false, memory_order_relaxed);
            atomic_store_explicit(&s->files[i].busy, id, memory_order_relaxed);
        }
        atomic_store_explicit(&s->state, SNAPSHOT_RUNS, memory_order_release);
    }
    keeper_let_go(s);
    if (id != 0)
        keeper_wake(k);
    return id;
}

uint64_t keeper_snapshot_begin(struct keeper *k, int64_t now_ms)
{
    return begin(k, now_ms, false);
}

uint64_t keeper_base_begin(struct keeper *k, int64_t now_ms)
{
    return begin(k, now_ms, true);
}

bool keeper_snapshot_runs(const struct keeper *k, uint64_t set)
{
    return runs(&k->set, set);
}

struct snapshot_chunk *keeper_chunk_take(struct keeper *k, uint64_t set, uint32_t file)
{
    struct keeper_file *f = &k->set.files[file];
    if (!runs(&k->set, set))
        return NULL;
    if (f->mine == NULL && atomic_load_explicit(&f->spare, memory_order_relaxed) != NULL)
        f->mine = atomic_exchange_explicit(&f->spare, NULL, memory_order_acquire);
    struct snapshot_chunk *c = f->mine;
    if (c != NULL)
        f->mine = c->next;
    else
        atomic_store_explicit(&f->hungry, true, memory_order_release);
    return c;
}

void keeper_chunk_give(struct keeper *k, uint64_t set, uint32_t file, struct snapshot_chunk *c)
{
    c->set = set;
    push(&k->set.files[file].in, c);
    keeper_wake(k);
}

static void leave(struct keeper *k, struct keeper_file *f, uint64_t set)
{
    if (atomic_load_explicit(&f->busy, memory_order_relaxed) != set)
        return;
    free_all(f->mine);
    f->mine = NULL;
    atomic_store_explicit(&f->busy, 0, memory_order_release);
    keeper_wake(k);
}

void keeper_file_end(struct keeper *k, uint64_t set, uint32_t file, const struct snapshot_watermark *marks, uint32_t count)
{
    struct keeper_file *f = &k->set.files[file];
    struct snapshot_watermark *copy = malloc((count + 1) * sizeof *copy);
    if (copy == NULL) {
        keeper_file_drop(k, set, file);
        return;
    }
    if (count > 0)
        memcpy(copy, marks, count * sizeof *copy);
    keeper_hold(&k->set);
    bool counts = runs(&k->set, set);
    if (counts) {
        f->marks = copy;
        f->mark_count = count;
        atomic_store_explicit(&f->ended, true, memory_order_release);
    }
    keeper_let_go(&k->set);
    if (!counts)
        free(copy);
    leave(k, f, set);
}

void keeper_file_drop(struct keeper *k, uint64_t set, uint32_t file)
{
    keeper_snapshot_cancel(k, set, "a worker gave up");
    leave(k, &k->set.files[file], set);
}

void keeper_snapshot_cancel(struct keeper *k, uint64_t set, const char *why)
{
    struct keeper_set *s = &k->set;
    keeper_hold(s);
    if (runs(s, set) && atomic_load_explicit(&s->cancelled, memory_order_relaxed) != set) {
        atomic_store_explicit(&s->cancel_why, why, memory_order_relaxed);
        atomic_store_explicit(&s->cancelled, set, memory_order_release);
    }
    keeper_let_go(s);
    keeper_wake(k);
}

void keeper_snapshot_status(struct keeper *k, struct keeper_snapshot_status *out)
{
    struct keeper_set *s = &k->set;
    keeper_hold(s);
    *out = (struct keeper_snapshot_status){
        .state = (enum keeper_snapshot)state_of(s),
        .id = atomic_load_explicit(&s->id, memory_order_relaxed),
        .entries = atomic_load_explicit(&s->entries, memory_order_relaxed),
        .bytes = atomic_load_explicit(&s->bytes, memory_order_relaxed),
        .began_ms = s->began_ms,
        .count = s->count,
        .last_save_ms = s->last_save_ms,
    };
    memcpy(out->error, s->error, sizeof out->error);
    keeper_let_go(s);
}

// ---- the keeper

static void unlink_set(struct keeper *k, uint64_t set, uint32_t files)
{
    char name[SNAPSHOT_NAME_MAX];
    for (uint32_t i = 0; i < files; i++) {
        snapshot_name(set, i, name);
        int failed = k->disk->ops->unlink(k->disk, name);
        if (failed != 0 && failed != -ENOENT)
            keeper_say(k, LOG_WARNING, "%s could not be removed: %s", name, strerror(-failed));
    }
}

// No set is taken in any more; the workers' last chunks are thrown away as they come.
static void close_set(struct keeper *k, enum keeper_snapshot state, const char *error)
{
    struct keeper_set *s = &k->set;
    for (uint32_t i = 0; i < k->options.workers; i++) {
        struct keeper_file *f = &s->files[i];
        f->writer = snapshot_writer_free(f->writer);
        free_all(pull(&f->spare));
        f->finished = false;
    }
    s->reader = snapshot_reader_free(s->reader);
    s->phase = SET_NONE;
    keeper_hold(s);
    for (uint32_t i = 0; i < k->options.workers; i++) {
        if (atomic_load_explicit(&s->files[i].ended, memory_order_acquire)) {
            free(s->files[i].marks);
            s->files[i].marks = NULL;
        }
    }
    (void)snprintf(s->error, sizeof s->error, "%s", error);
    if (state == SNAPSHOT_WRITTEN) {
        s->count++;
        s->last_save_ms = s->began_ms;
    }
    atomic_store_explicit(&s->state, state, memory_order_release);
    keeper_let_go(s);
    if (k->options.wake_workers != NULL)
        k->options.wake_workers(k->options.context);
}

static void fail(struct keeper *k, const char *what, int error)
{
    struct keeper_set *s = &k->set;
    char text[96];
    (void)snprintf(text, sizeof text, "%s%s%s", what, error != 0 ? ": " : "", error != 0 ? strerror(-error) : "");
    uint64_t id = atomic_load_explicit(&s->id, memory_order_relaxed);
    keeper_say(k, LOG_WARNING, "snapshot %llu failed: %s", (unsigned long long)id, text);
    for (uint32_t i = 0; i < k->options.workers; i++)
        s->files[i].writer = snapshot_writer_free(s->files[i].writer);
    s->reader = snapshot_reader_free(s->reader);
    unlink_set(k, id, k->options.workers);
    close_set(k, SNAPSHOT_FAILED, text);
}

static void open_set(struct keeper *k)
{
    struct keeper_set *s = &k->set;
    struct snapshot_identity id = {
        .store = k->origin.store,
        .history = k->origin.history,
        .set = atomic_load_explicit(&s->id, memory_order_relaxed),
        .files = k->options.workers,
        .shards = k->origin.shards,
        .made_ms = s->began_ms,
    };
    s->file_bytes = 0;
    s->phase = SET_WRITES;
    for (uint32_t i = 0; i < k->options.workers; i++) {
        struct keeper_file *f = &s->files[i];
        id.file = i;
        int failed = snapshot_writer_open(&f->writer, k->disk, &id);
        if (failed != 0) {
            fail(k, "a file could not be made", failed);
            return;
        }
        for (uint32_t n = 0; n < KEEPER_CHUNKS; n++) {
            struct snapshot_chunk *c = snapshot_chunk_new();
            if (c == NULL) {
                fail(k, "no memory for chunks", 0);
                return;
            }
            push(&f->spare, c);
        }
    }
    if (k->options.wake_workers != NULL)
        k->options.wake_workers(k->options.context);
}

static bool write_chunk(struct keeper *k, struct keeper_file *f, struct snapshot_chunk *c)
{
    struct keeper_set *s = &k->set;
    int failed = snapshot_writer_add(f->writer, c);
    if (failed != 0) {
        snapshot_chunk_free(c);
        fail(k, "a write failed", failed);
        return false;
    }
    atomic_fetch_add_explicit(&s->entries, c->entries, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->bytes, c->payload, memory_order_relaxed);
    snapshot_chunk_reset(c);
    push(&f->spare, c);
    if (atomic_exchange_explicit(&f->hungry, false, memory_order_acq_rel) && k->options.wake_workers != NULL)
        k->options.wake_workers(k->options.context);
    return true;
}

// What has come for a file. False: the set has failed.
static bool take_in(struct keeper *k, struct keeper_file *f, bool *did)
{
    struct keeper_set *s = &k->set;
    bool ended = atomic_load_explicit(&f->ended, memory_order_acquire); // before the chunks, which were given before it
    uint64_t id = atomic_load_explicit(&s->id, memory_order_relaxed);
    bool good = true;
    for (struct snapshot_chunk *c = pull(&f->in), *next; c != NULL; c = next) {
        next = c->next;
        *did = true;
        if (good && c->set == id && !f->finished)
            good = write_chunk(k, f, c);
        else
            snapshot_chunk_free(c);
    }
    if (!good || !ended || f->finished)
        return good;
    int failed = snapshot_writer_finish(f->writer, f->marks, f->mark_count);
    if (failed != 0) {
        fail(k, "a file could not be finished", failed);
        return false;
    }
    *did = true;
    f->finished = true;
    s->file_bytes += snapshot_writer_bytes(f->writer);
    f->writer = snapshot_writer_free(f->writer);
    return true;
}

static void begin_verify(struct keeper *k)
{
    struct keeper_set *s = &k->set;
    int failed = k->disk->ops->sync_names(k->disk);
    if (failed != 0) {
        fail(k, "the directory could not be synced", failed);
        return;
    }
    s->phase = SET_VERIFIES;
    s->verify_file = 0;
    s->verified = 0;
}

static uint64_t step_write(struct keeper *k)
{
    struct keeper_set *s = &k->set;
    bool did = false, all = true;
    for (uint32_t i = 0; i < k->options.workers; i++) {
        if (!take_in(k, &s->files[i], &did))
            return 0;
        all &= s->files[i].finished;
    }
    if (all)
        begin_verify(k);
    return did || all ? 0 : UINT64_MAX; // woken by what comes
}

// The set counts: the manifest says so, and what it replaces goes.
static void publish(struct keeper *k)
{
    struct keeper_set *s = &k->set;
    struct manifest before = k->manifest, next = before;
    next.sets[0] = (struct snapshot_set){
        .id = atomic_load_explicit(&s->id, memory_order_relaxed),
        .lsn = s->lsn,
        .files = k->options.workers,
        .bytes = s->file_bytes,
        .made_ms = s->began_ms,
        .entries = s->verified,
    };
    next.set_count = 1;
    if (s->base) { // from here on the log counts
        next.hidden_segment = 0;
        next.flags |= MANIFEST_LOG;
    }
    if (next.hidden_segment == 0)
        next.first_segment = keeper_segments_first(k, s->lsn);
    if (next.hidden_segment == 0 && k->log != NULL)
        next.witness = atomic_load_explicit(&log_stats(k->log)->durable_lsn, memory_order_acquire);
    int failed = keeper_manifest_write(k, &next);
    if (failed != 0) {
        fail(k, "the manifest could not be written", failed);
        return;
    }
    for (uint32_t i = 0; i < before.set_count; i++)
        unlink_set(k, before.sets[i].id, before.sets[i].files);
    keeper_segments_forget(k, next.first_segment);
    keeper_say(k, LOG_NOTICE, "snapshot %llu: %llu entries, %llu bytes in %u files", (unsigned long long)next.sets[0].id,
               (unsigned long long)next.sets[0].entries, (unsigned long long)s->file_bytes, k->options.workers);
    close_set(k, SNAPSHOT_WRITTEN, "");
}

// Reads back what was written, some of it a step.
static uint64_t step_verify(struct keeper *k)
{
    struct keeper_set *s = &k->set;
    const char *why = "";
    struct slice run;
    int got = 0;
    if (s->reader == NULL)
        got = snapshot_reader_open(&s->reader, k->disk, atomic_load_explicit(&s->id, memory_order_relaxed), s->verify_file,
                                   &k->origin.store, &why);
    for (int i = 0; i < VERIFY_RUNS && got == 0; i++)
        got = snapshot_reader_next(s->reader, &run, &why);
    if (got == 0)
        return 0;
    if (got < 0) {
        fail(k, got == -EBADMSG ? why : "reading back failed", got == -EBADMSG ? 0 : got);
        return 0;
    }
    struct snapshot_totals totals;
    snapshot_reader_totals(s->reader, &totals);
    s->verified += totals.entries;
    s->reader = snapshot_reader_free(s->reader);
    if (++s->verify_file == k->options.workers)
        publish(k);
    return 0;
}

uint64_t keeper_set_step(struct keeper *k)
{
    struct keeper_set *s = &k->set;
    if (state_of(s) != SNAPSHOT_RUNS) {
        for (uint32_t i = 0; i < k->options.workers; i++)
            free_all(pull(&s->files[i].in));
        return UINT64_MAX;
    }
    uint64_t id = atomic_load_explicit(&s->id, memory_order_relaxed);
    if (atomic_load_explicit(&s->cancelled, memory_order_acquire) == id)
        fail(k, atomic_load_explicit(&s->cancel_why, memory_order_relaxed), 0);
    else if (s->phase == SET_NONE)
        open_set(k);
    else
        return s->phase == SET_WRITES ? step_write(k) : step_verify(k);
    return 0;
}
