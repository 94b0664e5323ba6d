// SPDX-License-Identifier: Apache-2.0
// What a host may bring along: pages and time.
#include <string.h>

#include "engine/embed/embed.h"
#include "reactor/clock.h"

static void *host_reserve(struct memory *memory, size_t size, size_t align)
{
    const struct host_memory *m = (struct host_memory *)memory;
    return m->host.reserve(m->host.context, size, align);
}

static void host_release(struct memory *memory, void *area, size_t size)
{
    const struct host_memory *m = (struct host_memory *)memory;
    m->host.release(m->host.context, area, size);
}

static void *host_resize(struct memory *memory, void *area, size_t old_size, size_t new_size)
{
    const struct host_memory *m = (struct host_memory *)memory;
    if (m->host.resize != NULL)
        return m->host.resize(m->host.context, area, old_size, new_size);
    void *moved = m->host.reserve(m->host.context, new_size, 4096);
    if (moved == NULL)
        return NULL;
    memcpy(moved, area, old_size < new_size ? old_size : new_size);
    m->host.release(m->host.context, area, old_size);
    return moved;
}

static void host_discard(struct memory *memory, void *area, size_t size)
{
    const struct host_memory *m = (struct host_memory *)memory;
    if (m->host.discard != NULL)
        m->host.discard(m->host.context, area, size);
    else
        memset(area, 0, size);
}

struct memory *host_memory_init(struct host_memory *m, const struct skerry_memory *host)
{
    m->host = *host;
    m->memory = (struct memory){ .reserve = host_reserve, .resize = host_resize, .discard = host_discard, .release = host_release };
    return &m->memory;
}

static int64_t system_wall_ms(void *context)
{
    return clock_wall_ms();
}

static uint64_t system_monotonic_ns(void *context)
{
    return clock_now_ns();
}

static int64_t clock_read(struct keyspace_clock *clock)
{
    const struct host_clock *c = (struct host_clock *)clock;
    return c->wall_ms(c->context);
}

void host_clock_init(struct host_clock *c, const struct skerry_options *options)
{
    *c = (struct host_clock){
        .clock = { .now_ms = clock_read },
        .wall_ms = options->wall_ms != NULL ? options->wall_ms : system_wall_ms,
        .monotonic_ns = options->monotonic_ns != NULL ? options->monotonic_ns : system_monotonic_ns,
        .context = options->context,
    };
}
