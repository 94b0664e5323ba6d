// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/export.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/state.h"
#include "engine/shard/conn.h"
#include "engine/shard/worker.h"
#include "reactor/clock.h"
#include "reactor/log.h"
#include "reactor/net.h"
#include "replica/export.h"

#define WAITING_MAX (2 * (uint64_t)EXPORT_BYTES_MAX) // bytes on their way to worker 0
#define CHATTER_MAX 4096                             // bytes that a subscriber may say behind its token
#define NEVER       UINT64_MAX

enum peer_state {
    PEER_RESTS,   // connect: waits before it dials
    PEER_DIALS,   //
    PEER_SAYS,    // connect: the token is being sent
    PEER_LISTENS, // listen: the token is awaited
    PEER_LIVE,
    PEER_CLOSING, // shut down; its ops have not come back
};

static const uint32_t PEER_MOVES[] = {
    [PEER_RESTS] = STATE(PEER_DIALS) | STATE(PEER_CLOSING),
    [PEER_DIALS] = STATE(PEER_SAYS) | STATE(PEER_LIVE) | STATE(PEER_CLOSING),
    [PEER_SAYS] = STATE(PEER_LIVE) | STATE(PEER_CLOSING),
    [PEER_LISTENS] = STATE(PEER_LIVE) | STATE(PEER_CLOSING),
    [PEER_LIVE] = STATE(PEER_CLOSING),
    [PEER_CLOSING] = STATE(PEER_RESTS),
};

struct peer {
    struct list link;
    struct exporter *exporter;
    struct op recv, send, cancel;
    int fd;
    uint8_t state;
    bool joined;          // has a place in the queue
    uint64_t deadline_ns; // of what it is doing
    uint64_t heard;       // bytes behind the token
    struct export_cursor cursor;
    struct export_set set;
    struct msghdr message;
    struct iovec pieces[EXPORT_PIECES];
    uint32_t line_len;
    uint8_t line[EXPORT_AUTH_MAX + 1]; // what it says, or is told
};

struct exporter {
    struct worker *worker;
    struct export_port *port;
    struct export_queue queue;
    struct list peers;
    struct peer *collector; // of connect mode, for good
    struct sockaddr_storage address;
    uint32_t address_len;
    uint32_t count; // subscribers
    bool behind;    // writers wait for the queue
    bool stopping;
};

static void count(_Atomic uint64_t *counter, uint64_t more)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + more, memory_order_relaxed);
}

// ---- every worker

static int port_init(struct export_port *p)
{
    p->tables = malloc(sizeof *p->tables);
    if (p->tables == NULL)
        return -ENOMEM;
    crc32_init(p->tables);
    return 0;
}

static void port_deinit(struct export_port *p)
{
    for (struct export_block *b = atomic_load(&p->in), *next; b != NULL; b = next) {
        next = b->next;
        export_block_free(b);
    }
    free(p->tables);
    p->tables = NULL;
}

struct values {
    struct export_values values; // first
    struct worker *worker;
};

static bool value_now(struct export_values *v, uint32_t shard, struct slice key, struct slice *value, int64_t *deadline_ms)
{
    struct worker *w = ((struct values *)(void *)v)->worker;
    struct keyspace *ks = store_keyspace(w->store, shard, 0);
    const struct entry *e = keyspace_peek(ks, key, keyspace_hash(ks, key), INT64_MIN);
    if (e == NULL || entry_type(e) != ENTRY_STRING)
        return false;
    *value = entry_value(e);
    *deadline_ms = entry_deadline(e);
    return true;
}

void export_turn_records(struct worker *w, struct slice records)
{
    struct values values = { .values = { .get = value_now }, .worker = w };
    struct export_port *p = &w->server->export;
    struct export_block *b;
    bool effects = atomic_load_explicit(&p->wanted, memory_order_relaxed) == EXPORT_EFFECTS;
    bool room = atomic_load_explicit(&p->waiting, memory_order_relaxed) <= WAITING_MAX;
    int rc = room ? export_encode(&b, p->tables, records, (uint64_t)w->now_ms, effects, &values.values) : -ENOBUFS;
    assert(rc != -EBADMSG); // our own records
    if (rc != 0) {
        atomic_fetch_add_explicit(&p->lost, 1, memory_order_relaxed);
        return;
    }
    if (b == NULL)
        return;
    atomic_fetch_add_explicit(&p->waiting, b->len, memory_order_relaxed);
    struct export_block *first = atomic_load_explicit(&p->in, memory_order_relaxed);
    do {
        b->next = first;
    } while (!atomic_compare_exchange_weak_explicit(&p->in, &first, b, memory_order_release, memory_order_relaxed));
    if (w->id != 0)
        reactor_wake(w->server->workers[0]->reactor, w->reactor);
}

// ---- who wants what

static void refresh_wanted(struct exporter *x)
{
    uint32_t wanted = x->collector != NULL ? EXPORT_PLAIN : EXPORT_NOBODY;
    uint64_t live = 0;
    list_for_each (node, &x->peers) {
        const struct peer *p = container_of(node, struct peer, link);
        live += p->state == PEER_LIVE;
        if (!p->joined)
            continue;
        uint32_t wish = p->cursor.effects ? EXPORT_EFFECTS : EXPORT_PLAIN;
        wanted = wish > wanted ? wish : wanted;
    }
    atomic_store_explicit(&x->port->wanted, wanted, memory_order_relaxed);
    atomic_store_explicit(&x->port->subscribers, live, memory_order_relaxed);
}

static void refresh_behind(struct exporter *x)
{
    struct server *s = x->worker->server;
    bool full = x->queue.keep && export_queue_full(&x->queue) && !x->stopping;
    atomic_store_explicit(&x->port->queued, x->queue.frames, memory_order_relaxed);
    if (likely(full == x->behind))
        return;
    x->behind = full;
    if (full) {
        atomic_fetch_add_explicit(&s->logs_behind, 1, memory_order_relaxed);
        return;
    }
    if (atomic_fetch_sub_explicit(&s->logs_behind, 1, memory_order_relaxed) == 1)
        for (uint32_t i = 0; i < s->worker_count; i++)
            reactor_wake(s->workers[i]->reactor, x->worker->reactor);
}

// ---- a peer's life

static uint64_t in_ms(const struct exporter *x, int64_t ms)
{
    return x->worker->reactor->now_ns + (uint64_t)ms * NS_PER_MS;
}

static struct op peer_op(enum op_owner owner, int fd)
{
    return (struct op){ .owner = (uint8_t)owner, .fd = fd, .fixed_buffer = -1 };
}

static void peer_ops(struct peer *p, int fd)
{
    p->fd = fd;
    p->recv = peer_op(OWNER_EXPORT_RECV, fd);
    p->send = peer_op(OWNER_EXPORT_SEND, fd);
    p->cancel = peer_op(OWNER_EXPORT_CANCEL, fd);
    p->heard = 0;
}

static void arm_recv(struct peer *p)
{
    p->recv.kind = OP_RECV;
    reactor_submit(p->exporter->worker->reactor, &p->recv);
}

// Ends what is in flight; peer_settle does the rest when it has come back.
static void peer_close(struct peer *p)
{
    struct reactor *r = p->exporter->worker->reactor;
    if (p->state == PEER_CLOSING)
        return;
    if (p->state == PEER_DIALS) {
        p->cancel.kind = OP_CANCEL;
        p->cancel.target = &p->send;
        reactor_submit(r, &p->cancel);
    } else if (p->state != PEER_RESTS) {
        reactor_shutdown(r, p->fd);
    }
    state_move(&p->state, PEER_CLOSING, PEER_MOVES);
    p->deadline_ns = NEVER;
    refresh_wanted(p->exporter);
}

static void peer_free(struct peer *p)
{
    struct exporter *x = p->exporter;
    if (p->joined)
        export_cursor_leave(&x->queue, &p->cursor);
    export_set_clear(&p->set);
    list_remove(&p->link);
    if (p == x->collector)
        x->collector = NULL;
    else
        x->count--;
    free(p);
    refresh_wanted(x);
}

static bool peer_idle(const struct peer *p)
{
    return p->recv.state == OP_IDLE && p->send.state == OP_IDLE && p->cancel.state == OP_IDLE;
}

// The collector keeps its place in the queue, and the frame that was cut begins again.
static void peer_settle(struct peer *p)
{
    struct exporter *x = p->exporter;
    if (p->state != PEER_CLOSING || !peer_idle(p))
        return;
    if (p->fd >= 0)
        reactor_close(x->worker->reactor, p->fd);
    p->fd = -1;
    if (p != x->collector || x->stopping) {
        peer_free(p);
        return;
    }
    export_set_rewind(&p->set);
    state_move(&p->state, PEER_RESTS, PEER_MOVES);
    p->deadline_ns = in_ms(x, x->worker->options.wal_export_reconnect_backoff_ms);
}

static struct peer *peer_new(struct exporter *x, int fd, enum peer_state state)
{
    struct peer *p = calloc(1, sizeof *p);
    if (p == NULL)
        return NULL;
    p->exporter = x;
    p->state = (uint8_t)state;
    peer_ops(p, fd);
    list_append(&x->peers, &p->link);
    return p;
}

// ---- sending

static void pump(struct peer *p)
{
    struct exporter *x = p->exporter;
    if (p->state != PEER_LIVE || p->send.state != OP_IDLE || !export_set_fill(&p->set, &x->queue, &p->cursor))
        return;
    p->message = (struct msghdr){ .msg_iov = p->pieces, .msg_iovlen = export_set_view(&p->set, p->pieces) };
    p->send.kind = OP_SENDV;
    p->send.data = &p->message;
    p->deadline_ns = in_ms(x, x->worker->options.wal_export_write_timeout_ms);
    reactor_submit(x->worker->reactor, &p->send);
}

static void go_live(struct peer *p, bool effects)
{
    struct exporter *x = p->exporter;
    state_move(&p->state, PEER_LIVE, PEER_MOVES);
    p->deadline_ns = NEVER;
    if (!p->joined)
        export_cursor_join(&x->queue, &p->cursor, effects);
    p->joined = true;
    refresh_wanted(x);
    pump(p);
}

static void on_frames_sent(struct peer *p, int32_t result)
{
    struct export_port *port = p->exporter->port;
    if (result <= 0) {
        peer_close(p);
        return;
    }
    count(&port->bytes, (uint64_t)result);
    count(&port->frames, export_set_sent(&p->set, (uint64_t)result));
    p->deadline_ns = NEVER;
    pump(p);
}

// ---- connect

static void say_token(struct peer *p)
{
    struct exporter *x = p->exporter;
    const char *token = x->worker->options.wal_export_token;
    if (token[0] == '\0') {
        go_live(p, false);
        return;
    }
    state_move(&p->state, PEER_SAYS, PEER_MOVES);
    p->line_len = (uint32_t)snprintf((char *)p->line, sizeof p->line, "FCWAL-AUTH/1 %s\n", token);
    assert(p->line_len < sizeof p->line); // the option's bound
    p->send.kind = OP_SEND;
    p->send.data = p->line;
    p->send.len = p->line_len;
    p->deadline_ns = in_ms(x, x->worker->options.wal_export_write_timeout_ms);
    reactor_submit(x->worker->reactor, &p->send);
}

static void dial(struct peer *p)
{
    struct exporter *x = p->exporter;
    int fd = net_open_socket(x->address.ss_family);
    if (fd < 0) {
        p->deadline_ns = in_ms(x, x->worker->options.wal_export_reconnect_backoff_ms);
        return;
    }
    peer_ops(p, fd);
    state_move(&p->state, PEER_DIALS, PEER_MOVES);
    p->send.kind = OP_CONNECT;
    p->send.data = &x->address;
    p->send.len = x->address_len;
    p->deadline_ns = in_ms(x, x->worker->options.wal_export_connect_timeout_ms);
    reactor_submit(x->worker->reactor, &p->send);
}

static void on_dialled(struct peer *p, int32_t result)
{
    if (result < 0) {
        peer_close(p);
        return;
    }
    count(&p->exporter->port->connects, 1);
    (void)net_set_nodelay(p->fd);
    arm_recv(p);
    say_token(p);
}

// ---- listen

void exporter_welcome(struct exporter *x, int fd)
{
    struct worker *w = x->worker;
    struct peer *p = NULL;
    if (x->stopping || x->count >= (uint64_t)w->options.wal_export_max_subscribers)
        count(&x->port->crowded, 1);
    else
        p = peer_new(x, fd, PEER_LISTENS);
    if (p == NULL) {
        reactor_close(w->reactor, fd);
        return;
    }
    x->count++;
    (void)net_set_nodelay(fd);
    p->deadline_ns = in_ms(x, w->options.wal_export_connect_timeout_ms);
    arm_recv(p);
}

static void refuse(struct peer *p, const char *why)
{
    char peer[NET_NAME_MAX], own[NET_NAME_MAX];
    reactor_names(p->exporter->worker->reactor, p->fd, peer, own, sizeof peer);
    log_line(LOG_VERBOSE, "live export: %s is closed: %s", peer, why);
    count(&p->exporter->port->refused, 1);
    peer_close(p);
}

static void hear_token(struct peer *p, struct slice bytes)
{
    size_t room = EXPORT_AUTH_MAX - p->line_len, n = bytes.len < room ? bytes.len : room;
    if (n > 0)
        memcpy(p->line + p->line_len, bytes.data, n);
    p->line_len += (uint32_t)n;
    switch (export_auth_check(slice_of(p->line, p->line_len), slice_cstr(p->exporter->worker->options.wal_export_token))) {
    case EXPORT_AUTH_MORE:
        break;
    case EXPORT_AUTH_V1:
        go_live(p, false);
        break;
    case EXPORT_AUTH_V2:
        go_live(p, true);
        break;
    case EXPORT_AUTH_WRONG:
        refuse(p, "no valid token");
        break;
    }
}

static void on_heard(struct peer *p, const struct completion *done)
{
    if ((done->flags & COMPLETION_BUFFER) != 0) {
        if (p->state == PEER_LISTENS)
            hear_token(p, slice_of(done->data, (size_t)done->result));
        else if (p->state != PEER_CLOSING && (p->heard += (uint64_t)done->result) > CHATTER_MAX)
            refuse(p, "it says more than its token");
        reactor_buffer_return(p->exporter->worker->reactor, done->buffer);
    }
    if ((done->flags & COMPLETION_MORE) != 0 || p->state == PEER_CLOSING)
        return;
    if (done->result > 0 || done->result == -ENOBUFS)
        arm_recv(p);
    else
        peer_close(p);
}

void exporter_on_completion(struct exporter *x, const struct completion *done)
{
    struct op *op = done->op;
    struct peer *p = op->owner == OWNER_EXPORT_RECV   ? container_of(op, struct peer, recv)
                     : op->owner == OWNER_EXPORT_SEND ? container_of(op, struct peer, send)
                                                      : container_of(op, struct peer, cancel);
    if (op == &p->recv)
        on_heard(p, done);
    else if (op == &p->send && p->state == PEER_DIALS)
        on_dialled(p, done->result);
    else if (op == &p->send && p->state == PEER_SAYS && done->result > 0)
        go_live(p, false);
    else if (op == &p->send && p->state == PEER_LIVE)
        on_frames_sent(p, done->result);
    else if (op == &p->send)
        peer_close(p);
}

// ---- the turn

static void take_mail(struct exporter *x)
{
    struct export_block *newest = atomic_exchange_explicit(&x->port->in, NULL, memory_order_acquire), *oldest = NULL;
    uint64_t taken = 0;
    while (newest != NULL) {
        struct export_block *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    for (struct export_block *next; oldest != NULL; oldest = next) {
        next = oldest->next;
        oldest->next = NULL;
        taken += oldest->len;
        count(&x->port->dropped, export_queue_push(&x->queue, oldest));
    }
    atomic_fetch_sub_explicit(&x->port->waiting, taken, memory_order_relaxed);
}

// What did not happen in time.
static void too_late(struct peer *p)
{
    switch ((enum peer_state)p->state) {
    case PEER_RESTS:
        dial(p);
        break;
    case PEER_LISTENS:
        refuse(p, "no token in time");
        break;
    case PEER_DIALS:
    case PEER_SAYS:
    case PEER_LIVE:
        count(&p->exporter->port->timeouts, 1);
        peer_close(p);
        break;
    case PEER_CLOSING:
        break;
    }
}

void exporter_turn(struct exporter *x)
{
    uint64_t now_ns = x->worker->reactor->now_ns;
    bool mail = export_has_mail(x->port);
    if (mail)
        take_mail(x);
    list_for_each_safe (node, &x->peers) {
        struct peer *p = container_of(node, struct peer, link);
        if (now_ns >= p->deadline_ns)
            too_late(p);
        if (mail)
            pump(p);
        peer_settle(p);
    }
    refresh_behind(x);
}

uint64_t exporter_wait_ns(const struct exporter *x)
{
    uint64_t first = NEVER, now_ns = x->worker->reactor->now_ns;
    list_for_each (node, &x->peers) {
        const struct peer *p = container_of(node, struct peer, link);
        first = p->deadline_ns < first ? p->deadline_ns : first;
    }
    return first == NEVER ? NEVER : first > now_ns ? first - now_ns : 0;
}

bool exporter_drained(struct exporter *x, bool now)
{
    x->stopping = true;
    list_for_each_safe (node, &x->peers) {
        struct peer *p = container_of(node, struct peer, link);
        bool due = p->state == PEER_LIVE && (p->set.count > 0 || p->cursor.block != NULL || export_has_mail(x->port));
        if (now || !due)
            peer_close(p);
        peer_settle(p);
    }
    return list_empty(&x->peers);
}

// ---- making and unmaking

static int make_collector(struct exporter *x)
{
    int rc = net_address(&x->address, &x->address_len, x->worker->options.wal_export_addr);
    if (rc != 0)
        return rc;
    struct peer *p = peer_new(x, -1, PEER_RESTS);
    if (p == NULL)
        return -ENOMEM;
    export_cursor_join(&x->queue, &p->cursor, false);
    p->joined = true;
    x->collector = p;
    refresh_wanted(x);
    return 0;
}

int exporter_new(struct exporter **out, struct worker *w)
{
    const struct options *o = &w->options;
    struct exporter *x = calloc(1, sizeof *x);
    if (x == NULL)
        return -ENOMEM;
    x->worker = w;
    x->port = &w->server->export;
    list_init(&x->peers);
    export_queue_init(&x->queue, (uint64_t)o->wal_export_channel_capacity, o->wal_export_backpressure_on_full);
    int rc = port_init(x->port);
    if (rc == 0 && o->wal_export_mode == WAL_EXPORT_CONNECT)
        rc = make_collector(x);
    if (rc != 0) {
        exporter_free(x);
        return rc;
    }
    *out = x;
    return 0;
}

struct exporter *exporter_free(struct exporter *x)
{
    if (x == NULL)
        return NULL;
    list_for_each_safe (node, &x->peers) {
        struct peer *p = container_of(node, struct peer, link);
        if (p->fd >= 0) // the reactor has stopped
            reactor_close(x->worker->reactor, p->fd);
        peer_free(p);
    }
    export_queue_deinit(&x->queue);
    port_deinit(x->port);
    free(x);
    return NULL;
}
