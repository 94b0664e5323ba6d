// SPDX-License-Identifier: Apache-2.0
#include "bench/reply_scan.h"

#include <stdlib.h>

#include "base/test.h"

struct outcome {
    int replies;
    int errors;
    int nulls;
    int bulks;
    bool bad;
    size_t taken_len;
    uint8_t taken[4096]; // bulk bytes in order
    char text[REPLY_TEXT_MAX];
};

// Feeds the stream in pieces of `step` bytes, each in memory of its own so that the sanitizer sees an overrun.
static struct outcome feed(const char *stream, size_t len, size_t step, bool want_bytes)
{
    struct outcome o = { 0 };
    struct reply_scan s;
    reply_scan_init(&s, want_bytes);
    for (size_t from = 0; from < len && !o.bad; from += step) {
        size_t n = len - from < step ? len - from : step;
        uint8_t *piece = malloc(n);
        memcpy(piece, stream + from, n);
        const uint8_t *at = piece;
        enum reply_event event;
        while ((event = reply_scan_next(&s, &at, piece + n)) == REPLY_DONE || event == REPLY_BYTES) {
            if (event == REPLY_BYTES) {
                memcpy(o.taken + o.taken_len, s.bytes.data, s.bytes.len);
                o.taken_len += s.bytes.len;
                continue;
            }
            o.replies++;
            o.errors += s.error;
            o.nulls += s.null;
            o.bulks += (int)s.bulks;
        }
        o.bad = event == REPLY_BAD;
        free(piece);
    }
    memcpy(o.text, s.text, sizeof o.text);
    return o;
}

static bool same(const struct outcome *a, const struct outcome *b)
{
    return a->replies == b->replies && a->errors == b->errors && a->nulls == b->nulls && a->bulks == b->bulks && a->bad == b->bad &&
           a->taken_len == b->taken_len && memcmp(a->taken, b->taken, a->taken_len) == 0;
}

#define STREAM(text) (text), sizeof(text) - 1

static const char mixed[] = "+OK\r\n$3\r\nabc\r\n:12\r\n$-1\r\n*2\r\n$1\r\nx\r\n$2\r\nyz\r\n-ERR no\r\n_\r\n*0\r\n$0\r\n\r\n"
                            "%2\r\n+a\r\n:1\r\n+b\r\n*2\r\n:1\r\n:2\r\n#t\r\n,1.5\r\n(123\r\n=7\r\ntxt:abc\r\n~1\r\n+x\r\n*-1\r\n"
                            ">2\r\n+message\r\n$1\r\nm\r\n|1\r\n+k\r\n+v\r\n+OK\r\n!5\r\nERR x\r\n:-7\r\n+PONG\r\n";

static void replies_are_counted_however_they_are_cut(void)
{
    struct outcome whole = feed(STREAM(mixed), sizeof mixed, true);
    check_equal(whole.replies, 20);
    check_equal(whole.errors, 2);
    check_equal(whole.nulls, 3);
    check(!whole.bad);
    check_equal(whole.taken_len, 3 + 1 + 2 + 7 + 1 + 5);
    check(memcmp(whole.taken, "abcxyztxt:abcmERR x", whole.taken_len) == 0);
    for (size_t step = 1; step < sizeof mixed; step++) {
        struct outcome cut = feed(STREAM(mixed), step, true);
        check(same(&whole, &cut));
    }
}

static void skipping_bulks_finds_the_same_replies(void)
{
    for (size_t step = 1; step < sizeof mixed; step++) {
        struct outcome cut = feed(STREAM(mixed), step, false);
        check_equal(cut.replies, 20);
        check_equal(cut.errors, 2);
        check_equal(cut.taken_len, 0);
    }
}

static void a_push_is_no_reply(void)
{
    struct outcome o = feed(STREAM(">1\r\n+x\r\n+OK\r\n"), 4, true);
    check_equal(o.replies, 1);
}

static void the_first_error_is_kept(void)
{
    struct outcome o = feed(STREAM("-ERR one\r\n-ERR the second, longer one\r\n"), 3, false);
    check_equal(o.errors, 2);
    check(strcmp(o.text, "ERR one") == 0);
}

static void what_is_not_resp_is_bad(void)
{
    static const struct {
        const char *text;
        size_t len;
    } streams[] = {
        { STREAM("hello\r\n") },
        { STREAM("$x\r\n") },
        { STREAM("$-2\r\n") },
        { STREAM("$\r\n") },
        { STREAM("*a\r\n") },
        { STREAM("*-2\r\n") },
        { STREAM(":\r\n") },
        { STREAM(":1a\r\n") },
        { STREAM("$1\r\nab\r\n") },
        { STREAM("$1\r\na\n\n") },
        { STREAM("$99999999999999999999\r\n") },
        { STREAM("*99999999999\r\n") },
        { STREAM("%4294967295\r\n%4294967295\r\n") },
        { STREAM("\0") },
    };
    for (size_t i = 0; i < sizeof streams / sizeof streams[0]; i++) {
        check(feed(streams[i].text, streams[i].len, 1, true).bad);
        check(feed(streams[i].text, streams[i].len, streams[i].len, false).bad);
    }
}

static void an_unfinished_reply_is_not_counted(void)
{
    for (size_t len = 0; len < 9; len++)
        check_equal(feed("$3\r\nabc\r\n", len, 16, false).replies, 0);
    check_equal(feed("$3\r\nabc\r\n", 9, 16, false).replies, 1);
}

TESTS(TEST(replies_are_counted_however_they_are_cut), TEST(skipping_bulks_finds_the_same_replies), TEST(a_push_is_no_reply),
      TEST(the_first_error_is_kept), TEST(what_is_not_resp_is_bad), TEST(an_unfinished_reply_is_not_counted))
