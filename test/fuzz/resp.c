// SPDX-License-Identifier: Apache-2.0
// RESP requests: whatever the bytes and however they are cut, the parser yields what a plain reference yields, and the short way for the
// commonest ones what the parser does.
//
//   byte 0   bits 0-1: big arguments never, from 1, 4, 16 bytes; bit 2: tiny limits; bit 3: before auth; bit 4: no inline;
//            bits 5-7: argv_max
//   byte 1   n = 0: whole, 1: byte by byte, else pieces as the next bytes say
#include <ctype.h>

#include "test/unit/proto/resp_driver.h"

// The reference knows all bytes at once and takes one line after the other; arrays only, as inline quoting has its own tests.
struct reference {
    const struct resp_limits *limits;
    struct slice left;
    struct buf transcript;
};

static bool reference_fail(struct reference *r, const char *why)
{
    char text[160];
    int len = snprintf(text, sizeof text, "!ERR Protocol error: %s\n", why);
    buf_append(&r->transcript, text, (size_t)len);
    return false;
}

static void reference_skip(struct reference *r, size_t len)
{
    r->left = slice_of(r->left.data + len, r->left.len - len);
}

// Strict decimal without sign but '-'; -1 = malformed or beyond 64 bits (or negative).
static __int128 reference_number(struct slice s, bool *ok)
{
    bool negative = s.len > 0 && s.data[0] == '-';
    size_t i = negative;
    __int128 value = 0;
    *ok = i < s.len && s.len <= 20 && (s.data[i] != '0' || (s.len == 1 && !negative));
    for (; *ok && i < s.len; i++) {
        *ok = isdigit(s.data[i]) != 0;
        value = value * 10 + (s.data[i] - '0');
    }
    value = negative ? -value : value;
    *ok = *ok && value >= INT64_MIN && value <= INT64_MAX;
    return *ok ? value : 0;
}

// 1: *line is there, 0: cut, -1: failed
static int reference_line(struct reference *r, const char *too_long, const char *invalid, struct slice *line)
{
    const uint8_t *cr = memchr(r->left.data, '\r', r->left.len);
    size_t len = cr != NULL ? (size_t)(cr - r->left.data) : r->left.len;
    if (len > r->limits->inline_max)
        return reference_fail(r, too_long), -1;
    if (cr == NULL || len + 1 == r->left.len)
        return 0;
    if (cr[1] != '\n')
        return reference_fail(r, invalid), -1;
    *line = slice_of(r->left.data + 1, len - 1);
    reference_skip(r, len + 2);
    return 1;
}

static bool reference_argument(struct reference *r, struct buf *text, uint64_t frame_used)
{
    struct slice line;
    bool ok;
    if (r->left.len == 0)
        return false;
    if (r->left.data[0] != '$') {
        char why[] = "expected '$', got 'x'";
        uint8_t c = r->left.data[0];
        why[19] = c == 0 || c == '\r' || c == '\n' ? ' ' : (char)c;
        return reference_fail(r, why);
    }
    size_t before = r->left.len;
    if (reference_line(r, "too big bulk count string", "invalid bulk length", &line) <= 0)
        return false;
    __int128 len = reference_number(line, &ok);
    if (!ok || len < 0)
        return reference_fail(r, "invalid bulk length");
    if ((uint64_t)len > r->limits->bulk_max)
        return reference_fail(r, r->limits->before_auth ? "unauthenticated bulk length" : "invalid bulk length");
    if (frame_used + (before - r->left.len) + 2 + (uint64_t)len > r->limits->frame_max)
        return reference_fail(r, "too big request");
    size_t n = (size_t)len;
    if (r->left.len > n && r->left.data[n] != '\r')
        return reference_fail(r, "expected CR LF after bulk");
    if (r->left.len < n + 2)
        return false;
    if (r->left.data[n + 1] != '\n')
        return reference_fail(r, "expected CR LF after bulk");
    char head[32];
    buf_append(text, head, (size_t)snprintf(head, sizeof head, "(%zu:", n));
    buf_append(text, r->left.data, n);
    buf_append(text, ")", 1);
    reference_skip(r, n + 2);
    return true;
}

// False: cut or failed.
static bool reference_request(struct reference *r)
{
    struct slice line;
    bool ok;
    size_t start = r->left.len;
    if (reference_line(r, "too big mbulk count string", "invalid multibulk length", &line) <= 0)
        return false;
    __int128 count = reference_number(line, &ok);
    if (!ok || count > INT32_MAX)
        return reference_fail(r, "invalid multibulk length");
    if (count > r->limits->args_max)
        return reference_fail(r, r->limits->before_auth ? "unauthenticated multibulk length" : "invalid multibulk length");
    if (count <= 0) {
        buf_append(&r->transcript, ".\n", 2);
        return true;
    }
    struct buf text;
    buf_init(&text, BUF_NO_LIMIT);
    bool complete = true;
    for (; complete && count > 0; count--)
        complete = reference_argument(r, &text, start - r->left.len);
    if (complete) {
        buf_append_slice(&r->transcript, buf_view(&text));
        buf_append(&r->transcript, "\n", 1);
    }
    buf_deinit(&text);
    return complete;
}

static size_t piece(uint8_t mode, const uint8_t *cuts, size_t turn, size_t left)
{
    size_t len = mode == 0 ? left : mode == 1 ? 1 : 1 + cuts[turn % 8] % mode;
    return len < left ? len : left;
}

static void run(struct driver *d, struct slice bytes, uint8_t mode, const uint8_t *cuts)
{
    bool going = true;
    for (size_t turn = 0; going && bytes.len > 0; turn++) {
        size_t len = piece(mode, cuts, turn, bytes.len);
        going = driver_feed(d, slice_of(bytes.data, len));
        bytes = slice_of(bytes.data + len, bytes.len - len);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 10 || size > 8192)
        return 0;
    struct resp_limits limits = *driver_limits();
    if (data[0] & 4) {
        limits.args_max = 8;
        limits.bulk_max = 64;
        limits.inline_max = 32;
        limits.frame_max = 128;
    }
    limits.before_auth = data[0] & 8;
    limits.inline_allowed = !(data[0] & 16);
    struct slice bytes = slice_of(data + 10, size - 10);

    driver_hot(bytes);

    struct driver whole, cut;
    driver_init(&whole, &limits);
    run(&whole, bytes, 0, NULL);
    static const uint64_t BIG_MINS[] = { 0, 1, 4, 16 };
    limits.big_min = BIG_MINS[data[0] & 3];
    driver_init(&cut, &limits);
    cut.argv_max = data[0] >> 5;
    run(&cut, bytes, data[1], data + 2);
    assert(slice_equal(buf_view(&whole.transcript), buf_view(&cut.transcript)));

    struct reference r = { .limits = &limits, .left = bytes };
    buf_init(&r.transcript, BUF_NO_LIMIT);
    while (r.left.len > 0 && r.left.data[0] == '*' && reference_request(&r))
        ;
    // Equal as far as the reference goes; entirely when it met arrays only.
    assert(r.transcript.len <= whole.transcript.len);
    assert(r.transcript.len == 0 || memcmp(r.transcript.data, whole.transcript.data, r.transcript.len) == 0);
    assert((r.left.len > 0 && r.left.data[0] != '*') || r.transcript.len == whole.transcript.len);

    buf_deinit(&r.transcript);
    driver_deinit(&whole);
    driver_deinit(&cut);
    return 0;
}
