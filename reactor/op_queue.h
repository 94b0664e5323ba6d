// SPDX-License-Identifier: Apache-2.0
// A queue of ops that a backend keeps for itself; op->next is free while an op is in flight.
#pragma once

#include "reactor/reactor.h"

struct op_queue {
    struct op *head;
    struct op **tail;
};

static inline void op_queue_init(struct op_queue *q)
{
    q->head = NULL;
    q->tail = &q->head;
}

static inline void op_queue_add(struct op_queue *q, struct op *op)
{
    op->next = NULL;
    *q->tail = op;
    q->tail = &op->next;
}

static inline struct op *op_queue_take_all(struct op_queue *q)
{
    struct op *first = q->head;
    op_queue_init(q);
    return first;
}

static inline struct op *op_queue_take(struct op_queue *q)
{
    struct op *first = q->head;
    if (first == NULL)
        return NULL;
    q->head = first->next;
    if (q->head == NULL)
        q->tail = &q->head;
    return first;
}

// Walks the queue; false when the op is not in it.
static inline bool op_queue_remove(struct op_queue *q, struct op *op)
{
    for (struct op **at = &q->head; *at != NULL; at = &(*at)->next) {
        if (*at != op)
            continue;
        *at = op->next;
        if (q->tail == &op->next)
            q->tail = at;
        op->next = NULL;
        return true;
    }
    return false;
}
