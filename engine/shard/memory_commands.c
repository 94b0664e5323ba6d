// SPDX-License-Identifier: Apache-2.0
// MEMORY: who takes how much of it. USAGE belongs to the key's worker; the others show all workers.
#include <inttypes.h>

#include "engine/shard/server_commands.h"
#include "engine/shard/statistics.h"
#include "engine/shard/worker.h"
#include "proto/number.h"

void cmd_memory(struct call *c)
{
    reply_unknown_subcommand(c, "MEMORY");
}

// SAMPLES is for nested values of Redis; here every byte is known.
static bool usage_options(struct call *c)
{
    for (uint32_t arg = 3; arg < c->argc; arg += 2) {
        int64_t samples;
        if (!slice_is(c->argv[arg], "samples") || arg + 1 == c->argc) {
            reply_error(c->reply, REPLY_SYNTAX);
            return false;
        }
        if (!number_parse_i64(c->argv[arg + 1], &samples)) {
            reply_error(c->reply, REPLY_NOT_INTEGER);
            return false;
        }
        if (samples < 0) {
            reply_error(c->reply, REPLY_SYNTAX);
            return false;
        }
    }
    return true;
}

void cmd_memory_usage(struct call *c)
{
    if (!usage_options(c))
        return;
    const struct entry *e = keyspace_peek(c->keyspace, c->argv[2], c->hash, c->now_ms);
    if (e == NULL)
        reply_null(c->reply);
    else
        reply_integer(c->reply, (int64_t)entry_memory(e));
}

static void pair(struct reply *r, const char *name, uint64_t value)
{
    reply_bulk_cstr(r, name);
    reply_integer(r, (int64_t)value);
}

static void share(struct reply *r, const char *name, uint64_t part, uint64_t whole)
{
    reply_bulk_cstr(r, name);
    reply_double(r, whole == 0 ? 0.0 : (double)part / (double)whole);
}

struct figures {
    struct worker_stats t;
    struct process_usage usage;
    uint64_t used; // data, clients and what durability holds
};

static struct figures figures_of(struct call *c)
{
    struct figures f = { 0 };
    worker_refresh_stats(c->worker);
    statistics_total(c->worker->server, &f.t);
    if (c->worker->server->host->usage != NULL)
        c->worker->server->host->usage(&f.usage);
    f.used = f.t.memory_used + f.t.client_memory + statistics_durability(&f.t);
    return f;
}

// Names as Redis where the meaning is the same.
void cmd_memory_stats(struct call *c)
{
    struct figures f = figures_of(c);
    struct reply *r = c->reply;
    uint64_t overhead = f.t.memory_index + f.t.memory_deadlines + f.t.client_memory + statistics_durability(&f.t);
    reply_map(r, 18);
    pair(r, "peak.allocated", f.usage.resident_peak);
    pair(r, "total.allocated", f.used);
    pair(r, "clients.normal", f.t.client_memory);
    pair(r, "aof.buffer", f.t.memory_log);
    pair(r, "snapshot.bytes", f.t.memory_snapshot + f.t.memory_let_go);
    pair(r, "overhead.total", overhead);
    pair(r, "keys.count", f.t.keys);
    pair(r, "keys.bytes-per-key", f.t.keys == 0 ? 0 : f.t.memory_used / f.t.keys);
    pair(r, "dataset.bytes", f.used - overhead);
    share(r, "dataset.percentage", (f.used - overhead) * 100, f.used);
    pair(r, "index.bytes", f.t.memory_index);
    pair(r, "deadlines.bytes", f.t.memory_deadlines);
    pair(r, "large-values.bytes", f.t.memory_blobs);
    pair(r, "allocator.allocated", f.t.memory_used);
    pair(r, "allocator.active", f.t.memory_reserved);
    pair(r, "allocator.resident", f.usage.resident);
    share(r, "allocator-fragmentation.ratio", f.t.memory_reserved, f.t.memory_used);
    share(r, "fragmentation", f.usage.resident, f.used);
}

void cmd_memory_doctor(struct call *c)
{
    struct figures f = figures_of(c);
    struct buf text;
    uint64_t limit = c->worker->options.maxmemory;
    buf_init(&text, BUF_NO_LIMIT);
    if (f.t.memory_used < 5 * 1024 * 1024)
        buf_format(&text, "There is next to no data here: nothing can be said about %" PRIu64 " bytes.\n", f.t.memory_used);
    if (limit > 0 && f.t.memory_used > limit / 10 * 9)
        buf_format(&text, "* Nine tenths of maxmemory are used: soon %s.\n",
                   c->worker->options.maxmemory_policy == STORE_NOEVICTION ? "writes are refused" : "keys are evicted with every write");
    if (f.t.memory_reserved > 32 * 1024 * 1024 && f.t.memory_reserved > f.t.memory_used / 2 * 3)
        buf_format(&text,
                   "* A third or more of the pages held is free slots (%" PRIu64 " of %" PRIu64 " bytes used), as after many deletions. "
                   "Compaction gives them back in the background; MEMORY PURGE does more of it at once.\n",
                   f.t.memory_used, f.t.memory_reserved);
    if (f.t.client_memory > f.t.memory_used / 2 && f.t.client_memory > 32 * 1024 * 1024)
        buf_format(&text, "* Connections hold %" PRIu64 " bytes: CLIENT LIST shows whose tot-mem is large.\n", f.t.client_memory);
    if (f.usage.resident > 2 * f.used && f.usage.resident > 256 * 1024 * 1024)
        buf_format(&text, "* The process has %" PRIu64 " bytes resident for %" PRIu64 " bytes of data and clients.\n", f.usage.resident,
                   f.used);
    if (text.len == 0)
        buf_format(&text, "Nothing looks wrong with %" PRIu64 " bytes of data in %" PRIu64 " keys.\n", f.t.memory_used, f.t.keys);
    reply_text(c, &text);
}

// Every worker: background work until there is no more of it, at most so many slices.
void cmd_memory_purge(struct call *c)
{
    for (uint32_t i = 0; i < 4096 && store_maintain(c->store, c->now_ms, 256); i++)
        ;
    const struct server_host *host = c->worker->server->host;
    if (host->give_back != NULL)
        host->give_back();
    reply_ok(c->reply);
}

static void worker_line(struct buf *out, const struct worker *w)
{
    const struct worker_stats *s = &w->stats;
    buf_format(out,
               "worker %" PRIu32 ": reserved %" PRIu64 ", used %" PRIu64 ", entries %" PRIu64 ", index %" PRIu64 ", large values %" PRIu64
               ", deadlines %" PRIu64 ", free slots %" PRIu64 "\n",
               w->id, statistics_load(&s->memory_reserved), statistics_load(&s->memory_used), statistics_load(&s->memory_entries),
               statistics_load(&s->memory_index), statistics_load(&s->memory_blobs), statistics_load(&s->memory_deadlines),
               statistics_load(&s->memory_free_slots));
}

void cmd_memory_malloc_stats(struct call *c)
{
    const struct server *s = c->worker->server;
    struct buf text;
    buf_init(&text, BUF_NO_LIMIT);
    worker_refresh_stats(c->worker);
    buf_format(&text, "Bytes of each worker's arena and large values; connections are with %s.\n",
               s->host->allocator == NULL ? "the allocator" : s->host->allocator);
    for (uint32_t w = 0; w < s->worker_count; w++)
        worker_line(&text, s->workers[w]);
    reply_text(c, &text);
}

void cmd_memory_help(struct call *c)
{
    static const char *const LINES[] = {
        "DOCTOR",
        "    Return memory problems reports.",
        "MALLOC-STATS",
        "    Return internal statistics report from the memory allocator.",
        "PURGE",
        "    Attempt to purge dirty pages for reclamation by the allocator.",
        "STATS",
        "    Return information about the memory usage of the server.",
        "USAGE <key> [SAMPLES <count>]",
        "    Return memory in bytes used by <key> and its value. Nested values are",
        "    sampled up to <count> times (default: 5, 0 means sample all).",
        NULL,
    };
    reply_help(c, "MEMORY", LINES);
}
