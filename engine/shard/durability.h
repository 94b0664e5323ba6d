// SPDX-License-Identifier: Apache-2.0
// WAITAOF between workers (durability_commands.c), and what INFO says of the log (durability_view.c).
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct worker;

// Another worker (or this one) wants to know when everything changed here so far is durable: MESH_SETTLE.
void durability_serve_settle(struct worker *w, uint32_t from, uint64_t cookie);
// It is: PENDING_SETTLED.
void durability_settled(struct worker *w, void *waiter);
// Each turn that anybody waits: whose time is over.
void durability_turn(struct worker *w);
// When that will be, Unix ms; INT64_MAX: never.
int64_t durability_deadline(const struct worker *w);

// Of one moment, nearly.
struct durability_view {
    bool on;     // the log is
    bool begins; // it is being switched on
    bool loading;
    uint64_t loaded_bytes, total_bytes;
    double loaded_percent;
    int64_t eta_seconds;
    const char *state;  // of the log
    const char *method; // how it becomes durable
    const char *sync;   // when
    const char *host;
    const char *measured;
    uint64_t lsn, durable_lsn;
    uint64_t frames, flushes, batches, records, coalesced;
    uint64_t bytes;         // written
    uint64_t payload_bytes; // of these, changes
    uint64_t pending_bytes; // changes that are not durable
    uint64_t segments, segments_ready;
    uint64_t sync_us_avg, sync_us_max;
    double writes_per_flush; // requests that changed something
    uint64_t held, stalls;
    bool failed;
};
void durability_view(const struct worker *w, struct durability_view *v);
