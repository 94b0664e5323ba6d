// SPDX-License-Identifier: Apache-2.0
// Which keys a walk need not write any more: 16 bytes each, in tables that grow one by one, so that no turn moves more than one of them.
// A key is known by two hashes; the second has a secret of this set alone, so that nobody can make keys that pass for others.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"

#define SEEN_TABLES 4096u

struct seen_mark {
    uint64_t hash;
    uint64_t check; // never 0
};

struct seen_table {
    struct seen_mark *marks;
    uint32_t count, cap; // a power of two, or 0
};

struct save_seen {
    struct seen_table *tables; // [SEEN_TABLES]
    uint64_t count, bytes;
};

bool save_seen_init(struct save_seen *s) warn_unused;
void save_seen_deinit(struct save_seen *s);
bool save_seen_has(const struct save_seen *s, uint64_t hash, uint64_t check);
// False: out of memory.
bool save_seen_add(struct save_seen *s, uint64_t hash, uint64_t check) warn_unused;
