// SPDX-License-Identifier: Apache-2.0
// What a handle of libskerry is made of.
//
//   struct skerry (shared)  ---> core ---> shard 0 (lock, store)   shard 1   shard 2   shard 3
//
//   struct skerry (local 0) ---> core ---> shard 0               -         shard 2   -
//   struct skerry (local 1) ----^          -                     shard 1   -         shard 3
//
// Each shard is a store of its own with an arena of its own: what a lock or an owner protects, nothing else touches.
//
// Who may touch what: a core's fields but `handles` never change once it is open. A shard belongs to whoever holds its lock, or to the
// owner of the local handle that lists it.
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/memory.h"
#include "engine/store/store.h"
#include "skerry/skerry.h"

#define SHARDS_DEFAULT 16u

// Databases of each shard's store.
enum { DB_KEYS, DB_PACKS, DB_COUNT };

struct shard {
    pthread_mutex_t lock; // taken through shared handles only
    struct store *store;
    struct keyspace *keys;
    struct keyspace *packs;
    struct guard *guards; // of views, in builds with audit
    uint64_t views;       // alive
    int64_t now_ms;       // when somebody last looked at the clock
    uint32_t number;
    bool limited; // writes need the time, and room made first
} __attribute__((__aligned__(128)));

// The host's clock, or the system's.
struct host_clock {
    struct keyspace_clock clock;
    int64_t (*wall_ms)(void *context);
    uint64_t (*monotonic_ns)(void *context);
    void *context;
};

// The host's pages behind the store's door.
struct host_memory {
    struct memory memory;
    struct skerry_memory host;
};

struct core {
    struct route route;
    bool public_hash;
    bool locks; // shared handles: set when open, cleared by a split
    struct hash_keys hash_keys;
    struct host_clock clock;
    struct host_memory host_memory;
    struct memory *memory;
    atomic_uint handles;
    struct core *next; // of all cores of the process, for fork
    struct core *prev;
    struct shard shards[];
};

typedef enum skerry_status skerry_get_fn(struct skerry *s, const void *key, size_t key_len, void *buffer, size_t capacity, size_t *len);

struct skerry {
    struct core *core;
    bool local;
    uint32_t worker; // of a local store
    uint32_t workers;
    skerry_get_fn *get;       // what skerry_get does for this handle
    struct keyspace *plain;   // of a local store whose get is owner.c's
    atomic_uintptr_t owner;   // thread of a local store, 0 = nobody yet
    atomic_uint clones;       // of a shared one, itself included
    atomic_uint next_to_tend; // shard, for maintenance
    struct shard *shards[];   // NULL: another's
};

// core.c

int core_new(struct core **out, const struct skerry_options *options) warn_unused;
struct core *core_free(struct core *c);
void shard_close(struct shard *sh);
// NULL = out of memory.
struct skerry *handle_new(struct core *c, uint32_t worker, uint32_t workers, bool local);

// single.c: of any key by any handle.

enum skerry_status single_get(struct skerry *s, const void *key, size_t key_len, void *buffer, size_t capacity, size_t *len);

// owner.c: sets s->get, by what the handle is and its store's policy.

void owner_choose_get(struct skerry *s);

// fork.c: every core between its birth and its end.

void fork_register(struct core *c);
void fork_unregister(struct core *c);

// host.c

struct memory *host_memory_init(struct host_memory *m, const struct skerry_memory *host);
void host_clock_init(struct host_clock *c, const struct skerry_options *options);

static inline int64_t core_now_ms(const struct core *c)
{
    return c->clock.wall_ms(c->clock.context);
}

// Entering

#if defined(__x86_64__)
// The thread pointer: one load, and no call into the C library.
static inline uintptr_t thread_here(void)
{
    uintptr_t self;
    __asm__("mov %%fs:0, %0" : "=r"(self));
    return self;
}
#else
static inline uintptr_t thread_here(void)
{
    return (uintptr_t)pthread_self();
}
#endif

// False at its first use, too.
static inline bool thread_is_owner(const struct skerry *s)
{
    return atomic_load_explicit(&s->owner, memory_order_relaxed) == thread_here();
}

static inline bool thread_owns(struct skerry *s)
{
    uintptr_t here = thread_here();
    uintptr_t owner = atomic_load_explicit(&s->owner, memory_order_relaxed);
    if (likely(owner == here))
        return true;
    return owner == 0 && atomic_compare_exchange_strong_explicit(&s->owner, &owner, here, memory_order_acquire, memory_order_relaxed);
}

// May this thread use the handle at all?
static inline bool handle_usable(struct skerry *s)
{
    return !s->local || thread_owns(s);
}

static inline void shard_lock(const struct skerry *s, struct shard *sh)
{
    if (!s->local)
        pthread_mutex_lock(&sh->lock);
}

static inline void shard_unlock(const struct skerry *s, struct shard *sh)
{
    if (!s->local)
        pthread_mutex_unlock(&sh->lock);
}

// Where a key is.
struct place {
    uint64_t hash; // of the index
    uint32_t shard;
};

// Route and index share one hash where they can: XXH3 is computed at most once, and not at all where there is one shard and the
// index's hash is keyed.
struct place core_place(const struct core *c, struct slice key);

// The same as part of the caller.
static inline __attribute__((__always_inline__)) struct place core_place_here(const struct core *c, struct slice key)
{
    if (likely(c->route.shards == 1))
        return (struct place){ .hash = c->public_hash ? route_mix(hash_route(key)) : hash_keyed(&c->hash_keys, key) };
    return core_place(c, key);
}

static inline struct place place_prepared(const struct skerry_prepared *key)
{
    return (struct place){ .hash = key->opaque[0], .shard = (uint32_t)key->opaque[1] };
}

// A session's pack lies where the session's keys are in session mode: its whole name is hashed.
static inline struct place core_session_place(const struct core *c, struct slice session)
{
    uint64_t h = hash_route(session);
    return (struct place){ .hash = c->public_hash ? route_mix(h) : hash_keyed(&c->hash_keys, session),
                           .shard = route_shard_of_hash(&c->route, h) };
}

// The shard, locked; NULL with the reason in *status. To be left with shard_unlock.
static inline struct shard *shard_enter(struct skerry *s, uint32_t number, enum skerry_status *status)
{
    if (unlikely(!handle_usable(s))) {
        *status = SKERRY_WRONG_THREAD;
        return NULL;
    }
    struct shard *sh = s->shards[number];
    if (unlikely(sh == NULL)) {
        *status = SKERRY_WRONG_ROUTE;
        return NULL;
    }
    shard_lock(s, sh);
    return sh;
}
