// SPDX-License-Identifier: Apache-2.0
// Keys whose last change is not durable yet, under level always: a table by hash, and a list by position.
#include <stdlib.h>

#include "engine/shard/gate_inside.h"

#define CHAINS_MIN 256

struct undurable {
    struct chained node;
    struct list link; // by position
    uint64_t position;
};

int gate_keys_init(struct gate *g)
{
    list_init(&g->order);
    return chains_init(&g->keys, CHAINS_MIN);
}

void gate_keys_deinit(struct gate *g)
{
    struct list *node;
    while ((node = list_take_first(&g->order)) != NULL)
        free(container_of(node, struct undurable, link));
    free_list_deinit(&g->free);
    chains_deinit(&g->keys);
}

uint64_t gate_keys_memory(const struct gate *g)
{
    return ((uint64_t)g->keys.count + g->free.count) * sizeof(struct undurable) + chains_memory(&g->keys);
}

static struct undurable *find(const struct gate *g, uint64_t hash)
{
    struct chained *node = chains_first(&g->keys, hash);
    return node != NULL ? container_of(node, struct undurable, node) : NULL;
}

void gate_changed_all(struct worker *w)
{
    w->gate.floor = effects_building(&w->effects);
}

void gate_changed(struct worker *w, uint64_t hash)
{
    struct gate *g = &w->gate;
    if (g->level != GATE_ALWAYS || w->effects.port == NULL)
        return;
    struct undurable *u = find(g, hash);
    if (u != NULL) {
        u->position = effects_building(&w->effects);
        list_remove(&u->link);
        list_append(&g->order, &u->link);
        return;
    }
    u = free_list_new(&g->free, sizeof *u);
    if (u == NULL) {
        gate_changed_all(w);
        return;
    }
    u->position = effects_building(&w->effects);
    chains_insert(&g->keys, &u->node, hash);
    list_append(&g->order, &u->link);
}

uint64_t gate_keys_position(const struct gate *g, uint64_t hash)
{
    const struct undurable *u = find(g, hash);
    uint64_t position = u != NULL ? u->position : 0;
    return position > g->floor ? position : g->floor;
}

void gate_keys_forget(struct gate *g)
{
    struct list *node;
    while ((node = list_first(&g->order)) != NULL) {
        struct undurable *u = container_of(node, struct undurable, link);
        if (u->position > g->durable)
            return;
        chains_remove(&g->keys, &u->node);
        list_remove(node);
        free_list_give(&g->free, u);
    }
}
