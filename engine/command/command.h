// SPDX-License-Identifier: Apache-2.0
// The command table and what a command sees while it runs.
//
// commands.def has one line a command; the table, COMMAND, COMMAND DOCS and the fuzz dictionary come from it.
// A command is a function of its call: it reads and changes keyspaces and writes exactly one reply. It runs on one worker and
// never waits. When its keys live on several workers, engine/shard/fanout.c splits it as `spread` says.
#pragma once

#include <stdint.h>

#include "base/assert.h"
#include "base/prng.h"
#include "base/slice.h"
#include "engine/store/store.h"
#include "proto/reply.h"
#include "proto/request.h"

// As COMMAND INFO shows them.
enum command_flag {
    CMD_WRITE = 1 << 0,
    CMD_READONLY = 1 << 1,
    CMD_DENYOOM = 1 << 2,
    CMD_ADMIN = 1 << 3,
    CMD_PUBSUB = 1 << 4,
    CMD_NOSCRIPT = 1 << 5,
    CMD_BLOCKING = 1 << 6,
    CMD_LOADING = 1 << 7,
    CMD_STALE = 1 << 8,
    CMD_SKIP_MONITOR = 1 << 9,
    CMD_SKIP_SLOWLOG = 1 << 10,
    CMD_ASKING = 1 << 11,
    CMD_FAST = 1 << 12,
    CMD_NO_AUTH = 1 << 13,
    CMD_MAY_REPLICATE = 1 << 14,
    CMD_ALLOW_BUSY = 1 << 15,
    CMD_MOVABLE_KEYS = 1 << 16,
    CMD_NO_MULTI = 1 << 17,
    // Ours, not shown:
    CMD_LOCAL = 1 << 24,      // needs no key and no other worker: runs where the connection is (PING, CLIENT ID, ...)
    CMD_TAKES_BLOB = 1 << 25, // may take a big argument's pages (call_take_blob)
    CMD_SUBCOMMAND = 1 << 26, // a line below the container's: not found by its own name alone
    CMD_TIMED = 1 << 28,      // takes time: not O(1) (set from the complexity at start)
    CMD_CURSOR = 1 << 27,     // argv[1] is a cursor that names the shard where to go on (command_cursor_shard)
};

enum command_category { // ACL categories
    CAT_KEYSPACE = 1 << 0,
    CAT_READ = 1 << 1,
    CAT_WRITE = 1 << 2,
    CAT_SET = 1 << 3,
    CAT_SORTEDSET = 1 << 4,
    CAT_LIST = 1 << 5,
    CAT_HASH = 1 << 6,
    CAT_STRING = 1 << 7,
    CAT_BITMAP = 1 << 8,
    CAT_HYPERLOGLOG = 1 << 9,
    CAT_GEO = 1 << 10,
    CAT_STREAM = 1 << 11,
    CAT_PUBSUB = 1 << 12,
    CAT_ADMIN = 1 << 13,
    CAT_FAST = 1 << 14,
    CAT_SLOW = 1 << 15,
    CAT_BLOCKING = 1 << 16,
    CAT_DANGEROUS = 1 << 17,
    CAT_CONNECTION = 1 << 18,
    CAT_TRANSACTION = 1 << 19,
    CAT_SCRIPTING = 1 << 20,
};

// How a command whose keys (or shards) belong to several workers is done.
enum command_spread {
    SPREAD_NONE,   // one key, or none: one worker
    SPREAD_EACH,   // array of one reply per key, in order: MGET (each part runs as the command with one key, header stripped)
    SPREAD_SUM,    // integers added: DEL UNLINK EXISTS TOUCH; without keys every worker: DBSIZE
    SPREAD_ALL_OK, // MSET; without keys every worker: FLUSHALL, FLUSHDB, CONFIG SET
    SPREAD_JOIN,   // arrays or texts of every worker joined: KEYS, CLIENT LIST
    SPREAD_STEPS,  // a function of its own in engine/shard/fanout.c: MSETNX BITOP LCS SCAN RANDOMKEY ...
};

struct call;
typedef void command_fn(struct call *c);

struct command {
    const char *name; // lower case; subcommands "client|list"
    command_fn *run;
    int16_t arity;                         // counts the name; negative: at least that many
    int16_t key_first, key_last, key_step; // as COMMAND INFO; 0 = no keys
    uint32_t flags;
    uint32_t categories;
    uint8_t spread;       // enum command_spread
    uint8_t id_container; // index + 1 of the container for subcommands, by table order; 0 = none
    const char *since;
    const char *group;
    const char *complexity;
    const char *summary;
    const char *syntax;     // arguments in Redis' notation: `key value [NX | XX] [GET] [EX seconds | ...]`
    const char *key_access; // key specification flags, "; " between the ranges of keys: "RW access update"
    const char *tips;       // hints for clients, space between them: "request_policy:multi_shard"
    const char *deprecated; // "since what-instead", "" = current
};

#define COMMAND_NAME_MAX 32

// Case-insensitive; NULL = unknown. O(1), a few ns. For containers the subcommand decides when argv[1] names one.
const struct command *command_find(const struct slice *argv, uint32_t argc);
const struct command *command_find_name(struct slice name); // "get", "client|list"
const struct command *command_at(uint32_t index);
uint32_t command_count(void);     // all lines
uint32_t command_top_count(void); // without subcommands: COMMAND COUNT
uint32_t command_index(const struct command *c);
// The subcommands of a container are the lines behind its own.
uint32_t command_sub_count(const struct command *c);
bool command_arity_ok(const struct command *c, uint32_t argc);

// Positions of the keys in argv: first, last (inclusive) and step; false = no keys. Handles negative key_last and the commands
// whose keys move (CMD_MOVABLE_KEYS) by their own rules.
struct command_keys {
    uint32_t first, last, step;
};
bool command_keys(const struct command *c, const struct slice *argv, uint32_t argc, struct command_keys *out);
// The same where the arguments behind the last key may be missing: what COMMAND GETKEYS shows.
bool command_key_range(const struct command *c, uint32_t argc, struct command_keys *out);

// Who waits for the reply, as far as commands may know it. engine/shard defines it.
struct client;
struct worker;

struct call {
    const struct command *command;
    uint32_t argc;
    const struct slice *argv;
    struct reply *reply;
    struct store *store; // of the worker that runs the call
    const struct route *route;
    uint32_t db;
    // Of the first key, already computed by the router (when the command has keys).
    struct keyspace *keyspace;
    uint64_t hash;
    int64_t now_ms; // Unix time of the turn
    struct prng *prng;
    uint64_t bulk_max;   // proto-max-bulk-len
    uint64_t dirty;      // changes made, as Redis' dirty
    struct blob **blobs; // argc pointers or NULL: big arguments that this call may take
    // Makes a large value the whole reply without copying it, NULL where that cannot be; false: it has to be copied.
    bool (*refer)(struct call *c, struct blob *value);
    bool no_touch;         // the access is not noted for eviction (CLIENT NO-TOUCH)
    struct client *client; // NULL when the connection belongs to another worker
    struct worker *worker;
};

// Where a key lives: for commands with several keys. The key must belong to this worker.
struct place {
    struct keyspace *keyspace;
    uint64_t hash;
};

static inline struct place call_place(struct call *c, uint32_t arg)
{
    struct slice key = c->argv[arg];
    struct keyspace *ks = store_keyspace(c->store, route_shard(c->route, key), c->db);
    return (struct place){ .keyspace = ks, .hash = keyspace_hash(ks, key) };
}

// The first key's entry.
static inline struct entry *call_find(struct call *c, uint32_t arg)
{
    return keyspace_find(c->keyspace, c->argv[arg], c->hash, c->now_ms);
}

// Of a CMD_CURSOR command: the shard whose worker must run it. A cursor holds the shard above its lower 48 bits; one that makes no
// sense belongs to shard 0, where the command answers for it.
uint32_t command_cursor_shard(const struct command *c, const struct slice *argv, uint32_t argc, const struct route *route);

// Refusals that every command shares, in Redis' words: for the dispatcher.
void command_reply_unknown(struct reply *r, const struct slice *argv, uint32_t argc);
void command_reply_arity(struct reply *r, const struct command *c);

// The big argument's pages, now the caller's; NULL when that argument is an ordinary slice.
struct blob *call_take_blob(struct call *c, uint32_t arg);

// Runs `fn` for every keyspace of the call's database that this worker owns (DBSIZE, KEYS, FLUSHDB, ...).
typedef void call_keyspace_fn(void *context, struct keyspace *ks, uint32_t shard);
void call_each_keyspace(struct call *c, call_keyspace_fn *fn, void *context);

// cmd_get, cmd_set, ...
#define COMMAND(name, function, ...) command_fn cmd_##function;
#include "engine/command/commands.def"
#undef COMMAND
