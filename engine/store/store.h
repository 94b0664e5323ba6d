// SPDX-License-Identifier: Apache-2.0
// All that one worker owns: an arena and, for each of its shards, the databases. Shard s belongs to worker s mod W.
#pragma once

#include <stdint.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/memory.h"
#include "engine/store/keyspace.h"
#include "engine/store/route.h"

enum store_policy { // maxmemory-policy: what Redis' names say, by sampling as there, and ours
    STORE_NOEVICTION,
    STORE_ALLKEYS_LRU,
    STORE_ALLKEYS_LFU,
    STORE_ALLKEYS_RANDOM,
    STORE_VOLATILE_LRU,
    STORE_VOLATILE_LFU,
    STORE_VOLATILE_RANDOM,
    STORE_VOLATILE_TTL,
    STORE_ALLKEYS_S3FIFO, // ours: s3fifo.h
    STORE_VOLATILE_S3FIFO,
    STORE_POLICIES,
};

struct store_options {
    struct route route;  // shard count and mode
    uint32_t worker;     // this worker's number
    uint32_t workers;    // W
    uint32_t databases;  // per shard
    uint64_t memory_max; // this worker's share of maxmemory, 0 = none
    enum store_policy policy;
    bool public_hash; // index-hash public
    struct hash_secret secret;
    uint64_t seed; // of the store's own choices
    struct memory *memory;
};

struct store;

int store_new(struct store **out, const struct store_options *options) warn_unused;
struct store *store_free(struct store *s);
// Where large values for this store are best made; for the thread of the store only.
struct blobs *store_blobs(struct store *s);

// The keyspace of a shard; NULL when the shard belongs to another worker.
struct keyspace *store_keyspace(struct store *s, uint32_t shard, uint32_t db);
uint32_t store_databases(const struct store *s);
void store_swap(struct store *s, uint32_t db_a, uint32_t db_b);
void store_swap_shard(struct store *s, uint32_t shard, uint32_t db_a, uint32_t db_b); // of one that is this worker's
// Where a keyspace of this store is now: its shard and database.
void store_place(const struct store *s, const struct keyspace *ks, uint32_t *shard, uint32_t *db);

// Bytes in use: slots of entries, index and deadlines, large values, what was charged. What DEL frees counts at once. What is held beyond
// them counts against maxmemory from a margin on (limit.h); store_memory().reserved says what is resident.
uint64_t store_memory_used(const struct store *s);
void store_set_memory_max(struct store *s, uint64_t bytes);
void store_set_policy(struct store *s, enum store_policy policy);
// Whether lookups note the access for eviction (they do at first). Gives what held before.
bool store_set_touching(struct store *s, bool touching);
enum store_policy store_policy(const struct store *s);
bool store_notes_reads(const struct store *s); // lookups write to entries, for the policy
// Others' bytes that count too (buffers of connections): the store evicts for them as for its own.
void store_charge(struct store *s, int64_t bytes);
// Before a write: evicts until under the limit or nothing may be evicted, and compacts where too much is held. At most 64 entries a call
// while what is held is within the margins (limit.h), as many as what is beyond them takes else; the rest is for later calls and for
// store_maintain. Entries may have moved. False: over the limit, and nothing may go.
bool store_make_room(struct store *s, int64_t now_ms);

// A slice of background work: expired entries, cleared keyspaces, eviction left over, compaction, pages for the system. At most about
// `budget` entries are touched. Returns true while there is more to do at once.
bool store_maintain(struct store *s, int64_t now_ms, uint32_t budget);
// All that cleared keyspaces held goes back at once, however long that takes.
void store_reclaim(struct store *s);
// When maintain wants to run next for deadlines (Unix ms), INT64_MAX = never.
int64_t store_next_deadline(const struct store *s);

enum store_change_kind {
    STORE_SET,      // the whole value, with its deadline
    STORE_RANGE,    // bytes lo to hi of the value, which may have grown to `hi`; what it grew by is zero before it is written
    STORE_MARK,     // the mark alone: no client sees another value
    STORE_DEADLINE, // nothing but the deadline
    STORE_GONE,     // for whatever reason, also its age, or for room
    STORE_CLEAR,    // the keyspace is about to be cleared, all its keys are still there; no hash, no key
};

struct store_change {
    struct keyspace *keyspace;
    uint64_t hash;
    struct slice key;
    enum store_change_kind kind;
    uint64_t lo, hi;
    const struct entry *entry; // STORE_SET: where it is until something else of the store changes or is looked after; NULL: not said
};

// Told of every change as it happens. The entry may be half made: only what the change says is to be looked at. One may listen at a
// time; nobody: NULL, and a change costs a branch.
typedef void store_change_fn(void *context, const struct store_change *change);
void store_listen(struct store *s, store_change_fn *fn, void *context);

// Told before a change of a key, as long as all of its old value, deadline and mark is there to be copied (`e`; NULL: the key is new).
// Also before expiry and eviction remove it; `key` without bytes: the keyspace is about to be cleared. It may come for
// a change that then finds no memory. The keyspace is not to be changed, and of pins only blob_pin is to be taken.
typedef void store_before_fn(void *context, struct keyspace *ks, uint64_t hash, struct slice key, struct entry *e);
void store_listen_before(struct store *s, store_before_fn *fn, void *context);

// Every keyspace by a number that stays its own whatever SWAPDB does (store_place says whose it is).
uint32_t store_keyspaces(const struct store *s);
struct keyspace *store_keyspace_at(struct store *s, uint32_t number);
uint32_t keyspace_number(const struct keyspace *ks);

// What calls did beside the work for their own key, since the store was made: the worst call's share of it bounds its pause.
struct store_work {
    uint64_t keys;   // read for their hash, or entries released
    uint64_t moved;  // references put elsewhere
    uint64_t places; // of directories copied
};
struct store_work store_work(const struct store *s);

struct store_memory {
    uint64_t reserved; // pages taken from the system
    uint64_t entries;  // bytes of slots in use
    uint64_t index;
    uint64_t blobs;
    uint64_t deadlines;
    uint64_t order;      // of S3-FIFO: queues and ghost
    uint64_t free_slots; // bytes of slots not in use
};
struct store_memory store_memory(const struct store *s);
