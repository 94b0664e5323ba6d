// SPDX-License-Identifier: Apache-2.0
// Bytes of a connection -> requests -> replies. Resumable at any byte; stops where the connection may not go on (paused, ending)
// and keeps the rest.
#pragma once

#include "engine/shard/conn.h"

// Bytes just received, valid during the call only.
void session_feed(struct conn *c, struct slice bytes);
// `len` bytes have been received straight into the pages of the big argument.
void session_blob_received(struct conn *c, uint64_t len);
// Goes on with what was kept.
void session_resume(struct conn *c);
// What was kept may hold whole requests.
static inline bool session_has_kept(const struct conn *c)
{
    return c->backlog || c->split_ready || c->later.len > 0;
}
void session_init(struct conn *c);
void session_deinit(struct conn *c);
// Parser limits follow from the options and from whether the client has authenticated.
void session_set_limits(struct conn *c);
