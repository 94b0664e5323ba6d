// SPDX-License-Identifier: Apache-2.0
// The mesh: a single-producer single-consumer ring from every worker to every other. What travels are blocks of many messages,
// at most one open block per target and kind, pushed at the end of the turn (or when full).
//
//   worker a                                             worker b
//   mesh_request() fills open[b]  --- ring a->b --->     for each request: run, mesh_reply() fills open[a]
//   pending answered              <-- ring b->a ---      pushed at the end of its turn
//
// A block belongs to whoever holds it: the receiver adopts it into its own pool. Requests of two turns may be answered in one block; what
// came more often than it went goes back, empty, with the next one. So pools stay level, and the heap is asked for no block of a load that
// it has had before.
// A wake-up goes only to a worker that says it sleeps (reactor_wake). Bounds: a connection has at most PENDING_MAX requests on
// their way, so blocks in the mesh are bounded by connections; a full ring keeps blocks in a list at the sender.
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/list.h"
#include "base/prefetch.h"
#include "base/slice.h"
#include "base/spsc.h"

#define MESH_WORKERS_MAX 256
#define MESH_BLOCK_SIZE  (32 * 1024)
#define MESH_RING_SLOTS  256
#define MESH_DRAIN_MAX   64  // blocks per peer and turn
#define MESH_AHEAD       512 // bytes: how far ahead of a walk through a block its lines, another core's, are asked for

enum mesh_kind { MESH_REQUESTS, MESH_REPLIES };

struct mesh_block {
    struct mesh_block *next;
    struct mesh_block *empties; // on its way: what goes back with it
    uint32_t kind;
    uint32_t from;
    uint32_t len;
    uint32_t cap;
    uint32_t count;
    uint32_t newest; // offset of the last message
    uint32_t refs;   // pendings whose reply still lies here, plus one while it is walked
    _Alignas(16) uint8_t data[];
};

// What travels is what costs: between cores it is cache lines. So a name is its position in the table, a length four bytes, and
// messages are packed to 8 bytes. GET of a 16-byte key: 48 bytes there, 88 back with a 64-byte value.
#define MESH_ALIGN 8

// Heads a request: then argc - 1 lengths (u32, the name has none), then the bytes of these arguments. A length with MESH_BLOB set
// belongs to a big argument: in place of its bytes stands a pointer to its pages, which are now the receiver's.
struct mesh_request {
    uint64_t cookie; // the sender's struct pending
    uint32_t size;   // of all of it, a multiple of MESH_ALIGN
    uint32_t argc;
    uint16_t shard; // of the first key; MESH_NO_SHARD: none
    uint16_t db;
    uint16_t command;
    uint8_t protocol;
    uint8_t flags; // enum mesh_flag
};

enum mesh_flag {
    MESH_HAS_BLOBS = 1,
    MESH_WATCHER = 4,  // of WATCH: the last 8 bytes are the client's number
    MESH_NO_TOUCH = 8, // accesses are not noted for eviction
    MESH_IN_TXN = 2,   // its keys have been granted to the sender's transaction: nothing to wait for
    MESH_LEVEL = 0x30, // enum gate_level that the client asks for, shifted by MESH_LEVEL_SHIFT
    MESH_WORKED = 64,  // of MESH_RELEASE: the transaction was not given up before it began
    MESH_FRAMES = 64,  // of MESH_BUNDLE: a piece of its answer is of frames
    MESH_BASE = 64,    // of MESH_CUT: changes are logged from here on
    MESH_REFER = 128,  // the reply may be a large value itself, not its bytes
};
#define MESH_LEVEL_SHIFT 4

// Not in the command table: what workers say to each other (mesh_request.command).
#define MESH_FETCH   0xffffu // key -> its value as bytes (steps.c says how)
#define MESH_PUT     0xfffeu // key, such bytes: makes it so
#define MESH_QUEUE   0xfffdu // announces a transaction's share; answered when it is granted (txn.c)
#define MESH_RELEASE 0xfffcu // cookie: the share. No answer
#define MESH_BARE    0xfffbu // FCNP's bare GET: hash u64, key length u32
#define MESH_UNWATCH 0xfffau // cookie: a client's number; all its watches go. No answer
#define MESH_SETTLE  0xfff9u // answered, without bytes, when all that was changed so far is durable
#define MESH_CUT     0xfff8u // cookie: the snapshot that this worker cuts for (save.h). No answer
#define MESH_UNLOG   0xfff7u // the log goes (logging_switch.h). No answer
#define MESH_BUNDLE  0xfff6u // argc plain GETs and SETs (bundle.h)
#define MESH_WORDS   0xfff0u // from here on

#define MESH_NO_SHARD UINT16_MAX
#define MESH_BLOB     (UINT32_C(1) << 31)

// Heads a reply, then its bytes; or a struct mesh_heap: the receiver's to free; or a struct blob *, pinned, the receiver's to unpin; or one
// of the things that are no replies.
struct mesh_reply {
    uint64_t cookie;
    uint32_t len;  // of what follows, without padding
    uint32_t heap; // enum mesh_reply_form
};

enum mesh_reply_form {
    MESH_BYTES,
    MESH_HEAP,
    MESH_VALUE, // what GET found, to which its connection writes the header
    MESH_NOTE,  // no reply
    MESH_LINES, // nor this: bytes for the monitors there
    MESH_PIECE, // replies to requests of a bundle (bundle.h)
};

// For the log of slow and large commands; comes before the reply of its request.
struct mesh_note {
    struct command_entry *entry; // the receiver's
    uint64_t kind;               // enum command_log_kind
};

struct mesh_heap {
    uint8_t *bytes;
    uint64_t len;
};

// A block that another core has written: its first lines, all at once. What walks through it asks for those ahead.
static inline void mesh_expect(const struct mesh_block *b)
{
    uint32_t len = b->len < MESH_AHEAD ? b->len : MESH_AHEAD;
    for (uint32_t at = 0; at < len; at += 64)
        prefetch(b->data + at);
}

struct mesh_peer {
    struct spsc *out;           // this worker produces
    struct spsc *in;            // this worker consumes
    struct mesh_block *open[2]; // by kind, being filled
    struct mesh_block *backlog; // full ring: to be pushed, oldest first
    struct mesh_block **backlog_tail;
    uint32_t backlog_count;
    int32_t owed; // blocks of the usual size that came from there, less those that went there
};

struct mesh {
    uint32_t self;
    uint32_t count;
    struct mesh_peer *peers; // [count]; the own one is unused
    struct mesh_block *pool;
    uint32_t pool_count;
    uint64_t pushes; // calls of mesh_push
    uint64_t bytes;  // of blocks made less those freed here, modulo 2^64: the sum over all workers is what there is
    _Alignas(64) _Atomic uint64_t inbox[MESH_WORKERS_MAX / 64]; // bit s: worker s has pushed something
};

// The rings of all workers: count * count, made by the server before the workers.
struct mesh_rings;
struct mesh_rings *mesh_rings_new(uint32_t count);
struct mesh_rings *mesh_rings_free(struct mesh_rings *r);

int mesh_init(struct mesh *m, struct mesh_rings *rings, uint32_t self, uint32_t count) warn_unused;
void mesh_deinit(struct mesh *m);

// Room for a message of `size` bytes (rounded up to MESH_ALIGN) in the open block to `target`; NULL = out of memory.
void *mesh_append(struct mesh *m, uint32_t target, enum mesh_kind kind, size_t size);
// `size` bytes more, a multiple of MESH_ALIGN, for the newest message to `target`, if that is this word's with this cookie: one argument
// more. NULL: it is not, or the block is full.
static inline void *mesh_lengthen(struct mesh *m, uint32_t target, uint16_t word, uint64_t cookie, size_t size)
{
    struct mesh_block *b = m->peers[target].open[MESH_REQUESTS];
    if (b == NULL || b->len == 0 || b->cap - b->len < size)
        return NULL;
    struct mesh_request *head = (struct mesh_request *)(void *)(b->data + b->newest);
    if (head->cookie != cookie || head->command != word)
        return NULL;
    void *at = b->data + b->len;
    head->argc++;
    head->size += (uint32_t)size;
    b->len += (uint32_t)size;
    return at;
}

// Bytes left in the open block (a fresh one when there is none): for replies written in place.
size_t mesh_room(struct mesh *m, uint32_t target, enum mesh_kind kind, uint8_t **at);

struct worker;

// End of turn: pushes what is open and what waited, tells the receivers and wakes those that sleep.
void mesh_push(struct mesh *m, struct worker **workers);
// The same for one target, without waking it. True: something was pushed.
bool mesh_push_to(struct mesh *m, struct worker **workers, uint32_t target);
// One more message, of any size, would be pushed at once.
bool mesh_takes(const struct mesh *m, uint32_t target);
// Blocks that a full ring did not take: push again before sleeping.
bool mesh_has_backlog(const struct mesh *m);
bool mesh_has_mail(struct mesh *m);
// The peers 64 * word .. + 63 that pushed since the last call, as bits. Take everything from a peer so named, or remind of it.
uint64_t mesh_collect(struct mesh *m, uint32_t word);
void mesh_remind(struct mesh *m, uint32_t peer);
// The next block from `peer`, NULL = none. The caller releases it.
struct mesh_block *mesh_take(struct mesh *m, uint32_t peer);
void mesh_block_release(struct mesh *m, struct mesh_block *b);
