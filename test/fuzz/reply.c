// SPDX-License-Identifier: Apache-2.0
// Replies: any sequence of writer calls yields text that a plain RESP reader takes apart again, in both protocols, or, when the
// buffer's limit is hit, the whole replies before it and nothing else.
//
//   byte 0: bit 0 RESP3, bits 1-7 buffer limit (0 = none, else x 8 bytes); then one byte per call, with its operands behind it
#include <math.h>
#include <stdlib.h>

#include "proto/reply.h"

struct input {
    const uint8_t *at, *end;
};

static uint64_t take(struct input *in, size_t bytes)
{
    uint64_t value = 0;
    for (; bytes > 0 && in->at < in->end; bytes--)
        value = value << 8 | *in->at++;
    return value;
}

static struct slice take_text(struct input *in)
{
    size_t len = take(in, 1), left = (size_t)(in->end - in->at);
    if (len > 200)
        len *= 5;
    len = len < left ? len : left;
    struct slice s = slice_of(in->at, len);
    in->at += len;
    return s;
}

static double take_double(struct input *in)
{
    uint64_t bits = take(in, 8);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

// One reply that is not an aggregate.
static void write_scalar(struct reply *r, struct input *in)
{
    char text[64] = { 0 };
    struct slice s;
    switch (take(in, 1) % 14) {
    case 0:
        reply_ok(r);
        break;
    case 1:
        reply_simple(r, "PONG");
        break;
    case 2:
        reply_queued(r);
        break;
    case 3:
        reply_null(r);
        break;
    case 4:
        reply_null_array(r);
        break;
    case 5:
        reply_integer(r, (int64_t)take(in, 8));
        break;
    case 6:
        reply_integer(r, (int64_t)take(in, 1) - 128);
        break;
    case 7:
        reply_bulk(r, take_text(in));
        break;
    case 8:
        reply_bulk_integer(r, (int64_t)take(in, 8));
        break;
    case 9:
        reply_double(r, take_double(in));
        break;
    case 10:
        reply_boolean(r, take(in, 1) & 1);
        break;
    case 11:
        reply_verbatim(r, "txt", take_text(in));
        break;
    case 12:
        s = take_text(in);
        memcpy(text, s.data, s.len < 63 ? s.len : 63);
        reply_error(r, text);
        break;
    default:
        s = take_text(in);
        memcpy(text, s.data, s.len < 63 ? s.len : 63);
        reply_error_format(r, "ERR %s %c", text, (int)take(in, 1));
        break;
    }
}

static void write_reply(struct reply *r, struct input *in, int depth)
{
    uint64_t kind = take(in, 1) % 16, count = take(in, 1) % 5;
    if (kind < 10 || depth == 4) {
        write_scalar(r, in);
        return;
    }
    size_t mark = 0;
    switch (kind) {
    case 10:
        reply_array(r, count);
        break;
    case 11:
        reply_set(r, count);
        break;
    case 12:
        reply_push(r, count);
        break;
    case 13:
        reply_map(r, count);
        break;
    default:
        mark = reply_array_later(r);
        break;
    }
    for (uint64_t i = 0; i < (kind == 13 ? count * 2 : count); i++)
        write_reply(r, in, depth + 1);
    if (kind >= 14)
        reply_array_set(r, mark, count);
}

static const uint8_t *read_line(const uint8_t *at, const uint8_t *end, struct slice *line)
{
    const uint8_t *cr = memchr(at, '\r', (size_t)(end - at));
    assert(cr != NULL && cr + 1 < end && cr[1] == '\n' && memchr(at, '\n', (size_t)(cr - at)) == NULL);
    *line = slice_of(at, (size_t)(cr - at));
    return cr + 2;
}

// Behind one whole reply.
static const uint8_t *read_reply(const uint8_t *at, const uint8_t *end, bool resp3)
{
    assert(at < end);
    uint8_t mark = *at;
    struct slice line;
    int64_t number = 0;
    double value;
    at = read_line(at + 1, end, &line);
    switch (mark) {
    case '+':
    case '-':
        return at;
    case ':':
        assert(number_parse_i64(line, &number));
        return at;
    case '_':
        assert(resp3 && line.len == 0);
        return at;
    case '#':
        assert(resp3 && line.len == 1);
        return at;
    case ',':
        assert(resp3 && (number_parse_double(line, &value) || slice_is(line, "nan") || slice_is(line, "-nan")));
        return at;
    case '$':
    case '=':
        assert(number_parse_i64(line, &number));
        if (number < 0) {
            assert(!resp3 && mark == '$' && number == -1);
            return at;
        }
        assert(end - at >= number + 2 && at[number] == '\r' && at[number + 1] == '\n');
        return at + number + 2;
    case '*':
    case '~':
    case '>':
    case '%':
        assert(resp3 || mark == '*');
        assert(number_parse_i64(line, &number));
        for (int64_t i = 0; i < (mark == '%' ? number * 2 : number); i++)
            at = read_reply(at, end, resp3);
        return at;
    default:
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    bool resp3 = data[0] & 1;
    struct input in = { data + 1, data + size };
    uint8_t memory[32];
    struct buf out;
    buf_init_borrowed(&out, memory, sizeof memory, data[0] >> 1 == 0 ? BUF_NO_LIMIT : 32 + (size_t)(data[0] >> 1) * 8);
    struct reply r = { .out = &out, .protocol = resp3 ? PROTOCOL_RESP3 : PROTOCOL_RESP2 };
    size_t whole = 0; // where the last reply that fitted ends
    while (in.at < in.end) {
        write_reply(&r, &in, 0);
        if (!out.failed)
            whole = out.len;
        assert(out.len <= out.limit);
    }
    const uint8_t *at = out.data, *end = out.data + whole;
    while (at < end)
        at = read_reply(at, end, resp3);
    assert(at == end);
    buf_deinit(&out);
    return 0;
}
