// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/watched.h"

#include <errno.h>
#include <stdlib.h>

#include "engine/shard/worker.h"

#define CHAINS_MIN 64

struct watch {
    struct watch *next;  // of the chain
    struct watch *other; // of the same watcher
    struct watcher *watcher;
    uint64_t hash;
    uint32_t shard;
    uint32_t db;
    bool there; // when it was watched
    size_t len;
    uint8_t key[];
};

struct watcher {
    struct watcher *next; // of the chain
    struct watch *watches;
    uint64_t client;
    bool changed;
};

int watches_init(struct watches *t)
{
    *t = (struct watches){ .key_mask = CHAINS_MIN - 1, .watcher_mask = CHAINS_MIN - 1 };
    t->keys = calloc(CHAINS_MIN, sizeof *t->keys);
    t->by_client = calloc(CHAINS_MIN, sizeof *t->by_client);
    return t->keys != NULL && t->by_client != NULL ? 0 : -ENOMEM;
}

void watches_deinit(struct watches *t)
{
    for (uint32_t i = 0; t->keys != NULL && t->by_client != NULL && i <= t->watcher_mask; i++)
        for (struct watcher *r = t->by_client[i], *next; r != NULL; r = next) {
            next = r->next;
            for (struct watch *k = r->watches, *other; k != NULL; k = other) {
                other = k->other;
                free(k);
            }
            free(r);
        }
    free(t->keys);
    free(t->by_client);
}

static struct slice key_of(const struct watch *k)
{
    return slice_of(k->key, k->len);
}

static struct watch **key_chain(const struct watches *t, uint64_t hash)
{
    return &t->keys[(hash ^ hash >> 32) & t->key_mask];
}

static struct watcher **client_chain(const struct watches *t, uint64_t client)
{
    return &t->by_client[client & t->watcher_mask];
}

static struct watcher *find(const struct watches *t, uint64_t client)
{
    struct watcher *r = *client_chain(t, client);
    while (r != NULL && r->client != client)
        r = r->next;
    return r;
}

// Twice as many chains, or as many as before when there is no memory.
static void grow_keys(struct watches *t)
{
    uint32_t old = t->key_mask + 1;
    struct watch **before = t->keys, **keys = calloc((size_t)old * 2, sizeof *keys);
    if (keys == NULL)
        return;
    t->keys = keys;
    t->key_mask = old * 2 - 1;
    for (uint32_t i = 0; i < old; i++)
        for (struct watch *k = before[i], *next; k != NULL; k = next) {
            next = k->next;
            k->next = *key_chain(t, k->hash);
            *key_chain(t, k->hash) = k;
        }
    free(before);
}

static void grow_clients(struct watches *t)
{
    uint32_t old = t->watcher_mask + 1;
    struct watcher **before = t->by_client, **clients = calloc((size_t)old * 2, sizeof *clients);
    if (clients == NULL)
        return;
    t->by_client = clients;
    t->watcher_mask = old * 2 - 1;
    for (uint32_t i = 0; i < old; i++)
        for (struct watcher *r = before[i], *next; r != NULL; r = next) {
            next = r->next;
            r->next = *client_chain(t, r->client);
            *client_chain(t, r->client) = r;
        }
    free(before);
}

// ---- what the store reports

static bool is_of(struct worker *w, const struct watch *k, const struct keyspace *ks)
{
    return store_keyspace(w->store, k->shard, k->db) == ks;
}

static bool exists(struct worker *w, const struct watch *k, uint32_t db)
{
    return keyspace_peek(store_keyspace(w->store, k->shard, db), key_of(k), k->hash, w->now_ms) != NULL;
}

static void cleared(struct worker *w, const struct keyspace *ks)
{
    for (uint32_t i = 0; i <= w->watches.key_mask; i++)
        for (struct watch *k = w->watches.keys[i]; k != NULL; k = k->next)
            k->watcher->changed |= is_of(w, k, ks) && exists(w, k, k->db);
}

void watched_changed(struct worker *w, const struct store_change *change)
{
    if (change->kind == STORE_CLEAR) {
        cleared(w, change->keyspace);
        return;
    }
    if (change->kind == STORE_MARK)
        return;
    for (struct watch *k = *key_chain(&w->watches, change->hash); k != NULL; k = k->next)
        if (k->hash == change->hash && is_of(w, k, change->keyspace) && slice_equal(key_of(k), change->key))
            k->watcher->changed = true;
}

void watched_swapped(struct worker *w, uint32_t a, uint32_t b)
{
    for (uint32_t i = 0; a != b && w->watches.count > 0 && i <= w->watches.key_mask; i++)
        for (struct watch *k = w->watches.keys[i]; k != NULL; k = k->next) {
            if (k->db != a && k->db != b)
                continue;
            k->watcher->changed |= exists(w, k, a) || exists(w, k, b);
        }
}

// ---- by client

static struct watcher *open_watcher(struct watches *t, uint64_t client)
{
    struct watcher *r = find(t, client);
    if (r != NULL)
        return r;
    if (t->watchers > t->watcher_mask)
        grow_clients(t);
    r = calloc(1, sizeof *r);
    if (r == NULL)
        return NULL;
    r->client = client;
    r->next = *client_chain(t, client);
    *client_chain(t, client) = r;
    t->watchers++;
    return r;
}

static bool has(const struct watches *t, const struct watcher *r, uint32_t db, uint64_t hash, struct slice key)
{
    for (const struct watch *k = *key_chain(t, hash); k != NULL; k = k->next)
        if (k->watcher == r && k->hash == hash && k->db == db && slice_equal(key_of(k), key))
            return true;
    return false;
}

bool watched_add(struct worker *w, uint64_t client, uint32_t db, struct slice key)
{
    struct watches *t = &w->watches;
    struct watcher *r = open_watcher(t, client);
    if (r == NULL)
        return false;
    uint32_t shard = route_shard(&w->route, key);
    struct keyspace *ks = store_keyspace(w->store, shard, db);
    uint64_t hash = keyspace_hash(ks, key);
    if (has(t, r, db, hash, key))
        return true;
    // Looked up with removal: what has expired by now is not there, and its removal later is no change.
    bool there = keyspace_find(ks, key, hash, w->now_ms) != NULL;
    if (t->count > t->key_mask)
        grow_keys(t);
    struct watch *k = malloc(sizeof *k + key.len);
    if (k == NULL)
        return false;
    *k = (struct watch){ .watcher = r, .other = r->watches, .hash = hash, .shard = shard, .db = db, .there = there, .len = key.len };
    if (key.len > 0)
        memcpy(k->key, key.data, key.len);
    r->watches = k;
    k->next = *key_chain(t, hash);
    *key_chain(t, hash) = k;
    if (t->count++ == 0)
        worker_listen_changes(w);
    return true;
}

static void forget(struct worker *w, struct watcher *r)
{
    struct watches *t = &w->watches;
    for (struct watch *k = r->watches, *other; k != NULL; k = other) {
        other = k->other;
        struct watch **at = key_chain(t, k->hash);
        while (*at != k)
            at = &(*at)->next;
        *at = k->next;
        free(k);
        if (--t->count == 0)
            worker_listen_changes(w);
    }
    struct watcher **at = client_chain(t, r->client);
    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    t->watchers--;
    free(r);
}

void watched_forget(struct worker *w, uint64_t client)
{
    struct watcher *r = find(&w->watches, client);
    if (r != NULL)
        forget(w, r);
}

bool watched_settle(struct worker *w, uint64_t client)
{
    struct watcher *r = find(&w->watches, client);
    if (r == NULL)
        return false;
    bool changed = r->changed;
    // Expired meanwhile, and nobody has looked.
    for (const struct watch *k = r->watches; !changed && k != NULL; k = k->other)
        changed = k->there && !exists(w, k, k->db);
    forget(w, r);
    return changed;
}
