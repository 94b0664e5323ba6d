// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/durations.h"

__attribute__((no_sanitize("thread"))) static uint64_t load(const uint64_t *counter)
{
    return *(const volatile uint64_t *)counter;
}

void durations_gather(struct durations *to, const struct durations *from)
{
    to->total_ns += load(&from->total_ns);
    for (uint32_t i = 0; i < DURATIONS_BUCKETS; i++) {
        uint64_t n = load(&from->buckets[i]);
        to->buckets[i] += n;
        to->count += n; // and not from->count: so that buckets and count agree
    }
}

uint64_t durations_percentile(const struct durations *d, double share)
{
    uint64_t wanted = (uint64_t)(share * (double)d->count);
    uint64_t seen = 0;
    if (wanted >= d->count)
        wanted = d->count - 1;
    for (uint32_t i = 0; d->count > 0 && i < DURATIONS_BUCKETS; i++) {
        seen += d->buckets[i];
        if (seen > wanted)
            return durations_above(i);
    }
    return 0;
}

uint64_t durations_below(const struct durations *d, uint64_t ns)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < DURATIONS_BUCKETS && durations_above(i) <= ns; i++)
        sum += d->buckets[i];
    return sum;
}
