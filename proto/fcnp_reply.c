// SPDX-License-Identifier: Apache-2.0
// The RESP3 text behind the header was written by proto/reply.c, so its form is asserted, not checked.
#include "proto/fcnp_reply.h"

#include "base/bytes.h"

// One reply taken apart: `text` is the line or the payload, `count` what the header said (-1: null), `next` what follows.
struct part {
    uint8_t mark;
    struct slice text;
    int64_t count;
    const uint8_t *next;
};

static struct part read_part(const uint8_t *at, const uint8_t *end)
{
    struct part part = { .mark = *at };
    const uint8_t *cr = memchr(at, '\r', (size_t)(end - at));
    assert(cr != NULL && end - cr >= 2);
    part.text = slice_of(at + 1, (size_t)(cr - at - 1));
    part.next = cr + 2;
    if (strchr("$=*~>%", part.mark) == NULL)
        return part;
    bool ok = number_parse_i64(part.text, &part.count);
    assert(ok);
    if ((part.mark == '$' || part.mark == '=') && part.count >= 0) {
        assert(end - part.next >= part.count + 2);
        part.text = slice_of(part.next, (size_t)part.count);
        part.next += part.count + 2;
        if (part.mark == '=') // txt:
            part.text = slice_of(part.text.data + 4, part.text.len - 4);
    } else if (part.mark == '%') {
        part.count *= 2;
    }
    return part;
}

static bool is_aggregate(const struct part *part)
{
    return strchr("*~>%", part->mark) != NULL && part->count >= 0;
}

static bool is_null(const struct part *part)
{
    return part->mark == '_' || part->count < 0;
}

// Behind a whole reply with all that it holds. A counter instead of recursion: depth costs no stack.
static const uint8_t *skip_reply(const uint8_t *at, const uint8_t *end)
{
    for (uint64_t left = 1; left > 0; left--) {
        struct part part = read_part(at, end);
        if (is_aggregate(&part))
            left += (uint64_t)part.count;
        at = part.next;
    }
    return at;
}

static void put_header(struct buf *b, size_t mark, uint8_t status)
{
    size_t len = b->len - mark - FCNP_HEADER;
    assert(len <= UINT32_MAX);
    fcnp_reply_header(b->data + mark, status, (uint32_t)len);
}

// The body is `body`, which may lie anywhere in the buffer behind the header.
static void put_body(struct buf *b, size_t mark, uint8_t status, struct slice body)
{
    if (body.len > 0)
        memmove(b->data + mark + FCNP_HEADER, body.data, body.len);
    b->len = mark + FCNP_HEADER + body.len;
    put_header(b, mark, status);
}

// The body is a number; the reply that said so was at least 4 bytes, so there may be room to make.
static void put_number(struct buf *b, size_t mark, uint8_t status, uint64_t bits)
{
    b->len = mark + FCNP_HEADER;
    buf_append(b, &bits, sizeof bits);
    if (!b->failed)
        put_header(b, mark, status);
}

static void put_item(struct buf *to, const uint8_t *at, const uint8_t *next, const struct part *part)
{
    struct slice bytes = part->text;
    if (is_aggregate(part))
        bytes = slice_of(at, (size_t)(next - at));
    else if (part->mark == '#')
        bytes = slice_cstr(bytes.data[0] == 't' ? "1" : "0");
    uint32_t len = is_null(part) ? FCNP_NULL_ITEM : (uint32_t)bytes.len;
    buf_append(to, &len, sizeof len);
    if (!is_null(part))
        buf_append_slice(to, bytes);
}

// Items may become longer than their RESP3 text: built aside, then put in place.
static void put_array(struct buf *b, size_t mark, const struct part *array)
{
    struct buf body;
    buf_init(&body, b->limit < UINT32_MAX ? b->limit : UINT32_MAX);
    uint32_t count = (uint32_t)array->count;
    buf_append(&body, &count, sizeof count);
    const uint8_t *at = array->next, *end = b->data + b->len;
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *next = skip_reply(at, end);
        struct part part = read_part(at, end);
        put_item(&body, at, next, &part);
        at = next;
    }
    assert(at == end);
    b->len = mark + FCNP_HEADER;
    b->failed = body.failed;
    if (!b->failed)
        buf_append_slice(b, buf_view(&body));
    if (!b->failed)
        put_header(b, mark, FCNP_ARRAY);
    buf_deinit(&body);
}

static void put_integer(struct buf *b, size_t mark, struct slice text, uint8_t shape)
{
    int64_t value;
    bool ok = number_parse_i64(text, &value);
    assert(ok);
    if (shape == FCNP_SECONDS && value > 0)
        value = value / 1000 + (value % 1000 != 0);
    put_number(b, mark, FCNP_INTEGER, (uint64_t)value);
}

static void put_double(struct buf *b, size_t mark, struct slice text)
{
    double value = __builtin_nan("");
    uint64_t bits;
    if (!number_parse_double(text, &value))
        assert(slice_is(text, "nan"));
    memcpy(&bits, &value, sizeof bits);
    put_number(b, mark, FCNP_FLOAT, bits);
}

// The reply of a hit that ends the buffer.
static void put_bulk(struct buf *b, size_t mark, const uint8_t *at, const uint8_t *end)
{
    while (*at != '\n')
        at++;
    put_body(b, mark, FCNP_VALUE, slice_of(at + 1, (size_t)(end - at) - 3));
}

static void put_reply(struct buf *b, size_t mark, uint8_t shape)
{
    const uint8_t *at = b->data + mark + FCNP_HEADER, *end = b->data + b->len;
    if (likely(at[0] == '$' && at[1] != '-')) {
        put_bulk(b, mark, at, end);
        return;
    }
    struct part part = read_part(at, end);
    if (is_null(&part)) {
        put_body(b, mark, FCNP_NULL, slice_of(NULL, 0));
        return;
    }
    if (is_aggregate(&part)) {
        put_array(b, mark, &part);
        return;
    }
    assert(part.next == end);
    switch (part.mark) {
    case '+':
        if (slice_is(part.text, "ok") || slice_is(part.text, "pong"))
            part.text.len = 0;
        put_body(b, mark, part.text.len == 0 ? FCNP_OK : FCNP_VALUE, part.text);
        break;
    case '-':
        put_body(b, mark, FCNP_ERROR, part.text);
        break;
    case ':':
        put_integer(b, mark, part.text, shape);
        break;
    case ',':
        put_double(b, mark, part.text);
        break;
    case '#':
        put_body(b, mark, FCNP_BOOLEAN, slice_of(part.text.data[0] == 't' ? "\1" : "\0", 1));
        break;
    default:
        put_body(b, mark, FCNP_VALUE, part.text);
        break;
    }
}

void fcnp_reply_finish(struct reply *r, size_t mark, uint8_t shape)
{
    struct buf *b = r->out;
    r->protocol = PROTOCOL_FCNP;
    if (!b->failed && b->len > mark + FCNP_HEADER) {
        if (b->len - mark - FCNP_HEADER > UINT32_MAX)
            put_body(b, mark, FCNP_ERROR, slice_cstr("ERR FCNP reply too large"));
        else if (shape == FCNP_RESP2)
            put_header(b, mark, FCNP_VALUE);
        else
            put_reply(b, mark, shape);
        if (!b->failed)
            return;
    }
    if (b->len > mark)
        b->len = mark;
}
