// SPDX-License-Identifier: Apache-2.0
// A graph of "must have come before" whose edges know why, and the search for a short cycle in it (Tarjan's components, then breadth
// first).
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum why {
    WHY_TIME,        // was over before the other began
    WHY_SESSION,     // same connection, same key, sent before
    WHY_WRITE_READ,  // its write was found by the other
    WHY_READ_WRITE,  // it did not yet see the other's write
    WHY_WRITE_WRITE, // the other's write came on top of its own
    WHY_ORDER,       // the times say so of the two values of the register that they touched
};

struct edge {
    uint32_t from, to;
    uint32_t key;
    uint8_t why;
};

struct graph {
    uint32_t nodes;
    struct edge *edges;
    uint64_t count, cap;
};

void graph_init(struct graph *g, uint32_t nodes);
void graph_deinit(struct graph *g);
uint32_t graph_node(struct graph *g);
// An edge from a node to itself says nothing and is left out.
void graph_edge(struct graph *g, uint32_t from, uint32_t to, enum why why, uint32_t key);
// The edges of a cycle, one after the other, into *cycle (the caller frees it); 0 = there is none.
uint32_t graph_cycle(const struct graph *g, struct edge **cycle);
