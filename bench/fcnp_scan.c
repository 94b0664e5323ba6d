// SPDX-License-Identifier: Apache-2.0
#include "bench/fcnp_scan.h"

#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"

enum { STATUS_OK, STATUS_NULL, STATUS_ERROR, STATUS_INTEGER, STATUS_VALUE, STATUS_BOOLEAN, STATUS_ARRAY, STATUS_FLOAT };

#define HEADER    8
#define NULL_ITEM UINT32_MAX

static enum reply_event frame_end(struct reply_scan *s)
{
    s->state = REPLY_TYPE;
    s->fresh = true;
    s->frame_len = 0;
    s->text_closed |= s->error;
    return REPLY_DONE;
}

// True when a body of this length can follow that status.
static bool body_fits(uint8_t status, uint32_t len)
{
    switch (status) {
    case STATUS_OK:
    case STATUS_NULL:
        return len == 0;
    case STATUS_INTEGER:
    case STATUS_FLOAT:
        return len == 8;
    case STATUS_BOOLEAN:
        return len == 1;
    case STATUS_ARRAY:
        return len >= 4;
    case STATUS_ERROR:
    case STATUS_VALUE:
        return true;
    default:
        return false;
    }
}

static void bulk_begin(struct reply_scan *s, uint64_t len)
{
    s->bulks++;
    s->bulk_len = len;
    s->bulk_left = len;
    s->state = REPLY_BULK;
}

// `frame` holds the eight bytes of a header.
static bool header_take(struct reply_scan *s, const uint8_t *frame)
{
    uint32_t len = load_u32(frame + 4);
    if (frame[0] != 0xFB || frame[1] != 2 || frame[3] != 0 || !body_fits(frame[2], len))
        return false;
    s->fresh = false;
    s->type = frame[2];
    s->error = s->type == STATUS_ERROR;
    s->null = s->type == STATUS_NULL;
    s->bulks = 0;
    s->missing = len;
    s->frame_len = 0;
    s->state = REPLY_LINE;
    if (s->type != STATUS_ARRAY)
        bulk_begin(s, len);
    if (s->type != STATUS_VALUE && s->type != STATUS_ARRAY)
        s->bulks = 0;
    return true;
}

// Gathers `want` bytes that a cut may have parted.
static bool gather(struct reply_scan *s, const uint8_t **at, const uint8_t *end, uint32_t want)
{
    while (s->frame_len < want && *at < end)
        s->frame[s->frame_len++] = *(*at)++;
    return s->frame_len == want;
}

// Within an Array: its count, then each item's length. Everything lies within the frame's body, or it is bad.
static enum reply_event array_step(struct reply_scan *s, const uint8_t **at, const uint8_t *end)
{
    if (s->missing == 0)
        return s->bulks == s->number ? frame_end(s) : REPLY_BAD;
    if (s->missing < 4)
        return REPLY_BAD;
    if (!gather(s, at, end, 4))
        return REPLY_MORE;
    uint32_t number = load_u32(s->frame);
    s->frame_len = 0;
    s->missing -= 4;
    if (!s->counted) {
        s->counted = true;
        s->number = number;
        return s->missing == 0 && number > 0 ? REPLY_BAD : REPLY_MORE;
    }
    if (s->bulks == s->number)
        return REPLY_BAD;
    if (number == NULL_ITEM) {
        s->null = true;
        s->bulks++;
        return REPLY_MORE;
    }
    if (number > s->missing)
        return REPLY_BAD;
    s->missing -= number;
    bulk_begin(s, number);
    return REPLY_MORE;
}

static void text_take(struct reply_scan *s, const uint8_t *bytes, uint64_t len)
{
    for (uint64_t i = 0; i < len && !s->text_closed && s->text_len < REPLY_TEXT_MAX - 1; i++)
        if (bytes[i] >= 0x20 && bytes[i] < 0x7f)
            s->text[s->text_len++] = (char)bytes[i];
}

static enum reply_event bulk_take(struct reply_scan *s, const uint8_t **at, const uint8_t *end)
{
    uint64_t there = (uint64_t)(end - *at);
    uint64_t n = there < s->bulk_left ? there : s->bulk_left;
    bool shows = s->want_bytes && n > 0 && (s->type == STATUS_VALUE || s->type == STATUS_ARRAY);
    s->bulk_at = s->bulk_len - s->bulk_left;
    s->bytes = slice_of(*at, n);
    if (s->type == STATUS_ERROR)
        text_take(s, *at, n);
    *at += n;
    s->bulk_left -= n;
    // With bytes to show, the end of the frame is told by the next call, which needs none.
    if (shows)
        return REPLY_BYTES;
    if (s->bulk_left > 0)
        return REPLY_MORE;
    s->state = REPLY_LINE;
    return s->type == STATUS_ARRAY ? REPLY_MORE : frame_end(s);
}

static bool at_an_end(const struct reply_scan *s)
{
    if (s->state == REPLY_BULK)
        return s->bulk_left == 0;
    return s->state == REPLY_LINE && s->type == STATUS_ARRAY && s->missing == 0;
}

static enum reply_event step(struct reply_scan *s, const uint8_t **at, const uint8_t *end)
{
    if (s->state == REPLY_BULK)
        return bulk_take(s, at, end);
    if (s->state == REPLY_LINE)
        return array_step(s, at, end);
    if (!gather(s, at, end, HEADER))
        return s->frame[0] == 0xFB ? REPLY_MORE : REPLY_BAD;
    s->counted = false;
    return header_take(s, s->frame) ? REPLY_MORE : REPLY_BAD;
}

// What a benchmark sees all the time: a whole frame in one piece, whose bytes nobody asks for.
static inline bool scan_fast(struct reply_scan *s, const uint8_t **at, const uint8_t *end)
{
    const uint8_t *p = *at;
    if (end - p < HEADER || p[0] != 0xFB || p[1] != 2 || p[3] != 0 || (p[2] != STATUS_VALUE && p[2] != STATUS_OK) || s->want_bytes)
        return false;
    uint32_t len = load_u32(p + 4);
    if ((uint64_t)(end - p) - HEADER < len || !body_fits(p[2], len))
        return false;
    s->error = s->null = false;
    s->bulks = p[2] == STATUS_VALUE;
    s->bulk_len = len;
    *at = p + HEADER + len;
    return true;
}

enum reply_event fcnp_scan_next(struct reply_scan *s, const uint8_t **at, const uint8_t *end)
{
    if (s->fresh && s->frame_len == 0 && scan_fast(s, at, end))
        return REPLY_DONE;
    while (*at < end || at_an_end(s)) {
        enum reply_event event = step(s, at, end);
        if (event != REPLY_MORE)
            return event;
    }
    return REPLY_MORE;
}
