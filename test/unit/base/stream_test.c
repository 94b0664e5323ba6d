// SPDX-License-Identifier: Apache-2.0
#include "base/stream.h"

#include "base/prng.h"
#include "base/test.h"

#define ROOM (3 * STREAM_LEAST)

static uint8_t from[ROOM], to[ROOM + 2 * STREAM_LINE];

static void copies(uint64_t from_at, uint64_t to_at, uint64_t len)
{
    memset(to, 0xee, sizeof to);
    stream_copy(to + to_at, from + from_at, len);
    check(memcmp(to + to_at, from + from_at, len) == 0);
    for (uint64_t i = 0; i < to_at; i++)
        check_equal(to[i], 0xee);
    for (uint64_t i = to_at + len; i < sizeof to; i++)
        check_equal(to[i], 0xee);
}

static void every_length_is_copied_and_nothing_beside_it(void)
{
    struct prng p;
    prng_init(&p, 1);
    for (uint64_t i = 0; i < ROOM; i++)
        from[i] = (uint8_t)prng_next(&p);
    static const uint64_t ABOUT[] = { 0, STREAM_PIECE, STREAM_LEAST, 2 * STREAM_LEAST };
    for (uint32_t a = 0; a < sizeof ABOUT / sizeof *ABOUT; a++)
        for (uint64_t i = 0; i <= 2 * STREAM_LINE + 2; i++)
            if (ABOUT[a] + i >= STREAM_LINE + 1)
                copies(0, 0, ABOUT[a] + i - STREAM_LINE - 1);
}

static void it_does_not_matter_how_the_two_lie(void)
{
    for (uint64_t at = 0; at < STREAM_LINE; at++) {
        copies(at, 0, STREAM_LEAST + 77);
        copies(0, at, STREAM_LEAST + 77);
        copies(at, STREAM_LINE - at, 2 * STREAM_LEAST);
    }
}

TESTS(TEST(every_length_is_copied_and_nothing_beside_it), TEST(it_does_not_matter_how_the_two_lie))
