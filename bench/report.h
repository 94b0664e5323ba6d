// SPDX-License-Identifier: Apache-2.0
// What a run found, for people or as JSON.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bench/client.h"
#include "bench/options.h"
#include "bench/server_cpu.h"

struct report {
    const struct options *options;
    struct measure total;     // over all clients
    double seconds;           // length of the window
    bool has_server;          // `server` is the difference between the window's ends
    struct server_cpu server; // of --server-pid
};

void report_print(const struct report *r);
