// SPDX-License-Identifier: Apache-2.0
// A hash table from 64-bit numbers to 32-bit ones, open addressing; grows, never shrinks.
#pragma once

#include <stdint.h>
#include <stdlib.h>

#include "base/assert.h"

#define TABLE_NONE UINT32_MAX

struct table_cell {
    uint64_t key;
    uint32_t value; // TABLE_NONE: free
};

struct table {
    struct table_cell *cells;
    uint64_t cap, count;
};

static inline uint64_t table_mix(uint64_t x)
{
    x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93u;
    x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93u;
    return x ^ (x >> 32);
}

// The cell of `key`, or the free one where it belongs.
static inline struct table_cell *table_cell(const struct table *t, uint64_t key)
{
    uint64_t i = table_mix(key) & (t->cap - 1);
    while (t->cells[i].value != TABLE_NONE && t->cells[i].key != key)
        i = (i + 1) & (t->cap - 1);
    return &t->cells[i];
}

static inline uint32_t table_get(const struct table *t, uint64_t key)
{
    return t->cap == 0 ? TABLE_NONE : table_cell(t, key)->value;
}

static inline void table_grow(struct table *t)
{
    struct table old = *t;
    t->cap = old.cap == 0 ? 8 : old.cap * 2;
    t->cells = malloc(t->cap * sizeof *t->cells);
    assert(t->cells != NULL);
    for (uint64_t i = 0; i < t->cap; i++)
        t->cells[i].value = TABLE_NONE;
    for (uint64_t i = 0; i < old.cap; i++)
        if (old.cells[i].value != TABLE_NONE)
            *table_cell(t, old.cells[i].key) = old.cells[i];
    free(old.cells);
}

// Overwrites. value != TABLE_NONE.
static inline void table_put(struct table *t, uint64_t key, uint32_t value)
{
    if (t->count * 2 >= t->cap)
        table_grow(t);
    struct table_cell *c = table_cell(t, key);
    t->count += c->value == TABLE_NONE;
    *c = (struct table_cell){ key, value };
}

static inline void table_deinit(struct table *t)
{
    free(t->cells);
    *t = (struct table){ 0 };
}
