// SPDX-License-Identifier: Apache-2.0
#include "base/buf.h"
#include "base/prng.h"
#include "base/test.h"

static bool holds(const struct buf *b, const char *text)
{
    return slice_equal(buf_view(b), slice_cstr(text));
}

static void an_empty_buffer_holds_no_memory(void)
{
    struct buf b;
    buf_init(&b, BUF_NO_LIMIT);
    buf_append(&b, "", 0);
    buf_append(&b, NULL, 0);
    buf_consume(&b, 0);
    check(b.data == NULL && b.cap == 0 && b.len == 0 && !b.failed);
    buf_deinit(&b);
}

static void bytes_come_out_in_order(void)
{
    struct buf b;
    buf_init(&b, BUF_NO_LIMIT);
    struct prng prng;
    prng_init(&prng, 9);
    uint8_t in = 0, out = 0;
    for (int i = 0; i < 2000; i++) {
        uint8_t piece[300];
        size_t len = prng_below(&prng, sizeof piece);
        for (size_t j = 0; j < len; j++)
            piece[j] = in++;
        buf_append(&b, piece, len);
        size_t take = prng_below(&prng, b.len + 1);
        for (size_t j = 0; j < take; j++)
            check(b.data[j] == out++);
        buf_consume(&b, take);
    }
    check(!b.failed && b.len <= b.cap);
    buf_deinit(&b);
}

static void borrowed_memory_is_left_when_outgrown_and_never_freed(void)
{
    uint8_t memory[8];
    struct buf b;
    buf_init_borrowed(&b, memory, sizeof memory, BUF_NO_LIMIT);
    buf_append(&b, "12345678", 8);
    check(b.data == memory && b.borrowed);
    buf_append(&b, "9", 1);
    check(b.data != memory && !b.borrowed && holds(&b, "123456789"));
    buf_deinit(&b);
    buf_init_borrowed(&b, memory, sizeof memory, BUF_NO_LIMIT);
    buf_append(&b, "abc", 3);
    buf_deinit(&b);
    check(memory[0] == 'a' && b.data == NULL);
}

static void the_limit_is_a_bound_on_memory_and_bytes(void)
{
    for (size_t limit = 0; limit < 600; limit += 7) {
        struct buf b;
        buf_init(&b, limit);
        while (!b.failed) {
            check(b.len <= limit && b.cap <= limit);
            buf_append(&b, "abc", 3);
        }
        check_equal(b.len, limit / 3 * 3);
        buf_deinit(&b);
    }
}

static void a_failed_buffer_takes_no_more_bytes(void)
{
    uint8_t memory[16];
    for (int borrowed = 0; borrowed < 2; borrowed++) {
        struct buf b;
        buf_init(&b, 16);
        if (borrowed)
            buf_init_borrowed(&b, memory, sizeof memory, 16);
        buf_append(&b, "0123456789", 10);
        buf_append(&b, "0123456789", 10); // does not fit
        buf_append(&b, "x", 1);           // would
        check(b.failed && holds(&b, "0123456789"));
        check(buf_reserve(&b, 1) == NULL);
        buf_deinit(&b);
        check(!b.failed && b.limit == 16);
    }
}

static void an_absurd_length_fails_instead_of_wrapping(void)
{
    struct buf b;
    buf_init(&b, BUF_NO_LIMIT);
    buf_append(&b, "x", 1);
    check(buf_reserve(&b, SIZE_MAX) == NULL);
    check(b.failed && b.len == 1);
    buf_deinit(&b);
}

static void reserved_room_is_used_by_advancing(void)
{
    struct buf b;
    buf_init(&b, BUF_NO_LIMIT);
    uint8_t *to = buf_reserve(&b, 100);
    memcpy(to, "hello", 5);
    buf_advance(&b, 5);
    check(holds(&b, "hello"));
    buf_consume(&b, 2);
    check(holds(&b, "llo"));
    buf_consume(&b, 3);
    check(b.len == 0);
    buf_deinit(&b);
}

TESTS(TEST(an_empty_buffer_holds_no_memory), TEST(bytes_come_out_in_order), TEST(borrowed_memory_is_left_when_outgrown_and_never_freed),
      TEST(the_limit_is_a_bound_on_memory_and_bytes), TEST(a_failed_buffer_takes_no_more_bytes),
      TEST(an_absurd_length_fails_instead_of_wrapping), TEST(reserved_room_is_used_by_advancing))
