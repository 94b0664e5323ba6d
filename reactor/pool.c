// SPDX-License-Identifier: Apache-2.0
#include "reactor/pool.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"

int pool_init(struct pool *p, struct memory *memory, uint32_t active, uint32_t max, uint32_t buffer_size)
{
    assert(active > 0 && active <= max && max <= UINT16_MAX + 1u && buffer_size > 0);
    *p = (struct pool){ .buffer_size = buffer_size, .active = active, .max = max, .memory = memory };
    p->free = malloc(max * sizeof *p->free);
    size_t size = (size_t)max * buffer_size;
    p->area = memory->reserve(memory, size, memory_align(size));
    if (p->area == NULL || p->free == NULL) {
        pool_deinit(p);
        return -ENOMEM;
    }
    p->area[0] = 0; // its huge page belongs to the start, not to the first request
    // Highest first, so that the lowest is taken first.
    for (uint32_t i = active; i > 0; i--)
        pool_put(p, (uint16_t)(i - 1));
    return 0;
}

void pool_deinit(struct pool *p)
{
    if (p->area != NULL) {
        sanitize_show(p->area, (size_t)p->max * p->buffer_size);
        p->memory->release(p->memory, p->area, (size_t)p->max * p->buffer_size);
    }
    free(p->free);
    *p = (struct pool){ 0 };
}

uint32_t pool_grow(struct pool *p)
{
    uint32_t more = p->active <= p->max - p->active ? p->active : p->max - p->active;
    p->active += more;
    return more;
}
