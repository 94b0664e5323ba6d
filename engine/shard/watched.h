// SPDX-License-Identifier: Apache-2.0
// WATCH at the worker that owns the key: which clients, of any worker, want to know whether it has changed since.
// The keyspace itself reports what changes (store_listen), so the answer is exact: a command that changes nothing marks nobody, and an
// expiry, an eviction, FLUSHALL and SWAPDB mark those whose key is another one now. Nobody watches: the store has no listener.
// Bounds: a connection watches as much as its query buffer may hold (multi.c); it forgets with EXEC, DISCARD, UNWATCH, RESET and its end.
#pragma once

#include <stdint.h>

#include "base/assert.h"
#include "base/chains.h"
#include "base/slice.h"

struct worker;

struct watches {
    struct chains keys;    // that are watched, by hash
    struct chains clients; // that watch, by number
};

int watches_init(struct watches *t) warn_unused;
void watches_deinit(struct watches *t);

// `client`: its number. Twice the same key is once. False: out of memory.
bool watched_add(struct worker *w, uint64_t client, uint32_t db, struct slice key) warn_unused;
void watched_forget(struct worker *w, uint64_t client);
// Has any of them changed? Forgets them.
bool watched_settle(struct worker *w, uint64_t client);
// The store says so (worker.c).
struct store_change;
void watched_changed(struct worker *w, const struct store_change *change);
// Before the databases change places.
void watched_swapped(struct worker *w, uint32_t a, uint32_t b);
