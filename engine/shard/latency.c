// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/latency.h"

#include <string.h>

static const struct {
    const char *name, *meaning;
} EVENTS[] = {
#define X(id, name, meaning) [LATENCY_##id] = { name, meaning },
    LATENCY_EVENTS_LIST(X)
#undef X
};

const char *latency_event_name(enum latency_event event)
{
    return EVENTS[event].name;
}

const char *latency_event_meaning(enum latency_event event)
{
    return EVENTS[event].meaning;
}

void latency_add(struct latency_monitor *m, enum latency_event event, int64_t now_ms, uint64_t ms)
{
    struct latency_series *s = &m->series[event];
    int64_t now_s = now_ms / 1000;
    guard_hold(&m->guard);
    if (ms > s->worst_ms)
        s->worst_ms = ms;
    struct latency_sample *last = &s->sample[(s->next + LATENCY_SAMPLES - 1) % LATENCY_SAMPLES];
    if (s->count > 0 && last->time_s == now_s) {
        if (ms > last->ms)
            last->ms = ms;
    } else {
        s->sample[s->next] = (struct latency_sample){ now_s, ms };
        s->next = (s->next + 1) % LATENCY_SAMPLES;
        s->count += s->count < LATENCY_SAMPLES;
    }
    guard_release(&m->guard);
}

struct latency_series latency_series_of(struct latency_monitor *m, enum latency_event event)
{
    guard_hold(&m->guard);
    struct latency_series copy = m->series[event];
    guard_release(&m->guard);
    return copy;
}

bool latency_reset(struct latency_monitor *m, enum latency_event event)
{
    guard_hold(&m->guard);
    bool had = m->series[event].count > 0;
    memset(&m->series[event], 0, sizeof m->series[event]);
    guard_release(&m->guard);
    return had;
}
