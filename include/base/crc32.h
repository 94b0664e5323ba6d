// SPDX-License-Identifier: Apache-2.0
// CRC-32 as zlib, Ethernet and FCW2 have it (reflected polynomial 0xedb88320; ITU-T V.42 section 8.1.1.6.2).
// crc32(t, 0, "123456789") = 0xcbf43926. Eight bytes a step by tables (Kounavis and Berry, "A systematic approach to building high
// performance software-based CRC generators", 2005); whoever needs it keeps the tables.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

struct crc32_tables {
    uint32_t by[8][256];
};

static inline void crc32_init(struct crc32_tables *t)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (0xedb88320u & (0u - (crc & 1u)));
        t->by[0][i] = crc;
    }
    for (uint32_t i = 0; i < 256; i++)
        for (int k = 1; k < 8; k++)
            t->by[k][i] = t->by[k - 1][i] >> 8 ^ t->by[0][t->by[k - 1][i] & 0xff];
}

static inline uint32_t crc32(const struct crc32_tables *t, uint32_t crc, const void *data, size_t len)
{
    const uint8_t *p = data;
    crc = ~crc;
    for (; len >= 8; len -= 8, p += 8) {
        uint32_t low = load_u32(p) ^ crc, high = load_u32(p + 4);
        crc = t->by[7][low & 0xff] ^ t->by[6][low >> 8 & 0xff] ^ t->by[5][low >> 16 & 0xff] ^ t->by[4][low >> 24] ^ t->by[3][high & 0xff] ^
              t->by[2][high >> 8 & 0xff] ^ t->by[1][high >> 16 & 0xff] ^ t->by[0][high >> 24];
    }
    for (; len > 0; len--)
        crc = crc >> 8 ^ t->by[0][(crc ^ *p++) & 0xff];
    return ~crc;
}
