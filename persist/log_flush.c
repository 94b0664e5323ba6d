// SPDX-License-Identifier: Apache-2.0
// From written to durable. A frame is durable when it was written together with a sync of its own (OP_DSYNC, or a linked sync) and all
// before it are durable; or when a flush has returned that was submitted after its write had completed. One flush at a time, of one
// segment, the oldest first: so what is durable is a prefix too.
#include "persist/log_inside.h"

#include <errno.h>

static void durable_to(struct log *l, uint64_t lsn, const struct log_mark *mark)
{
    assert(lsn >= l->durable_lsn && lsn <= l->written_lsn);
    l->durable_lsn = lsn;
    if (mark->lsn > l->durable.lsn)
        log_mark_copy(l, &l->durable, mark);
}

void log_flush_catch_up(struct log *l)
{
    if (l->unsynced_lsn <= l->durable_lsn)
        durable_to(l, l->written_lsn, &l->written);
    if (l->durable.lsn == l->written.lsn) // units without a frame move positions alone
        log_mark_copy(l, &l->durable, &l->written);
    if (l->durable_lsn == l->written_lsn)
        l->unflushed_oldest_ns = l->unflushed_since_ns = 0;
}

// Somebody waits for what is written.
static bool wanted(const struct log *l)
{
    for (uint32_t p = 0; p < l->options.ports; p++) {
        uint64_t to = l->lines[p].sync_to;
        if (to > l->durable.positions[p] && to <= l->written.positions[p])
            return true;
    }
    return false;
}

// Somebody has been answered as under everysec. What is not written yet keeps nobody waiting for what is.
static bool promised(const struct log *l)
{
    for (uint32_t p = 0; p < l->options.ports; p++)
        if (l->lines[p].soon_to > l->durable.positions[p])
            return true;
    return false;
}

uint64_t log_flush_due_ns(const struct log *l)
{
    if (l->flushing || l->written_lsn == l->durable_lsn)
        return UINT64_MAX;
    const struct log_stretch *oldest = &l->stretches[l->stretch_first];
    if (l->stretch_count > 1 && oldest->written_lsn == oldest->last_lsn)
        return 0; // so that it can be handed back
    if (l->written.lsn == l->durable.lsn)
        return UINT64_MAX; // the middle of a chain
    if (l->sync == LOG_SYNC_ALWAYS || l->stop != LOG_STOP_NONE || wanted(l))
        return 0;
    return l->sync == LOG_SYNC_EVERYSEC || promised(l) ? l->unflushed_since_ns + LOG_SYNC_NS : UINT64_MAX;
}

void log_flush_submit(struct log *l)
{
    // The oldest: were all in it durable, it would be full and handed back, or the only one and no flush due.
    struct log_stretch *s = &l->stretches[l->stretch_first];
    assert(s->written_lsn > l->durable_lsn && !l->flushing);
    l->flush_lsn = s->written_lsn;
    log_mark_copy(l, &l->flush, &s->end);
    l->flush_op =
        (struct op){ .kind = OP_FSYNC, .owner = l->options.owner, .fd = s->segment->fd, .fixed_buffer = -1, .tag = LOG_TAG_FLUSH };
    l->flushing = true;
    l->flush_submitted_ns = l->r->now_ns;
    l->flushing_oldest_ns = l->unflushed_oldest_ns;
    if (l->flush_lsn == l->written_lsn) // else the next segment's are due when this one is done
        l->unflushed_oldest_ns = l->unflushed_since_ns = 0;
    l->ops++;
    reactor_submit(l->r, &l->flush_op);
}

void log_flush_count(struct log *l, uint64_t submitted_ns)
{
    uint64_t took = l->r->now_ns - submitted_ns;
    log_add(&l->stats.flushes, 1);
    log_add(&l->stats.sync_ns_total, took);
    if (took > atomic_load_explicit(&l->stats.sync_ns_max, memory_order_relaxed))
        atomic_store_explicit(&l->stats.sync_ns_max, took, memory_order_relaxed);
}

void log_flush_done(struct log *l, const struct completion *done)
{
    l->flushing = false;
    l->flushing_oldest_ns = 0;
    l->ops--;
    if (done->result != 0 && l->options.fault == LOG_FAULT_SYNC_AGAIN)
        return;
    if (l->options.fault == LOG_FAULT_SYNC_ALL) {
        l->flush_lsn = l->written_lsn;
        log_mark_copy(l, &l->flush, &l->written);
    }
    if (done->result != 0)
        log_poison(l, done->result < 0 ? done->result : -EIO);
    if (l->error != 0) // also an earlier one: nothing is acknowledged any more
        return;
    log_flush_count(l, l->flush_submitted_ns);
    l->active_ns = l->r->now_ns;
    durable_to(l, l->flush_lsn, &l->flush);
}
