// SPDX-License-Identifier: Apache-2.0
#include "bench/reply_scan.h"

#include <string.h>

#include "base/assert.h"

// Far beyond any reply that we ask for; a longer one is a stream gone wrong.
#define REPLY_BULK_MAX     (UINT64_C(1) << 40)
#define REPLY_ELEMENTS_MAX (UINT64_C(1) << 32)

void reply_scan_init(struct reply_scan *s, bool want_bytes)
{
    memset(s, 0, sizeof *s);
    s->want_bytes = want_bytes;
    s->fresh = true;
}

static void reply_begin(struct reply_scan *s)
{
    s->fresh = false;
    s->error = false;
    s->null = false;
    s->push = false;
    s->bulks = 0;
    s->missing = 1;
}

// An element ended; the event that follows from it.
static enum reply_event element_end(struct reply_scan *s)
{
    s->state = REPLY_TYPE;
    s->missing--;
    if (s->missing > 0)
        return REPLY_MORE;
    s->fresh = true;
    return s->push ? REPLY_MORE : REPLY_DONE;
}

static enum reply_event aggregate_begin(struct reply_scan *s, uint64_t elements)
{
    if (s->missing + elements > REPLY_ELEMENTS_MAX)
        return REPLY_BAD;
    s->missing += elements;
    return element_end(s);
}

static enum reply_event bulk_begin(struct reply_scan *s)
{
    if (s->number > REPLY_BULK_MAX)
        return REPLY_BAD;
    s->bulks++;
    s->bulk_len = s->number;
    s->bulk_left = s->number;
    s->state = s->number > 0 ? REPLY_BULK : REPLY_BULK_CR;
    return REPLY_MORE;
}

static bool is_null_header(const struct reply_scan *s)
{
    return s->negative && s->number == 1 && !s->number_bad;
}

// The line after a type byte is complete.
static enum reply_event line_end(struct reply_scan *s)
{
    bool number = !s->number_bad && !s->negative && s->line_len > 0;
    switch (s->type) {
    case '+':
    case ',':
    case '#':
    case '(':
        return element_end(s);
    case '-':
        s->error = true;
        s->text_closed = true;
        return element_end(s);
    case ':':
        s->last_integer = s->number;
        return s->number_bad || s->line_len == 0 ? REPLY_BAD : element_end(s);
    case '_':
        s->null = true;
        return element_end(s);
    case '!':
        s->error = true;
        return number ? bulk_begin(s) : REPLY_BAD;
    case '$':
    case '=':
        if (is_null_header(s)) {
            s->null = true;
            return element_end(s);
        }
        return number ? bulk_begin(s) : REPLY_BAD;
    case '*':
        if (is_null_header(s)) {
            s->null = true;
            return element_end(s);
        }
        return number ? aggregate_begin(s, s->number) : REPLY_BAD;
    case '~':
    case '>':
        return number ? aggregate_begin(s, s->number) : REPLY_BAD;
    case '%':
        return number && s->number < REPLY_ELEMENTS_MAX ? aggregate_begin(s, 2 * s->number) : REPLY_BAD;
    case '|': // attributes come before the element that they describe, and do not count as one
        if (!number || s->number >= REPLY_ELEMENTS_MAX)
            return REPLY_BAD;
        s->missing++;
        return aggregate_begin(s, 2 * s->number);
    default:
        return REPLY_BAD;
    }
}

static bool type_known(uint8_t type)
{
    return type != 0 && strchr("+-:$*_#,(!=%~>|", type) != NULL;
}

static enum reply_event type_take(struct reply_scan *s, uint8_t type)
{
    if (!type_known(type))
        return REPLY_BAD;
    if (s->fresh) {
        reply_begin(s);
        s->push = type == '>';
    }
    s->type = type;
    s->negative = false;
    s->number_bad = false;
    s->number = 0;
    s->line_len = 0;
    s->state = REPLY_LINE;
    return REPLY_MORE;
}

static void text_take(struct reply_scan *s, uint8_t byte)
{
    if (!s->text_closed && s->text_len < REPLY_TEXT_MAX - 1 && byte >= 0x20 && byte < 0x7f)
        s->text[s->text_len++] = (char)byte;
}

static enum reply_event line_take(struct reply_scan *s, uint8_t byte)
{
    if (byte == '\n')
        return line_end(s);
    if (byte == '\r')
        return REPLY_MORE;
    if (s->type == '-')
        text_take(s, byte);
    if (byte == '-' && s->line_len == 0)
        s->negative = true;
    else if (byte >= '0' && byte <= '9' && s->number < UINT64_MAX / 10 - 1)
        s->number = s->number * 10 + (uint64_t)(byte - '0');
    else
        s->number_bad = true;
    s->line_len++;
    return s->line_len > REPLY_LINE_MAX ? REPLY_BAD : REPLY_MORE;
}

static enum reply_event bulk_take(struct reply_scan *s, const uint8_t **at, const uint8_t *end)
{
    uint64_t there = (uint64_t)(end - *at);
    uint64_t n = there < s->bulk_left ? there : s->bulk_left;
    s->bulk_at = s->bulk_len - s->bulk_left;
    s->bytes = slice_of(*at, n);
    if (s->type == '!')
        for (uint64_t i = 0; i < n && i < REPLY_TEXT_MAX; i++)
            text_take(s, (*at)[i]);
    *at += n;
    s->bulk_left -= n;
    if (s->bulk_left == 0) {
        s->state = REPLY_BULK_CR;
        s->text_closed |= s->type == '!';
    }
    return s->want_bytes ? REPLY_BYTES : REPLY_MORE;
}

static enum reply_event step(struct reply_scan *s, const uint8_t **at, const uint8_t *end)
{
    switch (s->state) {
    case REPLY_TYPE:
        return type_take(s, *(*at)++);
    case REPLY_LINE:
        return line_take(s, *(*at)++);
    case REPLY_BULK:
        return bulk_take(s, at, end);
    case REPLY_BULK_CR:
        if (*(*at)++ != '\r')
            return REPLY_BAD;
        s->state = REPLY_BULK_LF;
        return REPLY_MORE;
    case REPLY_BULK_LF:
        return *(*at)++ == '\n' ? element_end(s) : REPLY_BAD;
    }
    return REPLY_BAD;
}

// The two replies that a benchmark sees all the time, whole and in one piece: $n<bulk> and +OK. False: take the long way.
static inline bool scan_fast(struct reply_scan *s, const uint8_t **at, const uint8_t *end)
{
    const uint8_t *p = *at;
    if (end - p < 5)
        return false;
    if (memcmp(p, "+OK\r\n", 5) == 0) {
        reply_begin(s);
        s->fresh = true;
        *at = p + 5;
        return true;
    }
    if (p[0] != '$' || s->want_bytes)
        return false;
    uint64_t len = 0;
    const uint8_t *digits = ++p;
    while (p < end && p < digits + 7 && *p >= '0' && *p <= '9')
        len = len * 10 + (uint64_t)(*p++ - '0');
    if (p == digits || (uint64_t)(end - p) < len + 4 || p[0] != '\r' || p[1] != '\n')
        return false;
    p += 2 + len;
    if (p[0] != '\r' || p[1] != '\n')
        return false;
    reply_begin(s);
    s->fresh = true;
    s->bulks = 1;
    s->bulk_len = len;
    *at = p + 2;
    return true;
}

enum reply_event reply_scan_next(struct reply_scan *s, const uint8_t **at, const uint8_t *end)
{
    if (s->fresh && s->state == REPLY_TYPE && scan_fast(s, at, end))
        return REPLY_DONE;
    while (*at < end) {
        enum reply_event event = step(s, at, end);
        if (event != REPLY_MORE)
            return event;
    }
    return REPLY_MORE;
}
