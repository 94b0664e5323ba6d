// SPDX-License-Identifier: Apache-2.0
// What runs beside the workers when changes survive: the keeper of the data directory and the host of the log, as tools/keeper_thread.c and
// tools/log_thread.c do it with threads; here each is an actor that takes turns. The keeper's calls of the disk take no time, but the
// power may go at any of them.
#include <stdio.h>
#include <string.h>

#include "engine/shard/conn.h"
#include "reactor/clock.h"
#include "test/sim/sim_inside.h"

#define KEEPER_REST_NS (100 * NS_PER_MS)
#define LOG_REST_NS    (100 * NS_PER_MS)
#define OWNER_OF_LOG   1

static struct logging *logging(struct sim *s)
{
    return &s->server.logging;
}

static bool workers_stopped(const struct sim *s)
{
    for (uint32_t i = 0; i < s->knobs.workers; i++)
        if (s->running[i])
            return false;
    return true;
}

bool storage_on(const struct sim *s)
{
    return s->world.disk != NULL;
}

static void say(void *context, int level, const char *text)
{
    sim_say(context, "keeper: %s", text);
}

static void warn(void *context, const char *text)
{
    sim_say(context, "recovery: %s", text);
}

static void wake_workers(void *context)
{
    struct sim *s = context;
    for (uint32_t i = 0; i < s->knobs.workers; i++)
        if (s->reactors[i] != NULL)
            reactor_wake(s->reactors[i], NULL);
}

static void call_keeper(void *context)
{
    struct sim *s = context;
    s->storage.keeper_next_ns = s->world.now_ns;
}

// ---- before the workers, and behind them

static struct keeper *make_keeper(struct sim *s, bool log)
{
    const struct storage_knobs *k = &s->knobs.storage;
    struct keeper_options options = {
        .recover = { .segment_size = k->segment_size, .warn = warn, .context = s, .fault = s->options.recover_fault },
        .shards = s->knobs.shards,
        .route_mode = ROUTE_FULL_KEY,
        .workers = s->knobs.workers,
        .segments_ready = 2,
        .segments_spare = k->spare,
        .log = log,
        .wake = call_keeper,
        .wake_workers = wake_workers,
        .say = say,
        .context = s,
    };
    struct keeper *keeper;
    return keeper_new(&keeper, &s->world.disk->disk, &options) == 0 ? keeper : NULL;
}

// Is there anything to load?
static bool is_virgin(struct sim *s)
{
    static const char *const NAMES[2] = MANIFEST_NAMES;
    struct disk *d = &s->world.disk->disk;
    bool there = false;
    for (int i = 0; i < 2; i++) {
        uint64_t size;
        int fd = d->ops->open(d, NAMES[i], DISK_READ, &size);
        there |= fd >= 0;
        if (fd >= 0)
            d->ops->close(d, fd);
    }
    return !there;
}

void storage_make(struct sim *s)
{
    struct options *o = &s->server.options;
    const struct storage_knobs *k = &s->knobs.storage;
    static const int POLICIES[] = {
        [LEVEL_NO] = APPENDFSYNC_NO, [LEVEL_EVERYSEC] = APPENDFSYNC_EVERYSEC, [LEVEL_ALWAYS] = APPENDFSYNC_ALWAYS
    };
    s->storage = (struct storage){ .keeper_next_ns = s->world.now_ns };
    o->appendonly = !s->options.switches || prng_below(&s->schedule, 2) == 0;
    o->appendfsync = POLICIES[k->policy];
    o->log_segment_size = k->segment_size;
    o->log_buffer_limit = 1024 * 1024;
    logging(s)->on = o->appendonly;
    logging(s)->wake_keeper = call_keeper;
    logging(s)->context = s;
    logging(s)->fault = s->options.gate_fault;
    if (s->options.names_fault)
        sim_disk_fail(s->world.disk, DISK_LYING_NAMES, 1, true);
    int rc = logging_init(logging(s), s->knobs.workers);
    assert(rc == 0);
    if (!o->appendonly && is_virgin(s))
        return; // as skerryd: there is no keeper before somebody wants a log
    struct keeper *keeper = make_keeper(s, o->appendonly);
    assert(keeper != NULL);
    logging(s)->keeper = keeper;
    atomic_store(&logging(s)->stage, LOGGING_LOADING);
}

static bool log_has_turn(void *context)
{
    struct sim *s = context;
    const struct log *log = logging_log(logging(s));
    if ((workers_stopped(s) && !s->storage.log_stopping) || logging_switch_wants_host(logging(s)))
        return true;
    return log != NULL ? log_has_work(log) : logging_stage(logging(s)) == LOGGING_LOADED;
}

// Who hosts the log: the only worker, or an actor of its own.
void storage_start(struct sim *s)
{
    if (s->knobs.workers == 1 && s->knobs.storage.hosted)
        return;
    s->storage.log_reactor = world_reactor_new(&s->world);
    s->storage.log_reactor->pending = log_has_turn;
    s->storage.log_reactor->pending_context = s;
    s->storage.log_id = s->knobs.workers; // the world numbers reactors as they come
    logging(s)->host = s->storage.log_reactor;
}

void storage_worker_stopped(struct sim *s)
{
    if (workers_stopped(s) && s->storage.log_reactor != NULL)
        reactor_wake(s->storage.log_reactor, NULL);
}

void storage_free_log(struct sim *s)
{
    struct log *log = atomic_exchange(&logging(s)->log, NULL);
    if (log != NULL)
        log_free(log);
    if (logging(s)->turning.old != NULL)
        log_free(logging(s)->turning.old);
}

void storage_free(struct sim *s)
{
    logging(s)->keeper = keeper_free(logging(s)->keeper);
    logging_deinit(logging(s));
    if (s->storage.log_reactor != NULL)
        reactor_close_all(s->storage.log_reactor);
    for (int i = 0; i < SIM_DISK_FDS_MAX && !s->world.disk->cut; i++)
        if (s->world.disk->fds[i].flags >= 0)
            world_fail(&s->world, "a file of the data directory is still open at the end (%d, file %llu)", i,
                       (unsigned long long)s->world.disk->fds[i].file);
}

// ---- the log

static void wake_told(struct sim *s, struct log *log)
{
    for (uint64_t told = log_told(log, 0); told != 0; told &= told - 1)
        reactor_wake(s->reactors[__builtin_ctzll(told)], s->storage.log_reactor);
}

static void step_log(struct sim *s, struct log *log)
{
    log_step(log);
    wake_told(s, log);
    if (log_told_keeper(log))
        call_keeper(s);
}

static struct log *make_log(struct sim *s)
{
    struct logging *l = logging(s);
    struct log *log = NULL;
    if (logging_switch_make(l, s->storage.log_reactor, OWNER_OF_LOG, &log)) {
        call_keeper(s);
        return log;
    }
    if (logging_stage(l) != LOGGING_LOADED)
        return NULL;
    int rc = logging_make(l, s->storage.log_reactor, OWNER_OF_LOG, &log);
    assert(rc == 0);
    atomic_store(&l->stage, LOGGING_MADE);
    call_keeper(s);
    return log;
}

static void turn_log(struct sim *s, struct reactor *r, struct log *log, uint8_t owner, uint64_t wait_ns)
{
    const struct completion *done;
    uint32_t count = reactor_turn(r, wait_ns, &done);
    for (uint32_t i = 0; log != NULL && i < count; i++)
        if (done[i].op->owner == owner)
            log_on_completion(log, &done[i]);
}

void storage_look(struct sim *s)
{
    const struct log *log = logging_log(logging(s));
    if (log == NULL || log_state(log) != LOG_POISONED || !logging(s)->on || s->storage.poisoned)
        return; // before it counts, and when it is leaving, the switch deals with it
    s->storage.poisoned = true;
    atomic_store(&logging(s)->failed, true);
    sim_say(s, "the log is poisoned (%d)", atomic_load(&log_stats(log)->error));
    wake_workers(s);
}

static void end_log(struct sim *s)
{
    s->storage.log_over = true;
    call_keeper(s);
}

// All that was sent is written, and where it ends; by whoever hosts it.
static void stop_log(struct sim *s, struct reactor *r, uint8_t owner)
{
    struct log *log = logging_log(logging(s));
    if (log == NULL) {
        end_log(s);
        return;
    }
    if (!s->storage.log_stopping)
        log_stop(log);
    s->storage.log_stopping = true;
    uint64_t wait = log_next_ns(log);
    turn_log(s, r, log, owner, wait < LOG_REST_NS ? wait : LOG_REST_NS);
    step_log(s, log);
    if (log_stopped(log) && log_idle(log))
        end_log(s);
}

static void run_log(struct sim *s)
{
    struct log *log = logging_log(logging(s));
    if (workers_stopped(s)) {
        stop_log(s, s->storage.log_reactor, OWNER_OF_LOG);
        return;
    }
    uint64_t wait = log != NULL ? log_next_ns(log) : LOG_REST_NS;
    turn_log(s, s->storage.log_reactor, log, OWNER_OF_LOG, wait < LOG_REST_NS ? wait : LOG_REST_NS);
    if (log == NULL)
        log = make_log(s);
    if (log == NULL)
        return;
    step_log(s, log);
    storage_look(s);
    if (logging_switch_drained(logging(s), log))
        call_keeper(s);
}

// ---- the keeper

static void refuse(struct sim *s, const char *text)
{
    s->storage.keeper_over = true;
    atomic_store(&logging(s)->stage, LOGGING_REFUSED);
    if (!s->world.disk->cut)
        world_fail(&s->world, "a crash alone, and the server does not start again: %s", text);
}

static void fill_options(void *context)
{
    struct sim *s = context;
    struct logging *l = logging(s);
    const struct storage_knobs *k = &s->knobs.storage;
    l->options.sync = logging_sync(s->server.options.appendfsync);
    l->options.method = (enum log_method)k->method;
    l->options.frames_in_flight = k->method == LOG_METHOD_LINKED ? 1 : k->frames_in_flight;
    l->options.buffer_limit = s->server.options.log_buffer_limit;
    l->options.fault = s->options.log_fault;
}

static void wake_host(struct sim *s)
{
    reactor_wake(s->storage.log_reactor != NULL ? s->storage.log_reactor : s->reactors[0], NULL);
}

static void begin(struct sim *s)
{
    struct logging *l = logging(s);
    int rc = keeper_begin(l->keeper, &l->options.origin);
    if (rc < 0) {
        refuse(s, strerror(-rc));
        return;
    }
    if (l->on)
        fill_options(s);
    atomic_store(&l->stage, l->on ? LOGGING_LOADED : LOGGING_SERVES);
    wake_workers(s);
    if (l->host != NULL)
        reactor_wake(l->host, NULL);
}

// ---- switched on and off while the server runs

void storage_switch(struct server *server)
{
    struct sim *s = container_of(server, struct sim, server);
    s->storage.opened = server->logging.turning.number;
    call_keeper(s);
}

static void switch_step(struct sim *s)
{
    struct logging *l = logging(s);
    bool opened = s->storage.opened == l->turning.number;
    if (!logging_switch_keep(l, l->keeper, opened, fill_options, s))
        return;
    wake_workers(s);
    wake_host(s);
}

// The first log of a server that was started without any.
static void begin_late(struct sim *s)
{
    struct logging *l = logging(s);
    int error = 0;
    if (logging_switch_phase(&l->turning) != SWITCH_OPENS || s->storage.opened != l->turning.number)
        return;
    struct keeper *k = make_keeper(s, false);
    const char *why = k != NULL ? logging_switch_begin_late(l, k, &error) : "the data directory cannot be read";
    if (why == NULL)
        return;
    keeper_free(k);
    logging_switch_fail(l, SWITCH_CLOSES, why, error);
    wake_workers(s);
}

// How long it rests.
static uint64_t load(struct sim *s)
{
    bool waits = false;
    struct keeper *k = logging(s)->keeper;
    enum keeper_load state = keeper_load_step(k, &waits);
    if (state == KEEPER_REFUSED)
        refuse(s, keeper_report(k)->text);
    if (state == KEEPER_LOADED)
        begin(s);
    return waits ? KEEPER_REST_NS : 0;
}

static void end_keeper(struct sim *s)
{
    struct logging *l = logging(s);
    const struct log *log = logging_log(l);
    s->storage.keeper_over = true;
    if (logging_stage(l) != LOGGING_SERVES)
        return;
    switch_step(s);
    (void)keeper_step(l->keeper);
    s->storage.unclean = log != NULL && !log_stopped_clean(log);
    int rc = keeper_end(l->keeper, !s->storage.unclean);
    if (rc < 0 && !s->world.disk->cut)
        world_fail(&s->world, "the keeper cannot write the end: %s", strerror(-rc));
}

// It may wait for a segment.
static void wake_log(struct sim *s)
{
    const struct log *log = logging_log(logging(s));
    if (log != NULL && log_segments_given(log))
        wake_host(s);
}

static void run_keeper(struct sim *s)
{
    struct logging *l = logging(s);
    uint64_t rest = 0;
    s->storage.keeper_next_ns = NEVER; // unless somebody calls meanwhile
    if (s->storage.log_over) {
        end_keeper(s);
        return;
    }
    if (logging_stage(l) == LOGGING_NONE) {
        begin_late(s);
        rest = logging_stage(l) == LOGGING_NONE ? KEEPER_REST_NS : 0;
    } else if (logging_stage(l) == LOGGING_LOADING) {
        rest = load(s);
    } else if (logging_stage(l) == LOGGING_MADE) {
        keeper_attach(l->keeper, logging_log(l));
        atomic_store(&l->stage, LOGGING_SERVES);
        wake_workers(s);
    } else if (logging_stage(l) == LOGGING_SERVES) {
        switch_step(s);
        rest = keeper_step(l->keeper);
    } else {
        rest = NS_PER_MS;
    }
    uint64_t next = s->world.now_ns + (rest < KEEPER_REST_NS ? rest : KEEPER_REST_NS);
    if (next < s->storage.keeper_next_ns)
        s->storage.keeper_next_ns = next;
    wake_log(s);
}

// ---- as actors

uint64_t storage_next_ns(struct sim *s, enum storage_actor actor)
{
    if (actor == STORAGE_KEEPER)
        return s->storage.keeper_over ? NEVER : s->storage.keeper_next_ns;
    if (s->storage.log_over)
        return NEVER;
    if (s->storage.log_reactor == NULL) // the worker's own reactor, when the worker has taken its last turn
        return workers_stopped(s) ? world_awake_ns(&s->world, 0) : NEVER;
    return world_awake_ns(&s->world, s->storage.log_id);
}

void storage_run(struct sim *s, enum storage_actor actor)
{
    if (actor == STORAGE_KEEPER)
        run_keeper(s);
    else if (s->storage.log_reactor == NULL)
        stop_log(s, s->reactors[0], OWNER_LOG);
    else
        run_log(s);
    if (s->world.disk->failure[0] != '\0')
        world_fail(&s->world, "the disk: %s", s->world.disk->failure);
}

bool storage_stopped(const struct sim *s)
{
    return s->storage.log_over && s->storage.keeper_over;
}
