// SPDX-License-Identifier: Apache-2.0
// One seed's history: a server of several workers and its clients in a simulated world, from the first connection to the last byte
// of memory given back.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "test/history/workload.h"
#include "test/sim/world.h"

struct sim_options {
    uint64_t seed;
    uint64_t steps; // of the busy phase at most; 0 = until every client has done its share
    bool verbose;
    enum world_bug bug;
    bool history;   // the clients are those of traffic.h
    bool durable;   // the clients are those of durable.h: the server has a disk and is killed
    bool snapshots; // of these: they also ask for snapshots
    bool switches;  // and one of them switches the log on and off; a server starts with it or without
    enum lie lie;   // what these clients pretend about the server
    uint8_t fault;  // enum txn_fault: of the server
    // Of a server whose changes survive: its gates (gate.h), its log (log.h), its recovery (recover.h).
    uint8_t gate_fault, log_fault, recover_fault;
    bool names_fault;   // nobody makes the directory durable
    bool wrong_counter; // the checker's book of the counters is off by one: it must notice
};

struct sim_result {
    char failure[2048]; // "" = good
    uint64_t trace;
    uint64_t steps;
    uint64_t virtual_ms;
    uint64_t commands;
    uint32_t lies;
    uint32_t switched, switches_cut; // the log on or off; cut by a crash
    uint32_t levels;                 // requests that asked for more than the server gives
    bool bug_struck;
};

void sim_run(const struct sim_options *options, struct sim_result *out);
