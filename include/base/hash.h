// SPDX-License-Identifier: Apache-2.0
// Two hashes, because they answer to different people.
//
//   hash_route  public, XXH3-64 seed 0: the FCNP specification fixes it, clients compute it
//   hash_keyed  under a secret drawn at start: a client cannot build keys that collide in the index. With the processor's AES rounds
//               where it has them, else SipHash-1-3 (decision 0002): two processes need not agree, one always agrees with itself
#pragma once

#include <stdint.h>

#define XXH_INLINE_ALL
#include <xxhash.h>
#if defined(__x86_64__)
#include <cpuid.h>
#include <emmintrin.h>
#endif

#include "base/assert.h"
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

// Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012.
static __attribute__((__noinline__, __unused__)) uint64_t hash_sip(const struct hash_secret *secret, struct slice key)
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

// What hash_keyed works with, made of a secret.
#define HASH_AES_KEYS 9
struct hash_keys {
    _Alignas(16) uint64_t rounds[HASH_AES_KEYS][2];
    struct hash_secret secret;
    bool aes;
};

#if defined(__x86_64__)

static inline bool hash_has_aes(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_AES) != 0;
}

// Written out, because the compiler inlines no function for a processor with AES into one for any.
static inline __m128i hash_aes_round(__m128i state, const uint64_t key[2])
{
    __asm__("aesenc %1, %0" : "+x"(state) : "xm"(*(const __m128i *)(const void *)key));
    return state;
}

static inline __m128i hash_aes_four(__m128i state, const uint64_t (*keys)[2])
{
    return hash_aes_round(hash_aes_round(hash_aes_round(hash_aes_round(state, keys[0]), keys[1]), keys[2]), keys[3]);
}

static inline __m128i hash_block(const uint8_t *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

// Up to 16 bytes: those of one length never give the same block.
static inline __m128i hash_short_block(const uint8_t *p, size_t len)
{
    if (likely(len >= 8))
        return _mm_unpacklo_epi64(_mm_loadu_si64(p), _mm_loadu_si64(p + len - 8));
    if (len >= 4)
        return _mm_cvtsi64_si128((int64_t)(load_u32(p) | (uint64_t)load_u32(p + len - 4) << 32));
    if (len == 0)
        return _mm_setzero_si128();
    return _mm_cvtsi32_si128(p[0] | p[len / 2] << 8 | p[len - 1] << 16);
}

// A block after the other goes into a secret state through four rounds, as in Pelican MAC (Daemen and Rijmen, 2005): no two inputs can
// be found that lead to one state but with a chance of 2^-113. Then the length, and four more rounds, so that the hash of a short key is
// eight rounds away from it: not even from all hashes (SCAN shows their order) follow the keys.
static inline uint64_t hash_aes(const struct hash_keys *k, struct slice key)
{
    const uint8_t *p = key.data;
    __m128i state = *(const __m128i *)(const void *)k->rounds[0];
    if (likely(key.len <= 16)) {
        state = _mm_xor_si128(state, hash_short_block(p, key.len));
    } else {
        for (size_t left = key.len; left > 16; left -= 16, p += 16)
            state = hash_aes_four(_mm_xor_si128(state, hash_block(p)), &k->rounds[1]);
        state = _mm_xor_si128(state, hash_block((const uint8_t *)key.data + key.len - 16));
    }
    state = hash_aes_four(state, &k->rounds[1]);
    state = hash_aes_four(_mm_xor_si128(state, _mm_cvtsi64_si128((int64_t)key.len)), &k->rounds[5]);
    return (uint64_t)_mm_cvtsi128_si64(state);
}

#else

static inline bool hash_has_aes(void)
{
    return false;
}

static inline uint64_t hash_aes(const struct hash_keys *k, struct slice key)
{
    return hash_sip(&k->secret, key);
}

#endif

static inline void hash_keys_init(struct hash_keys *k, const struct hash_secret *secret)
{
    k->secret = *secret;
    k->aes = hash_has_aes();
    for (uint8_t i = 0; i < 2 * HASH_AES_KEYS; i++)
        k->rounds[i / 2][i % 2] = hash_sip(secret, slice_of(&i, 1));
}

static inline uint64_t hash_keyed(const struct hash_keys *k, struct slice key)
{
    return likely(k->aes) ? hash_aes(k, key) : hash_sip(&k->secret, key);
}
