// SPDX-License-Identifier: Apache-2.0
#include "test/unit/command/runner.h"

static struct runner r;
static const char OFFSET_ERROR[] = "-ERR bit offset is not an integer or out of range\r\n";
static const char TYPE_ERROR[] = "-ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.\r\n";

static void bits_are_set_from_the_highest_one_on(void)
{
    runner_start(&r);
    says(&r, "SETBIT a 7 1", ":0\r\n");
    check_equal(r.dirty, 1);
    says(&r, "GET a", "$1\r\n\x01\r\n");
    says(&r, "SETBIT a 7 1", ":1\r\n");
    check_equal(r.dirty, 0);
    says(&r, "SETBIT a 0 1", ":0\r\n");
    says(&r, "GETBIT a 0", ":1\r\n");
    says(&r, "GETBIT a 1", ":0\r\n");
    says(&r, "GETBIT a 8000", ":0\r\n");
    says(&r, "GETBIT nothing 0", ":0\r\n");
    static const char *const wrong[] = { "-1", "8388608", "4294967296", "9223372036854775807", "a", "\"\"", "1.0", "#1" };
    char line[64];
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        snprintf(line, sizeof line, "SETBIT a %s 1", wrong[i]);
        says(&r, line, OFFSET_ERROR);
        snprintf(line, sizeof line, "GETBIT a %s", wrong[i]);
        says(&r, line, OFFSET_ERROR);
    }
    says(&r, "SETBIT a 8388607 1", ":0\r\n");
    says(&r, "STRLEN a", ":1048576\r\n");
    says(&r, "SETBIT a 1 2", "-ERR bit is not an integer or out of range\r\n");
    runner_stop(&r);
}

static void ranges_count_in_bytes_or_bits(void)
{
    runner_start(&r);
    says(&r, "SET a foobar", OK);
    says(&r, "BITCOUNT a", ":26\r\n");
    says(&r, "BITCOUNT a 0 0", ":4\r\n");
    says(&r, "BITCOUNT a 1 1 BYTE", ":6\r\n");
    says(&r, "BITCOUNT a 5 30 BIT", ":17\r\n");
    says(&r, "BITCOUNT a -2 -1", ":7\r\n");
    says(&r, "BITCOUNT a -1 -2", ":0\r\n");
    says(&r, "BITCOUNT a 0 -9223372036854775808", ":4\r\n");
    says(&r, "BITCOUNT a 9223372036854775807 -1", ":0\r\n");
    says(&r, "BITCOUNT a 0 1 FOO", SYNTAX_ERROR);
    says(&r, "BITCOUNT a 0 1 BIT x", SYNTAX_ERROR);
    says(&r, "BITCOUNT nothing 0 a", NOT_INTEGER);
    says(&r, "BITCOUNT nothing", ":0\r\n");
    runner_stop(&r);
}

// Bit by bit, for all ranges of a string that is longer than a word.
static void positions_agree_with_looking_at_every_bit(void)
{
    runner_start(&r);
    uint8_t bytes[20];
    for (int round = 0; round < 6; round++) {
        memset(bytes, round % 2 == 0 ? 0 : 0xff, sizeof bytes);
        for (int flips = 0; flips < round; flips++)
            bytes[prng_next(&r.prng) % sizeof bytes] ^= (uint8_t)(1u << (prng_next(&r.prng) % 8));
        struct slice set[3] = { slice_cstr("set"), slice_cstr("a"), slice_of(bytes, sizeof bytes) };
        runner_call(&r, set, 3, NULL);
        for (int first = 0; first < 160; first += 3)
            for (int last = first; last < 160; last += 7)
                for (int bit = 0; bit < 2; bit++) {
                    int at = first;
                    int64_t count = 0;
                    while (at <= last && (bytes[at / 8] >> (7 - at % 8) & 1) != bit)
                        at++;
                    for (int i = first; i <= last; i++)
                        count += bytes[i / 8] >> (7 - i % 8) & 1;
                    char line[64], want[32];
                    snprintf(line, sizeof line, "BITPOS a %d %d %d BIT", bit, first, last);
                    snprintf(want, sizeof want, ":%d\r\n", at <= last ? at : -1);
                    says(&r, line, want);
                    snprintf(line, sizeof line, "BITCOUNT a %d %d BIT", first, last);
                    snprintf(want, sizeof want, ":%d\r\n", (int)count);
                    says(&r, line, want);
                }
    }
    runner_stop(&r);
}

static void a_clear_bit_is_found_behind_the_end_unless_the_end_was_named(void)
{
    runner_start(&r);
    struct slice set[3] = { slice_cstr("set"), slice_cstr("a"), slice_of("\xff\xff\xff", 3) };
    runner_call(&r, set, 3, NULL);
    says(&r, "BITPOS a 0", ":24\r\n");
    says(&r, "BITPOS a 0 1", ":24\r\n");
    says(&r, "BITPOS a 0 1 -1", ":-1\r\n");
    says(&r, "BITPOS a 0 5", ":-1\r\n");
    says(&r, "BITPOS a 1 0 -1 BIT", ":0\r\n");
    says(&r, "BITPOS nothing 0", ":0\r\n");
    says(&r, "BITPOS nothing 1", ":-1\r\n");
    says(&r, "BITPOS a 2", "-ERR The bit argument must be 1 or 0.\r\n");
    says(&r, "BITPOS a x", NOT_INTEGER);
    says(&r, "SET b \"\"", OK);
    says(&r, "BITPOS b 0", ":-1\r\n");
    runner_stop(&r);
}

static void strings_are_combined_as_if_zeros_followed_them(void)
{
    runner_start(&r);
    says(&r, "MSET a abc b abd123 c 0123456789abcdef", OK);
    says(&r, "BITOP AND d a b", ":6\r\n");
    check(slice_equal(runner_line(&r, "GET d"), slice_of("$6\r\nab`\0\0\0\r\n", 12)));
    says(&r, "BITOP OR d a b", ":6\r\n");
    says(&r, "GET d", "$6\r\nabg123\r\n");
    says(&r, "BITOP XOR d c c c", ":16\r\n");
    says(&r, "GET d", "$16\r\n0123456789abcdef\r\n");
    says(&r, "BITOP NOT c c", ":16\r\n");
    says(&r, "BITOP NOT c c", ":16\r\n");
    says(&r, "GET c", "$16\r\n0123456789abcdef\r\n");
    says(&r, "EXPIRE d 100", ":1\r\n");
    says(&r, "BITOP OR d nothing", ":0\r\n");
    says(&r, "EXISTS d", ":0\r\n");
    says(&r, "BITOP NOT d a b", "-ERR BITOP NOT must be called with a single source key.\r\n");
    says(&r, "BITOP NAND d a b", SYNTAX_ERROR);
    runner_stop(&r);
}

static void fields_wrap_saturate_or_fail(void)
{
    runner_start(&r);
    says(&r, "BITFIELD a INCRBY i5 100 1 GET u4 0", "*2\r\n:1\r\n:0\r\n");
    says(&r, "BITFIELD b SET u8 0 255 INCRBY u8 0 1", "*2\r\n:0\r\n:0\r\n");
    says(&r, "BITFIELD b SET u8 0 255 OVERFLOW SAT INCRBY u8 0 10", "*2\r\n:0\r\n:255\r\n");
    says(&r, "BITFIELD b OVERFLOW FAIL INCRBY u8 0 1 OVERFLOW WRAP INCRBY u8 0 1", "*2\r\n$-1\r\n:0\r\n");
    check_equal(r.dirty, 1);
    says(&r, "BITFIELD b SET i8 0 127 INCRBY i8 0 1 OVERFLOW SAT INCRBY i8 0 -9223372036854775808", "*3\r\n:0\r\n:-128\r\n:-128\r\n");
    says(&r, "BITFIELD c SET i64 0 9223372036854775807 INCRBY i64 0 1", "*2\r\n:0\r\n:-9223372036854775808\r\n");
    says(&r, "BITFIELD c SET u63 1 -1 GET u63 1", "*2\r\n:0\r\n:9223372036854775807\r\n");
    says(&r, "BITFIELD d SET u8 #2 7 GET u8 16", "*2\r\n:0\r\n:7\r\n");
    says(&r, "BITFIELD nothing GET u8 0 GET i64 1000", "*2\r\n:0\r\n:0\r\n");
    says(&r, "EXISTS nothing", ":0\r\n");
    says(&r, "BITFIELD nothing", "*0\r\n");
    r.protocol = PROTOCOL_RESP3;
    says(&r, "BITFIELD b SET u8 0 255 OVERFLOW FAIL INCRBY u8 0 1", "*2\r\n:128\r\n_\r\n");
    runner_stop(&r);
}

static void a_wrong_operation_changes_nothing(void)
{
    static const struct {
        const char *tail, *error;
    } cases[] = {
        { "GET u64 0", TYPE_ERROR },
        { "GET i65 0", TYPE_ERROR },
        { "GET u0 0", TYPE_ERROR },
        { "GET x8 0", TYPE_ERROR },
        { "GET u 0", TYPE_ERROR },
        { "GET \"\" 0", TYPE_ERROR },
        { "GET u8 -1", OFFSET_ERROR },
        { "GET u8 #a", OFFSET_ERROR },
        { "GET u8 #9223372036854775807", OFFSET_ERROR },
        { "GET u8 8388608", OFFSET_ERROR },
        { "SET u8 0 a", NOT_INTEGER },
        { "GET u8", SYNTAX_ERROR },
        { "SET u8 0", SYNTAX_ERROR },
        { "FOO u8 0 1", SYNTAX_ERROR },
        { "OVERFLOW", SYNTAX_ERROR },
        { "OVERFLOW FOO GET u8 0", "-ERR Invalid OVERFLOW type specified\r\n" },
    };
    char line[96];
    runner_start(&r);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(line, sizeof line, "BITFIELD a SET u8 0 1 %s", cases[i].tail);
        says(&r, line, cases[i].error);
        says(&r, "EXISTS a", ":0\r\n");
    }
    says(&r, "BITFIELD_RO a GET u8 0", "*1\r\n:0\r\n");
    says(&r, "BITFIELD_RO a SET u8 0 1", "-ERR BITFIELD_RO only supports the GET subcommand\r\n");
    runner_stop(&r);
}

TESTS(TEST(bits_are_set_from_the_highest_one_on), TEST(ranges_count_in_bytes_or_bits), TEST(positions_agree_with_looking_at_every_bit),
      TEST(a_clear_bit_is_found_behind_the_end_unless_the_end_was_named), TEST(strings_are_combined_as_if_zeros_followed_them),
      TEST(fields_wrap_saturate_or_fail), TEST(a_wrong_operation_changes_nothing))
