// SPDX-License-Identifier: Apache-2.0
// A command of one worker that must wait behind a ticket (intents.h): it is copied, gets a ticket of its own and runs when that is
// ready. Its reply is due meanwhile, like that of a forwarded one.
// Bounds: as many a connection as it may have requests at other workers (PENDING_MAX).
#pragma once

#include "engine/shard/conn.h"

// Must the item wait? Then it was taken: its reply is due to the connection.
bool defer_item(struct conn *c, const struct item *item);
// The same for a request of another worker, whose first key has this hash. Big arguments become the ticket's.
bool defer_served(struct worker *w, uint32_t from, const struct mesh_request *head, const struct slice *argv, uint64_t hash);
// The ticket is ready: runs the command, delivers its reply and gives the ticket back.
void defer_run(struct worker *w, struct ticket *t);
