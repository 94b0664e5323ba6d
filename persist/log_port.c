// SPDX-License-Identifier: Apache-2.0
#include "persist/log_port.h"

#include <stdlib.h>

#include "persist/format.h"

void log_port_init(struct log_port *p)
{
    atomic_init(&p->in, NULL);
    atomic_init(&p->wants_sync, false);
    atomic_init(&p->spent, NULL);
    atomic_init(&p->written, 0);
    atomic_init(&p->durable, 0);
    atomic_init(&p->taken_bytes, 0);
    atomic_init(&p->room, 0);
    atomic_init(&p->state, LOG_OFF);
}

static void batches_free(struct log_batch *b)
{
    while (b != NULL) {
        struct log_batch *next = b->next;
        log_batch_free(b);
        b = next;
    }
}

void log_port_deinit(struct log_port *p)
{
    batches_free(log_port_pull(&p->in));
    batches_free(log_port_pull(&p->spent));
}

struct log_batch *log_batch_new(void)
{
    struct log_batch *b = calloc(1, sizeof *b);
    if (b != NULL)
        buf_init(&b->data, UNIT_MAX);
    return b;
}

struct log_batch *log_batch_free(struct log_batch *b)
{
    if (b != NULL) {
        buf_deinit(&b->data);
        free(b->markers);
        free(b);
    }
    return NULL;
}
