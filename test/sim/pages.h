// SPDX-License-Identifier: Apache-2.0
// Pages of the simulated world: real ones, counted, that move at every resize, hold rubbish nowhere and sometimes are not to be had.
#pragma once

#include "base/memory.h"
#include "base/prng.h"

struct pages {
    struct memory memory; // first: what the product sees
    struct prng prng;
    uint32_t fail_permille; // of reserve and resize; 0 = never
    int64_t live;           // bytes reserved and not released
};

void pages_init(struct pages *p, uint64_t seed);
