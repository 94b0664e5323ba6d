// SPDX-License-Identifier: Apache-2.0
// Keys whose last change is not durable yet, under level always: a table by hash, and a list by position.
#include <errno.h>
#include <stdlib.h>

#include "engine/shard/gate_inside.h"

#define CHAINS_MIN 256

struct undurable {
    struct undurable *next; // of its chain
    struct list link;       // by position
    uint64_t hash;
    uint64_t position;
};

int gate_keys_init(struct gate *g)
{
    list_init(&g->order);
    g->mask = CHAINS_MIN - 1;
    g->chains = calloc(CHAINS_MIN, sizeof *g->chains);
    return g->chains != NULL ? 0 : -ENOMEM;
}

void gate_keys_deinit(struct gate *g)
{
    struct list *node;
    while ((node = list_take_first(&g->order)) != NULL)
        free(container_of(node, struct undurable, link));
    free_list_deinit(&g->free);
    free(g->chains);
}

uint64_t gate_keys_memory(const struct gate *g)
{
    return ((uint64_t)g->count + g->free.count) * sizeof(struct undurable) + (g->mask + UINT64_C(1)) * sizeof *g->chains;
}

static struct undurable **chain_of(const struct gate *g, uint64_t hash)
{
    return &g->chains[(hash ^ hash >> 29) & g->mask];
}

static struct undurable *find(const struct gate *g, uint64_t hash)
{
    struct undurable *u = *chain_of(g, hash);
    while (u != NULL && u->hash != hash)
        u = u->next;
    return u;
}

static void grow(struct gate *g)
{
    uint32_t old = g->mask + 1;
    struct undurable **before = g->chains, **chains = calloc((size_t)old * 2, sizeof *chains);
    if (chains == NULL)
        return;
    g->chains = chains;
    g->mask = old * 2 - 1;
    for (uint32_t i = 0; i < old; i++)
        for (struct undurable *u = before[i], *next; u != NULL; u = next) {
            next = u->next;
            struct undurable **to = chain_of(g, u->hash);
            u->next = *to;
            *to = u;
        }
    free(before);
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
    if (g->count > g->mask)
        grow(g);
    struct undurable **chain = chain_of(g, hash);
    *u = (struct undurable){ .next = *chain, .hash = hash, .position = effects_building(&w->effects) };
    *chain = u;
    list_append(&g->order, &u->link);
    g->count++;
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
        struct undurable **at = chain_of(g, u->hash);
        while (*at != u)
            at = &(*at)->next;
        *at = u->next;
        list_remove(node);
        g->count--;
        free_list_give(&g->free, u);
    }
}
