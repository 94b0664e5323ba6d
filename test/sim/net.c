// SPDX-License-Identifier: Apache-2.0
#include "test/sim/net.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

static uint64_t arrival_ns(struct net *n)
{
    const struct net_knobs *k = &n->knobs;
    uint64_t delay = k->delay_ns > 0 ? prng_below(&n->prng, k->delay_ns) : 0;
    if (k->spike_permille > 0 && prng_below(&n->prng, 1000) < k->spike_permille)
        delay += prng_below(&n->prng, k->spike_ns + 1);
    return *n->now_ns + delay;
}

// Cut into segments, each with its own delay.
static void push(struct net *n, struct pipe *p, const uint8_t *bytes, size_t len)
{
    while (len > 0) {
        size_t piece = 1 + prng_below(&n->prng, n->knobs.segment_max);
        if (piece > len)
            piece = len;
        bool lose = n->lose_byte_in > 0 && --n->lose_byte_in == 0;
        pipe_push(p, bytes, lose ? piece - 1 : piece, arrival_ns(n));
        bytes += piece;
        len -= piece;
    }
}

void net_init(struct net *n, const uint64_t *now_ns, const struct net_knobs *knobs, uint64_t seed)
{
    *n = (struct net){ .now_ns = now_ns, .knobs = *knobs };
    prng_init(&n->prng, seed);
}

static void socket_free(struct net *n, struct socket *s)
{
    pipe_deinit(&s->in);
    pipe_deinit(&s->out);
    free(s);
    n->alive--;
}

void net_deinit(struct net *n)
{
    for (int i = 0; i < SIM_FDS_MAX; i++) {
        if (n->listeners[i] != NULL)
            net_close(n, SIM_FD_BASE + i);
        if (n->sockets[i] != NULL)
            net_close(n, SIM_FD_BASE + i);
    }
}

// The lowest free number, as a kernel chooses: a stale descriptor then names somebody else's connection.
static int fd_free(const struct net *n)
{
    for (int i = 0; i < SIM_FDS_MAX; i++)
        if (n->sockets[i] == NULL && n->listeners[i] == NULL)
            return SIM_FD_BASE + i;
    abort(); // more descriptors than the world has
}

// ---- the client's end

struct socket *socket_connect(struct net *n, int listener_fd, size_t send_window, size_t receive_window)
{
    struct listener_socket *l = net_listener(n, listener_fd);
    if (l == NULL || l->waiting >= SIM_BACKLOG)
        return NULL;
    struct socket *s = calloc(1, sizeof *s);
    assert(s != NULL);
    *s = (struct socket){ .number = ++n->connections, .fd = -1, .reset_ns = NEVER, .client_reset_ns = NEVER };
    pipe_init(&s->in, send_window);
    pipe_init(&s->out, receive_window);
    n->alive++;
    struct socket **tail = &l->backlog;
    while (*tail != NULL)
        tail = &(*tail)->next;
    *tail = s;
    l->waiting++;
    return s;
}

static void server_resets(struct net *n, struct socket *s)
{
    if (s->client_reset_ns == NEVER)
        s->client_reset_ns = arrival_ns(n);
}

size_t socket_write(struct net *n, struct socket *s, const uint8_t *bytes, size_t len)
{
    if (s->server_gone) { // nobody takes it: answered with RST
        s->lossy = true;
        server_resets(n, s);
        return len;
    }
    size_t room = pipe_room(&s->in);
    if (len > room)
        len = room;
    push(n, &s->in, bytes, len);
    return len;
}

long socket_read(struct net *n, struct socket *s, uint8_t *to, size_t len)
{
    if (s->client_reset_ns <= *n->now_ns) {
        pipe_drop(&s->out);
        return SOCKET_RESET;
    }
    size_t there = pipe_arrived(&s->out, *n->now_ns);
    if (there > 0) {
        if (len > there)
            len = there;
        pipe_take(&s->out, to, len);
        return (long)len;
    }
    return pipe_ended(&s->out, *n->now_ns) ? SOCKET_END : 0;
}

uint64_t socket_next_ns(const struct socket *s)
{
    uint64_t next = pipe_next_ns(&s->out);
    return s->client_reset_ns < next ? s->client_reset_ns : next;
}

void socket_finish(struct net *n, struct socket *s)
{
    pipe_end(&s->in, arrival_ns(n));
}

struct socket *socket_close(struct net *n, struct socket *s, bool reset)
{
    s->client_gone = true;
    pipe_drop(&s->out);
    if (s->server_gone) {
        socket_free(n, s);
        return NULL;
    }
    if (reset) {
        s->reset_ns = arrival_ns(n);
        if (prng_below(&n->prng, 2) == 0)
            pipe_drop(&s->in);
    } else {
        pipe_end(&s->in, arrival_ns(n));
    }
    return NULL;
}

// ---- the server's end

int net_listen(struct net *n)
{
    struct listener_socket *l = calloc(1, sizeof *l);
    assert(l != NULL);
    l->fd = fd_free(n);
    n->listeners[l->fd - SIM_FD_BASE] = l;
    return l->fd;
}

struct socket *net_socket(struct net *n, int fd)
{
    int i = fd - SIM_FD_BASE;
    return i >= 0 && i < SIM_FDS_MAX ? n->sockets[i] : NULL;
}

struct listener_socket *net_listener(struct net *n, int fd)
{
    int i = fd - SIM_FD_BASE;
    return i >= 0 && i < SIM_FDS_MAX ? n->listeners[i] : NULL;
}

static struct socket *backlog_take(struct listener_socket *l)
{
    struct socket *s = l->backlog;
    l->backlog = s->next;
    l->waiting--;
    s->next = NULL;
    return s;
}

int net_accept(struct net *n, struct listener_socket *l)
{
    struct socket *s = backlog_take(l);
    s->fd = fd_free(n);
    s->accepted = true;
    s->reactor = l->reactor;
    n->sockets[s->fd - SIM_FD_BASE] = s;
    return s->fd;
}

static void server_lets_go(struct net *n, struct socket *s)
{
    s->server_gone = true;
    if (s->client_gone)
        socket_free(n, s);
}

void net_abort(struct net *n, struct listener_socket *l)
{
    struct socket *s = backlog_take(l);
    s->lossy = true;
    server_resets(n, s);
    server_lets_go(n, s);
}

bool net_is_reset(const struct net *n, const struct socket *s)
{
    return s->reset_ns <= *n->now_ns;
}

size_t net_send(struct net *n, struct socket *s, const uint8_t *bytes, size_t len)
{
    if (s->client_gone) { // to a closed socket: swallowed, and answered with RST
        if (s->reset_ns == NEVER)
            s->reset_ns = arrival_ns(n);
        return len;
    }
    size_t room = pipe_room(&s->out);
    if (len > room)
        len = room;
    push(n, &s->out, bytes, len);
    return len;
}

void net_shutdown(struct net *n, struct socket *s)
{
    s->server_shut = true;
    pipe_end(&s->out, arrival_ns(n));
}

void net_crash(struct net *n)
{
    for (int i = 0; i < SIM_FDS_MAX; i++) {
        struct socket *s = n->sockets[i];
        if (s == NULL)
            continue;
        net_shutdown(n, s);
        s->reset_ns = *n->now_ns;
        if (prng_below(&n->prng, 2) == 0) // with bytes that nobody has read, a kernel sends RST
            pipe_drop(&s->in);
    }
}

static void close_listener(struct net *n, struct listener_socket *l)
{
    while (l->waiting > 0)
        net_abort(n, l);
    n->listeners[l->fd - SIM_FD_BASE] = NULL;
    free(l);
}

void net_close(struct net *n, int fd)
{
    struct listener_socket *l = net_listener(n, fd);
    if (l != NULL) {
        close_listener(n, l);
        return;
    }
    struct socket *s = net_socket(n, fd);
    assert(s != NULL);
    n->sockets[fd - SIM_FD_BASE] = NULL;
    s->fd = -1;
    pipe_end(&s->out, arrival_ns(n));
    if (s->in.len > 0) { // bytes that nobody read: the kernel sends RST, which overtakes what the client has not read
        s->lossy = true;
        server_resets(n, s);
    }
    server_lets_go(n, s);
}
