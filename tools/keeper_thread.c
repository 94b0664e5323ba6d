// SPDX-License-Identifier: Apache-2.0
// The thread of the data directory's keeper (persist/keeper.h): loads what is there, brings the log to life, then does what is due.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "engine/shard/worker.h"
#include "reactor/clock.h"
#include "reactor/log.h"
#include "tools/durability.h"

#define REST_NS (100 * NS_PER_MS)

void keeper_thread_call(void *durability)
{
    struct durability *d = durability;
    struct reactor *r = d->keeper_reactor;
    atomic_store_explicit(&d->keeper_called, true, memory_order_release);
    if (r != NULL)
        reactor_wake(r, NULL);
}

static void sleep_for(struct durability *d, uint64_t ns)
{
    const struct completion *none;
    (void)reactor_turn(d->keeper_reactor, ns < REST_NS ? ns : REST_NS, &none);
    atomic_store_explicit(&d->keeper_called, false, memory_order_relaxed);
}

static bool stopped(const struct durability *d)
{
    return atomic_load_explicit(&d->stop_keeper, memory_order_acquire);
}

static void refuse(struct durability *d, const char *text)
{
    log_line(LOG_WARNING, "data directory %s: %s", d->disk->path, text);
    fprintf(stderr, "skerryd: data directory %s: %s\n", d->disk->path, text);
    atomic_store_explicit(&d->server->logging.stage, LOGGING_REFUSED, memory_order_release);
    d->tell_main(d->server);
}

// ---- loading

static bool load(struct durability *d)
{
    struct keeper *k = d->keeper;
    uint64_t began = clock_now_ns();
    enum keeper_load state = KEEPER_LOADING;
    while (state == KEEPER_LOADING && !stopped(d)) {
        bool waits = false;
        state = keeper_load_step(k, &waits);
        if (state == KEEPER_LOADING && waits)
            sleep_for(d, REST_NS);
    }
    if (state == KEEPER_LOADING)
        return false;
    const struct recover_report *report = keeper_report(k);
    if (state == KEEPER_REFUSED) {
        char text[RECOVER_TEXT_MAX + 16];
        snprintf(text, sizeof text, "%s%s%s", report->text, report->rule[0] != '\0' ? " Rule " : "", report->rule);
        refuse(d, text);
        return false;
    }
    uint64_t bytes, total;
    keeper_load_progress(k, &bytes, &total);
    log_line(LOG_NOTICE,
             "data directory %s: loaded %" PRIu64 " entries and %" PRIu64 " records (%" PRIu64
             " bytes) in %.3f s; the log ends at %" PRIu64,
             d->disk->path, report->entries, report->records, total, (double)(clock_now_ns() - began) / 1e9, report->lsn);
    return true;
}

// ---- the log's beginning

static const char *method_name(enum log_method method)
{
    return option_find(slice_cstr("log-sync-method"))->choices[method];
}

// In a ring of its own, or as the log's thread writes: the worker that hosts the log has other things under way.
static enum log_method measure(struct durability *d, uint32_t *in_flight)
{
    struct logging *l = &d->server->logging;
    const char *why;
    struct reactor *r;
    struct reactor_options o = {
        .backend = l->host != NULL ? REACTOR_BLOCKING : REACTOR_URING, .features = REACTOR_FEATURES_ALL, .entries = 64, .cpu = -1
    };
    if (reactor_open(&r, &o, &why) < 0)
        return LOG_METHOD_FDATASYNC;
    enum log_method method = keeper_measure(d->keeper, r, 1, in_flight, l->method, sizeof l->method);
    reactor_close_all(r);
    return method;
}

static void fill_options(struct durability *d)
{
    struct logging *l = &d->server->logging;
    const struct options *o = &d->server->options;
    uint32_t in_flight = 1;
    l->options.sync = logging_sync(o->appendfsync);
    l->options.method = (enum log_method)o->log_sync_method;
    if (l->options.method == LOG_METHOD_AUTO || o->log_frames_in_flight == 0) {
        enum log_method fastest = measure(d, &in_flight);
        if (l->options.method == LOG_METHOD_AUTO)
            l->options.method = fastest;
        else if (l->options.method != fastest)
            in_flight = l->options.method == LOG_METHOD_LINKED ? 1 : 2;
    }
    // In a ring it goes on measuring; what was found is how many writes at a time are worth it.
    if (o->log_sync_method == LOG_METHOD_AUTO && l->host == NULL) {
        in_flight = l->options.method == LOG_METHOD_DSYNC ? in_flight : 1;
        l->options.method = LOG_METHOD_AUTO;
    }
    l->options.frames_in_flight = o->log_frames_in_flight != 0 ? (uint32_t)o->log_frames_in_flight : in_flight;
    l->options.buffer_limit = o->log_buffer_limit;
    log_line(LOG_NOTICE, "log: %s, %s, at most %" PRIu32 " frames in flight, in %s%s%s", method_name(l->options.method),
             option_find(slice_cstr("appendfsync"))->choices[o->appendfsync], l->options.frames_in_flight,
             l->host != NULL ? "a thread of its own" : "the worker's reactor", l->method[0] != '\0' ? "; measured " : "", l->method);
}

static void wake_host(struct durability *d)
{
    struct reactor *host = d->server->logging.host;
    reactor_wake(host != NULL ? host : d->server->workers[0]->reactor, NULL);
}

// It has a segment, or knows that there is no room for one: a write that it cannot take is refused from the first one on.
static void give_first_segment(struct durability *d, const struct log *log)
{
    (void)keeper_step(d->keeper);
    while (log_segments_ready(log) == 0 && log_state(log) == LOG_RUNS && !stopped(d)) {
        wake_host(d);
        sleep_for(d, NS_PER_MS);
        (void)keeper_step(d->keeper);
    }
}

// False: it was not to be, or we are to stop.
static bool begin(struct durability *d)
{
    struct logging *l = &d->server->logging;
    int rc = keeper_begin(d->keeper, &l->options.origin);
    if (rc < 0) {
        char text[128];
        snprintf(text, sizeof text, "cannot begin: %s", strerror(-rc));
        refuse(d, text);
        return false;
    }
    if (!l->on)
        return true;
    fill_options(d);
    atomic_store_explicit(&l->stage, LOGGING_LOADED, memory_order_release);
    durability_wake_workers(d);
    if (l->host != NULL)
        reactor_wake(l->host, NULL);
    while (logging_stage(l) == LOGGING_LOADED && !stopped(d))
        sleep_for(d, NS_PER_MS);
    if (logging_stage(l) != LOGGING_MADE)
        return false;
    keeper_attach(d->keeper, logging_log(l));
    give_first_segment(d, logging_log(l));
    return true;
}

// ---- switched on and off while the server runs (logging_switch.h)

static void fill(void *durability)
{
    fill_options(durability);
}

static void switch_step(struct durability *d)
{
    struct logging *l = &d->server->logging;
    bool opened = atomic_load_explicit(&d->opened, memory_order_acquire) == l->turning.number; // else the main thread is at it
    if (!logging_switch_keep(l, d->keeper, opened, fill, d))
        return;
    durability_wake_workers(d);
    wake_host(d);
}

// Nothing was there when the server started, so nothing is to be loaded.
static bool begin_late(struct durability *d)
{
    int error;
    const char *why = logging_switch_begin_late(&d->server->logging, d->keeper, &error);
    if (why == NULL)
        return true;
    atomic_store_explicit(&d->keeper_over, true, memory_order_release);
    logging_switch_fail(&d->server->logging, SWITCH_CLOSES, why, error);
    durability_wake_workers(d);
    return false;
}

void keeper_thread_run(void *durability)
{
    struct durability *d = durability;
    struct logging *l = &d->server->logging;
    if (logging_stage(l) == LOGGING_NONE) {
        if (!begin_late(d))
            return;
    } else if (!load(d) || !begin(d)) {
        return;
    }
    atomic_store_explicit(&l->stage, LOGGING_SERVES, memory_order_release);
    durability_wake_workers(d);
    while (!stopped(d)) {
        switch_step(d);
        uint64_t rest = keeper_step(d->keeper);
        const struct log *log = logging_log(l);
        if (log != NULL && log_segments_given(log))
            wake_host(d);
        if (!stopped(d))
            sleep_for(d, rest);
    }
    switch_step(d);
    const struct log *log = logging_log(l);
    (void)keeper_step(d->keeper);
    bool clean = log == NULL || log_stopped_clean(log);
    d->cut_short = !clean && log_state(log) != LOG_POISONED && atomic_load_explicit(&log_stats(log)->error, memory_order_relaxed) != 0;
    int rc = keeper_end(d->keeper, clean);
    if (rc < 0)
        log_line(LOG_WARNING, "data directory %s: cannot write the end: %s", d->disk->path, strerror(-rc));
}
