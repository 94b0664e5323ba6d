// SPDX-License-Identifier: Apache-2.0
#include "test/unit/command/runner.h"

static struct runner r;

static void what_set_stores_get_returns(void)
{
    runner_start(&r);
    says(&r, "GET a", NIL);
    says(&r, "SET a b", OK);
    check_equal(r.dirty, 1);
    says(&r, "GET a", "$1\r\nb\r\n");
    check_equal(r.dirty, 0);
    says(&r, "SET \"\" \\0\\r\\n", OK);
    check(slice_equal(runner_line(&r, "GET \"\""), slice_of("$3\r\n\0\r\n\r\n", 9)));
    r.protocol = PROTOCOL_RESP3;
    says(&r, "GET nothing", "_\r\n");
    says(&r, "GET", "-ERR wrong number of arguments for 'get' command\r\n");
    says(&r, "NONESUCH a b", "-ERR unknown command 'NONESUCH', with args beginning with: 'a' 'b' \r\n");
    runner_stop(&r);
}

static void options_of_set_exclude_each_other(void)
{
    static const char *const wrong[] = { "NX XX",   "EX 1 PX 1", "EX 1 KEEPTTL", "KEEPTTL PXAT 1", "EX",        "PX",          "FOO",
                                         "PERSIST", "IFEQ",      "NX IFEQ a",    "IFEQ a IFEQ a",  "IFEQ a XX", "EXAT 1 EX 1", "EX 1 FOO",
                                         "GET IFEQ" };
    char line[64];
    runner_start(&r);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        snprintf(line, sizeof line, "SET a b %s", wrong[i]);
        says(&r, line, SYNTAX_ERROR);
        check_equal(r.dirty, 0);
    }
    says(&r, "GET a", NIL);
    says(&r, "SET a b EX 10 EX 20", OK);
    says(&r, "TTL a", ":20\r\n");
    runner_stop(&r);
}

static void set_obeys_its_conditions(void)
{
    runner_start(&r);
    says(&r, "SET a 1 XX", NIL);
    says(&r, "SET a 1 XX GET", NIL);
    says(&r, "SET a 1 NX", OK);
    says(&r, "SET a 2 NX", NIL);
    says(&r, "SET a 2 NX GET", "$1\r\n1\r\n");
    says(&r, "SET a 2 GET XX", "$1\r\n1\r\n");
    says(&r, "SET a 3 IFEQ 1", NIL);
    says(&r, "SET a 3 IFEQ 2", OK);
    says(&r, "SET a 4 IFEQ 3 GET", "$1\r\n3\r\n");
    says(&r, "SET b 4 IFEQ 3", NIL);
    says(&r, "GET a", "$1\r\n4\r\n");
    says(&r, "SETNX a 5", ":0\r\n");
    says(&r, "SETNX b 5", ":1\r\n");
    says(&r, "GETSET b 6", "$1\r\n5\r\n");
    says(&r, "GETSET c 6", NIL);
    runner_stop(&r);
}

static void times_to_live_are_checked_to_the_last_bit(void)
{
    static const char EXPIRE_ERROR[] = "-ERR invalid expire time in 'set' command\r\n";
    runner_start(&r);
    says(&r, "SET a b EX 0", EXPIRE_ERROR);
    says(&r, "SET a b PX -1", EXPIRE_ERROR);
    says(&r, "SET a b EX 9223372036854775807", EXPIRE_ERROR);
    says(&r, "SET a b PX 9223372036854775807", EXPIRE_ERROR);
    says(&r, "SET a b EXAT 9223372036854776", EXPIRE_ERROR);
    says(&r, "SET a b EX 1.5", NOT_INTEGER);
    says(&r, "GET a", NIL);
    says(&r, "SET a b PXAT 9223372036854775807", OK);
    says(&r, "PEXPIRETIME a", ":9223372036854775807\r\n");
    says(&r, "EXPIRETIME a", ":9223372036854776\r\n");
    says(&r, "SET a c KEEPTTL", OK);
    says(&r, "PEXPIRETIME a", ":9223372036854775807\r\n");
    says(&r, "SET a d", OK);
    says(&r, "TTL a", ":-1\r\n");
    says(&r, "SET a d PXAT 1", OK);
    says(&r, "EXISTS a", ":0\r\n");
    says(&r, "SETEX a 0 b", "-ERR invalid expire time in 'setex' command\r\n");
    says(&r, "PSETEX a 100 b", OK);
    r.now_ms += 100;
    says(&r, "GET a", NIL);
    runner_stop(&r);
}

static void getex_changes_nothing_but_the_deadline(void)
{
    runner_start(&r);
    says(&r, "GETEX a EX 0", NIL);
    says(&r, "SET a b", OK);
    says(&r, "GETEX a EX 0", "-ERR invalid expire time in 'getex' command\r\n");
    says(&r, "GETEX a KEEPTTL", SYNTAX_ERROR);
    says(&r, "GETEX a EX 10", "$1\r\nb\r\n");
    check_equal(r.dirty, 1);
    says(&r, "TTL a", ":10\r\n");
    says(&r, "GETEX a", "$1\r\nb\r\n");
    check_equal(r.dirty, 0);
    says(&r, "GETEX a PERSIST", "$1\r\nb\r\n");
    says(&r, "TTL a", ":-1\r\n");
    says(&r, "GETEX a PERSIST", "$1\r\nb\r\n");
    check_equal(r.dirty, 0);
    says(&r, "GETEX a PXAT 1", "$1\r\nb\r\n");
    says(&r, "EXISTS a", ":0\r\n");
    says(&r, "SET a b", OK);
    says(&r, "GETDEL a", "$1\r\nb\r\n");
    says(&r, "GETDEL a", NIL);
    runner_stop(&r);
}

static void many_keys_are_set_or_none(void)
{
    runner_start(&r);
    says(&r, "MSET a 1 b 2 c 3", OK);
    check_equal(r.dirty, 3);
    says(&r, "MGET a nothing b c a", "*5\r\n$1\r\n1\r\n$-1\r\n$1\r\n2\r\n$1\r\n3\r\n$1\r\n1\r\n");
    says(&r, "MSET a 1 b", "-ERR wrong number of arguments for 'mset' command\r\n");
    says(&r, "MSETNX x 1 b 2", ":0\r\n");
    says(&r, "EXISTS x", ":0\r\n");
    says(&r, "MSETNX x 1 x 2", ":1\r\n");
    says(&r, "GET x", "$1\r\n2\r\n");
    runner_stop(&r);
}

static void more_keys_than_a_batch_are_all_done(void)
{
    static struct slice argv[400];
    static char names[200][8];
    runner_start(&r);
    argv[0] = slice_cstr("mset");
    for (uint32_t i = 0; i < 199; i++) {
        int len = snprintf(names[i], sizeof names[i], "k%u", i);
        argv[1 + 2 * i] = argv[2 + 2 * i] = slice_of(names[i], (size_t)len);
    }
    runner_call(&r, argv, 399, NULL);
    check_equal(r.dirty, 199);
    says(&r, "DBSIZE", ":199\r\n");
    for (uint32_t i = 0; i < 199; i++)
        argv[1 + i] = slice_cstr(names[i]);
    argv[0] = slice_cstr("exists");
    check(slice_equal(runner_call(&r, argv, 200, NULL), slice_cstr(":199\r\n")));
    argv[0] = slice_cstr("mget");
    check(runner_call(&r, argv, 200, NULL).len > 199 * 8);
    argv[0] = slice_cstr("del");
    check(slice_equal(runner_call(&r, argv, 200, NULL), slice_cstr(":199\r\n")));
    says(&r, "DBSIZE", ":0\r\n");
    runner_stop(&r);
}

static void numbers_are_read_strictly_and_never_overflow(void)
{
    runner_start(&r);
    says(&r, "INCR a", ":1\r\n");
    says(&r, "INCRBY a 9223372036854775806", ":9223372036854775807\r\n");
    says(&r, "INCR a", "-ERR increment or decrement would overflow\r\n");
    says(&r, "DECRBY a -9223372036854775808", "-ERR decrement would overflow\r\n");
    says(&r, "SET a -9223372036854775808", OK);
    says(&r, "DECR a", "-ERR increment or decrement would overflow\r\n");
    says(&r, "INCRBY a 1.0", NOT_INTEGER);
    static const char *const wrong[] = { "\\s1", "1\\s", "+1", "-0", "01", "1.0", "9223372036854775808", "\"\"", "0x1", "1\\0" };
    char line[64];
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        snprintf(line, sizeof line, "SET a %s", wrong[i]);
        says(&r, line, OK);
        says(&r, "INCR a", NOT_INTEGER);
    }
    says(&r, "SET a 99 EX 10", OK);
    says(&r, "INCR a", ":100\r\n");
    says(&r, "TTL a", ":10\r\n");
    says(&r, "OBJECT ENCODING a", "$3\r\nint\r\n");
    runner_stop(&r);
}

static void floats_are_printed_as_redis_prints_them(void)
{
    runner_start(&r);
    says(&r, "INCRBYFLOAT a 10.50", "$4\r\n10.5\r\n");
    says(&r, "INCRBYFLOAT a 0.1", "$4\r\n10.6\r\n");
    says(&r, "INCRBYFLOAT a -5.6", "$1\r\n5\r\n");
    says(&r, "SET a 5.0e3", OK);
    says(&r, "INCRBYFLOAT a 2.0e2", "$4\r\n5200\r\n");
    says(&r, "INCRBYFLOAT a inf", "-ERR increment would produce NaN or Infinity\r\n");
    says(&r, "INCRBYFLOAT a nan", "-ERR value is not a valid float\r\n");
    says(&r, "SET a \\s1", OK);
    says(&r, "INCRBYFLOAT a 1", "-ERR value is not a valid float\r\n");
    runner_stop(&r);
}

static void parts_of_a_value_are_read_and_written(void)
{
    runner_start(&r);
    says(&r, "APPEND a Hello", ":5\r\n");
    says(&r, "APPEND a \\sWorld", ":11\r\n");
    says(&r, "STRLEN a", ":11\r\n");
    says(&r, "GETRANGE a 0 4", "$5\r\nHello\r\n");
    says(&r, "GETRANGE a -5 -1", "$5\r\nWorld\r\n");
    says(&r, "SUBSTR a -1 -5", "$0\r\n\r\n");
    says(&r, "GETRANGE a -100 9223372036854775807", "$11\r\nHello World\r\n");
    says(&r, "GETRANGE a -9223372036854775808 9223372036854775807", "$11\r\nHello World\r\n");
    says(&r, "GETRANGE nothing 0 -1", "$0\r\n\r\n");
    says(&r, "SETRANGE a 6 Redis", ":11\r\n");
    says(&r, "SETRANGE b 0 \"\"", ":0\r\n");
    says(&r, "EXISTS b", ":0\r\n");
    says(&r, "SETRANGE a -1 x", "-ERR offset is out of range\r\n");
    says(&r, "SETRANGE a 1048576 x", "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n");
    says(&r, "SETRANGE a 9223372036854775807 x", "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n");
    says(&r, "SETRANGE b 2 x", ":3\r\n");
    check(slice_equal(runner_line(&r, "GET b"), slice_of("$3\r\n\0\0x\r\n", 9)));
    runner_stop(&r);
}

static void an_encoding_is_what_redis_would_show(void)
{
    runner_start(&r);
    says(&r, "SET a 123", OK);
    says(&r, "OBJECT ENCODING a", "$3\r\nint\r\n");
    says(&r, "APPEND a 4", ":4\r\n");
    says(&r, "OBJECT ENCODING a", "$3\r\nraw\r\n");
    says(&r, "INCR a", ":1235\r\n");
    says(&r, "OBJECT ENCODING a", "$3\r\nint\r\n");
    says(&r, "SETRANGE a 0 9", ":4\r\n");
    says(&r, "SET a 0123", OK);
    says(&r, "OBJECT ENCODING a", "$6\r\nembstr\r\n");
    says(&r, "SET a 12345678901234567890123456789012345678901234", OK);
    says(&r, "OBJECT ENCODING a", "$6\r\nembstr\r\n");
    says(&r, "SET a 123456789012345678901234567890123456789012345", OK);
    says(&r, "OBJECT ENCODING a", "$3\r\nraw\r\n");
    says(&r, "OBJECT ENCODING nothing", NIL);
    runner_stop(&r);
}

static void a_big_argument_gives_its_pages_away(void)
{
    runner_start(&r);
    struct blob *b = blob_new(store_blobs(r.store));
    size_t len = 100000;
    while (b->len < len) {
        size_t room = blob_reserve(b, len - b->len);
        assert(room > 0);
        memset(b->data + b->len, 'x', room);
        b->len += room < len - b->len ? room : len - b->len;
    }
    struct slice argv[3] = { slice_cstr("set"), slice_cstr("a"), slice_of(b->data, b->len) };
    struct blob *blobs[3] = { NULL, NULL, b };
    check(slice_equal(runner_call(&r, argv, 3, blobs), slice_cstr(OK)));
    check(blobs[2] == NULL);
    says(&r, "STRLEN a", ":100000\r\n");
    says(&r, "GETRANGE a 99998 -1", "$2\r\nxx\r\n");
    says(&r, "APPEND a y", ":100001\r\n");
    says(&r, "RENAME a b", OK);
    says(&r, "GETRANGE b 99999 -1", "$2\r\nxy\r\n");
    runner_stop(&r);
}

static void common_subsequences_are_redis_own(void)
{
    runner_start(&r);
    says(&r, "MSET a ohmytext b mynewtext", OK);
    says(&r, "LCS a b", "$6\r\nmytext\r\n");
    says(&r, "LCS a b LEN", ":6\r\n");
    says(&r, "LCS a b IDX",
         "*4\r\n$7\r\nmatches\r\n*2\r\n*2\r\n*2\r\n:4\r\n:7\r\n*2\r\n:5\r\n:8\r\n*2\r\n*2\r\n:2\r\n:3\r\n*2\r\n:0\r\n:1\r\n$3\r\nlen\r\n:"
         "6\r\n");
    says(&r, "LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN",
         "*4\r\n$7\r\nmatches\r\n*1\r\n*3\r\n*2\r\n:4\r\n:7\r\n*2\r\n:5\r\n:8\r\n:4\r\n$3\r\nlen\r\n:6\r\n");
    says(&r, "LCS a b IDX LEN", "-ERR If you want both the length and indexes, please just use IDX.\r\n");
    says(&r, "LCS a nothing", "$0\r\n\r\n");
    says(&r, "LCS a nothing LEN", ":0\r\n");
    r.protocol = PROTOCOL_RESP3;
    says(&r, "LCS nothing b IDX", "%2\r\n$7\r\nmatches\r\n*0\r\n$3\r\nlen\r\n:0\r\n");
    runner_stop(&r);
}

static void without_memory_nothing_changes_and_the_error_is_the_only_reply(void)
{
    runner_start(&r);
    says(&r, "SET a old", OK);
    size_t range_max = r.pages.range_max;
    r.pages.range_max = 0;
    static const char OOM[] = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";
    // More than what is free already can hold, each growing from nothing and from a small value.
    static const struct {
        const char *command, *tail;
    } grow[] = { { "SETRANGE", "900000 x" }, { "SETBIT", "7200000 1" }, { "BITFIELD", "SET u8 7200000 1" } };
    for (int way = 0; way < 3; way++) {
        bool refused = false;
        char line[64];
        int i = way * 1000;
        for (; i < way * 1000 + 64 && !refused; i++) {
            snprintf(line, sizeof line, "%s k%d %s", grow[way].command, i, grow[way].tail);
            refused = slice_equal(runner_line(&r, line), slice_cstr(OOM));
        }
        check(refused);
        snprintf(line, sizeof line, "EXISTS k%d", i - 1);
        says(&r, line, ":0\r\n");
    }
    says(&r, "GET a", "$3\r\nold\r\n");
    r.pages.range_max = range_max;
    says(&r, "SETRANGE a 900000 x", ":900001\r\n");
    runner_stop(&r);
}

TESTS(TEST(what_set_stores_get_returns), TEST(options_of_set_exclude_each_other), TEST(set_obeys_its_conditions),
      TEST(times_to_live_are_checked_to_the_last_bit), TEST(getex_changes_nothing_but_the_deadline), TEST(many_keys_are_set_or_none),
      TEST(more_keys_than_a_batch_are_all_done), TEST(numbers_are_read_strictly_and_never_overflow),
      TEST(floats_are_printed_as_redis_prints_them), TEST(parts_of_a_value_are_read_and_written),
      TEST(an_encoding_is_what_redis_would_show), TEST(a_big_argument_gives_its_pages_away), TEST(common_subsequences_are_redis_own),
      TEST(without_memory_nothing_changes_and_the_error_is_the_only_reply))
