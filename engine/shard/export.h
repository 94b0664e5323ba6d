// SPDX-License-Identifier: Apache-2.0
// The live export of the server (replica/export.h has its queue): whoever may listen sees every change as an FCW2 frame when it has
// happened, and nothing of before. One way: nobody is waited for, nothing is sent again but the frame that a lost connection had cut.
//
//   any worker, at the end of its turn           worker 0
//   records of the turn -> frames -> port ---->  queue -> one send at a time for each subscriber
//
//   listen    subscribers connect and say the token within wal-export-connect-timeout-ms
//   connect   the server dials a collector, says the token if there is one, and dials again when the connection is lost
//
// Nothing is encoded while nobody listens. A subscriber that takes no byte for wal-export-write-timeout-ms is closed; one that is behind
// the queue loses its oldest frames; both are counted, and no other subscriber, accept or client waits for them. With
// wal-export-backpressure-on-full yes requests that write wait instead, as long as the queue is full.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/crc32.h"
#include "base/slice.h"

struct completion;
struct export_block;
struct exporter;
struct op;
struct server;
struct worker;

enum export_wanted { EXPORT_NOBODY, EXPORT_PLAIN, EXPORT_EFFECTS };

// Between all workers and worker 0.
struct export_port {
    _Atomic uint32_t wanted;                        // enum export_wanted
    struct crc32_tables *tables;                    // NULL: the export is off
    _Alignas(64) _Atomic(struct export_block *) in; // newest first
    _Atomic uint64_t waiting;                       // bytes in it
    _Atomic uint64_t lost;                          // turns for which there was no memory, or no room in it
    // Counters of worker 0.
    _Atomic uint64_t subscribers, frames, bytes, dropped, timeouts, refused, crowded, connects, queued;
};

// For INFO and /metrics: of what has a `server`.
#define EXPORTED(of, counter) atomic_load_explicit(&(of)->server->export.counter, memory_order_relaxed)

// ---- every worker

// The records of a turn (sub-batches).
void export_turn_records(struct worker *w, struct slice records);

static inline bool export_is_wanted(const struct export_port *p)
{
    return unlikely(atomic_load_explicit(&p->wanted, memory_order_relaxed) != EXPORT_NOBODY);
}

static inline bool export_has_mail(const struct export_port *p)
{
    return atomic_load_explicit(&p->in, memory_order_relaxed) != NULL;
}

// ---- worker 0

// Before any other worker takes a turn. -EINVAL: wal-export-addr is none.
int exporter_new(struct exporter **out, struct worker *w) warn_unused;
// When no worker takes turns any more.
struct exporter *exporter_free(struct exporter *x);
// A connection of the listener (LISTENER_EXPORT).
void exporter_welcome(struct exporter *x, int fd);
void exporter_on_completion(struct exporter *x, const struct completion *done);
// The end of a turn: what came goes on to whoever may take it.
void exporter_turn(struct exporter *x);
// ns until it wants to be called again without any event; UINT64_MAX: no need.
uint64_t exporter_wait_ns(const struct exporter *x);
// Told to stop: what is queued is still sent, as fast as it is taken. True: all are gone.
bool exporter_drained(struct exporter *x, bool now);
