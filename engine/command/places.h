// SPDX-License-Identifier: Apache-2.0
// Several keys of one call: all of a batch are hashed and fetched into the cache before the first of them is looked at.
#pragma once

#include "engine/command/command.h"

#define PLACES_MAX 32

// Of the keys argv[arg], argv[arg + step], ... below `end`, at most PLACES_MAX; returns how many.
static inline uint32_t places_load(struct call *c, uint32_t arg, uint32_t end, uint32_t step, struct place *out)
{
    uint32_t n = 0;
    for (; n < PLACES_MAX && arg < end; n++, arg += step) {
        out[n] = call_place(c, arg);
        keyspace_prefetch(out[n].keyspace, out[n].hash);
    }
    uint32_t displaced = 0; // bits
    static_assert(PLACES_MAX <= 32, "a bit each");
    for (uint32_t i = 0; n > 1 && i < n; i++)
        displaced |= (uint32_t)keyspace_prefetch_entry(out[i].keyspace, out[i].hash) << i;
    for (; displaced != 0; displaced &= displaced - 1) {
        const struct place *p = &out[__builtin_ctz(displaced)];
        keyspace_prefetch_displaced(p->keyspace, p->hash);
    }
    return n;
}
