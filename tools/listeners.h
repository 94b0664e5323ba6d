// SPDX-License-Identifier: Apache-2.0
// The sockets that the server listens on: for every worker one per address.
//
//   TCP            a socket for each worker and address (SO_REUSEPORT: the kernel spreads the connections)
//   direct ports   a socket for each shard and address, of the worker that owns the shard
//   admin port     a socket for each of its addresses, of worker 0
//   live export    a socket, of worker 0
//   unix socket    one socket, a descriptor of it for each worker
//   handed over    by a service manager: instead of all the others, a descriptor for each worker
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "engine/shard/options.h"
#include "engine/shard/worker.h"

#define LISTENERS_MAX       32 // per worker
#define LISTENERS_ADMIN_MAX 8

struct listening {
    int fd;
    uint8_t flags; // enum listener_flag
};

struct direct_listening {
    int fd;
    uint32_t shard;
};

struct listeners {
    uint32_t workers;
    uint32_t count;                  // per worker
    struct listening *sockets;       // [workers * LISTENERS_MAX]
    struct direct_listening *direct; // [direct_count]
    uint32_t direct_count;
    int admin[LISTENERS_ADMIN_MAX]; // of worker 0
    uint32_t admin_count;
    int export;           // of worker 0, -1: none
    char *unix_path;      // to be removed at the end; NULL = none
    char names[512];      // for the log
    uint32_t patience_ms; // left, with addresses that are in use
};

#define LISTENERS_ERROR_MAX 512

// 0, or -errno and a reason.
int listeners_open(struct listeners *l, const struct options *o, uint32_t workers, uint32_t shards,
                   char error[LISTENERS_ERROR_MAX]) warn_unused;
// How many addresses `bind` names.
uint32_t listeners_addresses(const struct options *o);
static inline struct listening *listeners_of(struct listeners *l, uint32_t worker)
{
    return l->sockets + worker * LISTENERS_MAX;
}
// Closes what no worker has taken (fd >= 0), removes the unix socket's file.
void listeners_close(struct listeners *l);
