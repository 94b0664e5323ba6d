// SPDX-License-Identifier: Apache-2.0
// Where pages come from: the door between those who need memory in bulk (the store, I/O buffers) and those who may ask the
// kernel for it (reactor/memory.c) or pretend to (tests, the simulation, an embedding program).
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define MEMORY_HUGE ((size_t)2 << 20)

struct memory {
    // Zeroed pages, aligned to `align` (a power of two >= 4096); NULL when there are none. Untouched pages cost nothing. Only areas aligned
    // to MEMORY_HUGE may lie on huge pages: where one is touched, 2 MiB are.
    void *(*reserve)(struct memory *m, size_t size, size_t align);
    // Grows or shrinks without copying where it can; contents up to the smaller size stay; NULL leaves the old area as it is.
    void *(*resize)(struct memory *m, void *area, size_t old_size, size_t new_size);
    // Gives the pages back to the system but keeps the addresses; they read as zero afterwards.
    void (*discard)(struct memory *m, void *area, size_t size);
    void (*release)(struct memory *m, void *area, size_t size);
    // May be NULL. A part of an area will be written to soon: true when somebody puts pages behind it meanwhile. Returns at once.
    bool (*prepare)(struct memory *m, void *area, size_t size);
    bool huge; // such areas do lie on huge pages, as far as the system has any
};

// The alignment for an area that is read all over: on huge pages where it fills one.
static inline size_t memory_align(size_t size)
{
    return size >= MEMORY_HUGE ? MEMORY_HUGE : 4096;
}
