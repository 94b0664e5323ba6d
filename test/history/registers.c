// SPDX-License-Identifier: Apache-2.0
// One register with unique values at a time (Gibbons and Korach, "Testing shared memories", SIAM J. Comput. 26(4), 1997).
//
// All operations on one value happen in a row, after its write. If one of them was over before some operation on another value was called,
// the whole row stands before the other row. A row's zone lies between its first end and its last call: when the first end comes first
// ("forward") its value certainly held all the time between; otherwise ("backward") it need only have held at one moment of the zone.
// A register is linearizable if and only if no two forward zones overlap and no backward zone lies inside a forward one.
// Here rows are blocks: values chained by operations that read one and wrote the next count as one row.
#include <string.h>

#include "test/history/versions.h"

static uint64_t pair(uint32_t op, uint32_t key)
{
    return (uint64_t)op << 32 | key;
}

static bool updates_lost(struct report *r, const struct versions *v, uint32_t version, uint32_t op)
{
    FILE *to = report_begin(r, "a lost update");
    if (to == NULL)
        return false;
    fprintf(to, "two operations on %s found the same value and each put its own in its place\n", v->h->keys[v->all[version].key].name);
    report_operation(r, to, v->all[version].writer);
    report_operation(r, to, v->next[version]);
    report_operation(r, to, op);
    return false;
}

// before[version]: the version that its writer found.
static bool chain(struct versions *v, struct report *r, uint32_t *before)
{
    struct table found = { 0 };
    bool good = true;
    for (uint64_t i = 0; i < v->access_count; i++) {
        const struct access *a = &v->accesses[i];
        if (!a->write && is_register(v->h, v->all[a->version].key))
            table_put(&found, pair(a->op, v->all[a->version].key), a->version);
    }
    for (uint64_t i = 0; good && i < v->access_count; i++) {
        const struct access *a = &v->accesses[i];
        uint32_t version = a->write ? table_get(&found, pair(a->op, v->all[a->version].key)) : NO_VERSION;
        if (version == NO_VERSION || !is_register(v->h, v->all[a->version].key) || version == a->version)
            continue;
        before[a->version] = version;
        if (v->next[version] != NO_OP && v->next[version] != a->op)
            good = updates_lost(r, v, version, a->op);
        v->next[version] = a->op;
    }
    table_deinit(&found);
    return good;
}

static uint32_t new_block(struct versions *v, uint32_t version)
{
    bool begins = v->all[version].writer == NO_OP;
    v->blocks[v->block_count] = (struct block){ v->all[version].key, version, begins ? 0 : HISTORY_NEVER, 0, NO_OP, NO_OP };
    return v->block_count++;
}

// Follows the chain back to a version that has a block, or to its root, and gives all of it that block.
static void assign_block(struct versions *v, const uint32_t *before, uint32_t version)
{
    uint32_t root = version, steps = 0, block;
    while (before[root] != NO_VERSION && v->block_of[root] == NO_VERSION && steps++ < v->count)
        root = before[root];
    block = v->block_of[root] != NO_VERSION ? v->block_of[root] : new_block(v, root);
    for (uint32_t at = version; v->block_of[at] == NO_VERSION; at = before[at]) {
        v->block_of[at] = block;
        if (before[at] == NO_VERSION)
            break;
    }
}

static void stretch_blocks(struct versions *v)
{
    for (uint64_t i = 0; i < v->access_count; i++) {
        const struct access *a = &v->accesses[i];
        if (!is_register(v->h, v->all[a->version].key))
            continue;
        struct block *b = &v->blocks[v->block_of[a->version]];
        const struct operation *o = &v->h->operations[a->op];
        if (o->returned < b->first_end)
            b->first_end = o->returned, b->first_op = a->op;
        if (o->invoke >= b->last_call)
            b->last_call = o->invoke, b->last_op = a->op;
    }
}

static bool make_blocks(struct versions *v, struct report *r)
{
    uint64_t size = ((uint64_t)v->count + 1) * sizeof(uint32_t);
    uint32_t *before = malloc(size);
    v->block_of = malloc(size), v->next = malloc(size), v->blocks = calloc(v->count + 1u, sizeof *v->blocks);
    assert(before != NULL && v->block_of != NULL && v->next != NULL && v->blocks != NULL);
    memset(before, 0xff, size), memset(v->block_of, 0xff, size), memset(v->next, 0xff, size);
    bool good = chain(v, r, before);
    for (uint32_t i = 0; good && i < v->count; i++)
        if (is_register(v->h, v->all[i].key) && v->block_of[i] == NO_VERSION)
            assign_block(v, before, i);
    free(before);
    if (good)
        stretch_blocks(v);
    return good;
}

static bool forward(const struct block *b)
{
    return b->first_end < b->last_call;
}

static int by_key_and_end(const void *a, const void *b)
{
    const struct block *const *x = a, *const *y = b;
    if ((*x)->key != (*y)->key)
        return (*x)->key < (*y)->key ? -1 : 1;
    return (*x)->first_end < (*y)->first_end ? -1 : (*x)->first_end > (*y)->first_end;
}

static bool interleaved(struct report *r, const struct versions *v, const struct block *one, const struct block *two)
{
    FILE *to = report_begin(r, "a stale value");
    if (to == NULL)
        return false;
    fprintf(to, "%s: of the operations on one value\n", v->h->keys[one->key].name);
    report_operation(r, to, one->first_op);
    report_operation(r, to, one->last_op == one->first_op ? NO_OP : one->last_op);
    fprintf(to, "  the first was over before, and the last was called after, one on another value:\n");
    report_operation(r, to, two->first_op);
    report_operation(r, to, two->last_op == two->first_op ? NO_OP : two->last_op);
    return false;
}

// `zones`: sorted by key and first end. The forward ones of a key, once checked against each other, are disjoint: at most the last one
// that begins before a backward zone may hold it.
static bool check_zones(struct versions *v, struct report *r, struct block **zones)
{
    const struct block *last = NULL;
    for (uint32_t i = 0; i < v->block_count; i++) {
        if (!forward(zones[i]))
            continue;
        if (last != NULL && last->key == zones[i]->key && zones[i]->first_end < last->last_call)
            return interleaved(r, v, last, zones[i]);
        last = zones[i];
    }
    // Backward zones by their end: from there back to the forward zones that began before them.
    last = NULL;
    for (uint32_t i = 0; i < v->block_count; i++) {
        const struct block *b = zones[i];
        if (forward(b))
            last = b;
        else if (last != NULL && last->key == b->key && last->first_end < b->last_call && b->first_end < last->last_call)
            return interleaved(r, v, last, b);
    }
    return true;
}

bool check_registers(struct versions *v, struct report *r)
{
    if (!make_blocks(v, r))
        return false;
    struct block **zones = malloc((v->block_count + 1u) * sizeof *zones);
    assert(zones != NULL);
    for (uint32_t i = 0; i < v->block_count; i++)
        zones[i] = &v->blocks[i];
    qsort(zones, v->block_count, sizeof(struct block *), by_key_and_end);
    bool good = check_zones(v, r, zones);
    free(zones);
    return good;
}
