// SPDX-License-Identifier: Apache-2.0
// CRC-32C (Castagnoli, reflected polynomial 0x82f63b78; RFC 3720 section 12.1).
// crc32c(0, "123456789") = 0xe3069283. crc32c(crc32c(0, a), b) = crc32c(0, ab).
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

// Bit by bit: the definition, for tests and for machines without the instruction.
static inline uint32_t crc32c_portable(uint32_t crc, const void *data, size_t len)
{
    const uint8_t *p = data;
    crc = ~crc;
    while (len-- > 0) {
        crc ^= *p++;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (0x82f63b78u & (0u - (crc & 1u)));
    }
    return ~crc;
}

#if defined(__x86_64__)
// SSE 4.2; 8 bytes per instruction.
__attribute__((target("sse4.2"))) static inline uint32_t crc32c_hardware(uint32_t crc, const void *data, size_t len)
{
    const uint8_t *p = data;
    uint64_t wide = ~crc;
    for (; len >= 8; len -= 8, p += 8)
        wide = __builtin_ia32_crc32di(wide, load_u64(p));
    uint32_t narrow = (uint32_t)wide;
    for (; len > 0; len--)
        narrow = __builtin_ia32_crc32qi(narrow, *p++);
    return ~narrow;
}

static inline int crc32c_has_hardware(void)
{
    return __builtin_cpu_supports("sse4.2");
}
#elif defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
static inline uint32_t crc32c_hardware(uint32_t crc, const void *data, size_t len)
{
    const uint8_t *p = data;
    crc = ~crc;
    for (; len >= 8; len -= 8, p += 8)
        crc = __crc32cd(crc, load_u64(p));
    for (; len > 0; len--)
        crc = __crc32cb(crc, *p++);
    return ~crc;
}

static inline int crc32c_has_hardware(void)
{
    return 1;
}
#else
#define crc32c_hardware crc32c_portable
static inline int crc32c_has_hardware(void)
{
    return 0;
}
#endif

static inline uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
    return crc32c_has_hardware() ? crc32c_hardware(crc, data, len) : crc32c_portable(crc, data, len);
}
