// SPDX-License-Identifier: Apache-2.0
#include "test/sim/image.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

static uint32_t pages_of(uint64_t size)
{
    return (uint32_t)((size + IMAGE_PAGE - 1) / IMAGE_PAGE);
}

static void release(struct image_page *p)
{
    if (p != NULL && --p->users == 0)
        free(p);
}

void image_copy(struct image *to, const struct image *from)
{
    assert(to->pages == NULL);
    *to = *from;
    if (from->count == 0) {
        to->pages = NULL;
        return;
    }
    to->pages = malloc(from->count * sizeof(struct image_page *));
    assert(to->pages != NULL);
    for (uint32_t p = 0; p < from->count; p++) {
        to->pages[p] = from->pages[p];
        if (to->pages[p] != NULL)
            to->pages[p]->users++;
    }
}

void image_deinit(struct image *i)
{
    for (uint32_t p = 0; p < i->count; p++)
        release(i->pages[p]);
    free(i->pages);
    *i = (struct image){ 0 };
}

// A page of this image's own.
static uint8_t *own(struct image *i, uint32_t page)
{
    struct image_page *old = i->pages[page];
    if (old != NULL && old->users == 1)
        return old->bytes;
    struct image_page *p = malloc(sizeof *p);
    assert(p != NULL);
    p->users = 1;
    if (old != NULL)
        memcpy(p->bytes, old->bytes, IMAGE_PAGE);
    else
        memset(p->bytes, 0, IMAGE_PAGE);
    release(old);
    i->pages[page] = p;
    return p->bytes;
}

void image_resize(struct image *i, uint64_t size)
{
    uint32_t count = pages_of(size);
    for (uint32_t p = count; p < i->count; p++)
        release(i->pages[p]);
    if (size < i->size && size % IMAGE_PAGE != 0 && i->pages[count - 1] != NULL)
        memset(own(i, count - 1) + size % IMAGE_PAGE, 0, IMAGE_PAGE - size % IMAGE_PAGE);
    if (count != i->count) {
        i->pages = realloc(i->pages, (count > 0 ? count : 1) * sizeof(struct image_page *));
        assert(i->pages != NULL);
    }
    for (uint32_t p = i->count; p < count; p++)
        i->pages[p] = NULL;
    i->count = count;
    i->size = size;
}

void image_read(const struct image *i, void *to, size_t len, uint64_t offset)
{
    assert(offset + len <= i->size);
    uint8_t *at = to;
    while (len > 0) {
        size_t inside = offset % IMAGE_PAGE, n = IMAGE_PAGE - inside < len ? IMAGE_PAGE - inside : len;
        const struct image_page *p = i->pages[offset / IMAGE_PAGE];
        if (p == NULL)
            memset(at, 0, n);
        else
            memcpy(at, p->bytes + inside, n);
        at += n, offset += n, len -= n;
    }
}

static bool zeros(const uint8_t *bytes, size_t len)
{
    return len == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0);
}

void image_write(struct image *i, const void *from, size_t len, uint64_t offset)
{
    assert(offset + len <= i->size);
    const uint8_t *at = from;
    while (len > 0) {
        size_t inside = offset % IMAGE_PAGE, n = IMAGE_PAGE - inside < len ? IMAGE_PAGE - inside : len;
        if (i->pages[offset / IMAGE_PAGE] != NULL || !zeros(at, n))
            memcpy(own(i, (uint32_t)(offset / IMAGE_PAGE)) + inside, at, n);
        at += n, offset += n, len -= n;
    }
}

bool image_equal(const struct image *a, const struct image *b)
{
    if (a->size != b->size)
        return false;
    uint8_t left[IMAGE_PAGE], right[IMAGE_PAGE];
    for (uint64_t at = 0; at < a->size; at += IMAGE_PAGE) {
        size_t n = a->size - at < IMAGE_PAGE ? (size_t)(a->size - at) : IMAGE_PAGE;
        if (a->pages[at / IMAGE_PAGE] == b->pages[at / IMAGE_PAGE])
            continue;
        image_read(a, left, n, at);
        image_read(b, right, n, at);
        if (memcmp(left, right, n) != 0)
            return false;
    }
    return true;
}
