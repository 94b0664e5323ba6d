// SPDX-License-Identifier: Apache-2.0
// The pieces of a RESP2 reply, which is what a command (opcode 200) answers with.
#include <skerry/client.h>
#include <string.h>

// Reads "[-]digits" of a whole line; 0, or -1 when it is none or does not fit.
static int read_number(const char *text, size_t length, int64_t *number)
{
    int sign = length > 0 && text[0] == '-' ? -1 : 1;
    size_t at = sign < 0 ? 1u : 0u;
    int64_t sum = 0;
    if (at == length)
        return -1;
    for (; at < length; at++) {
        if (text[at] < '0' || text[at] > '9')
            return -1;
        if (__builtin_mul_overflow(sum, 10, &sum) || __builtin_add_overflow(sum, sign * (text[at] - '0'), &sum))
            return -1;
    }
    *number = sum;
    return 0;
}

int skerry_client_resp_next(struct skerry_client_bytes resp, size_t *cursor, struct skerry_client_resp *piece)
{
    if (*cursor >= resp.length)
        return 0;
    const char *start = (const char *)resp.data + *cursor, *end = (const char *)resp.data + resp.length;
    const char *line_end = start;
    do
        line_end = memchr(line_end + 1, '\r', (size_t)(end - line_end - 1));
    while (line_end != NULL && (line_end + 1 == end || line_end[1] != '\n') && line_end + 1 < end);
    if (line_end == NULL || line_end + 1 == end)
        return -1;
    const char *rest = start + 1, *next = line_end + 2;
    size_t rest_length = (size_t)(line_end - rest);
    *piece = (struct skerry_client_resp){ .type = *start };
    switch (*start) {
    case '+':
    case '-':
        piece->bytes = (struct skerry_client_bytes){ rest, rest_length };
        break;
    case ':':
        if (read_number(rest, rest_length, &piece->integer) != 0)
            return -1;
        break;
    case '*':
        if (read_number(rest, rest_length, &piece->integer) != 0 || piece->integer < -1)
            return -1;
        break;
    case '$': {
        int64_t length;
        if (read_number(rest, rest_length, &length) != 0 || length < -1)
            return -1;
        if (length == -1)
            break;
        if (length > end - next - 2 || memcmp(next + length, "\r\n", 2) != 0)
            return -1;
        piece->bytes = (struct skerry_client_bytes){ next, (size_t)length };
        next += length + 2;
        break;
    }
    default:
        return -1;
    }
    *cursor = (size_t)(next - (const char *)resp.data);
    return 1;
}
