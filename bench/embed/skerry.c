// SPDX-License-Identifier: Apache-2.0
// libskerry under the harness: through its public header only.
#include <skerry/skerry.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PEER_BATCH 1

struct peer; // a handle
struct config;

static void peer_open(const struct config *c);
static struct peer *peer_thread(unsigned t);

static struct skerry *handle(struct peer *p)
{
    return (struct skerry *)(void *)p;
}

static bool peer_owns(struct peer *p, const uint8_t *key)
{
    return skerry_owns(handle(p), skerry_route_key(handle(p), key, 16));
}

static void peer_set(struct peer *p, const uint8_t *key, const uint8_t *value, size_t len, bool ttl)
{
    if (skerry_set(handle(p), key, 16, value, len, ttl ? 3600000 : SKERRY_NO_TTL) != SKERRY_OK)
        abort();
}

static bool peer_get_copy(struct peer *p, const uint8_t *key, uint8_t *to, size_t len)
{
    return skerry_get(handle(p), key, 16, to, len, &len) == SKERRY_OK;
}

static int peer_get_view(struct peer *p, const uint8_t *key)
{
    struct skerry_view view;
    if (skerry_get_view(handle(p), key, 16, &view) != SKERRY_OK)
        return -1;
    const uint8_t *bytes = view.data;
    int sum = bytes[0] + bytes[view.len - 1];
    skerry_release(handle(p), &view);
    return sum;
}

static unsigned peer_get_batch(struct peer *p, uint8_t (*keys)[16], unsigned n, uint8_t *to, size_t len)
{
    struct skerry_op ops[64];
    for (unsigned i = 0; i < n; i++) {
        ops[i].kind = SKERRY_OP_GET;
        ops[i].key = (struct skerry_slice){ keys[i], 16 };
        ops[i].prepared = NULL;
        ops[i].value.len = 0;
        ops[i].buffer = to + i * len;
        ops[i].capacity = len;
    }
    return (unsigned)skerry_batch(handle(p), ops, n);
}

static unsigned peer_get_packed(struct peer *p, uint8_t (*keys)[16], unsigned n, uint8_t *to, size_t len)
{
    struct skerry_slice slices[64];
    size_t offsets[64], lengths[64];
    struct skerry_packed packed = { .buffer = to, .capacity = n * len, .offsets = offsets, .lengths = lengths };
    for (unsigned i = 0; i < n; i++)
        slices[i] = (struct skerry_slice){ keys[i], 16 };
    return skerry_get_packed(handle(p), slices, n, &packed) == SKERRY_OK ? (unsigned)packed.hits : 0;
}

#include "bench/embed/harness.h"

static struct skerry *locals[THREADS_MAX];

static void peer_open(const struct config *c)
{
    struct skerry_options o = skerry_options_default();
    struct skerry *s;
    bool local = strcmp(c->mode, "local") == 0;
    o.shards = 1;
    while (o.shards < c->threads * (local ? 1 : 16))
        o.shards *= 2;
    o.hash = strcmp(c->hash, "public") == 0 ? SKERRY_HASH_PUBLIC : SKERRY_HASH_KEYED;
    if (skerry_open(&s, &o) != SKERRY_OK || (local && skerry_split(s, c->threads, locals) != SKERRY_OK))
        exit(1);
    for (unsigned t = 0; !local && t < c->threads; t++)
        locals[t] = s;
}

static struct peer *peer_thread(unsigned t)
{
    return (struct peer *)(void *)locals[t];
}
