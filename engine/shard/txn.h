// SPDX-License-Identifier: Apache-2.0
// A transaction: work on the keys of several workers that nobody sees half of. Strict two-phase locking whose requests are made in
// one order everywhere, so there is no deadlock, no abort and no retry (docs/TRANSACTIONS.md has the argument).
//
//   coordinator                                   participant (also the coordinator's own worker)
//   txn_start       at the turn's end: a number
//   QUEUE  ----- number, prints of its keys ----> arrived ... <= watermark: intents, in the order of numbers
//   granted <---- ticket -----------------------  when the ticket is ready: the keys are this transaction's
//   (all granted)   the work: ordinary requests marked MESH_GRANTED, as many rounds as it takes
//   RELEASE ----- ticket ----------------------->  behind the work in the same ring: the next in line may go
//
// Numbers. They are given, and the messages that carry them pushed, under one lock of the server; then the watermark is raised. Who
// reads the watermark before emptying its rings has received every QUEUE up to it, and enqueues those by number; later ones wait a turn.
// A transaction of one participant conflicts there only, so it needs no number and no lock.
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "base/list.h"
#include "engine/shard/intents.h"

struct buf;
struct conn;
struct mesh_request;
struct slice;
struct worker;

// The simulation plants them, to see that its checkers notice. No server has any.
enum txn_fault {
    TXN_FAULT_NONE,
    TXN_FAULT_HALF,        // writers do not exclude each other: halves are seen
    TXN_FAULT_STALE_WATCH, // what was watched has never changed
};

// What all workers share for it.
struct txn_order {
    _Alignas(64) _Atomic uint32_t lock;
    uint64_t last;                      // number given; under the lock
    _Atomic uint64_t watermark;         // all up to it have been pushed
    uint8_t fault;                      // enum txn_fault
    _Alignas(64) _Atomic uint64_t live; // shares that have not been released, on all workers
};

// A worker's end.
struct txns {
    struct intents intents;
    struct list starting; // struct txn: to be numbered at the end of the turn
    struct list arrived;  // shares with a number, ascending, not enqueued yet
    uint64_t names;       // of transactions in the log, given so far
};

enum txn_state { TXN_NEW, TXN_STARTING, TXN_QUEUED, TXN_GRANTED, TXN_RELEASED };

enum txn_outcome {
    TXN_GOOD,
    TXN_CHANGED,   // a watched key was changed: nothing may be done
    TXN_NO_ROOM,   // a participant is over its share of maxmemory
    TXN_NO_MEMORY, // a participant could not even queue it
    TXN_UNKNOWN,   // a watched key was changed, by what the log may have lost
};

struct txn;
typedef void txn_granted_fn(struct worker *w, struct txn *t);

struct txn_part {
    uint32_t worker;
    uint32_t count, cap;
    uint64_t *prints; // with the mode in the lowest bit
    uint64_t ticket;  // the participant's name for its share; 0 = it has none
    struct pending *pending;
    struct txn_share *own; // of this worker
    bool exclusive;
};

// A field of its owner, who lives until it has released.
struct txn {
    struct list link;
    struct txn_part *parts; // one a worker
    uint32_t count, cap;
    uint32_t left; // have not answered
    uint8_t state; // enum txn_state
    uint8_t outcome;
    bool whole;       // all keys of each worker
    bool needs_room;  // its commands are refused over maxmemory
    uint64_t watcher; // the client whose watches are asked and forgotten; 0 = none
    uint8_t level;    // enum gate_level that it asks for
    // In the log: its name and how many parts it has there (0: it changes nothing), and when released where its own part is.
    uint64_t name;
    uint32_t marks;
    uint64_t position;
    txn_granted_fn *granted;
};

int txns_init(struct txns *x) warn_unused;
void txns_deinit(struct txns *x);

// What the key is called in the intents of its worker, whatever the database: MOVE, COPY ... DB and SELECT between MULTI and EXEC need
// no thought then, and two databases' keys of one name wait for each other at times. `hash`: keyspace_hash.
static inline uint64_t txn_print(uint64_t hash)
{
    return hash >> 1;
}
// The two hashes that have this print: `low` 0 and 1.
static inline uint64_t txn_print_hash(uint64_t print, uint64_t low)
{
    return print << 1 | low;
}
// The same for a key of any worker.
uint64_t txn_print_of(struct worker *w, struct slice key);

void txn_init(struct txn *t, txn_granted_fn *granted);
void txn_deinit(struct txn *t);
// The participants, before it starts. False: out of memory.
bool txn_add_worker(struct txn *t, uint32_t worker, bool exclusive) warn_unused;
bool txn_add_print(struct txn *t, uint32_t worker, uint64_t print, bool exclusive) warn_unused;
bool txn_add_key(struct worker *w, struct txn *t, struct slice key, bool exclusive) warn_unused;

// `granted` will be called when all participants have answered, in a later turn; t->outcome says what came of it. False: out of
// memory, nothing was begun.
bool txn_start(struct worker *w, struct txn *t) warn_unused;
// One that no client waits for: false, too, when the server stops, since workers leave when no client is connected.
bool txn_start_own(struct worker *w, struct txn *t) warn_unused;
// Behind everything that was sent to the participants. Also after an outcome that was not good.
void txn_release(struct worker *w, struct txn *t);
// What a participant said (PENDING_GRANT).
void txn_answer(struct worker *w, struct txn *t, uint32_t part, const uint8_t *bytes, uint64_t len);

// ---- the turn

// Before the rings are emptied: everything up to here will be in them.
uint64_t txn_watermark(const struct worker *w);
// Behind it, if nothing was left in them.
void txn_admit(struct worker *w, uint64_t watermark);
// Answers for shares that became ready and runs the commands that waited.
void txn_run_ready(struct worker *w);
// End of turn, before mesh_push.
void txn_number(struct worker *w);
// Something is to be done in the next turn, whatever comes.
bool txn_hurries(const struct worker *w);
// Nothing is under way, here or (as far as it is known) elsewhere.
bool txn_idle(const struct worker *w);

// ---- for other workers

void txn_serve_queue(struct worker *w, uint32_t from, const struct mesh_request *head);
// TXN_CHANGED becomes TXN_UNKNOWN in an answer that waited for the change (gate.h).
void txn_answer_unknown(struct buf *out);
void txn_serve_release(struct worker *w, const struct mesh_request *head);

// enum ticket_kind, of tickets in a worker's intents
enum txn_ticket { TICKET_SHARE, TICKET_DEFERRED };
