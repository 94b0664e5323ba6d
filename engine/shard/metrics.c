// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/metrics.h"

#include <inttypes.h>

#include "engine/shard/durability.h"
#include "engine/shard/statistics.h"
#include "proto/http.h"
#include "reactor/clock.h"

#define PREFIX "skerry_"

struct metrics {
    struct worker *worker; // that answers
    const struct server *server;
    struct worker_stats t;
    struct process_usage usage;
    struct durability_view log;
    struct buf *out;
};

static void head(struct metrics *m, const char *name, const char *type, const char *help)
{
    buf_format(m->out, "# HELP " PREFIX "%s %s\n# TYPE " PREFIX "%s %s\n", name, help, name, type);
}

static void label_text(struct buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\\' || *text == '"')
            buf_append(out, "\\", 1);
        buf_append(out, *text == '\n' ? " " : text, 1);
    }
}

// ---- one number each

static double seconds(uint64_t us)
{
    return (double)us / 1e6;
}

static void totals(struct metrics *m)
{
#define COUNTER(name, help, value)                                                                                                         \
    head(m, name, "counter", help);                                                                                                        \
    buf_format(m->out, PREFIX "%s %" PRIu64 "\n", name, (uint64_t)(value));
#define GAUGE(name, help, value)                                                                                                           \
    head(m, name, "gauge", help);                                                                                                          \
    buf_format(m->out, PREFIX "%s %" PRIu64 "\n", name, (uint64_t)(value));
#define SECONDS(name, type, help, value)                                                                                                   \
    head(m, name, type, help);                                                                                                             \
    buf_format(m->out, PREFIX "%s %.6f\n", name, (value));
#include "engine/shard/metrics.def"
#undef COUNTER
#undef GAUGE
#undef SECONDS
}

// ---- by worker

static void by_worker(struct metrics *m, const char *name, const char *type, const char *help, size_t offset, bool reactor, double scale)
{
    head(m, name, type, help);
    for (uint32_t i = 0; i < m->server->worker_count; i++) {
        const struct worker *w = m->server->workers[i];
        const char *from = reactor ? (const char *)&w->reactor->stats : (const char *)&w->stats;
        uint64_t value = statistics_load((const uint64_t *)(const void *)(from + offset));
        if (scale == 1)
            buf_format(m->out, PREFIX "%s{worker=\"%" PRIu32 "\"} %" PRIu64 "\n", name, i, value);
        else
            buf_format(m->out, PREFIX "%s{worker=\"%" PRIu32 "\"} %.9f\n", name, i, (double)value * scale);
    }
}

static void workers(struct metrics *m)
{
#define WORKER(name, type, field, help)         by_worker(m, name, type, help, offsetof(struct worker_stats, field), false, 1);
#define REACTOR(name, type, field, scale, help) by_worker(m, name, type, help, offsetof(struct reactor_stats, field), true, scale);
#include "engine/shard/metrics.def"
#undef WORKER
#undef REACTOR
}

static void shards(struct metrics *m)
{
    head(m, "shard_keys", "gauge", "Keys of each shard, up to a tenth of a second old.");
    for (uint32_t shard = 0; shard < m->server->route.shards; shard++) {
        const struct worker *w = m->server->workers[shard % m->server->worker_count];
        buf_format(m->out, PREFIX "shard_keys{shard=\"%" PRIu32 "\"} %" PRIu64 "\n", shard,
                   statistics_load(&w->shards[shard / m->server->worker_count].keys));
    }
    head(m, "database_keys", "gauge", "Keys of each database that has any, up to a tenth of a second old.");
    for (int64_t db = 0; db < m->server->options.databases; db++) {
        uint64_t keys = 0;
        for (uint32_t i = 0; i < m->server->worker_count; i++)
            keys += statistics_load(&m->server->workers[i]->databases[db].keys);
        if (keys > 0)
            buf_format(m->out, PREFIX "database_keys{db=\"%" PRId64 "\"} %" PRIu64 "\n", db, keys);
    }
}

// ---- by command

static void command_counter(struct metrics *m, const char *name, const char *help, size_t offset)
{
    head(m, name, "counter", help);
    for (uint32_t id = 0; id < command_count(); id++) {
        uint64_t sum = 0;
        for (uint32_t i = 0; i < m->server->worker_count; i++) {
            const char *stats = (const char *)&m->server->workers[i]->commands[id];
            sum += statistics_load((const uint64_t *)(const void *)(stats + offset));
        }
        if (sum > 0)
            buf_format(m->out, PREFIX "%s{command=\"%s\"} %" PRIu64 "\n", name, command_at(id)->name, sum);
    }
}

static void gather_family(const struct metrics *m, const char *family, struct durations *d)
{
    *d = (struct durations){ 0 };
    for (uint32_t id = 0; id < command_count(); id++) {
        if (strcmp(command_at(id)->group, family) != 0)
            continue;
        for (uint32_t i = 0; i < m->server->worker_count; i++) {
            const struct durations *one = __atomic_load_n(&m->server->workers[i]->watch.times[id], __ATOMIC_ACQUIRE);
            if (one != NULL)
                durations_gather(d, one);
        }
    }
}

static void family_histogram(struct metrics *m, const char *family)
{
    static const char NAME[] = PREFIX "command_duration_seconds";
    struct durations d;
    gather_family(m, family, &d);
    if (d.count == 0)
        return;
    for (uint32_t bit = 0; bit <= 20; bit++) // 1 us to 1 s
        buf_format(m->out, "%s_bucket{family=\"%s\",le=\"%.6f\"} %" PRIu64 "\n", NAME, family, (double)(UINT64_C(1) << bit) / 1e6,
                   durations_below(&d, NS_PER_US << bit));
    buf_format(m->out, "%s_bucket{family=\"%s\",le=\"+Inf\"} %" PRIu64 "\n", NAME, family, d.count);
    buf_format(m->out, "%s_sum{family=\"%s\"} %.9f\n%s_count{family=\"%s\"} %" PRIu64 "\n", NAME, family, (double)d.total_ns / 1e9, NAME,
               family, d.count);
}

static bool first_of_family(uint32_t id)
{
    for (uint32_t before = 0; before < id; before++)
        if (strcmp(command_at(before)->group, command_at(id)->group) == 0)
            return false;
    return true;
}

static void commands(struct metrics *m)
{
    command_counter(m, "commands_total", "Commands that ran.", offsetof(struct command_stats, calls));
    command_counter(m, "commands_failed_total", "Commands that ran and answered with an error.", offsetof(struct command_stats, failed));
    command_counter(m, "commands_rejected_total", "Commands that were refused before they ran.", offsetof(struct command_stats, rejected));
    head(m, "command_duration_seconds", "histogram",
         "How long commands ran, by family: an estimate from the commands that were timed, each counted for as many as it stands for.");
    for (uint32_t id = 0; id < command_count(); id++)
        if (first_of_family(id))
            family_histogram(m, command_at(id)->group);
}

static void errors(struct metrics *m)
{
    head(m, "errors_total", "counter", "Error replies by their first word and worker.");
    for (uint32_t i = 0; i < m->server->worker_count; i++) {
        for (uint32_t e = 0; e < ERROR_CODES_MAX; e++) {
            const struct error_stats *s = &m->server->workers[i]->errors[e];
            char code[16];
            statistics_code(s, code);
            if (code[0] == '\0' || statistics_load(&s->count) == 0)
                continue;
            buf_format(m->out, PREFIX "errors_total{code=\"");
            label_text(m->out, code);
            buf_format(m->out, "\",worker=\"%" PRIu32 "\"} %" PRIu64 "\n", i, statistics_load(&s->count));
        }
    }
}

static void about(struct metrics *m)
{
    head(m, "info", "gauge", "The server: always 1.");
    buf_format(m->out, PREFIX "info{version=\"" SKERRY_VERSION "\",run_id=\"%s\",workers=\"%" PRIu32 "\",shards=\"%" PRIu32 "\"} 1\n",
               m->server->run_id, m->server->worker_count, m->server->route.shards);
}

void metrics_write(struct worker *w, struct buf *out)
{
    struct metrics m = { .worker = w, .server = w->server, .out = out };
    worker_refresh_stats(w);
    statistics_total(w->server, &m.t);
    if (w->server->host->usage != NULL)
        w->server->host->usage(&m.usage);
    durability_view(w, &m.log);
    about(&m);
    totals(&m);
    workers(&m);
    shards(&m);
    commands(&m);
    errors(&m);
}

// ---- the admin port

static void answer(struct conn *c, const struct http_request *rq)
{
    static const char TEXT[] = "text/plain; charset=utf-8", METRICS[] = "text/plain; version=0.0.4; charset=utf-8";
    struct buf body;
    buf_init(&body, BUF_NO_LIMIT);
    int status = rq->status;
    if (status == 0 && !slice_equal(rq->method, slice_cstr("GET")))
        status = 405;
    if (status == 0 && !slice_equal(rq->path, slice_cstr("/metrics")))
        status = 404;
    if (status == 0)
        metrics_write(c->worker, &body);
    if (status == 0 && !body.failed)
        status = 200;
    else
        buf_append_slice(&body, slice_cstr("GET /metrics is all that is served here.\n"));
    struct buf *out = conn_out_begin(c);
    http_answer(out, status == 0 ? 503 : status, status == 200 ? METRICS : TEXT, buf_view(&body));
    conn_out_end(c);
    buf_deinit(&body);
    conn_end(c);
}

void metrics_feed(struct conn *c, struct slice bytes)
{
    struct http_request rq;
    size_t room = HTTP_HEAD_MAX + 1 - c->carry.len; // what comes behind is not looked at
    buf_append(&c->carry, bytes.data, bytes.len < room ? bytes.len : room);
    if (c->carry.failed)
        conn_close(c);
    else if (http_parse(buf_view(&c->carry), &rq) == HTTP_READY)
        answer(c, &rq);
}
