// SPDX-License-Identifier: Apache-2.0
// Sends that the kernel makes from our pages (OP_ZEROCOPY, option send-zerocopy-min). Each completes twice:
//
//   conn -- lent_send --> in flight -- sent --> the conn goes on or closes: lent_leave gives the send what it was made from
//                                   -- the kernel is done with the pages --> that is let go of
//
// So the connection waits for the first completion as for any send's, and never for the second one. That one may take as long as the
// client's end takes to confirm; how many are out is bounded, and who finds no room sends plainly.
#pragma once

#include <stdbool.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/list.h"
#include "engine/shard/refs.h"
#include "reactor/reactor.h"

#define LENTS_MAX     256                 // of one worker
#define LENT_SEND_MAX (UINT64_C(1) << 30) // bytes of one send

struct conn;
struct worker;

struct lent {
    struct op op;
    struct list link;  // worker.lents
    struct conn *conn; // whose send it is, until the connection leaves
    bool answered;     // the first completion has been looked at
    bool ended;        // and the last one
    struct buf out;    // what was sent from, once the connection has left
    struct refs refs;
    struct msghdr message;
    struct iovec pieces[REFS_PIECES];
};

// Sends all of `sending` so. NULL: it is to be sent plainly.
struct lent *lent_send(struct conn *c);
// The connection has no more use for the send; what `out` and `refs` hold is taken.
void lent_leave(struct lent *h, struct buf *out, struct refs *refs);
void lent_on_completion(struct worker *w, const struct completion *done);
// The worker ends, and its reactor has stopped.
void lent_deinit(struct worker *w);
