// SPDX-License-Identifier: Apache-2.0
#include "base/hash.h"
#include "base/prng.h"
#include "base/test.h"

// SipHash-c-d written from the paper, byte by byte. Its rounds are checked by the paper's own 2-4 vector.
static void sip_rounds(uint64_t v[4], int count)
{
    for (; count > 0; count--) {
        v[0] += v[1];
        v[2] += v[3];
        v[1] = (v[1] << 13 | v[1] >> 51) ^ v[0];
        v[3] = (v[3] << 16 | v[3] >> 48) ^ v[2];
        v[0] = v[0] << 32 | v[0] >> 32;
        v[2] += v[1];
        v[0] += v[3];
        v[1] = (v[1] << 17 | v[1] >> 47) ^ v[2];
        v[3] = (v[3] << 21 | v[3] >> 43) ^ v[0];
        v[2] = v[2] << 32 | v[2] >> 32;
    }
}

static uint64_t sip(const struct hash_secret *secret, const uint8_t *bytes, size_t len, int c, int d)
{
    uint64_t v[4] = { secret->k0 ^ 0x736f6d6570736575u, secret->k1 ^ 0x646f72616e646f6du, secret->k0 ^ 0x6c7967656e657261u,
                      secret->k1 ^ 0x7465646279746573u };
    for (size_t at = 0; at <= len; at += 8) {
        uint64_t word = 0;
        for (size_t i = 0; i < 8 && at + i < len; i++)
            word |= (uint64_t)bytes[at + i] << 8 * i;
        if (at + 8 > len)
            word |= (uint64_t)len << 56;
        v[3] ^= word;
        sip_rounds(v, c);
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    sip_rounds(v, d);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static const struct hash_secret PAPER = { 0x0706050403020100u, 0x0f0e0d0c0b0a0908u };

static void the_keyed_hash_is_siphash_1_3_at_every_length(void)
{
    uint8_t bytes[300];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)i;
    check(sip(&PAPER, bytes, 15, 2, 4) == 0xa129ca6149be45e5u); // the paper, appendix A
    check(sip(&PAPER, bytes, 0, 2, 4) == 0x726fdb47dd0e0e31u);
    for (size_t len = 0; len < sizeof bytes; len++)
        check(hash_keyed(&PAPER, slice_of(bytes, len)) == sip(&PAPER, bytes, len, 1, 3));
    struct prng prng;
    prng_init(&prng, 11);
    for (int i = 0; i < 10000; i++) {
        struct hash_secret secret = { prng_next(&prng), prng_next(&prng) };
        size_t at = prng_below(&prng, 9), len = prng_below(&prng, 80);
        for (size_t j = 0; j < 90; j++)
            bytes[j] = (uint8_t)prng_next(&prng);
        check(hash_keyed(&secret, slice_of(bytes + at, len)) == sip(&secret, bytes + at, len, 1, 3));
    }
}

static void the_empty_key_needs_no_address(void)
{
    check(hash_keyed(&PAPER, slice_of(NULL, 0)) == hash_keyed(&PAPER, slice_cstr("")));
    check(hash_route(slice_of(NULL, 0)) == hash_route(slice_cstr("")));
}

static void another_secret_gives_another_hash(void)
{
    struct hash_secret other = { PAPER.k0 ^ 1, PAPER.k1 };
    check(hash_keyed(&PAPER, slice_cstr("key")) != hash_keyed(&other, slice_cstr("key")));
    other = (struct hash_secret){ PAPER.k0, PAPER.k1 ^ UINT64_C(1) << 63 };
    check(hash_keyed(&PAPER, slice_cstr("key")) != hash_keyed(&other, slice_cstr("key")));
}

// The table of the FCNP specification, section 3.
static void the_route_hash_is_the_one_that_clients_compute(void)
{
    static char k64[65], k300[301];
    memset(k64, 'k', 64);
    memset(k300, 'k', 300);
    const struct {
        const char *key;
        uint64_t hash;
        uint64_t shards[4]; // of 2, 4, 16, 64
    } VECTORS[] = {
        { "", 0x2d06800538d394c2u, { 1, 2, 8, 32 } },
        { "a", 0xe6c632b61e964e1fu, { 0, 1, 6, 24 } },
        { "alpha", 0xbe6903b5f625ab5au, { 0, 0, 3, 13 } },
        { "user:42", 0x9fc1e605fa7174aau, { 1, 3, 14, 56 } },
        { "owned-shard-key-1", 0xaea5da1bc648453eu, { 0, 1, 5, 20 } },
        { "s:42:c:7", 0x221c18680ed619a8u, { 0, 0, 0, 3 } },
        { "s:42", 0x9ed7df9c1d9bd965u, { 0, 1, 6, 26 } },
        { k64, 0xea15a22731ab9dd3u, { 0, 0, 0, 2 } },
        { k300, 0x3e901c94ff54faa0u, { 0, 1, 4, 18 } },
    };
    static const int BITS[] = { 1, 2, 4, 6 };
    for (size_t i = 0; i < sizeof VECTORS / sizeof VECTORS[0]; i++) {
        uint64_t hash = hash_route(slice_cstr(VECTORS[i].key));
        check(hash == VECTORS[i].hash);
        for (int n = 0; n < 4; n++)
            check_equal(hash << 7 >> (64 - BITS[n]), VECTORS[i].shards[n]);
    }
}

TESTS(TEST(the_keyed_hash_is_siphash_1_3_at_every_length), TEST(the_empty_key_needs_no_address), TEST(another_secret_gives_another_hash),
      TEST(the_route_hash_is_the_one_that_clients_compute))
