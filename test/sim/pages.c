// SPDX-License-Identifier: Apache-2.0
#include "test/sim/pages.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bytes.h"

static bool refused(struct pages *p)
{
    return p->fail_permille > 0 && prng_below(&p->prng, 1000) < p->fail_permille;
}

static void *map(size_t size, size_t align)
{
    size_t extra = align > 4096 ? align : 0;
    uint8_t *at = mmap(NULL, size + extra, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        return NULL;
    if (extra == 0)
        return at;
    size_t head = (size_t)(round_up((uintptr_t)at, align) - (uintptr_t)at);
    if (head > 0)
        munmap(at, head);
    if (extra > head)
        munmap(at + head + size, extra - head);
    return at + head;
}

static void *reserve(struct memory *m, size_t size, size_t align)
{
    struct pages *p = (struct pages *)m;
    assert(is_power_of_two(align) && align >= 4096 && size > 0);
    size = round_up(size, 4096);
    void *at = refused(p) ? NULL : map(size, align);
    if (at != NULL)
        p->live += (int64_t)size;
    return at;
}

static void release(struct memory *m, void *area, size_t size)
{
    struct pages *p = (struct pages *)m;
    size = round_up(size, 4096);
    p->live -= (int64_t)size;
    munmap(area, size);
}

// Always somewhere else, so that a pointer kept over a resize is found.
static void *resize(struct memory *m, void *area, size_t old_size, size_t new_size)
{
    void *at = reserve(m, new_size, 4096);
    if (at == NULL)
        return NULL;
    memcpy(at, area, old_size < new_size ? old_size : new_size);
    release(m, area, old_size);
    return at;
}

static void discard(struct memory *m, void *area, size_t size)
{
    (void)madvise(area, size, MADV_DONTNEED);
}

void pages_init(struct pages *p, uint64_t seed)
{
    *p = (struct pages){ .memory = { .reserve = reserve, .resize = resize, .discard = discard, .release = release } };
    prng_init(&p->prng, seed);
}
