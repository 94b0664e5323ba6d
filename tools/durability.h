// SPDX-License-Identifier: Apache-2.0
// What survives, as the program sees it: the data directory and the two threads beside the workers.
//
//   durability_open      the directory, its lock, what its manifest says         before there are workers
//   durability_prepare   ports and keeper                                        before their first turn
//   durability_start     the threads: keeper (keeper_thread.c), log (log_thread.c, where no worker hosts it)
//   durability_stop      all workers have taken their last turn: the log stops, then the keeper writes that it did
//   durability_close     memory
//
// durability_switch: a log is wanted while the server runs; the same as open, prepare and start, as far as it has not been done.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/shard/server.h"
#include "persist/keeper.h"
#include "reactor/disk.h"
#include "reactor/thread.h"

struct durability {
    struct server *server;
    struct disk *disk; // NULL: there is none, and nothing below
    int lock_fd;
    struct keeper *keeper; // logging.keeper, or will be
    bool held;             // the first worker's ring holds the lock
    uint32_t shards;       // of the directory; 0: a new one
    // The keeper's thread.
    struct thread keeper_thread;
    _Atomic(struct reactor *) keeper_reactor; // it sleeps in it
    _Atomic bool keeper_called;
    bool keeper_runs;
    _Atomic bool keeper_over; // its thread could not begin, and is to be joined
    bool cut_short;           // the log ended without room for all that it had been sent
    _Atomic uint64_t opened;  // number of the switch (logging_switch.h) that everything is open for
    // The log's, when it has one.
    struct thread log_thread;
    struct reactor *log_reactor;
    bool log_runs;
    _Atomic bool stop_log, stop_keeper;
    void (*tell_main)(struct server *s);
};

// 0, also when nothing is to survive; -errno: the reason was printed.
int durability_open(struct durability *d, struct server *s) warn_unused;
int durability_prepare(struct durability *d) warn_unused;
// In the first worker's thread: whoever writes holds the lock as long as what he began is not over, dead or alive.
int durability_hold(struct durability *d, struct reactor *worker) warn_unused;
// `worker`: reactor of the first worker; the log lives there when the options say so.
int durability_start(struct durability *d, struct reactor *worker, void (*tell_main)(struct server *s)) warn_unused;
// Main thread, when it has been woken: does what is due of logging_switch.h. And the first worker's.
void durability_switch(struct durability *d);
int durability_hold_now(struct durability *d, struct reactor *worker) warn_unused;
void durability_stop(struct durability *d);
void durability_close(struct durability *d);

// keeper_thread.c, log_thread.c
void keeper_thread_run(void *durability);
void keeper_thread_call(void *durability); // something is to be done
void log_thread_run(void *durability);
void durability_wake_workers(void *durability);
