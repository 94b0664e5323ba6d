// SPDX-License-Identifier: Apache-2.0
// Everything a client allocates, counted against its limit.
#pragma once

#include <skerry/client.h>

struct memory {
    skerry_client_resize *resize;
    void *context;
    size_t used, max; // bytes
};

// As skerry_client_resize; NULL also when `max` would be passed.
void *skc_memory_resize(struct memory *memory, void *old, size_t old_size, size_t size);

// The C library's heap as a skerry_client_resize.
void *skc_memory_libc(void *context, void *old, size_t old_size, size_t size);

// Bytes that grow at the end and are consumed at the start. A zeroed one is empty.
struct buffer {
    struct memory *memory;
    unsigned char *data;
    size_t capacity, start, end;
};

// Makes room for `room` more bytes behind `end` (may move what is held): 0, or -ENOMEM with nothing changed.
int skc_buffer_reserve(struct buffer *buffer, size_t room);
void skc_buffer_consume(struct buffer *buffer, size_t length);
void skc_buffer_deinit(struct buffer *buffer);

static inline size_t skc_buffer_length(const struct buffer *buffer)
{
    return buffer->end - buffer->start;
}
