// SPDX-License-Identifier: Apache-2.0
// xoshiro256**, seeded by splitmix64 (Blackman and Vigna, "Scrambled linear pseudorandom number generators", 2021).
// Not for secrets: those come from the seed that the reactor draws from the kernel.
#pragma once

#include <stdint.h>

struct prng {
    uint64_t state[4];
};

static inline uint64_t prng_splitmix(uint64_t *seed)
{
    uint64_t z = (*seed += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static inline void prng_init(struct prng *p, uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        p->state[i] = prng_splitmix(&seed);
}

static inline uint64_t prng_next(struct prng *p)
{
    uint64_t *s = p->state;
    uint64_t product = s[1] * 5;
    uint64_t result = (product << 7 | product >> 57) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = s[3] << 45 | s[3] >> 19;
    return result;
}

// Uniform in [0, bound) but for a bias below bound / 2^64; bound > 0.
static inline uint64_t prng_below(struct prng *p, uint64_t bound)
{
    return (uint64_t)(((unsigned __int128)prng_next(p) * bound) >> 64);
}

// Uniform in [0, 1).
static inline double prng_unit(struct prng *p)
{
    return (double)(prng_next(p) >> 11) * 0x1.0p-53;
}
