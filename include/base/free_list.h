// SPDX-License-Identifier: Apache-2.0
// Nodes of one size from malloc that were used and are soon wanted again. While a node is here its first bytes are the list's.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/assert.h"

#define FREE_LIST_KEEP 4096 // nodes given back beyond it go to malloc

struct free_node {
    struct free_node *next;
};

struct free_list {
    struct free_node *first;
    uint32_t count;
};

// NULL: none is kept.
static inline warn_unused void *free_list_take(struct free_list *l)
{
    struct free_node *node = l->first;
    if (node == NULL)
        return NULL;
    l->first = node->next;
    l->count--;
    return node;
}

// One that was kept, or a new one. NULL: out of memory.
static inline warn_unused void *free_list_new(struct free_list *l, size_t size)
{
    void *node = free_list_take(l);
    return likely(node != NULL) ? node : malloc(size);
}

// Keeps it, however many there are.
static inline void free_list_keep(struct free_list *l, void *used)
{
    struct free_node *node = used;
    node->next = l->first;
    l->first = node;
    l->count++;
}

// Keeps it, unless there are enough.
static inline void free_list_give(struct free_list *l, void *used)
{
    if (l->count < FREE_LIST_KEEP)
        free_list_keep(l, used);
    else
        free(used);
}

static inline void free_list_deinit(struct free_list *l)
{
    for (void *node; (node = free_list_take(l)) != NULL;)
        free(node);
}
