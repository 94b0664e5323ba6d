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

TESTS(TEST(the_rfc_vectors_hold), TEST(the_instruction_equals_the_definition), TEST(pieces_give_the_crc_of_the_whole),
      TEST(every_flipped_bit_is_noticed))
