// SPDX-License-Identifier: Apache-2.0
// Gates: a reply leaves when what it says is as safe as its level asks.
//
//   level      a write's reply leaves when its position is       a read's reply leaves when
//   always     durable                                           the last change of each key that it shows is durable
//   everysec   built; durable, once the oldest change that is    at once
//              not durable is older than GATE_STALL_NS
//   no         written                                           at once
//
// A position is a number of this worker's batches (log_port.h); effects_building is the one of the turn that runs.
// Held where they are made: a connection's at the connection, in chunks, and everything behind them with them; another worker's request at
// this one, which sends the answer later. Parts of a transaction that changes something are not held: the position of the coordinator's
// marker holds the whole reply. A connection's level is the strongest of its own (CLIENT DURABILITY), its request's (FCNP) and the
// server's (appendfsync).
//
// Failure modes. Poisoned (a write or sync failed, or a change found no memory): who waits gets GATE_UNKNOWN and is closed, writes are
// refused, reads of what is safe go on. Full: writes are refused until there is room. Behind (more than log-buffer-limit is sent and not
// taken by the log): requests that write wait, on all workers. Loading: only what may run while loading runs.
#pragma once

#include <stdint.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/chains.h"
#include "base/free_list.h"
#include "base/list.h"

struct blob;
struct call;
struct command;
struct conn;
struct worker;

#define GATE_LOADING "LOADING skerry is loading the dataset in memory"
#define GATE_FULL    "MISCONF Errors writing to the AOF file: No space left on device"
#define GATE_FAILED  "IOERR the log has failed: no writes until the server has been started again"
#define GATE_UNKNOWN "IOERR outcome unknown: the log failed before this was safe"

#define GATE_STALL_NS (900 * UINT64_C(1000000))
#define GATE_STEPS    64 // marks in time of what is not durable

// Tests of the tests: what gates must not do. Only the simulation sets it (logging.h).
enum gate_fault {
    GATE_FAULT_NONE,
    GATE_FAULT_EARLY_REPLY, // a write is answered at once
    GATE_FAULT_DIRTY_READ,  // a read shows what is not durable
    GATE_FAULT_NO_MARKERS,  // the log may cut a transaction
    GATE_FAULT_EARLY_ON,    // a log that is switched on is OK before what was answered is durable
    GATE_FAULT_LOOSE_OFF,   // workers leave a log that is switched off while transactions are at work
};

enum gate_level { GATE_NO, GATE_EVERYSEC, GATE_ALWAYS };

// What a reply waits for: positions, 0 = nothing.
struct gate_need {
    uint64_t durable;
    uint64_t written;
};

// Positions from `position` on to the next step's were sent at `sent_ns` or later.
struct gate_step {
    uint64_t position;
    uint64_t sent_ns;
};

struct gate {
    bool on; // replies wait for the log, and it can refuse writes
    bool loading;
    bool behind;            // this worker is
    bool sync;              // somebody waits for a flush of the batch being built
    bool soon;              // somebody is answered as under everysec, of which the server knows nothing
    uint8_t level;          // enum gate_level, of the server
    uint8_t asked;          // the same, of the request that runs for another worker
    uint32_t state;         // enum log_state, as of the turn's end
    uint64_t written;       // as of the turn's end
    uint64_t durable;       //
    struct gate_need serve; // of what runs for another worker
    // Keys whose last change is not durable yet; under level always.
    struct chains keys;
    struct free_list free;              // nodes
    struct list order;                  // by position
    uint64_t floor;                     // a position up to this may have changed any key
    struct gate_step steps[GATE_STEPS]; // a ring, oldest first
    uint32_t step_first, step_count;
    struct list conns;     // with chunks
    struct list answers;   // to other workers
    uint64_t stalled;      // position up to which a flush was asked for, because the oldest change was too old
    uint64_t held, stalls; // replies (or chunks) that had to wait; of these under everysec
    uint64_t held_bytes;   // of those that wait; of a connection's: beyond what counts there
};

int gate_init(struct worker *w) warn_unused;
void gate_deinit(struct worker *w);
// Bytes that the table and replies that wait take, but for those that connections count.
uint64_t gate_memory(const struct gate *g);
// After the options, the log or its state changed: sets worker.gated.
void gate_refresh(struct worker *w);
// The log that was switched on counts; and it has ended, nobody waits any more.
void gate_begin(struct worker *w);
void gate_end(struct worker *w);
// It has ended and left something undurable: who waits for that hears GATE_UNKNOWN with this turn. False: nobody waits.
bool gate_give_up(struct worker *w);

// ---- effects tell
void gate_changed(struct worker *w, uint64_t hash); // at the batch being built
void gate_changed_all(struct worker *w);
void gate_sent(struct worker *w, uint64_t now_ns);
bool gate_take_sync(struct worker *w);
// A transaction of this level is released with the batch being built, and may be answered later: then that has to be flushed soon.
void gate_promise(struct worker *w, uint8_t asked);
bool gate_take_soon(struct worker *w);

// ---- requests, where worker.gated is set

// Runs a command: refuses it, or finds out what its reply waits for; then the connection waits for it (or `serve` says so).
// `granted`: in a transaction.
void gate_run(struct worker *w, struct call *call, bool granted);
// A reply that shows a key, or something of all of them, without a command having run. `c`: NULL when it is another worker's.
void gate_read(struct worker *w, struct conn *c, uint64_t hash);
void gate_read_all(struct worker *w, struct conn *c);
// Why no command that writes can be accepted; NULL: it can.
const char *gate_refusal(const struct worker *w);
// Why this command cannot; NULL: it can.
const char *gate_refuses(struct worker *w, const struct command *command);
// Nothing that this connection reads has to wait or is refused.
bool gate_lets_reads(const struct conn *c);
// Nothing that it changes is refused, or watched by anybody.
bool gate_lets_sets(const struct conn *c);
bool gate_all_durable(const struct worker *w);
// Requests that write wait now (CLIENT PAUSE's way).
bool gate_stops_writers(const struct worker *w);

// ---- replies

// The connection's replies from here on wait until a change of `position` is as safe as `asked` says, or the server's level. What takes
// more than its turn has to remember gate_asked of when it began: by its end the connection may be at something that asks for less.
void gate_conn(struct conn *c, uint64_t position, uint8_t asked);
// From here on they wait until gate_open (EXEC at work).
void gate_shut(struct conn *c);
void gate_open(struct conn *c, uint64_t position, uint8_t asked); // 0: nothing was changed
// Before a request of another worker.
static inline void gate_serve(struct gate *g, uint8_t level)
{
    g->serve = (struct gate_need){ 0 };
    g->asked = level;
}
// Or behind what ran here as if for another worker: the connection waits for it.
void gate_take_serve(struct conn *c);
// What the client asks for beyond the server's level.
uint8_t gate_asked(const struct conn *c);
// And behind it. True: `out` and `*value` (NULL or all of the answer) have been kept, the answer goes later. False: `*value` may be gone.
bool gate_keep(struct worker *w, uint32_t to, uint64_t cookie, struct buf *out, struct blob **value);
// The same of a transaction's answer which says that a watched key was changed.
bool gate_keep_grant(struct worker *w, uint32_t to, uint64_t cookie, struct buf *out);
// conn_flush of a connection that is gated: `out` becomes a chunk, chunks that may go become `out`.
enum gate_passage {
    GATE_WAITS,  // nothing is to be sent
    GATE_FREE,   // `out` has nothing to wait for
    GATE_PASSES, // it is to be sent now
};
enum gate_passage gate_pass(struct conn *c);
// The connection closes.
void gate_forget(struct conn *c);

// ---- the turn

// Its end, behind effects_flush: who may go now.
void gate_turn(struct worker *w);
// The log has said something since.
bool gate_has_news(const struct worker *w);
