// SPDX-License-Identifier: Apache-2.0
// What the files of gates share.
//
//   gate.c          the level, what is refused, the turn, the log that comes and goes
//   gate_keys.c     keys whose last change is not durable
//   gate_needs.c    what a reply waits for, and since when
//   gate_answers.c  answers to other workers that wait
//   gate_conns.c    connections whose replies wait
#pragma once

#include "engine/shard/gate.h"
#include "engine/shard/worker.h"

static inline bool gate_is_poisoned(const struct worker *w)
{
    return w->gate.on && (w->gate.state == LOG_POISONED || w->effects.failed);
}

static inline bool gate_met(const struct gate *g, struct gate_need need)
{
    return need.durable <= g->durable && need.written <= g->written;
}

int gate_keys_init(struct gate *g) warn_unused;
void gate_keys_deinit(struct gate *g);
uint64_t gate_keys_memory(const struct gate *g);
// The last change of a key that is settled; 0 or what is durable: it need not be waited for.
uint64_t gate_keys_position(const struct gate *g, uint64_t hash);
// What has become durable leaves the table.
void gate_keys_forget(struct gate *g);
// And the marks in time.
void gate_steps_forget(struct worker *w);

// Those that may go do; `poisoned`: the others too, and say that their outcome is unknown.
void gate_answers_send(struct worker *w, bool poisoned);
void gate_answers_deinit(struct gate *g);
// Likewise: they are flushed at the end of this turn.
void gate_conns_wake(struct worker *w, bool poisoned);
