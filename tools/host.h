// SPDX-License-Identifier: Apache-2.0
// What the program does for its server: facts of the process, the configuration file, stopping (engine/shard/server.h).
#pragma once

#include "base/buf.h"
#include "engine/shard/server.h"

// Fills in what describes the process; strings live as long as the process.
void host_describe(struct server_host *h);
void host_usage(struct process_usage *out);

// The whole file. 0 or -errno.
int host_read_file(const char *path, struct buf *out) warn_unused;
// Durably, whole or not at all: a new file beside it takes its place.
int host_replace_file(const char *path, struct slice text) warn_unused;
