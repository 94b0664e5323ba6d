// SPDX-License-Identifier: Apache-2.0
// The log role: takes batches of all workers, makes frames of them, writes and syncs these, and says what is durable. A state machine over
// ops; it calls nobody back and knows no thread. Who hosts it (a thread with a reactor of its own, or the only worker's reactor) calls
//
//   log_on_completion   for each completion whose op->owner is the one given at the start
//   log_step            once a turn, behind them
//   log_next_ns         for how long it may sleep
//
//   ports ---> cut (whole turns, whole transactions) ---> frame or chain ---> write ---> [sync] ---> durable, ports told
//   keeper ---> ready segments ---> current ---> full ---> keeper
//
// Cut: of each port a prefix of its batches, as long as every transaction with a marker inside has all its markers inside.
// Invariants: written LSN >= durable LSN; a sync covers only frames whose writes were complete when it was submitted; durable only grows.
// Failure: any result of a write other than its length (which is not just short: -ECANCELED too), any sync error: poisoned, for good.
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "persist/format.h"
#include "persist/log_port.h"
#include "reactor/reactor.h"

#define LOG_FRAMES_MAX 8 // in flight

enum log_sync { // appendfsync
    LOG_SYNC_ALWAYS,
    LOG_SYNC_EVERYSEC,
    LOG_SYNC_NO,
};

enum log_method {
    LOG_METHOD_AUTO,      // dsync or linked, whichever has been quicker for frames of its size; keeper_measure: what is fastest alone
    LOG_METHOD_DSYNC,     // every frame written with RWF_DSYNC, several in flight
    LOG_METHOD_FDATASYNC, // writes in flight together, one sync for those that are complete
    LOG_METHOD_LINKED,    // one frame: write, linked sync
};

// A segment between keeper and role: the keeper makes it (or makes an old one new), the role fills it and hands it back.
struct log_segment {
    struct log_segment *next;
    struct segment_header header; // first_lsn and previous_... are the role's to fill in
    int fd;
    uint64_t last_lsn; // when it is handed back
};

// Where a start begins: behind what recovery found.
struct log_origin {
    struct uuid store, history;
    uint64_t lsn;          // of the last good frame
    uint32_t last_crc;     // its CRC
    uint64_t last_segment; // where it lies; 0: none
    uint32_t shards;
    uint64_t segment_size;
};

// Tests of the tests: what the role must not do, one at a time (docs/PLANTED.md). Only tests set it.
enum log_fault {
    LOG_FAULT_NONE,
    LOG_FAULT_EARLY_ACK,   // 1: what is written counts as durable
    LOG_FAULT_SHORT_WRITE, // 2: a write that is short is taken for whole
    LOG_FAULT_CANCELED,    // 3: of a chain only the sync is looked at, and -ECANCELED taken for success
    LOG_FAULT_SYNC_AGAIN,  // 4: a sync that failed is tried again, and believed
    LOG_FAULT_SYNC_ALL,    // a sync covers what was under way when it was submitted
    LOG_FAULT_NO_EPOCH,    // 7: frames verify in any life of a segment's file
    LOG_FAULT_IN_PLACE,    // 8: the last frame is rewritten in its place, as its own seal
    LOG_FAULT_HALF_TXN,    // 21: a transaction's parts may be in different units
    LOG_FAULTS
};

struct log_options {
    struct log_origin origin;
    enum log_sync sync;
    enum log_method method;
    uint32_t frames_in_flight; // 1 to LOG_FRAMES_MAX
    uint32_t ports;
    uint64_t buffer_limit; // bytes of one worker that may wait
    uint8_t owner;         // of its ops
    uint8_t fault;         // enum log_fault
};

// Counters for INFO: written by the role, read by anybody (relaxed).
struct log_stats {
    _Atomic uint64_t lsn, durable_lsn; // of the last frame of a unit, never in the middle of a chain
    _Atomic uint64_t frames;           // written
    _Atomic uint64_t flushes;          // syncs, and frames that are written and synced in one
    _Atomic uint64_t batches, bytes, payload_bytes;
    _Atomic uint64_t segments;                   // begun since start
    _Atomic uint64_t segments_ready;             // waiting to be begun
    _Atomic uint64_t sync_ns_total, sync_ns_max; // of flushes, from submission to completion
    _Atomic uint64_t oldest_ns;                  // when the oldest batch that is not durable was built; 0: all are
    _Atomic uint64_t pending_bytes;              // taken and not durable
    _Atomic int error;                           // -errno that poisoned it, or of the segment that could not be made; 0 = none
    _Atomic uint32_t sync;                       // enum log_sync in force
    _Atomic uint32_t method;                     // of the newest frame that was synced
};

struct log;

// `r`: where its ops go; all of `ports` outlive it, and their positions go on where they are (0, or where the log before ended). Registers
// its buffers there when that is to be had.
int log_new(struct log **out, const struct log_options *options, struct reactor *r, struct log_port *const *ports) warn_unused;
// No op is in flight (log_idle). In the thread of its reactor.
struct log *log_free(struct log *l);

void log_on_completion(struct log *l, const struct completion *done);
void log_step(struct log *l);
// ns from the reactor's now until log_step wants to be called again without any event; UINT64_MAX: no need; 0: at once.
uint64_t log_next_ns(const struct log *l);
// Ports that were told something since the last call, as a bit each: the host wakes their workers.
uint64_t log_told(struct log *l, uint32_t word);
// Since the last call a segment was begun or handed back, or the log has stopped: the host wakes the keeper's, who makes the next one.
bool log_told_keeper(struct log *l);
// Has something come that log_step should look at before its time? For the host's reactor->pending.
bool log_has_work(const struct log *l);
// Any thread, behind log_port_send of a batch (its `sync`): must the host be woken? Not while it looks by itself soon enough: when the
// flush under way returns, or when a frame has waited as long as frames may. (A fence and a relaxed load.)
bool log_wants_wake(const struct log *l, bool sync);

// Any thread: takes effect with the next step.
void log_set_sync(struct log *l, enum log_sync sync);
const struct log_stats *log_stats(const struct log *l);
uint64_t log_memory(const struct log *l); // of its frames: the same from beginning to end; any thread
uint32_t log_state(const struct log *l);  // enum log_state; any thread

// ---- with the keeper: lists without locks (both ends may be different threads)
void log_segment_give(struct log *l, struct log_segment *s); // ready: to be begun in the order of ids
// Any thread: some were given that the host has not looked at, or it does not know of the
// trouble yet. The keeper's host wakes the log's, which may wait for one.
bool log_segments_given(const struct log *l);
struct log_segment *log_segment_take(struct log *l); // full ones, oldest first, all their frames durable; or NULL
// The keeper could not make one, said each time it has tried; 0: it can again. -ENOSPC and the like are no poison: LOG_FULL once the ready
// ones are used up and the last one is half full. Where the disk refuses for good (-EIO, -EROFS) the log is poisoned once they are used up,
// for what was sent would wait for ever. Without trouble a log that waits for a segment just waits.
void log_segment_trouble(struct log *l, int error);
// From where on the role wants another (segments that are ready and not begun): 2.
uint32_t log_segments_ready(const struct log *l);

// Any thread: stops. What was sent is written and synced, then a clean-stop frame (none where this log has written nothing). Nothing is
// sent from now on. log_stopped: it is done, or poisoned, or the keeper has tried twice since and could make no segment for what is
// left (the disk is full: acknowledged under everysec, it may get room until then); log_stopped_clean: all that was sent is durable. From
// then on log_segment_take gives all other segments back too: the one in use, and those never begun (their first_lsn is 0).
void log_stop(struct log *l);
bool log_stopped(const struct log *l);
bool log_stopped_clean(const struct log *l);
bool log_idle(const struct log *l);
// Stopped and idle: where the next log goes on. Of `origin` what this log has moved: LSN, CRC, segment.
void log_end(const struct log *l, struct log_origin *origin);
