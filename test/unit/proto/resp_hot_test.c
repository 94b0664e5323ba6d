// SPDX-License-Identifier: Apache-2.0
#include "base/prng.h"
#include "base/test.h"
#include "proto/reply.h"
#include "test/unit/proto/resp_driver.h"

static size_t request(char *to, const char *name, size_t key, size_t value, bool set)
{
    size_t len = (size_t)sprintf(to, "*%d\r\n$3\r\n%s\r\n$%zu\r\n", set ? 3 : 2, name, key);
    memset(to + len, 'k', key);
    len += key + (size_t)sprintf(to + len + key, "\r\n");
    if (!set)
        return len;
    len += (size_t)sprintf(to + len, "$%zu\r\n", value);
    memset(to + len, 'v', value);
    return len + value + (size_t)sprintf(to + len + value, "\r\n");
}

static bool is_hot(const void *bytes, size_t len)
{
    return driver_hot(slice_of(bytes, len));
}

static const size_t SIZES[] = { 1, 2, 9, 10, 11, 99, 100, 101, 255, 256, 998, 999 };

static void gets_and_sets_of_up_to_999_bytes_are_taken_and_longer_ones_left(void)
{
    static const char *const NAMES[] = { "GET", "get", "GeT", "SET", "set", "sEt" };
    char text[RESP_HOT_MAX + 100];
    for (size_t n = 0; n < 6; n++)
        for (size_t k = 0; k < sizeof SIZES / sizeof SIZES[0]; k++)
            for (size_t v = 0; v < sizeof SIZES / sizeof SIZES[0]; v++) {
                bool set = n >= 3;
                check(is_hot(text, request(text, NAMES[n], SIZES[k], SIZES[v], set)));
                check(!is_hot(text, request(text, NAMES[n], SIZES[k], SIZES[v], !set)));
            }
    check(!is_hot(text, request(text, "GET", 1000, 0, false)));
    check(!is_hot(text, request(text, "SET", 1, 1000, true)));
    check(!is_hot(text, request(text, "DEL", 5, 0, false)));
    check(!is_hot(text, request(text, "SAT", 5, 5, true)));
}

static void one_that_is_cut_anywhere_is_left(void)
{
    char text[RESP_HOT_MAX];
    for (size_t k = 0; k < sizeof SIZES / sizeof SIZES[0]; k++)
        for (int set = 0; set < 2; set++) {
            size_t len = request(text, set ? "SET" : "GET", SIZES[k], SIZES[k], set);
            for (size_t cut = 0; cut < len; cut++)
                check(!is_hot(text, cut));
            check(is_hot(text, len));
        }
}

static void whatever_is_taken_is_what_the_parser_takes(void)
{
    struct prng r;
    char text[RESP_HOT_MAX];
    uint32_t taken = 0;
    prng_init(&r, 1);
    for (int i = 0; i < 200000; i++) {
        bool set = prng_below(&r, 2);
        size_t len = request(text, set ? "SET" : "GET", prng_below(&r, 30), prng_below(&r, 120), set);
        for (uint64_t n = prng_below(&r, 3); n > 0; n--) {
            size_t at = prng_below(&r, len);
            text[at] = (char)("\r\n$*0123456789GETSgets \0\xff"[prng_below(&r, 26)]);
        }
        taken += is_hot(text, prng_below(&r, 8) == 0 ? prng_below(&r, len) : len);
    }
    check(taken > 50000);
}

static void a_head_is_that_of_a_bulk_reply(void)
{
    uint8_t value[999] = { 0 };
    for (uint32_t len = 0; len < 1000; len++) {
        struct buf out;
        uint8_t head[8];
        buf_init(&out, BUF_NO_LIMIT);
        struct reply reply = { .protocol = 2, .out = &out };
        reply_bulk(&reply, slice_of(value, len));
        size_t n = resp_hot_head(head, len);
        check_equal(n + len + 2, out.len);
        check(memcmp(head, out.data, n) == 0);
        buf_deinit(&out);
    }
}

TESTS(TEST(gets_and_sets_of_up_to_999_bytes_are_taken_and_longer_ones_left), TEST(one_that_is_cut_anywhere_is_left),
      TEST(whatever_is_taken_is_what_the_parser_takes), TEST(a_head_is_that_of_a_bulk_reply))
