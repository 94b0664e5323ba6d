// SPDX-License-Identifier: Apache-2.0
// A host for tests: its own clock, its own dice, and words for keys.
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "base/test.h"
#include "skerry/skerry.h"

#define HOST_START INT64_C(1750000000000)

struct host {
    int64_t now_ms;
    uint64_t now_ns; // monotonic; each look costs a microsecond
    struct prng prng;
};

static int64_t host_wall_ms(void *context)
{
    return ((struct host *)context)->now_ms;
}

static uint64_t host_monotonic_ns(void *context)
{
    return ((struct host *)context)->now_ns += 1000;
}

static uint64_t host_random(void *context)
{
    return prng_next(&((struct host *)context)->prng);
}

static inline struct skerry_options host_options(struct host *h, uint32_t shards)
{
    struct skerry_options o = skerry_options_default();
    h->now_ms = HOST_START;
    h->now_ns = 0;
    prng_init(&h->prng, 1);
    o.shards = shards;
    o.wall_ms = host_wall_ms;
    o.monotonic_ns = host_monotonic_ns;
    o.random = host_random;
    o.context = h;
    return o;
}

static inline struct skerry *host_open(const struct skerry_options *o)
{
    struct skerry *s = NULL;
    check_equal(skerry_open(&s, o), SKERRY_OK);
    return s;
}

// Text as key and value.
static inline enum skerry_status set_text(struct skerry *s, const char *key, const char *value)
{
    return skerry_set(s, key, strlen(key), value, strlen(value), SKERRY_NO_TTL);
}

static inline bool text_is(struct skerry *s, const char *key, const char *value)
{
    char buffer[256];
    size_t len = 0;
    return skerry_get(s, key, strlen(key), buffer, sizeof buffer, &len) == SKERRY_OK && len == strlen(value) &&
           memcmp(buffer, value, len) == 0;
}

static inline struct skerry_slice text(const char *words)
{
    return (struct skerry_slice){ words, strlen(words) };
}
