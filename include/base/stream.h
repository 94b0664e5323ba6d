// SPDX-License-Identifier: Apache-2.0
// Copies what the copier will not look at again: past the caches where the processor can, so that what is in them stays.
//
// Small copies, and what lies before and behind whole lines, go the usual way, and so does everything on other processors. Those are in
// pieces: above some size the C library copies with `rep movsb`, which on some processors takes several times as long when the two
// addresses lie unluckily to each other, and whoever streams has no say in how they lie.
#pragma once

#include <stdint.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define STREAM_LEAST 4096u // bytes from which the detour by memory is worth it
#define STREAM_LINE  64u
#define STREAM_PIECE 1024u

#if defined(__SSE2__)
// Whole lines; returns how many bytes they are.
static inline uint64_t stream_lines(uint8_t *to, const uint8_t *from, uint64_t len)
{
    uint64_t lines = len / STREAM_LINE * STREAM_LINE;
    for (uint64_t at = 0; at < lines; at += STREAM_LINE) {
        __m128i quarters[4];
        for (uint32_t i = 0; i < 4; i++)
            quarters[i] = _mm_loadu_si128((const __m128i *)(const void *)(from + at + 16 * i));
        for (uint32_t i = 0; i < 4; i++)
            _mm_stream_si128((__m128i *)(void *)(to + at + 16 * i), quarters[i]);
    }
    _mm_sfence(); // whoever is told of the copy sees it
    return lines;
}
#else
static inline uint64_t stream_lines(uint8_t *to, const uint8_t *from, uint64_t len)
{
    return 0;
}
#endif

// The two do not overlap.
static inline void stream_copy(uint8_t *to, const uint8_t *from, uint64_t len)
{
    if (len >= STREAM_LEAST) {
        uint64_t head = -(uintptr_t)to % STREAM_LINE;
        memcpy(to, from, head);
        uint64_t done = head + stream_lines(to + head, from + head, len - head);
        to += done;
        from += done;
        len -= done;
    }
    for (; len > STREAM_PIECE; len -= STREAM_PIECE, to += STREAM_PIECE, from += STREAM_PIECE)
        memcpy(to, from, STREAM_PIECE);
    memcpy(to, from, len);
}
