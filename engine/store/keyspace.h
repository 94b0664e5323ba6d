// SPDX-License-Identifier: Apache-2.0
// The keys of one database of one shard: index + slab slots + deadlines. One thread; no clock, no system call.
//
// Every function that takes a key takes its index hash too (keyspace_hash), so that a pipeline can hash and prefetch all its
// keys before any of them runs. `now_ms` is the turn's wall clock: an entry whose deadline is <= now is never seen.
#pragma once

#include <stdint.h>

#include "base/assert.h"
#include "base/prng.h"
#include "base/slice.h"
#include "engine/store/blob.h"
#include "engine/store/entry.h"

struct keyspace;
struct store;

uint64_t keyspace_hash(const struct keyspace *ks, struct slice key);

// Steps, each for all keys of a batch before the next step: the bucket's line, then the lines of the entry it points to. True: the
// entry is not in its home bucket (8 % are not) and the next bucket has been asked for; then the third step asks for its entry.
void keyspace_prefetch(const struct keyspace *ks, uint64_t hash);
bool keyspace_prefetch_entry(const struct keyspace *ks, uint64_t hash);
void keyspace_prefetch_displaced(const struct keyspace *ks, uint64_t hash);

// NULL: not there, or expired (then it is removed and counted). Notes the access for eviction.
struct entry *keyspace_find(struct keyspace *ks, struct slice key, uint64_t hash, int64_t now_ms);
// The same for callers whose clock has a price: it is read only when the answer depends on it.
struct keyspace_clock {
    int64_t (*now_ms)(struct keyspace_clock *clock);
};
struct entry *keyspace_find_at(struct keyspace *ks, struct slice key, uint64_t hash, struct keyspace_clock *clock);
// The same without touching recency and without removing (OBJECT, SCAN, DEBUG).
struct entry *keyspace_peek(struct keyspace *ks, struct slice key, uint64_t hash, int64_t now_ms);

// With index-hash public: the key of `key_len` bytes whose route hash is `route_hash`. *count: how many alive keys these two name;
// with more than one the entry is one of them.
struct entry *keyspace_find_public(struct keyspace *ks, uint64_t route_hash, size_t key_len, int64_t now_ms, uint32_t *count);

#define KEYSPACE_KEEP_DEADLINE INT64_C(-2)

// Sets the whole value, new or old key in one probe. `deadline_ms`: Unix ms, ENTRY_NO_DEADLINE or KEYSPACE_KEEP_DEADLINE.
// `value` may be a view of memory that this call does not move (never of the same keyspace). NULL = out of memory, nothing changed.
struct entry *keyspace_set(struct keyspace *ks, struct slice key, uint64_t hash, enum entry_type type, struct slice value,
                           int64_t deadline_ms, int64_t now_ms);
// Uninitialised value of `len` bytes, to be filled by the caller before anything else happens.
struct entry *keyspace_set_len(struct keyspace *ks, struct slice key, uint64_t hash, enum entry_type type, size_t len, int64_t deadline_ms,
                               int64_t now_ms);
// Takes the blob (also when it fails).
struct entry *keyspace_set_blob(struct keyspace *ks, struct slice key, uint64_t hash, enum entry_type type, struct blob *value,
                                int64_t deadline_ms, int64_t now_ms);
// Changes the value's length; bytes up to the smaller length stay, new ones are zero. NULL = out of memory, entry unchanged.
// Repeated growth by a little is amortised: the slot keeps some room.
struct entry *keyspace_resize(struct keyspace *ks, struct entry *e, size_t len);
// The entry may move. NULL = out of memory, unchanged. ENTRY_NO_DEADLINE removes it.
struct entry *keyspace_set_deadline(struct keyspace *ks, struct entry *e, int64_t deadline_ms);

// The value's bytes stay where they are, unchanged, until the pin is given back, whatever becomes of the entry. Memory held back by
// pins does not count as used: hold them briefly. Pins are taken and given back where the keyspace is used: nothing is atomic.
struct keyspace_pin {
    struct blob *blob; // NULL: in a slot
    uint8_t side;
};
struct keyspace_pin keyspace_pin(struct keyspace *ks, struct entry *e);
void keyspace_unpin(struct keyspace *ks, struct keyspace_pin pin);

// The value's bytes, to be written in place: as entry_value_bytes, once whoever wants to see what they were (store_listen_before) has.
uint8_t *keyspace_write(struct keyspace *ks, struct entry *e, uint64_t hash);
// The caller has written bytes lo to hi of the value in place, or changed the entry's mark: whoever listens (store_listen) hears of it.
// All other changes tell by themselves.
void keyspace_wrote(struct keyspace *ks, struct slice key, uint64_t hash, uint64_t lo, uint64_t hi);
void keyspace_marked(struct keyspace *ks, struct slice key, uint64_t hash);

bool keyspace_delete(struct keyspace *ks, struct slice key, uint64_t hash, int64_t now_ms); // true: it was there and alive
void keyspace_remove(struct keyspace *ks, struct entry *e);

uint64_t keyspace_count(const struct keyspace *ks);
uint64_t keyspace_deadline_count(const struct keyspace *ks);
int64_t keyspace_average_ttl_ms(const struct keyspace *ks, int64_t now_ms); // estimate for INFO; 0 when none

// Visits entries in hash order from `cursor` (0 = begin) until at least `count` buckets' worth were visited; returns the cursor
// to go on with, 0 = done. Only the upper 48 bits of order are used: cursors fit 48 bits. Guarantee as Redis' SCAN: a key that is
// there from begin to end is visited at least once, whatever grows meanwhile. `visit` must not change the keyspace.
typedef void keyspace_visit_fn(void *context, struct entry *e);
uint64_t keyspace_scan(struct keyspace *ks, uint64_t cursor, uint32_t count, int64_t now_ms, keyspace_visit_fn *visit, void *context);

// Visits exactly the entries whose hashes are in [from, next), expired ones too, and returns next; 0: that was the end. One bucket, some
// ten entries. Whatever changes between two calls: what has a hash below `next` was seen as it was, nothing above it was.
typedef void keyspace_walk_fn(void *context, uint64_t hash, struct entry *e);
uint64_t keyspace_walk(struct keyspace *ks, uint64_t from, keyspace_walk_fn *visit, void *context);

// A key drawn uniformly (nearly), NULL when there is none alive.
struct entry *keyspace_random(struct keyspace *ks, struct prng *prng, int64_t now_ms);

// What the eviction policy knows of an entry: how long nobody asked for it (under an LRU policy, to a quarter of a second), and its
// access counter of 0 to 255 (under an LFU policy). 0 when the policy does not say.
int64_t keyspace_idle_ms(const struct keyspace *ks, const struct entry *e, int64_t now_ms);
uint32_t keyspace_frequency(const struct keyspace *ks, const struct entry *e, int64_t now_ms);

// Forgets all keys. The memory goes back in pieces: store_maintain does it.
void keyspace_clear(struct keyspace *ks);

// Counters since start.
struct keyspace_stats {
    uint64_t hits, misses, expired, evicted;
};
struct keyspace_stats keyspace_stats(const struct keyspace *ks);
