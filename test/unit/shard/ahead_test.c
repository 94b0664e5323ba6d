// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/ahead.h"

#include <stdlib.h>
#include <string.h>

#include "base/test.h"

// In memory of exactly that length, so that a sanitizer sees a read behind the end.
static bool key_of(const char *text, size_t len, struct slice *key, uint8_t **copy)
{
    *copy = malloc(len > 0 ? len : 1);
    memcpy(*copy, text, len);
    return ahead_key(slice_of(*copy, len), key);
}

static void the_first_key_of_plain_requests_is_seen(void)
{
    static const char *const TEXTS[] = { "*2\r\n$3\r\nGET\r\n$5\r\nhello\r\n", "*3\r\n$3\r\nSET\r\n$5\r\nhello\r\n$1\r\nx\r\n",
                                         "*2\r\n$6\r\nSTRLEN\r\n$5\r\nhello\r\n*1\r\n$4\r\nPING\r\n" };
    for (size_t i = 0; i < sizeof TEXTS / sizeof TEXTS[0]; i++) {
        struct slice key;
        uint8_t *copy;
        check(key_of(TEXTS[i], strlen(TEXTS[i]), &key, &copy));
        check(slice_is(key, "hello"));
        free(copy);
    }
}

static void so_is_that_of_frames(void)
{
    static const uint8_t GET[] = { 0xfa, 2, 1, 7, 29, 0, 0, 0, 1, 2, 3, 4, 5, 6,   7,   8,   0,   0,  0,
                                   0,    8, 0, 0, 0,  0, 0, 0, 0, 5, 0, 0, 0, 'h', 'e', 'l', 'l', 'o' };
    static const uint8_t SET[] = { 0xfa, 2, 2, 0, 14, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0, 'h', 'e', 'l', 'l', 'o', 'x', 0xfa };
    static const struct slice FRAMES[] = { { GET, sizeof GET }, { SET, sizeof SET } };
    for (size_t i = 0; i < sizeof FRAMES / sizeof FRAMES[0]; i++)
        for (size_t len = 0; len <= FRAMES[i].len; len++) {
            struct slice key;
            uint8_t *copy;
            bool whole = len >= FRAMES[i].len - i; // one byte of the next frame behind SET
            check_equal(key_of((const char *)FRAMES[i].data, len, &key, &copy), whole);
            check(!whole || slice_is(key, "hello"));
            free(copy);
        }
}

static void nothing_is_read_behind_the_end_wherever_it_is_cut(void)
{
    static const char *const TEXTS[] = { "*2\r\n$3\r\nGET\r\n$5\r\nhello\r\n",   "*2\r\n$9\r\nGET\r\n$999\r\nhello\r\n",
                                         "*2\r\n$3\r\nGET\r\n$9999999999\r\n",   "$$$$$$$$$$$$$$$$$$$$$$$$$",
                                         "*1\r\n$1\r\n$1\r\n$1\r\n$1\r\n$1\r\n", "*\r\r\r$9\r$$$$$$$$$$$$$$$$$$" };
    for (size_t i = 0; i < sizeof TEXTS / sizeof TEXTS[0]; i++)
        for (size_t len = 0; len <= strlen(TEXTS[i]); len++) {
            struct slice key = { 0 };
            uint8_t *copy;
            if (key_of(TEXTS[i], len, &key, &copy))
                check(key.data >= copy && key.data + key.len <= copy + len);
            free(copy);
        }
}

TESTS(TEST(the_first_key_of_plain_requests_is_seen), TEST(so_is_that_of_frames), TEST(nothing_is_read_behind_the_end_wherever_it_is_cut))
