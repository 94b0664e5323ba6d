// SPDX-License-Identifier: Apache-2.0
#include "proto/fcnp_reply.h"

#include "base/bytes.h"
#include "base/test.h"

static struct buf out;
static struct reply reply;
static size_t mark;

static void begin(uint8_t shape)
{
    buf_deinit(&out);
    buf_init(&out, BUF_NO_LIMIT);
    buf_append(&out, "before", 6);
    reply = (struct reply){ .out = &out, .protocol = PROTOCOL_FCNP };
    mark = fcnp_reply_begin(&reply, shape);
}

static bool ends_as(uint8_t shape, uint8_t status, const void *body, size_t len)
{
    fcnp_reply_end(&reply, mark, shape);
    uint8_t header[8] = { 0xFB, 2, status, 0 };
    store_u32(header + 4, (uint32_t)len);
    return !out.failed && reply.protocol == PROTOCOL_FCNP && out.len == 6 + 8 + len && memcmp(out.data, "before", 6) == 0 &&
           memcmp(out.data + 6, header, 8) == 0 && (len == 0 || memcmp(out.data + 14, body, len) == 0);
}

#define ENDS_AS(status, body) ends_as(FCNP_PLAIN, status, body, sizeof(body) - 1)

static void each_type_of_reply_has_its_status(void)
{
    begin(FCNP_PLAIN), reply_ok(&reply);
    check(ENDS_AS(FCNP_OK, ""));
    begin(FCNP_PLAIN), reply_simple(&reply, "PONG");
    check(ENDS_AS(FCNP_OK, ""));
    begin(FCNP_PLAIN), reply_simple(&reply, "string");
    check(ENDS_AS(FCNP_VALUE, "string"));
    begin(FCNP_PLAIN), reply_null(&reply);
    check(ENDS_AS(FCNP_NULL, ""));
    begin(FCNP_PLAIN), reply_null_array(&reply);
    check(ENDS_AS(FCNP_NULL, ""));
    begin(FCNP_PLAIN), reply_error(&reply, REPLY_SYNTAX);
    check(ENDS_AS(FCNP_ERROR, "ERR syntax error"));
    begin(FCNP_PLAIN), reply_integer(&reply, 5);
    check(ENDS_AS(FCNP_INTEGER, "\5\0\0\0\0\0\0\0"));
    begin(FCNP_PLAIN), reply_integer(&reply, INT64_MIN);
    check(ENDS_AS(FCNP_INTEGER, "\0\0\0\0\0\0\0\x80"));
    begin(FCNP_PLAIN), reply_bulk_cstr(&reply, "value\r\n");
    check(ENDS_AS(FCNP_VALUE, "value\r\n"));
    begin(FCNP_PLAIN), reply_bulk_cstr(&reply, "");
    check(ENDS_AS(FCNP_VALUE, ""));
    begin(FCNP_PLAIN), reply_boolean(&reply, true);
    check(ENDS_AS(FCNP_BOOLEAN, "\1"));
    begin(FCNP_PLAIN), reply_boolean(&reply, false);
    check(ENDS_AS(FCNP_BOOLEAN, "\0"));
    begin(FCNP_PLAIN), reply_double(&reply, 1.5);
    check(ENDS_AS(FCNP_FLOAT, "\0\0\0\0\0\0\xf8\x3f"));
    begin(FCNP_PLAIN), reply_double(&reply, -__builtin_inf());
    check(ENDS_AS(FCNP_FLOAT, "\0\0\0\0\0\0\xf0\xff"));
    begin(FCNP_PLAIN), reply_double(&reply, __builtin_nan(""));
    check(ENDS_AS(FCNP_FLOAT, "\0\0\0\0\0\0\xf8\x7f"));
    begin(FCNP_PLAIN), reply_verbatim(&reply, "txt", slice_cstr("# Server"));
    check(ENDS_AS(FCNP_VALUE, "# Server"));
    begin(FCNP_PLAIN), reply_big_number(&reply, slice_cstr("123"));
    check(ENDS_AS(FCNP_VALUE, "123"));
}

static void a_hit_of_64_bytes_begins_as_specified(void)
{
    uint8_t value[64];
    memset(value, 'v', sizeof value);
    begin(FCNP_PLAIN), reply_bulk(&reply, slice_of(value, sizeof value));
    check(ends_as(FCNP_PLAIN, FCNP_VALUE, value, sizeof value));
    check(memcmp(out.data + 6, "\xfb\x02\x04\x00\x40\x00\x00\x00", 8) == 0);
}

static void milliseconds_to_live_become_seconds_rounded_up(void)
{
    static const struct {
        int64_t ms, seconds;
    } CASES[] = { { 1, 1 }, { 999, 1 }, { 1000, 1 }, { 1001, 2 }, { 0, 0 }, { -1, -1 }, { -2, -2 }, { INT64_MAX, INT64_MAX / 1000 + 1 } };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        begin(FCNP_SECONDS), reply_integer(&reply, CASES[i].ms);
        check(ends_as(FCNP_SECONDS, FCNP_INTEGER, &CASES[i].seconds, 8));
    }
}

static void arrays_hold_bare_bytes(void)
{
    begin(FCNP_PLAIN);
    reply_array(&reply, 8);
    reply_bulk_cstr(&reply, "abc");
    reply_null(&reply);
    reply_bulk_cstr(&reply, "");
    reply_integer(&reply, 1);
    reply_integer(&reply, -7);
    reply_boolean(&reply, true);
    reply_double(&reply, 0.5);
    reply_simple(&reply, "s");
    check(ENDS_AS(FCNP_ARRAY, "\10\0\0\0"
                              "\3\0\0\0abc"
                              "\xff\xff\xff\xff"
                              "\0\0\0\0"
                              "\1\0\0\0"
                              "1"
                              "\2\0\0\0-7"
                              "\1\0\0\0"
                              "1"
                              "\3\0\0\0"
                              "0.5"
                              "\1\0\0\0s"));
    begin(FCNP_PLAIN), reply_array(&reply, 0);
    check(ENDS_AS(FCNP_ARRAY, "\0\0\0\0"));
}

static void maps_are_flat_and_inner_aggregates_stay_text(void)
{
    begin(FCNP_PLAIN);
    reply_map(&reply, 1);
    reply_bulk_cstr(&reply, "f");
    reply_array(&reply, 2);
    reply_integer(&reply, 1);
    reply_array(&reply, 1);
    reply_bulk_cstr(&reply, "v");
    check(ENDS_AS(FCNP_ARRAY, "\2\0\0\0"
                              "\1\0\0\0f"
                              "\23\0\0\0*2\r\n:1\r\n*1\r\n$1\r\nv\r\n"));
}

static void a_resp_command_answers_with_resp2_text(void)
{
    begin(FCNP_RESP2);
    reply_array(&reply, 2);
    reply_null(&reply);
    reply_double(&reply, 0.5);
    check(ends_as(FCNP_RESP2, FCNP_VALUE, "*2\r\n$-1\r\n$3\r\n0.5\r\n", 18));
}

static void no_reply_is_no_frame(void)
{
    begin(FCNP_PLAIN);
    fcnp_reply_end(&reply, mark, FCNP_PLAIN);
    check_equal(out.len, 6);
}

static void a_frame_that_does_not_fit_leaves_those_before_it(void)
{
    for (size_t limit = 0; limit < 120; limit++) {
        buf_deinit(&out);
        buf_init(&out, limit);
        reply = (struct reply){ .out = &out, .protocol = PROTOCOL_FCNP };
        size_t whole = 0;
        for (int i = 0; i < 4; i++) {
            mark = fcnp_reply_begin(&reply, FCNP_PLAIN);
            reply_array(&reply, 2);
            reply_integer(&reply, 1);
            reply_integer(&reply, 2);
            fcnp_reply_end(&reply, mark, FCNP_PLAIN);
            if (!out.failed)
                whole += 8 + 14;
            check_equal(out.len, whole);
        }
    }
    buf_deinit(&out);
}

TESTS(TEST(each_type_of_reply_has_its_status), TEST(a_hit_of_64_bytes_begins_as_specified),
      TEST(milliseconds_to_live_become_seconds_rounded_up), TEST(arrays_hold_bare_bytes),
      TEST(maps_are_flat_and_inner_aggregates_stay_text), TEST(a_resp_command_answers_with_resp2_text), TEST(no_reply_is_no_frame),
      TEST(a_frame_that_does_not_fit_leaves_those_before_it))
