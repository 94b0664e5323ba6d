// SPDX-License-Identifier: Apache-2.0
// A hash table of chains. A node is a field of its owner, who hashes and compares; several nodes may have one hash.
//
//   heads  [0] -> node -> node      [1]      [2] -> node      head of a hash: hash ^ hash >> 29, cut to the heads
//
// Heads double when there are more nodes than heads. Without memory for that they stay as many: longer chains are slower, not wrong.
#pragma once

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"

struct chained {
    struct chained *next;
    uint64_t hash;
};

struct chains {
    struct chained **heads; // NULL: not initialised
    uint32_t mask;          // heads - 1
    uint32_t count;         // nodes
};

#define chains_for_each(node, t) for (struct chained *node = chains_walk(t, NULL); node != NULL; node = chains_walk(t, node))

// `heads`: to begin with, a power of two. 0, -ENOMEM.
static inline warn_unused int chains_init(struct chains *t, uint32_t heads)
{
    assert(is_power_of_two(heads));
    *t = (struct chains){ .heads = calloc(heads, sizeof(struct chained *)), .mask = heads - 1 };
    return t->heads != NULL ? 0 : -ENOMEM;
}

// Nodes are their owners'.
static inline void chains_deinit(struct chains *t)
{
    free(t->heads);
    *t = (struct chains){ 0 };
}

static inline uint64_t chains_memory(const struct chains *t)
{
    return (t->mask + UINT64_C(1)) * sizeof(struct chained *);
}

static inline struct chained **chains_head(const struct chains *t, uint64_t hash)
{
    return &t->heads[(hash ^ hash >> 29) & t->mask];
}

static inline struct chained *chains_from(struct chained *node, uint64_t hash)
{
    while (node != NULL && node->hash != hash)
        node = node->next;
    return node;
}

// The nodes of a hash, in no order. NULL: none, or no more.
static inline struct chained *chains_first(const struct chains *t, uint64_t hash)
{
    return chains_from(*chains_head(t, hash), hash);
}

static inline struct chained *chains_next(const struct chained *node)
{
    return chains_from(node->next, node->hash);
}

static inline void chains_double(struct chains *t)
{
    struct chains wider;
    if (t->mask > UINT32_MAX / 4 || chains_init(&wider, (t->mask + 1) * 2) != 0)
        return;
    wider.count = t->count;
    for (uint32_t i = 0; i <= t->mask; i++)
        for (struct chained *node = t->heads[i], *next; node != NULL; node = next) {
            struct chained **head = chains_head(&wider, node->hash);
            next = node->next;
            node->next = *head;
            *head = node;
        }
    free(t->heads);
    *t = wider;
}

static inline void chains_insert(struct chains *t, struct chained *node, uint64_t hash)
{
    if (unlikely(t->count > t->mask))
        chains_double(t);
    struct chained **head = chains_head(t, hash);
    *node = (struct chained){ .next = *head, .hash = hash };
    *head = node;
    t->count++;
}

// `node` is in the table.
static inline void chains_remove(struct chains *t, struct chained *node)
{
    struct chained **at = chains_head(t, node->hash);
    while (*at != node)
        at = &(*at)->next;
    *at = node->next;
    t->count--;
}

// Behind `node` in no order (NULL: from the beginning). NULL: no more.
static inline struct chained *chains_walk(const struct chains *t, const struct chained *node)
{
    if (t->count == 0)
        return NULL;
    if (node != NULL && node->next != NULL)
        return node->next;
    struct chained **end = t->heads + t->mask + 1, **head = node == NULL ? t->heads : chains_head(t, node->hash) + 1;
    while (head < end && *head == NULL)
        head++;
    return head < end ? *head : NULL;
}
