// SPDX-License-Identifier: Apache-2.0
#include "proto/http.h"

#include <string.h>

// Bytes of the head with its empty line; 0: it has not ended.
static size_t head_length(struct slice in)
{
    for (size_t at = 0; at < in.len; at++) {
        if (in.data[at] != '\n')
            continue;
        size_t next = at + 1;
        if (next < in.len && in.data[next] == '\r')
            next++;
        if (next < in.len && in.data[next] == '\n')
            return next + 1;
    }
    return 0;
}

static struct slice take_word(struct slice *line)
{
    const uint8_t *space = line->len == 0 ? NULL : memchr(line->data, ' ', line->len);
    size_t len = space == NULL ? line->len : (size_t)(space - line->data);
    struct slice word = slice_of(line->data, len);
    size_t used = space == NULL ? len : len + 1;
    *line = slice_of(line->data + used, line->len - used);
    return word;
}

// A token is letters for every method that exists.
static bool is_method(struct slice word)
{
    for (size_t i = 0; i < word.len; i++)
        if (word.data[i] < 'A' || word.data[i] > 'Z')
            return false;
    return word.len > 0 && word.len <= 16;
}

static bool is_printable(struct slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] <= ' ' || text.data[i] > '~')
            return false;
    return text.len > 0;
}

static int check_version(struct slice version)
{
    static const char PREFIX[] = "HTTP/";
    if (version.len != 8 || memcmp(version.data, PREFIX, 5) != 0 || version.data[6] != '.')
        return 400;
    return version.data[5] == '1' ? 0 : 505;
}

static int parse_line(struct slice line, struct http_request *out)
{
    out->method = take_word(&line);
    out->path = take_word(&line);
    struct slice version = take_word(&line);
    if (!is_method(out->method) || !is_printable(out->path) || line.len > 0)
        return 400;
    const uint8_t *query = memchr(out->path.data, '?', out->path.len);
    if (query != NULL)
        out->path.len = (size_t)(query - out->path.data);
    return check_version(version);
}

enum http_result http_parse(struct slice in, struct http_request *out)
{
    *out = (struct http_request){ .status = 0 };
    const uint8_t *end = in.len == 0 ? NULL : memchr(in.data, '\n', in.len);
    size_t head = head_length(in);
    if ((head == 0 && in.len > HTTP_HEAD_MAX) || head > HTTP_HEAD_MAX) {
        out->status = 431;
        return HTTP_READY;
    }
    if (end == NULL)
        return HTTP_PARTIAL;
    size_t len = (size_t)(end - in.data);
    if (len > 0 && in.data[len - 1] == '\r')
        len--;
    out->status = parse_line(slice_of(in.data, len), out);
    return head > 0 || out->status != 0 ? HTTP_READY : HTTP_PARTIAL;
}

static const char *reason_of(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 431:
        return "Request Header Fields Too Large";
    case 503:
        return "Service Unavailable";
    case 505:
        return "HTTP Version Not Supported";
    default:
        return "Bad Request";
    }
}

void http_answer(struct buf *out, int status, const char *type, struct slice body)
{
    buf_format(out, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n", status, reason_of(status), type, body.len);
    if (status == 405)
        buf_append_slice(out, slice_cstr("Allow: GET\r\n"));
    buf_append_slice(out, slice_cstr("Connection: close\r\n\r\n"));
    buf_append_slice(out, body);
}
