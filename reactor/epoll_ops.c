// SPDX-License-Identifier: Apache-2.0
// The ops of reactor.h by readiness.
//
// Interest in a descriptor is registered when an op first waits for it and stays; it is dropped when an event comes that no op
// wants, so that a busy connection costs no epoll_ctl at all and an idle descriptor cannot make the loop spin.
// Listeners are shared with EPOLLEXCLUSIVE, which cannot be changed later: they are removed as soon as their op ends.
#include "reactor/epoll.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ACCEPTS_A_TURN 16
#define SLOTS_MIN      256

#define EVENTS_IN  ((uint32_t)(EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLERR | EPOLLHUP))
#define EVENTS_OUT ((uint32_t)(EPOLLOUT | EPOLLERR | EPOLLHUP))

static cold int slots_grow(struct epoll *e, uint32_t needed)
{
    uint32_t count = e->slot_count > 0 ? e->slot_count : SLOTS_MIN;
    while (count <= needed)
        count *= 2;
    struct epoll_slot *slots = realloc(e->slots, count * sizeof *slots);
    if (slots == NULL)
        return -ENOMEM;
    memset(slots + e->slot_count, 0, (count - e->slot_count) * sizeof *slots);
    e->slots = slots;
    e->slot_count = count;
    return 0;
}

static int slot_of(struct epoll *e, int fd, struct epoll_slot **out)
{
    if (fd < 0)
        return -EBADF;
    if (unlikely((uint32_t)fd >= e->slot_count)) {
        int err = slots_grow(e, (uint32_t)fd);
        if (err < 0)
            return err;
    }
    *out = &e->slots[fd];
    return 0;
}

static int set_interest(struct epoll *e, int fd, struct epoll_slot *slot, uint32_t events)
{
    if (slot->events == events)
        return 0;
    struct epoll_event event = { .events = events, .data.fd = fd };
    int what = slot->events == 0 ? EPOLL_CTL_ADD : events == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;
    e->reactor.stats.syscalls++;
    if (epoll_ctl(e->fd, what, fd, &event) != 0)
        return -errno;
    slot->events = events;
    return 0;
}

void epoll_finish(struct epoll *e, struct op *op, int32_t result)
{
    op->state = OP_IDLE;
    completions_add(&e->done, op, result, 0);
    struct op *cancel = op->target;
    if (unlikely(cancel != NULL) && op->kind != OP_CANCEL) {
        op->target = NULL;
        epoll_finish(e, cancel, (int32_t)(uint32_t)cancel->backend);
    }
}

static void wait_in(struct epoll *e, struct op *op, uint32_t extra)
{
    struct epoll_slot *slot = NULL;
    int err = slot_of(e, op->fd, &slot);
    if (err == 0) {
        assert(slot->in == NULL || slot->in == op);
        err = set_interest(e, op->fd, slot, slot->events | EPOLLIN | extra);
    }
    if (err == 0)
        slot->in = op;
    else
        epoll_finish(e, op, err);
}

static void wait_out(struct epoll *e, struct op *op)
{
    struct epoll_slot *slot = NULL;
    int err = slot_of(e, op->fd, &slot);
    if (err == 0) {
        assert(slot->out == NULL || slot->out == op);
        err = set_interest(e, op->fd, slot, slot->events | EPOLLOUT);
    }
    if (err == 0)
        slot->out = op;
    else
        epoll_finish(e, op, err);
}

static void end_in(struct epoll *e, struct epoll_slot *slot, int32_t result)
{
    struct op *op = slot->in;
    slot->in = NULL;
    if (op->kind == OP_ACCEPT)
        (void)set_interest(e, op->fd, slot, 0);
    epoll_finish(e, op, result);
}

static void end_out(struct epoll *e, struct epoll_slot *slot, int32_t result)
{
    struct op *op = slot->out;
    slot->out = NULL;
    (void)set_interest(e, op->fd, slot, slot->events & ~(uint32_t)EPOLLOUT);
    epoll_finish(e, op, result);
}

// Sends what is left: 0 = it is through, else -errno (-EAGAIN: no room). Progress is in op->backend.
static int send_some(struct epoll *e, struct op *op)
{
    uint32_t sent = (uint32_t)op->backend;
    int flags = MSG_DONTWAIT | MSG_NOSIGNAL | (op->flags & OP_MORE_COMING ? MSG_MORE : 0);
    ssize_t n;
    sanitize_check(op->data, op->len);
    do {
        n = send(op->fd, (uint8_t *)op->data + sent, op->len - sent, flags);
        e->reactor.stats.syscalls++;
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    op->backend += (uint64_t)n;
    e->reactor.stats.send_bytes += (uint64_t)n;
    return sent + (uint32_t)n == op->len ? 0 : -EAGAIN;
}

static void start_send(struct epoll *e, struct op *op)
{
    int err = send_some(e, op);
    if (op->flags & OP_QUIET) {
        op->state = OP_IDLE;
        if (err < 0)
            epoll_finish(e, op, op->backend > 0 ? (int32_t)op->backend : err);
        return;
    }
    if (err == 0)
        epoll_finish(e, op, (int32_t)op->len);
    else if (err == -EAGAIN)
        wait_out(e, op);
    else
        epoll_finish(e, op, err);
}

// Bytes sent, at least one; or -errno (-EAGAIN: no room).
static int32_t send_pieces(struct epoll *e, const struct op *op)
{
    ssize_t n;
    do {
        n = sendmsg(op->fd, op->data, MSG_DONTWAIT | MSG_NOSIGNAL | (op->flags & OP_MORE_COMING ? MSG_MORE : 0));
        e->reactor.stats.syscalls++;
    } while (n < 0 && errno == EINTR);
    if (n <= 0)
        return n < 0 ? -errno : -EPIPE;
    e->reactor.stats.send_bytes += (uint64_t)n;
    return (int32_t)n;
}

static void start_sendv(struct epoll *e, struct op *op)
{
    int32_t result = send_pieces(e, op);
    if (result == -EAGAIN)
        wait_out(e, op);
    else
        epoll_finish(e, op, result);
}

// Fills data/len: 0 = done (progress says how much), else -errno (-EAGAIN: wait for more).
static int receive_into(struct epoll *e, struct op *op)
{
    for (;;) {
        uint32_t got = (uint32_t)op->backend;
        ssize_t n = recv(op->fd, (uint8_t *)op->data + got, op->len - got, MSG_DONTWAIT);
        e->reactor.stats.syscalls++;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        op->backend += (uint64_t)n;
        e->reactor.stats.recv_bytes += (uint64_t)n;
        if (n == 0 || !(op->flags & OP_ALL) || got + (uint32_t)n == op->len)
            return 0;
    }
}

static int32_t bytes_or(const struct op *op, int err)
{
    return (uint32_t)op->backend > 0 || err == 0 ? (int32_t)(uint32_t)op->backend : err;
}

static void start_recv_into(struct epoll *e, struct op *op)
{
    sanitize_check(op->data, op->len);
    int err = receive_into(e, op);
    if (err == -EAGAIN)
        wait_in(e, op, 0);
    else
        epoll_finish(e, op, bytes_or(op, err));
}

static void start_connect(struct epoll *e, struct op *op)
{
    int flags = fcntl(op->fd, F_GETFL);
    if (flags >= 0 && !(flags & O_NONBLOCK))
        (void)fcntl(op->fd, F_SETFL, flags | O_NONBLOCK);
    if (connect(op->fd, op->data, op->len) == 0)
        epoll_finish(e, op, 0);
    else if (errno == EINPROGRESS)
        wait_out(e, op);
    else
        epoll_finish(e, op, -errno);
}

static void start_recv(struct epoll *e, struct op *op)
{
    if (likely(e->pool.free_count > 0)) {
        wait_in(e, op, 0);
        return;
    }
    op->backend |= EPOLL_STARVED;
    op_queue_add(&e->starved, op);
}

static void start_accept(struct epoll *e, struct op *op)
{
    // A blocking listener would block when another process took the connection.
    int flags = fcntl(op->fd, F_GETFL);
    if (flags >= 0 && !(flags & O_NONBLOCK))
        (void)fcntl(op->fd, F_SETFL, flags | O_NONBLOCK);
    wait_in(e, op, EPOLLEXCLUSIVE);
}

static void start_file(struct epoll *e, struct op *op)
{
    int err = epoll_files_add(&e->files, op);
    if (err < 0)
        epoll_finish(e, op, err);
}

static struct epoll_slot *slot_holding(struct epoll *e, const struct op *op)
{
    if (op->fd < 0 || (uint32_t)op->fd >= e->slot_count)
        return NULL;
    struct epoll_slot *slot = &e->slots[op->fd];
    return slot->in == op || slot->out == op ? slot : NULL;
}

static void start_cancel(struct epoll *e, struct op *op)
{
    struct op *target = op->target;
    if (target->state != OP_IN_FLIGHT) {
        epoll_finish(e, op, -ENOENT);
        return;
    }
    if (target->target != NULL) {
        epoll_finish(e, op, -EALREADY);
        return;
    }
    target->target = op; // ends when its target does
    op->backend = 0;
    struct epoll_slot *slot = slot_holding(e, target);
    if (slot != NULL && slot->in == target)
        end_in(e, slot, target->kind == OP_RECV_INTO ? bytes_or(target, -ECANCELED) : -ECANCELED);
    else if (slot != NULL)
        end_out(e, slot, -ECANCELED);
    else if (op_queue_remove(&e->starved, target))
        epoll_finish(e, target, -ECANCELED);
    else
        op->backend = (uint32_t)epoll_files_cancel(&e->files, target);
}

static void start(struct epoll *e, struct op *op)
{
    switch ((enum op_kind)op->kind) {
    case OP_SEND:
        start_send(e, op);
        break;
    case OP_SENDV:
        start_sendv(e, op);
        break;
    case OP_RECV:
        start_recv(e, op);
        break;
    case OP_RECV_INTO:
        start_recv_into(e, op);
        break;
    case OP_ACCEPT:
        start_accept(e, op);
        break;
    case OP_POLL:
        wait_in(e, op, 0);
        break;
    case OP_CONNECT:
        start_connect(e, op);
        break;
    case OP_READ:
    case OP_WRITE:
    case OP_FSYNC:
        start_file(e, op);
        break;
    case OP_CANCEL:
        start_cancel(e, op);
        break;
    case OP_NONE:
    case OP_KIND_COUNT:
        assert(false);
    }
}

void epoll_start_submitted(struct epoll *e)
{
    struct op *next;
    for (struct op *op = reactor_take_submitted(&e->reactor); op != NULL; op = next) {
        next = op->next;
        op->backend = 0;
        op->state = OP_IN_FLIGHT;
        if (op->kind != OP_CANCEL)
            op->target = NULL;
        e->reactor.stats.ops++;
        start(e, op);
    }
}

static void handle_accept(struct epoll *e, struct epoll_slot *slot)
{
    struct op *op = slot->in;
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        int fd = accept4(op->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        e->reactor.stats.syscalls++;
        if (fd >= 0)
            completions_add(&e->done, op, fd, COMPLETION_MORE);
        else if (errno == EAGAIN)
            return;
        else if (errno != ECONNABORTED && errno != EINTR) {
            end_in(e, slot, -errno);
            return;
        }
    }
}

static cold bool find_buffers(struct epoll *e)
{
    e->reactor.stats.buffers_empty++;
    uint32_t first = e->pool.active;
    uint32_t more = pool_grow(&e->pool);
    e->reactor.stats.buffer_bytes += (uint64_t)more * e->pool.buffer_size;
    for (uint32_t i = 0; i < more; i++)
        pool_put(&e->pool, (uint16_t)(first + i));
    return more > 0;
}

static void handle_recv(struct epoll *e, struct epoll_slot *slot)
{
    struct op *op = slot->in;
    if (unlikely(e->pool.free_count == 0) && !find_buffers(e)) {
        end_in(e, slot, -ENOBUFS);
        return;
    }
    uint16_t buffer = pool_take(&e->pool);
    uint8_t *data = pool_address(&e->pool, buffer);
    ssize_t n = recv(op->fd, data, e->pool.buffer_size, MSG_DONTWAIT);
    e->reactor.stats.syscalls++;
    if (likely(n > 0)) {
        struct completion *done = completions_add(&e->done, op, (int32_t)n, COMPLETION_MORE | COMPLETION_BUFFER);
        done->buffer = buffer;
        done->data = data;
        sanitize_hide(data + n, e->pool.buffer_size - (size_t)n);
        e->reactor.stats.recv_bytes += (uint64_t)n;
        return;
    }
    int err = n == 0 ? 0 : errno;
    pool_put(&e->pool, buffer);
    if (err != EAGAIN && err != EINTR)
        end_in(e, slot, -err);
}

static void handle_in(struct epoll *e, struct epoll_slot *slot, uint32_t events)
{
    struct op *op = slot->in;
    if (likely(op->kind == OP_RECV)) {
        handle_recv(e, slot);
    } else if (op->kind == OP_ACCEPT) {
        handle_accept(e, slot);
    } else if (op->kind == OP_POLL) {
        end_in(e, slot, (int32_t)(events & EVENTS_IN));
    } else {
        int err = receive_into(e, op);
        if (err != -EAGAIN)
            end_in(e, slot, bytes_or(op, err));
    }
}

static int connect_result(const struct op *op)
{
    int err = 0;
    socklen_t len = sizeof err;
    return getsockopt(op->fd, SOL_SOCKET, SO_ERROR, &err, &len) == 0 ? -err : -errno;
}

static void handle_out(struct epoll *e, struct epoll_slot *slot)
{
    struct op *op = slot->out;
    if (op->kind == OP_CONNECT) {
        end_out(e, slot, connect_result(op));
        return;
    }
    if (op->kind == OP_SENDV) {
        int32_t result = send_pieces(e, op);
        if (result != -EAGAIN)
            end_out(e, slot, result);
        return;
    }
    int err = send_some(e, op);
    if (err != -EAGAIN)
        end_out(e, slot, err == 0 ? (int32_t)op->len : err);
}

void epoll_handle(struct epoll *e, const struct epoll_event *event)
{
    int fd = event->data.fd;
    if (unlikely(fd == e->reactor.wake_fd)) {
        e->woken = true;
        return;
    }
    struct epoll_slot *slot = &e->slots[fd];
    if (unlikely(slot->out != NULL) && (event->events & EVENTS_OUT))
        handle_out(e, slot);
    if (likely(slot->in != NULL)) {
        if (event->events & EVENTS_IN)
            handle_in(e, slot, event->events);
    } else if (slot->events != 0 && (event->events & (EVENTS_IN | EPOLLHUP | EPOLLERR))) {
        // Nobody wants it now. Errors cannot be masked, so without a waiting send the descriptor goes altogether.
        (void)set_interest(e, fd, slot, slot->out != NULL ? (uint32_t)EPOLLOUT : 0);
    }
}

// Receives that found no buffer go on now.
void epoll_buffer_return(struct reactor *r, uint16_t buffer)
{
    struct epoll *e = epoll_of(r);
    pool_put(&e->pool, buffer);
    struct op *next;
    if (likely(e->starved.head == NULL))
        return;
    for (struct op *op = op_queue_take_all(&e->starved); op != NULL; op = next) {
        next = op->next;
        op->backend &= ~EPOLL_STARVED;
        wait_in(e, op, 0);
    }
}
