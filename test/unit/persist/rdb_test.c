// SPDX-License-Identifier: Apache-2.0
#include "persist/rdb.h"

#include <errno.h>
#include <stdlib.h>

#include "base/crc64.h"
#include "base/test.h"
#include "test/unit/persist/pieces.h"

// A file under construction.
static uint8_t file[8192];
static size_t file_len;
static struct crc64_tables tables;

static void put(const void *bytes, size_t len)
{
    memcpy(file + file_len, bytes, len);
    file_len += len;
}

#define PUT(...) put((const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

static void put_text(const char *text)
{
    uint8_t len = (uint8_t)strlen(text);
    put(&len, 1);
    put(text, len);
}

static void start(const char *head)
{
    file_len = 0;
    put(head, 9);
}

static void finish(void)
{
    PUT(255);
    uint64_t crc = crc64(&tables, 0, file, file_len);
    put(&crc, 8);
}

struct seen {
    int result;
    uint32_t strings;
    struct rdb_totals totals;
    char why[200];
    uint64_t offset;
    char last[64]; // "db/deadline/key=value" of the last string
};

static struct seen read_file(size_t len, size_t piece)
{
    struct pieces from = { .bytes = slice_of(file, len), .piece = piece };
    struct seen seen = { .result = 0 };
    struct source s;
    struct rdb *r;
    struct rdb_entry e;
    source_init(&s, pieces_read, &from);
    if (rdb_new(&r, &s) != 0)
        abort();
    while ((seen.result = rdb_next(r, &e)) == 0) {
        seen.strings++;
        snprintf(seen.last, sizeof seen.last, "%llu/%lld/%.*s=%.*s", (unsigned long long)e.db, (long long)e.deadline_ms, (int)e.key.len,
                 (const char *)e.key.data, (int)e.value.len, (const char *)e.value.data);
    }
    seen.totals = *rdb_totals(r);
    seen.offset = rdb_offset(r);
    snprintf(seen.why, sizeof seen.why, "%s", rdb_why(r));
    check((seen.result == -EBADMSG || seen.result == -ENOTSUP) == (seen.why[0] != '\0'));
    rdb_free(r);
    source_deinit(&s);
    return seen;
}

// All of the file: the string that came last, or nothing when it is refused. Each beginning of it is refused.
static const char *last_of(void)
{
    static struct seen seen;
    finish();
    seen = read_file(file_len, 4096);
    if (seen.result != 1)
        printf("    refused: %s at %llu\n", seen.why, (unsigned long long)seen.offset);
    check_equal(read_file(file_len, 1).strings, seen.strings);
    for (size_t cut = 0; cut < file_len && seen.result == 1; cut++)
        check_equal(read_file(cut, 4096).result, -EBADMSG);
    return seen.result == 1 ? seen.last : "";
}

#define check_last(want)                                                                                                                   \
    do {                                                                                                                                   \
        const char *last = last_of();                                                                                                      \
        if (strcmp(last, want) != 0)                                                                                                       \
            printf("    the last string is '%s'\n", last);                                                                                 \
        check(strcmp(last, want) == 0);                                                                                                    \
    } while (0)

static void refused_with(int result, const char *part)
{
    finish();
    struct seen seen = read_file(file_len, 4096);
    check_equal(seen.result, result);
    if (strstr(seen.why, part) == NULL)
        printf("    it says '%s', not '%s'\n", seen.why, part);
    check(strstr(seen.why, part) != NULL);
}

static void a_string_with_each_kind_of_deadline_is_read(void)
{
    start("REDIS0011");
    PUT(0);
    put_text("k");
    put_text("v");
    check_last("0/-1/k=v");
    start("REDIS0009");
    PUT(252, 1, 2, 3, 0, 0, 0, 0, 0, 0);
    put_text("k");
    put_text("v");
    check_last("0/197121/k=v");
    start("REDIS0003");
    PUT(253, 2, 0, 0, 0, 0);
    put_text("k");
    put_text("");
    PUT(255);
    check_equal(read_file(file_len, 4096).strings, 1); // without a checksum at this age
    check(strcmp(read_file(file_len, 4096).last, "0/2000/k=") == 0);
    check_equal(read_file(file_len, 4096).result, 1);
    start("REDIS0011");
    PUT(252, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0);
    put_text("k");
    put_text("v");
    check_last("0/0/k=v"); // long ago, not never
}

static void a_deadline_belongs_to_one_key(void)
{
    start("REDIS0011");
    PUT(252, 1, 0, 0, 0, 0, 0, 0, 0, 1); // of a list
    put_text("list");
    PUT(1);
    put_text("x");
    PUT(0);
    put_text("k");
    put_text("v");
    check_last("0/-1/k=v");
}

static void lengths_have_five_forms(void)
{
    start("REDIS0011");
    PUT(0, 0x40, 1, 'k', 0x80, 0, 0, 0, 2, 'v', 'w');
    check_last("0/-1/k=vw");
    start("REDIS0011");
    PUT(0, 0x81, 0, 0, 0, 0, 0, 0, 0, 1, 'k', 1, 'v');
    check_last("0/-1/k=v");
    start("REDIS0011");
    PUT(254, 0x43, 0xe8, 0); // database 1000
    put_text("k");
    put_text("v");
    check_last("1000/-1/k=v");
}

static void integers_become_their_text(void)
{
    start("REDIS0011");
    PUT(0, 0xc0, 0xff, 0xc1, 0x00, 0x80);
    check_last("0/-1/-1=-32768");
    start("REDIS0011");
    PUT(0, 0xc0, 7, 0xc2, 0x00, 0x00, 0x00, 0x80);
    check_last("0/-1/7=-2147483648");
    start("REDIS0011");
    PUT(0, 0xc2, 0xff, 0xff, 0xff, 0x7f, 1, 'v');
    check_last("0/-1/2147483647=v");
}

static void packed_strings_are_unpacked(void)
{
    start("REDIS0011");
    PUT(0, 1, 'k', 0xc3, 4, 10, 0x00, 'a', 0xe0, 0x00); // 'a', then nine more of it: too short by the last byte
    finish();
    check_equal(read_file(file_len, 4096).result, -EBADMSG);
    start("REDIS0011");
    PUT(0, 1, 'k', 0xc3, 5, 10, 0x00, 'a', 0xe0, 0x00, 0x00);
    check_last("0/-1/k=aaaaaaaaaa");
    start("REDIS0011");
    PUT(0, 0xc3, 6, 6, 0x02, 'a', 'b', 'c', 0x20, 0x02, 1, 'v'); // abcabc
    check_last("0/-1/abcabc=v");
}

static void packed_strings_that_lie_are_refused(void)
{
    static const struct {
        uint8_t bytes[8];
        uint8_t len, says;
    } BAD[] = {
        { { 0x00, 'a' }, 2, 2 },             // fewer bytes than it says
        { { 0x01, 'a', 'b' }, 3, 1 },        // more
        { { 0x05, 'a' }, 2, 6 },             // a run beyond the input
        { { 0x20, 0x00 }, 2, 3 },            // back before the beginning
        { { 0x00, 'a', 0x20 }, 3, 4 },       // no distance
        { { 0x00, 'a', 0xe0 }, 3, 4 },       // no length
        { { 0x00, 'a', 0x20, 0x00 }, 4, 3 }, // a copy beyond the output
        { { 0x00, 'a', 0x20, 0x01 }, 4, 4 }, // too far back
    };
    uint8_t out[64];
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++)
        check(!rdb_lzf(slice_of(BAD[i].bytes, BAD[i].len), out, BAD[i].says));
    check(rdb_lzf(slice_of("", 0), out, 0));
    start("REDIS0011");
    PUT(0, 1, 'k', 0xc3, 1, 0x80, 0x10, 0, 0, 0, 0); // one byte that says it is 256 MiB
    refused_with(-EBADMSG, "packed");
}

static void databases_hints_and_functions_are_passed_over(void)
{
    start("REDIS0011");
    PUT(250);
    put_text("redis-ver");
    put_text("7.0.15");
    PUT(250);
    put_text("redis-bits");
    PUT(0xc0, 64);
    PUT(245);
    put_text("#!lua name=x");
    PUT(254, 3, 251, 0x41, 0x00, 2, 244, 1, 2, 0, 248, 9, 249, 200, 0);
    put_text("k");
    put_text("v");
    check_last("3/-1/k=v");
    check_equal(read_file(file_len, 4096).totals.functions, 1);
    check_equal(read_file(file_len, 4096).totals.version, 11);
}

// A key of this type with its value, then a string: only its own count may be one.
static void passed(enum rdb_kind kind, const uint8_t *bytes, size_t len)
{
    start("REDIS0011");
    PUT(bytes[0]);
    put_text("key");
    put(bytes + 1, len - 1);
    PUT(0);
    put_text("k");
    put_text("v");
    check_last("0/-1/k=v");
    struct seen seen = read_file(file_len, 4096);
    for (uint32_t i = 0; i < RDB_KINDS; i++)
        check_equal(seen.totals.keys[i], i == (uint32_t)kind || i == RDB_STRING ? 1 : 0);
}

#define PASSED(kind, ...) passed(kind, (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

static void other_types_are_passed_over_and_counted(void)
{
    PASSED(RDB_LIST, 1, 2, 1, 'a', 0xc0, 5);
    PASSED(RDB_SET, 2, 1, 1, 'a');
    PASSED(RDB_ZSET, 3, 4, 1, 'a', 3, '1', '.', '5', 1, 'b', 253, 1, 'c', 254, 1, 'd', 255);
    PASSED(RDB_HASH, 4, 1, 1, 'f', 1, 'v');
    PASSED(RDB_ZSET, 5, 1, 1, 'a', 0, 0, 0, 0, 0, 0, 0, 0);
    PASSED(RDB_MODULE, 7, 0x81, 1, 2, 3, 4, 5, 6, 7, 8, 1, 3, 2, 0x40, 9, 3, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 5, 2, 'x', 'y', 0);
    PASSED(RDB_HASH, 9, 3, 'z', 'z', 'z');
    PASSED(RDB_LIST, 10, 1, 'z');
    PASSED(RDB_SET, 11, 1, 'z');
    PASSED(RDB_ZSET, 12, 1, 'z');
    PASSED(RDB_HASH, 13, 1, 'z');
    PASSED(RDB_LIST, 14, 2, 1, 'a', 1, 'b');
    PASSED(RDB_HASH, 16, 1, 'z');
    PASSED(RDB_ZSET, 17, 1, 'z');
    PASSED(RDB_LIST, 18, 2, 1, 1, 'a', 2, 1, 'b');
    PASSED(RDB_SET, 20, 1, 'z');
    PASSED(RDB_LIST, 1, 0);
}

#define ID16 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2
#define MS   1, 2, 3, 4, 5, 6, 7, 8

static void streams_of_all_three_forms_are_passed_over(void)
{
    PASSED(RDB_STREAM, 15, 1, 16, ID16, 2, 'l', 'p', 1, 1, 2, 1, 1, 'g', 1, 2, 1, ID16, MS, 3, 1, 1, 'c', MS, 1, ID16);
    PASSED(RDB_STREAM, 19, 0, 1, 1, 2, 3, 4, 5, 6, 7, 1, 1, 'g', 1, 2, 0x81, 255, 255, 255, 255, 255, 255, 255, 255, 0, 1, 1, 'c', MS, 0);
    PASSED(RDB_STREAM, 21, 0, 1, 1, 2, 3, 4, 5, 6, 7, 1, 1, 'g', 1, 2, 3, 1, ID16, MS, 1, 1, 1, 'c', MS, MS, 1, ID16);
    PASSED(RDB_STREAM, 21, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
}

static void a_modules_own_data_is_passed_over(void)
{
    start("REDIS0010");
    PUT(247, 0x81, 1, 2, 3, 4, 5, 6, 7, 8, 2, 2, 5, 1, 'x', 0, 0);
    put_text("k");
    put_text("v");
    check_last("0/-1/k=v");
    check_equal(read_file(file_len, 4096).totals.auxiliary, 1);
    start("REDIS0010");
    PUT(247, 1, 2, 2, 9, 0);
    refused_with(-EBADMSG, "opcode of a module");
}

static void what_only_others_can_read_is_refused_by_name(void)
{
    start("REDIS0012");
    refused_with(-ENOTSUP, "version 12");
    start("VALKEY080");
    refused_with(-ENOTSUP, "version 080");
    start("REDIS0011");
    PUT(6, 1, 'k', 0);
    refused_with(-ENOTSUP, "module");
    start("REDIS0011");
    PUT(22, 1, 'k', 0);
    refused_with(-ENOTSUP, "type 22");
    start("REDIS0011");
    PUT(243, 1, 'k', 0);
    refused_with(-ENOTSUP, "type 243");
    start("REDIS0011");
    PUT(246, 1, 'k');
    refused_with(-ENOTSUP, "release candidate");
}

static void what_is_no_rdb_file_is_refused(void)
{
    start("REDIS0000");
    refused_with(-EBADMSG, "version 0");
    start("REDIS00x1");
    refused_with(-EBADMSG, "no version");
    start("SQLite fo");
    refused_with(-EBADMSG, "no RDB file");
    start("REDIS0011");
    PUT(0, 0xc4, 1, 'v');
    refused_with(-EBADMSG, "form of string");
    start("REDIS0011");
    PUT(0, 0x82, 1, 'v');
    refused_with(-EBADMSG, "form of length");
    start("REDIS0011");
    PUT(254, 0xc0);
    refused_with(-EBADMSG, "form of length");
    start("REDIS0011");
    PUT(0, 1, 'k', 0x80, 0x20, 0, 0, 1);
    refused_with(-EBADMSG, "a string of");
}

static void every_flipped_bit_is_noticed(void)
{
    start("REDIS0011");
    PUT(254, 1, 252, 1, 2, 3, 4, 5, 6, 7, 0, 0);
    put_text("key");
    put_text("some value");
    finish();
    for (size_t bit = 0; bit < file_len * 8; bit++) {
        file[bit / 8] ^= (uint8_t)(1u << bit % 8);
        check(read_file(file_len, 4096).result < 0 || bit / 8 == 8); // the version's last digit: older, read alike, sum differs
        file[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void a_file_without_checksum_is_read_and_said_to_be(void)
{
    start("REDIS0011");
    PUT(0, 1, 'k', 1, 'v', 255, 0, 0, 0, 0, 0, 0, 0, 0);
    struct seen seen = read_file(file_len, 4096);
    check(seen.result == 1 && seen.totals.unchecked && seen.strings == 1);
    PUT('*');
    seen = read_file(file_len, 4096);
    check(seen.result == -EBADMSG && strstr(seen.why, "behind") != NULL); // commands of an AOF would be lost
}

static void a_length_alone_takes_no_memory(void)
{
    start("REDIS0011");
    PUT(0, 1, 'k', 0x80, 0x1f, 0xff, 0xff, 0xff, 'v');
    struct seen seen = read_file(file_len, 4096);
    check(seen.result == -EBADMSG && strstr(seen.why, "ends") != NULL);
}

int main(int argc, char **argv)
{
    static const struct test tests[] = {
        TEST(a_string_with_each_kind_of_deadline_is_read),
        TEST(a_deadline_belongs_to_one_key),
        TEST(lengths_have_five_forms),
        TEST(integers_become_their_text),
        TEST(packed_strings_are_unpacked),
        TEST(packed_strings_that_lie_are_refused),
        TEST(databases_hints_and_functions_are_passed_over),
        TEST(other_types_are_passed_over_and_counted),
        TEST(streams_of_all_three_forms_are_passed_over),
        TEST(a_modules_own_data_is_passed_over),
        TEST(what_only_others_can_read_is_refused_by_name),
        TEST(what_is_no_rdb_file_is_refused),
        TEST(every_flipped_bit_is_noticed),
        TEST(a_file_without_checksum_is_read_and_said_to_be),
        TEST(a_length_alone_takes_no_memory),
    };
    crc64_init(&tables);
    return test_main(tests, (int)(sizeof tests / sizeof tests[0]), argc, argv);
}
