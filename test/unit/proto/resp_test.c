// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "base/prng.h"
#include "base/test.h"
#include "test/unit/proto/resp_driver.h"

#define ERROR(text)    "!ERR Protocol error: " text "\n"
#define LITERAL(bytes) slice_of(bytes, sizeof(bytes) - 1)
#define EXPECT(bytes, transcript)                                                                                                          \
    {                                                                                                                                      \
        (bytes), sizeof(bytes) - 1, (transcript), sizeof(transcript) - 1                                                                   \
    }

struct expect {
    const char *bytes;
    size_t len;
    const char *transcript;
    size_t transcript_len;
};

static struct resp_limits limits;

static void reset_limits(void)
{
    limits = *driver_limits();
}

static bool transcript_is(const struct driver *d, struct slice want)
{
    if (slice_equal(buf_view(&d->transcript), want))
        return true;
    printf("got:  %.*s\nwant: %.*s\n", (int)d->transcript.len, (const char *)d->transcript.data, (int)want.len, (const char *)want.data);
    return false;
}

// Pieces of `step` bytes, the first one `first` bytes long.
static bool gives(struct slice bytes, size_t first, size_t step, struct slice want)
{
    struct driver d;
    driver_init(&d, &limits);
    bool going = true;
    for (size_t at = 0, n = first; going && at < bytes.len; at += n, n = step) {
        if (n > bytes.len - at)
            n = bytes.len - at;
        going = driver_feed(&d, slice_of(bytes.data + at, n));
    }
    bool same = transcript_is(&d, want);
    driver_deinit(&d);
    return same;
}

// Whole, byte by byte, and cut in two at every byte; with big arguments announced from 1, 2 and 5 bytes on, and never.
static void check_every_split(struct slice bytes, struct slice want)
{
    static const uint64_t BIG_MINS[] = { 0, 1, 2, 5 };
    for (size_t i = 0; i < 4; i++) {
        limits.big_min = BIG_MINS[i];
        check(gives(bytes, bytes.len, bytes.len, want));
        check(gives(bytes, 1, 1, want));
        for (size_t at = 1; at < bytes.len; at++) {
            check(gives(bytes, at, bytes.len, want));
            check(gives(bytes, at, 1, want));
        }
    }
}

static void check_table(const struct expect *table, size_t count)
{
    for (size_t i = 0; i < count; i++)
        check_every_split(slice_of(table[i].bytes, table[i].len), slice_of(table[i].transcript, table[i].transcript_len));
}

#define CHECK_TABLE(table) check_table(table, sizeof(table) / sizeof((table)[0]))

static void requests_are_read_however_they_are_cut(void)
{
    static const struct expect TABLE[] = {
        EXPECT("", ""),
        EXPECT("*1\r\n$4\r\nPING\r\n", "(4:PING)\n"),
        EXPECT("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nvalue\r\n", "(3:SET)(1:k)(5:value)\n"),
        EXPECT("*2\r\n$3\r\nGET\r\n$12\r\nabcdefghijkl\r\n", "(3:GET)(12:abcdefghijkl)\n"),
        EXPECT("*1\r\n$0\r\n\r\n", "(0:)\n"),
        EXPECT("*3\r\n$0\r\n\r\n$0\r\n\r\n$0\r\n\r\n", "(0:)(0:)(0:)\n"),
        EXPECT("*2\r\n$4\r\n\r\n\r\n\r\n$3\r\n\0*$\r\n", "(4:\r\n\r\n)(3:\0*$)\n"),
        EXPECT("*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPONG\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n", "(4:PING)\n(4:PONG)\n(1:a)(1:b)\n"),
        EXPECT("*11\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n$1\r\n4\r\n$1\r\n5\r\n$1\r\n6\r\n$1\r\n7\r\n$1\r\n8\r\n$1\r\n9\r\n$1\r\na\r\n$"
               "1\r\nb\r\n",
               "(1:1)(1:2)(1:3)(1:4)(1:5)(1:6)(1:7)(1:8)(1:9)(1:a)(1:b)\n"),
        EXPECT("*17\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n$1\r\n4\r\n$1\r\n5\r\n$1\r\n6\r\n$1\r\n7\r\n$1\r\n8\r\n$1\r\n9\r\n$1\r\na\r\n$"
               "1\r\nb\r\n"
               "$1\r\nc\r\n$1\r\nd\r\n$1\r\ne\r\n$1\r\nf\r\n$1\r\ng\r\n$1\r\nh\r\n",
               "(1:1)(1:2)(1:3)(1:4)(1:5)(1:6)(1:7)(1:8)(1:9)(1:a)(1:b)(1:c)(1:d)(1:e)(1:f)(1:g)(1:h)\n"),
    };
    reset_limits();
    CHECK_TABLE(TABLE);
}

static void empty_requests_get_no_answer(void)
{
    static const struct expect TABLE[] = {
        EXPECT("\r\n", ".\n"),
        EXPECT("\n", ".\n"),
        EXPECT(" \t \r\n", ".\n"),
        EXPECT("\r\r\n", ".\n"),
        EXPECT("*0\r\n", ".\n"),
        EXPECT("*-1\r\n", ".\n"),
        EXPECT("*-2\r\n", ".\n"),
        EXPECT("*-9223372036854775808\r\n", ".\n"),
        EXPECT("\r\n*0\r\nPING\r\n*-1\r\n*1\r\n$1\r\nx\r\n\n", ".\n.\n(4:PING)\n.\n(1:x)\n.\n"),
    };
    reset_limits();
    CHECK_TABLE(TABLE);
}

static void a_wrong_count_ends_the_stream(void)
{
#define WRONG ERROR("invalid multibulk length")
    static const struct expect TABLE[] = {
        EXPECT("*\r\n", WRONG),
        EXPECT("*-\r\n", WRONG),
        EXPECT("*-0\r\n", WRONG),
        EXPECT("* 1\r\n", WRONG),
        EXPECT("*1 \r\n", WRONG),
        EXPECT("*+1\r\n", WRONG),
        EXPECT("*01\r\n$4\r\nPING\r\n", WRONG),
        EXPECT("*0x1\r\n", WRONG),
        EXPECT("*1.0\r\n", WRONG),
        EXPECT("*?\r\n", WRONG),
        EXPECT("**1\r\n", WRONG),
        EXPECT("*1\0\r\n", WRONG),
        EXPECT("*1048577\r\n", WRONG),
        EXPECT("*2147483647\r\n", WRONG),
        EXPECT("*2147483648\r\n", WRONG),
        EXPECT("*4294967297\r\n", WRONG),
        EXPECT("*9223372036854775808\r\n", WRONG),
        EXPECT("*18446744073709551617\r\n", WRONG),
        EXPECT("*99999999999999999999\r\n", WRONG),
        EXPECT("*111111111111111111111111111111111111111\r\n", WRONG),
        EXPECT("*1\n$4\r\nPING\r\n", WRONG),  // a bare LF: the line ends at the next CR
        EXPECT("*1\rx$4\r\nPING\r\n", WRONG), // Redis skips the byte after CR unseen; we look
        EXPECT("*1\r\r\n$4\r\nPING\r\n", WRONG),
        EXPECT("*1\r\n$4\r\nPING\r\n*x\r\n*1\r\n$4\r\nPING\r\n", "(4:PING)\n" WRONG),
    };
#undef WRONG
    reset_limits();
    CHECK_TABLE(TABLE);
}

static void a_wrong_length_ends_the_stream(void)
{
#define WRONG ERROR("invalid bulk length")
    static const struct expect TABLE[] = {
        EXPECT("*1\r\n$\r\n", WRONG),
        EXPECT("*1\r\n$-1\r\n", WRONG),
        EXPECT("*1\r\n$-0\r\n", WRONG),
        EXPECT("*1\r\n$ 4\r\nPING\r\n", WRONG),
        EXPECT("*1\r\n$4 \r\nPING\r\n", WRONG),
        EXPECT("*1\r\n$+4\r\nPING\r\n", WRONG),
        EXPECT("*1\r\n$04\r\nPING\r\n", WRONG),
        EXPECT("*1\r\n$00\r\n\r\n", WRONG),
        EXPECT("*1\r\n$0x4\r\nPING\r\n", WRONG),
        EXPECT("*1\r\n$4a\r\nPING\r\n", WRONG),
        EXPECT("*1\r\n$?\r\n;4\r\nPING\r\n", WRONG),
        EXPECT("*1\r\n$536870913\r\n", WRONG),
        EXPECT("*1\r\n$4294967300\r\nPING\r\n", WRONG),
        EXPECT("*1\r\n$9223372036854775807\r\n", WRONG),
        EXPECT("*1\r\n$9223372036854775808\r\n", WRONG),
        EXPECT("*1\r\n$18446744073709551620\r\nPING\r\n", WRONG),
        EXPECT("*1\r\n$99999999999999999999999999\r\n", WRONG),
        EXPECT("*1\r\n$4\nPING\r\n", WRONG),
        EXPECT("*1\r\n$4\rxPING\r\n", WRONG),
        EXPECT("*2\r\n$4\r\nPING\r\n$-5\r\n", WRONG),
    };
#undef WRONG
    reset_limits();
    CHECK_TABLE(TABLE);
}

static void something_else_than_a_bulk_ends_the_stream(void)
{
    static const struct expect TABLE[] = {
        EXPECT("*1\r\nx\r\n", ERROR("expected '$', got 'x'")),
        EXPECT("*1\r\nx", ERROR("expected '$', got 'x'")),
        EXPECT("*1\r\n:1\r\n", ERROR("expected '$', got ':'")),
        EXPECT("*1\r\n*1\r\n$4\r\nPING\r\n", ERROR("expected '$', got '*'")),
        EXPECT("*2\r\n$4\r\nPING\r\n+OK\r\n", ERROR("expected '$', got '+'")),
        EXPECT("*1\r\n%1\r\n", ERROR("expected '$', got '%'")),
        EXPECT("*1\r\n|1\r\n", ERROR("expected '$', got '|'")),
        EXPECT("*1\r\n_\r\n", ERROR("expected '$', got '_'")),
        EXPECT("*1\r\n\r\n", ERROR("expected '$', got ' '")),
        EXPECT("*1\r\n\n\r\n", ERROR("expected '$', got ' '")),
        EXPECT("*1\r\n\0\r\n", ERROR("expected '$', got ' '")),
        EXPECT("*1\r\n\xff\r\n", ERROR("expected '$', got '\xff'")),
    };
    reset_limits();
    CHECK_TABLE(TABLE);
}

// Redis skips two bytes behind a payload without looking, so a wrong length shifts what is read as commands; we stop.
static void a_payload_that_does_not_end_where_it_says_ends_the_stream(void)
{
#define WRONG ERROR("expected CR LF after bulk")
    static const struct expect TABLE[] = {
        EXPECT("*1\r\n$3\r\nPING\r\n", WRONG),          EXPECT("*1\r\n$5\r\nPING\r\n*1\r\n", WRONG),
        EXPECT("*1\r\n$4\r\nPINGxx*1\r\n", WRONG),      EXPECT("*1\r\n$4\r\nPING\rx", WRONG),
        EXPECT("*1\r\n$4\r\nPING\n\r", WRONG),          EXPECT("*1\r\n$0\r\nx\r\n", WRONG),
        EXPECT("*2\r\n$1\r\na\r\n$1\r\nbc\r\n", WRONG),
    };
#undef WRONG
    reset_limits();
    CHECK_TABLE(TABLE);
}

static void inline_commands_are_split_as_a_shell_would(void)
{
    static const struct expect TABLE[] = {
        EXPECT("PING\r\n", "(4:PING)\n"),
        EXPECT("PING\n", "(4:PING)\n"),
        EXPECT("  set  k\tv \r\n", "(3:set)(1:k)(1:v)\n"),
        EXPECT("set k \"a b\"\r\n", "(3:set)(1:k)(3:a b)\n"),
        EXPECT("echo \"\\x41\\n\\r\\t\\b\\a\\q\\\\\\\"\"\r\n", "(4:echo)(9:A\n\r\t\b\aq\\\")\n"),
        EXPECT("echo \"\\xZ1\\x4\\X41\"\r\n", "(4:echo)(8:xZ1x4X41)\n"),
        EXPECT("echo \"\\xfF\\x00\"\r\n", "(4:echo)(2:\xff\0)\n"),
        EXPECT("echo '\\'a\\n\"'\r\n", "(4:echo)(5:'a\\n\")\n"),
        EXPECT("echo \"\" ''\r\n", "(4:echo)(0:)(0:)\n"),
        EXPECT("echo a\"b c\" d\r\n", "(4:echo)(4:ab c)(1:d)\n"),
        EXPECT("echo \va\vb\r\n", "(4:echo)(3:a\vb)\n"),
        EXPECT("echo a\rb\r\n", "(4:echo)(1:a)(1:b)\n"),
        EXPECT("$4\r\nPING\r\n", "(2:$4)\n(4:PING)\n"),
        EXPECT("%1\r\n~2\n>1\n|1\n#t\n,1\n(1\n=1\n!1\n_\n",
               "(2:%1)\n(2:~2)\n(2:>1)\n(2:|1)\n(2:#t)\n(2:,1)\n(2:(1)\n(2:=1)\n(2:!1)\n(1:_)\n"),
        EXPECT("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "(3:GET)(1:/)(8:HTTP/1.1)\n(5:Host:)(1:x)\n.\n"),
        EXPECT("\x16\x03\x01\x02\x01\n", "(5:\x16\x03\x01\x02\x01)\n"),
        EXPECT("a\0b\r\n", "(3:a\0b)\n"),
    };
    reset_limits();
    CHECK_TABLE(TABLE);
}

static void unbalanced_quotes_end_the_stream(void)
{
#define WRONG ERROR("unbalanced quotes in request")
    static const struct expect TABLE[] = {
        EXPECT("set a \"b\r\n", WRONG), EXPECT("set a 'b\r\n", WRONG),   EXPECT("set a \"b\\\"\r\n", WRONG),
        EXPECT("set 'a'b\r\n", WRONG),  EXPECT("set \"a\"b\r\n", WRONG), EXPECT("set \"a\"'b'\r\n", WRONG),
        EXPECT("\"\r\n", WRONG),        EXPECT("a\"b\\\r\n", WRONG),
    };
#undef WRONG
    reset_limits();
    CHECK_TABLE(TABLE);
}

// `head`, then `fill` up to `len` bytes in all, then `tail`.
static struct slice filled(const char *head, char fill, size_t len, const char *tail)
{
    static char text[200000];
    size_t n = strlen(head);
    memcpy(text, head, n);
    memset(text + n, fill, len - n);
    memcpy(text + len, tail, strlen(tail));
    return slice_of(text, len + strlen(tail));
}

static void check_cuts(struct slice bytes, const char *want)
{
    static const size_t STEPS[] = { 1 << 30, 65536, 65537, 4096, 1000 };
    for (size_t i = 0; i < 5; i++)
        check(gives(bytes, STEPS[i], STEPS[i], slice_cstr(want)));
}

static void lines_without_end_are_refused_at_the_limit(void)
{
    reset_limits();
    check_cuts(filled("*", '1', 65536, ""), "");
    check_cuts(filled("*", '1', 65537, ""), ERROR("too big mbulk count string"));
    check_cuts(filled("*", '1', 65537, "\r\n"), ERROR("too big mbulk count string"));
    check_cuts(filled("*", '1', 65536, "\r\n"), ERROR("invalid multibulk length"));
    check_cuts(filled("*1\r\n$", '1', 4 + 65536, ""), "");
    check_cuts(filled("*1\r\n$", '1', 4 + 65537, ""), ERROR("too big bulk count string"));
    check_cuts(filled("*1\r\n$", '1', 4 + 65536, "\r\n"), ERROR("invalid bulk length"));
    check_cuts(filled("a", 'a', 65536, ""), "");
    check_cuts(filled("a", 'a', 65537, ""), ERROR("too big inline request"));
    check_cuts(filled("a", 'a', 65537, "\n"), ERROR("too big inline request"));
    check_cuts(filled("PING", ' ', 65536, "\n"), "(4:PING)\n");
    check_cuts(filled("PING", ' ', 65535, "\r\n"), "(4:PING)\n");
}

static void before_auth_limits_have_their_own_texts(void)
{
    static const struct expect TABLE[] = {
        EXPECT("*8\r\n", ""),
        EXPECT("*9\r\n", ERROR("unauthenticated multibulk length")),
        EXPECT("*2147483647\r\n", ERROR("unauthenticated multibulk length")),
        EXPECT("*2147483648\r\n", ERROR("invalid multibulk length")),
        EXPECT("*1\r\n$512\r\n", ""),
        EXPECT("*1\r\n$513\r\n", ERROR("unauthenticated bulk length")),
        EXPECT("*1\r\n$536870912\r\n", ERROR("unauthenticated bulk length")),
        EXPECT("*1\r\n$-1\r\n", ERROR("invalid bulk length")),
        EXPECT("a b c d e f g h\n", "(1:a)(1:b)(1:c)(1:d)(1:e)(1:f)(1:g)(1:h)\n"),
        EXPECT("a b c d e f g h i\n", ERROR("unauthenticated multibulk length")),
    };
    reset_limits();
    limits.args_max = 8;
    limits.bulk_max = 512;
    limits.before_auth = true;
    CHECK_TABLE(TABLE);
}

static void without_inline_commands_only_arrays_and_empty_lines_pass(void)
{
    static const struct expect TABLE[] = {
        EXPECT("\r\n*1\r\n$4\r\nPING\r\n\n", ".\n(4:PING)\n.\n"),
        EXPECT("PING\r\n", ERROR("expected '*', got 'P'")),
        EXPECT("\0", ERROR("expected '*', got ' '")),
        EXPECT("\rPING\r\n", ERROR("expected '*', got ' '")),
    };
    reset_limits();
    limits.inline_allowed = false;
    CHECK_TABLE(TABLE);
}

static void a_request_over_the_frame_limit_ends_the_stream(void)
{
    static const struct expect TABLE[] = {
        EXPECT("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", "(3:GET)(1:k)\n"), // 20 bytes
        EXPECT("*2\r\n$3\r\nGET\r\n$2\r\nkk\r\n", ERROR("too big request")),
        EXPECT("*2\r\n$3\r\nGET\r\n$500000000\r\n", ERROR("too big request")),
        EXPECT("*2\r\n$7\r\n1234567\r\n$1\r\n", ERROR("too big request")),
    };
    reset_limits();
    limits.frame_max = 20;
    CHECK_TABLE(TABLE);
}

static void several_big_arguments_are_announced_in_turn(void)
{
    struct slice bytes =
        LITERAL("*6\r\n$4\r\nMSET\r\n$1\r\na\r\n$10\r\n0123456789\r\n$0\r\n\r\n$11\r\nabcde\r\nfghi\r\n$8\r\n........\r\n");
    struct slice want = LITERAL("(4:MSET)(1:a)(10:0123456789)(0:)(11:abcde\r\nfghi)(8:........)\n");
    reset_limits();
    check_every_split(bytes, want);
    limits.big_min = 8;
    struct driver d;
    driver_init(&d, &limits);
    for (size_t i = 0; i < bytes.len; i++)
        check(driver_feed(&d, slice_of(bytes.data + i, 1)));
    check(transcript_is(&d, want));
    check_equal(d.bigs_seen, 3);
    driver_deinit(&d);
}

static void a_big_argument_that_has_arrived_is_not_announced(void)
{
    reset_limits();
    limits.big_min = 4;
    struct driver d;
    driver_init(&d, &limits);
    check(driver_feed(&d, LITERAL("*2\r\n$3\r\nGET\r\n$8\r\n01234567")));
    check_equal(d.bigs_seen, 0);
    check(driver_feed(&d, LITERAL("\r\n")));
    check_equal(d.bigs_seen, 0);
    check(transcript_is(&d, LITERAL("(3:GET)(8:01234567)\n")));
    driver_deinit(&d);
}

static void a_big_argument_without_its_line_end_ends_the_stream(void)
{
    reset_limits();
    limits.big_min = 4;
    check(gives(LITERAL("*1\r\n$8\r\n01234567xx"), 1, 1, LITERAL(ERROR("expected CR LF after bulk"))));
    check(gives(LITERAL("*1\r\n$8\r\n01234567\rx"), 1, 1, LITERAL(ERROR("expected CR LF after bulk"))));
}

static void a_declared_size_takes_no_memory(void)
{
    reset_limits();
    struct driver d;
    driver_init(&d, &limits);
    check(driver_feed(&d, LITERAL("*1048576\r\n$536870912\r\nabc")));
    check(resp_memory(&d.parser) <= 1024);
    driver_deinit(&d);
}

static void reset_forgets_a_cut_frame(void)
{
    static const char *const CUTS[] = { "*2\r\n$3\r\nGET\r\n$1", "*2\r\n$3\r\nGE", "*2\r", "SET a", "*1\r\n$9\r\n123" };
    reset_limits();
    limits.big_min = 9;
    for (size_t i = 0; i < 5; i++) {
        struct driver d;
        driver_init(&d, &limits);
        check(driver_feed(&d, slice_cstr(CUTS[i])));
        resp_reset(&d.parser);
        d.frame.len = 0;
        d.collecting = false;
        check(driver_feed(&d, LITERAL("*1\r\n$4\r\nPING\r\nPONG\r\n")));
        check(transcript_is(&d, LITERAL("(4:PING)\n(4:PONG)\n")));
        driver_deinit(&d);
    }
}

// Quadratic work would be 10^13 steps here.
static void a_million_arguments_byte_by_byte_take_linear_time(void)
{
    enum { COUNT = 1000000 };
    reset_limits();
    struct resp p;
    resp_init(&p, &limits);
    struct buf bytes;
    buf_init(&bytes, BUF_NO_LIMIT);
    buf_append(&bytes, "*1000000\r\n", 10);
    for (int i = 0; i < COUNT; i++)
        buf_append(&bytes, "$1\r\nx\r\n", 7);
    struct request rq;
    struct slice argv[4];
    size_t used;
    int rc = RESP_PARTIAL;
    for (size_t len = 1; len < bytes.len && rc == RESP_PARTIAL; len++)
        rc = resp_parse(&p, slice_of(bytes.data, len), argv, 4, &rq, &used);
    check_equal(rc, RESP_PARTIAL);
    check_equal(resp_parse(&p, buf_view(&bytes), argv, 4, &rq, &used), RESP_READY);
    check_equal(rq.argc, COUNT);
    check_equal(used, bytes.len);
    check(slice_is(rq.argv[COUNT - 1], "x"));
    check(resp_memory(&p) >= COUNT * sizeof(struct slice));
    resp_deinit(&p);
    check_equal(resp_memory(&p), 0);
    buf_deinit(&bytes);
}

static void a_line_of_64_kib_byte_by_byte_takes_linear_time(void)
{
    reset_limits();
    struct resp p;
    resp_init(&p, &limits);
    struct slice line = filled("PING", ' ', 65000, "\n");
    struct request rq;
    size_t used;
    for (size_t len = 1; len < line.len; len++)
        check_equal(resp_parse(&p, slice_of(line.data, len), NULL, 0, &rq, &used), RESP_PARTIAL);
    check_equal(resp_parse(&p, line, NULL, 0, &rq, &used), RESP_READY);
    check_equal(rq.argc, 1);
    resp_deinit(&p);
}

static void a_name_of_a_mebibyte_is_one_view(void)
{
    reset_limits();
    struct buf bytes;
    buf_init(&bytes, BUF_NO_LIMIT);
    buf_append(&bytes, "*1\r\n$1048576\r\n", 14);
    uint8_t *payload = buf_reserve(&bytes, 1 << 20);
    memset(payload, 'A', 1 << 20);
    buf_advance(&bytes, 1 << 20);
    buf_append(&bytes, "\r\n", 2);
    struct resp p;
    resp_init(&p, &limits);
    struct slice argv[1];
    struct request rq;
    size_t used;
    check_equal(resp_parse(&p, buf_view(&bytes), argv, 1, &rq, &used), RESP_READY);
    check(rq.argv == argv && argv[0].data == bytes.data + 14 && argv[0].len == 1 << 20);
    resp_deinit(&p);
    buf_deinit(&bytes);
}

// Well-formed pipelines in random pieces, with every way to announce big arguments.
static void random_pipelines_survive_random_cuts(void)
{
    struct prng prng;
    prng_init(&prng, 42);
    reset_limits();
    for (int round = 0; round < 300; round++) {
        struct buf bytes, want;
        buf_init(&bytes, BUF_NO_LIMIT);
        buf_init(&want, BUF_NO_LIMIT);
        for (uint64_t n = prng_below(&prng, 6); n > 0; n--) {
            char text[64];
            uint64_t argc = 1 + prng_below(&prng, 20);
            buf_append(&bytes, text, (size_t)sprintf(text, "*%lu\r\n", argc));
            for (; argc > 0; argc--) {
                uint8_t value[300];
                size_t len = prng_below(&prng, prng_below(&prng, 2) ? 12 : 300);
                for (size_t i = 0; i < len; i++)
                    value[i] = (uint8_t)prng_next(&prng);
                buf_append(&bytes, text, (size_t)sprintf(text, "$%zu\r\n", len));
                buf_append(&bytes, value, len);
                buf_append(&bytes, "\r\n", 2);
                buf_append(&want, text, (size_t)sprintf(text, "(%zu:", len));
                buf_append(&want, value, len);
                buf_append(&want, ")", 1);
            }
            buf_append(&want, "\n", 1);
        }
        struct driver d;
        limits.big_min = prng_below(&prng, 2) ? 0 : 1 + prng_below(&prng, 200);
        driver_init(&d, &limits);
        d.argv_max = (uint32_t)prng_below(&prng, 17);
        for (size_t at = 0; at < bytes.len;) {
            size_t len = 1 + prng_below(&prng, 100);
            len = len < bytes.len - at ? len : bytes.len - at;
            check(driver_feed(&d, slice_of(bytes.data + at, len)));
            at += len;
        }
        check(transcript_is(&d, buf_view(&want)));
        driver_deinit(&d);
        buf_deinit(&bytes);
        buf_deinit(&want);
    }
}

TESTS(TEST(requests_are_read_however_they_are_cut), TEST(empty_requests_get_no_answer), TEST(a_wrong_count_ends_the_stream),
      TEST(a_wrong_length_ends_the_stream), TEST(something_else_than_a_bulk_ends_the_stream),
      TEST(a_payload_that_does_not_end_where_it_says_ends_the_stream), TEST(inline_commands_are_split_as_a_shell_would),
      TEST(unbalanced_quotes_end_the_stream), TEST(lines_without_end_are_refused_at_the_limit),
      TEST(before_auth_limits_have_their_own_texts), TEST(without_inline_commands_only_arrays_and_empty_lines_pass),
      TEST(a_request_over_the_frame_limit_ends_the_stream), TEST(several_big_arguments_are_announced_in_turn),
      TEST(a_big_argument_that_has_arrived_is_not_announced), TEST(a_big_argument_without_its_line_end_ends_the_stream),
      TEST(a_declared_size_takes_no_memory), TEST(reset_forgets_a_cut_frame), TEST(a_million_arguments_byte_by_byte_take_linear_time),
      TEST(a_line_of_64_kib_byte_by_byte_takes_linear_time), TEST(a_name_of_a_mebibyte_is_one_view),
      TEST(random_pipelines_survive_random_cuts))
