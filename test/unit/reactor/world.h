// SPDX-License-Identifier: Apache-2.0
// What the tests of both backends share: REACTOR_TEST in the environment says which backend, and what it does without
// ("epoll", "blocking", "uring", "uring-defer-taskrun", ...).
#pragma once

#include <stdint.h>

#include "base/test.h"
#include "reactor/clock.h"
#include "reactor/reactor.h"

#define SEEN_MAX  20000
#define BYTES_MAX (8u << 20)
// How long anything may take that must happen: the machine may stand still for a while.
#define PATIENCE_NS (60 * NS_PER_SEC)

struct seen {
    struct op *op;
    int32_t result;
    uint16_t flags;
    uint16_t buffer;
};

// One reactor, and everything its turns have said.
struct world {
    struct reactor *r;
    bool hold_buffers; // do not give them back
    uint32_t count;
    struct seen seen[SEEN_MAX];
    uint32_t byte_count;
    uint8_t bytes[BYTES_MAX]; // all that OP_RECV brought
};

extern struct world world;

struct reactor_options world_options(void);
bool world_is_uring(void);
bool world_is_blocking(void);
bool world_has(enum reactor_feature feature);

void world_open(struct reactor_options options);
void world_close(void);

// One turn; returns how many completions it brought.
uint32_t world_turn(uint64_t wait_ms);
// Turns until `count` completions have come since world_open or world_forget, or a few seconds are over.
void world_until(uint32_t count);
void world_until_bytes(uint32_t bytes);
// Turns until the op has ended.
void world_until_idle(const struct op *op);
void world_forget(void);
// The newest completion of an op; NULL when there is none.
const struct seen *world_last(const struct op *op);
uint32_t world_count_of(const struct op *op);
// Cancels and waits for both ends.
void world_cancel(struct op *op);

// A TCP connection: `server` is the accepted, non-blocking side, `client` a blocking socket.
struct pair {
    int server;
    int client;
};

struct pair pair_open(void);
// The same over a unix socket: for many at once, on machines whose loopback is busy with other things.
struct pair pair_open_local(void);
void pair_close(struct pair *p);
