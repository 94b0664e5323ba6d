// SPDX-License-Identifier: Apache-2.0
// One seed's run of a store (node.h), and every moment at which the power may go: at every sector of every write, whole or garbage, with
// everything else that is under way kept, dropped or mixed; and at random after every other event. From some of the disks that are left,
// the store goes on, and the power goes again: while it recovers, and afterwards.
#pragma once

#include "test/crash/node.h"

#define SWEEP_ALL UINT64_MAX

struct sweep_options {
    uint64_t seed;
    uint64_t most;   // states
    uint64_t only;   // this state alone (with the lives that it leads to); SWEEP_ALL
    uint32_t errors; // permille; more than the seed draws
    // Tests of the tests.
    uint8_t log_fault, recover_fault, left_out;
    enum log_method method; // AUTO: what the seed draws
    bool snapshots, large;  // have them whatever the seed draws
    bool verbose;
};

struct sweep_result {
    uint64_t states, lives;
    enum crash_check check; // of the first failure
    uint64_t state;         // its number
    char text[640];
};

void sweep_run(const struct sweep_options *options, struct sweep_result *out);
