// SPDX-License-Identifier: Apache-2.0
#include "tools/durability.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/shard/worker.h"
#include "reactor/clock.h"
#include "reactor/log.h"
#include "tools/arguments.h"

#define LOCK_WAIT_S    60
#define LOCK_SAY_S     5
#define LOCK_SWITCH_S  1 // while clients are served: what a server that has just ended may still hold
#define SEGMENTS_READY 2
#define SEGMENTS_SPARE 2

static bool is_wanted(const struct options *o)
{
    return o->appendonly || o->save[0] != '\0';
}

// ---- the directory

// Another process may still be writing: one that was killed a moment ago, until the kernel has finished what it had begun.
static int take_lock(struct durability *d, int seconds)
{
    const char *path = d->disk->path;
    for (int tries = 0;; tries++) {
        d->lock_fd = disk_lock(d->disk);
        if (d->lock_fd != -EWOULDBLOCK)
            break;
        if (tries % (LOCK_SAY_S * 10) == 0)
            log_line(LOG_NOTICE, "data directory %s is in use by another process: waiting, %d s at most", path, seconds - tries / 10);
        if (tries >= seconds * 10)
            return complain("data directory %s is in use by another process", path);
        nanosleep(&(struct timespec){ .tv_nsec = 100 * NS_PER_MS }, NULL);
    }
    return d->lock_fd >= 0 ? 0 : complain("data directory %s: cannot lock it: %s", path, strerror(-d->lock_fd));
}

// A copy of the manifest. 1: it is not there.
static int read_manifest(struct disk *disk, const char *name, uint8_t *block)
{
    uint64_t size;
    int fd = disk->ops->open(disk, name, DISK_READ, &size);
    if (fd == -ENOENT)
        return 1;
    int rc = fd < 0 ? fd : size < BLOCK_SIZE ? 1 : disk->ops->read(disk, fd, block, BLOCK_SIZE, 0);
    if (fd >= 0)
        disk->ops->close(disk, fd);
    return rc;
}

// What must be known before there are workers. A manifest that is not valid is for the keeper to refuse.
static int look(struct durability *d)
{
    static const char *const NAMES[2] = MANIFEST_NAMES;
    const struct options *o = &d->server->options;
    struct manifest m = { 0 };
    const char *why;
    uint8_t *blocks = disk_memory(2 * (size_t)BLOCK_SIZE);
    if (blocks == NULL)
        return complain("out of memory");
    bool there[2];
    for (int i = 0; i < 2; i++)
        there[i] = read_manifest(d->disk, NAMES[i], blocks + (size_t)i * BLOCK_SIZE) == 0;
    int rc = manifest_pick(&m, there[0] ? blocks : NULL, there[1] ? blocks + BLOCK_SIZE : NULL, &why);
    disk_memory_free(blocks, 2 * (size_t)BLOCK_SIZE);
    if (rc != 0)
        return 0;
    d->shards = m.shards;
    if (o->shards != 0 && o->shards != m.shards)
        return complain("data directory %s has %" PRIu32 " shards, not %" PRId64, d->disk->path, m.shards, o->shards);
    if (o->workers > m.shards)
        return complain("data directory %s has %" PRIu32 " shards: too few for %" PRId64 " workers", d->disk->path, m.shards, o->workers);
    if (m.route_mode != (uint32_t)o->route_mode)
        return complain("data directory %s was made with another route-mode", d->disk->path);
    return 0;
}

static int choose_direct(struct durability *d)
{
    const struct options *o = &d->server->options;
    struct disk *disk = d->disk;
    if (!disk->direct && o->log_direct == OPTION_YES)
        return complain("data directory %s: the file system refuses O_DIRECT (log-direct yes)", disk->path);
    if (!disk->direct)
        log_line(LOG_WARNING, "data directory %s: the file system refuses O_DIRECT: writes go through the page cache", disk->path);
    if (o->log_direct == OPTION_NO)
        disk->direct = false;
    return 0;
}

// Nobody asked for one; but what an earlier start left is loaded, and can be saved to.
static int open_old(struct durability *d)
{
    const char *why = "";
    if (disk_open(&d->disk, d->server->options.appenddirname, &why) < 0) {
        d->disk = NULL;
        return 0;
    }
    uint8_t *block = disk_memory(BLOCK_SIZE);
    static const char *const NAMES[2] = MANIFEST_NAMES;
    bool there = false;
    for (int i = 0; i < 2 && block != NULL; i++)
        there |= read_manifest(d->disk, NAMES[i], block) == 0;
    disk_memory_free(block, BLOCK_SIZE);
    if (!there)
        d->disk = disk_close(d->disk);
    return 0;
}

static int open_new(struct durability *d)
{
    const struct options *o = &d->server->options;
    const char *why = "";
    int rc = disk_make(o->appenddirname);
    if (rc < 0)
        return complain("data directory %s: cannot make it: %s", o->appenddirname, strerror(-rc));
    rc = disk_open(&d->disk, o->appenddirname, &why);
    return rc < 0 ? complain("data directory %s: %s (%s)", o->appenddirname, why, strerror(-rc)) : 0;
}

static int take_over(struct durability *d, int seconds)
{
    int rc = take_lock(d, seconds);
    if (rc == 0)
        rc = choose_direct(d);
    return rc == 0 ? look(d) : rc;
}

int durability_open(struct durability *d, struct server *s)
{
    *d = (struct durability){ .server = s, .lock_fd = -1 };
    s->logging.wake_keeper = keeper_thread_call;
    s->logging.context = d;
    int rc = is_wanted(&s->options) ? open_new(d) : open_old(d);
    return rc != 0 || d->disk == NULL ? rc : take_over(d, LOCK_WAIT_S);
}

// ---- the threads

static void say(void *context, int level, const char *text)
{
    log_line((enum log_level)level, "%s", text);
}

static void warn(void *context, const char *text)
{
    log_line(LOG_WARNING, "%s", text);
}

void durability_wake_workers(void *durability)
{
    const struct durability *d = durability;
    for (uint32_t i = 0; i < d->server->worker_count; i++)
        if (d->server->workers[i] != NULL)
            reactor_wake(d->server->workers[i]->reactor, NULL);
}

static int prepare(struct durability *d, bool log)
{
    struct server *s = d->server;
    const struct options *o = &s->options;
    struct keeper_options k = {
        .recover = { .shards = d->shards, .segment_size = o->log_segment_size, .warn = warn, .context = d },
        .shards = s->route.shards,
        .route_mode = (uint32_t)o->route_mode,
        .workers = s->worker_count,
        .segments_ready = SEGMENTS_READY,
        .segments_spare = SEGMENTS_SPARE,
        .log = log,
        .wake = keeper_thread_call,
        .wake_workers = durability_wake_workers,
        .say = say,
        .context = d,
    };
    int rc = s->logging.ports == NULL ? logging_init(&s->logging, s->worker_count) : 0;
    if (rc == 0)
        rc = keeper_new(&d->keeper, d->disk, &k);
    return rc < 0 ? complain("data directory %s: %s", d->disk->path, strerror(-rc)) : 0;
}

int durability_prepare(struct durability *d)
{
    struct logging *l = &d->server->logging;
    if (d->disk == NULL)
        return 0;
    l->on = d->server->options.appendonly;
    int rc = prepare(d, l->on);
    l->keeper = d->keeper;
    atomic_store(&l->stage, LOGGING_LOADING);
    return rc;
}

static bool hosted_by_worker(const struct server *s, const struct reactor *worker)
{
    switch ((enum option_log_host)s->options.log_host) {
    case LOG_HOST_THREAD:
        return false;
    case LOG_HOST_REACTOR:
        return s->worker_count == 1;
    case LOG_HOST_AUTO:
        break;
    }
    return s->worker_count == 1 && worker->backend == REACTOR_URING;
}

static bool called(void *context)
{
    struct durability *d = context;
    return atomic_load_explicit(&d->keeper_called, memory_order_acquire);
}

static int open_reactor(struct reactor **out)
{
    const char *why = "";
    struct reactor_options o = { .backend = REACTOR_BLOCKING, .cpu = -1 };
    int rc = reactor_open(out, &o, &why);
    return rc == 0 ? 0 : complain("cannot open a reactor for the log: %s (%s)", why, strerror(-rc));
}

int durability_hold(struct durability *d, struct reactor *worker)
{
    if (d->disk == NULL || !d->server->logging.on || !hosted_by_worker(d->server, worker))
        return 0;
    return durability_hold_now(d, worker);
}

int durability_hold_now(struct durability *d, struct reactor *worker)
{
    int rc = d->held ? 0 : reactor_hold(worker, d->lock_fd);
    d->held = rc == 0;
    return rc;
}

static int start_log(struct durability *d, struct reactor *worker)
{
    struct logging *l = &d->server->logging;
    if (hosted_by_worker(d->server, worker) || d->log_runs)
        return 0;
    int rc = open_reactor(&d->log_reactor);
    if (rc == 0)
        rc = reactor_hold(d->log_reactor, d->lock_fd);
    if (rc == 0) {
        l->host = d->log_reactor;
        rc = thread_start(&d->log_thread, "log", -1, log_thread_run, d);
    }
    d->log_runs = rc == 0;
    return rc;
}

static int start_keeper(struct durability *d)
{
    struct reactor *r = d->keeper_reactor;
    int rc = r == NULL ? open_reactor(&r) : 0;
    if (rc < 0)
        return rc;
    r->pending = called;
    r->pending_context = d;
    d->keeper_reactor = r;
    rc = thread_start(&d->keeper_thread, "keeper", -1, keeper_thread_run, d);
    d->keeper_runs = rc == 0;
    return rc;
}

int durability_start(struct durability *d, struct reactor *worker, void (*tell_main)(struct server *s))
{
    d->tell_main = tell_main;
    if (d->disk == NULL)
        return 0;
    int rc = d->server->logging.on ? start_log(d, worker) : 0;
    if (rc == 0)
        rc = start_keeper(d);
    return rc < 0 ? complain("cannot start the log: %s", strerror(-rc)) : 0;
}

// ---- switched on while the server runs

// What was opened for nothing.
static void give_back(struct durability *d)
{
    if (d->keeper_runs || d->log_runs || d->disk == NULL)
        return; // it is in use
    d->keeper = keeper_free(d->keeper);
    if (d->lock_fd >= 0)
        disk_unlock(d->disk, d->lock_fd);
    d->lock_fd = -1;
    d->disk = disk_close(d->disk);
}

// 0, or what could not be done; more is in the log.
static const char *open_all(struct durability *d)
{
    struct server *s = d->server;
    if (d->disk == NULL && open_new(d) != 0)
        return "the data directory cannot be made or opened";
    if (d->lock_fd < 0 && take_over(d, LOCK_SWITCH_S) != 0)
        return "the data directory cannot be taken over";
    if (d->shards != 0 && d->keeper == NULL)
        return "the data directory holds data that this server has not loaded";
    if (d->keeper == NULL && prepare(d, false) != 0)
        return "out of memory";
    if (!hosted_by_worker(s, s->workers[0]->reactor) && start_log(d, s->workers[0]->reactor) < 0)
        return "the log's thread cannot be started";
    if (!d->keeper_runs && start_keeper(d) < 0)
        return "the keeper's thread cannot be started";
    return NULL;
}

void durability_switch(struct durability *d)
{
    struct logging *l = &d->server->logging;
    if (logging_switch_phase(&l->turning) != SWITCH_OPENS)
        return;
    if (atomic_exchange_explicit(&d->keeper_over, false, memory_order_acquire)) {
        thread_join(&d->keeper_thread);
        d->keeper_runs = false;
        d->keeper = keeper_free(d->keeper);
    }
    const char *why = open_all(d);
    if (why != NULL) {
        give_back(d);
        logging_switch_fail(l, SWITCH_CLOSES, why, 0);
        durability_wake_workers(d);
        return;
    }
    atomic_store_explicit(&d->opened, l->turning.number, memory_order_release);
    keeper_thread_call(d);
}

void durability_stop(struct durability *d)
{
    if (d->log_runs) {
        atomic_store(&d->stop_log, true);
        reactor_wake(d->log_reactor, NULL);
        thread_join(&d->log_thread);
    }
    if (d->keeper_runs) {
        atomic_store(&d->stop_keeper, true);
        keeper_thread_call(d);
        thread_join(&d->keeper_thread);
    }
    d->log_runs = d->keeper_runs = false;
}

void durability_close(struct durability *d)
{
    struct logging *l = &d->server->logging;
    struct log *log = atomic_load(&l->log);
    if (log != NULL)
        log_free(log);
    if (l->turning.old != NULL)
        log_free(l->turning.old);
    l->keeper = NULL;
    d->keeper = keeper_free(d->keeper);
    logging_deinit(l);
    if (d->log_reactor != NULL)
        reactor_close_all(d->log_reactor);
    if (d->keeper_reactor != NULL)
        reactor_close_all(d->keeper_reactor);
    if (d->lock_fd >= 0)
        disk_unlock(d->disk, d->lock_fd);
    if (d->disk != NULL)
        disk_close(d->disk);
    d->disk = NULL;
}
