// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/loading.h"

#include <errno.h>
#include <stdio.h>

#include "engine/shard/worker.h"
#include "persist/keeper.h"

#define TURN_ENTRIES 2048 // applied in one turn

void loading_begin(struct worker *w)
{
    w->gate.loading = true;
    gate_refresh(w);
}

static int apply_entry(struct worker *w, const struct snapshot_entry *entry)
{
    struct loading *l = &w->loading;
    struct record r = {
        .op = RECORD_SET,
        .flags = entry->flags,
        .db = entry->db,
        .deadline_ms = entry->deadline_ms,
        .key = entry->key,
        .value = entry->value,
    };
    uint32_t shard = route_shard(&w->route, entry->key);
    if (shard % w->server->worker_count != w->id)
        return 0;
    l->entries++;
    return effects_apply(w->store, shard, &r, w->now_ms, l->why);
}

// 0: the piece is done; 1: there is more.
static int apply_entries(struct worker *w, uint32_t *budget)
{
    struct loading *l = &w->loading;
    struct snapshot_entry entry;
    const uint8_t *at = l->left.data;
    uint64_t left = l->left.len;
    int rc = 0;
    while (*budget > 0 && rc == 0) {
        rc = snapshot_entry_next(&entry, &at, &left);
        if (rc == 1)
            return 0;
        if (rc < 0)
            snprintf(l->why, sizeof l->why, "an entry of a snapshot is not well formed");
        else
            rc = apply_entry(w, &entry);
        --*budget;
    }
    l->left = slice_of(at, left);
    return rc < 0 ? rc : 1;
}

static int apply_restart(struct worker *w)
{
    for (uint32_t shard = w->id; shard < w->route.shards; shard += w->server->worker_count) {
        for (uint32_t db = 0; db < store_databases(w->store); db++)
            keyspace_clear(store_keyspace(w->store, shard, db));
        w->effects.sequences[shard / w->server->worker_count] = 0;
    }
    store_reclaim(w->store);
    return 0;
}

static int apply_some(struct worker *w, uint32_t *budget)
{
    struct loading *l = &w->loading;
    switch (l->piece->item.piece) {
    case RECOVER_ENTRY_RUN:
        return apply_entries(w, budget);
    case RECOVER_UNIT:
        return effects_apply_some(w, &l->cursor, l->piece->item.watermarks, budget, l->why);
    case RECOVER_RESTART:
        return apply_restart(w);
    }
    return 0;
}

static bool next_piece(struct worker *w)
{
    struct loading *l = &w->loading;
    struct keeper *k = w->server->logging.keeper;
    if (l->piece != NULL)
        return true;
    l->piece = keeper_piece_take(k, w->id);
    if (l->piece == NULL) {
        l->done = keeper_load_state(k) == KEEPER_LOADED;
        return false;
    }
    l->left = l->piece->item.bytes;
    l->cursor = effects_cursor(l->piece->item.bytes);
    return true;
}

// Sequences go on behind the last that the directory holds.
static void start(struct worker *w)
{
    struct logging *g = &w->server->logging;
    const uint64_t *sequences = keeper_sequences(g->keeper);
    for (uint32_t shard = w->id; sequences != NULL && shard < w->route.shards; shard += w->server->worker_count)
        w->effects.sequences[shard / w->server->worker_count] = sequences[shard];
    if (g->on)
        effects_start(w, &g->ports[w->id]);
    else if (w->options.wal_export_mode != WAL_EXPORT_OFF)
        effects_start(w, NULL);
    w->loading.logs = true;
    w->save.changes = 0; // what was loaded is no change
    gate_refresh(w);
    atomic_fetch_add_explicit(&g->serving, 1, memory_order_acq_rel);
}

bool loading_over(struct worker *w)
{
    if (atomic_load_explicit(&w->server->logging.serving, memory_order_acquire) < w->server->worker_count)
        return false;
    w->gate.loading = false;
    gate_refresh(w);
    return true;
}

bool loading_turn(struct worker *w)
{
    struct loading *l = &w->loading;
    struct logging *g = &w->server->logging;
    uint32_t budget = TURN_ENTRIES;
    while (budget > 0 && !l->done && next_piece(w)) {
        int rc = apply_some(w, &budget);
        if (rc > 0)
            break;
        if (rc < 0)
            keeper_piece_refused(g->keeper, rc == -ENOMEM ? "out of memory" : l->why);
        keeper_piece_done(g->keeper, l->piece);
        l->piece = NULL;
    }
    if (l->done && !l->logs && logging_stage(g) == LOGGING_SERVES)
        start(w);
    if (l->logs)
        (void)loading_over(w);
    return budget == 0 || l->piece != NULL;
}
