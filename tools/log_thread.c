// SPDX-License-Identifier: Apache-2.0
// The thread that hosts the log role where no worker does: it sleeps in its own writes and flushes, or until a worker has sent something.
// It shares no core with a worker unless there are no others. It has the priority of any thread: where cores are few, a real-time thread
// that wakes twice a flush takes them from the clients whose next writes everybody waits for.
#include "engine/shard/worker.h"
#include "reactor/clock.h"
#include "reactor/log.h"
#include "tools/durability.h"

#define OWNER_OF_LOG 1
#define IDLE_NS      (100 * NS_PER_MS)

static bool has_work(void *context)
{
    const struct durability *d = context;
    const struct logging *l = &d->server->logging;
    const struct log *log = logging_log(l);
    if (atomic_load_explicit(&d->stop_log, memory_order_acquire))
        return true;
    if (logging_switch_wants_host(l))
        return true;
    return log != NULL ? log_has_work(log) : logging_stage(l) == LOGGING_LOADED;
}

static void wake_told(struct durability *d, struct log *log)
{
    uint32_t count = d->server->worker_count;
    for (uint32_t word = 0; word < (count + 63) / 64; word++)
        for (uint64_t told = log_told(log, word); told != 0; told &= told - 1) {
            uint32_t w = word * 64 + (uint32_t)__builtin_ctzll(told);
            reactor_wake(d->server->workers[w]->reactor, d->log_reactor);
        }
}

static void turn(struct durability *d, struct log *log, uint64_t wait_ns)
{
    const struct completion *done;
    uint32_t count = reactor_turn(d->log_reactor, wait_ns, &done);
    for (uint32_t i = 0; log != NULL && i < count; i++)
        log_on_completion(log, &done[i]);
}

// NULL: it is not time, or it cannot be made.
static struct log *make(struct durability *d)
{
    struct logging *l = &d->server->logging;
    struct log *log;
    if (logging_switch_make(l, d->log_reactor, OWNER_OF_LOG, &log)) {
        keeper_thread_call(d);
        return log;
    }
    if (logging_stage(l) != LOGGING_LOADED)
        return NULL;
    int rc = logging_make(l, d->log_reactor, OWNER_OF_LOG, &log);
    if (rc < 0) {
        log_line(LOG_WARNING, "cannot make the log: error %d", -rc);
        atomic_store_explicit(&l->stage, LOGGING_REFUSED, memory_order_release);
        d->tell_main(d->server);
    } else {
        atomic_store_explicit(&l->stage, LOGGING_MADE, memory_order_release);
    }
    keeper_thread_call(d);
    return rc < 0 ? NULL : log;
}

void log_thread_run(void *durability)
{
    struct durability *d = durability;
    struct logging *l = &d->server->logging;
    struct log *log = NULL;
    bool stopping = false;
    d->log_reactor->pending = has_work;
    d->log_reactor->pending_context = d;
    for (;;) {
        bool stop = atomic_load_explicit(&d->stop_log, memory_order_acquire);
        if (log == NULL)
            log = make(d);
        if (log == NULL) {
            if (stop)
                return;
            turn(d, NULL, IDLE_NS);
            continue;
        }
        if (stop && !stopping)
            log_stop(log);
        stopping = stop;
        log_step(log);
        wake_told(d, log);
        if (log_told_keeper(log))
            keeper_thread_call(d);
        if (log_state(log) == LOG_POISONED && l->on && !atomic_exchange(&l->failed, true))
            d->tell_main(d->server);
        if (stopping && log_stopped(log) && log_idle(log))
            return;
        if (logging_switch_drained(l, log)) {
            keeper_thread_call(d);
            log = NULL;
            continue;
        }
        uint64_t wait = log_next_ns(log);
        turn(d, log, wait < IDLE_NS ? wait : IDLE_NS);
    }
}
