// SPDX-License-Identifier: Apache-2.0
// CRC-64 of Redis' files (polynomial of Jones, 0xad93d23594c935a9, reflected; no inversion). crc64(t, 0, "123456789") =
// 0xe9c6d914c4b8d9ca. Whoever needs it keeps the tables.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

struct crc64_tables {
    uint64_t by[8][256];
};

static inline void crc64_init(struct crc64_tables *t)
{
    for (uint64_t i = 0; i < 256; i++) {
        uint64_t crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (UINT64_C(0x95ac9329ac4bc9b5) & (0u - (crc & 1u)));
        t->by[0][i] = crc;
    }
    for (uint32_t i = 0; i < 256; i++)
        for (int k = 1; k < 8; k++)
            t->by[k][i] = t->by[k - 1][i] >> 8 ^ t->by[0][t->by[k - 1][i] & 0xff];
}

static inline uint64_t crc64(const struct crc64_tables *t, uint64_t crc, const void *data, size_t len)
{
    const uint8_t *p = data;
    for (; len >= 8; len -= 8, p += 8) {
        uint64_t word = load_u64(p) ^ crc;
        crc = t->by[7][word & 0xff] ^ t->by[6][word >> 8 & 0xff] ^ t->by[5][word >> 16 & 0xff] ^ t->by[4][word >> 24 & 0xff] ^
              t->by[3][word >> 32 & 0xff] ^ t->by[2][word >> 40 & 0xff] ^ t->by[1][word >> 48 & 0xff] ^ t->by[0][word >> 56];
    }
    for (; len > 0; len--)
        crc = crc >> 8 ^ t->by[0][(crc ^ *p++) & 0xff];
    return crc;
}
