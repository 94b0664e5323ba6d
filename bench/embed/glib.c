// SPDX-License-Identifier: Apache-2.0
// GLib's GHashTable behind one lock for all, under the harness: keys and values of their own from the heap. It has no deadlines.
#include <glib.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#define PEER_TTL 0

struct config;

struct peer {
    GHashTable *table;
    pthread_mutex_t lock;
};

struct value {
    size_t len;
    guint8 bytes[];
};

static struct peer store = { .lock = PTHREAD_MUTEX_INITIALIZER };

static guint hash16(gconstpointer key)
{
    guint64 words[2];
    memcpy(words, key, 16);
    guint64 mixed = (words[0] ^ (words[1] << 32 | words[1] >> 32)) * 0x9e3779b97f4a7c15u;
    return (guint)(mixed >> 32);
}

static gboolean same16(gconstpointer a, gconstpointer b)
{
    return memcmp(a, b, 16) == 0;
}

static void peer_open(const struct config *c)
{
    store.table = g_hash_table_new_full(hash16, same16, g_free, g_free);
}

static struct peer *peer_thread(unsigned t)
{
    return &store;
}

static bool peer_owns(struct peer *p, const guint8 *key)
{
    return true;
}

static void peer_set(struct peer *p, const guint8 *key, const guint8 *bytes, size_t len, bool ttl)
{
    struct value *v = g_malloc(sizeof *v + len);
    v->len = len;
    memcpy(v->bytes, bytes, len);
    pthread_mutex_lock(&p->lock);
    g_hash_table_insert(p->table, g_memdup2(key, 16), v);
    pthread_mutex_unlock(&p->lock);
}

static bool peer_get_copy(struct peer *p, const guint8 *key, guint8 *to, size_t len)
{
    pthread_mutex_lock(&p->lock);
    const struct value *v = g_hash_table_lookup(p->table, key);
    if (v != NULL)
        memcpy(to, v->bytes, v->len < len ? v->len : len);
    pthread_mutex_unlock(&p->lock);
    return v != NULL;
}

static int peer_get_view(struct peer *p, const guint8 *key)
{
    pthread_mutex_lock(&p->lock);
    const struct value *v = g_hash_table_lookup(p->table, key);
    int sum = v == NULL ? -1 : v->bytes[0] + v->bytes[v->len - 1];
    pthread_mutex_unlock(&p->lock);
    return sum;
}

#include "bench/embed/harness.h"
