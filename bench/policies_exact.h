// SPDX-License-Identifier: Apache-2.0
// Policies in their exact form, on numbers instead of keys: what skerry-policies compares the store with.
//
//   LRU, FIFO   lists of all objects, by bytes
//   S3-FIFO     the paper's algorithm 1: queues and ghost exact, small = 10 % of the bytes
//   Belady      evicts what is needed latest, knowing the whole trace; the bound for objects of one size (only told for those)
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct trace {
    const char *name;
    const char *about;
    bool stationary;
    bool sized;          // objects differ in size
    uint32_t objects;    // ids are below
    uint32_t length;     // requests
    uint32_t *ids;       // [length]
    uint32_t *value_len; // [objects]
    uint32_t *cost;      // [objects] bytes that an object takes in the store
};

enum exact { EXACT_LRU, EXACT_FIFO, EXACT_S3FIFO, EXACT_BELADY };

// Misses among the requests from `from` on, with room for `capacity` bytes.
uint64_t exact_misses(enum exact policy, const struct trace *t, uint64_t capacity, uint32_t from);
