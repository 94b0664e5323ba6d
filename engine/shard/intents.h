// SPDX-License-Identifier: Apache-2.0
// Who may touch which keys of a worker, and in which order: a queue per key that anybody has announced something for.
//
//   queue of a key:    [T1 S]* [T2 S]* | [T3 X] [T5 S]       * granted; the rest waits, first come first served
//   queue of the root: [T1 IS]* [T2 IS]* [T3 IX]* | [T4 X]   every ticket stands here too: so all keys can be had at once
//
// A ticket announces all its keys at one moment and is ready when each of its intents has been granted. An intent is granted when
// everything in front of it is and is compatible with it:
//
//          S   X   IS  IX        S, X    reads, changes: a key, or (in the root's queue) all keys of the worker
//     S    y   .   y   .         IS, IX  in the root's queue: reads, changes some key below
//     X    .   .   .   .
//     IS   y   .   y   y
//     IX   .   .   y   y
//
// A key is its print, 63 bits of a keyed hash: two keys of one print wait for each other without need, and nothing else happens.
// One thread; no clock, no system call. Invariants: `count` tickets stand in the table; a queue without intents is in no chain.
#pragma once

#include <stdint.h>

#include "base/assert.h"
#include "base/chains.h"
#include "base/free_list.h"
#include "base/list.h"

enum intent_mode { INTENT_SHARED, INTENT_EXCLUSIVE, INTENT_SOME_SHARED, INTENT_SOME_EXCLUSIVE };
#define INTENT_MODES 4

struct intent_queue;
struct ticket;

struct intent {
    struct list link; // of its queue
    struct intent_queue *queue;
    struct ticket *ticket;
    uint64_t print;
    uint8_t mode;
    bool granted;
};

// A field of whoever waits. The intents are the owner's memory: [0] for the root, then one a key.
struct ticket {
    struct list link; // intents.ready
    struct intent *intents;
    uint32_t count;   // of intents, with the root's
    uint32_t waiting; // not granted yet
    uint8_t kind;     // the owner's
};

struct intent_queue {
    struct chained node; // its hash is the print
    struct list intents;
    struct list *asks; // the first that is not granted, or the list itself
    uint32_t live[INTENT_MODES];
    uint32_t granted[INTENT_MODES];
};

struct intents {
    uint32_t count; // tickets
    struct chains queues;
    struct free_list free; // nodes
    struct intent_queue root;
    struct list ready; // tickets that nobody has taken yet
};

int intents_init(struct intents *t) warn_unused;
void intents_deinit(struct intents *t); // no tickets are left

// Fills a ticket of `count` intents: the root's mode, then intents [1..count) by ticket_key.
void ticket_init(struct ticket *t, struct intent *intents, uint32_t count, enum intent_mode root);
void ticket_key(struct ticket *t, uint32_t at, uint64_t print, bool exclusive);

// Announces all of the ticket's intents; the same key twice counts once, as the stronger. Ready at once or later: intents_take says.
// 0 or -ENOMEM, then nothing was announced.
int intents_enqueue(struct intents *table, struct ticket *t) warn_unused;
// The ticket, which was ready, gives everything back; others may become ready.
void intents_release(struct intents *table, struct ticket *t);
// A ticket that became ready, in the order in which they did; NULL = none.
struct ticket *intents_take(struct intents *table);

// Must one who wants this key now wait behind a ticket? (Readers pass readers.)
bool intents_conflict(const struct intents *table, uint64_t print, bool exclusive);

// Must one who wants to read all keys now wait?
bool intents_conflict_all(const struct intents *table);

// The ticket that has this key, or all keys, to itself; NULL: none has.
const struct ticket *intents_holder(const struct intents *table, uint64_t print);

// Walks everything (audit).
bool intents_sound(struct intents *table);
