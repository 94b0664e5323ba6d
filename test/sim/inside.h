// SPDX-License-Identifier: Apache-2.0
// What the files of the world's reactors share (world.c: turns; sockets.c: connections; files.c: file ops).
#pragma once

#include "test/sim/world.h"

#define COMPLETIONS_MAX 4096
#define FILE_OPS_MAX    256
#define LOANS_MAX       512

struct file_op {
    struct op *op;
    uint64_t due_ns;
    bool waits; // for the one before it in the array, whose chain it is in
};

// A zero-copy send that has been answered: its memory is looked at until then.
struct loan {
    struct op *op;
    uint64_t due_ns;
    uint64_t hash;
};

struct sim_reactor {
    struct reactor reactor; // first: what the product sees
    struct world *world;
    uint32_t id;
    bool sleeping;
    uint64_t sleep_until_ns;
    uint64_t wake_ns; // NEVER: nobody woke it
    struct completion items[COMPLETIONS_MAX];
    uint32_t count;
    uint8_t **buffers; // by number; NULL: free
    uint32_t buffers_out;
    struct file_op files[FILE_OPS_MAX]; // in the order of submission
    uint32_t file_count;
    struct loan loans[LOANS_MAX];
    uint32_t loan_count;
};

bool world_happens(struct world *w, uint32_t permille);
// True once: at the occasion that was drawn.
bool world_strikes(struct world *w, enum world_bug bug);
struct completion *world_complete(struct sim_reactor *s, struct op *op, int32_t result, uint16_t flags);

// ---- files.c

void files_start(struct sim_reactor *s, struct op *op, bool linked);
void files_cancel(struct sim_reactor *s, struct op *cancel);
// Ends what is due, in an order of the world's choice.
void files_progress(struct sim_reactor *s);
// When the next one is; NEVER: there is none.
uint64_t files_next_ns(const struct sim_reactor *s);

// ---- sockets.c

// A free one of just this length, or -ENOBUFS.
int sockets_buffer(struct sim_reactor *s, size_t len);
void sockets_buffer_return(struct reactor *r, uint16_t buffer);
void sockets_start(struct sim_reactor *s, struct socket *c, struct op *op);
void sockets_accept(struct sim_reactor *s, struct op *op);
void sockets_cancel(struct sim_reactor *s, struct op *op);
// What a send gets from a connection that takes nothing any more; 0: it takes.
int sockets_send_refusal(struct world *w, const struct socket *c);
// Is there anything that this connection's ops wait for?
bool sockets_may_progress(struct world *w, struct socket *c);
void sockets_progress(struct sim_reactor *s);
// Gives back the memory of zero-copy sends that is due.
void sockets_end_loans(struct sim_reactor *s);
