// SPDX-License-Identifier: Apache-2.0
// LATENCY: what held up a worker (latency.h), and how long commands take (durations.h).
#include <inttypes.h>

#include "engine/shard/server_commands.h"
#include "engine/shard/statistics.h"
#include "engine/shard/worker.h"
#include "reactor/clock.h"

static struct latency_monitor *monitor_of(const struct call *c)
{
    return &c->worker->server->latency;
}

static bool find_event(struct slice name, enum latency_event *event)
{
    for (uint32_t i = 0; i < LATENCY_EVENTS; i++) {
        if (!slice_is(name, latency_event_name((enum latency_event)i)))
            continue;
        *event = (enum latency_event)i;
        return true;
    }
    return false;
}

void cmd_latency(struct call *c)
{
    reply_unknown_subcommand(c, "LATENCY");
}

void cmd_latency_latest(struct call *c)
{
    struct reply *r = c->reply;
    size_t mark = reply_array_later(r);
    uint64_t count = 0;
    for (uint32_t i = 0; i < LATENCY_EVENTS; i++) {
        struct latency_series s = latency_series_of(monitor_of(c), (enum latency_event)i);
        if (s.count == 0)
            continue;
        const struct latency_sample *last = latency_sample_at(&s, s.count - 1);
        count++;
        reply_array(r, 4);
        reply_bulk_cstr(r, latency_event_name((enum latency_event)i));
        reply_integer(r, last->time_s);
        reply_integer(r, (int64_t)last->ms);
        reply_integer(r, (int64_t)s.worst_ms);
    }
    reply_array_set(r, mark, count);
}

void cmd_latency_history(struct call *c)
{
    enum latency_event event;
    if (!find_event(c->argv[2], &event)) {
        reply_array(c->reply, 0);
        return;
    }
    struct latency_series s = latency_series_of(monitor_of(c), event);
    reply_array(c->reply, s.count);
    for (uint32_t i = 0; i < s.count; i++) {
        reply_array(c->reply, 2);
        reply_integer(c->reply, latency_sample_at(&s, i)->time_s);
        reply_integer(c->reply, (int64_t)latency_sample_at(&s, i)->ms);
    }
}

void cmd_latency_reset(struct call *c)
{
    int64_t count = 0;
    for (uint32_t i = 0; i < LATENCY_EVENTS; i++) {
        bool wanted = c->argc == 2;
        for (uint32_t arg = 2; arg < c->argc; arg++)
            wanted |= slice_is(c->argv[arg], latency_event_name((enum latency_event)i));
        count += wanted && latency_reset(monitor_of(c), (enum latency_event)i);
    }
    reply_integer(c->reply, count);
}

// A column a sample: its height, and below it how many seconds ago.
static void append_graph(struct buf *out, const struct latency_series *s, int64_t now_s)
{
    static const char *const BLOCKS[] = { "_", ".", "-", "o", "#" };
    uint64_t most = 1;
    for (uint32_t i = 0; i < s->count; i++)
        most = latency_sample_at(s, i)->ms > most ? latency_sample_at(s, i)->ms : most;
    for (uint32_t row = 4; row > 0; row--) {
        for (uint32_t i = 0; i < s->count; i++) {
            uint64_t quarter = latency_sample_at(s, i)->ms * 16 / most; // 0 to 16
            uint64_t filled = quarter >= row * 4u ? 4 : quarter + 4 > row * 4u ? quarter + 4 - row * 4u : 0;
            buf_append_slice(out, slice_cstr(filled == 0 && row > 1 ? " " : BLOCKS[filled]));
        }
        buf_append(out, "\n", 1);
    }
    int64_t first = now_s - latency_sample_at(s, 0)->time_s;
    int64_t last = now_s - latency_sample_at(s, s->count - 1)->time_s;
    buf_format(out, "\n%" PRIu32 " samples, from %" PRId64 " s ago to %" PRId64 " s ago\n", s->count, first, last);
}

void cmd_latency_graph(struct call *c)
{
    enum latency_event event;
    bool known = find_event(c->argv[2], &event);
    struct latency_series s = { .count = 0 };
    if (known)
        s = latency_series_of(monitor_of(c), event);
    if (s.count == 0) {
        reply_error_format(c->reply, "ERR No samples available for event '%.*s'", (int)(c->argv[2].len & 0xffff),
                           (const char *)c->argv[2].data);
        return;
    }
    uint64_t low = UINT64_MAX, high = 0;
    for (uint32_t i = 0; i < s.count; i++) {
        uint64_t ms = latency_sample_at(&s, i)->ms;
        low = ms < low ? ms : low;
        high = ms > high ? ms : high;
    }
    struct buf text;
    buf_init(&text, BUF_NO_LIMIT);
    buf_format(&text, "%s - high %" PRIu64 " ms, low %" PRIu64 " ms (all time high %" PRIu64 " ms)\n", latency_event_name(event), high, low,
               s.worst_ms);
    buf_append_slice(&text, slice_cstr("--------------------------------------------------------------------------------\n"));
    append_graph(&text, &s, c->now_ms / 1000);
    reply_text(c, &text);
}

// What to do about an event.
static const char *advice(enum latency_event event)
{
    switch (event) {
    case LATENCY_COMMAND:
        return "Look at SLOWLOG GET: commands that walk over many keys or bytes keep their worker from everybody else. SCAN instead of "
               "KEYS, fewer keys in one request, smaller values.";
    case LATENCY_FAST_COMMAND:
        return "Commands that cost nothing were held up, so look at the machine: cores shared with others (see busy_share in INFO "
               "reactors), "
               "swapping, transparent huge pages being assembled, power saving, a virtual machine that is not scheduled.";
    case LATENCY_EXPIRE_CYCLE:
        return "A slice of background work is bounded in entries; when it is slow all the same, single entries are large: deleting "
               "values of many megabytes gives their pages back to the system.";
    case LATENCY_EVICTION_CYCLE:
        return "maxmemory is reached faster than small evictions can follow. Raise it, let fewer or smaller values in, or choose a policy "
               "that fits what is read.";
    case LATENCY_TURN:
        return "A worker had much to do at once. One long turn beside a long command is that command; without one, it is many requests at "
               "once: more workers, or fewer connections with deep pipelines.";
    case LATENCY_EVENTS:
        break;
    }
    return "";
}

static void append_diagnosis(struct buf *out, enum latency_event event, const struct latency_series *s)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < s->count; i++)
        sum += latency_sample_at(s, i)->ms;
    int64_t period = s->count < 2 ? 0 : latency_sample_at(s, s->count - 1)->time_s - latency_sample_at(s, 0)->time_s;
    buf_format(out, "%s: %" PRIu32 " latency spikes (average %" PRIu64 "ms, worst %" PRIu64 "ms", latency_event_name(event), s->count,
               sum / s->count, s->worst_ms);
    if (period > 0)
        buf_format(out, ", one each %.2f seconds", (double)period / (s->count - 1));
    buf_format(out, ").\n  %s\n  %s\n\n", latency_event_meaning(event), advice(event));
}

void cmd_latency_doctor(struct call *c)
{
    struct buf text;
    uint32_t found = 0;
    buf_init(&text, BUF_NO_LIMIT);
    for (uint32_t i = 0; i < LATENCY_EVENTS; i++) {
        struct latency_series s = latency_series_of(monitor_of(c), (enum latency_event)i);
        if (s.count == 0)
            continue;
        found++;
        append_diagnosis(&text, (enum latency_event)i, &s);
    }
    if (found == 0 && c->worker->options.latency_monitor_threshold == 0)
        buf_format(&text, "Nothing is watched: CONFIG SET latency-monitor-threshold <milliseconds> says from when on a delay is noted.\n");
    else if (found == 0)
        buf_format(&text, "No delay of %" PRId64 " ms or more was noted since the last LATENCY RESET.\n",
                   c->worker->options.latency_monitor_threshold);
    reply_text(c, &text);
}

// ---- LATENCY HISTOGRAM

// Buckets of powers of two microseconds, cumulative; empty ones that add nothing are left out.
static void reply_histogram(struct reply *r, const struct command_summary *s)
{
    reply_map(r, 2);
    reply_bulk_cstr(r, "calls");
    reply_integer(r, (int64_t)s->calls);
    reply_bulk_cstr(r, "histogram_usec");
    uint64_t pairs = 0, before = 0;
    for (int pass = 0; pass < 2; pass++) {
        if (pass == 1)
            reply_map(r, pairs);
        before = 0;
        for (uint32_t bit = 0; bit < 32 && before < s->calls; bit++) {
            uint64_t upto = summary_scaled(s, durations_below(&s->durations, NS_PER_US << bit));
            if (bit == 31)
                upto = s->calls;
            if (upto == before)
                continue;
            before = upto;
            pairs += pass == 0;
            if (pass == 1) {
                reply_integer(r, INT64_C(1) << bit);
                reply_integer(r, (int64_t)upto);
            }
        }
    }
}

static bool asks_for(const struct call *c, const struct command *command)
{
    if (c->argc == 2)
        return true;
    for (uint32_t arg = 2; arg < c->argc; arg++) {
        const struct command *named = command_find_name(c->argv[arg]);
        if (named == command)
            return true;
        // A container stands for its subcommands.
        uint32_t first = named == NULL ? 0 : command_index(named) + 1;
        if (named != NULL && command_index(command) >= first && command_index(command) < first + command_sub_count(named))
            return true;
    }
    return false;
}

static bool shown(const struct call *c, uint32_t id, struct command_summary *s)
{
    if (!asks_for(c, command_at(id)))
        return false;
    summary_gather(c->worker->server, id, s);
    return s->calls > 0 && s->durations.count > 0;
}

void cmd_latency_histogram(struct call *c)
{
    struct command_summary s;
    uint64_t count = 0;
    for (uint32_t id = 0; id < command_count(); id++)
        count += shown(c, id, &s);
    reply_map(c->reply, count);
    for (uint32_t id = 0; id < command_count() && count > 0; id++) {
        if (!shown(c, id, &s))
            continue;
        count--;
        reply_bulk_cstr(c->reply, command_at(id)->name);
        reply_histogram(c->reply, &s);
    }
}

void cmd_latency_help(struct call *c)
{
    static const char *const LINES[] = {
        "DOCTOR",
        "    Return a human readable latency analysis report.",
        "GRAPH <event>",
        "    Return an ASCII latency graph for the <event> class.",
        "HISTORY <event>",
        "    Return time-latency samples for the <event> class.",
        "LATEST",
        "    Return the latest latency samples for all events.",
        "RESET [<event> ...]",
        "    Reset latency data of one or more <event> classes.",
        "    (default: reset all data for all event classes)",
        "HISTOGRAM [COMMAND ...]",
        "    Return a cumulative distribution of command latencies in histogram format.",
        NULL,
    };
    reply_help(c, "LATENCY", LINES);
}
