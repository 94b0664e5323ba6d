// SPDX-License-Identifier: Apache-2.0
// Two readers of one grammar.
//
//   read_whole   a frame that has arrived completely: lengths by short loops, views straight into the caller's array, no state.
//                It answers only READY; whatever is cut, wrong, big or unusual it leaves untouched to the other one.
//   read_on      keeps offsets in `struct resp` and goes on where it stopped. The only one that reports errors, so that the
//                result cannot depend on how the bytes were cut.
//
//   *<count> CR LF   then count times   $<length> CR LF <length bytes> CR LF
//        position ^-- always at the start of the part being read: count line, length line, payload, or a big payload's CR LF
//
// Invariants: args_seen <= args_total <= limits.args_max. Heap is taken for arguments that arrived, never for a count or length.
#include "proto/resp.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "proto/number.h"

#define CR_LF      0x0a0d
#define BIG_OFFSET UINT64_MAX

void resp_init(struct resp *p, const struct resp_limits *limits)
{
    *p = (struct resp){ .limits = *limits };
}

void resp_deinit(struct resp *p)
{
    free(p->args);
    free(p->argv);
    buf_deinit(&p->line);
    *p = (struct resp){ .limits = p->limits };
}

void resp_reset(struct resp *p)
{
    p->position = 0;
    p->scanned = 0;
    p->collected = 0;
    p->args_total = 0;
    p->args_seen = 0;
    p->in_payload = false;
    p->big_ready = false;
}

size_t resp_memory(const struct resp *p)
{
    return p->args_cap * sizeof *p->args + p->argv_cap * sizeof *p->argv + p->line.cap;
}

static cold int fail(struct resp *p, const char *why)
{
    snprintf(p->error, sizeof p->error, "ERR Protocol error: %s", why);
    return -EPROTO;
}

// ---- frames that arrived whole

// Up to nine more digits behind a first one (`value`), which must not be 0. Returns where they end; NULL: let read_on decide.
static inline const uint8_t *more_digits(const uint8_t *at, const uint8_t *end, uint64_t *value)
{
    if (*value == 0 || end - at < 12)
        return NULL;
    for (int i = 0; i < 9; i++, at++) {
        unsigned digit = *at - (unsigned)'0';
        if (digit > 9)
            return at;
        *value = *value * 10 + digit;
    }
    return NULL;
}

static inline bool read_whole(const struct resp *p, struct slice frame, struct slice *argv, uint32_t argv_max, struct request *rq,
                              size_t *used)
{
    const uint8_t *at = frame.data, *end = at + frame.len;
    if (frame.len < 10 || *at != '*')
        return false;
    uint64_t count = (uint64_t)at[1] - '0';
    at += 2;
    if (count > 9 || (*at != '\r' && (at = more_digits(at, end, &count)) == NULL))
        return false;
    if (load_u16(at) != CR_LF || count == 0 || count > argv_max || count > p->limits.args_max)
        return false;
    at += 2;
    for (uint64_t i = 0; i < count; i++) {
        if (end - at < 6 || *at != '$')
            return false;
        uint64_t len = (uint64_t)at[1] - '0';
        at += 2;
        if (len > 9 || (*at != '\r' && (at = more_digits(at, end, &len)) == NULL))
            return false;
        if (load_u16(at) != CR_LF)
            return false;
        at += 2;
        if (len > p->limits.bulk_max || (uint64_t)(end - at) < len + 2 || load_u16(at + len) != CR_LF)
            return false;
        argv[i] = slice_of(at, len);
        at += len + 2;
    }
    *used = (size_t)(at - frame.data);
    *rq = (struct request){ .argc = (uint32_t)count, .argv = argv };
    return *used <= p->limits.frame_max;
}

// ---- memory for what arrived

static bool grow(void **array, uint32_t *cap, uint32_t need, size_t item)
{
    if (need <= *cap)
        return true;
    uint64_t wanted = *cap < 16 ? 16 : (uint64_t)*cap * 2;
    if (wanted < need)
        wanted = need;
    void *grown = realloc(*array, wanted * item);
    if (grown == NULL)
        return false;
    *array = grown;
    *cap = (uint32_t)wanted;
    return true;
}

static bool reserve_args(struct resp *p, uint32_t count)
{
    void *array = p->args;
    bool ok = grow(&array, &p->args_cap, count, sizeof *p->args);
    p->args = array;
    return ok;
}

static bool reserve_argv(struct resp *p, uint32_t count)
{
    void *array = p->argv;
    bool ok = grow(&array, &p->argv_cap, count, sizeof *p->argv);
    p->argv = array;
    return ok;
}

// ---- arrays of bulk strings, cut anywhere

// The line at `position` (its mark included, CR LF not) once both CR and LF are here. RESP_PARTIAL until then.
static int take_line(struct resp *p, struct slice frame, const char *too_long, const char *invalid, struct slice *line)
{
    const uint8_t *start = frame.data + p->position;
    uint64_t have = frame.len - p->position, seen = p->scanned - p->position;
    const uint8_t *cr = seen < have ? memchr(start + seen, '\r', have - seen) : NULL;
    uint64_t len = cr != NULL ? (uint64_t)(cr - start) : have;
    p->scanned = p->position + len;
    if (len > p->limits.inline_max)
        return fail(p, too_long);
    if (cr == NULL || len + 2 > have)
        return RESP_PARTIAL;
    if (cr[1] != '\n')
        return fail(p, invalid);
    *line = slice_of(start, len);
    p->position += len + 2;
    p->scanned = p->position;
    return RESP_READY;
}

static int read_count(struct resp *p, struct slice frame)
{
    struct slice line;
    int64_t count;
    int rc = take_line(p, frame, "too big mbulk count string", "invalid multibulk length", &line);
    if (rc != RESP_READY)
        return rc;
    if (!number_parse_i64(slice_of(line.data + 1, line.len - 1), &count) || count > INT32_MAX)
        return fail(p, "invalid multibulk length");
    if (count > (int64_t)p->limits.args_max)
        return fail(p, p->limits.before_auth ? "unauthenticated multibulk length" : "invalid multibulk length");
    if (count <= 0)
        return RESP_EMPTY;
    p->args_total = (uint32_t)count;
    return RESP_READY;
}

// Bytes that would end an error line are shown as a space.
static cold int fail_mark(struct resp *p, char wanted, uint8_t got)
{
    char why[] = "expected '$', got 'x'";
    why[10] = wanted;
    why[19] = got == '\0' || got == '\r' || got == '\n' ? ' ' : (char)got;
    return fail(p, why);
}

static int read_length(struct resp *p, struct slice frame)
{
    struct slice line;
    int64_t len;
    uint64_t total;
    if (p->position == frame.len)
        return RESP_PARTIAL;
    if (frame.data[p->position] != '$')
        return fail_mark(p, '$', frame.data[p->position]);
    int rc = take_line(p, frame, "too big bulk count string", "invalid bulk length", &line);
    if (rc != RESP_READY)
        return rc;
    if (!number_parse_i64(slice_of(line.data + 1, line.len - 1), &len) || len < 0)
        return fail(p, "invalid bulk length");
    if ((uint64_t)len > p->limits.bulk_max)
        return fail(p, p->limits.before_auth ? "unauthenticated bulk length" : "invalid bulk length");
    if (!size_add(p->position + p->collected + 2, (uint64_t)len, &total) || total > p->limits.frame_max)
        return fail(p, "too big request");
    p->bulk_len = len;
    p->in_payload = true;
    p->big_ready = false;
    return RESP_READY;
}

// The payload and its CR LF; for a big one that was handed over, only the CR LF.
static int read_payload(struct resp *p, struct slice frame)
{
    uint64_t have = frame.len - p->position, len = p->big_ready ? 0 : (uint64_t)p->bulk_len;
    if (p->limits.big_min > 0 && len >= p->limits.big_min && have < len) {
        if (!reserve_args(p, p->args_seen + 1)) // resp_big_done cannot fail
            return -ENOMEM;
        p->big_len = len;
        return RESP_BIG;
    }
    if (have > len && frame.data[p->position + len] != '\r')
        return fail(p, "expected CR LF after bulk");
    if (have < len + 2)
        return RESP_PARTIAL;
    if (frame.data[p->position + len + 1] != '\n')
        return fail(p, "expected CR LF after bulk");
    if (!p->big_ready) {
        if (!reserve_args(p, p->args_seen + 1))
            return -ENOMEM;
        p->args[p->args_seen] = (struct resp_arg){ .offset = p->position, .len = len };
    }
    p->args_seen++;
    p->position += len + 2;
    p->scanned = p->position;
    p->in_payload = false;
    p->big_ready = false;
    return RESP_READY;
}

static int finish(struct resp *p, struct slice frame, struct request *rq)
{
    if (!reserve_argv(p, p->args_total))
        return -ENOMEM;
    for (uint32_t i = 0; i < p->args_total; i++) {
        const struct resp_arg *arg = &p->args[i];
        p->argv[i] = slice_of(arg->offset == BIG_OFFSET ? arg->big : frame.data + arg->offset, arg->len);
    }
    *rq = (struct request){ .argc = p->args_total, .argv = p->argv };
    return RESP_READY;
}

static int read_on(struct resp *p, struct slice frame, struct request *rq)
{
    assert(p->position <= frame.len && p->scanned <= frame.len);
    int rc = RESP_READY;
    if (p->args_total == 0)
        rc = read_count(p, frame);
    while (rc == RESP_READY && p->args_seen < p->args_total) {
        if (!p->in_payload)
            rc = read_length(p, frame);
        if (rc == RESP_READY)
            rc = read_payload(p, frame);
    }
    return rc == RESP_READY ? finish(p, frame, rq) : rc;
}

void resp_big_done(struct resp *p, const uint8_t *data)
{
    assert(p->in_payload && !p->big_ready && p->args_seen < p->args_cap);
    p->args[p->args_seen] = (struct resp_arg){ .offset = BIG_OFFSET, .len = (uint64_t)p->bulk_len, .big = data };
    p->collected += (uint64_t)p->bulk_len;
    p->big_ready = true;
}

// ---- inline commands

static bool is_blank(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// What stands behind a backslash inside "..."; returns how many bytes it takes.
static size_t unescape(const uint8_t *at, size_t left, uint8_t *out)
{
    if (left >= 3 && at[0] == 'x' && hex_digit(at[1]) >= 0 && hex_digit(at[2]) >= 0) {
        *out = (uint8_t)(hex_digit(at[1]) << 4 | hex_digit(at[2]));
        return 3;
    }
    static const char NAMES[] = "nrtba", VALUES[] = "\n\r\t\b\a";
    const char *name = at[0] != '\0' ? strchr(NAMES, at[0]) : NULL;
    *out = name != NULL ? (uint8_t)VALUES[name - NAMES] : at[0];
    return 1;
}

// A quoted part at line[*at] (its opening quote), appended to `out`. False: not closed, or something stuck to the closing quote.
static bool unquote(struct slice line, size_t *at, struct buf *out)
{
    uint8_t quote = line.data[*at];
    for (size_t i = *at + 1; i < line.len; i++) {
        uint8_t c = line.data[i];
        if (c == quote) {
            *at = i + 1;
            return *at == line.len || is_blank(line.data[*at]);
        }
        if (c == '\\' && i + 1 < line.len && (quote == '"' || line.data[i + 1] == '\'')) {
            c = '\'';
            i += quote == '"' ? unescape(line.data + i + 1, line.len - i - 1, &c) : 1;
        }
        buf_append(out, &c, 1);
    }
    return false;
}

// One argument from line[*at], not blank. Without quotes a view of the line itself. A quote may open in the middle: a"b c" is `ab c`.
static bool split_argument(struct slice line, size_t *at, struct buf *out, struct slice *arg)
{
    size_t start = *at, mark = out->len;
    for (; *at < line.len; ++*at) {
        uint8_t c = line.data[*at];
        if (c == ' ' || c == '\t' || c == '\r' || c == '\n')
            break;
        if (c == '"' || c == '\'') {
            buf_append(out, line.data + start, *at - start);
            if (!unquote(line, at, out))
                return false;
            *arg = slice_of(out->data + mark, out->len - mark);
            return true;
        }
    }
    *arg = slice_of(line.data + start, *at - start);
    return true;
}

static int split_line(struct resp *p, struct slice line, struct request *rq)
{
    p->line.limit = BUF_NO_LIMIT;
    p->line.len = 0;
    // Quoted text never grows, so that with this room no view into `line` moves.
    if (memchr(line.data, '"', line.len) != NULL || memchr(line.data, '\'', line.len) != NULL) {
        if (buf_reserve(&p->line, line.len) == NULL)
            return -ENOMEM;
    }
    uint32_t count = 0;
    for (size_t at = 0;;) {
        while (at < line.len && is_blank(line.data[at]))
            at++;
        if (at == line.len)
            break;
        if (count == p->limits.args_max)
            return fail(p, p->limits.before_auth ? "unauthenticated multibulk length" : "invalid multibulk length");
        if (!reserve_argv(p, count + 1))
            return -ENOMEM;
        if (!split_argument(line, &at, &p->line, &p->argv[count++]))
            return fail(p, "unbalanced quotes in request");
    }
    *rq = (struct request){ .argc = count, .argv = p->argv };
    return count > 0 ? RESP_READY : RESP_EMPTY;
}

static int read_inline(struct resp *p, struct slice frame, struct request *rq)
{
    if (!p->limits.inline_allowed && frame.data[0] != '\r' && frame.data[0] != '\n')
        return fail_mark(p, '*', frame.data[0]);
    const uint8_t *lf = p->scanned < frame.len ? memchr(frame.data + p->scanned, '\n', frame.len - p->scanned) : NULL;
    size_t len = lf != NULL ? (size_t)(lf - frame.data) : frame.len;
    p->scanned = len;
    if (len > p->limits.inline_max)
        return fail(p, "too big inline request");
    if (lf == NULL)
        return RESP_PARTIAL;
    p->position = len + 1;
    if (len > 0 && frame.data[len - 1] == '\r')
        len--;
    int rc = split_line(p, slice_of(frame.data, len), rq);
    if (rc == RESP_READY && !p->limits.inline_allowed)
        return fail_mark(p, '*', frame.data[0]);
    return rc;
}

int resp_parse(struct resp *p, struct slice frame, struct slice *argv, uint32_t argv_max, struct request *rq, size_t *used)
{
    if (likely(p->position == 0 && read_whole(p, frame, argv, argv_max, rq, used))) {
        p->scanned = 0;
        return RESP_READY;
    }
    *used = 0;
    if (frame.len == 0)
        return RESP_PARTIAL;
    if (unlikely(p->limits.foreign != 0 && p->position == 0 && p->scanned == 0 && frame.data[0] == p->limits.foreign))
        return RESP_FOREIGN;
    int rc = p->position > 0 || frame.data[0] == '*' ? read_on(p, frame, rq) : read_inline(p, frame, rq);
    if (rc == RESP_PARTIAL || rc < 0)
        return rc;
    *used = p->position;
    if (rc != RESP_BIG)
        resp_reset(p);
    return rc;
}
