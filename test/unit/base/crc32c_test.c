// SPDX-License-Identifier: Apache-2.0
#include "base/crc32c.h"
#include "base/prng.h"
#include "base/test.h"

// RFC 3720, appendix B.4.
static void the_rfc_vectors_hold(void)
{
    uint8_t data[32];
    check_equal(crc32c(0, "123456789", 9), 0xe3069283);
    check_equal(crc32c(0, "", 0), 0);
    memset(data, 0, sizeof data);
    check_equal(crc32c(0, data, sizeof data), 0x8a9136aa);
    memset(data, 0xff, sizeof data);
    check_equal(crc32c(0, data, sizeof data), 0x62a8ab43);
    for (uint8_t i = 0; i < 32; i++)
        data[i] = i;
    check_equal(crc32c(0, data, sizeof data), 0x46dd794e);
    for (uint8_t i = 0; i < 32; i++)
        data[i] = (uint8_t)(31 - i);
    check_equal(crc32c(0, data, sizeof data), 0x113fdb5c);
    static const uint8_t READ_PDU[48] = { [0] = 0x01, 0xc0, [16] = 0x14, [22] = 0x04, [27] = 0x14, [31] = 0x18, [32] = 0x28, [40] = 0x02 };
    check_equal(crc32c(0, READ_PDU, sizeof READ_PDU), 0xd9963a56);
}

static void the_instruction_equals_the_definition(void)
{
    if (!crc32c_has_hardware())
        return;
    uint8_t data[400];
    struct prng prng;
    prng_init(&prng, 5);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)prng_next(&prng);
    for (size_t at = 0; at < 9; at++) {
        for (size_t len = 0; len + at <= sizeof data; len++) {
            uint32_t start = (uint32_t)prng_next(&prng);
            check_equal(crc32c_hardware(start, data + at, len), crc32c_portable(start, data + at, len));
        }
    }
}

// Both sizes of lane, several times over, and everything around their borders.
static void long_inputs_equal_the_definition_too(void)
{
    static uint8_t data[3 * 4032 + 400];
    struct prng prng;
    prng_init(&prng, 6);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)prng_next(&prng);
    for (size_t len = 0; len + 3 <= sizeof data; len += len % 384 < 8 || len % 4032 < 8 || len % 384 > 376 ? 1 : 31) {
        size_t at = len % 3;
        uint32_t start = (uint32_t)prng_next(&prng);
        check_equal(crc32c(start, data + at, len), crc32c_portable(start, data + at, len));
    }
}

static void joined_sums_are_the_sum_of_the_whole(void)
{
    static uint8_t data[5000], zeros[70000];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * i + 3);
    uint32_t whole = crc32c(0, data, sizeof data);
    for (size_t at = 0; at <= sizeof data; at++) {
        uint32_t tail = crc32c(0, data + at, sizeof data - at);
        check_equal(crc32c_join(crc32c(0, data, at), tail, sizeof data - at), whole);
    }
    check_equal(crc32c_join(whole, 0, 0), whole);
    check_equal(crc32c_join(0, whole, sizeof data), whole);
    check_equal(crc32c_join(whole, crc32c(0, zeros, sizeof zeros), sizeof zeros), crc32c(whole, zeros, sizeof zeros));
    // Lengths that cannot be gone through: joining twice is joining the sum of the lengths, and the powers repeat.
    for (int bit = 0; bit < 40; bit++) {
        uint64_t len = UINT64_C(1) << bit;
        check_equal(crc32c_join(crc32c_join(whole, 0, len), 0, len), crc32c_join(whole, 0, 2 * len));
        check_equal(crc32c_join(whole, 0, len + (UINT64_C(1) << 31) - 1), crc32c_join(whole, 0, len));
    }
}

static void pieces_give_the_crc_of_the_whole(void)
{
    static const char TEXT[] = "the quick brown fox jumps over the lazy dog and then some more";
    size_t len = sizeof TEXT - 1;
    uint32_t whole = crc32c(0, TEXT, len);
    for (size_t at = 0; at <= len; at++) {
        check_equal(crc32c(crc32c(0, TEXT, at), TEXT + at, len - at), whole);
        check_equal(crc32c_portable(crc32c_portable(0, TEXT, at), TEXT + at, len - at), whole);
    }
}

static void every_flipped_bit_is_noticed(void)
{
    uint8_t data[64];
    memset(data, 0x5a, sizeof data);
    uint32_t good = crc32c(0, data, sizeof data);
    for (size_t bit = 0; bit < sizeof data * 8; bit++) {
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        check(crc32c(0, data, sizeof data) != good);
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

TESTS(TEST(the_rfc_vectors_hold), TEST(the_instruction_equals_the_definition), TEST(long_inputs_equal_the_definition_too),
      TEST(joined_sums_are_the_sum_of_the_whole), TEST(pieces_give_the_crc_of_the_whole), TEST(every_flipped_bit_is_noticed))
