// SPDX-License-Identifier: Apache-2.0
// Numbers of all workers together, for INFO, LATENCY and the metrics. Each worker's are written by it alone and never stop for a
// reader: a sum is of nearly one moment.
#pragma once

#include "engine/shard/durations.h"
#include "engine/shard/worker.h"

// Counters are plain words of the worker that counts: adding to them must cost nothing. Others look at them with loads of whole
// aligned words, which do not tear on any machine that this runs on; a reader may be behind, never wrong. ThreadSanitizer cannot
// know that.
__attribute__((no_sanitize("thread"))) static inline uint64_t statistics_load(const uint64_t *counter)
{
    return *(const volatile uint64_t *)counter;
}

static_assert(sizeof((struct error_stats){ 0 }.code) == 2 * sizeof(uint64_t), "a code is two words");

// A code is written once, before its first count.
static inline void statistics_code(const struct error_stats *s, char code[16])
{
    uint64_t words[2];
    for (size_t i = 0; i < 2; i++)
        words[i] = statistics_load((const uint64_t *)(const void *)s->code + i);
    memcpy(code, words, sizeof words);
    code[15] = '\0';
}

// Bytes of what durability holds.
static inline uint64_t statistics_durability(const struct worker_stats *s)
{
    return s->memory_log + s->memory_snapshot + s->memory_let_go;
}

// Of all workers since CONFIG RESETSTAT.
void statistics_total(const struct server *s, struct worker_stats *total);

// One command. Calls are counted; durations come from the sample that stopwatch.h describes.
struct command_summary {
    uint64_t calls, rejected, failed;
    uint64_t usec; // all calls, at the mean of those that were timed
    struct durations durations;
};

void summary_gather(const struct server *s, uint32_t command, struct command_summary *out);

// `part` of the timed ones, as a share of all calls.
static inline uint64_t summary_scaled(const struct command_summary *s, uint64_t part)
{
    return s->durations.count == 0 ? 0 : (uint64_t)((double)part / (double)s->durations.count * (double)s->calls + 0.5);
}
