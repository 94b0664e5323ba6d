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

static struct hash_keys keys_of(uint64_t k0, uint64_t k1)
{
    struct hash_keys keys;
    hash_keys_init(&keys, &(struct hash_secret){ k0, k1 });
    return keys;
}

static uint64_t sip_hash(const struct hash_secret *secret, struct slice key)
{
    struct hash_keys keys = keys_of(secret->k0, secret->k1);
    keys.aes = false;
    return hash_keyed(&keys, key);
}

static void without_aes_it_is_siphash_1_3_at_every_length(void)
{
    uint8_t bytes[300];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)i;
    check(sip(&PAPER, bytes, 15, 2, 4) == 0xa129ca6149be45e5u); // the paper, appendix A
    check(sip(&PAPER, bytes, 0, 2, 4) == 0x726fdb47dd0e0e31u);
    for (size_t len = 0; len < sizeof bytes; len++)
        check(sip_hash(&PAPER, slice_of(bytes, len)) == sip(&PAPER, bytes, len, 1, 3));
    struct prng prng;
    prng_init(&prng, 11);
    for (int i = 0; i < 10000; i++) {
        struct hash_secret secret = { prng_next(&prng), prng_next(&prng) };
        size_t at = prng_below(&prng, 9), len = prng_below(&prng, 80);
        for (size_t j = 0; j < 90; j++)
            bytes[j] = (uint8_t)prng_next(&prng);
        check(sip_hash(&secret, slice_of(bytes + at, len)) == sip(&secret, bytes + at, len, 1, 3));
    }
}

// AES of FIPS 197, byte by byte: one round is SubBytes, ShiftRows, MixColumns, AddRoundKey.
static uint8_t times_two(uint8_t x)
{
    return (uint8_t)(x << 1 ^ (x >> 7) * 0x1b);
}

static uint8_t times(uint8_t a, uint8_t b)
{
    uint8_t product = 0;
    for (; b != 0; b >>= 1, a = times_two(a))
        product ^= (uint8_t)((b & 1) * a);
    return product;
}

static uint8_t sub_byte(uint8_t x)
{
    uint8_t inverse = 0;
    for (int y = 1; x != 0 && y < 256; y++)
        if (times(x, (uint8_t)y) == 1)
            inverse = (uint8_t)y;
    uint8_t out = 0x63;
    for (int i = 0; i < 5; i++)
        out ^= (uint8_t)(inverse << i | inverse >> (8 - i));
    return out;
}

static void aes_round(uint8_t state[16], const uint64_t key[2])
{
    static uint8_t box[256];
    for (int i = 0; box[0] == 0 && i < 256; i++)
        box[255 - i] = sub_byte((uint8_t)(255 - i));
    uint8_t rows[16];
    for (int i = 0; i < 16; i++)
        rows[i] = box[state[(i + 4 * (i % 4)) % 16]];
    for (int c = 0; c < 16; c += 4)
        for (int r = 0; r < 4; r++)
            state[c + r] =
                (uint8_t)(times_two(rows[c + r]) ^ times(rows[c + (r + 1) % 4], 3) ^ rows[c + (r + 2) % 4] ^ rows[c + (r + 3) % 4]);
    for (int i = 0; i < 16; i++)
        state[i] ^= (uint8_t)(key[i / 8] >> i % 8 * 8);
}

// As hash.h describes it.
static uint64_t aes_hash(const struct hash_keys *k, const uint8_t *bytes, size_t len)
{
    uint8_t state[16], block[16];
    for (int i = 0; i < 16; i++)
        state[i] = (uint8_t)(k->rounds[0][i / 8] >> i % 8 * 8);
    for (size_t at = 0; at == 0 || at < len; at += 16) {
        for (size_t i = 0; i < 16; i++)
            block[i] = 0;
        if (len >= 16) {
            const uint8_t *from = at + 16 <= len ? bytes + at : bytes + len - 16;
            for (size_t i = 0; i < 16; i++)
                block[i] = from[i];
        } else if (len >= 4) {
            size_t half = len >= 8 ? 8 : 4;
            for (size_t i = 0; i < half; i++) {
                block[i] = bytes[i];
                block[half + i] = bytes[len - half + i];
            }
        } else if (len > 0) {
            block[0] = bytes[0];
            block[1] = bytes[len / 2];
            block[2] = bytes[len - 1];
        }
        for (int i = 0; i < 16; i++)
            state[i] ^= block[i];
        for (int i = 1; i <= 4; i++)
            aes_round(state, k->rounds[i]);
    }
    for (int i = 0; i < 8; i++)
        state[i] ^= (uint8_t)(len >> i * 8);
    for (int i = 5; i <= 8; i++)
        aes_round(state, k->rounds[i]);
    return load_u64(state);
}

static void with_aes_it_is_four_rounds_a_block_and_four_behind_the_length(void)
{
    // The inner rounds of FIPS 197, appendix B: start of round 2 from start of round 1.
    uint8_t state[16] = { 0x19, 0x3d, 0xe3, 0xbe, 0xa0, 0xf4, 0xe2, 0x2b, 0x9a, 0xc6, 0x8d, 0x2a, 0xe9, 0xf8, 0x48, 0x08 };
    static const uint8_t AFTER[16] = { 0xa4, 0x9c, 0x7f, 0xf2, 0x68, 0x9f, 0x35, 0x2b, 0x6b, 0x5b, 0xea, 0x43, 0x02, 0x6a, 0x50, 0x49 };
    static const uint8_t KEY[16] = { 0xa0, 0xfa, 0xfe, 0x17, 0x88, 0x54, 0x2c, 0xb1, 0x23, 0xa3, 0x39, 0x39, 0x2a, 0x6c, 0x76, 0x05 };
    aes_round(state, (uint64_t[2]){ load_u64(KEY), load_u64(KEY + 8) });
    check(slice_equal(slice_of(state, 16), slice_of(AFTER, 16)));
    struct prng prng;
    prng_init(&prng, 12);
    uint8_t bytes[120];
    struct hash_keys keys = keys_of(3, 4);
    for (size_t i = 0; keys.aes && i < 3000; i++) {
        size_t at = prng_below(&prng, 9), len = i < 110 ? i : prng_below(&prng, 40);
        for (size_t j = 0; j < sizeof bytes; j++)
            bytes[j] = (uint8_t)prng_next(&prng);
        check(hash_keyed(&keys, slice_of(bytes + at, len)) == aes_hash(&keys, bytes + at, len));
    }
}

static uint32_t ones(uint64_t x)
{
    return (uint32_t)__builtin_popcountll(x);
}

// Either half of the output bits, for every input bit, length and byte position.
static void every_bit_of_a_key_counts(void)
{
    struct hash_keys keys = keys_of(5, 6);
    struct prng prng;
    prng_init(&prng, 13);
    uint8_t bytes[70];
    for (size_t len = 1; len < sizeof bytes; len++) {
        for (size_t bit = 0; bit < len * 8; bit++) {
            uint32_t changed = 0;
            for (int i = 0; i < 8; i++) {
                for (size_t j = 0; j < len; j++)
                    bytes[j] = (uint8_t)prng_next(&prng);
                uint64_t before = hash_keyed(&keys, slice_of(bytes, len));
                bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
                changed += ones(before ^ hash_keyed(&keys, slice_of(bytes, len)));
            }
            check(changed > 170 && changed < 342); // of 512: 256 and 7.6 standard deviations
        }
    }
}

// Keys of one byte value only, and keys that differ in their length alone.
static void lengths_are_told_apart(void)
{
    struct hash_keys keys = keys_of(7, 8);
    static uint64_t seen[2 * 300];
    static uint8_t bytes[300];
    size_t count = 0;
    for (int fill = 0; fill < 2; fill++) {
        for (size_t len = (size_t)fill; len < 300; len++) { // the empty key once
            for (size_t i = 0; i < len; i++)
                bytes[i] = fill ? 'a' : 0;
            seen[count++] = hash_keyed(&keys, slice_of(bytes, len));
        }
    }
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < i; j++)
            check(seen[i] != seen[j]);
}

static void the_empty_key_needs_no_address(void)
{
    struct hash_keys keys = keys_of(PAPER.k0, PAPER.k1);
    check(hash_keyed(&keys, slice_of(NULL, 0)) == hash_keyed(&keys, slice_cstr("")));
    check(sip_hash(&PAPER, slice_of(NULL, 0)) == sip_hash(&PAPER, slice_cstr("")));
    check(hash_route(slice_of(NULL, 0)) == hash_route(slice_cstr("")));
}

static void another_secret_gives_another_hash(void)
{
    static const uint64_t OTHERS[2][2] = { { 1, 0 }, { 0, UINT64_C(1) << 63 } };
    struct slice key = slice_cstr("key");
    struct hash_keys keys = keys_of(PAPER.k0, PAPER.k1);
    for (int i = 0; i < 2; i++) {
        struct hash_secret other = { PAPER.k0 ^ OTHERS[i][0], PAPER.k1 ^ OTHERS[i][1] };
        struct hash_keys others = keys_of(other.k0, other.k1);
        check(hash_keyed(&keys, key) != hash_keyed(&others, key));
        check(sip_hash(&PAPER, key) != sip_hash(&other, key));
    }
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

TESTS(TEST(without_aes_it_is_siphash_1_3_at_every_length), TEST(with_aes_it_is_four_rounds_a_block_and_four_behind_the_length),
      TEST(every_bit_of_a_key_counts), TEST(lengths_are_told_apart), TEST(the_empty_key_needs_no_address),
      TEST(another_secret_gives_another_hash), TEST(the_route_hash_is_the_one_that_clients_compute))
