// SPDX-License-Identifier: Apache-2.0
// MULTI, EXEC and WATCH of one connection: commands that are kept and then run as one, and the keys whose change calls that off.
//
//   MULTI_OFF -> QUEUEING -> DUE -> WAITING -> RUNNING -> OFF         DUE -> RUNNING: all keys are here and free
//   OFF -> WATCHING -> OFF                                            while WATCH is on its way
//
// EXEC is one transaction over the keys of all its commands and the watched ones (txn.h). When it is granted the commands run as if
// they had just been parsed, one behind the other, but on keys that are theirs (MESH_IN_TXN); one on several workers is waited for.
// From WAITING on the connection's end changes nothing: what was begun is done, and the replies are dropped.
#pragma once

#include "engine/shard/args.h"
#include "engine/shard/conn.h"
#include "engine/shard/txn.h"

enum multi_state { MULTI_OFF, MULTI_QUEUEING, MULTI_DUE, MULTI_WAITING, MULTI_RUNNING, MULTI_WATCHING };

struct queued {
    const struct command *command;
    struct args args;
};

struct watched {
    uint64_t print;
    uint32_t worker;
};

struct multi {
    struct conn *conn;
    uint8_t state;
    bool broken;   // a command could not be queued: EXEC refuses
    bool silent;   // EXEC's reply is not wanted (CLIENT REPLY)
    bool owns_txn; // the keys were granted by it
    uint32_t count, cap;
    uint32_t next;  // to be run
    uint8_t level;  // enum gate_level: the highest that one of the commands run so far has asked for (CLIENT DURABILITY may be among them)
    uint32_t flags; // of all commands
    uint64_t bytes; // of arguments and watched keys
    struct queued *queue;
    struct watched *watched;
    uint32_t watched_count, watched_cap;
    uint64_t watched_bytes;
    struct txn txn;
    struct pending *due; // the head of EXEC's reply
};

// While queueing: decides what becomes of the item (item->refusal says QUEUED or why not; REFUSE_NOT: it runs).
void multi_take(struct conn *c, struct item *item);
// WATCH, before it goes to the keys' workers. False: too much is watched, the connection is closed.
bool multi_watch(struct conn *c, struct item *item);
// WATCH has been answered, or will be at the barrier's end.
void multi_watching(struct conn *c);
// EXEC was read: begins.
void multi_begin(struct conn *c);
// Goes on after a barrier; nothing to do: nothing happens.
void multi_resume(struct conn *c);
// Forgets what is queued and watched (RESET, the connection's end).
void multi_reset(struct conn *c);
void multi_free(struct conn *c);

// The connection cannot go away: something it began is under way.
static inline bool multi_busy(const struct multi *m)
{
    return m != NULL && (m->state == MULTI_WAITING || m->state == MULTI_RUNNING || m->state == MULTI_WATCHING);
}

static inline bool multi_running(const struct conn *c)
{
    return unlikely(c->multi != NULL) && c->multi->state == MULTI_RUNNING;
}
