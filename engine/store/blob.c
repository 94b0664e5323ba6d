// SPDX-License-Identifier: Apache-2.0
#include "engine/store/blob.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

#define PAGE 4096

struct blob *blob_new(struct memory *m)
{
    struct blob *b = calloc(1, sizeof *b);
    if (b != NULL)
        b->memory = m;
    return b;
}

struct blob *blob_free(struct blob *b)
{
    if (b == NULL)
        return NULL;
    if (b->pins > 0) {
        b->orphan = true;
        return NULL;
    }
    if (b->data != NULL)
        b->memory->release(b->memory, b->data - BLOB_GAP, b->cap);
    free(b);
    return NULL;
}

static size_t pages_for(size_t len)
{
    return round_up(len + BLOB_GAP, PAGE);
}

static bool set_cap(struct blob *b, size_t cap)
{
    struct memory *m = b->memory;
    uint8_t *pages = b->data == NULL ? m->reserve(m, cap, PAGE) : m->resize(m, b->data - BLOB_GAP, b->cap, cap);
    if (pages == NULL)
        return false;
    b->data = pages + BLOB_GAP;
    b->cap = cap;
    return true;
}

static size_t room_of(const struct blob *b)
{
    return b->cap == 0 ? 0 : b->cap - BLOB_GAP - b->len;
}

size_t blob_reserve(struct blob *b, size_t want)
{
    if (room_of(b) == 0) {
        size_t most = b->cap < BLOB_FIRST / 2 ? BLOB_FIRST : b->cap * 2;
        size_t need = pages_for(b->len + want);
        if (!set_cap(b, need < most ? need : most))
            return 0;
    }
    size_t room = room_of(b);
    return room < want ? room : want;
}

bool blob_set_len(struct blob *b, size_t len)
{
    size_t cap = pages_for(len);
    size_t old = b->len;
    // Growing a little often (APPEND) keeps an eighth of room; shrinking gives pages back.
    if (cap > b->cap && b->len > 0)
        cap = round_up(cap + cap / 8, PAGE);
    if ((len > b->len + room_of(b) || cap + cap / 4 < b->cap) && !set_cap(b, cap) && len > b->len + room_of(b))
        return false;
    if (len > old)
        memset(b->data + old, 0, len - old);
    b->len = len;
    return true;
}

static struct blob *copy(struct memory *m, struct slice bytes, size_t cap)
{
    struct blob *b = blob_new(m);
    if (b == NULL)
        return NULL;
    if (!set_cap(b, cap))
        return blob_free(b);
    if (bytes.len > 0)
        memcpy(b->data, bytes.data, bytes.len);
    b->len = bytes.len;
    return b;
}

struct blob *blob_copy(struct memory *m, struct slice bytes)
{
    return copy(m, bytes, pages_for(bytes.len));
}

struct blob *blob_clone(const struct blob *b)
{
    return copy(b->memory, slice_of(b->data, b->len), b->cap);
}

void blob_trim(struct blob *b)
{
    size_t cap = pages_for(b->len);
    if (b->data != NULL && cap < b->cap)
        (void)set_cap(b, cap);
}
