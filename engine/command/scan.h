// SPDX-License-Identifier: Apache-2.0
// One walk over keys that a client makes in many calls.
//
//   cursor of a client   shard number << 48 | cursor of that shard's keyspace; 0 begins, 0 says that all is done
//
// A call runs on the worker of the cursor's shard. It goes on over the shards behind as long as they belong to this worker and its
// count is not reached; a cursor that names a shard of another worker goes to the client, who brings it there with the next call.
#pragma once

#include "engine/command/command.h"

#define SCAN_SHARD_SHIFT 48

struct scan {
    struct slice pattern;
    bool all; // no pattern, or "*"
    int64_t count;
    int type; // enum entry_type, SCAN_ANY_TYPE or SCAN_NO_TYPE
    uint64_t visited;
    uint64_t found;
    struct reply *out; // takes the keys
};

enum { SCAN_ANY_TYPE = -1, SCAN_NO_TYPE = -2 };

// Goes on in one shard, of this worker, from the keyspace's `cursor`; returns the keyspace's next cursor, 0 = this shard is done.
uint64_t scan_shard(struct call *c, struct scan *s, uint32_t shard, uint64_t cursor);
