// SPDX-License-Identifier: Apache-2.0
// Two hashes, because they answer to different people.
//
//   hash_route  public, XXH3-64 seed 0: the FCNP specification fixes it, clients compute it
//   hash_keyed  SipHash-1-3 under a secret drawn at start: a client cannot build keys that collide in the index
//               (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012)
#pragma once

#include <stdint.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/bytes.h"
#include "base/slice.h"

struct hash_secret {
    uint64_t k0;
    uint64_t k1;
};

static inline uint64_t hash_route(struct slice key)
{
    return XXH3_64bits(key.data, key.len);
}

static inline uint64_t hash_rotl(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

#define HASH_SIP_ROUND                                                                                                                     \
    do {                                                                                                                                   \
        v0 += v1, v1 = hash_rotl(v1, 13), v1 ^= v0, v0 = hash_rotl(v0, 32);                                                                \
        v2 += v3, v3 = hash_rotl(v3, 16), v3 ^= v2;                                                                                        \
        v0 += v3, v3 = hash_rotl(v3, 21), v3 ^= v0;                                                                                        \
        v2 += v1, v1 = hash_rotl(v1, 17), v1 ^= v2, v2 = hash_rotl(v2, 32);                                                                \
    } while (0)

static inline uint64_t hash_keyed(const struct hash_secret *secret, struct slice key)
{
    uint64_t v0 = secret->k0 ^ 0x736f6d6570736575u;
    uint64_t v1 = secret->k1 ^ 0x646f72616e646f6du;
    uint64_t v2 = secret->k0 ^ 0x6c7967656e657261u;
    uint64_t v3 = secret->k1 ^ 0x7465646279746573u;
    const uint8_t *p = key.data;
    size_t left = key.len;
    for (; left >= 8; left -= 8, p += 8) {
        uint64_t word = load_u64(p);
        v3 ^= word;
        HASH_SIP_ROUND;
        v0 ^= word;
    }
    uint64_t last = (uint64_t)key.len << 56;
    if (left >= 4) {
        last |= (uint64_t)load_u32(p) | (uint64_t)load_u32(p + left - 4) << (8 * (left - 4));
    } else if (left > 0) {
        last |= (uint64_t)p[0] | (uint64_t)p[left / 2] << (8 * (left / 2)) | (uint64_t)p[left - 1] << (8 * (left - 1));
    }
    v3 ^= last;
    HASH_SIP_ROUND;
    v0 ^= last;
    v2 ^= 0xff;
    HASH_SIP_ROUND;
    HASH_SIP_ROUND;
    HASH_SIP_ROUND;
    return v0 ^ v1 ^ v2 ^ v3;
}

#undef HASH_SIP_ROUND
