// SPDX-License-Identifier: Apache-2.0
#include "engine/store/ghost.h"

#include "base/assert.h"
#include "base/bytes.h"

#define PAGE      4096u
#define LINES_MIN (PAGE / sizeof(struct ghost_line))
#define PIECE     ((size_t)256 * 1024)
#define GROW(n)   ((n) + (n) / 4)
#define SHRINK_TO 4u // when it could be this many times smaller

static_assert(sizeof(struct ghost_line) == 64, "a cache line");

static size_t table_size(const struct ghost_table *t)
{
    return round_up((size_t)t->count * sizeof(struct ghost_line), PAGE);
}

static void table_free(struct ghost *g, struct ghost_table *t)
{
    if (t->lines != NULL)
        g->memory->release(g->memory, t->lines, table_size(t));
    *t = (struct ghost_table){ 0 };
}

void ghost_init(struct ghost *g, struct memory *m)
{
    *g = (struct ghost){ .memory = m };
}

void ghost_deinit(struct ghost *g)
{
    table_free(g, &g->now);
    table_free(g, &g->old);
    table_free(g, &g->retired);
    ghost_init(g, g->memory);
}

static struct ghost_line *line_of(const struct ghost_table *t, uint64_t hash)
{
    return &t->lines[(hash >> 32) * t->count >> 32];
}

static uint16_t print_of(uint64_t hash)
{
    uint16_t print = (uint16_t)hash;
    return print == 0 ? 1 : print;
}

static bool take(const struct ghost_table *t, uint64_t hash)
{
    if (t->lines == NULL)
        return false;
    struct ghost_line *line = line_of(t, hash);
    for (uint32_t i = 0; i < GHOST_PRINTS; i++) {
        if (line->prints[i] != print_of(hash))
            continue;
        line->prints[i] = 0;
        return true;
    }
    return false;
}

bool ghost_recall(struct ghost *g, uint64_t hash)
{
    return take(&g->now, hash) || take(&g->old, hash);
}

static void retire(struct ghost *g, struct ghost_table *t)
{
    assert(g->retired.lines == NULL);
    g->retired = *t;
    g->retired_bytes = 0;
    *t = (struct ghost_table){ 0 };
}

static void resize(struct ghost *g, uint64_t lines)
{
    struct ghost_table t = { .count = lines < LINES_MIN ? LINES_MIN : lines };
    if (t.count == g->now.count || t.count >> 32 != 0)
        return;
    t.lines = g->memory->reserve(g->memory, table_size(&t), memory_align(table_size(&t)));
    if (t.lines == NULL)
        return;
    g->old = g->now;
    g->now = t;
    g->remembered = 0;
}

static void follow(struct ghost *g, uint64_t wanted)
{
    if (g->retired.lines != NULL)
        return;
    if (g->old.lines != NULL) {
        if (g->remembered >= g->old.count * GHOST_PRINTS)
            retire(g, &g->old);
        return;
    }
    uint64_t lines = wanted / GHOST_PRINTS + 1;
    if (g->now.lines == NULL || lines > GROW(g->now.count) || lines < g->now.count / SHRINK_TO)
        resize(g, lines);
}

void ghost_remember(struct ghost *g, uint64_t hash, uint64_t wanted)
{
    follow(g, wanted);
    if (g->now.lines == NULL)
        return;
    struct ghost_line *line = line_of(&g->now, hash);
    line->prints[line->oldest] = print_of(hash);
    line->oldest = (uint16_t)((line->oldest + 1u) % GHOST_PRINTS);
    g->remembered++;
}

bool ghost_discard(struct ghost *g)
{
    if (g->retired.lines == NULL)
        return false;
    size_t size = table_size(&g->retired), left = size - g->retired_bytes;
    if (left > 0) {
        size_t piece = left < PIECE ? left : PIECE;
        g->memory->discard(g->memory, (uint8_t *)g->retired.lines + g->retired_bytes, piece);
        g->retired_bytes += piece;
        return true;
    }
    table_free(g, &g->retired);
    g->retired_bytes = 0;
    return false;
}

uint64_t ghost_bytes(const struct ghost *g)
{
    return table_size(&g->now) + table_size(&g->old) + table_size(&g->retired) - g->retired_bytes;
}
