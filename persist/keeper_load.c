// SPDX-License-Identifier: Apache-2.0
// What recovery hands out, copied and put where every worker takes it. Pieces are taken in order by each worker, so they are done with in
// order, and the ring needs two counters.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "persist/keeper_inside.h"

static enum keeper_load conclude(struct keeper *k, enum keeper_load state)
{
    atomic_store_explicit(&k->load.state, state, memory_order_release);
    if (k->options.wake_workers != NULL)
        k->options.wake_workers(k->options.context);
    return state;
}

static enum keeper_load refuse(struct keeper *k, enum recover_verdict verdict, const char *text)
{
    struct recover_report *report = &k->load.report;
    *report = *recover_report(k->recover);
    report->verdict = verdict;
    report->rule = ""; // what is wrong is not in the files
    (void)snprintf(report->text, sizeof report->text, "%s", text);
    return conclude(k, KEEPER_REFUSED);
}

static bool verdict_good(enum recover_verdict v)
{
    return v == RECOVER_EMPTY || v == RECOVER_CLEAN || v == RECOVER_CUT;
}

// The watermarks as they are now, for the pieces that are read under them.
static const uint64_t *marks_of(struct keeper *k, const uint64_t *now)
{
    struct keeper_loading *l = &k->load;
    if (now == NULL)
        return NULL;
    struct manifest found;
    struct log_origin origin;
    recover_origin(k->recover, &origin, &found);
    size_t bytes = (size_t)origin.shards * sizeof *now;
    if (l->marks != NULL && memcmp(l->marks->sequences, now, bytes) == 0)
        return l->marks->sequences;
    struct load_marks *m = malloc(sizeof *m + bytes);
    if (m == NULL)
        return NULL;
    memcpy(m->sequences, now, bytes);
    m->older = l->marks;
    l->marks = m;
    return m->sequences;
}

static struct load_piece *piece_new(struct keeper *k, const struct recover_item *item)
{
    struct load_piece *p = calloc(1, sizeof *p);
    uint8_t *memory = malloc(item->bytes.len + 1);
    const uint64_t *marks = marks_of(k, item->watermarks);
    if (p == NULL || memory == NULL || (marks == NULL && item->watermarks != NULL)) {
        free(p);
        free(memory);
        return NULL;
    }
    if (item->bytes.len > 0)
        memcpy(memory, item->bytes.data, item->bytes.len);
    p->item = *item;
    p->item.bytes = slice_of(memory, item->bytes.len);
    p->item.watermarks = marks;
    p->memory = memory;
    p->size = sizeof *p + item->bytes.len;
    atomic_init(&p->users, k->options.workers);
    return p;
}

static struct load_piece *piece_free(struct load_piece *p)
{
    free(p->memory);
    free(p);
    return NULL;
}

static bool push(struct keeper *k, const struct recover_item *item)
{
    struct keeper_loading *l = &k->load;
    struct load_piece *p = piece_new(k, item);
    if (p == NULL)
        return false;
    uint64_t at = atomic_load_explicit(&l->produced, memory_order_relaxed);
    l->ring[at % KEEPER_RING] = p;
    atomic_fetch_add_explicit(&l->bytes, p->size, memory_order_relaxed);
    atomic_store_explicit(&l->produced, at + 1, memory_order_release);
    if (k->options.wake_workers != NULL)
        k->options.wake_workers(k->options.context);
    return true;
}

static bool keep_sequences(struct keeper *k)
{
    struct manifest found;
    struct log_origin origin;
    if (k->load.report.verdict == RECOVER_EMPTY)
        return true;
    recover_origin(k->recover, &origin, &found);
    k->load.sequences = malloc(origin.shards * sizeof *k->load.sequences);
    if (k->load.sequences == NULL)
        return false;
    memcpy(k->load.sequences, recover_sequences(k->recover), origin.shards * sizeof *k->load.sequences);
    return true;
}

static enum keeper_load step_end(struct keeper *k, bool *waits)
{
    struct keeper_loading *l = &k->load;
    uint64_t finished = atomic_load_explicit(&l->finished, memory_order_acquire);
    if (finished != atomic_load_explicit(&l->produced, memory_order_relaxed)) {
        *waits = true;
        return KEEPER_LOADING;
    }
    return conclude(k, KEEPER_LOADED);
}

enum keeper_load keeper_load_step(struct keeper *k, bool *waits)
{
    struct keeper_loading *l = &k->load;
    struct recover_item item;
    *waits = false;
    enum keeper_load state = keeper_load_state(k);
    if (state != KEEPER_LOADING)
        return state;
    if (atomic_load_explicit(&l->refusing, memory_order_acquire) == 2)
        return refuse(k, RECOVER_BROKEN, l->refusal);
    if (l->ended)
        return step_end(k, waits);
    uint64_t under_way =
        atomic_load_explicit(&l->produced, memory_order_relaxed) - atomic_load_explicit(&l->finished, memory_order_acquire);
    if (under_way == KEEPER_RING || atomic_load_explicit(&l->bytes, memory_order_relaxed) >= KEEPER_LOAD_BYTES) {
        *waits = true;
        return KEEPER_LOADING;
    }
    int got = recover_next(k->recover, &item);
    uint64_t done, total;
    (void)recover_progress(k->recover, &done, &total);
    atomic_store_explicit(&l->progress, done, memory_order_relaxed);
    atomic_store_explicit(&l->total, total, memory_order_relaxed);
    if (got < 0 || (got == 0 && !push(k, &item)))
        return refuse(k, RECOVER_IO, "out of memory");
    if (got == 0)
        return KEEPER_LOADING;
    l->ended = true;
    l->report = *recover_report(k->recover);
    atomic_store_explicit(&l->progress, total, memory_order_relaxed); // what lies behind the end is not read
    if (!verdict_good(l->report.verdict))
        return conclude(k, KEEPER_REFUSED);
    return keep_sequences(k) ? step_end(k, waits) : refuse(k, RECOVER_IO, "out of memory");
}

struct load_piece *keeper_piece_take(struct keeper *k, uint32_t w)
{
    struct keeper_loading *l = &k->load;
    if (l->taken[w] == atomic_load_explicit(&l->produced, memory_order_acquire))
        return NULL;
    return l->ring[l->taken[w]++ % KEEPER_RING];
}

void keeper_piece_done(struct keeper *k, struct load_piece *p)
{
    struct keeper_loading *l = &k->load;
    if (atomic_fetch_sub_explicit(&p->users, 1, memory_order_acq_rel) != 1)
        return;
    atomic_fetch_sub_explicit(&l->bytes, p->size, memory_order_relaxed);
    (void)piece_free(p);
    atomic_fetch_add_explicit(&l->finished, 1, memory_order_acq_rel);
    keeper_wake(k);
}

void keeper_piece_refused(struct keeper *k, const char *why)
{
    struct keeper_loading *l = &k->load;
    uint32_t none = 0;
    if (!atomic_compare_exchange_strong_explicit(&l->refusing, &none, 1, memory_order_acquire, memory_order_relaxed))
        return;
    (void)snprintf(l->refusal, sizeof l->refusal, "%s", why);
    atomic_store_explicit(&l->refusing, 2, memory_order_release);
    keeper_wake(k);
}

enum keeper_load keeper_load_state(const struct keeper *k)
{
    return (enum keeper_load)atomic_load_explicit(&k->load.state, memory_order_acquire);
}

void keeper_load_progress(const struct keeper *k, uint64_t *bytes, uint64_t *total)
{
    *bytes = atomic_load_explicit(&k->load.progress, memory_order_relaxed);
    *total = atomic_load_explicit(&k->load.total, memory_order_relaxed);
}

const struct recover_report *keeper_report(const struct keeper *k)
{
    return &k->load.report;
}

const uint64_t *keeper_sequences(const struct keeper *k)
{
    return k->load.sequences;
}

void keeper_load_deinit(struct keeper *k)
{
    struct keeper_loading *l = &k->load;
    uint64_t produced = atomic_load_explicit(&l->produced, memory_order_relaxed);
    for (uint64_t i = atomic_load_explicit(&l->finished, memory_order_relaxed); i < produced; i++)
        (void)piece_free(l->ring[i % KEEPER_RING]);
    while (l->marks != NULL) {
        struct load_marks *older = l->marks->older;
        free(l->marks);
        l->marks = older;
    }
    free(l->taken);
    free(l->sequences);
}
