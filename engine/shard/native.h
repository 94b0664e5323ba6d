// SPDX-License-Identifier: Apache-2.0
// What FCNP asks for beyond RESP: routes that the client chose, GET without a key, replies as frames. How its bytes become requests
// is session.c's, how they run run.c's.
//
// The client's hash and shard are hints. The key is hashed here again and always compared, so that a wrong hint is answered with an
// error and nothing is ever stored where it does not belong.
#pragma once

#include "engine/shard/conn.h"
#include "engine/shard/mesh.h"
#include "proto/fcnp.h"

// The frame's command, looked up, routed and checked against the frame's own route. True: nothing may be parsed behind it before it
// has run.
bool native_prepare(struct conn *c, struct item *item, const struct fcnp_request *frame);
// On a direct port: refuses what does not belong to its shard.
void native_check_port(const struct conn *c, struct item *item, enum refusal refusal);

// What parsers may accept from this client.
struct fcnp_limits native_limits(const struct conn *c);

// Error text of a refusal that FCNP or direct ports cause.
const char *native_refusal(enum refusal refusal);

// Turns a bare GET into an ordinary one of the key that it means, or into what travels to the worker that knows the key.
void native_find_bare(struct conn *c, struct item *item, const struct fcnp_request *frame);
// The same for another worker: argv[1] is what native_find_bare made.
void native_serve_bare(struct worker *w, const struct mesh_request *head, const struct slice *argv, struct buf *out);

// One RESP reply, appended as a frame of this enum fcnp_shape.
void native_frame(struct buf *out, struct slice resp, uint8_t shape);
