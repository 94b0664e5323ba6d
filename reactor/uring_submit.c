// SPDX-License-Identifier: Apache-2.0
// From the owner's ops to submission entries, in the order of submission.
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "reactor/uring.h"

static void prepare_wake(struct uring *u)
{
    struct io_uring_sqe *sqe = uring_sqe(u);
    io_uring_prep_poll_multishot(sqe, u->reactor.wake_fd, POLLIN);
    sqe->user_data = URING_WAKE;
    u->wake_armed = true;
}

static void prepare_accept(const struct uring *u, struct io_uring_sqe *sqe, const struct op *op)
{
    io_uring_prep_accept(sqe, op->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (u->reactor.features & REACTOR_MULTISHOT_ACCEPT)
        sqe->ioprio |= IORING_ACCEPT_MULTISHOT;
}

static void prepare_recv(const struct uring *u, struct io_uring_sqe *sqe, const struct op *op)
{
    if (u->buffers == NULL) {
        io_uring_prep_poll_add(sqe, op->fd, POLLIN);
        return;
    }
    io_uring_prep_recv(sqe, op->fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    if (u->reactor.features & REACTOR_MULTISHOT_RECV)
        sqe->ioprio |= IORING_RECV_MULTISHOT;
}

// Quiet: tried once, here and now; MSG_WAITALL so that a short send fails, and so shows, in spite of the skipped completion.
static void prepare_send(struct uring *u, struct io_uring_sqe *sqe, struct op *op)
{
    uint32_t sent = URING_SENT(op);
    int flags = MSG_NOSIGNAL | MSG_WAITALL | (op->flags & OP_MORE_COMING ? MSG_MORE : 0);
    sanitize_check(op->data, op->len);
    if (op->flags & OP_QUIET) {
        flags |= MSG_DONTWAIT;
        sqe->flags |= u->skip_success ? IOSQE_CQE_SKIP_SUCCESS : 0;
    }
    uint8_t skip = sqe->flags;
    io_uring_prep_send(sqe, op->fd, (uint8_t *)op->data + sent, op->len - sent, flags);
    sqe->flags = skip;
    u->reactor.stats.send_bytes += op->len - sent;
}

static void prepare_sendv(struct io_uring_sqe *sqe, const struct op *op)
{
    if (unlikely(op->flags & OP_ZEROCOPY)) {
        io_uring_prep_sendmsg_zc(sqe, op->fd, op->data, MSG_NOSIGNAL | MSG_WAITALL);
        sqe->ioprio |= IORING_SEND_ZC_REPORT_USAGE;
        return;
    }
    io_uring_prep_sendmsg(sqe, op->fd, op->data, MSG_NOSIGNAL | (op->flags & OP_MORE_COMING ? MSG_MORE : 0));
}

static void prepare_recv_into(struct io_uring_sqe *sqe, const struct op *op)
{
    sanitize_check(op->data, op->len);
    sanitize_hide(op->data, op->len);
    io_uring_prep_recv(sqe, op->fd, op->data, op->len, op->flags & OP_ALL ? MSG_WAITALL : 0);
}

static void prepare_read(struct io_uring_sqe *sqe, const struct op *op)
{
    sanitize_check(op->data, op->len);
    sanitize_hide(op->data, op->len);
    if (op->fixed_buffer >= 0)
        io_uring_prep_read_fixed(sqe, op->fd, op->data, op->len, op->offset, op->fixed_buffer);
    else
        io_uring_prep_read(sqe, op->fd, op->data, op->len, op->offset);
}

static void prepare_write(struct io_uring_sqe *sqe, const struct op *op)
{
    sanitize_check(op->data, op->len);
    if (op->fixed_buffer >= 0)
        io_uring_prep_write_fixed(sqe, op->fd, op->data, op->len, op->offset, op->fixed_buffer);
    else
        io_uring_prep_write(sqe, op->fd, op->data, op->len, op->offset);
    if (op->flags & OP_DSYNC)
        sqe->rw_flags = RWF_DSYNC;
}

// True when the op needs no entry: it waits for a buffer, or is done already.
static bool recv_must_wait(struct uring *u, struct op *op)
{
    if (likely(u->buffers == NULL || u->buffers_free > 0))
        return false;
    uring_out_of_buffers(u);
    if (u->buffers_free > 0) {
        uring_buffers_publish(u);
        return false;
    }
    op->backend |= URING_STARVED;
    op_queue_add(&u->starved, op);
    return true;
}

static bool cancel_is_done(struct uring *u, struct op *op)
{
    struct op *target = op->target;
    if (op->backend & URING_TARGET_ENDED) {
        uring_finish(u, op, -ENOENT);
        return true;
    }
    if (target->state != OP_IN_FLIGHT || (target->target != NULL && target->target != op)) {
        uring_finish(u, op, target->state == OP_IN_FLIGHT ? -EALREADY : -ENOENT);
        return true;
    }
    target->target = op;
    if (!(target->backend & URING_STARVED))
        return false;
    bool found = op_queue_remove(&u->starved, target);
    assert(found);
    op->backend = URING_RESULT_HELD;
    uring_finish(u, target, -ECANCELED);
    return true;
}

static void prepare_one(struct uring *u, struct op *op)
{
    if (op->kind == OP_RECV && recv_must_wait(u, op))
        return;
    if (op->kind == OP_CANCEL && cancel_is_done(u, op))
        return;
    struct io_uring_sqe *sqe = uring_sqe(u);
    switch ((enum op_kind)op->kind) {
    case OP_ACCEPT:
        prepare_accept(u, sqe, op);
        break;
    case OP_RECV:
        prepare_recv(u, sqe, op);
        break;
    case OP_RECV_INTO:
        prepare_recv_into(sqe, op);
        break;
    case OP_SEND:
        prepare_send(u, sqe, op);
        break;
    case OP_SENDV:
        prepare_sendv(sqe, op);
        break;
    case OP_CONNECT:
        io_uring_prep_connect(sqe, op->fd, op->data, op->len);
        break;
    case OP_READ:
        prepare_read(sqe, op);
        break;
    case OP_WRITE:
        prepare_write(sqe, op);
        break;
    case OP_FSYNC:
        io_uring_prep_fsync(sqe, op->fd, IORING_FSYNC_DATASYNC);
        break;
    case OP_POLL:
        io_uring_prep_poll_add(sqe, op->fd, POLLIN);
        break;
    case OP_CANCEL:
        io_uring_prep_cancel(sqe, op->target, 0);
        break;
    case OP_NONE:
    case OP_KIND_COUNT:
        assert(false);
    }
    if ((op->flags & OP_LINK) && op->next != NULL)
        sqe->flags |= IOSQE_IO_LINK;
    sqe->user_data = (uint64_t)(uintptr_t)op;
}

static uint32_t chain_length(const struct op *op)
{
    uint32_t n = 1;
    for (; (op->flags & OP_LINK) && op->next != NULL; op = op->next)
        n++;
    return n;
}

static bool is_file_op(const struct op *op)
{
    return op->kind == OP_READ || op->kind == OP_WRITE || op->kind == OP_FSYNC;
}

// The kernel hands the device what one submission wants of it when it has gone through all of that submission: a write with the sends of a
// turn behind it would begin a hundred microseconds late.
static bool goes_alone(const struct op *op, const struct op *next)
{
    return unlikely(is_file_op(op)) && next != NULL && !is_file_op(next) && !(op->flags & OP_LINK);
}

void uring_prepare(struct uring *u)
{
    if (unlikely(!u->wake_armed))
        prepare_wake(u);
    const bool one_by_one = !(u->reactor.features & REACTOR_BATCHED_ENTER);
    struct op *next;
    for (struct op *op = op_queue_take_all(&u->again); op != NULL; op = next) {
        next = op->next;
        op->next = NULL;
        prepare_one(u, op);
        if (unlikely(one_by_one))
            (void)uring_enter(u, 0);
    }
    bool in_chain = false;
    for (struct op *op = reactor_take_submitted(&u->reactor); op != NULL; op = next) {
        next = op->next;
        if ((op->flags & OP_LINK) && !in_chain)
            uring_sqe_room(u, chain_length(op));
        in_chain = (op->flags & OP_LINK) != 0;
        op->backend = 0;
        // A quiet send is over when this turn is, whether it says something or not.
        op->state = op->kind == OP_SEND && (op->flags & OP_QUIET) ? OP_IDLE : OP_IN_FLIGHT;
        if (op->kind != OP_CANCEL)
            op->target = NULL;
        u->reactor.stats.ops++;
        bool alone = goes_alone(op, next);
        prepare_one(u, op);
        if (unlikely(one_by_one) && !in_chain)
            (void)uring_enter(u, 0);
        else if (alone)
            uring_submit_now(u);
    }
}
