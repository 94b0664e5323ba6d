// SPDX-License-Identifier: Apache-2.0
// Who has to go when memory is short: S3-FIFO (s3fifo.h), or Redis' sampling (antirez, "Random notes on improving the Redis LRU algorithm",
// 2016).
//
// A few entries are drawn at random, the best candidates of this and earlier draws are kept in a small pool, the best of all goes.
// The recency field of an entry under an LRU or LFU policy (23 bits):
//
//   LRU    clock of the last access, in units of 256 ms (wraps after 24 days)
//   LFU    bits 8-22 minute of the last decay; bits 0-7 a counter that grows with the logarithm of accesses, halved in speed by
//          each tenfold, and loses one a minute
//
// Entries written before such a policy was chosen have no field: they count as the oldest.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "engine/store/entry.h"

#define EVICT_POOL 16u

struct store;
struct keyspace;

struct evict_candidate {
    uint64_t score; // the highest goes first
    uint64_t hash;
    struct keyspace *keyspace;
    uint32_t ref;
};

struct evict_pool {
    uint32_t count;
    struct evict_candidate candidates[EVICT_POOL]; // ascending score
};

// True for policies that keep something in entries.
bool evict_policy_has_recency(uint32_t policy);
// The field of an entry accessed now; `before` = its value, or -1 for a new entry.
uint32_t evict_recency(struct store *s, int64_t before, int64_t now_ms);
// Removes one entry as the policy says, or looks at as many as the budget says. False: there is none that may go.
bool evict_one(struct store *s, int64_t now_ms, uint32_t *budget);
