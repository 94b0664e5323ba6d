// SPDX-License-Identifier: Apache-2.0
#include "persist/log_inside.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "reactor/disk.h"

// ---- making

// One memory for the positions of all marks.
static void positions_share(struct log *l)
{
    uint64_t *at = l->memory;
    uint32_t ports = l->options.ports;
    struct log_mark *const marks[] = { &l->written, &l->flush, &l->durable };
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++, at += ports)
        marks[i]->positions = at;
    for (uint32_t i = 0; i < l->options.frames_in_flight; i++, at += ports)
        l->slots[i].mark.positions = at;
    for (uint32_t i = 0; i < LOG_STRETCHES; i++, at += ports)
        l->stretches[i].end.positions = at;
    l->cut = at;
}

static int memory_take(struct log *l)
{
    uint32_t ports = l->options.ports, slots = l->options.frames_in_flight;
    l->ports = calloc(ports, sizeof(struct log_port *));
    l->lines = calloc(ports, sizeof *l->lines);
    l->told = calloc((ports + 63) / 64, sizeof *l->told);
    l->memory = calloc((size_t)(slots + LOG_STRETCHES + 4) * ports, sizeof *l->memory);
    l->slot_size = (size_t)(l->blocks_max + 1) * BLOCK_SIZE;
    l->arena_size = slots * l->slot_size;
    l->arena = disk_memory(l->arena_size);
    if (l->ports == NULL || l->lines == NULL || l->told == NULL || l->memory == NULL || l->arena == NULL)
        return -ENOMEM;
    positions_share(l);
    for (uint32_t i = 0; i < slots; i++) {
        l->slots[i].memory = l->arena + i * l->slot_size;
        l->slots[i].header = l->slots[i].memory + (size_t)l->blocks_max * BLOCK_SIZE;
    }
    for (uint32_t p = 0; p < ports; p++)
        l->lines[p].last = &l->lines[p].first;
    return 0;
}

static void memory_give(struct log *l)
{
    disk_memory_free(l->arena, l->arena_size);
    free(l->memory);
    free(l->told);
    free(l->lines);
    free(l->ports);
    free(l);
}

static void origin_set(struct log *l)
{
    const struct log_origin *o = &l->options.origin;
    l->lsn = l->written_lsn = l->durable_lsn = l->unsynced_lsn = o->lsn;
    l->written.lsn = l->durable.lsn = l->witness = l->payload_lsn = o->lsn;
    l->last_crc = o->last_crc;
    l->last_segment = o->last_segment;
    atomic_store_explicit(&l->stats.lsn, o->lsn, memory_order_relaxed);
    atomic_store_explicit(&l->stats.durable_lsn, o->lsn, memory_order_relaxed);
}

// Another log may have served these ports.
static void positions_take(struct log *l)
{
    for (uint32_t p = 0; p < l->options.ports; p++) {
        uint64_t at = atomic_load_explicit(&l->ports[p]->durable, memory_order_acquire);
        l->lines[p].taken = l->cut[p] = at;
        l->written.positions[p] = l->flush.positions[p] = l->durable.positions[p] = at;
    }
}

int log_new(struct log **out, const struct log_options *options, struct reactor *r, struct log_port *const *ports)
{
    assert(options->ports > 0 && options->frames_in_flight >= 1 && options->frames_in_flight <= LOG_FRAMES_MAX);
    assert(options->origin.segment_size >= 4 * BLOCK_SIZE);
    *out = NULL;
    struct log *l = aligned_alloc(_Alignof(struct log), sizeof *l);
    if (l == NULL)
        return -ENOMEM;
    memset(l, 0, sizeof *l);
    l->r = r;
    l->options = *options;
    uint64_t blocks = options->origin.segment_size / BLOCK_SIZE - 2;
    l->blocks_max = blocks < FRAME_BLOCKS_MAX ? (uint32_t)blocks : FRAME_BLOCKS_MAX;
    int rc = memory_take(l);
    if (rc != 0) {
        memory_give(l);
        return rc;
    }
    memcpy(l->ports, ports, options->ports * sizeof(struct log_port *));
    origin_set(l);
    positions_take(l);
    struct slice whole = slice_of(l->arena, l->arena_size);
    l->fixed_buffer = reactor_register_buffers(r, &whole, 1) == 0 ? 0 : -1;
    l->sync = options->sync;
    atomic_store_explicit(&l->wanted_sync, options->sync, memory_order_relaxed);
    atomic_store_explicit(&l->stats.sync, options->sync, memory_order_relaxed);
    atomic_store_explicit(&l->stats.method, options->method, memory_order_relaxed);
    atomic_store_explicit(&l->state, LOG_RUNS, memory_order_relaxed);
    for (uint32_t p = 0; p < options->ports; p++) {
        atomic_store_explicit(&ports[p]->room, UINT64_MAX, memory_order_relaxed);
        atomic_store_explicit(&ports[p]->state, LOG_RUNS, memory_order_release);
    }
    *out = l;
    return 0;
}

struct log *log_free(struct log *l)
{
    if (l == NULL)
        return NULL;
    assert(l->ops == 0);
    log_cut_drop(l);
    if (l->fixed_buffer >= 0)
        (void)!reactor_register_buffers(l->r, NULL, 0);
    memory_give(l);
    return NULL;
}

void log_poison(struct log *l, int error)
{
    if (l->error == 0)
        l->error = error;
}

void log_on_completion(struct log *l, const struct completion *done)
{
    if (done->op->tag == LOG_TAG_FLUSH)
        log_flush_done(l, done);
    else
        log_frames_done(l, done);
}

// ---- a step

// A flush is under way that a frame of its own would not have to wait for.
static bool busy(const struct log *l)
{
    return l->slot_count > 0 || (l->flushing && l->sync == LOG_SYNC_ALWAYS);
}

// When the next unit is to be cut; UINT64_MAX: there is nothing to be cut.
static uint64_t cut_due_ns(const struct log *l)
{
    if (l->pending == 0 || l->stuck)
        return UINT64_MAX;
    if (l->pending_bytes >= FRAME_TARGET || l->stop != LOG_STOP_NONE)
        return 0;
    if (l->sync == LOG_SYNC_EVERYSEC && !l->urgent)
        return l->pending_since_ns + LOG_GATHER_LAZY_NS;
    return busy(l) ? l->pending_since_ns + LOG_GATHER_NS : 0;
}

// May a segment that cannot be made now be made later?
static bool passes(int trouble)
{
    switch (-trouble) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case ENOMEM:
    case EMFILE:
    case ENFILE:
        return true;
    default:
        return trouble == 0;
    }
}

// Where the disk refuses for good, what was sent would wait for ever.
static void lacks_segment(struct log *l)
{
    int trouble = atomic_load_explicit(&l->trouble, memory_order_acquire);
    if (l->ready == NULL && !passes(trouble))
        log_poison(l, trouble);
}

static void frames_go(struct log *l)
{
    while (log_frames_free(l)) {
        if (!l->unit.active && (cut_due_ns(l) > l->r->now_ns || !log_cut_next(l)))
            return;
        if (!log_frames_write(l)) {
            lacks_segment(l);
            return;
        }
    }
}

// When the stream is to be sealed: somebody was told of something that no frame witnesses.
static uint64_t seal_due_ns(const struct log *l)
{
    if (l->payload_lsn <= l->witness || l->payload_lsn > l->durable.lsn || l->stop != LOG_STOP_NONE)
        return UINT64_MAX;
    if (l->unit.active || l->pending > 0 || log_segments_left(l) == 0)
        return UINT64_MAX;
    return l->active_ns + LOG_SEAL_NS;
}

static void work(struct log *l)
{
    log_frames_advance(l);
    log_flush_catch_up(l);
    log_segments_hand_back(l);
    if (log_flush_due_ns(l) <= l->r->now_ns)
        log_flush_submit(l); // before new frames, which then wait for company until it returns
    frames_go(l);
    if (l->error != 0 || seal_due_ns(l) > l->r->now_ns)
        return;
    bool sealed = log_frames_close(l, FRAME_SEAL);
    assert(sealed); // it was looked for room
}

// ---- stopping

static void stop_begin(struct log *l)
{
    l->stop = LOG_STOP_DRAINS;
    l->stop_news = atomic_load_explicit(&l->news, memory_order_acquire);
}

// The keeper has tried again since, and the disk has no room: the first answer may be that of an attempt from before.
static bool stop_in_vain(const struct log *l)
{
    bool trouble = atomic_load_explicit(&l->trouble, memory_order_acquire) != 0;
    uint32_t seen = atomic_load_explicit(&l->news_seen, memory_order_relaxed);
    return trouble && seen - l->stop_news >= LOG_STOP_ATTEMPTS;
}

static void stop_end(struct log *l, bool clean)
{
    log_segments_hand_back_all(l);
    l->stop = LOG_STOP_DONE;
    l->keeper_told = true;
    atomic_store_explicit(&l->stopped, clean ? 2 : 1, memory_order_release);
}

static void stop_step(struct log *l)
{
    if (l->stop == LOG_STOP_NONE || l->ops > 0)
        return;
    bool lacks_segment = l->unit.active;
    if (l->error != 0 || (lacks_segment && stop_in_vain(l))) {
        stop_end(l, false);
        return;
    }
    if (lacks_segment)
        return;
    assert(l->durable_lsn == l->lsn); // else a flush would be under way
    if (l->pending > 0) {             // transactions whose other parts never came
        stop_end(l, false);
        return;
    }
    bool last = l->stop == LOG_STOP_DRAINS && l->lsn > l->options.origin.lsn;
    if (!last || !log_frames_close(l, FRAME_CLEAN_STOP))
        stop_end(l, true);
    else
        l->stop = LOG_STOP_LAST_FRAME;
}

// ---- what others are told

static void tell(struct log *l, uint32_t p)
{
    l->told[p / 64] |= UINT64_C(1) << p % 64;
}

static void positions_publish(struct log *l)
{
    const struct log_mark *safe = l->options.fault == LOG_FAULT_EARLY_ACK ? &l->written : &l->durable;
    for (uint32_t p = 0; p < l->options.ports; p++) {
        struct log_port *port = l->ports[p];
        uint64_t written = l->written.positions[p], durable = safe->positions[p];
        if (written != atomic_load_explicit(&port->written, memory_order_relaxed)) {
            atomic_store_explicit(&port->written, written, memory_order_release);
            if (l->sync != LOG_SYNC_ALWAYS) // else it is durable in a moment, and that is what they wait for
                tell(l, p);
        }
        if (durable != atomic_load_explicit(&port->durable, memory_order_relaxed)) {
            atomic_store_explicit(&port->durable, durable, memory_order_release);
            tell(l, p);
        }
    }
}

static void state_publish(struct log *l)
{
    int trouble = atomic_load_explicit(&l->trouble, memory_order_acquire);
    uint64_t bytes = trouble != 0 ? log_segments_room(l) : UINT64_MAX;
    uint64_t room = trouble != 0 ? bytes / (2 * l->options.ports) : UINT64_MAX;
    uint32_t state = LOG_RUNS;
    if (l->error != 0)
        state = LOG_POISONED;
    else if (bytes < l->options.origin.segment_size / 2 && passes(trouble))
        state = LOG_FULL;
    bool moved = state != atomic_load_explicit(&l->state, memory_order_relaxed);
    atomic_store_explicit(&l->stats.error, l->error != 0 ? l->error : trouble, memory_order_relaxed);
    atomic_store_explicit(&l->state, state, memory_order_release);
    for (uint32_t p = 0; p < l->options.ports; p++) {
        if (room != atomic_load_explicit(&l->ports[p]->room, memory_order_relaxed))
            atomic_store_explicit(&l->ports[p]->room, room, memory_order_relaxed);
        if (!moved)
            continue;
        atomic_store_explicit(&l->ports[p]->state, state, memory_order_release);
        tell(l, p);
    }
}

static uint64_t oldest_ns(const struct log *l)
{
    uint64_t oldest = log_earlier(l->flushing_oldest_ns, l->unflushed_oldest_ns);
    for (uint32_t i = 0; i < l->slot_count; i++)
        oldest = log_earlier(oldest, l->slots[(l->slot_first + i) % l->options.frames_in_flight].oldest_ns);
    if (l->unit.active)
        oldest = log_earlier(oldest, l->unit.oldest_ns);
    for (uint32_t p = 0; p < l->options.ports && l->pending > 0; p++) {
        if (l->lines[p].first != NULL)
            oldest = log_earlier(oldest, l->lines[p].first->built_ns);
    }
    return oldest;
}

static void stats_publish(struct log *l)
{
    atomic_store_explicit(&l->stats.sync, l->sync, memory_order_relaxed);
    atomic_store_explicit(&l->stats.durable_lsn, l->durable.lsn, memory_order_release);
    atomic_store_explicit(&l->stats.oldest_ns, oldest_ns(l), memory_order_relaxed);
    atomic_store_explicit(&l->stats.pending_bytes, l->pending_bytes + l->cut_bytes - l->durable.bytes, memory_order_relaxed);
}

// Who may leave the host asleep: a batch that comes now would only wait for what the host looks at by itself.
static uint32_t drowsiness(const struct log *l)
{
    if (l->error != 0 || l->stop != LOG_STOP_NONE)
        return 0;
    if (l->unit.active)
        return 2;
    if (l->sync == LOG_SYNC_EVERYSEC)
        return l->pending > 0 && !l->stuck ? 1 : 0;
    return busy(l) ? 2 : 0;
}

void log_step(struct log *l)
{
    if (l->stop == LOG_STOP_DONE)
        return;
    l->sync = (enum log_sync)atomic_load_explicit(&l->wanted_sync, memory_order_relaxed);
    if (l->stop == LOG_STOP_NONE && atomic_load_explicit(&l->wants_stop, memory_order_acquire))
        stop_begin(l);
    // Whoever sends from here on wakes the host; behind it comes the look into the ports.
    atomic_store_explicit(&l->drowsy, 0, memory_order_relaxed);
    reactor_fence();
    atomic_store_explicit(&l->news_seen, atomic_load_explicit(&l->news, memory_order_acquire), memory_order_relaxed);
    log_segments_collect(l);
    log_cut_pull(l);
    if (l->error == 0)
        work(l);
    if (l->error != 0)
        log_cut_drop(l);
    stop_step(l);
    positions_publish(l);
    state_publish(l);
    stats_publish(l);
    atomic_store_explicit(&l->drowsy, drowsiness(l), memory_order_relaxed);
}

uint64_t log_next_ns(const struct log *l)
{
    uint64_t now = l->r->now_ns, at = UINT64_MAX;
    if (l->error != 0 || l->stop == LOG_STOP_DONE)
        return UINT64_MAX;
    if (log_frames_free(l) && !l->unit.active) {
        at = cut_due_ns(l);
        if (l->pending == 0 && busy(l) && l->sync != LOG_SYNC_EVERYSEC)
            at = now + 2 * LOG_GATHER_NS; // nobody wakes us, and there may be company for a frame
    }
    uint64_t flush = log_flush_due_ns(l), seal = seal_due_ns(l);
    at = flush < at ? flush : at;
    at = seal < at ? seal : at;
    return at == UINT64_MAX ? at : at <= now ? 0 : at - now;
}

uint64_t log_told(struct log *l, uint32_t word)
{
    uint64_t bits = l->told[word];
    l->told[word] = 0;
    return bits;
}

bool log_told_keeper(struct log *l)
{
    bool told = l->keeper_told;
    l->keeper_told = false;
    return told;
}

bool log_has_work(const struct log *l)
{
    if (l->stop == LOG_STOP_DONE)
        return false;
    if (log_segments_given(l))
        return true;
    if (atomic_load_explicit(&l->wanted_sync, memory_order_relaxed) != (uint32_t)l->sync)
        return true;
    if (l->stop == LOG_STOP_NONE && atomic_load_explicit(&l->wants_stop, memory_order_relaxed))
        return true;
    uint32_t drowsy = atomic_load_explicit(&l->drowsy, memory_order_relaxed);
    for (uint32_t p = 0; p < l->options.ports && drowsy < 2; p++) {
        const struct log_port *port = l->ports[p];
        if (atomic_load_explicit(&port->wants_sync, memory_order_relaxed))
            return true;
        if (drowsy == 0 && atomic_load_explicit(&port->in, memory_order_relaxed) != NULL)
            return true;
    }
    return false;
}

bool log_wants_wake(const struct log *l, bool sync)
{
    reactor_fence();
    uint32_t drowsy = atomic_load_explicit(&l->drowsy, memory_order_relaxed);
    return drowsy == 0 || (drowsy == 1 && sync);
}

void log_set_sync(struct log *l, enum log_sync sync)
{
    atomic_store_explicit(&l->wanted_sync, sync, memory_order_relaxed);
}

const struct log_stats *log_stats(const struct log *l)
{
    return &l->stats;
}

uint64_t log_memory(const struct log *l)
{
    return l->arena_size;
}

uint32_t log_state(const struct log *l)
{
    return atomic_load_explicit(&l->state, memory_order_acquire);
}

void log_stop(struct log *l)
{
    atomic_store_explicit(&l->wants_stop, true, memory_order_release);
}

bool log_stopped(const struct log *l)
{
    return atomic_load_explicit(&l->stopped, memory_order_acquire) != 0;
}

bool log_stopped_clean(const struct log *l)
{
    return atomic_load_explicit(&l->stopped, memory_order_acquire) == 2;
}

bool log_idle(const struct log *l)
{
    return l->ops == 0;
}

void log_end(const struct log *l, struct log_origin *origin)
{
    assert(log_stopped(l) && l->ops == 0);
    origin->lsn = l->lsn;
    origin->last_crc = l->last_crc;
    origin->last_segment = l->last_segment;
}
