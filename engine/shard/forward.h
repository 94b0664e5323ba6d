// SPDX-License-Identifier: Apache-2.0
// Requests that travel between workers: written into the open block to their owner, served there, answered, delivered here.
#pragma once

#include "engine/shard/worker.h"

// What travels to another worker.
struct forward {
    uint32_t target;
    uint32_t shard; // of the first key, or NO_SHARD
    uint32_t db;
    uint16_t command; // position in the table, or MESH_...
    uint8_t protocol;
    bool in_txn;      // the keys have been granted
    bool no_touch;    // as struct call's
    bool refer;       // the reply may be a large value itself
    uint8_t level;    // enum gate_level that the client asks for
    uint64_t watcher; // of WATCH: the client's number
    uint32_t argc;
    const struct slice *argv;
    struct blob **blobs; // NULL, or by argument: big ones, taken when the request has been written
    uint32_t blobs_cap;
};
// The reply will be delivered to `p`. False: out of memory, nothing was sent.
bool forward_send(struct worker *w, const struct forward *f, struct pending *p);

// A block of requests of another worker; the answers go into the open block back to it.
void forward_serve(struct worker *w, struct mesh_block *block);
// One request as if it had come alone; `item` is where it belongs. `timed`: of this request, or NULL.
struct span;
void forward_serve_single(struct worker *w, uint32_t from, const struct mesh_request *head, const struct item *item, struct span *timed);
// A block of answers.
void forward_answers(struct worker *w, struct mesh_block *block);

// Of a request with MESH_WATCHER, else 0.
uint64_t forward_watcher(const struct mesh_request *head);
// The big arguments of another worker's request, by position: NULL elsewhere. NULL: out of memory. The caller frees the array.
struct blob **forward_blobs(const struct mesh_request *head);
// A message without arguments and answer (MESH_RELEASE, MESH_UNWATCH).
void forward_word(struct worker *w, uint32_t target, uint16_t word, uint64_t cookie, uint8_t flags);
// Sends a reply that comes later than in its turn. Takes what `out` holds, or the pin of `value`, which is NULL or all of the reply.
void forward_reply(struct worker *w, uint32_t to, uint64_t cookie, struct buf *out, struct blob *value);
// call.refer of what runs for another worker.
bool forward_refer(struct call *call, struct blob *value);
