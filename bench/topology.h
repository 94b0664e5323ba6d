// SPDX-License-Identifier: Apache-2.0
// Which shard has which key, and where its direct port is: what a server's FCNP HELLO says, and our keys sorted by it.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "bench/options.h"

struct topology {
    uint32_t shards; // a power of two; 0: unknown, everything goes to one port
    uint16_t direct_base_port;
};

// Asks the server of the options. 0, or -errno and a reason.
int topology_ask(const struct options *o, struct topology *out, char *error, size_t error_size);

// Our keys never look like session keys, so both routing modes agree on them.
static inline uint32_t topology_shard(const struct topology *t, uint64_t hash)
{
    return t->shards <= 1 ? 0 : (uint32_t)((hash << 7) >> (64 - __builtin_ctz(t->shards)));
}
