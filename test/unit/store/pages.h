// SPDX-License-Identifier: Apache-2.0
// Pages for tests: from mmap, counted, failing when told to.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#include "base/memory.h"

struct pages {
    struct memory memory;
    size_t range_max; // larger reservations fail: the arena takes what it gets
    int64_t fail_in;  // calls until one fails, -1 = never
    bool fail_on;     // from then on all fail
    uint64_t calls;
    uint64_t held; // bytes reserved
    uint64_t discarded;
};

static inline bool pages_fail(struct pages *p)
{
    p->calls++;
    if (p->fail_in < 0)
        return false;
    if (p->fail_in > 0) {
        p->fail_in--;
        return false;
    }
    p->fail_in = p->fail_on ? 0 : -1;
    return true;
}

static void *pages_reserve(struct memory *m, size_t size, size_t align)
{
    struct pages *p = (struct pages *)(void *)m;
    if (size > p->range_max || pages_fail(p))
        return NULL;
    uint8_t *area = mmap(NULL, size + align, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (area == MAP_FAILED)
        return NULL;
    uint8_t *begin = area + (align - (uintptr_t)area % align) % align;
    if (begin > area)
        munmap(area, (size_t)(begin - area));
    munmap(begin + size, (size_t)(area + align - begin));
    p->held += size;
    return begin;
}

static void pages_release(struct memory *m, void *area, size_t size)
{
    struct pages *p = (struct pages *)(void *)m;
    munmap(area, size);
    p->held -= size;
}

static void *pages_resize(struct memory *m, void *area, size_t old_size, size_t new_size)
{
    struct pages *p = (struct pages *)(void *)m;
    if (pages_fail(p))
        return NULL;
    void *moved = mremap(area, old_size, new_size, MREMAP_MAYMOVE);
    if (moved == MAP_FAILED)
        return NULL;
    p->held += new_size - old_size;
    return moved;
}

static void pages_discard(struct memory *m, void *area, size_t size)
{
    struct pages *p = (struct pages *)(void *)m;
    madvise(area, size, MADV_DONTNEED);
    p->discarded += size;
}

static inline void pages_init(struct pages *p)
{
    *p = (struct pages){
        .memory = { .reserve = pages_reserve, .resize = pages_resize, .discard = pages_discard, .release = pages_release },
        .range_max = (size_t)1 << 40,
        .fail_in = -1,
    };
}
