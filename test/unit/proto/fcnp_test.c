// SPDX-License-Identifier: Apache-2.0
#include "proto/fcnp.h"

#include <errno.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "base/test.h"

static const struct fcnp_limits LIMITS = { .frame_max = (512 << 20) + FCNP_HEADER, .args_max = 1024 * 1024 };

// Pairs of hexadecimal digits; spaces are for the eye.
static struct slice hex(const char *text)
{
    static uint8_t bytes[4096];
    size_t len = 0;
    for (; *text != '\0'; text++) {
        char pair[3] = { text[0], text[1], '\0' };
        if (*text == ' ')
            continue;
        bytes[len++] = (uint8_t)strtoul(pair, NULL, 16);
        text++;
    }
    return slice_of(bytes, len);
}

static struct fcnp parser;
static struct slice local[8];
static struct fcnp_request request;

static void start(void)
{
    fcnp_deinit(&parser);
    fcnp_init(&parser, &LIMITS);
}

// The frame in a block of exactly its size, so that the sanitizer sees a byte read too far.
static int parse(struct slice frame, size_t *used)
{
    static uint8_t *exact;
    free(exact);
    exact = malloc(frame.len + (frame.len == 0));
    if (frame.len > 0)
        memcpy(exact, frame.data, frame.len);
    return fcnp_parse(&parser, slice_of(exact, frame.len), local, 8, &request, used);
}

static bool argv_is(const char *joined)
{
    static char text[4096];
    size_t n = 0;
    for (uint32_t i = 0; i < request.rq.argc; i++) {
        if (i > 0)
            text[n++] = '|';
        if (request.rq.argv[i].len > 0)
            memcpy(text + n, request.rq.argv[i].data, request.rq.argv[i].len);
        n += request.rq.argv[i].len;
    }
    text[n] = '\0';
    if (strcmp(text, joined) == 0)
        return true;
    printf("got %s, want %s\n", text, joined);
    return false;
}

// Every shorter prefix is cut, the whole frame (with a byte of the next behind it) is this command.
static bool reads_as(const char *frame_hex, const char *joined)
{
    start();
    uint8_t bytes[4096];
    struct slice frame = hex(frame_hex);
    memcpy(bytes, frame.data, frame.len);
    bytes[frame.len] = 0xAA;
    size_t used = 77;
    for (size_t len = 0; len < frame.len; len++) {
        if (parse(slice_of(bytes, len), &used) != FCNP_PARTIAL || used != 0)
            return false;
    }
    for (size_t extra = 0; extra < 2; extra++) {
        if (parse(slice_of(bytes, frame.len + extra), &used) != FCNP_READY || used != frame.len || !argv_is(joined))
            return false;
    }
    return true;
}

static bool fails(const char *frame_hex, const char *why)
{
    start();
    size_t used = 77;
    bool failed = parse(hex(frame_hex), &used) == -EPROTO && used == 0;
    if (failed && strncmp(parser.error, "ERR FCNP protocol error: ", 25) == 0 && strcmp(parser.error + 25, why) == 0)
        return true;
    printf("got %s, want %s\n", parser.error, why);
    return false;
}

static void the_examples_of_the_specification_are_read(void)
{
    check(reads_as("fa 02 01 00 09000000 05000000 616c706861", "GET|alpha"));
    check(reads_as("fa 02 01 01 11000000 5aab25f6b50369be 05000000 616c706861", "GET|alpha"));
    check_equal(request.flags, FCNP_HASH);
    check(request.key_hash == hash_route(slice_cstr("alpha")));
    check(reads_as("fa 02 01 07 1d000000 5aab25f6b50369be 00000000 be00000000000000 05000000 616c706861", "GET|alpha"));
    check(request.key_tag == 0xbe && request.route_shard == 0 && !request.bare);
    check(reads_as("fa 02 01 07 18000000 5aab25f6b50369be 00000000 be00000000000000 05000000", "GET"));
    check(request.bare && request.key_len == 5 && request.key_tag == 0xbe);
    check(reads_as("fa 02 02 07 25000000 5aab25f6b50369be 00000000 be00000000000000 05000000 04000000 616c706861 62657461",
                   "SET|alpha|beta"));
    check(reads_as("fa 02 03 01 21000000 5aab25f6b50369be 60ea000000000000 05000000 04000000 616c706861 62657461",
                   "PSETEX|alpha|60000|beta"));
    check(reads_as("fa 02 05 01 11000000 5aab25f6b50369be 05000000 616c706861", "DEL|alpha"));
    check(reads_as("fa 02 c8 00 14000000 02000000 03000000 474554 05000000 616c706861", "GET|alpha"));
    check_equal(request.shape, FCNP_RESP2);
}

static void every_opcode_is_a_command(void)
{
    check(reads_as("fa020400 0d000000 6400000000000000 01000000 6b", "GETEX|k|PX|100"));
    check(reads_as("fa020600 05000000 01000000 6b", "EXISTS|k"));
    check(reads_as("fa020700 05000000 01000000 6b", "PTTL|k"));
    check_equal(request.shape, FCNP_SECONDS);
    check(reads_as("fa020800 0d000000 ffffffffffffffff 01000000 6b", "PEXPIRE|k|18446744073709551615"));
    check(reads_as("fa020900 00000000", "PING"));
    check(reads_as("fa020900 02000000 6869", "PING|hi"));
    check(reads_as("fa020a00 0e000000 02000000 01000000 61 01000000 62", "MGET|a|b"));
    check(reads_as("fa020a00 04000000 00000000", "MGET"));
    check(reads_as("fa020b00 19000000 02000000 01000000 01000000 6131 01000000 02000000 62 3232", "MSET|a|1|b|22"));
    check(reads_as("fa021400 0f000000 01000000 01000000 01000000 6b6676", "HSET|k|f|v"));
    check(reads_as("fa021500 0a000000 01000000 01000000 6b66", "HGET|k|f"));
    check(reads_as("fa021600 0a000000 01000000 01000000 6b66", "HDEL|k|f"));
    check(reads_as("fa021700 05000000 01000000 6b", "HLEN|k"));
    check(reads_as("fa021800 0e000000 01000000 6b 01000000 01000000 66", "HMGET|k|f"));
    check(reads_as("fa021e00 0e000000 01000000 6b 01000000 01000000 76", "LPUSH|k|v"));
    check(reads_as("fa021f00 0e000000 01000000 6b 01000000 01000000 76", "RPUSH|k|v"));
    check(reads_as("fa022000 05000000 01000000 6b", "LPOP|k"));
    check(reads_as("fa022100 05000000 01000000 6b", "RPOP|k"));
    check(reads_as("fa022200 05000000 01000000 6b", "LLEN|k"));
    check(reads_as("fa022300 0d000000 feffffffffffffff 01000000 6b", "LINDEX|k|-2"));
    check(reads_as("fa022400 15000000 0000000000000000 ffffffffffffffff 01000000 6b", "LRANGE|k|0|-1"));
    check(reads_as("fa022800 0e000000 01000000 6b 01000000 01000000 6d", "SADD|k|m"));
    check(reads_as("fa022900 0e000000 01000000 6b 01000000 01000000 6d", "SREM|k|m"));
    check(reads_as("fa022a00 0a000000 01000000 01000000 6b6d", "SISMEMBER|k|m"));
    check(reads_as("fa022b00 05000000 01000000 6b", "SCARD|k"));
    check(reads_as("fa022c00 05000000 01000000 6b", "SMEMBERS|k"));
    check(reads_as("fa023200 12000000 000000000000f83f 01000000 01000000 6b6d", "ZADD|k|1.5|m"));
    check(reads_as("fa023200 12000000 000000000000f0ff 01000000 01000000 6b6d", "ZADD|k|-inf|m"));
    check(reads_as("fa023300 0a000000 01000000 01000000 6b6d", "ZREM|k|m"));
    check(reads_as("fa023400 0a000000 01000000 01000000 6b6d", "ZSCORE|k|m"));
    check(reads_as("fa023500 05000000 01000000 6b", "ZCARD|k"));
    check(reads_as("fa023600 15000000 0000000000000080 ffffffffffffff7f 01000000 6b", "ZRANGE|k|-9223372036854775808|9223372036854775807"));
    check(reads_as("fa023c00 00000000", "AUTH"));
    check(reads_as("fa023c00 0a000000 01000000 75 01000000 70", "AUTH|u|p"));
    check(reads_as("fa023d00 00000000", "HELLO"));
    check(reads_as("fa023d00 08000000 0200000000000000", "HELLO|2"));
    check(reads_as("fa023e00 08000000 0300000000000000", "SELECT|3"));
    check(reads_as("fa023f00 00000000", "QUIT"));
    check(reads_as("fa024000 05000000 01000000 78", "ECHO|x"));
    check(reads_as("fa024100 00000000", "INFO"));
    check(reads_as("fa024200 00000000", "COMMAND"));
    check(reads_as("fa024300 00000000", "COMMAND|DOCS"));
    check(reads_as("fa024400 09000000 01000000 01000000 2a", "CONFIG|GET|*"));
    check(reads_as("fa024500 00000000", "DBSIZE"));
    check(reads_as("fa024600 00000000", "TIME"));
    check(reads_as("fa024700 00000000", "CLIENT|GETNAME"));
    check(reads_as("fa024800 05000000 01000000 6e", "CLIENT|SETNAME|n"));
    check(reads_as("fa024900 00000000", "CLIENT|ID"));
    check(reads_as("fa024a00 00000000", "CLIENT|LIST"));
    check(reads_as("fa024b00 05000000 01000000 61", "CLIENT|KILL|a"));
}

static void empty_keys_and_values_are_bytes_like_others(void)
{
    check(reads_as("fa020100 04000000 00000000", "GET|"));
    check(!request.bare);
    check(reads_as("fa020107 18000000 c294d33805806d2d 01000000 2d00000000000000 00000000", "GET|"));
    check(!request.bare);
    check(reads_as("fa020200 09000000 01000000 00000000 6b", "SET|k|"));
}

static void a_bare_get_needs_hash_and_tag(void)
{
    check(reads_as("fa020105 14000000 5aab25f6b50369be be00000000000000 05000000", "GET"));
    check(request.bare);
    check(fails("fa020101 0c000000 5aab25f6b50369be 05000000", "truncated body"));
    check(fails("fa020104 0c000000 be00000000000000 05000000", "truncated body"));
    check(fails("fa020100 04000000 05000000", "truncated body"));
}

static void a_wrong_header_ends_the_stream_at_once(void)
{
    check(fails("fb", "bad magic"));
    check(fails("00", "bad magic"));
    check(fails("2a310d0a", "bad magic"));
    check(fails("fa01", "unsupported version"));
    check(fails("fa03", "unsupported version"));
    check(fails("fa020108", "unknown flags"));
    check(fails("fa0201ff", "unknown flags"));
    check(fails("fa020900 01000020", "frame too large"));
    check(fails("fa020900 ffffffff", "frame too large"));
    start();
    size_t used;
    check_equal(parse(hex("fa020900 00000020"), &used), FCNP_PARTIAL);
}

static void a_body_must_be_filled_exactly(void)
{
    check(fails("fa020100 00000000", "truncated body"));
    check(fails("fa020100 03000000 050000", "truncated body"));
    check(fails("fa020100 08000000 05000000 616c7068", "truncated body"));
    check(fails("fa020100 0a000000 05000000 616c706861 00", "trailing bytes"));
    check(fails("fa020100 09000000 ffffffff 616c706861", "truncated body"));
    check(fails("fa020200 0a000000 01000000 ffffffff 6b76", "truncated body"));
    check(fails("fa020a00 04000000 01000000", "truncated body"));
    check(fails("fa020a00 04000000 ffffffff", "truncated body"));
    check(fails("fa020a00 08000000 01000000 ffffffff", "truncated body"));
    check(fails("fa020a00 05000000 00000000 00", "trailing bytes"));
    check(fails("fa020b00 0c000000 01000000 ffffffff ffffffff", "truncated body"));
    check(fails("fa020b00 08000000 01000000 00000000", "truncated body"));
    check(fails("fa023f00 01000000 00", "trailing bytes"));
    check(fails("fa023c00 05000000 01000000 75", "truncated body"));
    check(fails("fa020101 07000000 00000000000000", "truncated body"));
    check(fails("fa02c800 00000000", "truncated body"));
    check(fails("fa02c800 04000000 00000000", "empty command"));
    check(parser.argv == NULL); // however many arguments were declared
}

static void an_unknown_opcode_is_skipped_whole(void)
{
    static const uint8_t UNKNOWN[] = { 0, 12, 19, 25, 37, 55, 76, 199, 201, 255 };
    for (size_t i = 0; i < sizeof UNKNOWN; i++) {
        uint8_t frame[] = { 0xFA, 2, UNKNOWN[i], 0, 3, 0, 0, 0, 'x', 'y', 'z' };
        size_t used;
        start();
        check_equal(parse(slice_of(frame, 10), &used), FCNP_PARTIAL);
        check_equal(parse(slice_of(frame, 11), &used), FCNP_UNSUPPORTED);
        check_equal(used, 11);
    }
}

static void more_arguments_than_the_callers_array_go_to_the_parsers(void)
{
    struct buf frame;
    buf_init(&frame, BUF_NO_LIMIT);
    uint32_t count = 1000, body = 4 + count * 5;
    buf_append(&frame, "\xfa\x02\x0a\x00", 4);
    buf_append(&frame, &body, 4);
    buf_append(&frame, &count, 4);
    for (uint32_t i = 0; i < count; i++)
        buf_append(&frame, "\1\0\0\0k", 5);
    start();
    size_t used;
    check_equal(parse(buf_view(&frame), &used), FCNP_READY);
    check(request.rq.argc == 1001 && request.rq.argv != local && slice_is(request.rq.argv[1000], "k"));
    parser.limits.args_max = 999;
    check_equal(parse(buf_view(&frame), &used), -EPROTO);
    buf_deinit(&frame);
}

static void the_length_of_a_frame_is_known_with_its_header(void)
{
    check_equal(fcnp_frame_len(hex("fa020900 020000")), 0);
    check_equal(fcnp_frame_len(hex("fa020900 02000000")), 10);
    check_equal(fcnp_frame_len(hex("fa020900 ffffffff 00")), 4294967303);
}

static const char *const HOT[] = {
    "fa020100 09000000 05000000 616c706861",
    "fa020101 11000000 5aab25f6b50369be 05000000 616c706861",
    "fa020107 1d000000 5aab25f6b50369be 00000000 be00000000000000 05000000 616c706861",
    "fa020106 15000000 02000000 be00000000000000 05000000 616c706861",
    "fa020207 25000000 5aab25f6b50369be 03000000 be00000000000000 05000000 04000000 616c706861 62657461",
    "fa020204 19000000 be00000000000000 05000000 04000000 616c706861 62657461",
    "fa020100 04000000 00000000",
    "fa020200 08000000 00000000 00000000",
    "fa020107 18000000 5aab25f6b50369be 00000000 be00000000000000 05000000", // bare: not hot
};

// What is hot is what the parser says, and nothing that is cut or wrong is.
static bool agrees(struct slice frame)
{
    struct fcnp_hot hot = { 0 };
    size_t used;
    uint8_t *exact = malloc(frame.len + (frame.len == 0));
    memcpy(exact, frame.data, frame.len);
    frame.data = exact;
    bool is_get = fcnp_hottest(frame, &hot);
    struct fcnp_hot get = hot;
    struct fcnp_small small = { 0 };
    bool is_small = fcnp_small(frame.data, frame.len, &small);
    bool is_hot = fcnp_hot(frame, 100, &hot);
    parser.limits.frame_max = 100;
    int rc = fcnp_parse(&parser, frame, local, 8, &request, &used);
    bool ok = !is_hot;
    if (is_get && (!is_hot || get.opcode != hot.opcode || get.len != hot.len || get.flags != hot.flags || !slice_equal(get.key, hot.key) ||
                   !slice_equal(get.value, hot.value) || ((get.flags & FCNP_HASH) && get.key_hash != hot.key_hash) ||
                   ((get.flags & FCNP_SHARD) && get.route_shard != hot.route_shard) ||
                   (get.flags == FCNP_FLAGS && (get.key_tag != hot.key_tag || get.route_shard != hot.route_shard))))
        ok = false;
    else if (is_small && (!is_hot || small.opcode != hot.opcode || small.len != hot.len || small.flags != hot.flags ||
                          small.prefix != frame.data + FCNP_HEADER || !slice_equal(slice_of(small.key, small.key_len), hot.key) ||
                          !slice_equal(slice_of(small.key + small.key_len, small.value_len), hot.value)))
        ok = false;
    else if (is_hot && rc == FCNP_READY) {
        ok = hot.len == used && hot.opcode == request.opcode && hot.flags == request.flags && !request.bare &&
             request.rq.argc == hot.opcode + 1u && slice_equal(hot.key, request.rq.argv[1]) &&
             (hot.opcode == FCNP_GET || slice_equal(hot.value, request.rq.argv[2])) &&
             (!(hot.flags & FCNP_HASH) || hot.key_hash == request.key_hash) &&
             (!(hot.flags & FCNP_TAG) || hot.key_tag == request.key_tag) &&
             (!(hot.flags & FCNP_SHARD) || hot.route_shard == request.route_shard);
    }
    free(exact);
    return ok;
}

static void frames_with_these_prefixes_are_the_hottest(void)
{
    static const char *const FRAMES[] = {
        "fa020107 1d000000 5aab25f6b50369be 00000000 be00000000000000 05000000 616c706861",
        "fa020101 19000000 5aab25f6b50369be 0d000000 616c70686120616c7068612061",
        "fa020100 18000000 14000000 616c70686120616c70686120616c706861202020",
        "fa020207 25000000 5aab25f6b50369be 03000000 be00000000000000 05000000 04000000 616c706861 62657461",
        "fa020102 15000000 03000000 0d000000 616c70686120616c7068612061",
        "fa020103 1d000000 5aab25f6b50369be 00000000 0d000000 616c70686120616c7068612061", // another prefix
    };
    for (size_t i = 0; i < sizeof FRAMES / sizeof FRAMES[0]; i++) {
        struct fcnp_hot hot = { 0 };
        struct slice whole = hex(FRAMES[i]);
        check_equal(fcnp_hottest(whole, &hot), i < 5);
        check(i >= 5 || hot.len == whole.len);
        check(!fcnp_hottest(slice_of(whole.data, whole.len - 1), &hot));
        check(i != 4 || hot.route_shard == 3);
        struct fcnp_small small = { 0 };
        check(fcnp_small(whole.data, whole.len, &small) && small.len == whole.len);
        check(!fcnp_small(whole.data, whole.len - 1, &small));
    }
}

static void what_is_hot_is_what_the_parser_says(void)
{
    start();
    for (size_t i = 0; i < sizeof HOT / sizeof HOT[0]; i++) {
        uint8_t frame[64];
        struct fcnp_hot hot = { 0 };
        struct slice whole = hex(HOT[i]);
        memcpy(frame, whole.data, whole.len);
        whole.data = frame;
        check_equal(fcnp_hot(whole, 100, &hot), i + 1 < sizeof HOT / sizeof HOT[0]);
        check(!fcnp_hot(whole, whole.len - 1, &hot));
        for (size_t len = 0; len < whole.len; len++)
            check(!fcnp_hot(slice_of(frame, len), 100, &hot));
        for (size_t at = 0; at < whole.len; at++) {
            uint8_t was = frame[at];
            for (uint32_t byte = 0; byte < 256; byte++) {
                frame[at] = (uint8_t)byte;
                check(agrees(whole));
            }
            frame[at] = was;
        }
    }
}

static void a_large_value_may_lie_elsewhere(void)
{
    static const char *const FRAMES[] = {
        "fa020207 25000000 5aab25f6b50369be 00000000 be00000000000000 05000000 04000000 616c706861 62657461",
        "fa020200 11000000 05000000 04000000 616c706861 62657461",
        "fa020301 21000000 5aab25f6b50369be 60ea000000000000 05000000 04000000 616c706861 62657461",
    };
    for (size_t i = 0; i < sizeof FRAMES / sizeof FRAMES[0]; i++) {
        start();
        struct slice frame = hex(FRAMES[i]);
        size_t head = 0;
        uint64_t value_len = 0;
        for (size_t len = 0; len < frame.len - 4; len++)
            check_equal(fcnp_head(&parser, slice_of(frame.data, len), &head, &value_len), FCNP_PARTIAL);
        for (size_t len = frame.len - 4; len < frame.len; len++) {
            check_equal(fcnp_head(&parser, slice_of(frame.data, len), &head, &value_len), FCNP_READY);
            check_equal(head, frame.len - 4);
            check_equal(value_len, 4);
        }
        check_equal(fcnp_parse_split(&parser, slice_of(frame.data, head), slice_of("BETA", 4), local, 8, &request), FCNP_READY);
        check(argv_is(i < 2 ? "SET|alpha|BETA" : "PSETEX|alpha|60000|BETA"));
        check(!(request.flags & FCNP_HASH) || request.key_hash == 0xbe6903b5f625ab5au);
    }
}

static void lengths_of_a_large_value_that_lie_are_seen_early(void)
{
    static const char *const WRONG[] = {
        "fa020200 00001000 01000000 00001000 6b", // the value alone fills the body
        "fa020200 00001000 01000000 00000100 6b",
        "fa020200 00001000 ffffffff ffffffff 6b",
        "fa020300 00001000 60ea000000000000 01000000 00001000 6b",
    };
    size_t head;
    uint64_t value_len;
    for (size_t i = 0; i < sizeof WRONG / sizeof WRONG[0]; i++) {
        start();
        check_equal(fcnp_head(&parser, hex(WRONG[i]), &head, &value_len), -EPROTO);
    }
    start();
    check_equal(fcnp_head(&parser, hex("fa020100 00001000 01000000 00001000 6b"), &head, &value_len), FCNP_PARTIAL);
}

TESTS(TEST(frames_with_these_prefixes_are_the_hottest), TEST(what_is_hot_is_what_the_parser_says), TEST(a_large_value_may_lie_elsewhere),
      TEST(lengths_of_a_large_value_that_lie_are_seen_early), TEST(the_examples_of_the_specification_are_read),
      TEST(every_opcode_is_a_command), TEST(empty_keys_and_values_are_bytes_like_others), TEST(a_bare_get_needs_hash_and_tag),
      TEST(a_wrong_header_ends_the_stream_at_once), TEST(a_body_must_be_filled_exactly), TEST(an_unknown_opcode_is_skipped_whole),
      TEST(more_arguments_than_the_callers_array_go_to_the_parsers), TEST(the_length_of_a_frame_is_known_with_its_header))
