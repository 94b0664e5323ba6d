// SPDX-License-Identifier: Apache-2.0
// What looks at single requests before they run, when there is reason to: MONITOR, CLIENT PAUSE, COMMANDLOG's large requests. A batch
// that none of them concerns pays two compares.
#pragma once

#include "engine/shard/conn.h"

static inline bool watch_wants(const struct conn *c, const struct item *items, uint32_t count)
{
    const struct worker *w = c->worker;
    return unlikely(w->watching || (count > 0 && items[count - 1].end >= w->watch.request_min) || (count == 1 && c->blobs != NULL));
}

// False: the request has to wait, and the connection with it (conn.held).
bool watch_request(struct conn *c, const struct item *item);
// At the beginning of a turn: is there anything to watch? Ends pauses that are over.
void watch_turn(struct worker *w);
// CLIENT PAUSE and UNPAUSE on this worker.
void watch_pause(struct worker *w, int64_t until_ms, bool all);
void watch_unpause(struct worker *w);
