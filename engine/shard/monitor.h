// SPDX-License-Identifier: Apache-2.0
// MONITOR: every command of every worker, as a line to each connection that asked for it. Nobody watching costs a worker one look
// at a counter a turn. A line is made where the client is and sent once to each worker that has monitors; one that does not read
// its lines is bound by client-output-buffer-limit like any client.
#pragma once

#include "engine/shard/conn.h"

#define MONITOR_WORD_MAX (16 * 1024) // bytes of an argument that are shown

struct item;

void monitor_join(struct conn *c);
// Also of a connection that never joined.
void monitor_leave(struct conn *c);
// `item` is about to run.
void monitor_feed(struct conn *c, const struct item *item);
// End of turn: what was fed goes to all workers that have monitors.
void monitor_flush(struct worker *w);
// Lines for the monitors of this worker.
void monitor_show(struct worker *w, struct slice lines);

static inline bool monitor_anybody(const struct server *s)
{
    return atomic_load_explicit(&s->monitors, memory_order_relaxed) != 0;
}
