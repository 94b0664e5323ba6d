// SPDX-License-Identifier: Apache-2.0
// A log-linear histogram of nanoseconds: every power of two is cut into 128 equal buckets, so a value is kept to within 0.8 %
// (the layout of HdrHistogram, Gil Tene). Recording costs a count of leading zeros, a shift and an add; the counters that one
// run really touches fit in a few cache lines.
#pragma once

#include <stdint.h>

enum {
    HISTOGRAM_LINEAR_BITS = 7,
    HISTOGRAM_LINEAR = 1 << HISTOGRAM_LINEAR_BITS,
    HISTOGRAM_VALUE_BITS = 40, // 18 minutes; longer ones count as that, but max and sum stay exact
    HISTOGRAM_BUCKETS = (HISTOGRAM_VALUE_BITS - HISTOGRAM_LINEAR_BITS + 1) * HISTOGRAM_LINEAR,
};

struct histogram {
    uint64_t count;
    uint64_t sum;
    uint64_t max;
    uint64_t min; // UINT64_MAX while count is 0
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_init(struct histogram *h);
void histogram_merge(struct histogram *into, const struct histogram *from);

// The smallest recorded value such that `percent` of all values are not above it, rounded up to its bucket's end but never
// above the maximum. percent in [0, 100]; 0 when the histogram is empty.
uint64_t histogram_percentile(const struct histogram *h, double percent);
double histogram_mean(const struct histogram *h);

static inline uint32_t histogram_bucket(uint64_t value)
{
    const uint64_t longest = (UINT64_C(1) << HISTOGRAM_VALUE_BITS) - 1;
    if (value > longest)
        value = longest;
    if (value < HISTOGRAM_LINEAR)
        return (uint32_t)value;
    uint32_t shift = 63u - (uint32_t)__builtin_clzll(value) - HISTOGRAM_LINEAR_BITS;
    return ((shift + 1) << HISTOGRAM_LINEAR_BITS) + (uint32_t)((value >> shift) & (HISTOGRAM_LINEAR - 1));
}

// `times` requests that took the same time; times > 0.
static inline void histogram_record(struct histogram *h, uint64_t value, uint64_t times)
{
    h->buckets[histogram_bucket(value)] += times;
    h->count += times;
    h->sum += value * times;
    if (value > h->max)
        h->max = value;
    if (value < h->min)
        h->min = value;
}
