// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/statistics.h"

static_assert(sizeof(struct worker_stats) % sizeof(uint64_t) == 0, "statistics are counters and nothing else");

static void add_stats(struct worker_stats *total, const struct worker_stats *now, const struct worker_stats *base)
{
    uint64_t *to = (uint64_t *)total;
    for (size_t i = 0; i < sizeof *total / sizeof *to; i++)
        to[i] += statistics_load((const uint64_t *)now + i) - statistics_load((const uint64_t *)base + i);
}

void statistics_total(const struct server *s, struct worker_stats *total)
{
    *total = (struct worker_stats){ 0 };
    for (uint32_t w = 0; w < s->worker_count; w++)
        add_stats(total, &s->workers[w]->stats, &s->workers[w]->stats_base);
}

void summary_gather(const struct server *s, uint32_t command, struct command_summary *out)
{
    *out = (struct command_summary){ 0 };
    for (uint32_t w = 0; w < s->worker_count; w++) {
        const struct command_stats *c = &s->workers[w]->commands[command];
        out->calls += statistics_load(&c->calls);
        out->rejected += statistics_load(&c->rejected);
        out->failed += statistics_load(&c->failed);
        const struct durations *d = __atomic_load_n(&s->workers[w]->watch.times[command], __ATOMIC_ACQUIRE);
        if (d != NULL)
            durations_gather(&out->durations, d);
    }
    if (out->durations.count > 0)
        out->usec = (uint64_t)((double)out->durations.total_ns / (double)out->durations.count * (double)out->calls / 1000.0 + 0.5);
}
