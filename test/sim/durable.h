// SPDX-License-Identifier: Apache-2.0
// Clients that know what a server may forget. Each writes keys of its own, so the order of a key's writes is known; everybody reads all
// keys. When the server comes back from a crash, an auditor reads every key once before anybody writes again, and what it finds must be
//
//   O1  every write that was acknowledged as durable
//   O2  for each shard, a beginning of what was done there: no write is missing that was over before a surviving one began
//   O3  under everysec, for each shard every write that was acknowledged a second before the last acknowledgement or earlier, or, where the
//       disk is quick, a second before the crash
//   O4  under always, everything that anybody has read
//   O5  only what was written, and nothing that an earlier crash took
//       of a transaction (MULTI, MSET, FLUSHDB, SWAPDB) all or nothing; after a crash without writes in between, the same again
//
// A request may ask for more than the server's policy, by its connection (CLIENT DURABILITY) or as a frame (HELLO): O1, O3 and O4 are then
// those of the higher level.
//
// Where the log is switched on and off, these hold for what was done while it counted: from the OK to `CONFIG SET appendonly yes` to the
// sending of the next `no`. The OK to yes says that what was acknowledged before it was asked for is durable, the OK to no the same of what
// the log had taken. What is done without a log may be lost, but as any other: from its end, and whole transactions.
//
// State i of a key is the one behind its i-th write; 0: nothing. A reply shows a state by its bytes, which no other state has but those
// that changed no byte (a deadline alone, a removal); then any of these is possible, and only what is certain is held against the server.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/prng.h"
#include "test/sim/world.h"

#define DURABLE_CLIENTS_MAX 8
#define DURABLE_KEYS_MAX    160
#define DURABLE_OWN_KEYS    6 // of a client, at a time
#define DURABLE_MANY_MAX    4 // keys of a request
#define DURABLE_DUE_MAX     256

struct sim;

enum durable_level { LEVEL_NO, LEVEL_EVERYSEC, LEVEL_ALWAYS }; // the higher one of the server's and a request's counts

struct durable_write {
    uint64_t hash; // of the bytes afterwards; 0: nothing
    uint64_t sent_ns, replied_ns;
    uint64_t group; // of writes that are one transaction; 0: alone
    uint64_t turn;  // rises with every request of a connection
    uint32_t connection;
    bool promised;       // acknowledged under a log that counted
    uint8_t level;       // at which it was asked for
    bool mixed;          // beside requests of level always, whose replies waited for the device and kept its own
    int64_t deadline_ms; // Unix; 0: none
};

struct durable_key {
    char name[32];
    uint32_t owner, shard;
    uint32_t db;
    uint32_t twin;                // the key of this name in its owner's other database; UINT32_MAX: there is none
    struct durable_write *writes; // [i]: state i + 1
    uint32_t count, cap;
    uint32_t base;    // states below cannot be seen any more
    uint32_t safe;    // states below it cannot be found after a crash
    uint32_t replied; // last state that was acknowledged
    uint32_t seen;    // last state that a reply has shown for certain
    // The same, under a log that counted.
    uint32_t promised, shown;
    uint32_t held;    // last state that a reply at level always has shown for certain
    uint32_t before;  // `replied` when the log was last asked for
    uint32_t doubt;   // a read showed what no write left, so one up to this state has been refused; 0: none did
    bool given_up;    // its owner does not know its state: no more writes
    bool refused;     // a write of it was: what it holds is not known, ever
    struct buf value; // as of the last write
    int64_t deadline_ms;
    uint64_t found;     // what the last audit saw
    uint32_t low, high; // the states that it may be
};

enum durable_due_kind { DUE_OK, DUE_QUEUED, DUE_WRITES, DUE_EXEC, DUE_READS, DUE_WAITAOF, DUE_BACKGROUND, DUE_SWITCH };

struct durable_due {
    uint8_t kind;
    uint8_t form; // enum frames_form
    uint8_t count;
    uint8_t level;  // enum durable_level
    bool on;        // SWITCH: to what
    bool mixed;     // one before it, or of the same turn, was of level always: they leave in order, those of a turn together
    uint32_t log;   // READS: durable.log when it was sent
    uint64_t group; // WRITES, EXEC: of several keys; 0: of the first one below
    uint64_t turn;
    uint32_t keys[DURABLE_MANY_MAX];
    uint32_t states[DURABLE_MANY_MAX]; // WRITES: written; READS: the first that may be shown
};

struct durable_client {
    uint32_t id, connection;
    struct prng prng;
    struct socket *socket;
    uint64_t again_ns, think_until_ns;
    struct buf out, in;
    size_t out_sent;
    struct durable_due due[DURABLE_DUE_MAX];
    uint32_t due_first, due_count;
    uint32_t own[DURABLE_OWN_KEYS];
    uint32_t db;    // of the connection
    uint32_t shard; // the connection's port is this one's; UINT32_MAX: everybody's
    uint8_t level;  // CLIENT DURABILITY
    bool levels;    // HELLO has asked for those of frames
    uint64_t turn;
    uint32_t asked;
};

enum durable_phase { DURABLE_AUDITS, DURABLE_WORKS, DURABLE_RESTS };

struct durable {
    struct sim *sim;
    struct prng prng;
    enum durable_level policy;
    enum durable_phase phase;
    bool databases; // each client has one of its own
    bool swaps;     // and another one: SWAPDB now and then
    bool snapshots; // BGSAVE and BGREWRITEAOF now and then
    bool switches;  // the first client switches the log on and off
    bool counts;    // the log does, as the clients know for certain
    bool off;       // or that there is none
    bool turning;   // it is being switched
    bool unclean;   // it has ended with changes that could not be written
    uint32_t log;   // rises whenever `counts` changes
    bool written;   // since the last audit
    bool refuses;   // since then the disk has been full, and some writes were refused, whose clients may not have been told
    bool clean;     // the server was told to stop, and did
    enum crash_kind crash;
    uint64_t crash_ns; // the first one that nobody has looked behind yet
    uint32_t count;
    uint32_t requests; // of a client
    uint32_t value_max;
    uint32_t key_count;
    uint64_t serial, groups;
    uint32_t connections;
    uint32_t audits, lost; // how often, and writes in all
    uint32_t switched, switches_cut;
    uint32_t levels; // requests that asked for more than the server gives
    struct durable_key keys[DURABLE_KEYS_MAX];
    struct durable_client clients[DURABLE_CLIENTS_MAX + 1]; // the last one is the auditor
    uint32_t audited;                                       // keys asked for
    bool probed;                                            // the auditor has asked whether the server has loaded
};

void durable_init(struct durable *d, struct sim *sim, enum durable_level policy, uint64_t seed);
void durable_deinit(struct durable *d);
// Clients by number; `count` is the auditor.
uint64_t durable_next_ns(const struct durable *d, uint32_t client);
void durable_step(struct durable *d, uint32_t client);
// The server is gone; whatever it has sent may still arrive. `clean`: it had been told to stop.
void durable_crashed(struct durable *d, enum crash_kind kind, bool clean);
// Everything has been asked and answered.
bool durable_worked(const struct durable *d);
bool durable_audits(const struct durable *d);
// No more requests; connections end.
void durable_rest(struct durable *d);
bool durable_left(const struct durable *d);
// What each waits for, to a reader of the history.
void durable_say(const struct durable *d);

// ---- durable_log.c: whether the log counts

// CONFIG SET appendonly is being sent.
void durable_log_ask(struct durable *d, bool on);
// What came back; `good`: OK.
void durable_log_reply(struct durable *d, bool on, bool good);
// A server has started, with a log or without, and what it holds is known.
void durable_log_begin(struct durable *d, bool on);
// The reply to a switch will never come.
void durable_log_lose(struct durable *d);

// ---- durable_check.c: what the replies say

// A reply that shows `bytes` (NULL: nothing) of a key, asked for when `low` was the first state possible. `counts`: under a log, at
// `level`.
void durable_check_read(struct durable *d, struct durable_key *k, struct slice *bytes, uint32_t low, bool counts, uint8_t level);
// The auditor's: narrows the key's states to what was found.
void durable_check_found(struct durable *d, struct durable_key *k, struct slice *bytes);
// All keys were found: what is missing, and whether it may be.
void durable_check_audit(struct durable *d);
// The first state that a read sent now may show.
uint32_t durable_low(const struct durable_key *k);
