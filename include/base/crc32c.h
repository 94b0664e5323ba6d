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
// SSE 4.2 and PCLMULQDQ. The instruction takes 8 bytes and 3 cycles, but one may begin every cycle: three lanes of `lane` bytes go side by
// side, and the first two are moved behind the third by multiplication (Gopal et al., "Fast CRC Computation for iSCSI Polynomial Using
// CRC32 Instruction", Intel, 2011). `far`, `near`: x to the power of (16 lane - 33) and (8 lane - 33) modulo the polynomial.
typedef long long crc32c_words __attribute__((vector_size(16)));

__attribute__((target("sse4.2,pclmul"))) static inline uint64_t crc32c_lanes(uint64_t wide, const uint8_t *p, size_t lane, uint32_t far,
                                                                             uint32_t near)
{
    uint64_t second = 0, third = 0;
    for (size_t at = 0; at < lane; at += 8) {
        wide = __builtin_ia32_crc32di(wide, load_u64(p + at));
        second = __builtin_ia32_crc32di(second, load_u64(p + lane + at));
        third = __builtin_ia32_crc32di(third, load_u64(p + 2 * lane + at));
    }
    crc32c_words sums = { (long long)wide, (long long)second }, powers = { (long long)far, (long long)near };
    crc32c_words a = __builtin_ia32_pclmulqdq128(sums, powers, 0x00), b = __builtin_ia32_pclmulqdq128(sums, powers, 0x11);
    return third ^ __builtin_ia32_crc32di(0, (uint64_t)(a[0] ^ b[0]));
}

__attribute__((target("sse4.2,pclmul"))) static inline uint32_t crc32c_hardware(uint32_t crc, const void *data, size_t len)
{
    const uint8_t *p = data;
    uint64_t wide = ~crc;
    for (; len >= 3 * 1344; len -= 3 * 1344, p += 3 * 1344)
        wide = crc32c_lanes(wide, p, 1344, 0x889774e1, 0xc9c8b782);
    for (; len >= 3 * 128; len -= 3 * 128, p += 3 * 128)
        wide = crc32c_lanes(wide, p, 128, 0xb9e02b86, 0x0d3b6092);
    for (; len >= 8; len -= 8, p += 8)
        wide = __builtin_ia32_crc32di(wide, load_u64(p));
    uint32_t narrow = (uint32_t)wide;
    for (; len > 0; len--)
        narrow = __builtin_ia32_crc32qi(narrow, *p++);
    return ~narrow;
}

static inline int crc32c_has_hardware(void)
{
    return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul");
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

// a * b modulo the polynomial; the highest bit is x to the power of 0.
static inline uint32_t crc32c_multiply(uint32_t a, uint32_t b)
{
    uint32_t product = 0;
    for (; a != 0; a <<= 1) {
        product ^= b & (0u - (a >> 31));
        b = b >> 1 ^ (0x82f63b78u & (0u - (b & 1u)));
    }
    return product;
}

// CRC of `a` followed by `b`, from the CRCs of both: a times x to the power of (8 len_b). About 30 ns for a bit of the length.
static inline uint32_t crc32c_join(uint32_t crc_a, uint32_t crc_b, uint64_t len_b)
{
    // x to the power of 2^n. The polynomial's order divides 2^31 - 1, so the powers repeat from the 32nd on.
    static const uint32_t POWERS[31] = {
        0x40000000, 0x20000000, 0x08000000, 0x00800000, 0x00008000, 0x82f63b78, 0x6ea2d55c, 0x18b8ea18, 0x510ac59a, 0xb82be955, 0xb8fdb1e7,
        0x88e56f72, 0x74c360a4, 0xe4172b16, 0x0d65762a, 0x35d73a62, 0x28461564, 0xbf455269, 0xe2ea32dc, 0xfe7740e6, 0xf946610b, 0x3c204f8f,
        0x538586e3, 0x59726915, 0x734d5309, 0xbc1ac763, 0x7d0722cc, 0xd289cabe, 0xe94ca9bc, 0x05b74f3f, 0xa51e1f42,
    };
    for (uint32_t n = 3; len_b != 0; len_b >>= 1, n++) {
        if (len_b & 1)
            crc_a = crc32c_multiply(POWERS[n % 31], crc_a);
    }
    return crc_a ^ crc_b;
}
