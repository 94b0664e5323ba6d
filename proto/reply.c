// SPDX-License-Identifier: Apache-2.0
#include "proto/reply.h"

#include <stdarg.h>
#include <stdio.h>

const char REPLY_WRONGTYPE[] = "WRONGTYPE Operation against a key holding the wrong kind of value";
const char REPLY_SYNTAX[] = "ERR syntax error";
const char REPLY_NOT_INTEGER[] = "ERR value is not an integer or out of range";
const char REPLY_NOT_FLOAT[] = "ERR value is not a valid float";
const char REPLY_OUT_OF_RANGE[] = "ERR index out of range";
const char REPLY_NO_KEY[] = "ERR no such key";
const char REPLY_OUT_OF_MEMORY[] = "OOM command not allowed when used memory > 'maxmemory'.";
const char REPLY_STRING_TOO_LONG[] = "ERR string exceeds maximum allowed size (proto-max-bulk-len)";

// A mark, some text, CR LF: the shape of every one-line reply. Appended whole or not at all.
static void put_line(struct reply *r, char mark, const char *text, size_t len)
{
    uint8_t *to = buf_reserve(r->out, len + 3);
    if (to == NULL)
        return;
    to[0] = (uint8_t)mark;
    memcpy(to + 1, text, len);
    memcpy(to + 1 + len, "\r\n", 2);
    buf_advance(r->out, len + 3);
}

void reply_simple(struct reply *r, const char *text)
{
    put_line(r, '+', text, strlen(text));
}

void reply_queued(struct reply *r)
{
    put_line(r, '+', "QUEUED", 6);
}

void reply_null_array(struct reply *r)
{
    if (r->protocol >= PROTOCOL_RESP3)
        reply_null(r);
    else
        buf_append(r->out, "*-1\r\n", 5);
}

void reply_bulk_cstr(struct reply *r, const char *text)
{
    reply_bulk(r, slice_cstr(text));
}

void reply_bulk_format(struct reply *r, const char *format, ...)
{
    char text[256];
    char *grown = NULL;
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int len = vsnprintf(text, sizeof text, format, args);
    assert(len >= 0);
    if ((size_t)len >= sizeof text && vasprintf(&grown, format, again) < 0) {
        r->out->failed = true;
        len = 0;
    }
    reply_bulk(r, slice_of(grown != NULL ? grown : text, (size_t)len));
    free(grown);
    va_end(again);
    va_end(args);
}

void reply_bulk_integer(struct reply *r, int64_t value)
{
    char text[NUMBER_TEXT_MAX];
    reply_bulk(r, slice_of(text, number_format_i64(text, value)));
}

void reply_map(struct reply *r, uint64_t pairs)
{
    if (r->protocol >= PROTOCOL_RESP3)
        reply_put_count(r, '%', pairs);
    else
        reply_array(r, pairs * 2);
}

void reply_set(struct reply *r, uint64_t count)
{
    reply_put_count(r, r->protocol >= PROTOCOL_RESP3 ? '~' : '*', count);
}

void reply_push(struct reply *r, uint64_t count)
{
    reply_put_count(r, r->protocol >= PROTOCOL_RESP3 ? '>' : '*', count);
}

void reply_double(struct reply *r, double value)
{
    char text[NUMBER_TEXT_MAX];
    size_t len = number_format_double(text, sizeof text, value);
    if (r->protocol >= PROTOCOL_RESP3)
        put_line(r, ',', text, len);
    else
        reply_bulk(r, slice_of(text, len));
}

void reply_boolean(struct reply *r, bool value)
{
    if (r->protocol >= PROTOCOL_RESP3)
        put_line(r, '#', value ? "t" : "f", 1);
    else
        reply_integer(r, value);
}

void reply_big_number(struct reply *r, struct slice digits)
{
    if (r->protocol >= PROTOCOL_RESP3)
        put_line(r, '(', (const char *)digits.data, digits.len);
    else
        reply_bulk(r, digits);
}

void reply_verbatim(struct reply *r, const char *three_letters, struct slice text)
{
    if (r->protocol < PROTOCOL_RESP3) {
        reply_bulk(r, text);
        return;
    }
    uint8_t *start = buf_reserve(r->out, REPLY_HEADER_MAX + 4 + text.len + 2);
    if (start == NULL)
        return;
    uint8_t *to = reply_put_header(start, '=', text.len + 4);
    memcpy(to, three_letters, 3);
    to[3] = ':';
    to += 4;
    if (text.len > 0)
        memcpy(to, text.data, text.len);
    memcpy(to + text.len, "\r\n", 2);
    buf_advance(r->out, (size_t)(to - start) + text.len + 2);
}

void reply_raw(struct reply *r, struct slice bytes)
{
    buf_append_slice(r->out, bytes);
}

size_t reply_array_later(struct reply *r)
{
    return r->out->len;
}

void reply_array_set(struct reply *r, size_t mark, uint64_t count)
{
    assert(mark <= r->out->len);
    if (buf_reserve(r->out, REPLY_HEADER_MAX) == NULL)
        return;
    uint8_t header[REPLY_HEADER_MAX];
    size_t len = (size_t)(reply_put_header(header, '*', count) - header);
    uint8_t *at = r->out->data + mark;
    memmove(at + len, at, r->out->len - mark);
    memcpy(at, header, len);
    buf_advance(r->out, len);
}

// A line ends at its CR LF: an error that quotes a client's bytes must not be able to end it earlier.
static void put_error(struct reply *r, char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\r' || text[i] == '\n' || text[i] == '\0')
            text[i] = ' ';
    }
    const char *space = memchr(text, ' ', len);
    size_t code = space != NULL ? (size_t)(space - text) : len;
    if (code >= sizeof r->error_code)
        code = sizeof r->error_code - 1;
    memcpy(r->error_code, text, code);
    r->error_code[code] = '\0';
    r->errors++;
    put_line(r, '-', text, len);
}

void reply_error(struct reply *r, const char *text)
{
    reply_error_format(r, "%s", text);
}

void reply_error_format(struct reply *r, const char *format, ...)
{
    char text[512]; // longer texts only quote more of the client's arguments: cut
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    assert(len >= 0);
    put_error(r, text, (size_t)len < sizeof text ? (size_t)len : sizeof text - 1);
}
