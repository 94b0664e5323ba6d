// SPDX-License-Identifier: Apache-2.0
#include "bench/fcnp_scan.h"

#include <stdlib.h>

#include "base/prng.h"
#include "base/test.h"

struct found {
    uint32_t replies, errors, nulls, bulks;
    uint64_t bytes;
    bool bad;
    char text[REPLY_TEXT_MAX];
};

static struct found feed(const void *stream, size_t len, size_t step, bool want_bytes)
{
    struct reply_scan s;
    struct found f = { 0 };
    reply_scan_init(&s, want_bytes);
    for (size_t from = 0; from < len && !f.bad; from += step) {
        const uint8_t *at = (const uint8_t *)stream + from;
        const uint8_t *end = (const uint8_t *)stream + (from + step < len ? from + step : len);
        for (enum reply_event e; !f.bad && (e = fcnp_scan_next(&s, &at, end)) != REPLY_MORE;) {
            f.bad = e == REPLY_BAD;
            f.bytes += e == REPLY_BYTES ? s.bytes.len : 0;
            if (e != REPLY_DONE)
                continue;
            f.replies++;
            f.errors += s.error;
            f.nulls += s.null;
            f.bulks += s.bulks;
        }
    }
    memcpy(f.text, s.text, sizeof f.text);
    return f;
}

#define STREAM(text)       (text), sizeof(text) - 1
#define FRAME(status, len) "\xfb\x02" status "\0" len "\0\0\0"

// Ok, Null, Error "ERR x", Integer, Value "hello", empty Value, Boolean, Array of "ab", null, "", Float
static const char ALL[] =
    FRAME("\0", "\0") FRAME("\1", "\0") FRAME("\2", "\5") "ERR x" FRAME("\3", "\10") "12345678" FRAME("\4", "\5") "hello" FRAME("\4", "\0")
        FRAME("\5", "\1") "\1" FRAME("\6", "\22") "\3\0\0\0\2\0\0\0ab\xff\xff\xff\xff\0\0\0\0" FRAME("\7", "\10") "12345678";

static void replies_are_counted_however_they_are_cut(void)
{
    for (size_t step = 1; step <= sizeof ALL; step++) {
        for (int want = 0; want < 2; want++) {
            struct found f = feed(STREAM(ALL), step, want != 0);
            check(!f.bad);
            check_equal(f.replies, 9);
            check_equal(f.errors, 1);
            check_equal(f.nulls, 2);
            check_equal(f.bulks, 5);
            check_equal(f.bytes, want ? 7 : 0);
            check(strcmp(f.text, "ERR x") == 0);
        }
    }
}

static void an_unfinished_reply_is_not_counted(void)
{
    static const char VALUE[] = FRAME("\4", "\5") "hello";
    for (size_t len = 0; len < sizeof VALUE - 1; len++)
        for (size_t step = 1; step < 16; step++)
            check_equal(feed(VALUE, len, step, step % 2 == 0).replies, 0);
}

static void what_is_not_fcnp_is_bad(void)
{
    static const struct {
        const char *bytes;
        size_t len;
    } CASES[] = {
        { STREAM("+OK\r\n+OK\r\n") },
        { STREAM("\xfa\x02\4\0\0\0\0\0") },
        { STREAM("\xfb\x01\4\0\0\0\0\0") },
        { STREAM("\xfb\x02\4\1\0\0\0\0") },
        { STREAM("\xfb\x02\10\0\0\0\0\0") },
        { STREAM(FRAME("\0", "\1") "x") },
        { STREAM(FRAME("\1", "\1") "x") },
        { STREAM(FRAME("\3", "\7") "1234567") },
        { STREAM(FRAME("\5", "\0")) },
        { STREAM(FRAME("\6", "\3") "\0\0\0") },
        { STREAM(FRAME("\6", "\4") "\1\0\0\0") },
        { STREAM(FRAME("\6", "\6") "\1\0\0\0\0\0") },
        { STREAM(FRAME("\6", "\11") "\1\0\0\0\2\0\0\0a") },
        { STREAM(FRAME("\6", "\14") "\1\0\0\0\0\0\0\0\0\0\0\0") },
        { STREAM(FRAME("\6", "\10") "\0\0\0\0\0\0\0\0") },
        { STREAM(FRAME("\6", "\10") "\2\0\0\0\0\0\0\0") },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        for (size_t step = 1; step <= CASES[i].len; step++) {
            struct found f = feed(CASES[i].bytes, CASES[i].len, step, false);
            if (!f.bad)
                printf("case %zu in steps of %zu\n", i, step);
            check(f.bad);
        }
    }
}

// Streams of frames with some bytes changed, each in memory of its own size so that sanitizers see a read beyond it.
static void any_bytes_mean_the_same_however_they_are_cut(void)
{
    struct prng random;
    prng_init(&random, 7);
    for (int round = 0; round < 20000; round++) {
        size_t from = prng_next(&random) % 20, len = 1 + prng_next(&random) % (sizeof ALL - 1 - from);
        uint8_t *bytes = malloc(len);
        memcpy(bytes, ALL + from * (round % 2 == 0), len);
        for (uint64_t changes = prng_next(&random) % 4; changes > 0; changes--)
            bytes[prng_next(&random) % len] = (uint8_t)(prng_next(&random) % 9);
        struct found whole = feed(bytes, len, len, true), cut = feed(bytes, len, 1 + prng_next(&random) % 9, round % 3 == 0);
        check_equal(cut.bad, whole.bad);
        check_equal(cut.replies, whole.replies);
        check_equal(cut.errors, whole.errors);
        check_equal(cut.nulls, whole.nulls);
        check_equal(cut.bulks, whole.bulks);
        free(bytes);
        if (test_failures > 0)
            return;
    }
}

TESTS(TEST(replies_are_counted_however_they_are_cut), TEST(an_unfinished_reply_is_not_counted), TEST(what_is_not_fcnp_is_bad),
      TEST(any_bytes_mean_the_same_however_they_are_cut))
