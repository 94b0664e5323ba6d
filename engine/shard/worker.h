// SPDX-License-Identifier: Apache-2.0
// A worker of the server: one reactor, the shards it owns, its connections and its end of the mesh. One thread, or in the
// simulation one of many that take turns.
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/list.h"
#include "base/memory.h"
#include "base/prng.h"
#include "engine/command/command.h"
#include "engine/shard/effects.h"
#include "engine/shard/gate.h"
#include "engine/shard/loading.h"
#include "engine/shard/mesh.h"
#include "engine/shard/native_glance.h"
#include "engine/shard/options.h"
#include "engine/shard/save.h"
#include "engine/shard/server.h"
#include "engine/shard/stopwatch.h"
#include "engine/shard/watched.h"
#include "engine/store/store.h"
#include "proto/fcnp.h"
#include "reactor/reactor.h"

// Written by the worker, read by INFO on any worker with relaxed loads.
struct worker_stats {
    uint64_t connections_received;
    uint64_t connections_rejected;
    uint64_t commands;
    uint64_t requests_forwarded; // sent to other workers
    uint64_t requests_served;    // for other workers
    uint64_t mesh_messages;      // blocks sent, requests and replies
    uint64_t mesh_bytes;
    uint64_t net_in;
    uint64_t net_out;
    uint64_t bytes_copied; // input carried over + output moved to the heap
    uint64_t errors;       // error replies
    uint64_t rejected_calls;
    uint64_t protocol_errors;
    uint64_t output_limit_closed;
    uint64_t query_limit_closed;
    uint64_t timeouts_closed;
    uint64_t accept_errors;
    uint64_t clients;
    uint64_t client_memory;          // counts against maxmemory too; every connection is looked at once a second
    uint64_t sampled_ops_per_second; // updated ten times a second
    uint64_t keys;
    uint64_t native_frames;   // FCNP requests
    uint64_t values_referred; // large values sent without a copy
    uint64_t zerocopy_sends;  // tried (lent.h)
    uint64_t zerocopy_copied; // and copied by the kernel all the same
    uint64_t keyspace_hits, keyspace_misses, expired, evicted, memory_used, memory_reserved;
    uint64_t sends_short;                                                                     // that the socket did not take at once
    uint64_t receives_put_off;                                                                // to the next turn, its arena being full
    uint64_t memory_entries, memory_index, memory_blobs, memory_deadlines, memory_free_slots; // as store_memory()
    uint64_t memory_buffers; // pages of the turns' arenas, blocks between workers, receive buffers beyond the first
    // What durability holds; counts against maxmemory too, as far as worker_charge_durability says.
    uint64_t memory_log;      // batches, dirty keys, replies that wait, a share of the log's frames
    uint64_t memory_snapshot; // images, keys that were remembered, chunks
    uint64_t memory_let_go;   // pages of large values that a snapshot alone still needs
};

// Counts per command, by its position in the table.
struct command_stats {
    uint64_t calls;
    uint64_t rejected; // before it ran: arity, authentication, memory
    uint64_t failed;   // it ran and answered with an error
};

#define ERROR_CODES_MAX 64

struct error_stats {
    char code[16];
    uint64_t count;
};

#define WORKER_LISTENERS_MAX 32 // beside direct ports
#define NO_SHARD             UINT32_MAX
#define BATCH_REQUESTS       64
#define BATCH_ARGS           1024

// One database of all of a worker's shards; INFO keyspace.
struct database_stats {
    uint64_t keys;
    uint64_t deadlines;
    uint64_t average_ttl_ms;
};

// One shard; INFO shards.
struct shard_stats {
    uint64_t keys;
    uint64_t deadlines;
};

enum listener_flag {
    LISTENER_UNIX = 1,
    LISTENER_SHARED = 2,  // other workers accept from the same socket
    LISTENER_DIRECT = 4,  // of one shard
    LISTENER_ADMIN = 8,   // of the admin port (metrics.h)
    LISTENER_EXPORT = 16, // of the live export (export.h)
};

struct listener {
    struct op op;
    struct op cancel;
    struct worker *worker;
    uint8_t flags;  // enum listener_flag
    uint32_t shard; // LISTENER_DIRECT
    bool paused;    // after EMFILE: armed again by the clock
};

// Why a request does not run.
enum refusal {
    REFUSE_NOT,
    REFUSE_UNKNOWN,
    REFUSE_ARITY,
    REFUSE_AUTH,
    // FCNP and direct ports (native.h)
    REFUSE_UNSUPPORTED,
    REFUSE_HASH,
    REFUSE_SHARD,
    REFUSE_UNROUTED,
    REFUSE_BARE_KEYED,
    REFUSE_BARE_PREFIX,
    REFUSE_BARE_AMBIGUOUS,
    REFUSE_BARE_MISS, // no error: answered with null
    // MULTI (multi.h)
    REFUSE_QUEUED, // no error: it runs with EXEC
    REFUSE_NO_MULTI,
    REFUSE_MEMORY,
    REFUSE_MULTI_FRAME,
    REFUSE_GATE, // the log, or loading (gate.h)
};

// CLIENT PAUSE: requests wait until then. Each worker has its own copy.
struct pause {
    int64_t until_ms; // 0: none
    bool all;         // else only those that write
};

// An FCNP frame that fcnp_hot took apart: its shape is plain, and there is no struct fcnp_request for it.
enum item_hot {
    HOT_NOT,
    HOT_FRAME,
    HOT_AWAY,   // plain, in RESP or FCNP, of another worker's key (bundle.h)
    HOT_GLANCE, // of a key of this worker: may be answered at a glance (glance.h)
    HOT_CLAIM,  // the same, and the route hash is what the client says it is (native_verify)
};

// One request of a batch, looked up and routed.
struct item {
    struct request request;
    const struct command *command; // NULL: unknown
    struct keyspace *keyspace;
    uint64_t hash;
    uint64_t claim; // HOT_CLAIM: the route hash in the frame
    uint32_t shard;
    uint32_t worker;
    uint32_t end;    // offset behind its last byte in what was parsed
    uint8_t refusal; // enum refusal
    uint8_t hot;     // enum item_hot
    bool spread;     // its keys belong to several workers
    bool displaced;  // its entry is to be asked for once more (keyspace_prefetch_displaced)
};
static_assert(sizeof(struct item) == 64, "a line each");

// Memory that replies of one turn are written to and sent from; two alternate, because quiet sends of a turn are settled only
// when the next turn's completions have been walked.
struct arena_turn {
    uint8_t *memory;
    size_t used;
    size_t used_most;
};
#define TURN_ARENA_SIZE (1024 * 1024)
#define TURN_ARENA_FULL (TURN_ARENA_SIZE / 2) // in use: nobody begins another reply there

// Receives that a turn does not look at any more because its arena is full: the next one begins with them. What would be read now would
// be answered from the heap, and what all connections are answered at once would pass by the cache.
struct put_off {
    struct completion *items;
    uint32_t count, cap;
};

struct worker {
    // Every request.
    struct reactor *reactor;
    struct store *store;
    struct route route;
    struct prng prng;
    int64_t now_ms;
    struct arena_turn arenas[2];
    uint32_t arena;            // the one in use
    struct list dirty;         // connections with replies to send
    struct list stalled;       // connections that wait for room in the mesh
    struct put_off put_off[2]; // one is filled while the other is walked
    uint32_t put_off_to;       // the one to fill
    uint32_t seen;             // flags of the commands looked up for the batch to come
    bool public_hash;          // index-hash public
    bool watching;             // each request is looked at: somebody monitors, or clients are paused (watch.h)
    bool gated;                // replies may have to wait, or requests are refused: appendonly, loading (gate.h)
    _Alignas(64) struct item items[BATCH_REQUESTS];
    struct slice args[BATCH_ARGS];
    struct native_glance native_glance;
    struct fcnp native; // parser, limits set before each use
    struct fcnp_request natives[BATCH_REQUESTS];
    const struct command *native_commands[256]; // by opcode; NULL: none, or the client names it
    struct slice bare_argv[2];                  // of the bare GET being run
    uint8_t bare_name[12];                      // and how it travels: hash, key length
    struct stopwatch watch;
    // Every turn.
    struct mesh mesh;
    struct txns txns;
    struct watches watches;
    struct effects effects;
    struct gate gate;
    struct exporter *exporter; // of worker 0, where there is a live export
    struct loading loading;
    struct save save;
    struct switching switching;
    struct list waiters; // WAITAOF (durability_commands.c)
    uint64_t watcher;    // for whom the WATCH runs that is running
    struct blob *found;  // what the command that runs for another worker answers by reference, pinned; else NULL
    struct list slices;  // struct gather: their next slice is to be run
    struct worker_stats stats;
    struct command_stats *commands; // [command_count()]
    struct error_stats errors[ERROR_CODES_MAX];
    // Now and then.
    uint32_t id;
    struct server *server;
    struct options options; // this worker's copy
    struct memory *memory;
    struct list conns;
    struct list monitors; // connections
    struct buf lines;     // for monitors, of this turn
    struct pause pause;   // CLIENT PAUSE
    bool stopped;         // requests that write wait for the log (gate.h)
    struct list closing;  // connections shut down whose ops are still in flight
    struct list lents;    // sends whose pages the kernel may still look at, or whose connection does
    uint32_t lent_count;  // of these, in flight
    uint64_t next_client;
    int64_t next_cron_ms;
    uint64_t last_commands;      // at the last tick
    uint64_t turn_commands;      // at the end of the last turn
    uint64_t durability_charged; // to the store, for what durability holds
    uint64_t last_busy_ns;       // of the reactor, as of the last turn
    bool maintain_more;
    bool draining;
    uint64_t drain_until_ns;
    struct listener *listeners; // [listener_cap]
    uint32_t listener_count, listener_cap;
    uint64_t accept_complaint_ns;
    struct pending *pending_free;
    struct bundle *bundles; // to be used again
    uint32_t bundle_count;
    struct database_stats *databases; // [options.databases]
    struct shard_stats *shards;       // [own shards]
    struct shard_stats *shards_next;  // being added up
    uint32_t admin_conns;
    struct worker_stats stats_base; // counters at CONFIG RESETSTAT: INFO shows what came since
    struct reactor_stats reactor_base;
    uint64_t base_ns;      // when that was; at first the worker's beginning
    struct store *scratch; // of fan-outs that compute over fetched keys
};

// `reactor` is open and belongs to the calling thread (or to the simulation). Listening descriptors are the worker's from here.
int worker_new(struct worker **out, struct server *server, uint32_t id, struct reactor *reactor, struct memory *memory, uint64_t seed,
               const struct hash_secret *secret) warn_unused;
struct worker *worker_free(struct worker *w);
// Room for so many more listeners than WORKER_LISTENERS_MAX; before the first of them. -ENOMEM.
int worker_reserve_listeners(struct worker *w, uint32_t more) warn_unused;
// All workers exist before the first turn of any of them.
int worker_listen(struct worker *w, int fd, uint8_t flags) warn_unused; // enum listener_flag
// A direct port of a shard that this worker owns.
int worker_listen_direct(struct worker *w, int fd, uint32_t shard) warn_unused;

// One pass over everything. False: told to stop, and drained.
bool worker_turn(struct worker *w);

// After an option of this worker's copy changed (CONFIG SET): makes it true.
void worker_apply_options(struct worker *w);
// Fields that only the owner can compute, refreshed ten times a second and before INFO of the own worker.
void worker_refresh_stats(struct worker *w);
// What durability holds counts in place of what was counted last: ten times a second, each turn of a snapshot, and when batches grow.
// Where keys may be evicted it counts up to a DURABILITY_SHARE of the limit: who evicts makes records and images, which may be larger
// than what goes, so that for a slow disk all of them would go. Elsewhere the log's frames alone do, which no refusal makes fewer.
#define DURABILITY_SHARE 8u
void worker_charge_durability(struct worker *w);

// store_make_room for a command that wants memory; counts as an event of LATENCY when it takes long.
bool worker_make_room(struct worker *w);

// After watches came or went: the store tells its changes as long as anybody wants to know.
void worker_listen_changes(struct worker *w);

// Makes `databases` true (info.c); worker_refresh_stats calls it.
void worker_refresh_databases(struct worker *w);

// Connections of this worker, for CLIENT LIST and KILL.
typedef void worker_client_fn(void *context, struct client *c);
void worker_each_client(struct worker *w, worker_client_fn *fn, void *context);
// Closes at the end of the turn; of the calling client itself after its reply.
void worker_kill_client(struct worker *w, struct client *c, bool after_reply);
