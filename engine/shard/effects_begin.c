// SPDX-License-Identifier: Apache-2.0
// Effects' beginning and end, and the log that comes and goes meanwhile.
#include <errno.h>
#include <stdlib.h>

#include "engine/shard/effects_dirty.h"
#include "engine/shard/effects_records.h"
#include "engine/shard/worker.h"

int effects_init(struct worker *w)
{
    struct effects *e = &w->effects;
    uint32_t shards = effects_dirty_shards(w);
    *e = (struct effects){ 0 };
    buf_init(&e->scratch, BUF_NO_LIMIT);
    int rc = effects_lanes_init(&e->lanes, shards);
    e->sequences = calloc(shards + 1, sizeof *e->sequences);
    if (rc == 0 && e->sequences == NULL)
        rc = -ENOMEM;
    return rc == 0 ? effects_dirty_init(e, shards) : rc;
}

void effects_start(struct worker *w, struct log_port *port)
{
    struct effects *e = &w->effects;
    assert(!e->on && e->dirty.count == 0);
    e->port = port;
    e->on = true;
    e->logs = port != NULL;
    w->gate.on = e->logs;
    worker_listen_changes(w);
}

void effects_stop(struct worker *w)
{
    struct effects *e = &w->effects;
    effects_flush(w);
    assert(e->dirty.count == 0 && e->batch == NULL);
    e->on = e->logs = false;
    worker_listen_changes(w);
}

static void batches_free(struct effects *e, struct log_batch *b)
{
    while (b != NULL) {
        struct log_batch *next = b->next;
        effects_records_drop(e, b);
        b = next;
    }
}

void effects_attach(struct worker *w, struct log_port *port)
{
    struct effects *e = &w->effects;
    assert(!e->logs && !e->open && e->port == NULL);
    effects_flush(w); // to the export alone
    e->failed = false;
    e->port = port;
    e->on = e->logs = true;
    worker_listen_changes(w);
}

void effects_detach(struct worker *w)
{
    struct effects *e = &w->effects;
    assert(!e->open);
    effects_flush(w);
    assert(e->dirty.count == 0 && e->batch == NULL);
    e->logs = false;
    e->on = w->options.wal_export_mode != WAL_EXPORT_OFF;
    worker_listen_changes(w);
}

// The role has gone. Positions go on where they are, for the next one.
void effects_close(struct worker *w)
{
    struct effects *e = &w->effects;
    struct log_port *p = e->port;
    batches_free(e, log_port_pull(&p->in));
    atomic_store_explicit(&p->wants_sync, false, memory_order_relaxed);
    atomic_store_explicit(&p->written, e->position, memory_order_relaxed);
    atomic_store_explicit(&p->durable, e->position, memory_order_relaxed);
    atomic_store_explicit(&p->taken_bytes, e->sent_bytes, memory_order_relaxed);
    atomic_store_explicit(&p->state, LOG_OFF, memory_order_relaxed);
    e->port = NULL;
    e->failed = false;
}

void effects_deinit(struct worker *w)
{
    struct effects *e = &w->effects;
    effects_dirty_deinit(e, effects_dirty_shards(w));
    batches_free(e, e->batch);
    batches_free(e, e->spare);
    effects_lanes_deinit(&e->lanes);
    buf_deinit(&e->scratch);
    free(e->sequences);
}
