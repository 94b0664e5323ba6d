// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>

#include "base/prng.h"
#include "base/test.h"
#include "proto/number.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void whole_numbers_are_read_up_to_their_bounds(void)
{
    static const struct {
        const char *text;
        int64_t value;
    } GOOD[] = { { "0", 0 },
                 { "1", 1 },
                 { "-1", -1 },
                 { "10", 10 },
                 { "1234567890", 1234567890 },
                 { "999999999999999999", 999999999999999999 },
                 { "9223372036854775806", INT64_MAX - 1 },
                 { "9223372036854775807", INT64_MAX },
                 { "-9223372036854775807", -INT64_MAX },
                 { "-9223372036854775808", INT64_MIN } };
    for (size_t i = 0; i < COUNT(GOOD); i++) {
        int64_t value = 77;
        check(number_parse_i64(slice_cstr(GOOD[i].text), &value));
        check_equal(value, GOOD[i].value);
    }
}

static void texts_that_are_no_whole_number_are_refused(void)
{
    static const char *const BAD[] = { "",
                                       "-",
                                       "+",
                                       "+1",
                                       "-0",
                                       "00",
                                       "01",
                                       "-01",
                                       " 1",
                                       "1 ",
                                       "1\n",
                                       "0x10",
                                       "1e5",
                                       "1.0",
                                       "1,0",
                                       "--1",
                                       "1-",
                                       "a",
                                       ":",
                                       "/",
                                       "9223372036854775808",
                                       "-9223372036854775809",
                                       "18446744073709551616",
                                       "99999999999999999999",
                                       "-99999999999999999999",
                                       "100000000000000000000",
                                       "111111111111111111111111111111" };
    for (size_t i = 0; i < COUNT(BAD); i++) {
        int64_t value = 77;
        uint64_t natural = 77;
        check(!number_parse_i64(slice_cstr(BAD[i]), &value));
        check_equal(value, 77);
        check(!number_parse_u64(slice_cstr(BAD[i]), &natural) || strcmp(BAD[i], "9223372036854775808") == 0);
    }
    int64_t value;
    check(!number_parse_i64(slice_of("1\0", 2), &value));
    check(!number_parse_i64(slice_of(NULL, 0), &value));
}

static void natural_numbers_reach_64_bits(void)
{
    uint64_t value;
    check(number_parse_u64(slice_cstr("18446744073709551615"), &value) && value == UINT64_MAX);
    check(number_parse_u64(slice_cstr("9223372036854775808"), &value) && value == (uint64_t)1 << 63);
    check(number_parse_u64(slice_cstr("0"), &value) && value == 0);
    check(!number_parse_u64(slice_cstr("-1"), &value));
    check(!number_parse_u64(slice_cstr("18446744073709551620"), &value));
}

static void check_whole_number(int64_t value)
{
    char text[NUMBER_TEXT_MAX], want[NUMBER_TEXT_MAX];
    size_t len = number_format_i64(text, value);
    check_equal(len, snprintf(want, sizeof want, "%" PRId64, value));
    check(memcmp(text, want, len) == 0);
    int64_t back;
    check(number_parse_i64(slice_of(text, len), &back) && back == value);
    len = number_format_u64(text, (uint64_t)value);
    check_equal(len, snprintf(want, sizeof want, "%" PRIu64, (uint64_t)value));
    check(memcmp(text, want, len) == 0);
    uint64_t natural;
    check(number_parse_u64(slice_of(text, len), &natural) && natural == (uint64_t)value);
}

static void whole_numbers_print_as_they_read(void)
{
    uint64_t power = 1;
    for (int i = 0; i < 20; i++, power *= 10) {
        for (uint64_t near = power - 2; near != power + 3; near++) {
            check_whole_number((int64_t)near);
            check_whole_number((int64_t)(0 - near));
        }
    }
    for (int bit = 0; bit < 64; bit++)
        check_whole_number((int64_t)(UINT64_C(1) << bit));
    check_whole_number(INT64_MAX);
    struct prng prng;
    prng_init(&prng, 1);
    for (int i = 0; i < 100000; i++)
        check_whole_number((int64_t)(prng_next(&prng) >> prng_below(&prng, 64)));
}

static void floats_are_read_as_redis_reads_them(void)
{
    static const struct {
        const char *text;
        long double value;
    } GOOD[] = { { "0", 0 },        { "1.5", 1.5L },     { "-3.25", -3.25L },   { "1e5", 1e5L },
                 { "+1", 1 },       { ".5", 0.5L },      { "5.", 5 },           { "0x10", 16 },
                 { "1E-3", 1e-3L }, { "inf", INFINITY }, { "-inf", -INFINITY }, { "Infinity", INFINITY },
                 { "0.1", 0.1L },   { "-0", 0 },         { "3.0e3", 3000 } };
    for (size_t i = 0; i < COUNT(GOOD); i++) {
        long double value = 77;
        double narrow = 77;
        check(number_parse_float(slice_cstr(GOOD[i].text), &value) && value == GOOD[i].value);
        check(number_parse_double(slice_cstr(GOOD[i].text), &narrow) && narrow == (double)GOOD[i].value);
    }
}

static void texts_that_are_no_float_are_refused(void)
{
    static const char *const BAD[] = {
        "",    " 1",  "1 ", "\t1", "\n1",    "nan",     "-nan",    "nan(1)", "abc", "1,5", "1.5.2", "1e",
        "--1", "1e+", "0x", ".",   "1e5000", "-1e5000", "1e-6000", "e5",     "-",   "i",   "in",    "1_000"
    };
    for (size_t i = 0; i < COUNT(BAD); i++) {
        long double value = 77;
        double narrow = 77;
        check(!number_parse_float(slice_cstr(BAD[i]), &value) && value == 77);
        check(!number_parse_double(slice_cstr(BAD[i]), &narrow) && narrow == 77);
    }
    double narrow;
    long double value;
    check(!number_parse_double(slice_cstr("1e400"), &narrow));
    check(number_parse_float(slice_cstr("1e400"), &value));
    check(!number_parse_double(slice_cstr("1e-400"), &narrow));
    check(!number_parse_float(slice_of("1\0", 2), &value));
    check(!number_parse_float(slice_of("1\0"
                                       "5",
                                       3),
                              &value));
}

static void long_texts_of_floats_have_an_end(void)
{
    static char text[6000];
    long double value;
    memset(text, '1', sizeof text);
    check(number_parse_float(slice_of(text, 400), &value) && value > 1e399L);
    check(!number_parse_float(slice_of(text, 5000), &value)); // over LDBL_MAX
    memset(text, '0', sizeof text);
    check(number_parse_float(slice_of(text, 5 * 1024 - 1), &value) && value == 0);
    check(!number_parse_float(slice_of(text, 5 * 1024), &value));
}

static bool float_prints(long double value, const char *want)
{
    char text[5 * 1024];
    size_t len = number_format_float(text, sizeof text, value);
    if (len == strlen(want) && memcmp(text, want, len) == 0)
        return true;
    printf("got %.*s, want %s\n", (int)len, text, want);
    return false;
}

static void floats_print_as_incrbyfloat_does(void)
{
    check(float_prints(0, "0"));
    check(float_prints(-0.0L, "0"));
    check(float_prints(3, "3"));
    check(float_prints(100, "100"));
    check(float_prints(10.5L, "10.5"));
    check(float_prints(0.1L, "0.1"));
    check(float_prints(-0.1L, "-0.1"));
    check(float_prints(0.1L + 0.2L, "0.3"));
    check(float_prints(3.0e3L, "3000"));
    check(float_prints(1e20L, "100000000000000000000"));
    check(float_prints(1e-17L, "0.00000000000000001"));
    check(float_prints(1e-18L, "0"));
    check(float_prints(-1e-18L, "0"));
    check(float_prints(1.0L / 3, "0.33333333333333333"));
    check(float_prints(INFINITY, "inf"));
    check(float_prints(-INFINITY, "-inf"));
    char text[5 * 1024];
    check_equal(number_format_float(text, sizeof text, -__LDBL_MAX__), 4934);
}

static bool double_prints(double value, const char *want)
{
    char text[NUMBER_TEXT_MAX];
    size_t len = number_format_double(text, sizeof text, value);
    if (len == strlen(want) && memcmp(text, want, len) == 0)
        return true;
    printf("got %.*s, want %s\n", (int)len, text, want);
    return false;
}

// Each answer was seen at a running server of the 7.2 protocol.
static void doubles_print_as_redis_replies_them(void)
{
    static const struct {
        double value;
        const char *text;
    } SEEN[] = {
        { 0.0, "0" },
        { 1.0, "1" },
        { -1.0, "-1" },
        { 0.5, "0.5" },
        { 0.1, "0.1" },
        { 1e+20, "1e+20" },
        { 1e+21, "1e+21" },
        { 1e+22, "1e+22" },
        { 1000000000000000.0, "1000000000000000" },
        { 1e+16, "10000000000000000" },
        { 1e+17, "100000000000000000" },
        { 1e+18, "1000000000000000000" },
        { 1e+19, "1e+19" },
        { 100000.0, "100000" },
        { 123456.789, "123456.789" },
        { 0.1, "0.1" },
        { 0.01, "0.01" },
        { 0.001, "0.001" },
        { 0.0001, "0.0001" },
        { 1e-05, "0.00001" },
        { 1e-06, "0.000001" },
        { 1e-07, "1e-7" },
        { 1e-08, "1e-8" },
        { 1e-10, "1e-10" },
        { 1.5e-05, "0.000015" },
        { 1.5e-06, "1.5e-6" },
        { 1.5e-07, "1.5e-7" },
        { 1.23456e-07, "1.23456e-7" },
        { 1.2345678e-05, "1.2345678e-5" },
        { 3.0000000000000004, "3.0000000000000004" },
        { 5e-324, "5e-324" },
        { 2.2250738585072014e-308, "2.2250738585072014e-308" },
        { 1.7976931348623157e+308, "1.7976931348623157e+308" },
        { -1.7976931348623157e+308, "-1.7976931348623157e+308" },
        { INFINITY, "inf" },
        { -INFINITY, "-inf" },
        { 4503599627370496.0, "4503599627370496" },
        { 9007199254740992.0, "9007199254740992" },
        { 4.611686018427388e+18, "4611686018427387904" },
        { 9.223372036854776e+18, "9223372036854776000" },
        { 1.8446744073709552e+19, "18446744073709552000" },
        { -4.611686018427388e+18, "-4611686018427387904" },
        { -9.223372036854776e+18, "-9223372036854776000" },
        { 1.5e+300, "1.5e+300" },
        { 1.5e-300, "1.5e-300" },
        { 1.2345678901234568e+17, "123456789012345680" },
        { 1.2345678901234567e+19, "12345678901234567000" },
        { 1e+100, "1e+100" },
        { -1e-100, "-1e-100" },
        { 0.30000000000000004, "0.30000000000000004" },
        { 100.25, "100.25" },
        { 3.14, "3.14" },
        { -17.5, "-17.5" },
        { 9007199254740992.0, "9007199254740992" },
        { 10000000000.0, "10000000000" },
        { 4.611686018427389e+18, "4611686018427389000" },
        { -4.611686018427389e+18, "-4611686018427389000" },
        { 2.305843009213694e+18, "2305843009213693952" },
        { 4e+18, "4000000000000000000" },
        { 5e+18, "5e+18" },
        { 9e+18, "9e+18" },
        { 1.2e+19, "1.2e+19" },
    };
    for (size_t i = 0; i < COUNT(SEEN); i++)
        check(double_prints(SEEN[i].value, SEEN[i].text));
    check(double_prints(NAN, "nan"));
    check(double_prints(-0.0, "-0"));
    check(double_prints(1e23, "1e+23")); // there 99999999999999990000000: their digits are not always the fewest
}

static void doubles_read_back_the_same(void)
{
    struct prng prng;
    prng_init(&prng, 3);
    for (int i = 0; i < 100000; i++) {
        union {
            uint64_t bits;
            double value;
        } in = { .bits = prng_next(&prng) };
        if (i % 3 == 0)
            in.value = (double)(int64_t)(prng_next(&prng) >> prng_below(&prng, 64)) / 1000;
        if (!isfinite(in.value))
            continue;
        char text[NUMBER_TEXT_MAX];
        size_t len = number_format_double(text, sizeof text, in.value);
        check(len <= 25);
        double back;
        // Subnormals set ERANGE in some C libraries and are refused then only if they become 0.
        check(number_parse_double(slice_of(text, len), &back) && back == in.value);
    }
}

// A host of the library may have chosen a locale whose numbers have a comma.
static void the_locale_of_the_host_does_not_matter(void)
{
    static const char *const COMMAS[] = { "de_DE.UTF-8", "fr_FR.UTF-8", "de_DE", "de_DE.utf8" };
    const char *chosen = NULL;
    for (size_t i = 0; i < COUNT(COMMAS) && chosen == NULL; i++)
        chosen = setlocale(LC_ALL, COMMAS[i]);
    if (chosen == NULL)
        printf("no locale with a comma is installed: checking the present one only\n");
    double narrow;
    long double value;
    check(number_parse_float(slice_cstr("1.5"), &value) && value == 1.5L);
    check(number_parse_double(slice_cstr("1.5"), &narrow) && narrow == 1.5);
    check(!number_parse_double(slice_cstr("1,5"), &narrow));
    check(float_prints(1.5L, "1.5"));
    check(double_prints(1.5, "1.5"));
    setlocale(LC_ALL, "C");
}

TESTS(TEST(whole_numbers_are_read_up_to_their_bounds), TEST(texts_that_are_no_whole_number_are_refused),
      TEST(natural_numbers_reach_64_bits), TEST(whole_numbers_print_as_they_read), TEST(floats_are_read_as_redis_reads_them),
      TEST(texts_that_are_no_float_are_refused), TEST(long_texts_of_floats_have_an_end), TEST(floats_print_as_incrbyfloat_does),
      TEST(doubles_print_as_redis_replies_them), TEST(doubles_read_back_the_same), TEST(the_locale_of_the_host_does_not_matter))
