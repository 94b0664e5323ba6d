// SPDX-License-Identifier: Apache-2.0
// Who was here not long ago: 16-bit fingerprints of keys in the order in which they went, without the keys.
//
// A table of lines with 31 fingerprints each. A key's hash chooses the line; in it a new fingerprint takes the place of the oldest.
// With so many to a line its age there is close to its age among all. A stranger is taken for a key that was here once in about
// 2,100 times (31 / 2^16).
//
// The table follows the number of keys that it shall remember: a new one is taken empty, and the old one is asked too until the new
// one has seen as many keys as the old one holds.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/memory.h"

#define GHOST_PRINTS 31u

struct ghost_line {
    uint16_t oldest;
    uint16_t prints[GHOST_PRINTS]; // 0 = none
};

struct ghost_table {
    struct ghost_line *lines;
    uint64_t count;
};

struct ghost {
    struct memory *memory;
    struct ghost_table now;
    struct ghost_table old;
    struct ghost_table retired; // goes back to the system in pieces
    size_t retired_bytes;       // of it that did already
    uint64_t remembered;        // by `now`, in all
};

void ghost_init(struct ghost *g, struct memory *m);
void ghost_deinit(struct ghost *g);
// `wanted`: how many keys it shall hold. Without memory for a table it forgets.
void ghost_remember(struct ghost *g, uint64_t hash, uint64_t wanted);
// Was it here? Then it is forgotten.
bool ghost_recall(struct ghost *g, uint64_t hash);
// Gives a piece of what is not needed back. True: more to do.
bool ghost_discard(struct ghost *g);
uint64_t ghost_bytes(const struct ghost *g);
