// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/accept.h"

#include <errno.h>

#include "engine/shard/conn.h"
#include "engine/shard/export.h"
#include "engine/shard/metrics.h"
#include "reactor/clock.h"
#include "reactor/log.h"
#include "reactor/net.h"

static void refuse_full(struct worker *w, int fd)
{
    static const char text[] = "-ERR max number of clients reached\r\n";
    w->stats.connections_rejected++;
    reactor_send_now(w->reactor, fd, slice_of(text, sizeof text - 1));
    reactor_close(w->reactor, fd);
}

static void welcome_admin(struct worker *w, int fd)
{
    struct conn *c = NULL;
    if (w->admin_conns >= METRICS_CONNS_MAX || w->draining)
        reactor_close(w->reactor, fd);
    else
        c = conn_new(w, fd, false);
    if (c == NULL)
        return;
    c->admin = true;
    w->admin_conns++;
}

static void welcome(struct listener *l, int fd)
{
    struct worker *w = l->worker;
    if (unlikely((l->flags & LISTENER_EXPORT) != 0)) {
        exporter_welcome(w->exporter, fd);
        return;
    }
    if (unlikely((l->flags & LISTENER_ADMIN) != 0)) {
        welcome_admin(w, fd);
        return;
    }
    uint32_t before = atomic_fetch_add_explicit(&w->server->connected, 1, memory_order_relaxed);
    if (before >= (uint64_t)w->options.maxclients || w->draining) {
        atomic_fetch_sub_explicit(&w->server->connected, 1, memory_order_relaxed);
        refuse_full(w, fd);
        return;
    }
    w->stats.connections_received++;
    if (!(l->flags & LISTENER_UNIX)) {
        (void)net_set_nodelay(fd);
        if (w->options.tcp_keepalive > 0)
            (void)net_set_keepalive(fd, (int)w->options.tcp_keepalive);
    }
    struct conn *c = conn_new(w, fd, (l->flags & LISTENER_UNIX) != 0);
    if (c == NULL)
        atomic_fetch_sub_explicit(&w->server->connected, 1, memory_order_relaxed);
    else if (l->flags & LISTENER_DIRECT)
        c->only_shard = l->shard;
}

// Out of descriptors or memory: those who are connected are served on, and it is said once a second at most.
static void complain(struct worker *w, int error)
{
    w->stats.accept_errors++;
    if (w->reactor->now_ns - w->accept_complaint_ns < NS_PER_SEC && w->accept_complaint_ns != 0)
        return;
    w->accept_complaint_ns = w->reactor->now_ns;
    log_line(LOG_WARNING, "cannot accept connections: %s", strerror(-error));
}

static void cancel(struct listener *l)
{
    l->cancel = (struct op){ .kind = OP_CANCEL, .owner = OWNER_LISTENER_CANCEL, .fd = l->op.fd, .fixed_buffer = -1, .target = &l->op };
    reactor_submit(l->worker->reactor, &l->cancel);
}

// The kernel gives a connection to whoever has waited longest at a socket, and a multishot accept never leaves its place: one
// worker would get all. So whoever got one goes to the end of the queue.
static void give_way(struct listener *l)
{
    if ((l->flags & LISTENER_SHARED) && l->cancel.state == OP_IDLE)
        cancel(l);
}

void accept_on_completion(struct listener *l, const struct completion *done)
{
    struct worker *w = l->worker;
    if (done->result >= 0)
        welcome(l, done->result);
    if (w->draining)
        return;
    if (done->flags & COMPLETION_MORE) {
        give_way(l);
    } else if (done->result < 0 && done->result != -ECANCELED) {
        complain(w, done->result);
        l->paused = true; // armed by the clock, a tenth of a second later: at once it would only fail again
    } else if (l->cancel.state == OP_IDLE) {
        reactor_submit(w->reactor, &l->op);
    }
}

void accept_on_cancelled(struct listener *l)
{
    if (!l->worker->draining && !l->paused && l->op.state == OP_IDLE)
        reactor_submit(l->worker->reactor, &l->op);
}

void accept_retry(struct worker *w)
{
    for (uint32_t i = 0; i < w->listener_count; i++) {
        struct listener *l = &w->listeners[i];
        if (!l->paused || l->op.state != OP_IDLE || l->cancel.state != OP_IDLE)
            continue;
        l->paused = false;
        reactor_submit(w->reactor, &l->op);
    }
}

void accept_stop(struct worker *w)
{
    for (uint32_t i = 0; i < w->listener_count; i++) {
        struct listener *l = &w->listeners[i];
        l->paused = false;
        if (l->op.state != OP_IDLE && l->cancel.state == OP_IDLE)
            cancel(l);
    }
}
