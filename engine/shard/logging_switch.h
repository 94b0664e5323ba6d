// SPDX-License-Identifier: Apache-2.0
// CONFIG SET appendonly: the log is switched on and off while the server runs.
//
//   phase      who                       does what
//   OPENS      main thread, keeper       directory and threads where there are none yet; the first segment
//   OPENED     the log's host            makes the log
//   MADE       keeper                    attaches it
//   READY      first worker              takes all keys, shared; then every worker cuts: from there on it logs; what it holds is the base
//   BASE       all                       write the base. No reply waits for the log yet. The manifest that names it makes the log count
//   COUNTS     every worker              replies wait for the log from here on
//   SETTLES    every worker              what it changed before that is durable; then the client hears OK
//
//   LEAVES     first worker              takes all keys, shared; then every worker sends what it has, and logs no more
//   DRAINS     the log's host            the log writes all of it and stops
//   DRAINED    keeper                    takes the segments back, says in the manifest that no log is in use
//   CLOSES     every worker              no reply waits for the log any more
//
// All keys stay the first worker's until every worker has cut: a transaction is on one side of the cut with all its parts, its
// coordinator's marker too. Failure: before COUNTS the log leaves again, and the directory is what it was; the client hears why.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"

struct call;
struct gather;
struct keeper;
struct log;
struct logging;
struct pending;
struct reactor;
struct slice;
struct switch_leave;
struct worker;

enum switch_phase {
    SWITCH_NONE,
    SWITCH_CLAIMED, // somebody writes down what is wanted
    SWITCH_OPENS,
    SWITCH_OPENED,
    SWITCH_MADE,
    SWITCH_READY,
    SWITCH_BASE,
    SWITCH_COUNTS,
    SWITCH_SETTLES,
    SWITCH_LEAVES,
    SWITCH_DRAINS,
    SWITCH_DRAINED,
    SWITCH_CLOSES,
    SWITCH_ENDED, // until the client's worker has said so
};

// What all share.
struct logging_switch {
    _Atomic uint32_t phase;  // enum switch_phase
    _Atomic uint32_t done;   // workers that have done their part of it
    _Atomic uint64_t number; // of the last one begun
    _Atomic bool lost;       // what was to settle never will
    bool on;                 // what was wanted
    bool clean;              // the log has stopped with everything durable
    char error[160];         // "": it is so
    bool told;               // DRAINS: the host has told the log to stop
    struct log *old;         // stopped; the last worker that CLOSES frees it
};

// A worker's.
struct switching {
    struct pending *due; // of the client that asked
    uint8_t protocol;
    uint64_t did;               // the last part that was done: number and phase
    uint64_t settle_to;         // SETTLES: a position
    uint64_t base;              // BASE: the set; 0: it could not begin
    struct switch_leave *leave; // LEAVES: the first worker's
};

// ---- clients

// Does this CONFIG SET change appendonly? *on: to what.
bool logging_switch_wanted(const struct worker *w, const struct slice *argv, uint32_t argc, bool *on);
// Why not now; NULL: it could.
const char *logging_switch_refuses(const struct call *c);
// A CONFIG SET that all workers have said OK to. True: its reply comes when the log has been switched; else *why it cannot, or NULL: it is
// switched so already.
bool logging_switch_take(struct worker *w, struct gather *g, const char **why);

// ---- workers

bool logging_switch_busy(const struct worker *w);
// Each turn that it is.
void logging_switch_turn(struct worker *w);
// At the base's cut: from here on this worker logs.
void logging_switch_attach(struct worker *w);
// MESH_UNLOG: and not any more.
void logging_switch_detach(struct worker *w);
// The worker's last turn.
void logging_switch_stop(struct worker *w);

// ---- the log's host

// It has something to do: makes the log of a switch (OPENED), or lets it end (DRAINS).
bool logging_switch_wants_host(const struct logging *l);
// OPENED: true, the log has been made, or cannot be (NULL); the keeper is to look.
bool logging_switch_make(struct logging *l, struct reactor *r, uint8_t owner, struct log **out);
// Behind log_step: true: the log is over, and not the host's any more.
bool logging_switch_drained(struct logging *l, struct log *log);

// ---- the keeper

// Its part of the phase, before each step; true: everybody else is to look. `opened`: what it needs to open a log is there; `fill`: sets
// logging.options but for the origin.
bool logging_switch_keep(struct logging *l, struct keeper *k, bool opened, void (*fill)(void *context), void *context);
// A keeper of a directory that held nothing when the server started, so that nothing is to be loaded. NULL: it has begun; or why it cannot
// (*error: 0 or -errno).
const char *logging_switch_begin_late(struct logging *l, struct keeper *k, int *error);

// ---- what somebody was to do has failed (static text, error: 0 or -errno)
void logging_switch_fail(struct logging *l, enum switch_phase to, const char *what, int error);

static inline enum switch_phase logging_switch_phase(const struct logging_switch *s)
{
    return (enum switch_phase)atomic_load_explicit(&s->phase, memory_order_acquire);
}
