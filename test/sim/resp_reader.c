// SPDX-License-Identifier: Apache-2.0
#include "test/sim/resp_reader.h"

#include <string.h>

// Length of the line at `at` without its CR LF; -1: not complete, -2: no proper line.
static long line_length(struct slice in, size_t at)
{
    const uint8_t *end = memchr(in.data + at, '\r', in.len - at);
    if (end == NULL)
        return in.len - at > 4096 ? -2 : -1;
    size_t len = (size_t)(end - in.data) - at;
    if (at + len + 1 >= in.len)
        return -1;
    return end[1] == '\n' ? (long)len : -2;
}

static bool parse_number(struct slice s, int64_t *out)
{
    bool negative = s.len > 0 && s.data[0] == '-';
    uint64_t value = 0;
    size_t i = negative ? 1 : 0;
    if (i == s.len || s.len - i > 19)
        return false;
    for (; i < s.len; i++) {
        if (s.data[i] < '0' || s.data[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(s.data[i] - '0');
    }
    *out = negative ? (int64_t)(0 - value) : (int64_t)value;
    return true;
}

static bool is_string(char mark)
{
    return mark == '$' || mark == '=' || mark == '!';
}

static bool is_aggregate(char mark)
{
    return mark == '*' || mark == '~' || mark == '>' || mark == '%';
}

static bool is_line(char mark)
{
    return mark != '\0' && strchr("+-:_#,(", mark) != NULL;
}

long reader_length(struct slice in)
{
    size_t at = 0;
    uint64_t left = 1;
    while (left > 0) {
        if (at >= in.len)
            return READER_PARTIAL;
        char mark = (char)in.data[at];
        if (!is_string(mark) && !is_aggregate(mark) && !is_line(mark))
            return READER_BAD;
        long line = line_length(in, at + 1);
        if (line < 0)
            return line == -1 ? READER_PARTIAL : READER_BAD;
        int64_t number = 0;
        if (!is_line(mark) && !parse_number(slice_of(in.data + at + 1, (size_t)line), &number))
            return READER_BAD;
        at += (size_t)line + 3;
        left--;
        if (is_string(mark) && number >= 0) {
            at += (size_t)number + 2;
            if (at > in.len)
                return READER_PARTIAL;
            if (in.data[at - 2] != '\r' || in.data[at - 1] != '\n')
                return READER_BAD;
        }
        if (is_aggregate(mark) && number > 0)
            left += (uint64_t)number * (mark == '%' ? 2 : 1);
    }
    return (long)at;
}

struct reader reader_open(struct slice in)
{
    struct reader r = { .mark = (char)in.data[0] };
    size_t line = (size_t)line_length(in, 1);
    r.body = slice_of(in.data + 1, line);
    r.used = line + 3;
    if (r.mark == ':' || is_string(r.mark) || is_aggregate(r.mark))
        (void)parse_number(r.body, &r.number);
    if (r.mark == '%')
        r.number *= 2;
    if (is_string(r.mark) && r.number >= 0) {
        r.body = slice_of(in.data + r.used, (size_t)r.number);
        r.used += (size_t)r.number + 2;
    }
    return r;
}

bool reader_is_null(const struct reader *r)
{
    return r->mark == '_' || ((is_string(r->mark) || r->mark == '*') && r->number < 0);
}

bool reader_is_string(const struct reader *r)
{
    return r->mark == '$' && r->number >= 0;
}
