// SPDX-License-Identifier: Apache-2.0
// Commands as FCNP frames and their replies as RESP text, so that the clients of the simulation know one kind of reply. Written from the
// specification, like resp_reader.h not with the server's code.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

enum frames_form { FRAMES_NOT, FRAMES_OWN, FRAMES_RESP }; // sent as RESP; by the command's own opcode; by opcode 200

// May this command come as a frame? Not what changes the session, which frames do otherwise or not at all.
bool frames_may(const struct slice *words, uint32_t count);
// Flags of a frame: its routing prefix, and how safe its change has to be (a level above 0, shifted).
#define FRAMES_HASH        1u
#define FRAMES_SHARD       2u
#define FRAMES_TAG         4u
#define FRAMES_LEVEL_SHIFT 3

// HELLO, and that frames will have levels.
void frames_hello(struct buf *out);
// Does every command of these words name a single key, as its first argument?
bool frames_one_key(const struct slice *words, uint32_t count);
// Appends the frame. A routing prefix is that of argument 1.
enum frames_form frames_put(struct buf *out, const struct slice *words, uint32_t count, uint8_t flags, uint32_t shards);

// Length of the whole reply frame at the beginning, 0: cut, -1: none.
long frames_length(struct slice in);
// What RESP would have answered. False: the frame is not sound.
bool frames_to_resp(struct slice frame, enum frames_form form, struct buf *out);
