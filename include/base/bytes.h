// SPDX-License-Identifier: Apache-2.0
// Little-endian access at any alignment, and checked arithmetic on sizes.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "formats are read in place");
static_assert(sizeof(void *) == 8, "sizes are 64 bits wide");

#define BYTES_ACCESS(width)                                                                                                                \
    static inline uint##width##_t load_u##width(const void *from)                                                                          \
    {                                                                                                                                      \
        uint##width##_t value;                                                                                                             \
        memcpy(&value, from, sizeof value);                                                                                                \
        return value;                                                                                                                      \
    }                                                                                                                                      \
    static inline void store_u##width(void *to, uint##width##_t value)                                                                     \
    {                                                                                                                                      \
        memcpy(to, &value, sizeof value);                                                                                                  \
    }

BYTES_ACCESS(16)
BYTES_ACCESS(32)
BYTES_ACCESS(64)

#undef BYTES_ACCESS

// 5 bytes: millisecond deadlines and 40-bit references.
static inline uint64_t load_u40(const void *from)
{
    const uint8_t *p = from;
    return (uint64_t)load_u32(p) | (uint64_t)p[4] << 32;
}

static inline void store_u40(void *to, uint64_t value)
{
    uint8_t *p = to;
    store_u32(p, (uint32_t)value);
    p[4] = (uint8_t)(value >> 32);
}

// True when the result fits; *out is then set. The one place where lengths from outside are added or multiplied.
static inline warn_unused bool size_add(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

static inline warn_unused bool size_mul(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

// memcpy for lengths that are mostly small: up to 128 bytes without a call, in pieces of 16 at fixed places. Only where the length is no
// multiple of 16 the address of a store depends on it: until it is known, the processor holds back what it could read ahead
// (where the length is read with the bytes, a GET of 64 bytes took 17 ns with a last piece of its own, 14 ns without).
static inline __attribute__((__always_inline__)) void copy_short(uint8_t *to, const uint8_t *from, size_t len)
{
    if (len >= 16 && len <= 128) {
        __builtin_memcpy(to, from, 16);
        for (size_t at = 16; at + 16 <= len; at += 16)
            __builtin_memcpy(to + at, from + at, 16);
        if ((len & 15) != 0)
            __builtin_memcpy(to + len - 16, from + len - 16, 16);
    } else if (len >= 8 && len < 16) {
        uint64_t first = load_u64(from), last = load_u64(from + len - 8);
        store_u64(to, first);
        store_u64(to + len - 8, last);
    } else if (len > 0) {
        memcpy(to, from, len);
    }
}

static inline uint64_t round_up(uint64_t value, uint64_t power_of_two)
{
    return (value + power_of_two - 1) & ~(power_of_two - 1);
}

static inline bool is_power_of_two(uint64_t value)
{
    return value != 0 && (value & (value - 1)) == 0;
}
