// SPDX-License-Identifier: Apache-2.0
// Which cores the workers get, and what follows from how many there are.
#pragma once

#include <stdint.h>

#include "engine/shard/options.h"

#define CORES_MAX 256

struct cores {
    uint32_t allowed; // cores that the process may use
    uint32_t workers;
    uint32_t shards;
    bool pinned;
    uint32_t spin_us;
    int cpu[CORES_MAX]; // of each worker; -1 = not pinned
};

// `shards`: of the data directory that there is; 0: of none.
void cores_plan(struct cores *c, const struct options *o, uint32_t shards);
