// SPDX-License-Identifier: Apache-2.0
// One client connection of one worker: its ops, what came in and was not understood yet, what goes out, and the replies that
// are still due from other workers.
//
//   recv -> session_feed -> batch -> run / forward
//                                     |        |
//                                   out      pending  pending  pending      replies leave in the order of the requests:
//                                            + stash: [local] [local] [local]   the local replies behind each pending
//
// While anything is pending, local replies go to `stash`; pending.after says how many of its bytes follow that reply.
//
//   conn_receive.c   what comes in
//   conn_replies.c   the order of replies, those from other workers, large values by reference
//   conn_send.c      what goes out
//   conn.c           its beginning and end, and what it takes
#pragma once

#include <stdint.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/list.h"
#include "base/state.h"
#include "engine/shard/client.h"
#include "engine/shard/gate.h"
#include "engine/shard/lent.h"
#include "engine/shard/refs.h"
#include "engine/shard/worker.h"
#include "engine/store/blob.h"
#include "proto/resp.h"
#include "reactor/reactor.h"

#define PENDING_MAX     256           // requests of one connection at other workers; beyond it none is run until half have been answered
#define OUTPUT_HIGH     (1024 * 1024) // unsent bytes from which reading pauses: the kernel's window slows the client down
#define OUTPUT_LOW      (256 * 1024)  // and at which it goes on
#define HOLD_MAX        (16 * 1024)   // replies that may wait for one in front of which they were written
#define BLOB_RECV_MIN   (64 * 1024)   // from so many missing bytes on, a big argument is received straight into its pages
#define BLOB_RECV_CHUNK (1024 * 1024)

enum conn_state {
    CONN_OPEN,
    CONN_ENDING,  // no more requests are read; closes when the replies that are due have been sent
    CONN_CLOSING, // shut down; freed when its ops have come back
};

// Owners of ops, for the switch in worker_turn.
enum op_owner {
    OWNER_LISTENER,
    OWNER_LISTENER_CANCEL,
    OWNER_CONN_RECV,
    OWNER_CONN_SEND,
    OWNER_CONN_CANCEL,
    OWNER_LOG,
    OWNER_EXPORT_RECV,
    OWNER_EXPORT_SEND,
    OWNER_EXPORT_CANCEL,
    OWNER_LENT,
};

enum pending_kind {
    PENDING_REPLY,   // of a request of the connection
    PENDING_PART,    // part `part` of the struct gather `owner`
    PENDING_GRANT,   // of participant `part` of the struct txn `owner`
    PENDING_BUNDLE,  // of requests of the connection: a struct bundle
    PENDING_SETTLED, // a worker has what the struct waiter `owner` asks for (durability_commands.c)
};

// A reply that is due from elsewhere.
struct pending {
    struct pending *next;
    struct conn *conn; // NULL: the connection is gone, or the reply is part of something larger
    void *owner;       // what it is part of
    uint32_t part;
    uint8_t kind;  // enum pending_kind
    bool ready;    // the reply came before those in front of it
    bool silent;   // CLIENT REPLY OFF or SKIP: counted, not sent
    uint8_t frame; // the bytes are RESP and leave as an FCNP frame: its enum fcnp_shape + 1; 0 = as they are
    bool barrier;  // the connection goes on when this reply is here
    bool slow;     // it waits for a disk: what is in front of it leaves at once
    uint64_t after;
    struct mesh_block *block; // holds the bytes, or NULL
    uint8_t *heap;            // holds the bytes, or NULL
    struct blob *value;       // pinned: what the bytes are about; its header is still to be written. Else NULL
    const uint8_t *bytes;
    uint64_t len;
};

struct multi;

struct conn {
    struct worker *worker;
    struct op recv;
    struct op send;
    struct op cancel;
    struct list link;    // worker.conns, or worker.closing
    struct list dirty;   // worker.dirty
    struct list stalled; // worker.stalled: has parsed less than it could
    struct list monitor; // worker.monitors
    uint8_t state;
    uint8_t frame;      // of the request being run, for its pending (struct pending)
    bool bare;          // and it is a bare GET
    bool referred;      // and it has been answered by conn_refer
    bool no_zerocopy;   // the socket has refused it
    bool paused;        // does not read: too much unsent or pending
    bool barrier;       // a transaction has not been granted everywhere: what follows must come behind it
    bool held;          // CLIENT PAUSE
    bool queueing;      // between MULTI and EXEC
    bool gated;         // replies wait for the log, or it has to be seen whether they do (gate.h)
    bool admin;         // of the admin port: HTTP, and no client
    bool crowded;       // PENDING_MAX requests are at other workers
    bool backlog;       // `carry` may hold whole requests
    bool end_seen;      // the client sent its FIN; what `carry` holds is still answered
    bool sending_now;   // `send` is in flight and will complete
    bool receiving;     // `recv` is armed, or its last completion has not been looked at yet
    bool into_blob;     // `recv` is a receive into `blob`
    bool split_ready;   // the FCNP request in `carry` has its value in blobs[blob_arg] and has not run
    struct buf out;     // replies of this turn; borrowed from the turn's arena when nothing is unsent
    struct buf sending; // being sent by an op that completes
    uint64_t sent;
    uint64_t sending_total; // with the values that it refers to
    struct refs refs;       // large values in `out`
    struct refs sending_refs;
    struct lent *lent;     // the zero-copy send that `sending` is sent by, or was and went on plainly
    struct msghdr *pieces; // heap: the msghdr and its REFS_PIECES pieces, of a send with refs
    struct pending *pending;
    struct pending **pending_tail;
    uint32_t pending_count;  // requests
    uint32_t bundles;        // among `pending`
    uint64_t pending_values; // bytes of large values in `pending` that wait for replies in front of them
    struct buf stash;
    struct resp parser;
    struct buf carry;  // begins with the first byte of the frame that was cut
    struct buf later;  // came behind it while the connection waited or had a backlog
    struct blob *blob; // big argument being received
    uint64_t blob_left;
    uint32_t put_off;    // completions of `recv` that the worker has put off
    uint32_t only_shard; // of a direct port, else NO_SHARD
    size_t big_head;     // of a frame in the receive buffer whose big argument is cut: bytes up to the payload; 0 = none
    uint32_t blob_arg;
    struct blob **blobs; // big arguments of the request being received, by position
    uint32_t blobs_cap;
    uint64_t charged;      // bytes of it that count against maxmemory
    int64_t soft_since_ms; // over the soft output limit since; 0 = not
    struct multi *multi;   // MULTI and WATCH; NULL: never asked for
    // Gates (gate.h).
    bool shut;             // EXEC is at work: until it says what its replies wait for
    uint8_t gate_frame;    // as `frame`, of the request that waited last
    uint8_t level;         // enum gate_level, that the request being run asks for
    struct gate_need need; // what everything from `out` on waits for
    struct chunk *chunks;  // replies that wait, oldest first
    struct chunk *chunk_last;
    uint64_t chunk_bytes;
    struct list gate_link; // gate.conns: there are chunks
    struct client client;
};

// No op is in flight, and no completion left to be looked at: it may be freed.
static inline bool conn_idle(const struct conn *c)
{
    return c->recv.state == OP_IDLE && c->send.state == OP_IDLE && c->cancel.state == OP_IDLE && c->put_off == 0 &&
           (likely(c->lent == NULL) || c->lent->answered);
}

// Takes the descriptor. NULL: out of memory, and the descriptor is closed.
struct conn *conn_new(struct worker *w, int fd, bool is_unix);
// Nothing is in flight any more.
void conn_free(struct conn *c);

void conn_on_recv(struct conn *c, const struct completion *done);
void conn_on_send(struct conn *c, const struct completion *done);
// The first completion of `lent`.
void conn_on_lent(struct conn *c, int32_t result);

// Starts or takes up writing at the end of `out`; what is appended to it afterwards is sent at the end of the turn.
struct buf *conn_out_begin(struct conn *c);
void conn_out_end(struct conn *c);
// `out` outlives the turn: on the heap, if it was not. False: out of memory.
bool conn_keep_out(struct conn *c);
// End of turn: hands `out` to the kernel.
void conn_flush(struct conn *c);

// No more requests; what is due is still sent.
void conn_end(struct conn *c);
void conn_close(struct conn *c);
// Arms the receive again, if the connection may read and none is armed.
void conn_read_on(struct conn *c);
void conn_stop_reading(struct conn *c);
// A large value as the whole reply to `call`, by reference. False: it has to be copied.
bool conn_refer(struct call *call, struct blob *value);

// Closes an ending connection that has nothing left to send; goes on reading when there is room again.
void conn_settle(struct conn *c);

// Bytes of replies in buffers, or on their way.
static inline uint64_t conn_unsent(const struct conn *c)
{
    return c->out.len + (c->sending_total - c->sent) + c->stash.len;
}

// And of values that `out` refers to or will, and of what waits for the log.
static inline uint64_t conn_due(const struct conn *c)
{
    return conn_unsent(c) + c->refs.bytes + c->pending_values + c->chunk_bytes;
}

uint64_t conn_memory(const struct conn *c);
// What the connection holds now counts against maxmemory, in place of what was counted last.
void conn_charge(struct conn *c);

// Appends to what is sent, behind all that is due.
void conn_say(struct conn *c, struct slice bytes);

// Pending replies.
// The connection wants none of its replies any more.
void conn_forget_pending(struct conn *c);
struct pending *pending_new(struct worker *w);
struct pending *pending_free(struct worker *w, struct pending *p);
// Appends a reply that is due to the connection's order.
struct pending *conn_expect(struct conn *c);
// The reply of `p` is here: `block` or `heap` or neither holds the bytes (then they are copied when they have to wait). Takes `heap`.
void conn_deliver(struct worker *w, struct pending *p, struct mesh_block *block, uint8_t *heap, const uint8_t *bytes, uint64_t len);
// The first one that is due is ready.
void conn_advance(struct conn *c);
// Appends a large value as RESP, by reference, that counted in pending_values.
void conn_write_value(struct conn *c, struct buf *out, struct blob *value, bool frame);
// It is this large value, whose pin is taken; only for requests that said conn_may_refer.
void conn_deliver_value(struct worker *w, struct pending *p, struct blob *value);

// Requests may be run: nothing asks the client to wait.
static inline bool conn_runs(const struct conn *c)
{
    return c->state == CONN_OPEN && !c->paused && !c->barrier && !c->crowded && !c->held;
}

// More replies will come soon, and what is there leaves together with them.
static inline bool conn_gathers(const struct conn *c)
{
    return c->pending != NULL && !c->pending->slow && c->out.len < HOLD_MAX && c->state == CONN_OPEN;
}

// Goes on at the end of the turn, not here: this may be running below a batch of the same connection.
static inline void conn_go_on_later(struct conn *c)
{
    if (list_empty(&c->stalled))
        list_append(&c->worker->stalled, &c->stalled);
}

// The barrier is over: goes on at the end of the turn.
void conn_pass(struct conn *c);

// CLIENT REPLY OFF or SKIP: what is answered now is not sent.
static inline bool conn_silent(const struct conn *c)
{
    return (c->client.flags & (CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP)) != 0;
}

// The request being run may be answered by a large value itself: an RESP2 text in a frame has a length in front.
static inline bool conn_may_refer(const struct conn *c)
{
    return !conn_silent(c) && c->frame != FCNP_RESP2 + 1;
}

static inline struct conn *conn_of_client(const struct client *c)
{
    return (struct conn *)(uintptr_t)((const char *)c - offsetof(struct conn, client));
}
