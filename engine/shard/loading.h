// SPDX-License-Identifier: Apache-2.0
// What a worker does between its first turn and serving: it applies the pieces of the data directory that the keeper's thread reads, each
// turn some, and then begins to log (logging.h). Clients may connect meanwhile; they hear -LOADING.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/slice.h"
#include "engine/shard/effects.h"

struct load_piece;
struct worker;

struct loading {
    struct load_piece *piece; // being applied
    struct slice left;        // of its entries
    struct effects_cursor cursor;
    bool done; // everything is applied
    bool logs; // and changes are logged
    uint64_t entries, records;
    char why[EFFECTS_WHY_MAX];
};

void loading_begin(struct worker *w);
// True: there is more to be applied at once.
bool loading_turn(struct worker *w);
// All workers log: clients may be served.
bool loading_over(struct worker *w);
