// SPDX-License-Identifier: Apache-2.0
// Between one worker and the log role: batches there, positions back. Lock-free; one worker, one role.
//
//   worker                                   role
//   log_port_send(batch, position p) ---->   log_port_take        the turn's mutations, one after the other by position
//   log_port_recycle               <------   log_port_give_back   the memory, once its bytes are in a frame
//   written, durable >= p           <------   stored (release), then the worker is woken
//
// A position is a number of the worker's own: 1 for its first batch, 2 for the next. What is asked of a position holds for all before it.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/buf.h"

enum log_state {
    LOG_OFF, // appendonly no
    LOG_RUNS,
    LOG_FULL,     // no room for a segment: writes are refused, it resumes by itself
    LOG_POISONED, // a write or sync failed: for good
};

// A transaction's part in a batch: a batch is not cut off from the others of its transaction.
struct log_marker {
    uint64_t txn;   // its name; unique among those under way
    uint32_t parts; // markers of that name there will be, over all workers

    // The role's, from when it took the batch.
    uint32_t seen;            // of the first: markers that have come
    struct log_batch *batch;  // that it is in
    struct log_marker *first; // of the same transaction
    struct log_marker *peer;  // the next of the same transaction
    struct log_marker *chain; // of the first: of the next transaction in the table's row
};

// One worker's turn. The worker fills it, the role reads it.
struct log_batch {
    struct log_batch *next;
    uint64_t position;
    uint64_t built_ns; // when (the turn's clock)
    uint32_t crc;      // of data
    uint32_t batches;  // sub-batches in it
    uint32_t marker_count, marker_cap;
    struct log_marker *markers;
    bool sync; // somebody waits for it to be durable
    bool soon; // or was told that it will be, within the second of everysec
    struct buf data;
    uint32_t port; // the role's
};

struct log_port {
    // The worker writes, the role takes.
    _Alignas(64) _Atomic(struct log_batch *) in; // newest first
    _Atomic bool wants_sync;                     // everything sent before it
    // The role writes.
    _Alignas(64) _Atomic(struct log_batch *) spent;
    _Alignas(64) _Atomic uint64_t written; // positions
    _Atomic uint64_t durable;
    _Atomic uint64_t taken_bytes; // of batches that are in frames: what was sent and is not taken counts against the buffer's limit
    // Bytes that this worker may have under way (sent and not taken) and be sure that there is a segment for them: without limit but
    // while no new segments can be made.
    _Atomic uint64_t room;
    _Atomic uint32_t state; // enum log_state
};

void log_port_init(struct log_port *p);
void log_port_deinit(struct log_port *p); // frees what is in both lists
struct log_batch *log_batch_new(void);
struct log_batch *log_batch_free(struct log_batch *b);

static inline void log_port_push(_Atomic(struct log_batch *) *list, struct log_batch *b)
{
    struct log_batch *first = atomic_load_explicit(list, memory_order_relaxed);
    do {
        b->next = first;
    } while (!atomic_compare_exchange_weak_explicit(list, &first, b, memory_order_release, memory_order_relaxed));
}

// Oldest first.
static inline struct log_batch *log_port_pull(_Atomic(struct log_batch *) *list)
{
    if (atomic_load_explicit(list, memory_order_relaxed) == NULL)
        return NULL;
    struct log_batch *newest = atomic_exchange_explicit(list, NULL, memory_order_acquire), *oldest = NULL;
    while (newest != NULL) {
        struct log_batch *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

// Then wake the host, if log_wants_wake (log.h) says so.
static inline void log_port_send(struct log_port *p, struct log_batch *b)
{
    bool sync = b->sync;
    log_port_push(&p->in, b);
    if (sync)
        atomic_store_explicit(&p->wants_sync, true, memory_order_release);
}

// A batch to be filled again: empty, with its memory; NULL: none has come back.
static inline struct log_batch *log_port_recycle(struct log_port *p)
{
    return log_port_pull(&p->spent); // a list: the caller keeps the rest
}
