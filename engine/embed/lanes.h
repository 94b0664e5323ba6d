// SPDX-License-Identifier: Apache-2.0
// Many keys at once: grouped by shard, with the memory that they need fetched before they run.
#pragma once

#include "engine/embed/embed.h"

#define LANES_MAX 64u // keys that are in the works together

// Key `i` of the batch. `shard` NULL: it cannot run, for the reason in `status`.
typedef void lanes_run_fn(void *context, size_t i, struct shard *sh, uint64_t hash, enum skerry_status status);

struct lanes {
    struct skerry *store;
    lanes_run_fn *run;
    void *context;
    size_t first; // number of lane 0 in the batch
    uint32_t count;
    struct place places[LANES_MAX];
    bool too_long[LANES_MAX];
};

// Adds the next key; runs what is there when the lanes are full.
void lanes_add(struct lanes *l, struct slice key, const struct skerry_prepared *prepared);
// Runs what is left.
void lanes_flush(struct lanes *l);
