// SPDX-License-Identifier: Apache-2.0
#include "memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { BUFFER_MIN = 4096, BUFFER_KEEP = 1 << 20 }; // bytes; an empty buffer larger than BUFFER_KEEP is given back

void *skc_memory_libc(void *context, void *old, size_t old_size, size_t size)
{
    (void)context, (void)old_size;
    if (size == 0) {
        free(old);
        return NULL;
    }
    return realloc(old, size);
}

void *skc_memory_resize(struct memory *memory, void *old, size_t old_size, size_t size)
{
    if (size > old_size && size - old_size > memory->max - memory->used)
        return NULL;
    void *data = memory->resize(memory->context, old, old_size, size);
    if (size != 0 && data == NULL)
        return NULL;
    memory->used += size;
    memory->used -= old_size;
    return data;
}

int skc_buffer_reserve(struct buffer *buffer, size_t room)
{
    size_t held = skc_buffer_length(buffer);
    if (room <= buffer->capacity - buffer->end)
        return 0;
    if (room > SIZE_MAX / 2 - held)
        return -ENOMEM;
    if (held + room <= buffer->capacity && buffer->start >= buffer->capacity / 2) { // moving pays: at most half is held
        memmove(buffer->data, buffer->data + buffer->start, held);
        buffer->start = 0;
        buffer->end = held;
        return 0;
    }
    size_t capacity = buffer->capacity < BUFFER_MIN ? BUFFER_MIN : buffer->capacity * 2;
    if (capacity < held + room)
        capacity = held + room;
    // A new piece rather than a longer one: what was consumed need not be copied.
    unsigned char *data = skc_memory_resize(buffer->memory, NULL, 0, capacity);
    if (data == NULL && capacity > held + room)
        data = skc_memory_resize(buffer->memory, NULL, 0, capacity = held + room);
    if (data == NULL)
        return -ENOMEM;
    if (held > 0)
        memcpy(data, buffer->data + buffer->start, held);
    if (buffer->data != NULL)
        skc_memory_resize(buffer->memory, buffer->data, buffer->capacity, 0);
    *buffer = (struct buffer){ .memory = buffer->memory, .data = data, .capacity = capacity, .end = held };
    return 0;
}

void skc_buffer_consume(struct buffer *buffer, size_t length)
{
    buffer->start += length;
    if (buffer->start < buffer->end)
        return;
    buffer->start = buffer->end = 0;
    if (buffer->capacity > BUFFER_KEEP)
        skc_buffer_deinit(buffer);
}

void skc_buffer_deinit(struct buffer *buffer)
{
    if (buffer->data != NULL)
        skc_memory_resize(buffer->memory, buffer->data, buffer->capacity, 0);
    *buffer = (struct buffer){ .memory = buffer->memory };
}
