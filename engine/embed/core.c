// SPDX-License-Identifier: Apache-2.0
// The shards of a store, from opening to the last handle's end.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/embed/embed.h"
#include "reactor/entropy.h"
#include "reactor/memory.h"

static uint64_t draw(const struct skerry_options *o)
{
    return o->random != NULL ? o->random(o->context) : entropy_u64();
}

static struct memory *choose_memory(struct core *c, const struct skerry_options *o)
{
    static const enum memory_hugepages HUGE_PAGES[] = {
        [SKERRY_HUGE_TRANSPARENT] = MEMORY_HUGE_THP,
        [SKERRY_HUGE_RESERVED] = MEMORY_HUGE_TLB,
        [SKERRY_HUGE_OFF] = MEMORY_HUGE_OFF,
    };
    if (o->memory != NULL)
        return host_memory_init(&c->host_memory, o->memory);
    return memory_system(-1, HUGE_PAGES[o->huge_pages]);
}

static int shard_open(struct core *c, struct shard *sh, const struct skerry_options *o)
{
    uint32_t shards = c->route.shards;
    struct store_options so = {
        .workers = 1,
        .databases = DB_COUNT,
        .memory_max = (o->memory_max + shards - 1) / shards,
        .policy = (enum store_policy)o->policy,
        .public_hash = c->public_hash,
        .secret = c->hash_keys.secret,
        .seed = draw(o),
        .memory = c->memory,
    };
    route_init(&so.route, 1, ROUTE_FULL_KEY); // every key that comes here is at home
    int failed = store_new(&sh->store, &so);
    if (failed)
        return failed;
    sh->keys = store_keyspace(sh->store, 0, DB_KEYS);
    sh->packs = store_keyspace(sh->store, 0, DB_PACKS);
    sh->limited = o->memory_max > 0 || o->policy != SKERRY_NOEVICTION;
    // What a read may skip, a write without a deadline may too: its own clock reading decides nothing.
    sh->now_ms = core_now_ms(c);
    return 0;
}

void shard_close(struct shard *sh)
{
    sh->store = store_free(sh->store);
}

static void lock_init(pthread_mutex_t *lock)
{
    // Whoever holds it is out again in well under a microsecond: spinning a little is cheaper than sleeping.
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ADAPTIVE_NP);
    pthread_mutex_init(lock, &attributes);
    pthread_mutexattr_destroy(&attributes);
}

int core_new(struct core **out, const struct skerry_options *o)
{
    uint32_t shards = o->shards;
    size_t size = sizeof(struct core) + shards * sizeof(struct shard);
    struct core *c = aligned_alloc(_Alignof(struct core), round_up(size, _Alignof(struct core)));
    if (c == NULL)
        return -ENOMEM;
    memset(c, 0, size);
    route_init(&c->route, shards, (enum route_mode)o->route_mode);
    c->public_hash = o->hash == SKERRY_HASH_PUBLIC;
    c->locks = true;
    hash_keys_init(&c->hash_keys, &(struct hash_secret){ .k0 = draw(o), .k1 = draw(o) });
    host_clock_init(&c->clock, o);
    c->memory = choose_memory(c, o);
    for (uint32_t i = 0; i < shards; i++) {
        c->shards[i].number = i;
        lock_init(&c->shards[i].lock);
    }
    for (uint32_t i = 0; i < shards; i++) {
        int failed = shard_open(c, &c->shards[i], o);
        if (failed) {
            core_free(c);
            return failed;
        }
    }
    *out = c;
    return 0;
}

struct core *core_free(struct core *c)
{
    for (uint32_t i = 0; i < c->route.shards; i++) {
        shard_close(&c->shards[i]);
        pthread_mutex_destroy(&c->shards[i].lock);
    }
    free(c);
    return NULL;
}

struct skerry *handle_new(struct core *c, uint32_t worker, uint32_t workers, bool local)
{
    struct skerry *s = calloc(1, sizeof *s + c->route.shards * sizeof s->shards[0]);
    if (s == NULL)
        return NULL;
    s->core = c;
    s->local = local;
    s->worker = worker;
    s->workers = workers;
    atomic_store(&s->clones, 1);
    for (uint32_t i = worker; i < c->route.shards; i += workers)
        s->shards[i] = &c->shards[i];
    owner_choose_get(s);
    return s;
}

struct place core_place(const struct core *c, struct slice key)
{
    struct place p = { 0 };
    uint64_t h = 0;
    bool by_session = c->route.mode == ROUTE_SESSION_PREFIX && c->route.shards > 1;
    if (c->public_hash || (c->route.shards > 1 && !by_session))
        h = hash_route(key);
    if (c->route.shards > 1)
        p.shard = route_shard_of_hash(&c->route, unlikely(by_session) ? hash_route(route_session_prefix(key)) : h);
    p.hash = c->public_hash ? route_mix(h) : hash_keyed(&c->hash_keys, key);
    return p;
}
