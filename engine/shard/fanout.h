// SPDX-License-Identifier: Apache-2.0
// One command whose keys, or shards, belong to several workers: split by worker, answers gathered into one reply.
// Not atomic across workers: another client may see some of the parts done and others not yet.
#pragma once

#include "engine/shard/conn.h"

void fanout_start(struct conn *c, struct item *item);
// A part's reply. Takes `heap`; `bytes` otherwise are copied.
void fanout_part(struct worker *w, struct gather *g, uint32_t part, uint8_t *heap, const uint8_t *bytes, uint64_t len);

// Not in the command table: what fan-outs say to each other (mesh_request.command).
#define FANOUT_FETCH 0xffffu // key -> its value as bytes (fanout.c says how)
#define FANOUT_PUT   0xfffeu // key, such bytes: makes it so
#define FANOUT_BARE  0xfffdu // FCNP's bare GET: hash u64, key length u32
#define FANOUT_FIRST FANOUT_BARE
void fanout_serve(struct worker *w, const struct mesh_request *head, const struct slice *argv, struct buf *out);
