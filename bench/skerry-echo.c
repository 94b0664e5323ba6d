// SPDX-License-Identifier: Apache-2.0
// skerry-echo: sends back whatever arrives, on the same reactor as the server. What it reaches is the physical limit of a
// machine: sockets, the backend and our reactor, with no protocol and no store.
//
// The ordinary path: bytes that arrived in this turn are copied to the turn's arena (a server writes its replies too), one quiet
// send per connection and turn. What a send leaves over goes to the connection's own memory; while some is there the connection
// receives nothing, so a client that never reads costs at most what one turn had brought.
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/slice.h"
#include "reactor/feature_names.h"
#include "reactor/memory.h"
#include "reactor/net.h"
#include "reactor/reactor.h"
#include "reactor/thread.h"

#define WAIT_NS      UINT64_C(100000000)
#define BACKLOG      1024
#define ACCEPT_RETRY 10                  // turns
#define ARENA_SIZE   ((size_t)512 << 20) // address space; touched is what a turn needs

enum owner { OWNER_LISTENER, OWNER_RECV, OWNER_SEND, OWNER_CANCEL };

struct listener {
    struct op op;
    uint32_t retry; // turns until accepting again
};

struct conn {
    struct list link; // of all
    struct op recv;
    struct op send;
    struct op cancel;
    uint8_t *out; // this turn's bytes in the arena
    uint32_t out_len;
    bool dirty;        // in the turn's list
    bool ended;        // the peer sends no more; it still gets what it is owed
    bool closing;      // as soon as nothing is in flight
    struct buf left;   // what a quiet send has left over, being sent
    struct buf behind; // what arrived meanwhile
};

struct echo {
    struct reactor *reactor;
    struct listener listeners[2];
    uint32_t listener_count;
    uint8_t *arena;
    size_t arena_used;
    struct conn **dirty;
    uint32_t dirty_count;
    uint32_t dirty_cap;
    struct list conns; // who is still there at the end is known, not lost
};

struct echo_options {
    struct reactor_options reactor;
    uint16_t port;
    const char *unix_path;
};

static volatile sig_atomic_t stopped, asked;

static void on_signal(int number)
{
    if (number == SIGUSR1)
        asked = 1;
    else
        stopped = 1;
}

static struct conn *conn_of(struct op *op)
{
    switch ((enum owner)op->owner) {
    case OWNER_RECV:
        return container_of(op, struct conn, recv);
    case OWNER_SEND:
        return container_of(op, struct conn, send);
    case OWNER_CANCEL:
        return container_of(op, struct conn, cancel);
    case OWNER_LISTENER:
        break;
    }
    return NULL;
}

static void conn_open(struct echo *e, int fd)
{
    struct conn *c = calloc(1, sizeof *c);
    if (c == NULL) {
        reactor_close(e->reactor, fd);
        return;
    }
    (void)net_set_nodelay(fd);
    c->recv = (struct op){ .kind = OP_RECV, .owner = OWNER_RECV, .fd = fd };
    c->send = (struct op){ .kind = OP_SEND, .owner = OWNER_SEND, .fd = fd };
    c->cancel = (struct op){ .kind = OP_CANCEL, .owner = OWNER_CANCEL, .fd = fd, .target = &c->recv };
    buf_init(&c->left, BUF_NO_LIMIT);
    buf_init(&c->behind, BUF_NO_LIMIT);
    reactor_submit(e->reactor, &c->recv);
    list_append(&e->conns, &c->link);
}

static void mark_dirty(struct echo *e, struct conn *c)
{
    if (e->dirty_count == e->dirty_cap) {
        e->dirty_cap = e->dirty_cap == 0 ? 256 : e->dirty_cap * 2;
        e->dirty = realloc(e->dirty, e->dirty_cap * sizeof(struct conn *));
        assert(e->dirty != NULL);
    }
    e->dirty[e->dirty_count++] = c;
    c->dirty = true;
}

// An op is idle as soon as its last completion is in the array, not when that has been walked; so connections end after the walk.
static void conn_close(struct echo *e, struct conn *c)
{
    c->closing = true;
    if (!c->dirty)
        mark_dirty(e, c);
}

static void conn_finish(struct echo *e, struct conn *c)
{
    c->ended = true;
    if (!c->dirty)
        mark_dirty(e, c);
}

static void conn_end(struct echo *e, struct conn *c)
{
    if (c->send.state != OP_IDLE || c->cancel.state != OP_IDLE)
        return;
    if (c->recv.state != OP_IDLE) {
        reactor_submit(e->reactor, &c->cancel);
        return;
    }
    reactor_close(e->reactor, c->recv.fd);
    buf_deinit(&c->left);
    buf_deinit(&c->behind);
    list_remove(&c->link);
    free(c);
}

// Puts bytes behind those of the same turn; apart from them in the arena they are moved there.
static void answer(struct echo *e, struct conn *c, const uint8_t *data, uint32_t len)
{
    uint8_t *end = e->arena + e->arena_used;
    if (c->out_len > 0 && c->out + c->out_len != end) {
        assert(e->arena_used + c->out_len <= ARENA_SIZE);
        memcpy(end, c->out, c->out_len);
        e->arena_used += c->out_len;
        c->out = end;
        end += c->out_len;
    } else if (c->out_len == 0) {
        c->out = end;
    }
    assert(e->arena_used + len <= ARENA_SIZE);
    memcpy(end, data, len);
    c->out_len += len;
    e->arena_used += len;
    if (!c->dirty)
        mark_dirty(e, c);
}

static bool has_left(const struct conn *c)
{
    return c->send.state != OP_IDLE || c->left.len > 0;
}

static void on_recv(struct echo *e, struct conn *c, const struct completion *done)
{
    if (done->flags & COMPLETION_BUFFER) {
        if (!c->closing && has_left(c))
            buf_append(&c->behind, done->data, (size_t)done->result);
        else if (!c->closing)
            answer(e, c, done->data, (uint32_t)done->result);
        reactor_buffer_return(e->reactor, done->buffer);
    }
    if (done->flags & COMPLETION_MORE)
        return;
    if (done->result == -ENOBUFS && !c->closing && !has_left(c))
        reactor_submit(e->reactor, &c->recv);
    else if (done->result == 0)
        conn_finish(e, c);
    else if (done->result != -ECANCELED && done->result != -ENOBUFS)
        conn_close(e, c);
}

// Sends what is left without haste, and then what came behind it.
static void send_left(struct echo *e, struct conn *c)
{
    c->send.flags = 0;
    c->send.data = c->left.data;
    c->send.len = (uint32_t)c->left.len;
    reactor_submit(e->reactor, &c->send);
}

static void on_send(struct echo *e, struct conn *c, int32_t result)
{
    bool quiet = (c->send.flags & OP_QUIET) != 0;
    if (c->closing || (result < 0 && result != -EAGAIN)) {
        c->left.len = 0;
        conn_close(e, c);
        return;
    }
    if (quiet) {
        uint32_t sent = result > 0 ? (uint32_t)result : 0;
        buf_append(&c->left, (uint8_t *)c->send.data + sent, c->send.len - sent);
        send_left(e, c);
        if (c->recv.state != OP_IDLE && c->cancel.state == OP_IDLE)
            reactor_submit(e->reactor, &c->cancel);
        return;
    }
    struct buf sent = c->left;
    c->left = c->behind;
    c->behind = sent;
    c->behind.len = 0;
    if (c->left.len > 0)
        send_left(e, c);
    else if (c->ended)
        conn_close(e, c);
    else if (c->recv.state == OP_IDLE && c->cancel.state == OP_IDLE)
        reactor_submit(e->reactor, &c->recv);
}

static void on_cancel(struct echo *e, struct conn *c)
{
    if (c->closing)
        conn_close(e, c);
    else if (!has_left(c) && !c->ended && c->recv.state == OP_IDLE)
        reactor_submit(e->reactor, &c->recv);
}

static void on_accept(struct echo *e, struct listener *l, const struct completion *done)
{
    if (done->result >= 0)
        conn_open(e, done->result);
    if (!(done->flags & COMPLETION_MORE))
        l->retry = ACCEPT_RETRY;
}

static void on_completion(struct echo *e, const struct completion *done)
{
    switch ((enum owner)done->op->owner) {
    case OWNER_RECV:
        on_recv(e, conn_of(done->op), done);
        break;
    case OWNER_SEND:
        on_send(e, conn_of(done->op), done->result);
        break;
    case OWNER_CANCEL:
        on_cancel(e, conn_of(done->op));
        break;
    case OWNER_LISTENER:
        on_accept(e, container_of(done->op, struct listener, op), done);
        break;
    }
}

// One coalesced send per connection. A connection may have got leftovers after it was marked: then this turn's bytes follow them.
static void send_one(struct echo *e, struct conn *c)
{
    if (c->ended && c->out_len == 0 && !has_left(c))
        c->closing = true;
    if (c->closing) {
        conn_end(e, c);
        return;
    }
    if (has_left(c)) {
        buf_append(&c->behind, c->out, c->out_len);
    } else if (c->ended) { // its completion closes
        buf_append(&c->left, c->out, c->out_len);
        send_left(e, c);
    } else {
        c->send.flags = OP_QUIET;
        c->send.data = c->out;
        c->send.len = c->out_len;
        reactor_submit(e->reactor, &c->send);
    }
    c->out_len = 0;
}

static void send_all(struct echo *e)
{
    for (uint32_t i = 0; i < e->dirty_count; i++) {
        e->dirty[i]->dirty = false;
        send_one(e, e->dirty[i]);
    }
    e->dirty_count = 0;
}

static void accept_again(struct echo *e)
{
    for (uint32_t i = 0; i < e->listener_count; i++) {
        struct listener *l = &e->listeners[i];
        if (l->retry > 0 && --l->retry == 0)
            reactor_submit(e->reactor, &l->op);
    }
}

static void print_counters(const struct reactor_stats *s)
{
    printf("turns=%" PRIu64 ",longest_turn_us=%" PRIu64 ",enters=%" PRIu64 ",ops=%" PRIu64 ",sqes=%" PRIu64 ",cqes=%" PRIu64, s->turns,
           s->longest_turn_ns / 1000, s->enters, s->ops, s->sqes, s->cqes);
    printf(",syscalls=%" PRIu64 ",sleeps=%" PRIu64 ",received=%" PRIu64 ",sent=%" PRIu64 ",buffers_exhausted=%" PRIu64 ",overflows=%" PRIu64
           "\n",
           s->syscalls, s->sleeps, s->recv_bytes, s->send_bytes, s->buffers_empty, s->overflows);
    fflush(stdout);
}

static void serve(struct echo *e)
{
    while (!stopped) {
        const struct completion *done;
        uint32_t n = reactor_turn(e->reactor, WAIT_NS, &done);
        // Sends of the last turn are over: their bytes are free. Leftovers among these completions are copied before any new
        // bytes come, because sends complete before what arrives now is answered.
        for (uint32_t i = 0; i < n; i++)
            if (done[i].op->owner == OWNER_SEND)
                on_completion(e, &done[i]);
        e->arena_used = 0;
        for (uint32_t i = 0; i < n; i++)
            if (done[i].op->owner != OWNER_SEND)
                on_completion(e, &done[i]);
        send_all(e);
        accept_again(e);
        if (asked) {
            asked = 0;
            print_counters(&e->reactor->stats);
        }
    }
}

static int listen_on(struct echo *e, int fd, const char *what)
{
    if (fd < 0) {
        fprintf(stderr, "skerry-echo: cannot listen on %s: %s\n", what, strerror(-fd));
        return fd;
    }
    struct listener *l = &e->listeners[e->listener_count++];
    l->op = (struct op){ .kind = OP_ACCEPT, .owner = OWNER_LISTENER, .fd = fd };
    reactor_submit(e->reactor, &l->op);
    return 0;
}

static int run(const struct echo_options *o)
{
    static struct echo e;
    list_init(&e.conns);
    const char *why;
    if (o->reactor.cpu >= 0 && thread_pin_self(o->reactor.cpu) < 0)
        fprintf(stderr, "skerry-echo: cannot run on core %d only\n", o->reactor.cpu);
    int err = reactor_open(&e.reactor, &o->reactor, &why);
    if (err < 0) {
        fprintf(stderr, "skerry-echo: %s\n", why);
        return 1;
    }
    e.arena = o->reactor.memory->reserve(o->reactor.memory, ARENA_SIZE, 4096);
    if (e.arena == NULL)
        return 1;
    net_raise_files(65536);
    if (o->port != 0 && listen_on(&e, net_listen_tcp("127.0.0.1", o->port, BACKLOG, true), "the port") < 0)
        return 1;
    if (o->unix_path != NULL && listen_on(&e, net_listen_unix(o->unix_path, 0600, BACKLOG), o->unix_path) < 0)
        return 1;
    printf("skerry-echo: %s, features %#x, port %u\n", e.reactor->backend == REACTOR_URING ? "io_uring" : "epoll", e.reactor->features,
           o->port);
    fflush(stdout);
    serve(&e);
    print_counters(&e.reactor->stats);
    return 0;
}

static int backend_named(const char *name)
{
    static const char *const NAMES[] = { [REACTOR_AUTO] = "auto", [REACTOR_URING] = "uring", [REACTOR_EPOLL] = "epoll" };
    for (int i = 0; i < 3; i++)
        if (strcmp(name, NAMES[i]) == 0)
            return i;
    return -1;
}

static bool features_take(struct echo_options *o, const char *names)
{
    struct slice unknown;
    uint32_t without;
    if (feature_names_parse(slice_cstr(names), &without, &unknown) < 0)
        return false;
    o->reactor.features &= ~without;
    return true;
}

static void usage(void)
{
    puts("usage: skerry-echo [--port P] [--unix PATH] [--io auto|uring|epoll] [--cpu N] [--spin-us N]\n"
         "                   [--buffers N] [--buffer-size BYTES] [--io-without NAMES] [--busy-poll]\n\n"
         "Sends back whatever arrives. The physical limit for a server on this machine.\n\n"
         "  --io-without   what io_uring shall do without: multishot-accept, multishot-recv, provided-buffers, registered-ring,\n"
         "                 defer-taskrun, coop-taskrun, batching (separated by commas)\n"
         "  --busy-poll    never sleep\n\n"
         "SIGUSR1 prints the reactor's counters; so does the end.");
}

static bool option_take(struct echo_options *o, int option, const char *value)
{
    switch (option) {
    case 'p':
        o->port = (uint16_t)atoi(value);
        return o->port != 0;
    case 'u':
        o->unix_path = value;
        return true;
    case 'i':
        o->reactor.backend = (enum reactor_backend)backend_named(value);
        return backend_named(value) >= 0;
    case 'c':
        o->reactor.cpu = atoi(value);
        return true;
    case 's':
        o->reactor.spin_us = (uint32_t)atoi(value);
        return true;
    case 'b':
        o->reactor.buffers = (uint32_t)atoi(value);
        return true;
    case 'z':
        o->reactor.buffer_size = (uint32_t)atoi(value);
        return true;
    case 'o':
        return features_take(o, value);
    case 'y':
        o->reactor.busy_poll = true;
        return true;
    default:
        return false;
    }
}

int main(int argc, char **argv)
{
    static const struct option OPTIONS[] = {
        { "port", required_argument, NULL, 'p' },
        { "unix", required_argument, NULL, 'u' },
        { "io", required_argument, NULL, 'i' },
        { "cpu", required_argument, NULL, 'c' },
        { "spin-us", required_argument, NULL, 's' },
        { "buffers", required_argument, NULL, 'b' },
        { "io-without", required_argument, NULL, 'o' },
        { "busy-poll", no_argument, NULL, 'y' },
        { "buffer-size", required_argument, NULL, 'z' },
        { "help", no_argument, NULL, 'h' },
        { 0 },
    };
    struct echo_options o = { .reactor = { .features = REACTOR_FEATURES_ALL, .spin_us = 20, .cpu = -1, .buffers = 64 } };
    for (int option; (option = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1;) {
        if (option == 'h' || !option_take(&o, option, optarg)) {
            usage();
            return option == 'h' ? 0 : 1;
        }
    }
    if (o.port == 0 && o.unix_path == NULL)
        o.port = 6380;
    o.reactor.memory = memory_system(-1, MEMORY_HUGE_THP);
    struct sigaction action = { .sa_handler = on_signal };
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGUSR1, &action, NULL);
    return run(&o);
}
