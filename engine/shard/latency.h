// SPDX-License-Identifier: Apache-2.0
// LATENCY's events: what took at least latency-monitor-threshold milliseconds, and when. One table for all workers, behind a guard;
// written only when something was slow.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "engine/shard/guard.h"

#define LATENCY_SAMPLES 160 // of each event, as Redis

#define LATENCY_EVENTS_LIST(X)                                                                                                             \
    X(COMMAND, "command", "A command that is not O(1), or moved many bytes, ran for long.")                                                \
    X(FAST_COMMAND, "fast-command", "A command that should take no time took some: the machine, not the command, was slow.")               \
    X(EXPIRE_CYCLE, "expire-cycle", "The worker's slice of background work (expiry, freeing, compaction) took long.")                      \
    X(EVICTION_CYCLE, "eviction-cycle", "Making room under maxmemory took long.")                                                          \
    X(TURN, "turn", "One pass of a worker over all that was ready took long: everybody on it waited so long.")

enum latency_event {
#define X(id, name, meaning) LATENCY_##id,
    LATENCY_EVENTS_LIST(X)
#undef X
        LATENCY_EVENTS
};

struct latency_sample {
    int64_t time_s;
    uint64_t ms; // the longest of that second
};

struct latency_series {
    struct latency_sample sample[LATENCY_SAMPLES]; // a ring
    uint32_t count;
    uint32_t next;
    uint64_t worst_ms; // since the reset
};

struct latency_monitor {
    struct guard guard;
    struct latency_series series[LATENCY_EVENTS];
};

const char *latency_event_name(enum latency_event event);
const char *latency_event_meaning(enum latency_event event);
void latency_add(struct latency_monitor *m, enum latency_event event, int64_t now_ms, uint64_t ms);
// A copy.
struct latency_series latency_series_of(struct latency_monitor *m, enum latency_event event);
// True: there was something.
bool latency_reset(struct latency_monitor *m, enum latency_event event);
// The i-th sample, oldest first.
static inline const struct latency_sample *latency_sample_at(const struct latency_series *s, uint32_t i)
{
    return &s->sample[(s->next + LATENCY_SAMPLES - s->count + i) % LATENCY_SAMPLES];
}
