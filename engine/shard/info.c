// SPDX-License-Identifier: Apache-2.0
// INFO: the statistics of all workers as text. info.def has a line for each field.
//
// Workers write their numbers and never stop for a reader: a total is of nearly one moment. Other workers refresh theirs ten
// times a second, so that keys counted there may be that old.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "engine/shard/durability.h"
#include "engine/shard/server_commands.h"
#include "engine/shard/statistics.h"
#include "engine/shard/worker.h"

struct info {
    struct worker *worker; // that answers
    struct server *server;
    int64_t now_ms;
    struct worker_stats t;
    struct process_usage usage;
    struct durability_view log;
    struct save_view save;
    struct buf out;
};

enum info_when { DEFAULT, ALL, EVERYTHING };

static void append_text(struct info *i, const char *name, const char *value)
{
    buf_format(&i->out, "%s:", name);
    buf_append_slice(&i->out, slice_cstr(value == NULL ? "" : value));
    buf_format(&i->out, "\r\n");
}

static void append_human(struct info *i, const char *name, uint64_t bytes)
{
    static const char UNITS[] = "BKMGTPE";
    double value = (double)bytes;
    uint32_t unit = 0;
    while (value >= 1024 && unit + 1 < sizeof UNITS - 1) {
        value /= 1024;
        unit++;
    }
    if (unit == 0)
        buf_format(&i->out, "%s:%" PRIu64 "B\r\n", name, bytes);
    else
        buf_format(&i->out, "%s:%.2f%c\r\n", name, value, UNITS[unit]);
}

static const char *backend_name(const struct worker *w)
{
    return w->reactor->backend == REACTOR_URING ? "io_uring" : w->reactor->backend == REACTOR_EPOLL ? "epoll" : "simulation";
}

static const char *policy_name(const struct worker *w)
{
    return option_find(slice_cstr("maxmemory-policy"))->choices[w->options.maxmemory_policy];
}

static int64_t uptime_seconds(const struct info *i)
{
    return (int64_t)((i->worker->reactor->now_ns - i->server->started_ns) / 1000000000);
}

static uint64_t used_memory(const struct info *i)
{
    return i->t.memory_used + i->t.client_memory + statistics_durability(&i->t);
}

// What should be resident. (Pages of large values are reserved, whoever needs them.)
static uint64_t memory_accounted(const struct info *i)
{
    return i->server->resident_at_start + i->t.memory_reserved + i->t.memory_buffers + i->t.client_memory + i->t.memory_log +
           i->t.memory_snapshot;
}

static void memory_ratio(struct info *i)
{
    uint64_t used = used_memory(i);
    buf_format(&i->out, "mem_fragmentation_ratio:%.2f\r\n", used == 0 ? 0.0 : (double)i->usage.resident / (double)used);
}

static void loading_lines(struct info *i)
{
    const struct durability_view *v = &i->log;
    if (!v->loading)
        return;
    buf_format(&i->out, "loading_start_time:%" PRId64 "\r\nloading_total_bytes:%" PRIu64 "\r\nloading_loaded_bytes:%" PRIu64 "\r\n",
               i->server->started_wall_ms / 1000, v->total_bytes, v->loaded_bytes);
    buf_format(&i->out, "loading_loaded_perc:%.2f\r\nloading_eta_seconds:%" PRId64 "\r\n", v->loaded_percent, v->eta_seconds);
}

static void log_ratio(struct info *i)
{
    buf_format(&i->out, "log_writes_per_flush:%.2f\r\n", i->log.writes_per_flush);
}

// usec: see stopwatch.h.
static void command_lines(struct info *i)
{
    for (uint32_t id = 0; id < command_count(); id++) {
        struct command_summary s;
        summary_gather(i->server, id, &s);
        if (s.calls + s.rejected + s.failed > 0)
            buf_format(&i->out,
                       "cmdstat_%s:calls=%" PRIu64 ",usec=%" PRIu64 ",usec_per_call=%.2f,rejected_calls=%" PRIu64 ",failed_calls=%" PRIu64
                       "\r\n",
                       command_at(id)->name, s.calls, s.usec, s.calls == 0 ? 0.0 : (double)s.usec / (double)s.calls, s.rejected, s.failed);
    }
}

static double percentile_us(const struct command_summary *s, double share)
{
    return (double)durations_percentile(&s->durations, share) / 1000;
}

static void latency_lines(struct info *i)
{
    for (uint32_t id = 0; id < command_count(); id++) {
        struct command_summary s;
        summary_gather(i->server, id, &s);
        if (s.durations.count > 0)
            buf_format(&i->out, "latency_percentiles_usec_%s:p50=%.3f,p99=%.3f,p99.9=%.3f\r\n", command_at(id)->name,
                       percentile_us(&s, 0.5), percentile_us(&s, 0.99), percentile_us(&s, 0.999));
    }
}

// Of all workers, from `from` on. *earlier: a worker before that has counted this code too.
static uint64_t error_count(const struct info *i, const char *code, uint32_t from, bool *earlier)
{
    uint64_t sum = 0;
    *earlier = false;
    for (uint32_t w = 0; w < i->server->worker_count; w++) {
        for (uint32_t e = 0; e < ERROR_CODES_MAX; e++) {
            const struct error_stats *s = &i->server->workers[w]->errors[e];
            char other[16];
            statistics_code(s, other);
            if (statistics_load(&s->count) == 0 || strcmp(other, code) != 0)
                continue;
            *earlier |= w < from;
            sum += statistics_load(&s->count);
        }
    }
    return sum;
}

static void error_lines(struct info *i)
{
    for (uint32_t w = 0; w < i->server->worker_count; w++) {
        for (uint32_t e = 0; e < ERROR_CODES_MAX; e++) {
            const struct error_stats *s = &i->server->workers[w]->errors[e];
            char code[16];
            bool told;
            statistics_code(s, code);
            uint64_t count = code[0] == '\0' ? 0 : error_count(i, code, w, &told);
            if (count > 0 && !told)
                buf_format(&i->out, "errorstat_%s:count=%" PRIu64 "\r\n", code, count);
        }
    }
}

static void database_lines(struct info *i)
{
    for (int64_t db = 0; db < i->server->options.databases; db++) {
        uint64_t keys = 0, deadlines = 0;
        double ttl = 0;
        for (uint32_t w = 0; w < i->server->worker_count; w++) {
            const struct database_stats *s = &i->server->workers[w]->databases[db];
            uint64_t dated = statistics_load(&s->deadlines);
            keys += statistics_load(&s->keys);
            deadlines += dated;
            ttl += (double)dated * (double)statistics_load(&s->average_ttl_ms);
        }
        if (keys > 0)
            buf_format(&i->out, "db%" PRId64 ":keys=%" PRIu64 ",expires=%" PRIu64 ",avg_ttl=%.0f\r\n", db, keys, deadlines,
                       deadlines == 0 ? 0.0 : ttl / (double)deadlines);
    }
}

static double ratio(uint64_t part, uint64_t whole)
{
    return whole == 0 ? 0.0 : (double)part / (double)whole;
}

static uint64_t since(const uint64_t *now, const uint64_t *base)
{
    return statistics_load(now) - statistics_load(base);
}

static void reactor_line(struct info *i, const struct worker *w)
{
    const struct reactor_stats *r = &w->reactor->stats, *base = &w->reactor_base;
    const struct worker_stats *s = &w->stats, *s_base = &w->stats_base;
    uint64_t enters = since(&r->enters, &base->enters), commands = since(&s->commands, &s_base->commands);
    buf_format(&i->out, "worker%" PRIu32 ":backend=%s,clients=%" PRIu64 ",commands=%" PRIu64 ",turns=%" PRIu64 ",longest_turn_us=%" PRIu64,
               w->id, backend_name(w), statistics_load(&s->clients), commands, since(&r->turns, &base->turns),
               statistics_load(&r->longest_turn_ns) / 1000);
    buf_format(&i->out, ",enters=%" PRIu64 ",ops_per_enter=%.2f,syscalls_per_command=%.4f,sleeps=%" PRIu64 ",wakes_sent=%" PRIu64, enters,
               ratio(since(&r->ops, &base->ops), enters), ratio(since(&r->syscalls, &base->syscalls), commands),
               since(&r->sleeps, &base->sleeps), since(&r->wakes_sent, &base->wakes_sent));
    buf_format(&i->out, ",messages=%" PRIu64 ",forwarded_per_command=%.4f,buffers_exhausted=%" PRIu64 ",overflows=%" PRIu64,
               since(&s->mesh_messages, &s_base->mesh_messages),
               ratio(since(&s->requests_forwarded, &s_base->requests_forwarded), commands), since(&r->buffers_empty, &base->buffers_empty),
               since(&r->overflows, &base->overflows));
    buf_format(&i->out, ",ops=%" PRIu64 ",sqes=%" PRIu64 ",cqes=%" PRIu64 ",syscalls=%" PRIu64, since(&r->ops, &base->ops),
               since(&r->sqes, &base->sqes), since(&r->cqes, &base->cqes), since(&r->syscalls, &base->syscalls));
    buf_format(&i->out, ",received=%" PRIu64 ",sent=%" PRIu64 ",bytes_copied=%" PRIu64, since(&r->recv_bytes, &base->recv_bytes),
               since(&r->send_bytes, &base->send_bytes), since(&s->bytes_copied, &s_base->bytes_copied));
    uint64_t busy = since(&r->busy_ns, &base->busy_ns);
    buf_format(&i->out, ",busy_us=%" PRIu64 ",busy_share=%.4f\r\n", busy / 1000,
               ratio(busy, i->worker->reactor->now_ns - statistics_load(&w->base_ns)));
}

static void reactor_lines(struct info *i)
{
    for (uint32_t w = 0; w < i->server->worker_count; w++)
        reactor_line(i, i->server->workers[w]);
}

// How much memory a shard's keys take is not counted by shard: the worker's, shared out by their number.
static void shard_lines(struct info *i)
{
    uint32_t count = i->server->worker_count;
    for (uint32_t shard = 0; shard < i->server->route.shards; shard++) {
        const struct worker *w = i->server->workers[shard % count];
        const struct shard_stats *s = &w->shards[shard / count];
        uint64_t keys = statistics_load(&s->keys), all = statistics_load(&w->stats.keys);
        buf_format(&i->out, "shard%" PRIu32 ":worker=%" PRIu32 ",keys=%" PRIu64 ",expires=%" PRIu64 ",memory_estimate=%.0f\r\n", shard,
                   w->id, keys, statistics_load(&s->deadlines), ratio(keys, all) * (double)statistics_load(&w->stats.memory_used));
    }
}

static const char *export_mode(const struct info *i)
{
    static const char *const NAMES[] = { "off", "connect", "listen" };
    return NAMES[i->server->options.wal_export_mode];
}

#define INFO_SECTION(id, title, when)                                                                                                      \
    static void section_##id(struct info *i)                                                                                               \
    {
#define INFO_TEXT(name, value)    append_text(i, name, value);
#define INFO_NUMBER(name, value)  buf_format(&i->out, "%s:%" PRId64 "\r\n", name, (int64_t)(value));
#define INFO_HUMAN(name, value)   append_human(i, name, value);
#define INFO_SECONDS(name, value) buf_format(&i->out, "%s:%" PRIu64 ".%06" PRIu64 "\r\n", name, (value) / 1000000, (value) % 1000000);
#define INFO_LINES(function)      function(i);
#define INFO_END                  }
#include "engine/shard/info.def"
#undef INFO_SECTION
#undef INFO_TEXT
#undef INFO_NUMBER
#undef INFO_HUMAN
#undef INFO_SECONDS
#undef INFO_LINES
#undef INFO_END

#define INFO_SECTION(id, title, when) { #id, title, when, section_##id },
#define INFO_TEXT(name, value)
#define INFO_NUMBER(name, value)
#define INFO_HUMAN(name, value)
#define INFO_SECONDS(name, value)
#define INFO_LINES(function)
#define INFO_END
static const struct section {
    const char *name;
    const char *title;
    enum info_when when;
    void (*write)(struct info *i);
} SECTIONS[] = {
#include "engine/shard/info.def"
};

static bool wants(const struct call *c, const struct section *s)
{
    if (c->argc == 1)
        return s->when == DEFAULT;
    for (uint32_t i = 1; i < c->argc; i++) {
        struct slice word = c->argv[i];
        if (slice_is(word, s->name) || slice_is(word, "everything") || (slice_is(word, "all") && s->when != EVERYTHING) ||
            (slice_is(word, "default") && s->when == DEFAULT))
            return true;
    }
    return false;
}

static void info_gather(struct info *i)
{
    worker_refresh_stats(i->worker);
    statistics_total(i->server, &i->t);
    if (i->server->host->usage != NULL)
        i->server->host->usage(&i->usage);
    durability_view(i->worker, &i->log);
    save_view(i->worker, &i->save);
}

void cmd_info(struct call *c)
{
    struct info info = { .worker = c->worker, .server = c->worker->server, .now_ms = c->now_ms };
    buf_init(&info.out, BUF_NO_LIMIT);
    info_gather(&info);
    for (size_t s = 0; s < sizeof SECTIONS / sizeof SECTIONS[0]; s++) {
        if (!wants(c, &SECTIONS[s]))
            continue;
        buf_format(&info.out, "%s# %s\r\n", info.out.len > 0 ? "\r\n" : "", SECTIONS[s].title);
        SECTIONS[s].write(&info);
    }
    if (info.out.failed)
        reply_error(c->reply, REPLY_OUT_OF_MEMORY);
    else
        reply_verbatim(c->reply, "txt", buf_view(&info.out));
    buf_deinit(&info.out);
}

static void refresh_database(struct worker *w, uint32_t db)
{
    struct database_stats sum = { 0 };
    double ttl = 0;
    uint32_t local = 0;
    for (uint32_t shard = w->id; shard < w->route.shards; shard += w->server->worker_count, local++) {
        const struct keyspace *ks = store_keyspace(w->store, shard, db);
        uint64_t dated = keyspace_deadline_count(ks), keys = keyspace_count(ks);
        struct shard_stats *s = &w->shards[local];
        if (db == 0)
            w->shards_next[local] = (struct shard_stats){ 0 };
        w->shards_next[local].keys += keys;
        w->shards_next[local].deadlines += dated;
        if (db + 1 == (uint32_t)w->options.databases)
            *s = w->shards_next[local];
        sum.keys += keys;
        sum.deadlines += dated;
        if (dated > 0)
            ttl += (double)dated * (double)keyspace_average_ttl_ms(ks, w->now_ms);
    }
    sum.average_ttl_ms = sum.deadlines == 0 ? 0 : (uint64_t)(ttl / (double)sum.deadlines);
    w->databases[db] = sum;
}

void worker_refresh_databases(struct worker *w)
{
    for (int64_t db = 0; db < w->options.databases; db++)
        refresh_database(w, (uint32_t)db);
}
