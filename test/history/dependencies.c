// SPDX-License-Identifier: Apache-2.0
// Strict serializability of everything at once: a graph with an edge from one operation to another wherever the history says that it must
// have come first, which a serial order would have to follow (Adya, "Weak consistency", MIT 1999; lists whose reads tell the whole order
// of their versions: Kingsbury and Alvaro, "Elle", PVLDB 14(3), 2020). A cycle is a proof that there is no such order.
//
//   time      a was over before b was called: a -> b
//   session   same connection, same key, sent before
//   lists and counters: versions are in a known order: writer -> reader, reader -> next writer, writer -> next writer
//   registers writer -> reader, reader -> the operation that read the same and wrote the next; block -> block where the times tell
//
// Edges are linear in the history: "all of these before all of those" goes through nodes that stand for moments. For time there is one
// chain of replies: an operation leads to its reply's moment, and the last moment before a call leads to the operation.
// The blocks of a register (registers.c) hang on a chain likewise: a block leads to the moment of its first end, and the moments before
// a block's last call lead to its first writer. A forward block would so lead to itself; it enters at its last call instead, and leads
// directly to the backward blocks that were last called inside its zone. Each of those has one such block at most.
#include <inttypes.h>
#include <string.h>

#include "test/history/graph.h"
#include "test/history/versions.h"

#define NO_KEY UINT32_MAX

// ---- time

struct moment {
    uint64_t at;
    uint32_t op;
    bool call; // after a reply of the same time: only what is strictly before counts, so calls are sorted first
};

static int by_time(const void *a, const void *b)
{
    const struct moment *x = a, *y = b;
    if (x->at != y->at)
        return x->at < y->at ? -1 : 1;
    return (int)y->call - (int)x->call;
}

static void add_time(struct graph *g, const struct versions *v)
{
    struct moment *moments = malloc((2 * v->h->operation_count + 1) * sizeof *moments);
    uint64_t count = 0;
    assert(moments != NULL);
    for (uint32_t i = 0; i < v->h->operation_count; i++) {
        const struct operation *o = &v->h->operations[i];
        if (!v->happened[i])
            continue;
        moments[count++] = (struct moment){ o->invoke, i, true };
        if (o->returned != HISTORY_NEVER)
            moments[count++] = (struct moment){ o->returned, i, false };
    }
    qsort(moments, count, sizeof *moments, by_time);
    uint32_t last = NO_OP; // the node of the latest reply
    for (uint64_t i = 0; i < count; i++) {
        if (moments[i].call) {
            if (last != NO_OP)
                graph_edge(g, last, moments[i].op, WHY_TIME, NO_KEY);
            continue;
        }
        uint32_t node = graph_node(g);
        if (last != NO_OP)
            graph_edge(g, last, node, WHY_TIME, NO_KEY);
        graph_edge(g, moments[i].op, node, WHY_TIME, NO_KEY);
        last = node;
    }
    free(moments);
}

// ---- sessions

struct visit {
    uint32_t process, key;
    uint64_t invoke;
    uint32_t op;
};

static int by_session(const void *a, const void *b)
{
    const struct visit *x = a, *y = b;
    if (x->process != y->process)
        return x->process < y->process ? -1 : 1;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    if (x->invoke != y->invoke)
        return x->invoke < y->invoke ? -1 : 1;
    return x->op < y->op ? -1 : x->op > y->op;
}

static void add_sessions(struct graph *g, const struct versions *v)
{
    struct visit *visits = malloc((v->access_count + 1) * sizeof *visits);
    assert(visits != NULL);
    for (uint64_t i = 0; i < v->access_count; i++) {
        const struct operation *o = &v->h->operations[v->accesses[i].op];
        visits[i] = (struct visit){ o->process, v->all[v->accesses[i].version].key, o->invoke, v->accesses[i].op };
    }
    qsort(visits, v->access_count, sizeof *visits, by_session);
    for (uint64_t i = 1; i < v->access_count; i++)
        if (visits[i].process == visits[i - 1].process && visits[i].key == visits[i - 1].key && visits[i].invoke > visits[i - 1].invoke)
            graph_edge(g, visits[i - 1].op, visits[i].op, WHY_SESSION, visits[i].key);
    free(visits);
}

// ---- lists and counters

static const struct versions *sorted_versions; // qsort has no context

static int by_version(const void *a, const void *b)
{
    const struct access *x = a, *y = b;
    const struct version *p = &sorted_versions->all[x->version], *q = &sorted_versions->all[y->version];
    if (p->key != q->key)
        return p->key < q->key ? -1 : 1;
    if (p->value != q->value)
        return p->value < q->value ? -1 : 1;
    return (int)y->write - (int)x->write; // the writer first
}

// Walks the accesses of a key by version: `writer` made the latest version with a known maker, `from` is where its accesses begin.
static void add_totals(struct graph *g, const struct versions *v, const struct access *sorted)
{
    uint32_t writer = NO_OP, key = NO_KEY;
    uint64_t from = 0;
    for (uint64_t i = 0; i < v->access_count; i++) {
        const struct access *a = &sorted[i];
        if (v->all[a->version].key != key) {
            key = v->all[a->version].key;
            writer = NO_OP;
            from = i;
        }
        if (is_register(v->h, key))
            continue;
        if (!a->write) {
            if (writer != NO_OP)
                graph_edge(g, writer, a->op, WHY_WRITE_READ, key);
            continue;
        }
        for (uint64_t k = from; k < i; k++)
            graph_edge(g, sorted[k].op, a->op, sorted[k].write ? WHY_WRITE_WRITE : WHY_READ_WRITE, key);
        writer = a->op;
        from = i;
    }
}

// ---- registers

static void add_register_reads(struct graph *g, const struct versions *v)
{
    for (uint64_t i = 0; i < v->access_count; i++) {
        const struct access *a = &v->accesses[i];
        const struct version *version = &v->all[a->version];
        if (!is_register(v->h, version->key))
            continue;
        if (!a->write && version->writer != NO_OP)
            graph_edge(g, version->writer, a->op, WHY_WRITE_READ, version->key);
        if (v->next[a->version] != NO_OP)
            graph_edge(g, a->op, v->next[a->version], a->write ? WHY_WRITE_WRITE : WHY_READ_WRITE, version->key);
    }
}

struct post { // where a block enters its key's chain, or is entered from it
    uint32_t key, block;
    uint64_t at;
    bool enters;
};

static int by_post(const void *a, const void *b)
{
    const struct post *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    if (x->at != y->at)
        return x->at < y->at ? -1 : 1;
    return (int)x->enters - (int)y->enters; // strictly before: those that are entered come first
}

static uint32_t first_writer(const struct versions *v, const struct block *b)
{
    return v->all[b->root].writer;
}

static uint64_t entry_of(const struct block *b)
{
    return b->first_end < b->last_call ? b->last_call : b->first_end;
}

// A backward block that was last called inside a forward one's zone comes after it. `posts` are in order, so the forward blocks of a key
// are met by their last call; the one whose zone holds a call is the first to be met after it.
static void add_inside(struct graph *g, const struct versions *v, const struct post *posts, uint64_t count, uint32_t base)
{
    const struct block *zone = NULL;
    uint32_t zone_node = 0;
    for (uint64_t i = count; i-- > 0;) {
        const struct block *b = &v->blocks[posts[i].block];
        if (zone != NULL && zone->key != b->key)
            zone = NULL;
        if (posts[i].enters && b->first_end < b->last_call) {
            zone = b;
            zone_node = base + posts[i].block;
        } else if (!posts[i].enters && b != zone && zone != NULL && zone->first_end < b->last_call && b->last_call <= zone->last_call &&
                   first_writer(v, b) != NO_OP) {
            graph_edge(g, zone_node, first_writer(v, b), WHY_ORDER, b->key);
        }
    }
}

static void add_blocks(struct graph *g, const struct versions *v)
{
    struct post *posts = malloc((2 * (uint64_t)v->block_count + 1) * sizeof *posts);
    uint64_t count = 0;
    assert(posts != NULL);
    uint32_t base = g->nodes, last = NO_OP, key = NO_KEY; // base + b: behind all operations of block b
    g->nodes += v->block_count;
    for (uint32_t i = 0; i < v->block_count; i++) {
        const struct block *b = &v->blocks[i];
        posts[count++] = (struct post){ b->key, i, b->last_call, false };
        posts[count++] = (struct post){ b->key, i, entry_of(b), true };
    }
    qsort(posts, count, sizeof *posts, by_post);
    for (uint64_t i = 0; i < v->access_count; i++)
        if (is_register(v->h, v->all[v->accesses[i].version].key))
            graph_edge(g, v->accesses[i].op, base + v->block_of[v->accesses[i].version], WHY_ORDER, v->all[v->accesses[i].version].key);
    for (uint64_t i = 0; i < count; i++) {
        const struct block *b = &v->blocks[posts[i].block];
        if (b->key != key)
            key = b->key, last = NO_OP;
        if (!posts[i].enters) {
            if (last != NO_OP && first_writer(v, b) != NO_OP)
                graph_edge(g, last, first_writer(v, b), WHY_ORDER, key);
            continue;
        }
        uint32_t node = graph_node(g);
        if (last != NO_OP)
            graph_edge(g, last, node, WHY_ORDER, key);
        graph_edge(g, base + posts[i].block, node, WHY_ORDER, key);
        last = node;
    }
    add_inside(g, v, posts, count, base);
    free(posts);
}

// ---- the cycle, told

static const char *const reasons[] = {
    [WHY_TIME] = "was over before the next was called",
    [WHY_SESSION] = "was sent before the next, on the same connection and to the same key",
    [WHY_WRITE_READ] = "wrote what the next found",
    [WHY_READ_WRITE] = "did not see what the next wrote",
    [WHY_WRITE_WRITE] = "wrote what the next wrote over",
    [WHY_ORDER] = "touched a value that the times put before the next one's",
};

static void tell_cycle(struct report *r, const struct versions *v, const struct edge *cycle, uint32_t length)
{
    FILE *to = report_begin(r, "a circle of operations");
    if (to == NULL)
        return;
    fprintf(to, "each of these must have come before the next, and the last before the first:\n");
    uint32_t start = 0; // at an operation
    while (start < length && cycle[start].from >= v->h->operation_count)
        start++;
    for (uint32_t i = 0; i < length; i++) {
        const struct edge *e = &cycle[(start + i) % length];
        if (e->from >= v->h->operation_count)
            continue;
        report_operation(r, to, e->from);
        fprintf(to, "      %s", reasons[e->why]);
        if (e->key != NO_KEY)
            fprintf(to, " (%s)", v->h->keys[e->key].name);
        fprintf(to, "\n");
    }
}

bool check_dependencies(struct versions *v, struct report *r)
{
    struct graph g;
    struct edge *cycle;
    struct access *sorted = malloc((v->access_count + 1) * sizeof *sorted);
    assert(sorted != NULL && v->h->operation_count < UINT32_MAX / 8);
    graph_init(&g, (uint32_t)v->h->operation_count);
    add_time(&g, v);
    add_sessions(&g, v);
    if (v->access_count > 0)
        memcpy(sorted, v->accesses, v->access_count * sizeof *sorted);
    sorted_versions = v;
    qsort(sorted, v->access_count, sizeof *sorted, by_version);
    add_totals(&g, v, sorted);
    add_register_reads(&g, v);
    add_blocks(&g, v);
    uint32_t length = graph_cycle(&g, &cycle);
    if (length > 0)
        tell_cycle(r, v, cycle, length);
    free(cycle);
    free(sorted);
    graph_deinit(&g);
    return length == 0;
}
