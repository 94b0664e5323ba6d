// SPDX-License-Identifier: Apache-2.0
// One history, as the files that make it up see it: sim.c steps it, machine.c is what the server runs on, lives.c kills and restarts it.
#pragma once

#include "engine/shard/worker.h"
#include "test/sim/client.h"
#include "test/sim/durable.h"
#include "test/sim/knobs.h"
#include "test/sim/pages.h"
#include "test/sim/sim.h"
#include "test/sim/traffic.h"

#define SIM_STEPS_MAX  UINT64_C(20000000)
#define SIM_SHARDS_MAX 16

struct counter {
    uint64_t sent, got;
    uint64_t *seen; // bits
    uint64_t seen_cap;
};

// The keeper of the data directory and the log's host (storage.c).
struct storage {
    struct reactor *log_reactor; // NULL: the worker's
    uint32_t log_id;             // its number in the world
    uint64_t keeper_next_ns;
    bool log_stopping, log_over, keeper_over;
    bool poisoned;
    bool unclean;    // the log ended, and said that not all of it is durable
    uint64_t opened; // number of the switch (logging_switch.h) that everything is open for
};

struct sim {
    struct sim_options options;
    struct knobs knobs;
    struct world world;
    struct pages pages;
    struct prng schedule;
    struct server server;
    struct server_host host;
    struct worker *workers[WORLD_REACTORS_MAX];
    struct reactor *reactors[WORLD_REACTORS_MAX];
    bool running[WORLD_REACTORS_MAX];
    int listeners[WORLD_REACTORS_MAX];
    int direct[SIM_SHARDS_MAX]; // listeners, where shards have ports
    struct storage storage;
    uint32_t starved; // a worker that gets no turns, or none
    uint64_t starved_until_step, starved_until_ns;
    struct client_sim clients[CLIENTS_MAX];
    struct traffic traffic; // in its place, in histories that are checked
    struct durable durable; // or these, where the server has a disk and is killed
    struct counter counters[COUNTERS];
    uint64_t steps;
    bool stopping;
};

// ---- sim.c

bool sim_failed(const struct sim *s);
void sim_step(struct sim *s);
// Steps until `done`; fails when that takes longer than anybody's patience.
void sim_until(struct sim *s, bool (*done)(struct sim *s), const char *what);

// ---- machine.c

void machine_make(struct sim *s);
void machine_start(struct sim *s, struct prng *seeds);
void machine_stop(struct sim *s, enum server_stop how);
bool machine_stopped(struct sim *s);
// Who takes turns on it: workers by number, and others behind them.
uint32_t machine_actors(const struct sim *s);
// When this one does; NEVER: it has stopped.
uint64_t machine_next_ns(struct sim *s, uint32_t actor);
void machine_run(struct sim *s, uint32_t actor);
// After it has stopped.
void machine_free(struct sim *s);
// At this very moment: its server is gone, its connections are, and its disk holds what `kind` leaves.
void machine_crash(struct sim *s, enum crash_kind kind);

// ---- storage.c

enum storage_actor { STORAGE_LOG, STORAGE_KEEPER, STORAGE_ACTORS };

bool storage_on(const struct sim *s);
void storage_make(struct sim *s);
void storage_start(struct sim *s);
uint64_t storage_next_ns(struct sim *s, enum storage_actor actor);
void storage_run(struct sim *s, enum storage_actor actor);
// server_host.switch_log
void storage_switch(struct server *server);
// Has the log failed?
void storage_look(struct sim *s);
void storage_worker_stopped(struct sim *s);
bool storage_stopped(const struct sim *s);
// Before the workers, and behind them.
void storage_free_log(struct sim *s);
void storage_free(struct sim *s);

// ---- lives.c

// The history of clients that know what a server may forget.
void lives_run(struct sim *s, struct prng *seeds);
