// SPDX-License-Identifier: Apache-2.0
// The third reactor backend (reactor/backend.h): one thread, one seed, no kernel. It keeps the rules of reactor/reactor.h and uses
// every freedom that they leave: completions late, cut, ended early and in another order than expected; sleeps that only a wake-up
// or the clock ends. Everything it does is drawn from its generators, so a seed is a history.
//
// Sleeping. A turn that finds nothing and may wait returns no completions with the clock unmoved, which makes the rest of the worker's
// turn do nothing, and from then on the reactor counts as asleep: the scheduler leaves it alone until world_awake says otherwise.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/prng.h"
#include "reactor/backend.h"
#include "test/sim/disk.h"
#include "test/sim/net.h"

// The world misbehaves on purpose: the checkers must see it.
enum world_bug {
    BUG_NONE,
    BUG_LOST_WAKE,
    BUG_SWAPPED_RECEIVES,
    BUG_LOST_BYTE,
    BUG_DOUBLE_COMPLETION,
    BUG_LOST_COMPLETION,
    BUG_EARLY_SEND,
    BUG_REUSED_BUFFER,
    BUG_SLOW_CLOCK,
    BUG_UNSEEDED,
    BUG_COUNT
};
const char *world_bug_name(enum world_bug bug);

struct world_knobs {
    struct net_knobs net;
    uint32_t buffers;
    uint32_t buffer_size;
    uint64_t wake_delay_ns;
    // Permille of the occasions.
    uint32_t hold;         // a connection gets nothing this turn
    uint32_t cut_receive;  // fewer bytes than there are
    uint32_t end_receive;  // a multishot receive ends though it brought data
    uint32_t no_buffer;    // -ENOBUFS
    uint32_t accept_error; // -EMFILE or -ECONNABORTED
    uint32_t end_accept;   // a multishot accept ends though it brought a connection
    uint32_t short_send;   // the socket takes less than it could
    // File ops: each takes up to so long, now and then up to so much longer; which is when others overtake it.
    uint64_t file_ns;
    uint64_t file_spike_ns;
    uint32_t file_spike;  // permille
    uint32_t write_error; // -EIO
    uint32_t sync_error;
    uint32_t short_write;
};

struct sim_reactor;

#define WORLD_REACTORS_MAX 16

struct world {
    uint64_t now_ns;
    int64_t wall_start_ms;
    struct net net;
    struct prng prng;      // of the backend's choices
    struct sim_disk *disk; // NULL: the world has no files
    struct world_knobs knobs;
    bool calm; // faults are over
    enum world_bug bug;
    uint64_t bug_in; // occasions until it strikes
    bool bug_struck;
    uint64_t trace;
    struct sim_reactor *reactors[WORLD_REACTORS_MAX];
    uint32_t reactor_count;
    char failure[2048]; // "" = none
};

void world_init(struct world *w, const struct world_knobs *knobs, uint64_t seed);
void world_deinit(struct world *w);
int64_t world_wall_ms(const struct world *w);
// No more faults and delays beyond the ordinary.
void world_calm(struct world *w);
// Remembers the first one.
void world_fail(struct world *w, const char *format, ...) printf_like(2, 3);
void world_trace(struct world *w, uint64_t value);
void world_plant(struct world *w, enum world_bug bug, uint64_t occasions);

struct reactor *world_reactor_new(struct world *w);
// Not asleep, or something has come that ends the sleep.
bool world_awake(struct world *w, uint32_t reactor);
// When the sleep of this one ends if nothing more happens; 0: it is awake.
uint64_t world_awake_ns(struct world *w, uint32_t reactor);
// A sleeper with work that nobody woke for.
void world_check_sleepers(struct world *w);
