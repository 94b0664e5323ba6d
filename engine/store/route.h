// SPDX-License-Identifier: Apache-2.0
// Key -> shard, as section 3 of the FCNP specification fixes it. Public: clients compute the same.
#pragma once

#include <stdint.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "base/slice.h"

enum route_mode { ROUTE_FULL_KEY, ROUTE_SESSION_PREFIX };

struct route {
    uint32_t shards; // N, a power of two
    uint8_t shift;   // 64 - log2(N)
    uint8_t mode;
};

static inline void route_init(struct route *r, uint32_t shards, enum route_mode mode)
{
    assert(is_power_of_two(shards));
    *r = (struct route){ .shards = shards, .shift = (uint8_t)(64 - __builtin_ctz(shards)), .mode = (uint8_t)mode };
}

static inline uint32_t route_shard_of_hash(const struct route *r, uint64_t hash)
{
    return r->shards == 1 ? 0 : (uint32_t)((hash << 7) >> r->shift);
}

// The bytes whose hash routes the key: in session mode of `s:...:c:...` what stands before the last `:c:`.
struct slice route_session_prefix(struct slice key);

// The index hash made of the route's (index-hash public): a bijection (the finalizer of MurmurHash3, Appleby), so that it still names
// the same key.
static inline uint64_t route_mix(uint64_t h)
{
    h = (h ^ h >> 33) * 0xff51afd7ed558ccdu;
    h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53u;
    return h ^ h >> 33;
}

static inline uint32_t route_shard(const struct route *r, struct slice key)
{
    if (r->shards == 1)
        return 0;
    if (unlikely(r->mode == ROUTE_SESSION_PREFIX))
        key = route_session_prefix(key);
    return route_shard_of_hash(r, hash_route(key));
}
