// SPDX-License-Identifier: Apache-2.0
// Looking ahead over the turn's completions: while one connection's requests run, the memory that the next connections' first
// requests will want is on its way. With one request per connection there is nothing else to overlap a cache miss with. The key is
// found and hashed once more when it is parsed: some 20 ns for two misses of 180.
#pragma once

#include "engine/shard/worker.h"

#define AHEAD_USE   6   // completions between the first look and the use
#define AHEAD_ENTRY 3   // between the first look (asks for the bucket) and the second (for the entry)
#define AHEAD_RING  8   // a power of two above AHEAD_USE
#define AHEAD_BYTES 256 // more is several requests, which fetch ahead for one another

struct ahead {
    struct keyspace *keyspace; // NULL: nothing to fetch
    uint64_t hash;
};

// The key of the first request in `in`, where it is whole: a frame of GET or SET, or of the plain shape *N $L name $K key with N and L
// below 10 and K below 1000. A guess for prefetching: nothing is checked that the parser will check.
bool ahead_key(struct slice in, struct slice *key);

void ahead_look(struct worker *w, const struct completion *done, struct ahead *a);

static inline void ahead_entry(const struct ahead *a)
{
    if (a->keyspace != NULL)
        (void)keyspace_prefetch_entry(a->keyspace, a->hash);
}
