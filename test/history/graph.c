// SPDX-License-Identifier: Apache-2.0
#include "test/history/graph.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#define NONE       UINT32_MAX
#define STARTS_MAX 256 // nodes of the component from which a shorter cycle is looked for

static void *numbers(uint64_t count)
{
    uint32_t *p = malloc((count > 0 ? count : 1) * sizeof *p);
    assert(p != NULL);
    return p;
}

void graph_init(struct graph *g, uint32_t nodes)
{
    *g = (struct graph){ .nodes = nodes };
}

void graph_deinit(struct graph *g)
{
    free(g->edges);
    *g = (struct graph){ 0 };
}

uint32_t graph_node(struct graph *g)
{
    assert(g->nodes < NONE);
    return g->nodes++;
}

void graph_edge(struct graph *g, uint32_t from, uint32_t to, enum why why, uint32_t key)
{
    if (from == to)
        return;
    if (g->count == g->cap) {
        g->cap = g->cap == 0 ? 1024 : g->cap * 2;
        g->edges = realloc(g->edges, g->cap * sizeof *g->edges);
        assert(g->edges != NULL);
    }
    g->edges[g->count++] = (struct edge){ from, to, key, (uint8_t)why };
}

// Edges by their beginning: those of node n are order[first[n]] .. order[first[n + 1] - 1].
struct adjacency {
    uint32_t *first, *order;
};

static struct adjacency adjacency_of(const struct graph *g)
{
    struct adjacency a = { numbers((uint64_t)g->nodes + 2), numbers(g->count) };
    assert(g->count < NONE);
    memset(a.first, 0, ((uint64_t)g->nodes + 2) * sizeof *a.first);
    for (uint64_t i = 0; i < g->count; i++)
        a.first[g->edges[i].from + 2]++;
    for (uint32_t n = 2; n < g->nodes + 2; n++)
        a.first[n] += a.first[n - 1];
    for (uint64_t i = 0; i < g->count; i++)
        a.order[a.first[g->edges[i].from + 1]++] = (uint32_t)i;
    return a;
}

// Tarjan's algorithm with its own stack.
struct tarjan {
    const struct graph *g;
    struct adjacency a;
    uint32_t *index, *low, *next, *stack, *path;
    uint32_t stacked, depth, count;
    bool *on_stack;
    uint32_t *found; // the first component with more than one node
    uint32_t found_count;
};

static void enter(struct tarjan *t, uint32_t node)
{
    t->index[node] = t->low[node] = t->count++;
    t->next[node] = t->a.first[node];
    t->stack[t->stacked++] = node;
    t->on_stack[node] = true;
    t->path[t->depth++] = node;
}

static void leave(struct tarjan *t, uint32_t node)
{
    t->depth--;
    if (t->depth > 0 && t->low[node] < t->low[t->path[t->depth - 1]])
        t->low[t->path[t->depth - 1]] = t->low[node];
    if (t->low[node] != t->index[node])
        return;
    uint32_t from = t->stacked;
    do
        t->on_stack[t->stack[--from]] = false;
    while (t->stack[from] != node);
    if (t->stacked - from > 1) {
        t->found = t->stack + from;
        t->found_count = t->stacked - from;
    }
    t->stacked = from;
}

static void visit(struct tarjan *t, uint32_t root)
{
    enter(t, root);
    while (t->depth > 0 && t->found == NULL) {
        uint32_t node = t->path[t->depth - 1];
        if (t->next[node] == t->a.first[node + 1]) {
            leave(t, node);
            continue;
        }
        uint32_t to = t->g->edges[t->a.order[t->next[node]++]].to;
        if (t->index[to] == NONE)
            enter(t, to);
        else if (t->on_stack[to] && t->index[to] < t->low[node])
            t->low[node] = t->index[to];
    }
}

// The shortest way from a node back to itself; 0: none shorter than `best`. `by`: the edge that reached a node.
static uint32_t shortest(const struct graph *g, const struct adjacency *a, uint32_t start, uint32_t best, uint32_t *by, uint32_t *queue,
                         uint32_t *distance, struct edge **cycle)
{
    uint32_t head = 0, tail = 0, length = 0;
    queue[tail++] = start;
    distance[start] = 0;
    while (head < tail && length == 0) {
        uint32_t node = queue[head++];
        for (uint32_t i = a->first[node]; i < a->first[node + 1] && length == 0; i++) {
            uint32_t to = g->edges[a->order[i]].to;
            if (to == start) {
                length = distance[node] + 1;
                by[start] = a->order[i];
            } else if (distance[to] == NONE && distance[node] + 2 < best) {
                distance[to] = distance[node] + 1;
                by[to] = a->order[i];
                queue[tail++] = to;
            }
        }
    }
    if (length != 0 && length < best) {
        *cycle = realloc(*cycle, length * sizeof **cycle);
        assert(*cycle != NULL);
        uint32_t node = start;
        for (uint32_t i = length; i-- > 0; node = (*cycle)[i].from)
            (*cycle)[i] = g->edges[by[node]];
    }
    for (uint32_t i = 0; i < tail; i++)
        distance[queue[i]] = NONE;
    return length != 0 && length < best ? length : 0;
}

static uint32_t short_cycle(const struct graph *g, const struct adjacency *a, const uint32_t *nodes, uint32_t count, struct edge **cycle)
{
    uint32_t best = NONE, *by = numbers(g->nodes), *queue = numbers(g->nodes), *distance = numbers(g->nodes);
    memset(distance, 0xff, (uint64_t)g->nodes * sizeof *distance);
    for (uint32_t i = 0; i < count && i < STARTS_MAX; i++) {
        uint32_t length = shortest(g, a, nodes[i], best, by, queue, distance, cycle);
        best = length != 0 ? length : best;
    }
    free(by), free(queue), free(distance);
    return best;
}

uint32_t graph_cycle(const struct graph *g, struct edge **cycle)
{
    struct tarjan t = { .g = g, .a = adjacency_of(g) };
    t.index = numbers(g->nodes), t.low = numbers(g->nodes), t.next = numbers(g->nodes);
    t.stack = numbers(g->nodes), t.path = numbers(g->nodes), t.on_stack = calloc(g->nodes + 1u, sizeof(bool));
    assert(t.on_stack != NULL);
    memset(t.index, 0xff, (uint64_t)g->nodes * sizeof *t.index);
    *cycle = NULL;
    for (uint32_t node = 0; node < g->nodes && t.found == NULL; node++)
        if (t.index[node] == NONE)
            visit(&t, node);
    uint32_t length = t.found == NULL ? 0 : short_cycle(g, &t.a, t.found, t.found_count, cycle);
    free(t.a.first), free(t.a.order), free(t.index), free(t.low), free(t.next), free(t.stack), free(t.path), free(t.on_stack);
    return length;
}
