// SPDX-License-Identifier: Apache-2.0
#include "bench/histogram.h"

#include <math.h>
#include <string.h>

void histogram_init(struct histogram *h)
{
    memset(h, 0, sizeof *h);
    h->min = UINT64_MAX;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        into->buckets[i] += from->buckets[i];
    into->count += from->count;
    into->sum += from->sum;
    if (from->max > into->max)
        into->max = from->max;
    if (from->min < into->min)
        into->min = from->min;
}

static uint64_t bucket_last_value(uint32_t bucket)
{
    if (bucket < HISTOGRAM_LINEAR)
        return bucket;
    uint32_t shift = (bucket >> HISTOGRAM_LINEAR_BITS) - 1;
    uint64_t first = ((uint64_t)(bucket & (HISTOGRAM_LINEAR - 1)) + HISTOGRAM_LINEAR) << shift;
    return first + (UINT64_C(1) << shift) - 1;
}

uint64_t histogram_percentile(const struct histogram *h, double percent)
{
    if (h->count == 0)
        return 0;
    uint64_t wanted = (uint64_t)ceil((double)h->count * percent / 100.0);
    if (wanted < 1)
        wanted = 1;
    if (wanted >= h->count)
        return h->max;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen >= wanted) {
            uint64_t value = bucket_last_value(i);
            return value < h->max ? value : h->max;
        }
    }
    return h->max;
}

double histogram_mean(const struct histogram *h)
{
    return h->count == 0 ? 0 : (double)h->sum / (double)h->count;
}
