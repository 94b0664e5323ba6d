// SPDX-License-Identifier: Apache-2.0
#include "base/bytes.h"
#include "base/slice.h"
#include "base/test.h"

static void integers_lie_little_end_first_at_any_address(void)
{
    for (size_t at = 0; at < 9; at++) {
        uint8_t raw[24] = { 0 };
        store_u64(raw + at, 0x1122334455667788u);
        check_equal(raw[at], 0x88);
        check_equal(raw[at + 7], 0x11);
        check(load_u64(raw + at) == 0x1122334455667788u);
        check_equal(load_u32(raw + at), 0x55667788);
        check_equal(load_u16(raw + at), 0x7788);
        check(load_u40(raw + at) == 0x4455667788u);
        store_u16(raw + at, 0xabcd);
        check(load_u64(raw + at) == 0x112233445566abcdu);
        store_u32(raw + at, 0xdeadbeef);
        check(load_u64(raw + at) == 0x11223344deadbeefu);
    }
}

static void five_bytes_touch_five_bytes(void)
{
    uint8_t raw[7];
    memset(raw, 0xff, sizeof raw);
    store_u40(raw + 1, 0x0102030405u);
    static const uint8_t WANT[] = { 0xff, 5, 4, 3, 2, 1, 0xff };
    check(memcmp(raw, WANT, sizeof raw) == 0);
    store_u40(raw + 1, UINT64_MAX);
    check(load_u40(raw + 1) == 0xffffffffffu);
}

static void sizes_that_do_not_fit_are_noticed(void)
{
    uint64_t out;
    check(size_add(1, 2, &out) && out == 3);
    check(size_add(UINT64_MAX, 0, &out) && out == UINT64_MAX);
    check(!size_add(UINT64_MAX, 1, &out));
    check(size_mul(1u << 31, 1u << 31, &out) && out == UINT64_C(1) << 62);
    check(size_mul(UINT64_MAX, 0, &out) && out == 0);
    check(!size_mul(UINT64_C(1) << 32, UINT64_C(1) << 32, &out));
}

static void rounding_up_and_powers_of_two(void)
{
    check_equal(round_up(0, 8), 0);
    check_equal(round_up(1, 8), 8);
    check_equal(round_up(8, 8), 8);
    check_equal(round_up(9, 8), 16);
    check_equal(round_up(4097, 4096), 8192);
    check(!is_power_of_two(0) && is_power_of_two(1) && is_power_of_two(UINT64_C(1) << 63) && !is_power_of_two(3));
    check(!is_power_of_two(UINT64_MAX));
}

static void slices_compare_as_bytes(void)
{
    check(slice_equal(slice_cstr("abc"), slice_of("abcd", 3)));
    check(!slice_equal(slice_cstr("abc"), slice_cstr("abd")));
    check(!slice_equal(slice_cstr("abc"), slice_cstr("ab")));
    check(slice_equal(slice_of(NULL, 0), slice_cstr("")));
    check_equal(slice_compare(slice_cstr("a"), slice_cstr("b")), -1);
    check_equal(slice_compare(slice_cstr("ab"), slice_cstr("a")), 1);
    check_equal(slice_compare(slice_of(NULL, 0), slice_cstr("")), 0);
    check_equal(slice_compare(slice_of(NULL, 0), slice_cstr("x")), -1);
    check_equal(slice_compare(slice_cstr("\xff"), slice_cstr("\x01")), 1);
}

// Not inlined: gcc 12 unrolls the loop over constants and then warns of a read behind the end that cannot happen.
__attribute__((noinline)) static bool is_word(struct slice s, const char *lower)
{
    return slice_is(s, lower);
}

static void words_match_in_any_case(void)
{
    check(is_word(slice_cstr("GeT"), "get"));
    check(is_word(slice_cstr(""), ""));
    check(!is_word(slice_cstr("ge"), "get"));
    check(!is_word(slice_cstr("getx"), "get"));
    check(!is_word(slice_of("get\0", 4), "get"));
    check(!is_word(slice_cstr("@"), "`")); // only letters have a case
    check(!is_word(slice_cstr("["), "{"));
}

TESTS(TEST(integers_lie_little_end_first_at_any_address), TEST(five_bytes_touch_five_bytes), TEST(sizes_that_do_not_fit_are_noticed),
      TEST(rounding_up_and_powers_of_two), TEST(slices_compare_as_bytes), TEST(words_match_in_any_case))
