// SPDX-License-Identifier: Apache-2.0
// What the files of sessions share.
//
//   session.c         which bytes are to be looked at now, which are kept
//   session_resp.c    requests in RESP
//   session_frames.c  requests in FCNP
//   session_blobs.c   big arguments
#pragma once

#include "engine/shard/session.h"
#include "proto/fcnp.h"

#define FRAME_HINT 512 // bytes of the next buffer that are first added to a cut frame: most frames end there

// Does the cut frame in `carry` speak FCNP?
static inline bool session_in_frame(const struct conn *c)
{
    return c->carry.len > 0 && c->carry.data[0] == FCNP_MAGIC;
}

// In the protocol of the frame that is wrong.
void session_protocol_error(struct conn *c, const char *text, bool native);
// What is left of a batch when not all of it ran or could be parsed; `used`: bytes before it. Returns the bytes used.
size_t session_stop_batch(struct conn *c, const struct item *items, uint32_t ran, size_t used);

// Requests at the beginning of `in`, run in place. Returns the bytes used; *more is false when nothing more can be done with the rest
// now: it is a cut frame (and the parser knows how far it got), or the connection may not go on.
size_t session_resp_run(struct conn *c, struct slice in, bool *more);
// A frame that the last buffer cut: adds what is needed of `in` to the carry and runs that one request.
// Returns how much of `in` was used; *done says whether the frame is over.
size_t session_resp_finish(struct conn *c, struct slice in, bool *done);

// The same for FCNP, as long as frames are.
size_t session_frames_run(struct conn *c, struct slice in, bool *more);
size_t session_frames_finish(struct conn *c, struct slice in, bool *done);
// The frame in `carry` whose value has been collected.
void session_frames_run_split(struct conn *c);

// A big argument begins, behind the head that is in `carry`. False: the connection closes.
bool session_blobs_start(struct conn *c) warn_unused;
// Bytes of a big argument that came in an ordinary buffer. Returns how many were taken.
size_t session_blobs_fill(struct conn *c, struct slice in);
// What was received is the store's now, or nobody's: it must not count twice.
void session_blobs_done(struct conn *c);
void session_blobs_drop(struct conn *c);
