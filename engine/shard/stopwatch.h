// SPDX-License-Identifier: Apache-2.0
// How long commands take, without two looks at a clock for each.
//
// A batch of requests is cut into *spans*; the worker reads its tick counter (reactor/ticks.h) where one span ends and the next
// begins, also from batch to batch of the same turn, so that a batch of quick requests costs one reading.
//
//   timed alone   commands that are not O(1) (CMD_TIMED; those with a list of keys from 8 keys on), and a sample of the others:
//                 the only request of the first batch after a wait, and one in 64 of the rest at random distances, counted
//                 64 times
//   together      the others between them. A span that lasted long enough for SLOWLOG or LATENCY is laid at the door of the request
//                 that moved the most bytes, or of the last
//
// What follows: a duration in SLOWLOG is exact for commands that are slow by themselves; where quick requests were held up (by the
// machine, mostly) it includes what ran beside them, at most 63 other quick requests of the same batch, and the name is a guess.
// Below STOPWATCH_EXACT_US of slowlog-log-slower-than every command is timed alone. Counts are exact; sums of microseconds and
// percentiles of quick commands are estimates from the sample.
#pragma once

#include <stdint.h>

#include "base/assert.h"
#include "engine/command/command.h"
#include "engine/shard/durations.h"

#define STOPWATCH_EVERY     64 // of quick requests, how many one that is timed stands for
#define STOPWATCH_EXACT_US  200
#define STOPWATCH_KEYS      8
#define STOPWATCH_REPLY_MIN (16 * 1024) // replies from here on are looked at: the span's likely cause

struct worker;
struct client;
struct command_entry;

struct stopwatch {
    uint64_t mark;         // ticks where the last span of this turn ended; 0 = none yet
    bool rested;           // the reactor had waited before this turn, and no batch has run yet
    uint64_t slow_ticks;   // spans of fewer are nobody's concern
    uint32_t until_sample; // quick requests before the next that is timed alone
    uint32_t alone;        // command flags, one of which lets a command be timed alone
    uint64_t reply_min;    // bytes from which run.c reports a reply
    uint64_t request_min;  // bytes from which a batch is looked at for large requests
    uint64_t random;
    struct durations **times; // [command_count()], made when first needed
    // What a span's likely cause was so far.
    const struct slice *heavy_argv;
    uint64_t heavy_bytes;
};

struct span {
    uint64_t began;
    uint32_t first;  // request that it begins with
    uint32_t sample; // request that is timed alone
    uint32_t weight;
};

int stopwatch_init(struct worker *w) warn_unused;
void stopwatch_deinit(struct worker *w);
// After options changed.
void stopwatch_set_limits(struct worker *w);
void stopwatch_reset(struct worker *w); // CONFIG RESETSTAT

// Distance to the next sample: 1 to 127, 64 on the average.
static inline uint32_t stopwatch_distance(struct stopwatch *s)
{
    s->random = s->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return 1 + (uint32_t)((s->random >> 33) % (2 * STOPWATCH_EVERY - 1));
}

// `command` ran for `ticks`: notes it `weight` times. An entry for the slow log when it has to be there (the caller says who sent it),
// else NULL.
struct command_entry *stopwatch_note(struct worker *w, const struct command *command, const struct slice *argv, uint32_t argc,
                                     uint64_t ticks, uint32_t weight);
// The same for a span of quick requests of which this one is the likely cause: nothing is noted in its statistics.
struct command_entry *stopwatch_blame(struct worker *w, const struct command *command, const struct slice *argv, uint32_t argc,
                                      uint64_t ticks);
// Into its log (kind: enum command_log_kind); nothing when `e` is NULL.
void stopwatch_keep(struct worker *w, int kind, struct command_entry *e, const struct client *client);
// Something else took so long: into LATENCY if it asks for it.
void stopwatch_event(struct worker *w, int event, uint64_t ns);
// An entry for a large request or reply if its log wants one, else NULL.
struct command_entry *stopwatch_large(struct worker *w, int kind, const struct command *command, const struct slice *argv, uint32_t argc,
                                      uint64_t bytes);

static inline bool stopwatch_times_alone(const struct stopwatch *s, const struct command *c, uint32_t argc)
{
    return s->alone == UINT32_MAX || c->key_last >= 0 || argc > STOPWATCH_KEYS;
}
