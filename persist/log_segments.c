// SPDX-License-Identifier: Apache-2.0
// Segments on their way through the role: given by the keeper (another thread), ready in the order of ids, in use (the newest stretch),
// full, and handed back once all their frames are durable.
#include "persist/log_inside.h"

static struct log_stretch *stretch_at(struct log *l, uint32_t i)
{
    return &l->stretches[(l->stretch_first + i) % LOG_STRETCHES];
}

// The newest stretch is the one in use.
static const struct log_stretch *newest(const struct log *l)
{
    return &l->stretches[(l->stretch_first + l->stretch_count - 1) % LOG_STRETCHES];
}

uint32_t log_segments_left(const struct log *l)
{
    if (l->stretch_count == 0)
        return 0;
    const struct log_stretch *s = newest(l);
    return (uint32_t)((s->segment->header.size - BLOCK_SIZE - s->offset) / BLOCK_SIZE);
}

// ---- ready

static void push(_Atomic(struct log_segment *) *list, struct log_segment *s)
{
    struct log_segment *first = atomic_load_explicit(list, memory_order_relaxed);
    do {
        s->next = first;
    } while (!atomic_compare_exchange_weak_explicit(list, &first, s, memory_order_release, memory_order_relaxed));
}

void log_segment_give(struct log *l, struct log_segment *s)
{
    atomic_fetch_add_explicit(&l->stats.segments_ready, 1, memory_order_relaxed);
    push(&l->given, s);
}

bool log_segments_given(const struct log *l)
{
    if (atomic_load_explicit(&l->given, memory_order_relaxed) != NULL)
        return true;
    uint32_t news = atomic_load_explicit(&l->news, memory_order_relaxed);
    return news != atomic_load_explicit(&l->news_seen, memory_order_relaxed) && log_state(l) != LOG_POISONED;
}

void log_segments_collect(struct log *l)
{
    if (atomic_load_explicit(&l->given, memory_order_relaxed) == NULL)
        return;
    struct log_segment *s = atomic_exchange_explicit(&l->given, NULL, memory_order_acquire), *next;
    for (; s != NULL; s = next) {
        next = s->next;
        assert(s->header.size == l->options.origin.segment_size);
        struct log_segment **at = &l->ready;
        while (*at != NULL && (*at)->header.id < s->header.id)
            at = &(*at)->next;
        s->next = *at;
        *at = s;
    }
}

// ---- in use

static struct log_stretch *begin(struct log *l)
{
    struct log_segment *segment = l->ready;
    if (segment == NULL || l->stretch_count == LOG_STRETCHES)
        return NULL;
    l->ready = segment->next;
    atomic_fetch_sub_explicit(&l->stats.segments_ready, 1, memory_order_relaxed);
    log_add(&l->stats.segments, 1);
    l->keeper_told = true;
    struct segment_header *h = &segment->header;
    assert(h->id > l->last_segment);
    h->first_lsn = l->lsn + 1;
    h->previous_id = l->last_segment;
    h->previous_lsn = l->lsn;
    h->previous_crc = l->last_crc;
    l->last_segment = h->id;
    struct log_stretch *s = stretch_at(l, l->stretch_count++);
    *s = (struct log_stretch){ .segment = segment, .offset = BLOCK_SIZE, .fresh = true, .end = s->end };
    s->end.lsn = 0;
    return s;
}

struct log_stretch *log_segments_place(struct log *l, uint32_t blocks)
{
    return log_segments_left(l) >= blocks ? stretch_at(l, l->stretch_count - 1) : begin(l);
}

uint64_t log_segments_room(const struct log *l)
{
    uint64_t blocks = log_segments_left(l);
    for (const struct log_segment *s = l->ready; s != NULL; s = s->next)
        blocks += s->header.size / BLOCK_SIZE - 2;
    return blocks * BLOCK_SIZE;
}

// ---- full

static void hand_back(struct log *l, struct log_stretch *s)
{
    s->segment->last_lsn = s->last_lsn;
    push(&l->full, s->segment);
    l->keeper_told = true;
    l->stretch_first = (l->stretch_first + 1) % LOG_STRETCHES;
    l->stretch_count--;
}

void log_segments_hand_back(struct log *l)
{
    while (l->stretch_count > 1 && stretch_at(l, 0)->last_lsn <= l->durable_lsn)
        hand_back(l, stretch_at(l, 0));
}

void log_segments_hand_back_all(struct log *l)
{
    log_segments_collect(l);
    while (l->stretch_count > 0)
        hand_back(l, stretch_at(l, 0));
    while (l->ready != NULL) {
        struct log_segment *s = l->ready;
        l->ready = s->next;
        push(&l->full, s);
    }
}

struct log_segment *log_segment_take(struct log *l)
{
    if (l->taken == NULL && atomic_load_explicit(&l->full, memory_order_relaxed) != NULL) {
        struct log_segment *s = atomic_exchange_explicit(&l->full, NULL, memory_order_acquire);
        while (s != NULL) { // newest first
            struct log_segment *next = s->next;
            s->next = l->taken;
            l->taken = s;
            s = next;
        }
    }
    if (l->taken == NULL && log_stopped(l)) // those that came too late
        l->taken = atomic_exchange_explicit(&l->given, NULL, memory_order_acquire);
    struct log_segment *oldest = l->taken;
    if (oldest != NULL)
        l->taken = oldest->next;
    return oldest;
}

void log_segment_trouble(struct log *l, int error)
{
    atomic_store_explicit(&l->trouble, error, memory_order_release);
    atomic_fetch_add_explicit(&l->news, 1, memory_order_release);
}

uint32_t log_segments_ready(const struct log *l)
{
    return (uint32_t)atomic_load_explicit(&l->stats.segments_ready, memory_order_relaxed);
}
