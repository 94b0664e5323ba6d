// SPDX-License-Identifier: Apache-2.0
#include "replica/export.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "persist/fcw2.h"

static uint64_t frame_len(const uint8_t *frame)
{
    return FCW2_HEAD + (uint64_t)load_u32(frame + 5) + FCW2_CRC;
}

struct export_block *export_block_free(struct export_block *b)
{
    free(b);
    return NULL;
}

static void unref(struct export_block *b)
{
    assert(b->refs > 0);
    if (--b->refs == 0)
        export_block_free(b);
}

// ---- the queue

void export_queue_init(struct export_queue *q, uint64_t capacity, bool keep)
{
    assert(capacity > 0);
    *q = (struct export_queue){ .capacity = capacity, .keep = keep };
    list_init(&q->cursors);
}

void export_queue_deinit(struct export_queue *q)
{
    assert(list_empty(&q->cursors));
    for (struct export_block *b = q->head, *next; b != NULL; b = next) {
        next = b->next;
        unref(b);
    }
    q->head = q->tail = NULL;
    q->frames = q->bytes = 0;
}

// Frames of the cursor's block from its place on, as far as it wants them.
static uint64_t frames_left(const struct export_cursor *c)
{
    uint64_t count = 0;
    for (uint64_t at = c->at; at < c->block->len; at += frame_len(c->block->bytes + at))
        count += c->effects || c->block->bytes[at + 4] != FCW2_EFFECT;
    return count;
}

static void move_on(struct export_cursor *c)
{
    c->block = c->block->next;
    c->at = 0;
}

// The oldest block goes; returns how many frames somebody lost.
static uint64_t drop_head(struct export_queue *q)
{
    struct export_block *b = q->head;
    uint64_t lost = 0;
    list_for_each (node, &q->cursors) {
        struct export_cursor *c = container_of(node, struct export_cursor, link);
        if (c->block != b)
            continue;
        uint64_t frames = frames_left(c);
        c->dropped += frames;
        lost += frames;
        move_on(c);
    }
    q->head = b->next;
    if (q->head == NULL)
        q->tail = NULL;
    q->frames -= b->frames;
    q->bytes -= b->len;
    unref(b);
    return lost;
}

static bool is_needed(const struct export_queue *q, const struct export_block *b)
{
    list_for_each (node, &q->cursors)
        if (container_of(node, struct export_cursor, link)->block == b)
            return true;
    return false;
}

// What everybody has seen goes.
static void trim(struct export_queue *q)
{
    while (q->head != NULL && !is_needed(q, q->head))
        (void)drop_head(q);
}

uint64_t export_queue_push(struct export_queue *q, struct export_block *b)
{
    assert(b->next == NULL && b->refs == 1);
    uint64_t factor = q->keep ? 2 : 1, lost = 0;
    while (q->head != NULL && (q->frames + b->frames > q->capacity * factor || q->bytes + b->len > EXPORT_BYTES_MAX * factor))
        lost += drop_head(q);
    if (q->tail != NULL)
        q->tail->next = b;
    else
        q->head = b;
    q->tail = b;
    q->frames += b->frames;
    q->bytes += b->len;
    list_for_each (node, &q->cursors) {
        struct export_cursor *c = container_of(node, struct export_cursor, link);
        if (c->block == NULL) {
            c->block = b;
            c->at = 0;
        }
    }
    trim(q); // at once if nobody listens
    return lost;
}

void export_cursor_join(struct export_queue *q, struct export_cursor *c, bool effects)
{
    *c = (struct export_cursor){ .effects = effects };
    list_append(&q->cursors, &c->link);
}

void export_cursor_leave(struct export_queue *q, struct export_cursor *c)
{
    list_remove(&c->link);
    c->block = NULL;
    trim(q);
}

// ---- sending

// Whether another run fits behind what the set holds.
static bool has_room(const struct export_set *s, uint64_t total, uint64_t more)
{
    return s->count < EXPORT_PIECES && (total == 0 || total + more <= EXPORT_SEND_MAX);
}

// The run of wanted frames at the cursor's place, no longer than fits behind `total` bytes; the cursor moves behind it. 0: none.
static uint64_t take_run(struct export_set *s, struct export_cursor *c, uint64_t total)
{
    struct export_block *b = c->block;
    while (c->at < b->len && b->bytes[c->at + 4] == FCW2_EFFECT && !c->effects)
        c->at += frame_len(b->bytes + c->at);
    uint64_t from = c->at;
    while (c->at < b->len && (c->effects || b->bytes[c->at + 4] != FCW2_EFFECT)) {
        uint64_t len = frame_len(b->bytes + c->at);
        if (!has_room(s, total + (c->at - from), len))
            break;
        c->at += len;
    }
    if (c->at == from)
        return 0;
    b->refs++;
    s->pieces[s->count].block = b;
    s->pieces[s->count].data = b->bytes + from;
    s->pieces[s->count].len = c->at - from;
    s->count++;
    return c->at - from;
}

bool export_set_fill(struct export_set *s, struct export_queue *q, struct export_cursor *c)
{
    if (s->count > 0)
        return true;
    uint64_t total = 0;
    while (c->block != NULL) {
        uint64_t run = take_run(s, c, total);
        total += run;
        if (c->at == c->block->len)
            move_on(c);
        else if (run == 0)
            break; // no room
    }
    trim(q);
    return s->count > 0;
}

uint32_t export_set_view(const struct export_set *s, struct iovec out[EXPORT_PIECES])
{
    for (uint32_t i = 0; i < s->count; i++) {
        uint64_t skip = i == 0 ? s->sent : 0;
        out[i].iov_base = (void *)(uintptr_t)(s->pieces[i].data + skip); // an iovec has no const; a send only reads
        out[i].iov_len = s->pieces[i].len - skip;
    }
    return s->count;
}

static void drop_first(struct export_set *s)
{
    unref(s->pieces[0].block);
    s->count--;
    memmove(&s->pieces[0], &s->pieces[1], s->count * sizeof s->pieces[0]);
}

uint32_t export_set_sent(struct export_set *s, uint64_t n)
{
    uint32_t whole = 0;
    n += s->sent;
    while (s->count > 0 && n >= frame_len(s->pieces[0].data)) {
        uint64_t len = frame_len(s->pieces[0].data);
        n -= len;
        whole++;
        s->pieces[0].data += len;
        s->pieces[0].len -= len;
        if (s->pieces[0].len == 0)
            drop_first(s);
    }
    assert(s->count > 0 || n == 0);
    s->sent = n;
    return whole;
}

void export_set_clear(struct export_set *s)
{
    while (s->count > 0)
        drop_first(s);
    s->sent = 0;
}

// ---- who may listen

// Takes as long for every token of a length.
static bool token_equal(struct slice said, struct slice token)
{
    uint8_t differs = said.len != token.len;
    for (size_t i = 0; i < said.len; i++)
        differs |= (uint8_t)(said.data[i] ^ (token.len > 0 ? token.data[i % token.len] : 0));
    return differs == 0;
}

enum export_auth export_auth_check(struct slice in, struct slice token)
{
    static const char PREFIX[] = "FCWAL-AUTH/";
    const size_t head = sizeof PREFIX - 1 + 2;
    size_t know = in.len < sizeof PREFIX - 1 ? in.len : sizeof PREFIX - 1;
    if (know > 0 && memcmp(in.data, PREFIX, know) != 0)
        return EXPORT_AUTH_WRONG; // another protocol: there is nothing to wait for
    const uint8_t *end = in.len == 0 ? NULL : memchr(in.data, '\n', in.len < EXPORT_AUTH_MAX ? in.len : EXPORT_AUTH_MAX);
    if (end == NULL)
        return in.len < EXPORT_AUTH_MAX ? EXPORT_AUTH_MORE : EXPORT_AUTH_WRONG;
    size_t len = (size_t)(end - in.data);
    if (len > 0 && in.data[len - 1] == '\r')
        len--;
    if (len < head || in.data[head - 1] != ' ')
        return EXPORT_AUTH_WRONG;
    uint8_t version = in.data[head - 2];
    bool right = token_equal(slice_of(in.data + head, len - head), token) && token.len > 0;
    if (!right || (version != '1' && version != '2'))
        return EXPORT_AUTH_WRONG;
    return version == '1' ? EXPORT_AUTH_V1 : EXPORT_AUTH_V2;
}
