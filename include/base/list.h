// SPDX-License-Identifier: Apache-2.0
// Intrusive doubly linked list. A node is a field of its owner; a list is a node of its own.
//
//   list <-> a <-> b <-> list        empty: list <-> list        a node in no list: node <-> node
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next;
    struct list *prev;
};

#define container_of(node, type, field) ((type *)(void *)((char *)(node)-offsetof(type, field)))

#define list_for_each(node, head) for (struct list *node = (head)->next; node != (head); node = node->next)

// The body may remove `node`, and nothing else.
#define list_for_each_safe(node, head)                                                                                                     \
    for (struct list *node = (head)->next, *node##_next = node->next; node != (head); node = node##_next, node##_next = node->next)

static inline void list_init(struct list *l)
{
    l->next = l;
    l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}

static inline void list_append(struct list *l, struct list *node)
{
    node->prev = l->prev;
    node->next = l;
    l->prev->next = node;
    l->prev = node;
}

static inline void list_prepend(struct list *l, struct list *node)
{
    list_append(l->next, node);
}

// Leaves the node in no list, so that removing twice is harmless.
static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

static inline struct list *list_first(const struct list *l)
{
    return list_empty(l) ? NULL : l->next;
}

static inline struct list *list_take_first(struct list *l)
{
    struct list *node = l->next;
    if (node == l)
        return NULL;
    list_remove(node);
    return node;
}
