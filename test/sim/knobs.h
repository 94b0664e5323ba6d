// SPDX-License-Identifier: Apache-2.0
// What a seed draws before its history begins.
#pragma once

#include "test/sim/client.h"
#include "test/sim/world.h"

// Of a server whose changes survive.
struct storage_knobs {
    uint32_t policy; // enum durable_level
    uint64_t segment_size;
    uint32_t method; // enum log_method
    uint32_t frames_in_flight;
    uint32_t spare;  // old segments kept
    bool hosted;     // by the only worker
    uint64_t budget; // bytes of the disk; 0: no end
    bool direct;     // each shard has a port of its own
};

struct knobs {
    uint32_t workers, shards, clients, databases;
    uint32_t starve_permille; // of scheduling decisions: one worker gets no turn for a while
    uint64_t tick_ns;         // a step takes up to so long
    bool stop_early;          // told to stop while clients are busy
    uint64_t maxmemory;       // bytes; 0 = none
    uint32_t policy;          // enum store_policy
    uint64_t zerocopy_min;    // send-zerocopy-min
    uint32_t memory_fails;    // permille: pages are not to be had; replies are then only counted, not compared
    struct world_knobs world;
    struct storage_knobs storage;
    struct workload_knobs workload;
};

void knobs_draw(struct knobs *k, uint64_t seed);
// For clients whose history is checked: nothing that makes requests fail, and none of the other clients.
void knobs_of_history(struct knobs *k);
// For clients that know what may be forgotten: the same, on a slow disk.
void knobs_of_durable(struct knobs *k, struct prng *p);
void knobs_print(const struct knobs *k);
