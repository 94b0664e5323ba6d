// SPDX-License-Identifier: Apache-2.0
// How long things took: a histogram of nanoseconds with eight buckets an octave, so that a percentile read from it is at most an
// eighth too high. Written by one thread, read by any with relaxed loads.
#pragma once

#include <stdint.h>

#define DURATIONS_BUCKETS 320 // up to 2^42 ns, more than an hour; what takes longer counts as that

struct durations {
    uint64_t total_ns;
    uint64_t count;
    uint64_t buckets[DURATIONS_BUCKETS];
};

static inline uint32_t durations_bucket(uint64_t ns)
{
    if (ns < 8)
        return (uint32_t)ns;
    uint32_t octave = 63 - (uint32_t)__builtin_clzll(ns);
    uint32_t bucket = (octave - 2) * 8 + (uint32_t)(ns >> (octave - 3) & 7);
    return bucket < DURATIONS_BUCKETS ? bucket : DURATIONS_BUCKETS - 1;
}

// The first value above the bucket.
static inline uint64_t durations_above(uint32_t bucket)
{
    return bucket < 8 ? bucket + 1u : (uint64_t)(bucket % 8 + 9) << (bucket / 8 - 1);
}

// `weight`: how many such durations this one stands for.
static inline void durations_add(struct durations *d, uint64_t ns, uint64_t weight)
{
    d->total_ns += ns * weight;
    d->count += weight;
    d->buckets[durations_bucket(ns)] += weight;
}

// Adds `from`, which its owner may be writing.
void durations_gather(struct durations *to, const struct durations *from);
// Nanoseconds that `share` (0 to 1) of them do not exceed; 0 when there are none.
uint64_t durations_percentile(const struct durations *d, double share);
// How many took less than `ns`, as far as buckets can tell.
uint64_t durations_below(const struct durations *d, uint64_t ns);
