// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/save_seen.h"

#include <stdlib.h>

#define CAP_FIRST 8u

bool save_seen_init(struct save_seen *s)
{
    *s = (struct save_seen){ .tables = calloc(SEEN_TABLES, sizeof *s->tables) };
    return s->tables != NULL;
}

void save_seen_deinit(struct save_seen *s)
{
    for (uint32_t i = 0; s->tables != NULL && i < SEEN_TABLES; i++)
        free(s->tables[i].marks);
    free(s->tables);
    *s = (struct save_seen){ .count = 0 };
}

static inline struct seen_table *table_of(const struct save_seen *s, uint64_t hash)
{
    return &s->tables[hash % SEEN_TABLES];
}

// Where the mark is, or would be; the table is never full.
static struct seen_mark *place_of(const struct seen_table *t, uint64_t hash, uint64_t check)
{
    uint32_t at = (uint32_t)(hash / SEEN_TABLES) & (t->cap - 1);
    while (t->marks[at].check != 0 && (t->marks[at].hash != hash || t->marks[at].check != check))
        at = (at + 1) & (t->cap - 1);
    return &t->marks[at];
}

bool save_seen_has(const struct save_seen *s, uint64_t hash, uint64_t check)
{
    const struct seen_table *t = table_of(s, hash);
    return t->cap > 0 && place_of(t, hash, check)->check != 0;
}

static bool grow(struct save_seen *s, struct seen_table *t)
{
    struct seen_table more = { .count = t->count, .cap = t->cap == 0 ? CAP_FIRST : t->cap * 2 };
    more.marks = calloc(more.cap, sizeof *more.marks);
    if (more.marks == NULL)
        return false;
    for (uint32_t i = 0; i < t->cap; i++)
        if (t->marks[i].check != 0)
            *place_of(&more, t->marks[i].hash, t->marks[i].check) = t->marks[i];
    s->bytes += (more.cap - t->cap) * sizeof *more.marks;
    free(t->marks);
    *t = more;
    return true;
}

bool save_seen_add(struct save_seen *s, uint64_t hash, uint64_t check)
{
    struct seen_table *t = table_of(s, hash);
    if (t->count >= t->cap / 4 * 3 && !grow(s, t))
        return false;
    struct seen_mark *m = place_of(t, hash, check);
    if (m->check != 0)
        return true;
    *m = (struct seen_mark){ .hash = hash, .check = check };
    t->count++;
    s->count++;
    return true;
}
