// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/logging.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/shard/conn.h"
#include "engine/shard/worker.h"
#include "reactor/clock.h"
#include "reactor/log.h"

int logging_init(struct logging *l, uint32_t workers)
{
    l->ports = aligned_alloc(64, workers * sizeof *l->ports);
    l->port_list = calloc(workers, sizeof(struct log_port *));
    if (l->ports == NULL || l->port_list == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < workers; i++) {
        log_port_init(&l->ports[i]);
        l->port_list[i] = &l->ports[i];
    }
    l->options.ports = workers;
    return 0;
}

void logging_deinit(struct logging *l)
{
    for (uint32_t i = 0; l->ports != NULL && i < l->options.ports; i++)
        log_port_deinit(&l->ports[i]);
    free(l->ports);
    free(l->port_list);
    l->ports = NULL;
    l->port_list = NULL;
}

bool logging_hosts(const struct worker *w)
{
    const struct logging *l = &w->server->logging;
    return l->host == NULL && w->id == 0;
}

int logging_make(struct logging *l, struct reactor *r, uint8_t owner, struct log **out)
{
    l->options.owner = owner;
    int rc = log_new(out, &l->options, r, l->port_list);
    if (rc == 0)
        atomic_store_explicit(&l->log, *out, memory_order_release);
    return rc;
}

static void make(struct worker *w)
{
    struct logging *l = &w->server->logging;
    struct log *log;
    int rc = logging_make(l, w->reactor, OWNER_LOG, &log);
    if (rc < 0) {
        log_line(LOG_WARNING, "cannot make the log: %s", strerror(-rc));
        atomic_store_explicit(&l->stage, LOGGING_REFUSED, memory_order_release);
        w->server->host->stop_requested(w->server);
        return;
    }
    atomic_store_explicit(&l->stage, LOGGING_MADE, memory_order_release);
}

void logging_step(struct worker *w)
{
    struct logging *l = &w->server->logging;
    struct log *log = logging_log(l);
    if (log != NULL) {
        log_step(log);
        (void)log_told(log, 0); // the worker looks by itself
        bool told = log_told_keeper(log);
        if ((logging_switch_drained(l, log) || told) && l->wake_keeper != NULL)
            l->wake_keeper(l->context);
    } else if (logging_stage(l) == LOGGING_LOADED) {
        make(w);
    }
}

void logging_stop(struct worker *w)
{
    struct logging *l = &w->server->logging;
    struct log *log = logging_log(l);
    if (log == NULL)
        return;
    log_stop(log);
    while (!log_stopped(log) || !log_idle(log)) {
        const struct completion *done;
        log_step(log);
        if (log_told_keeper(log) && l->wake_keeper != NULL)
            l->wake_keeper(l->context);
        uint64_t wait = log_next_ns(log);
        uint32_t count = reactor_turn(w->reactor, wait < NS_PER_MS ? wait : NS_PER_MS, &done);
        for (uint32_t i = 0; i < count; i++)
            if (done[i].op->owner == OWNER_LOG)
                log_on_completion(log, &done[i]);
    }
}

void logging_free(struct worker *w)
{
    struct logging *l = &w->server->logging;
    struct log *log = atomic_exchange_explicit(&l->log, NULL, memory_order_acq_rel);
    if (log != NULL)
        log_free(log);
    // One that was being left when the server was stopped: it has this worker's reactor as well.
    if (l->turning.old != NULL)
        log_free(l->turning.old);
    l->turning.old = NULL;
}

enum log_sync logging_sync(int appendfsync)
{
    static const enum log_sync SYNCS[] = {
        [APPENDFSYNC_ALWAYS] = LOG_SYNC_ALWAYS, [APPENDFSYNC_EVERYSEC] = LOG_SYNC_EVERYSEC, [APPENDFSYNC_NO] = LOG_SYNC_NO
    };
    return SYNCS[appendfsync];
}

void logging_apply_options(struct worker *w)
{
    struct log *log = logging_log(&w->server->logging);
    if (log != NULL)
        log_set_sync(log, logging_sync(w->options.appendfsync));
}

void logging_wake(struct worker *w, bool sync)
{
    const struct logging *l = &w->server->logging;
    const struct log *log = logging_log(l);
    if (l->host != NULL && log_wants_wake(log, sync))
        reactor_wake(l->host, w->reactor);
}
