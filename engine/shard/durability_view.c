// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/durability.h"

#include "engine/shard/statistics.h"
#include "engine/shard/worker.h"

static uint64_t load(const _Atomic uint64_t *from)
{
    return atomic_load_explicit(from, memory_order_relaxed);
}

static const char *choice(const char *option, int value)
{
    return option_find(slice_cstr(option))->choices[value];
}

static void view_loading(const struct worker *w, struct durability_view *v)
{
    const struct server *s = w->server;
    v->loading = w->gate.loading;
    if (!v->loading)
        return;
    keeper_load_progress(s->logging.keeper, &v->loaded_bytes, &v->total_bytes);
    double share = v->total_bytes == 0 ? 1 : (double)v->loaded_bytes / (double)v->total_bytes;
    double seconds = (double)(w->reactor->now_ns - s->started_ns) / 1e9;
    v->loaded_percent = share * 100;
    v->eta_seconds = share > 0 ? (int64_t)(seconds / share - seconds) : 1;
}

// What the role counts.
static void view_log(struct durability_view *v, const struct log *log)
{
    const struct log_stats *s = log_stats(log);
    v->lsn = load(&s->lsn);
    v->durable_lsn = load(&s->durable_lsn);
    v->frames = load(&s->frames);
    v->flushes = load(&s->flushes);
    v->batches = load(&s->batches);
    v->bytes = load(&s->bytes);
    v->payload_bytes = load(&s->payload_bytes);
    v->pending_bytes = load(&s->pending_bytes);
    v->segments = load(&s->segments);
    v->segments_ready = load(&s->segments_ready);
    v->sync_us_avg = v->flushes == 0 ? 0 : load(&s->sync_ns_total) / v->flushes / 1000;
    v->sync_us_max = load(&s->sync_ns_max) / 1000;
    v->method = choice("log-sync-method", (int)atomic_load_explicit(&s->method, memory_order_relaxed));
    static const char *const STATES[] = { [LOG_OFF] = "off", [LOG_RUNS] = "ok", [LOG_FULL] = "full", [LOG_POISONED] = "failed" };
    v->state = STATES[log_state(log)];
}

// What workers count.
static void view_workers(const struct server *s, struct durability_view *v)
{
    uint64_t changes = 0;
    for (uint32_t i = 0; i < s->worker_count; i++) {
        const struct worker *w = s->workers[i];
        v->records += statistics_load(&w->effects.records);
        v->coalesced += statistics_load(&w->effects.coalesced);
        v->held += statistics_load(&w->gate.held);
        v->stalls += statistics_load(&w->gate.stalls);
        changes += statistics_load(&w->effects.changes);
    }
    v->writes_per_flush = v->flushes == 0 ? 0 : (double)changes / (double)v->flushes;
}

void durability_view(const struct worker *w, struct durability_view *v)
{
    const struct logging *l = &w->server->logging;
    const struct log *log = logging_log(l);
    *v = (struct durability_view){ .on = l->on, .state = "off", .method = "", .measured = l->method };
    v->sync = choice("appendfsync", w->options.appendfsync);
    v->host = !l->on ? "" : l->host != NULL ? "thread" : "reactor";
    v->failed = atomic_load_explicit(&l->failed, memory_order_relaxed);
    enum switch_phase phase = logging_switch_phase(&l->turning);
    v->begins = phase >= SWITCH_OPENS && phase <= SWITCH_BASE;
    view_loading(w, v);
    if (log != NULL)
        view_log(v, log);
    view_workers(w->server, v);
}
