// SPDX-License-Identifier: Apache-2.0
// A worker of a server that may save: rig.h with a keeper on the model disk, whose steps a test takes.
#pragma once

#include "engine/shard/conn.h"
#include "engine/shard/save.h"
#include "persist/keeper.h"
#include "test/sim/disk.h"
#include "test/unit/shard/rig.h"

#define STARTED (NOW - 1000000)

struct saving_rig {
    struct rig rig;
    struct worker *w;
    struct keeper *keeper;
    struct sim_disk *disk;
    uint32_t stops; // times that the main thread was woken to stop
};

static struct saving_rig saved;

static inline void saving_stopped(struct server *s)
{
    assert(s == &saved.rig.server);
    saved.stops++;
}

static const struct server_host SAVING_HOST = { .stop_requested = saving_stopped };

static inline void saving_keeper(struct saving_rig *s)
{
    struct keeper_options o = {
        .recover = { .segment_size = 1 << 16 }, .shards = SHARDS, .workers = 1, .segments_ready = 2, .segments_spare = 2
    };
    struct log_origin origin;
    bool waits;
    s->disk = sim_disk_new(5);
    check_equal(keeper_new(&s->keeper, &s->disk->disk, &o), 0);
    while (keeper_load_step(s->keeper, &waits) == KEEPER_LOADING)
        continue;
    check_equal(keeper_begin(s->keeper, &origin), 0);
    atomic_store(&s->rig.server.logging.keeper, s->keeper);
    atomic_store(&s->rig.server.logging.stage, LOGGING_SERVES);
}

// `keeps`: there is a directory to save to.
static inline struct worker *saving_start(char *points, bool keeps)
{
    struct saving_rig *s = &saved;
    memset(s, 0, sizeof *s);
    rig_start(&s->rig, 0, false);
    s->w = s->rig.w;
    s->rig.server.workers = &s->w;
    s->rig.server.host = &SAVING_HOST;
    s->rig.server.started_wall_ms = STARTED;
    s->w->options.save = points;
    save_init(s->w);
    if (keeps)
        saving_keeper(s);
    return s->w;
}

static inline void saving_stop(void)
{
    save_stop(saved.w);
    save_let_go(saved.w);
    for (struct pending *p = saved.w->pending_free, *next; p != NULL; p = next) {
        next = p->next;
        free(p);
    }
    keeper_free(saved.keeper);
    if (saved.disk != NULL)
        sim_disk_free(saved.disk);
    rig_stop(&saved.rig);
}

static inline uint32_t saving_phase(void)
{
    return atomic_load(&saved.rig.server.saving.phase);
}

static inline struct keeper_snapshot_status saving_status(void)
{
    struct keeper_snapshot_status status;
    keeper_snapshot_status(saved.keeper, &status);
    return status;
}

// What is under way goes to its end, without anybody having been told.
static inline void saving_run(void)
{
    do {
        txn_run_ready(saved.w);
        save_turn(saved.w);
        (void)keeper_step(saved.keeper);
    } while (saved.w->save.due || saved.w->save.set != 0 || saving_status().state == SNAPSHOT_RUNS);
}

// A tenth of a second, as the worker's clock does it.
static inline void saving_tick(int64_t ms)
{
    saved.w->now_ms += ms;
    save_tick(saved.w);
}
