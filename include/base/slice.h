// SPDX-License-Identifier: Apache-2.0
// A view of bytes that somebody else owns.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const uint8_t *data;
    size_t len;
};

static inline struct slice slice_of(const void *data, size_t len)
{
    return (struct slice){ .data = data, .len = len };
}

static inline struct slice slice_cstr(const char *text)
{
    return slice_of(text, strlen(text));
}

static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

// Byte order, shorter first among equals: -1, 0 or 1.
static inline int slice_compare(struct slice a, struct slice b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int order = n == 0 ? 0 : memcmp(a.data, b.data, n);
    if (order != 0)
        return order < 0 ? -1 : 1;
    return (a.len > b.len) - (a.len < b.len);
}

// ASCII only, as every protocol here; `lower` must already be lower case.
static inline bool slice_is(struct slice s, const char *lower)
{
    size_t i = 0;
    for (; i < s.len && lower[i] != '\0'; i++) {
        uint8_t c = s.data[i];
        if (c >= 'A' && c <= 'Z')
            c |= 0x20;
        if (c != (uint8_t)lower[i])
            return false;
    }
    return i == s.len && lower[i] == '\0';
}
