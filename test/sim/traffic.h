// SPDX-License-Identifier: Apache-2.0
// Simulated clients whose history is recorded and checked afterwards (test/history): they share all keys, know no reply in advance, are
// slow, are cut in every state, and come back. In such a history they are the only clients.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/prng.h"
#include "test/history/workload.h"
#include "test/sim/client.h"

#define TRAFFIC_CLIENTS_MAX 12

struct traffic_client {
    enum client_state state;
    struct socket *socket;
    struct session session;
    struct buf out, in;
    size_t out_sent;
    uint64_t again_ns, quiet_until_ns, think_until_ns;
    bool finish_sent, finish_wanted;
};

struct traffic {
    struct sim *sim;
    struct prng prng;
    struct workload workload;
    uint32_t count;
    uint32_t requests; // in all
    uint32_t cuts;
    struct traffic_client clients[TRAFFIC_CLIENTS_MAX];
};

void traffic_init(struct traffic *t, struct sim *sim, enum lie lie, uint64_t seed);
void traffic_deinit(struct traffic *t);
uint64_t traffic_next_ns(const struct traffic *t, uint32_t client);
void traffic_step(struct traffic *t, uint32_t client);
// Everything has been asked and answered.
bool traffic_worked(const struct traffic *t);
// Every client is connected and has its replies, but for those that wait to end their connection.
bool traffic_answered(const struct traffic *t);
// All clients leave; then nobody is connected any more.
void traffic_leave(struct traffic *t);
bool traffic_left(const struct traffic *t);
// Checks the history; the world fails if it does not hold.
void traffic_check(struct traffic *t);
