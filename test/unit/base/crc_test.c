// SPDX-License-Identifier: Apache-2.0
#include "base/crc32.h"
#include "base/crc64.h"
#include "base/test.h"

static struct crc32_tables t32;
static struct crc64_tables t64;

static void the_check_values_hold(void)
{
    crc32_init(&t32);
    crc64_init(&t64);
    check_equal(crc32(&t32, 0, "123456789", 9), 0xcbf43926);
    check_equal(crc32(&t32, 0, "", 0), 0);
    check(crc64(&t64, 0, "123456789", 9) == UINT64_C(0xe9c6d914c4b8d9ca));
    check(crc64(&t64, 0, "", 0) == 0);
}

static void pieces_give_the_crc_of_the_whole(void)
{
    static const char TEXT[] = "the quick brown fox jumps over the lazy dog and then some more";
    size_t len = sizeof TEXT - 1;
    crc32_init(&t32);
    crc64_init(&t64);
    for (size_t at = 0; at <= len; at++) {
        check_equal(crc32(&t32, crc32(&t32, 0, TEXT, at), TEXT + at, len - at), crc32(&t32, 0, TEXT, len));
        check(crc64(&t64, crc64(&t64, 0, TEXT, at), TEXT + at, len - at) == crc64(&t64, 0, TEXT, len));
    }
}

static void eight_bytes_at_a_time_equal_one(void)
{
    uint8_t data[64];
    crc32_init(&t32);
    crc64_init(&t64);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 37 + 11);
    for (size_t len = 0; len <= sizeof data; len++) {
        uint32_t small = 0;
        uint64_t wide = 0;
        for (size_t i = 0; i < len; i++) {
            small = crc32(&t32, small, data + i, 1);
            wide = crc64(&t64, wide, data + i, 1);
        }
        check_equal(crc32(&t32, 0, data, len), small);
        check(crc64(&t64, 0, data, len) == wide);
    }
}

TESTS(TEST(the_check_values_hold), TEST(pieces_give_the_crc_of_the_whole), TEST(eight_bytes_at_a_time_equal_one))
