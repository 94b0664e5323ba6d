// SPDX-License-Identifier: Apache-2.0
// The log of a server as its workers see it: whose it is, how far its beginning has come, and who runs the log role (persist/log.h).
//
//   stage        the keeper's thread                         workers
//   LOADING      reads the data directory                    apply pieces; clients hear -LOADING
//   LOADED       first segment made, `options` filled in     the log's host makes the log
//   MADE         attaches it to the keeper                   wait
//   SERVES       makes segments, takes snapshots             log from now on; when all do, clients are served
//   REFUSED      said why                                    stop
//
// Host: a thread of its own (tools/log_thread.c) or the only worker's reactor.
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "base/assert.h"
#include "engine/shard/logging_switch.h"
#include "persist/keeper.h"
#include "persist/log.h"

struct worker;

enum logging_stage { LOGGING_NONE, LOGGING_LOADING, LOGGING_LOADED, LOGGING_MADE, LOGGING_SERVES, LOGGING_REFUSED };

struct logging {
    _Atomic(struct keeper *) keeper; // NULL: nothing survives
    uint8_t fault;                   // enum gate_fault
    _Atomic bool on;                 // appendonly, and it counts; else the directory holds snapshots alone
    _Atomic uint32_t stage;
    _Atomic uint32_t serving; // workers that log
    _Atomic(struct log *) log;
    struct log_options options;
    struct log_port *ports; // [workers]
    struct log_port **port_list;
    _Atomic(struct reactor *) host;     // NULL: the only worker's own
    void (*wake_keeper)(void *context); // or NULL (the simulation)
    void *context;
    _Atomic bool failed; // poisoned, or a change was lost
    char method[128];    // figures of the measurement
    struct logging_switch turning;
};

int logging_init(struct logging *l, uint32_t workers) warn_unused;
void logging_deinit(struct logging *l);

static inline struct log *logging_log(const struct logging *l)
{
    return atomic_load_explicit(&l->log, memory_order_acquire);
}

static inline enum logging_stage logging_stage(const struct logging *l)
{
    return (enum logging_stage)atomic_load_explicit(&l->stage, memory_order_acquire);
}

// The host makes it of `options`, in the reactor that its ops go to. 0 or -errno.
int logging_make(struct logging *l, struct reactor *r, uint8_t owner, struct log **out) warn_unused;

// ---- a worker that hosts the log
bool logging_hosts(const struct worker *w);
// The end of its turn, behind effects_flush.
void logging_step(struct worker *w);
// Behind its last turn: until the log has stopped.
void logging_stop(struct worker *w);

// And when the keeper has stopped too.
void logging_free(struct worker *w);

// What CONFIG SET has changed.
void logging_apply_options(struct worker *w);
enum log_sync logging_sync(int appendfsync); // enum option_appendfsync

// Of any worker: the batch that it has sent is looked at.
void logging_wake(struct worker *w, bool sync);
