// SPDX-License-Identifier: Apache-2.0
// What all workers of one server share: fixed after start but for the atomics. Each worker's statistics are written by it alone
// and read by anybody (relaxed).
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "base/assert.h"
#include "engine/shard/command_log.h"
#include "engine/shard/export.h"
#include "engine/shard/latency.h"
#include "engine/shard/logging.h"
#include "engine/shard/mesh.h"
#include "engine/shard/options.h"
#include "engine/shard/save.h"
#include "engine/shard/txn.h"
#include "engine/store/route.h"

struct buf;
struct reactor;
struct server;
struct slice;
struct mesh_rings;
struct worker;

// What the operating system says of the process.
struct process_usage {
    uint64_t resident; // bytes
    uint64_t resident_peak;
    uint64_t memory_total; // of the machine
    uint64_t user_us;      // CPU time of all threads
    uint64_t system_us;
};

// What only the program that runs the workers can do; the simulation lacks some or all (NULL).
struct server_host {
    void (*stop_requested)(struct server *s); // wakes the main thread; any thread
    void (*usage)(struct process_usage *out);
    void (*give_back)(void);                                    // the calling thread's free memory, to the kernel
    int (*config_read)(struct server *s, struct buf *out);      // the configuration file; 0 or -errno
    int (*config_replace)(struct server *s, struct slice text); // durably, whole or not at all
    // A log is wanted (logging_switch.h): `switch_log` has it opened; `hold_log`: the reactor that will write it holds the directory's
    // lock.
    void (*switch_log)(struct server *s);
    int (*hold_log)(struct server *s, struct reactor *r);  // 0 or -errno
    void (*loglevel_changed)(struct server *s, int level); // enum option_loglevel
    const char *os;                                        // "Linux 6.1.0 x86_64"
    const char *compiler;                                  // "gcc 12.2.0"
    const char *allocator;
    int64_t pid;
};

struct server {
    uint32_t worker_count;
    struct worker **workers;
    struct route route;
    struct mesh_rings *rings; // between all workers; made before them, freed after them
    char run_id[41];
    int64_t started_wall_ms;
    uint64_t started_ns;
    const char *executable;     // absolute path
    const char *config_file;    // absolute path, "" when none
    struct options options;     // as of start; each worker has a copy that CONFIG SET changes (worker.h)
    _Atomic uint32_t connected; // client connections, against maxclients
    _Atomic int stop;           // enum server_stop
    _Atomic uint64_t resident_at_start;
    struct txn_order order;
    const struct server_host *host; // never NULL
    struct command_log logs[LOG_KINDS];
    struct latency_monitor latency;
    _Atomic uint32_t attention;                     // reasons for workers to look at what follows: once a turn
    _Atomic uint32_t monitors;                      // connections that said MONITOR
    _Atomic uint32_t monitors_of[MESH_WORKERS_MAX]; // of each worker
    _Atomic uint64_t nap_until_ns;                  // DEBUG SLEEP
    struct logging logging;
    struct export_port export;
    struct saving saving;
    _Atomic uint32_t logs_behind;  // workers whose changes the log does not take as fast as they come
    _Atomic bool no_active_expire; // DEBUG SET-ACTIVE-EXPIRE 0
};

enum server_stop { SERVER_RUNS, SERVER_STOPS, SERVER_STOPS_NOW };
