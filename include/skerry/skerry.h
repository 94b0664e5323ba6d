// SPDX-License-Identifier: Apache-2.0
// libskerry: skerry's store inside a program, without a server. For C (11 or later) and C++.
//
// A store is cut into shards; a key's bytes alone decide its shard. A handle is of one of two kinds:
//
//   shared   any thread, any key. One lock per shard, held for one operation (or one shard's part of a batch).
//   local    made by skerry_split: owns some of the shards and takes no lock. It belongs to the thread that uses it first;
//            other threads get SKERRY_WRONG_THREAD, keys of other handles' shards get SKERRY_WRONG_ROUTE.
//
// All functions take both kinds. Those that take a key copy what they keep; nothing is kept of the caller's memory.
// A function that fails has changed nothing, unless it says so.
//
// Bytes: keys are 0 to SKERRY_KEY_MAX bytes, values 0 to SKERRY_VALUE_MAX; any bytes. A pointer may be NULL where its length is 0.
// Times are Unix milliseconds (`..._at_ms`) or milliseconds from now (`ttl_ms`). A key is never seen from its deadline on.
//
// fork: a shared store may be used on both sides of a fork (each has its own copy from then on), whatever other threads were
// doing in it. A local store may be used in the child only by the thread that forked, when it is its owner; local stores of other
// threads answer SKERRY_WRONG_THREAD there for good. A fork must not happen inside a visit function or by hand of a signal.
//
// Strings are the only type of value today. Each further type (hash, list, set, sorted set) will bring functions of its own name
// (skerry_hash_...), ops at the end of enum skerry_op_kind, and statuses at the end of enum skerry_status; nothing here changes.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SKERRY_VERSION_MAJOR 0
#define SKERRY_VERSION_MINOR 1
#define SKERRY_VERSION_PATCH 0

#define SKERRY_API __attribute__((__visibility__("default")))

#define SKERRY_KEY_MAX    ((size_t)512 << 20)
#define SKERRY_VALUE_MAX  ((size_t)512 << 20)
#define SKERRY_SHARDS_MAX 4096u

#define SKERRY_NO_TTL   INT64_C(-1) // without deadline
#define SKERRY_KEEP_TTL INT64_C(-2) // the deadline that the key has already, if any

enum skerry_status {
    SKERRY_OK,
    SKERRY_NOT_FOUND,    // no such key, or its deadline has passed
    SKERRY_MISMATCH,     // skerry_cas: the value is another one
    SKERRY_TOO_SMALL,    // the buffer; the length needed was told
    SKERRY_TOO_LONG,     // key or value above its limit
    SKERRY_NO_MEMORY,    // from the system or the caller's allocator
    SKERRY_FULL,         // memory_max reached, and the policy lets nothing go
    SKERRY_WRONG_ROUTE,  // the key belongs to another local store
    SKERRY_WRONG_THREAD, // the local store belongs to another thread
    SKERRY_BUSY,         // other handles or views are alive
    SKERRY_NOT_INTEGER,  // skerry_incr: the value is no decimal integer of 64 bits
    SKERRY_OVERFLOW,     // skerry_incr: the sum is none
    SKERRY_BAD_VIEW,     // released before, or none of this store's
    SKERRY_INVALID,      // an argument outside its range
};

// English, static. Never NULL.
SKERRY_API const char *skerry_status_text(enum skerry_status status);
// "0.1.0": of the library that runs, as SKERRY_VERSION_... are of the header.
SKERRY_API const char *skerry_version(void);

struct skerry; // a handle

struct skerry_slice {
    const void *data;
    size_t len;
};

// Opening and closing

enum skerry_route_mode {
    SKERRY_ROUTE_FULL_KEY,       // all bytes of the key choose the shard
    SKERRY_ROUTE_SESSION_PREFIX, // of keys `s:...:c:...` the bytes before the last `:c:`: a session's keys share a shard
};

enum skerry_hash {
    SKERRY_HASH_KEYED,  // under a secret: for keys that strangers choose
    SKERRY_HASH_PUBLIC, // XXH3-64: faster; whoever chooses the keys can make them collide
};

enum skerry_huge_pages {
    SKERRY_HUGE_TRANSPARENT, // the kernel's transparent huge pages where they are allowed
    SKERRY_HUGE_RESERVED,    // reserved ones (vm.nr_hugepages), transparent ones when those run out
    SKERRY_HUGE_OFF,
};

// What goes when memory_max is reached. As Redis' maxmemory-policy.
enum skerry_policy {
    SKERRY_NOEVICTION,
    SKERRY_ALLKEYS_LRU,
    SKERRY_ALLKEYS_LFU,
    SKERRY_ALLKEYS_RANDOM,
    SKERRY_VOLATILE_LRU,
    SKERRY_VOLATILE_LFU,
    SKERRY_VOLATILE_RANDOM,
    SKERRY_VOLATILE_TTL,
    SKERRY_ALLKEYS_S3FIFO, // ours: better than sampling at a smaller price; the choice for a cache
    SKERRY_VOLATILE_S3FIFO,
};

// Where pages come from instead of the kernel. Called with a shard's lock held, by any thread that uses the store (by one at a time
// for local stores of one thread). Small structures (about 1 KiB a shard, 48 bytes a value of 64 KiB or more) come from malloc.
struct skerry_memory {
    size_t size; // sizeof(struct skerry_memory)
    void *context;
    // Zeroed pages at a multiple of `align` (a power of two >= 4096); NULL when there are none. A shard first asks for 32 GiB of
    // addresses (of which it touches what it needs) and takes half as often as it is refused, down to 2 MiB: what is given is the
    // most that the shard's small values can ever use.
    void *(*reserve)(void *context, size_t size, size_t align);
    void (*release)(void *context, void *area, size_t size);
    // May be NULL: then an area grows by reserve, copy and release. Contents up to the smaller size stay; NULL = unchanged.
    void *(*resize)(void *context, void *area, size_t old_size, size_t new_size);
    // Contents are no longer needed and must read as zero afterwards. May be NULL: then they are written over.
    void (*discard)(void *context, void *area, size_t size);
};

// Fields that are 0 mean the default. Set `size`, zero the rest: struct skerry_options o = skerry_options_default();
struct skerry_options {
    size_t size;
    uint32_t shards; // a power of two up to SKERRY_SHARDS_MAX; 0 = 16. Each uses 2 MiB or more with huge pages
    enum skerry_route_mode route_mode;
    enum skerry_hash hash;
    enum skerry_huge_pages huge_pages;
    uint64_t memory_max; // bytes, shared out evenly among the shards, each of which may hold some 4 MiB and a 32nd more; 0 = none
    enum skerry_policy policy;
    const struct skerry_memory *memory; // copied; NULL = the kernel
    // Time and randomness, so that a host can simulate. NULL = the system's. Called by any thread that uses the store.
    int64_t (*wall_ms)(void *context);       // Unix ms
    uint64_t (*monotonic_ns)(void *context); // for skerry_maintain's budget
    uint64_t (*random)(void *context);       // only while skerry_open runs: seeds and the hash secret
    void *context;
};

static inline struct skerry_options skerry_options_default(void)
{
    struct skerry_options o;
    for (size_t i = 0; i < sizeof o; i++)
        ((unsigned char *)&o)[i] = 0;
    o.size = sizeof o;
    return o;
}

// A shared handle. `options` NULL = defaults.
SKERRY_API enum skerry_status skerry_open(struct skerry **out, const struct skerry_options *options);
// Another handle of the same shared store, to be closed on its own. NULL for a local store.
SKERRY_API struct skerry *skerry_clone(struct skerry *s);
// The last handle frees the store (a local one its shards). SKERRY_BUSY: views are alive, nothing was done. Not while another
// thread is inside a call on this handle. NULL is fine.
SKERRY_API enum skerry_status skerry_close(struct skerry *s);

// Turns a shared store into `workers` local ones (1 to the number of shards): shard i belongs to locals[i mod workers]. `s` is gone
// when this succeeds. SKERRY_BUSY: it has clones or views.
SKERRY_API enum skerry_status skerry_split(struct skerry *s, uint32_t workers, struct skerry **locals);
// The owner of a local store lets go of it; the next thread that uses it becomes its owner. On a shared store: nothing to do.
SKERRY_API enum skerry_status skerry_hand_over(struct skerry *local);

// Routing

SKERRY_API uint32_t skerry_shards(const struct skerry *s);
SKERRY_API uint32_t skerry_route_key(const struct skerry *s, const void *key, size_t key_len);
// The shard of a session's pack, and in session mode of its keys.
SKERRY_API uint32_t skerry_route_session(const struct skerry *s, const void *session, size_t session_len);
// May this handle use the shard?
SKERRY_API bool skerry_owns(const struct skerry *s, uint32_t shard);

// A key whose hash and shard are computed once. Points to the caller's key, which must stay as it is; good for all handles of one
// store, and those split from it.
struct skerry_prepared {
    struct skerry_slice key;
    uint64_t opaque[2];
};
SKERRY_API enum skerry_status skerry_prepare(const struct skerry *s, const void *key, size_t key_len, struct skerry_prepared *out);

// Single keys

// ttl_ms: 0 or more, SKERRY_NO_TTL or SKERRY_KEEP_TTL.
SKERRY_API enum skerry_status skerry_set(struct skerry *s, const void *key, size_t key_len, const void *value, size_t value_len,
                                         int64_t ttl_ms);
// Copies the value into `buffer`; *len is its length, also when `capacity` is less (SKERRY_TOO_SMALL, nothing copied).
SKERRY_API enum skerry_status skerry_get(struct skerry *s, const void *key, size_t key_len, void *buffer, size_t capacity, size_t *len);
SKERRY_API enum skerry_status skerry_delete(struct skerry *s, const void *key, size_t key_len);
// SKERRY_OK or SKERRY_NOT_FOUND.
SKERRY_API enum skerry_status skerry_exists(struct skerry *s, const void *key, size_t key_len);
// *ttl_ms: what is left, or SKERRY_NO_TTL.
SKERRY_API enum skerry_status skerry_ttl(struct skerry *s, const void *key, size_t key_len, int64_t *ttl_ms);
// A deadline that has come removes the key.
SKERRY_API enum skerry_status skerry_expire(struct skerry *s, const void *key, size_t key_len, int64_t ttl_ms);
SKERRY_API enum skerry_status skerry_expire_at(struct skerry *s, const void *key, size_t key_len, int64_t deadline_at_ms);
// Takes the deadline away. SKERRY_OK also when there was none.
SKERRY_API enum skerry_status skerry_persist(struct skerry *s, const void *key, size_t key_len);
// Adds to a decimal integer kept as text; a missing key counts as 0. The deadline stays. `result` may be NULL.
SKERRY_API enum skerry_status skerry_incr(struct skerry *s, const void *key, size_t key_len, int64_t amount, int64_t *result);
// Sets the value when it is `expected` now (SKERRY_MISMATCH, SKERRY_NOT_FOUND); the deadline stays. With `expected` NULL: sets when there
// is no such key (SKERRY_MISMATCH: there is one).
SKERRY_API enum skerry_status skerry_cas(struct skerry *s, const void *key, size_t key_len, const void *expected, size_t expected_len,
                                         const void *value, size_t value_len);

SKERRY_API enum skerry_status skerry_get_prepared(struct skerry *s, const struct skerry_prepared *key, void *buffer, size_t capacity,
                                                  size_t *len);
SKERRY_API enum skerry_status skerry_set_prepared(struct skerry *s, const struct skerry_prepared *key, const void *value, size_t value_len,
                                                  int64_t ttl_ms);
SKERRY_API enum skerry_status skerry_delete_prepared(struct skerry *s, const struct skerry_prepared *key);

// Views: a value in place, without a copy

// The bytes stay as they are until the view is released, whatever becomes of the key meanwhile. Hold views briefly: memory freed in
// a shard while views of it are alive comes back later, and memory_max does not count it. Release on the handle (or another of the same
// shared store) that made it. In builds with audit, every second view is a copy on pages that are gone after the release.
struct skerry_view {
    const void *data;
    size_t len;
    uint64_t opaque[4];
};
SKERRY_API enum skerry_status skerry_get_view(struct skerry *s, const void *key, size_t key_len, struct skerry_view *view);
SKERRY_API enum skerry_status skerry_get_view_prepared(struct skerry *s, const struct skerry_prepared *key, struct skerry_view *view);
// SKERRY_BAD_VIEW: released already. In builds with audit also when a copy of the struct was.
SKERRY_API enum skerry_status skerry_release(struct skerry *s, struct skerry_view *view);

// Batches

enum skerry_op_kind {
    SKERRY_OP_GET,
    SKERRY_OP_SET,
    SKERRY_OP_DELETE,
    SKERRY_OP_EXISTS,
    SKERRY_OP_TTL,
    SKERRY_OP_EXPIRE,
    SKERRY_OP_EXPIRE_AT,
    SKERRY_OP_PERSIST,
    SKERRY_OP_INCR,
    SKERRY_OP_CAS,
    SKERRY_OP_VIEW,
};

struct skerry_op {
    enum skerry_op_kind kind;
    enum skerry_status status;              // out
    struct skerry_slice key;                // not looked at when `prepared` is set
    const struct skerry_prepared *prepared; // may be NULL
    struct skerry_slice value;              // SET, CAS
    struct skerry_slice expected;           // CAS; data NULL = there must be no such key
    void *buffer;                           // GET
    size_t capacity;                        // of buffer
    size_t len;                             // GET, out: the value's length
    int64_t number;                         // SET, EXPIRE: ttl_ms; EXPIRE_AT: Unix ms; TTL: out; INCR: amount in, result out
    struct skerry_view *view;               // VIEW, out
};

// Runs each op as its function above would, each with its own status. Ops are grouped by shard and what they need is fetched ahead of
// them; ops on one shard (so those on one key) run in their order. Others may run between a batch's ops. Returns how many got SKERRY_OK.
SKERRY_API size_t skerry_batch(struct skerry *s, struct skerry_op *ops, size_t count);

#define SKERRY_MISSING SIZE_MAX // a length

// Many values, one buffer.
struct skerry_packed {
    void *buffer; // in
    size_t capacity;
    size_t *offsets; // in: room for one a key; where each value begins in `buffer`
    size_t *lengths; // in: room for one a key; SKERRY_MISSING where there is no such key
    size_t used;     // out: bytes; what would have been used when capacity is less
    size_t hits;     // out
};
// Values without gaps, in the order in which they were found; offsets and lengths in the keys' order. SKERRY_TOO_SMALL: all lengths,
// `used` and `hits` are set, and the buffer and the offsets hold nothing of use.
SKERRY_API enum skerry_status skerry_get_packed(struct skerry *s, const struct skerry_slice *keys, size_t count,
                                                struct skerry_packed *packed);

// Session packs: all chunks of a session in one buffer, written and replaced as one. They have names of their own: a pack is found by
// the session functions alone, not by skerry_get, and is counted apart from keys.

struct skerry_chunk {
    struct skerry_slice name; // unlike the others of its pack
    struct skerry_slice value;
};
// Replaces the session's pack; readers see the old one or the new one. ttl_ms as in skerry_set. At most 1 Mi chunks.
SKERRY_API enum skerry_status skerry_session_put(struct skerry *s, const void *session, size_t session_len,
                                                 const struct skerry_chunk *chunks, size_t count, int64_t ttl_ms);
// The number of chunks in the session's pack.
SKERRY_API enum skerry_status skerry_session_count(struct skerry *s, const void *session, size_t session_len, size_t *count);
// All chunks' values in the order in which they were put. packed->offsets and lengths have room for *count, which becomes the number
// of chunks (SKERRY_TOO_SMALL: more than there was room for, or the buffer; *count and packed->used say what is needed).
SKERRY_API enum skerry_status skerry_session_get(struct skerry *s, const void *session, size_t session_len, size_t *count,
                                                 struct skerry_packed *packed);
// The chunks of these names, as skerry_get_packed for keys. SKERRY_NOT_FOUND: no such session.
SKERRY_API enum skerry_status skerry_session_get_chunks(struct skerry *s, const void *session, size_t session_len,
                                                        const struct skerry_slice *names, size_t count, struct skerry_packed *packed);
// The whole pack in place; its chunks by skerry_pack_chunk.
SKERRY_API enum skerry_status skerry_session_view(struct skerry *s, const void *session, size_t session_len, struct skerry_view *view);
SKERRY_API enum skerry_status skerry_session_delete(struct skerry *s, const void *session, size_t session_len);

SKERRY_API size_t skerry_pack_count(const struct skerry_view *pack);
// Chunk `i` of a pack in place. SKERRY_NOT_FOUND: there are fewer.
SKERRY_API enum skerry_status skerry_pack_chunk(const struct skerry_view *pack, size_t i, struct skerry_chunk *chunk);

// Walking

struct skerry_item {
    struct skerry_slice key;
    struct skerry_slice value;
    int64_t deadline_at_ms; // SKERRY_NO_TTL = none
};
// Called with the shard's lock held: it must not use the store. What it is given is gone when it returns.
typedef void skerry_visit_fn(void *context, const struct skerry_item *item);

// Visits keys of about `steps` buckets (11 keys each, on average) from *cursor on; *cursor is 0 to begin with and 0 again at the
// end. A key that is there from begin to end is visited, perhaps twice when the store changes meanwhile. A local store: its own shards.
SKERRY_API enum skerry_status skerry_iterate(struct skerry *s, uint64_t *cursor, uint32_t steps, skerry_visit_fn *visit, void *context);

// All keys of one instant: every shard is locked until they are copied (a pause: about 50 ms for a million keys).
struct skerry_keys;
SKERRY_API enum skerry_status skerry_keys_new(struct skerry *s, struct skerry_keys **out);
SKERRY_API size_t skerry_keys_count(const struct skerry_keys *keys);
SKERRY_API struct skerry_slice skerry_keys_at(const struct skerry_keys *keys, size_t i);
SKERRY_API void skerry_keys_free(struct skerry_keys *keys);

// Keeping house

// Forgets all keys and packs. Their memory comes back by skerry_maintain.
SKERRY_API enum skerry_status skerry_clear(struct skerry *s);

// A slice of background work: expired keys, cleared stores, compaction, pages for the system. Goes on for about `budget_us` and
// sets *more (may be NULL) when there is more to do at once. Call it often; nobody else does it. A few µs when there is nothing to do.
SKERRY_API enum skerry_status skerry_maintain(struct skerry *s, uint64_t budget_us, bool *more);
// When maintenance wants to run for the next deadline (Unix ms); INT64_MAX = never.
SKERRY_API int64_t skerry_next_deadline(struct skerry *s);

SKERRY_API enum skerry_status skerry_set_memory_max(struct skerry *s, uint64_t bytes);
SKERRY_API enum skerry_status skerry_set_policy(struct skerry *s, enum skerry_policy policy);

// Sums over the handle's shards, each shard at its own instant. Counters count since skerry_open.
struct skerry_stats {
    size_t size; // in: sizeof(struct skerry_stats)
    uint64_t keys;
    uint64_t keys_with_deadline;
    uint64_t sessions;
    uint64_t hits;
    uint64_t misses;
    uint64_t expired;
    uint64_t evicted;
    uint64_t memory_used;     // bytes that count against memory_max
    uint64_t memory_reserved; // bytes of pages held
    uint64_t memory_entries;  // of memory_used: slots of entries
    uint64_t memory_index;
    uint64_t memory_large; // values of 64 KiB and more
    uint64_t memory_deadlines;
    uint64_t views; // alive
};
SKERRY_API enum skerry_status skerry_stats(struct skerry *s, struct skerry_stats *out);

#ifdef __cplusplus
}
#endif
