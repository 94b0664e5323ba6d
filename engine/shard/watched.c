// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/watched.h"

#include <stdlib.h>

#include "engine/shard/worker.h"

#define CHAINS_MIN 64

struct watch {
    struct chained node;
    struct watch *other; // of the same watcher
    struct watcher *watcher;
    uint32_t shard;
    uint32_t db;
    bool there; // when it was watched
    size_t len;
    uint8_t key[];
};

struct watcher {
    struct chained node; // its hash is the client's number
    struct watch *watches;
    bool changed;
};

static struct watch *watch_of(struct chained *node)
{
    return container_of(node, struct watch, node);
}

static struct watcher *watcher_of(struct chained *node)
{
    return container_of(node, struct watcher, node);
}

int watches_init(struct watches *t)
{
    int keys = chains_init(&t->keys, CHAINS_MIN), clients = chains_init(&t->clients, CHAINS_MIN);
    return keys != 0 ? keys : clients;
}

void watches_deinit(struct watches *t)
{
    for (struct chained *node = chains_walk(&t->clients, NULL), *next; node != NULL; node = next) {
        struct watcher *r = watcher_of(node);
        next = chains_walk(&t->clients, node);
        for (struct watch *k = r->watches, *other; k != NULL; k = other) {
            other = k->other;
            free(k);
        }
        free(r);
    }
    chains_deinit(&t->keys);
    chains_deinit(&t->clients);
}

static struct slice key_of(const struct watch *k)
{
    return slice_of(k->key, k->len);
}

static struct watcher *find(const struct watches *t, uint64_t client)
{
    struct chained *node = chains_first(&t->clients, client);
    return node != NULL ? watcher_of(node) : NULL;
}

// ---- what the store reports

static bool is_of(struct worker *w, const struct watch *k, const struct keyspace *ks)
{
    return store_keyspace(w->store, k->shard, k->db) == ks;
}

static bool exists(struct worker *w, const struct watch *k, uint32_t db)
{
    return keyspace_peek(store_keyspace(w->store, k->shard, db), key_of(k), k->node.hash, w->now_ms) != NULL;
}

static void cleared(struct worker *w, const struct keyspace *ks)
{
    chains_for_each(node, &w->watches.keys)
    {
        struct watch *k = watch_of(node);
        k->watcher->changed |= is_of(w, k, ks) && exists(w, k, k->db);
    }
}

void watched_changed(struct worker *w, const struct store_change *change)
{
    if (change->kind == STORE_CLEAR) {
        cleared(w, change->keyspace);
        return;
    }
    if (change->kind == STORE_MARK)
        return;
    for (struct chained *node = chains_first(&w->watches.keys, change->hash); node != NULL; node = chains_next(node)) {
        struct watch *k = watch_of(node);
        if (is_of(w, k, change->keyspace) && slice_equal(key_of(k), change->key))
            k->watcher->changed = true;
    }
}

void watched_swapped(struct worker *w, uint32_t a, uint32_t b)
{
    if (a == b)
        return;
    chains_for_each(node, &w->watches.keys)
    {
        struct watch *k = watch_of(node);
        if (k->db == a || k->db == b)
            k->watcher->changed |= exists(w, k, a) || exists(w, k, b);
    }
}

// ---- by client

static struct watcher *open_watcher(struct watches *t, uint64_t client)
{
    struct watcher *r = find(t, client);
    if (r != NULL)
        return r;
    r = calloc(1, sizeof *r);
    if (r == NULL)
        return NULL;
    chains_insert(&t->clients, &r->node, client);
    return r;
}

static bool has(const struct watches *t, const struct watcher *r, uint32_t db, uint64_t hash, struct slice key)
{
    for (struct chained *node = chains_first(&t->keys, hash); node != NULL; node = chains_next(node)) {
        const struct watch *k = watch_of(node);
        if (k->watcher == r && k->db == db && slice_equal(key_of(k), key))
            return true;
    }
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
    struct watch *k = malloc(sizeof *k + key.len);
    if (k == NULL)
        return false;
    *k = (struct watch){ .watcher = r, .other = r->watches, .shard = shard, .db = db, .there = there, .len = key.len };
    if (key.len > 0)
        memcpy(k->key, key.data, key.len);
    r->watches = k;
    chains_insert(&t->keys, &k->node, hash);
    if (t->keys.count == 1)
        worker_listen_changes(w);
    return true;
}

static void forget(struct worker *w, struct watcher *r)
{
    struct watches *t = &w->watches;
    for (struct watch *k = r->watches, *other; k != NULL; k = other) {
        other = k->other;
        chains_remove(&t->keys, &k->node);
        free(k);
        if (t->keys.count == 0)
            worker_listen_changes(w);
    }
    chains_remove(&t->clients, &r->node);
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
