// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/watch.h"

#include "engine/shard/command_log.h"
#include "engine/shard/monitor.h"
#include "engine/shard/multi.h"
#include "reactor/ticks.h"

static bool must_wait(const struct worker *w, const struct conn *c, const struct command *command)
{
    uint32_t flags = command->flags;
    if (command->run == cmd_exec && c->multi != NULL)
        flags |= c->multi->flags;
    bool writes = (flags & (CMD_WRITE | CMD_MAY_REPLICATE)) != 0;
    return (w->pause.until_ms != 0 && (w->pause.all || writes)) || (writes && gate_stops_writers(w));
}

static void note_large(struct conn *c, const struct item *item)
{
    struct worker *w = c->worker;
    const struct request *rq = &item->request;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < rq->argc; i++)
        bytes += rq->argv[i].len;
    if (bytes >= w->watch.request_min)
        stopwatch_keep(w, LOG_LARGE_REQUEST, stopwatch_large(w, LOG_LARGE_REQUEST, item->command, rq->argv, rq->argc, bytes), &c->client);
}

bool watch_request(struct conn *c, const struct item *item)
{
    struct worker *w = c->worker;
    if (item->refusal != REFUSE_NOT)
        return true;
    if (must_wait(w, c, item->command)) {
        c->held = true;
        return false;
    }
    note_large(c, item);
    if (monitor_anybody(w->server))
        monitor_feed(c, item);
    return true;
}

static cold void attend(struct worker *w)
{
    uint64_t nap_until = atomic_load_explicit(&w->server->nap_until_ns, memory_order_relaxed);
    w->watching |= monitor_anybody(w->server);
    if (nap_until > w->reactor->now_ns)
        reactor_nap(w->reactor, nap_until - w->reactor->now_ns);
}

// Who had to wait tries again.
static void go_on(struct worker *w)
{
    list_for_each (node, &w->conns) {
        struct conn *c = container_of(node, struct conn, link);
        if (!c->held)
            continue;
        c->held = false;
        conn_go_on_later(c);
    }
}

void watch_turn(struct worker *w)
{
    if (unlikely(w->pause.until_ms != 0) && w->now_ms >= w->pause.until_ms)
        watch_unpause(w);
    bool stopped = gate_stops_writers(w);
    if (unlikely(w->stopped && !stopped))
        go_on(w);
    w->stopped = stopped;
    w->watching = w->pause.until_ms != 0 || stopped;
    if (unlikely(atomic_load_explicit(&w->server->attention, memory_order_acquire) != 0))
        attend(w);
}

// As Redis: a second pause makes the first longer or stricter, never the other way round.
void watch_pause(struct worker *w, int64_t until_ms, bool all)
{
    w->pause.all |= all;
    if (until_ms > w->pause.until_ms)
        w->pause.until_ms = until_ms;
    w->watching = true;
}

void watch_unpause(struct worker *w)
{
    w->pause = (struct pause){ 0 };
    go_on(w);
}
