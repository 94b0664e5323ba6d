// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>
#include <math.h>

#include "base/test.h"
#include "proto/reply.h"

static struct buf out;
static struct reply reply;

static void start(enum protocol protocol)
{
    buf_deinit(&out);
    buf_init(&out, BUF_NO_LIMIT);
    reply = (struct reply){ .out = &out, .protocol = (uint8_t)protocol };
}

// What was written since `start` or the last call.
static bool wrote_bytes(const char *want, size_t len)
{
    bool same = slice_equal(buf_view(&out), slice_of(want, len));
    if (!same)
        printf("got: %.*s\nwant: %.*s\n", (int)out.len, (const char *)out.data, (int)len, want);
    out.len = 0;
    return same;
}

#define wrote(text) wrote_bytes(text, sizeof(text) - 1)

static void simple_replies_are_the_same_in_both_protocols(void)
{
    for (enum protocol protocol = PROTOCOL_RESP2; protocol <= PROTOCOL_RESP3; protocol++) {
        start(protocol);
        reply_ok(&reply);
        check(wrote("+OK\r\n"));
        reply_simple(&reply, "PONG");
        check(wrote("+PONG\r\n"));
        reply_queued(&reply);
        check(wrote("+QUEUED\r\n"));
        reply_bulk_cstr(&reply, "hello");
        check(wrote("$5\r\nhello\r\n"));
        reply_bulk_format(&reply, "%d-%s", 7, "x");
        check(wrote("$3\r\n7-x\r\n"));
        reply_bulk_integer(&reply, -12);
        check(wrote("$3\r\n-12\r\n"));
        reply_bulk(&reply, slice_of(NULL, 0));
        check(wrote("$0\r\n\r\n"));
        reply_bulk(&reply, slice_of("a\0\r\n", 4));
        check(wrote("$4\r\na\0\r\n\r\n"));
        reply_raw(&reply, slice_cstr(":1\r\n"));
        check(wrote(":1\r\n"));
        reply_array(&reply, 0);
        check(wrote("*0\r\n"));
        reply_array(&reply, 1048576);
        check(wrote("*1048576\r\n"));
    }
}

static void integers_of_every_length_are_written(void)
{
    start(PROTOCOL_RESP2);
    uint64_t power = 1;
    for (int i = 0; i < 20; i++, power *= 10) {
        for (uint64_t near = power - 1; near != power + 2; near++) {
            for (int sign = 0; sign < 2; sign++) {
                int64_t value = (int64_t)(sign ? 0 - near : near);
                char want[64];
                int len = snprintf(want, sizeof want, ":%" PRId64 "\r\n", value);
                reply_integer(&reply, value);
                check(wrote_bytes(want, (size_t)len));
            }
        }
    }
    reply_integer(&reply, INT64_MAX);
    check(wrote(":9223372036854775807\r\n"));
    reply_integer(&reply, INT64_MIN);
    check(wrote(":-9223372036854775808\r\n"));
    reply_array(&reply, UINT64_MAX);
    check(wrote("*18446744073709551615\r\n"));
}

static void bulks_of_every_small_length_are_written(void)
{
    start(PROTOCOL_RESP3);
    uint8_t bytes[1200];
    memset(bytes, 'v', sizeof bytes);
    for (size_t len = 0; len <= sizeof bytes; len++) {
        char want[1300];
        int n = snprintf(want, sizeof want, "$%zu\r\n%.*s\r\n", len, (int)len, (const char *)bytes);
        reply_bulk(&reply, slice_of(bytes, len));
        check(wrote_bytes(want, (size_t)n));
    }
}

static void resp3_types_fall_back_to_resp2_shapes(void)
{
    start(PROTOCOL_RESP2);
    reply_null(&reply);
    check(wrote("$-1\r\n"));
    reply_null_array(&reply);
    check(wrote("*-1\r\n"));
    reply_map(&reply, 3);
    check(wrote("*6\r\n"));
    reply_set(&reply, 3);
    check(wrote("*3\r\n"));
    reply_push(&reply, 3);
    check(wrote("*3\r\n"));
    reply_double(&reply, 1.5);
    check(wrote("$3\r\n1.5\r\n"));
    reply_double(&reply, -INFINITY);
    check(wrote("$4\r\n-inf\r\n"));
    reply_boolean(&reply, true);
    check(wrote(":1\r\n"));
    reply_boolean(&reply, false);
    check(wrote(":0\r\n"));
    reply_big_number(&reply, slice_cstr("12345678901234567890"));
    check(wrote("$20\r\n12345678901234567890\r\n"));
    reply_verbatim(&reply, "txt", slice_cstr("hello"));
    check(wrote("$5\r\nhello\r\n"));
}

static void resp3_has_its_own_shapes(void)
{
    start(PROTOCOL_RESP3);
    reply_null(&reply);
    check(wrote("_\r\n"));
    reply_null_array(&reply);
    check(wrote("_\r\n"));
    reply_map(&reply, 3);
    check(wrote("%3\r\n"));
    reply_set(&reply, 12);
    check(wrote("~12\r\n"));
    reply_push(&reply, 123);
    check(wrote(">123\r\n"));
    reply_double(&reply, 1.5);
    check(wrote(",1.5\r\n"));
    reply_double(&reply, INFINITY);
    check(wrote(",inf\r\n"));
    reply_double(&reply, NAN);
    check(wrote(",nan\r\n"));
    reply_double(&reply, -5e-324);
    check(wrote(",-5e-324\r\n"));
    reply_boolean(&reply, true);
    check(wrote("#t\r\n"));
    reply_boolean(&reply, false);
    check(wrote("#f\r\n"));
    reply_big_number(&reply, slice_cstr("-12345678901234567890"));
    check(wrote("(-12345678901234567890\r\n"));
    reply_verbatim(&reply, "txt", slice_cstr("hello"));
    check(wrote("=9\r\ntxt:hello\r\n"));
    reply_verbatim(&reply, "txt", slice_of(NULL, 0));
    check(wrote("=4\r\ntxt:\r\n"));
}

static void an_array_may_learn_its_length_at_the_end(void)
{
    start(PROTOCOL_RESP2);
    reply_array(&reply, 2);
    size_t outer = reply_array_later(&reply);
    reply_integer(&reply, 1);
    size_t inner = reply_array_later(&reply);
    reply_array_set(&reply, inner, 0);
    for (int i = 0; i < 9; i++)
        reply_bulk_cstr(&reply, "x");
    reply_array_set(&reply, outer, 11);
    reply_ok(&reply);
    check(wrote("*2\r\n*11\r\n:1\r\n*0\r\n$1\r\nx\r\n$1\r\nx\r\n$1\r\nx\r\n$1\r\nx\r\n$1\r\nx\r\n$1\r\nx\r\n$1\r\nx\r\n$1\r\nx\r\n$"
                "1\r\nx\r\n+OK\r\n"));
}

static void errors_are_counted_by_their_code(void)
{
    start(PROTOCOL_RESP2);
    reply_error(&reply, REPLY_WRONGTYPE);
    check(wrote("-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"));
    check_equal(reply.errors, 1);
    check(strcmp(reply.error_code, "WRONGTYPE") == 0);
    reply_error(&reply, "ERR 100% wrong %s");
    check(wrote("-ERR 100% wrong %s\r\n"));
    check_equal(reply.errors, 2);
    check(strcmp(reply.error_code, "ERR") == 0);
    reply_error(&reply, "NOSPACEBUTALONGCODE");
    check(wrote("-NOSPACEBUTALONGCODE\r\n"));
    check(strcmp(reply.error_code, "NOSPACEBUTALONG") == 0);
    reply_error(&reply, "");
    check(wrote("-\r\n"));
    check_equal(reply.errors, 4);
}

static void an_error_cannot_smuggle_a_line_end(void)
{
    start(PROTOCOL_RESP2);
    reply_error_format(&reply, "ERR unknown command '%s' %c", "a\r\n+OK\r\nb", 0);
    check(wrote("-ERR unknown command 'a  +OK  b'  \r\n"));
}

static void a_long_error_is_cut_and_a_long_bulk_is_not(void)
{
    start(PROTOCOL_RESP2);
    static char text[3000];
    memset(text, 'e', sizeof text - 1);
    reply_error_format(&reply, "ERR %s", text);
    check(out.len == 511 + 3 && memcmp(out.data + out.len - 3, "e\r\n", 3) == 0);
    out.len = 0;
    reply_bulk_format(&reply, "%s!", text);
    check(out.len == 3000 + 9 && memcmp(out.data, "$3000\r\neee", 10) == 0);
}

static void a_full_buffer_takes_no_half_reply(void)
{
    for (size_t limit = 0; limit < 80; limit++) {
        struct buf small;
        buf_init(&small, limit);
        struct reply r = { .out = &small, .protocol = PROTOCOL_RESP3 };
        reply_bulk_cstr(&r, "0123456789012345678901234567890123456789");
        size_t len = small.len;
        check(len == 0 || len == 47);
        check(small.failed == (len == 0));
        reply_verbatim(&r, "txt", slice_cstr("0123456789012345678901234567890123456789"));
        reply_error(&r, "ERR something");
        reply_ok(&r);
        size_t mark = reply_array_later(&r);
        reply_double(&r, 0.5);
        reply_array_set(&r, mark, 1);
        check(small.len <= limit);
        if (len == 0)
            check(small.len == 0); // once failed, nothing more
        buf_deinit(&small);
    }
}

static void replies_leave_borrowed_memory_when_they_outgrow_it(void)
{
    uint8_t memory[64];
    struct buf borrowed;
    buf_init_borrowed(&borrowed, memory, sizeof memory, BUF_NO_LIMIT);
    struct reply r = { .out = &borrowed, .protocol = PROTOCOL_RESP2 };
    reply_ok(&r);
    check(borrowed.borrowed && borrowed.data == memory);
    reply_bulk_cstr(&r, "0123456789012345678901234567890123456789012345678901234567890123456789");
    check(!borrowed.borrowed && borrowed.data != memory);
    check(memcmp(borrowed.data, "+OK\r\n$70\r\n0123", 14) == 0);
    buf_deinit(&borrowed);
}

static void the_memory_of_the_tests_is_returned(void)
{
    buf_deinit(&out);
    check_equal(out.cap, 0);
}

TESTS(TEST(simple_replies_are_the_same_in_both_protocols), TEST(integers_of_every_length_are_written),
      TEST(bulks_of_every_small_length_are_written), TEST(resp3_types_fall_back_to_resp2_shapes), TEST(resp3_has_its_own_shapes),
      TEST(an_array_may_learn_its_length_at_the_end), TEST(errors_are_counted_by_their_code), TEST(an_error_cannot_smuggle_a_line_end),
      TEST(a_long_error_is_cut_and_a_long_bulk_is_not), TEST(a_full_buffer_takes_no_half_reply),
      TEST(replies_leave_borrowed_memory_when_they_outgrow_it), TEST(the_memory_of_the_tests_is_returned))
