// SPDX-License-Identifier: Apache-2.0
// Buffers that the kernel picks from when bytes arrive. The ring has room for all the buffers there may ever be (16 bytes each);
// few are in it at first, because few are warm, and more join when it runs dry.
//
//   in the ring -> (completion) -> the owner's -> uring_buffer_return -> in the ring, told to the kernel before the next submission
#include <errno.h>

#include "base/bytes.h"
#include "reactor/uring.h"

#define BUFFERS_DEFAULT     256
#define BUFFERS_MAX_DEFAULT 4096
#define BUFFERS_MAX         32768
#define BUFFER_SIZE_DEFAULT 4096
#define BUFFER_GROUP        0

static void ring_add(struct uring *u, uint16_t buffer)
{
    struct io_uring_buf *slot = &u->buffers->bufs[u->buffers_tail & u->buffers_mask];
    slot->addr = (uint64_t)(uintptr_t)pool_address(&u->pool, buffer);
    slot->len = u->pool.buffer_size;
    slot->bid = buffer;
    u->buffers_tail++;
    u->buffers_free++;
}

static int ring_register(struct uring *u, struct memory *memory, uint32_t entries)
{
    size_t size = entries * sizeof(struct io_uring_buf);
    u->buffers = memory->reserve(memory, size, 4096);
    if (u->buffers == NULL)
        return -ENOMEM;
    struct io_uring_buf_reg reg = { .ring_addr = (uint64_t)(uintptr_t)u->buffers, .ring_entries = entries, .bgid = BUFFER_GROUP };
    int err = io_uring_register_buf_ring(&u->ring, &reg, 0);
    if (err < 0) {
        memory->release(memory, u->buffers, size);
        u->buffers = NULL;
        return err;
    }
    u->buffers_mask = entries - 1;
    return 0;
}

static uint32_t power_of_two_up_to(uint32_t value, uint32_t max)
{
    uint32_t p = 1;
    while (p < value && p < max)
        p *= 2;
    return p;
}

// Memlock may allow fewer entries than wanted. 0 or -errno: no ring at all.
static int ring_open(struct uring *u, struct memory *memory, uint32_t *entries)
{
    int err = ring_register(u, memory, *entries);
    while (err == -ENOMEM && *entries > 1) {
        *entries /= 2;
        err = ring_register(u, memory, *entries);
    }
    return err;
}

int uring_buffers_open(struct uring *u, const struct reactor_options *o)
{
    uint32_t max = power_of_two_up_to(o->buffers_max != 0 ? o->buffers_max : BUFFERS_MAX_DEFAULT, BUFFERS_MAX);
    uint32_t active = power_of_two_up_to(o->buffers != 0 ? o->buffers : BUFFERS_DEFAULT, max);
    if ((u->reactor.features & REACTOR_BUFFER_RING) && ring_open(u, o->memory, &max) < 0)
        u->reactor.features &= ~(uint32_t)(REACTOR_BUFFER_RING | REACTOR_MULTISHOT_RECV);
    active = active < max ? active : max;
    int err = pool_init(&u->pool, o->memory, active, max, o->buffer_size != 0 ? o->buffer_size : BUFFER_SIZE_DEFAULT);
    if (err < 0 || u->buffers == NULL)
        return err;
    u->pool.free_count = 0;
    for (uint32_t i = 0; i < active; i++)
        ring_add(u, (uint16_t)i);
    uring_buffers_publish(u);
    return 0;
}

// After the ring is closed: the kernel has let go of the memory then.
void uring_buffers_close(struct uring *u)
{
    struct memory *memory = u->pool.memory;
    if (u->buffers != NULL && memory != NULL)
        memory->release(memory, u->buffers, (u->buffers_mask + 1) * sizeof(struct io_uring_buf));
    u->buffers = NULL;
    if (memory != NULL)
        pool_deinit(&u->pool);
}

void uring_out_of_buffers(struct uring *u)
{
    u->reactor.stats.buffers_empty++;
    uint32_t first = u->pool.active;
    uint32_t more = pool_grow(&u->pool);
    u->reactor.stats.buffer_bytes += (uint64_t)more * u->pool.buffer_size;
    for (uint32_t i = first; i < first + more; i++) {
        if (u->buffers != NULL) {
            sanitize_hide(pool_address(&u->pool, (uint16_t)i), u->pool.buffer_size);
            ring_add(u, (uint16_t)i);
        } else {
            pool_put(&u->pool, (uint16_t)i);
        }
    }
}

// Receives that found no buffer go on now.
static cold void feed_starved(struct uring *u)
{
    struct op *next;
    for (struct op *op = op_queue_take_all(&u->starved); op != NULL; op = next) {
        next = op->next;
        op->backend &= ~URING_STARVED;
        op_queue_add(&u->again, op);
    }
}

void uring_buffer_return(struct reactor *r, uint16_t buffer)
{
    struct uring *u = uring_of(r);
    if (u->buffers == NULL) {
        pool_put(&u->pool, buffer);
    } else {
        sanitize_hide(pool_address(&u->pool, buffer), u->pool.buffer_size);
        ring_add(u, buffer);
    }
    if (unlikely(u->starved.head != NULL))
        feed_starved(u);
}
