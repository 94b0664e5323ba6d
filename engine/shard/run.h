// SPDX-License-Identifier: Apache-2.0
// A batch of requests of one connection: look up, route and prefetch all, then run each where its keys are.
#pragma once

#include "engine/shard/conn.h"
#include "proto/fcnp.h"

// Looks the command up and routes it. True: nothing may be parsed behind it before it has run (it may change the session).
bool run_prepare(struct conn *c, struct item *item);
// Memory answers in steps, each a cache miss: the bucket (asked for by run_prepare), the entry it points to (run_prefetch, once
// the bucket has come), for some the next bucket in between, the use. So each step runs some requests behind the one before it, and
// the misses overlap with parsing and running instead of standing between them.
#define PREFETCH_LAG   12
#define PREFETCH_AGAIN 6

// items[at], and once more the one PREFETCH_AGAIN before it if it needs that. `at` goes up from call to call; some may be left out.
static inline void run_prefetch(struct item *items, uint32_t at)
{
    struct item *item = &items[at];
    item->displaced = item->keyspace != NULL && keyspace_prefetch_entry(item->keyspace, item->hash);
    if (at < PREFETCH_AGAIN || likely(!items[at - PREFETCH_AGAIN].displaced))
        return;
    item = &items[at - PREFETCH_AGAIN];
    keyspace_prefetch_displaced(item->keyspace, item->hash);
}

// The same where item->command is known (NULL: there is none).
bool run_place(struct conn *c, struct item *item);
// Runs items[0..count) in order; the entries of all but the last PREFETCH_LAG have been asked for; returns how many ran (fewer: the
// connection was paused, is ending or is closing).
uint32_t run_batch(struct conn *c, struct item *items, uint32_t count);
// The same for requests that came as FCNP frames, items[i] from frames[i]; the entries of the first `asked` have been asked for.
uint32_t run_frames(struct conn *c, struct item *items, struct fcnp_request *frames, uint32_t count, uint32_t asked);

// One request on this worker's own shards: parts of fan-outs, commands that waited.
struct here {
    struct client *client; // who asked, or NULL
    const struct command *command;
    const struct slice *argv;
    struct blob **blobs; // NULL, or argc big arguments that it may take
    uint32_t argc;
    uint32_t db;
    uint8_t protocol;
    bool in_txn;                                       // memory has been asked for
    uint64_t watcher;                                  // of WATCH: the client's number
    bool (*refer)(struct call *c, struct blob *value); // as struct call's
};
// The reply is appended to `out`.
void run_here(struct worker *w, const struct here *here, struct buf *out);
// Counts the errors of a reply that no command wrote.
void run_count_error(struct worker *w, const struct reply *reply);

// Runs a command that EXEC has its turn for.
struct args;
void run_queued(struct conn *c, const struct command *command, struct args *args);
