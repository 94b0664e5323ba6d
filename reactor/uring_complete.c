// SPDX-License-Identifier: Apache-2.0
// From completion entries to completions. Rules that the kernel does not keep by itself:
//   - a cancel completes after its target: it is held back until then
//   - an op that goes on in the owner's eyes and has ended in the kernel's (multishot ended, one-shot receive, short send) is
//     submitted again in the next round
//   - a receive that found no buffer ends with -ENOBUFS; more buffers join, and the owner's next OP_RECV waits for a free one
#include <errno.h>
#include <sys/socket.h>

#include "reactor/uring.h"

static cold void release_cancel(struct uring *u, struct op *target)
{
    struct op *cancel = target->target;
    target->target = NULL;
    if (cancel->backend & URING_RESULT_HELD)
        uring_finish(u, cancel, (int32_t)(uint32_t)cancel->backend);
    else
        cancel->backend |= URING_TARGET_ENDED;
}

void uring_finish(struct uring *u, struct op *op, int32_t result)
{
    op->state = OP_IDLE;
    completions_add(&u->done, op, result, 0);
    if (unlikely(op->target != NULL) && op->kind != OP_CANCEL)
        release_cancel(u, op);
}

// Ended in the kernel, not for the owner.
static void go_on(struct uring *u, struct op *op)
{
    if (unlikely(op->target != NULL))
        uring_finish(u, op, -ECANCELED);
    else
        op_queue_add(&u->again, op);
}

static void complete_accept(struct uring *u, struct op *op, int32_t result, uint32_t flags)
{
    if (result >= 0)
        completions_add(&u->done, op, result, COMPLETION_MORE);
    if (flags & IORING_CQE_F_MORE)
        return;
    // -ECONNABORTED: somebody came and left again.
    if (result >= 0 || result == -ECONNABORTED || result == -EINTR)
        go_on(u, op);
    else
        uring_finish(u, op, result);
}

static void received(struct uring *u, struct op *op, int32_t result, uint16_t buffer)
{
    const uint8_t *data = pool_address(&u->pool, buffer);
    sanitize_show(data, (size_t)result);
    struct completion *done = completions_add(&u->done, op, result, COMPLETION_MORE | COMPLETION_BUFFER);
    done->buffer = buffer;
    done->data = data;
    u->reactor.stats.recv_bytes += (uint32_t)result;
}

static void complete_recv_picked(struct uring *u, struct op *op, int32_t result, uint32_t flags)
{
    if (flags & IORING_CQE_F_BUFFER) {
        uint16_t buffer = (uint16_t)(flags >> IORING_CQE_BUFFER_SHIFT);
        u->buffers_free--;
        if (likely(result > 0))
            received(u, op, result, buffer);
        else
            uring_buffer_return(&u->reactor, buffer);
    }
    if (likely(flags & IORING_CQE_F_MORE))
        return;
    if (result > 0 || result == -EINTR) {
        go_on(u, op);
        return;
    }
    if (result == -ENOBUFS)
        uring_out_of_buffers(u);
    uring_finish(u, op, result);
}

// Without a buffer ring: it is readable; now take a buffer and read.
static void complete_recv_polled(struct uring *u, struct op *op, int32_t result)
{
    if (result < 0) {
        uring_finish(u, op, result);
        return;
    }
    if (u->pool.free_count == 0)
        uring_out_of_buffers(u);
    if (u->pool.free_count == 0) {
        op->backend |= URING_STARVED;
        op_queue_add(&u->starved, op);
        return;
    }
    uint16_t buffer = pool_take(&u->pool);
    ssize_t n = recv(op->fd, pool_address(&u->pool, buffer), u->pool.buffer_size, MSG_DONTWAIT);
    u->reactor.stats.syscalls++;
    if (n > 0) {
        received(u, op, (int32_t)n, buffer);
        go_on(u, op);
        return;
    }
    int err = n == 0 ? 0 : -errno;
    pool_put(&u->pool, buffer);
    if (err == -EAGAIN || err == -EINTR)
        go_on(u, op);
    else
        uring_finish(u, op, err);
}

static void complete_send(struct uring *u, struct op *op, int32_t result)
{
    uint32_t left = op->len - URING_SENT(op);
    uint32_t sent = result > 0 ? (uint32_t)result : 0;
    u->reactor.stats.send_bytes -= left - sent;
    if (op->flags & OP_QUIET) {
        if (result < 0 || sent < left)
            uring_finish(u, op, result);
        return;
    }
    op->backend += sent;
    if (sent == left)
        uring_finish(u, op, (int32_t)op->len);
    else if (result > 0 || result == -EINTR || result == -EAGAIN)
        go_on(u, op);
    else
        uring_finish(u, op, result == 0 ? -EPIPE : result);
}

static void complete_sendv(struct uring *u, struct op *op, int32_t result, uint32_t flags)
{
    if (flags & IORING_CQE_F_NOTIF) {
        uring_finish(u, op, ((uint32_t)result & IORING_NOTIF_USAGE_ZC_COPIED) != 0);
        return;
    }
    u->reactor.stats.send_bytes += result > 0 ? (uint32_t)result : 0;
    if (flags & IORING_CQE_F_MORE) {
        completions_add(&u->done, op, result, COMPLETION_MORE);
        return;
    }
    if (result == -EINTR || result == -EAGAIN)
        go_on(u, op);
    else
        uring_finish(u, op, result == 0 ? -EPIPE : result);
}

static void complete_cancel(struct uring *u, struct op *op, int32_t result)
{
    struct op *target = op->target;
    if ((op->backend & URING_TARGET_ENDED) || target->target != op) {
        uring_finish(u, op, result);
        return;
    }
    // Not found and yet in flight: it was between two states. Once more.
    if (result == -ENOENT)
        op_queue_add(&u->again, op);
    else
        op->backend = URING_RESULT_HELD | (uint32_t)result;
}

static void complete_op(struct uring *u, struct op *op, int32_t result, uint32_t flags)
{
    switch ((enum op_kind)op->kind) {
    case OP_RECV:
        if (likely(u->buffers != NULL))
            complete_recv_picked(u, op, result, flags);
        else
            complete_recv_polled(u, op, result);
        break;
    case OP_SEND:
        complete_send(u, op, result);
        break;
    case OP_SENDV:
        complete_sendv(u, op, result, flags);
        break;
    case OP_ACCEPT:
        complete_accept(u, op, result, flags);
        break;
    case OP_CANCEL:
        complete_cancel(u, op, result);
        break;
    case OP_RECV_INTO:
        u->reactor.stats.recv_bytes += result > 0 ? (uint32_t)result : 0;
        sanitize_show(op->data, op->len);
        uring_finish(u, op, result);
        break;
    case OP_READ:
        sanitize_show(op->data, op->len);
        uring_finish(u, op, result);
        break;
    case OP_CONNECT:
    case OP_WRITE:
    case OP_FSYNC:
    case OP_POLL:
        uring_finish(u, op, result);
        break;
    case OP_NONE:
    case OP_KIND_COUNT:
        assert(false);
    }
}

static void complete(struct uring *u, const struct io_uring_cqe *cqe)
{
    if (likely(cqe->user_data > URING_IGNORE)) {
        complete_op(u, (struct op *)(uintptr_t)cqe->user_data, cqe->res, cqe->flags);
        return;
    }
    if (cqe->user_data == URING_WAKE) {
        u->woken = true;
        u->wake_armed = (cqe->flags & IORING_CQE_F_MORE) != 0;
    }
}

static void drain_once(struct uring *u)
{
    const struct io_uring_cq *cq = &u->ring.cq;
    const uint32_t mask = cq->ring_mask;
    uint32_t head = *cq->khead;
    const uint32_t tail = __atomic_load_n(cq->ktail, __ATOMIC_ACQUIRE);
    const uint32_t before = u->done.count;
    u->reactor.stats.cqes += tail - head;
    while (head != tail)
        complete(u, &cq->cqes[head++ & mask]);
    __atomic_store_n(cq->khead, head, __ATOMIC_RELEASE);
    u->reactor.stats.completions += u->done.count - before;
}

void uring_drain(struct uring *u)
{
    drain_once(u);
    // What did not fit waits in the kernel; quiet sends may be among it, so it belongs to this turn.
    while (unlikely(uring_sq_flags(u) & IORING_SQ_CQ_OVERFLOW)) {
        u->reactor.stats.overflows++;
        uring_flush_overflow(u);
        drain_once(u);
    }
}
