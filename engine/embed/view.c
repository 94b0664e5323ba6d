// SPDX-License-Identifier: Apache-2.0
// In builds with audit each view has a guard, which knows that it is alive, and every second view is not the value but a copy
// on pages of its own that go when the view is released: who reads on is stopped there and then. (The others are the real thing,
// so that such builds test it too.)
#include "engine/embed/view.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/embed/point.h"
#include "reactor/memory.h"

struct guard {
    struct guard *next;
    uint64_t serial;
    void *copy; // NULL: the view is the value itself
    size_t size;
};

static bool guard_new(struct shard *sh, struct skerry_view *view)
{
    static atomic_uint_fast64_t serials;
    struct guard *g = calloc(1, sizeof *g);
    if (g == NULL)
        return false;
    g->serial = atomic_fetch_add(&serials, 1) + 1;
    if (g->serial % 2 == 0) {
        struct memory *m = memory_system(-1, MEMORY_HUGE_OFF);
        g->size = round_up(view->len + 1, 4096);
        g->copy = m->reserve(m, g->size, 4096);
        if (g->copy == NULL) {
            free(g);
            return false;
        }
        copy_short(g->copy, view->data, view->len);
        view->data = g->copy;
    }
    view->opaque[3] = g->serial;
    g->next = sh->guards;
    sh->guards = g;
    return true;
}

static bool guard_free(struct shard *sh, const struct skerry_view *view)
{
    for (struct guard **link = &sh->guards; *link != NULL; link = &(*link)->next) {
        struct guard *g = *link;
        if (g->serial != view->opaque[3])
            continue;
        *link = g->next;
        if (g->copy != NULL) {
            struct memory *m = memory_system(-1, MEMORY_HUGE_OFF);
            m->release(m, g->copy, g->size);
        }
        free(g);
        return true;
    }
    return false;
}

static struct keyspace_pin pin_of(const struct skerry_view *view)
{
    return (struct keyspace_pin){ .blob = (struct blob *)(uintptr_t)view->opaque[1], .side = (uint8_t)view->opaque[2] }; // NOLINT: ours
}

enum skerry_status view_take(struct shard *sh, struct keyspace *ks, struct entry *e, struct skerry_view *view)
{
    struct slice value = entry_value(e);
    struct keyspace_pin pin = keyspace_pin(ks, e);
    *view = (struct skerry_view){
        .data = value.data,
        .len = value.len,
        .opaque = { sh->number + 1, (uint64_t)(uintptr_t)pin.blob, pin.side },
    };
    if (SKERRY_AUDIT && !guard_new(sh, view)) {
        keyspace_unpin(ks, pin);
        *view = (struct skerry_view){ 0 };
        return SKERRY_NO_MEMORY;
    }
    sh->views++;
    return SKERRY_OK;
}

static enum skerry_status get_view(struct skerry *s, struct slice key, struct place p, struct skerry_view *view)
{
    enum skerry_status status = SKERRY_NOT_FOUND;
    struct shard *sh = shard_enter(s, p.shard, &status);
    if (unlikely(sh == NULL))
        return status;
    struct entry *e = keyspace_find_here(sh->keys, key, p.hash, &s->core->clock.clock);
    if (likely(e != NULL))
        status = view_take(sh, sh->keys, e, view);
    shard_unlock(s, sh);
    return status;
}

enum skerry_status skerry_get_view(struct skerry *s, const void *key, size_t key_len, struct skerry_view *view)
{
    if (unlikely(key_len > SKERRY_KEY_MAX))
        return SKERRY_TOO_LONG;
    struct slice k = slice_of(key, key_len);
    return get_view(s, k, core_place_here(s->core, k), view);
}

enum skerry_status skerry_get_view_prepared(struct skerry *s, const struct skerry_prepared *key, struct skerry_view *view)
{
    return get_view(s, slice_of(key->key.data, key->key.len), place_prepared(key), view);
}

enum skerry_status skerry_release(struct skerry *s, struct skerry_view *view)
{
    enum skerry_status status = SKERRY_OK;
    if (view == NULL || view->opaque[0] == 0 || view->opaque[0] > s->core->route.shards)
        return SKERRY_BAD_VIEW;
    struct shard *sh = shard_enter(s, (uint32_t)view->opaque[0] - 1, &status);
    if (sh == NULL)
        return status;
    if (sh->views == 0 || (SKERRY_AUDIT && !guard_free(sh, view))) {
        status = SKERRY_BAD_VIEW;
    } else {
        keyspace_unpin(sh->keys, pin_of(view));
        sh->views--;
    }
    shard_unlock(s, sh);
    *view = (struct skerry_view){ 0 };
    return status;
}
