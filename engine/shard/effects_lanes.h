// SPDX-License-Identifier: Apache-2.0
// Records of shards beside the one whose sub-batch is being written at the batch's end: each shard's stand in a lane until that sub-batch
// is closed, and become one sub-batch then. So shards may take turns with every record, and a sub-batch is still of many. A batch is kept
// or dropped as a whole and a record concerns one shard, so the order of records matters within a shard only.
//
//   batch   | sub-batch of 3: rec rec rec ...           lanes   1: [rec rec] -> [rec]      chunks from a list of LANES_CHUNKS at most
//                                                               6: [rec]
#pragma once

#include <stdint.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/free_list.h"
#include "persist/format.h"

#define LANES_CHUNK  4096u
#define LANES_CHUNKS 256u // in use
#define LANES_KEPT   32u  // for the next batch, when nothing has been written for a while
#define LANE_RECORD  1024 // bytes of a record; larger ones are not copied once more

struct lane_chunk {
    struct lane_chunk *next;
    uint32_t len;
    uint8_t bytes[LANES_CHUNK - 16];
};
static_assert(sizeof(struct lane_chunk) == LANES_CHUNK, "a page of the heap");

struct lane {
    struct lane *next; // of those that are not empty
    struct lane_chunk *first, *last;
    struct sub_batch sub; // count 0: empty
};

struct effects_lanes {
    struct lane *lanes; // [own shards]
    struct lane *used;
    uint32_t chunks; // in use
    struct free_list free;
    uint64_t generation; // a record's place holds for as long as this stays
};

int effects_lanes_init(struct effects_lanes *l, uint32_t own_shards) warn_unused;
void effects_lanes_deinit(struct effects_lanes *l);
// Room for a record behind the last one of own shard `index`; sub_batch->first is set if it is the first one. NULL: none, pour first.
uint8_t *effects_lanes_room(struct effects_lanes *l, uint32_t index, uint64_t size, struct sub_batch **sub) warn_unused;
// All of them behind the last sub-batch; every lane is empty then. Returns how many there were. `out` may have failed.
uint32_t effects_lanes_pour(struct effects_lanes *l, struct buf *out);
void effects_lanes_trim(struct effects_lanes *l);

static inline uint64_t effects_lanes_memory(const struct effects_lanes *l)
{
    return ((uint64_t)l->chunks + l->free.count) * sizeof(struct lane_chunk);
}
