// SPDX-License-Identifier: Apache-2.0
// reactor: add -> queue -> helper thread: run -> done -> reactor_wake -> reactor: take
//
// Links: the queue keeps the order of submission and the thread takes one op at a time, so a chain is a run of neighbours; the
// thread remembers whether the chain it is in has failed. A cancelled op stays in its place and is not run.
#include "reactor/epoll_files.h"

#include <errno.h>
#include <sys/uio.h>
#include <unistd.h>

#define FILE_CANCELLED (UINT64_C(1) << 33) // op->backend, under lock
#define FILE_LAST      (UINT64_C(1) << 34) // ends its chain whatever its flags say

void epoll_files_init(struct epoll_files *f, struct reactor *r)
{
    *f = (struct epoll_files){ .reactor = r };
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->work, NULL);
    op_queue_init(&f->queue);
    op_queue_init(&f->done);
}

static ssize_t run_once(const struct op *op)
{
    struct iovec v = { .iov_base = op->data, .iov_len = op->len };
    switch ((enum op_kind)op->kind) {
    case OP_READ:
        return preadv2(op->fd, &v, 1, (off_t)op->offset, 0);
    case OP_WRITE:
        return pwritev2(op->fd, &v, 1, (off_t)op->offset, op->flags & OP_DSYNC ? RWF_DSYNC : 0);
    case OP_FSYNC:
        return fdatasync(op->fd);
    case OP_NONE:
    case OP_ACCEPT:
    case OP_RECV:
    case OP_RECV_INTO:
    case OP_SEND:
    case OP_SENDV:
    case OP_CONNECT:
    case OP_POLL:
    case OP_CANCEL:
    case OP_KIND_COUNT:
        break;
    }
    errno = EINVAL;
    return -1;
}

static int32_t run(const struct op *op)
{
    ssize_t n;
    do {
        n = run_once(op);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : (int32_t)n;
}

static bool in_full(const struct op *op, int32_t result)
{
    return op->kind == OP_FSYNC ? result == 0 : result == (int32_t)op->len;
}

// Waits for an op; NULL when it is time to go.
static struct op *next_op(struct epoll_files *f, bool *cancelled)
{
    pthread_mutex_lock(&f->lock);
    while (f->queue.head == NULL && !f->stopping)
        pthread_cond_wait(&f->work, &f->lock);
    struct op *op = op_queue_take(&f->queue);
    f->running = op;
    *cancelled = op != NULL && (op->backend & FILE_CANCELLED) != 0;
    pthread_mutex_unlock(&f->lock);
    return op;
}

static void hand_over(struct epoll_files *f, struct op *op, int32_t result)
{
    pthread_mutex_lock(&f->lock);
    f->running = NULL;
    op->backend = (uint32_t)result;
    op_queue_add(&f->done, op);
    atomic_store_explicit(&f->done_any, true, memory_order_release);
    pthread_mutex_unlock(&f->lock);
    reactor_wake(f->reactor, NULL);
}

static void files_main(void *arg)
{
    struct epoll_files *f = arg;
    bool failed = false, cancelled;
    struct op *op;
    while ((op = next_op(f, &cancelled)) != NULL) {
        int32_t result = failed || cancelled ? -ECANCELED : run(op);
        bool chain_goes_on = (op->flags & OP_LINK) && !(op->backend & FILE_LAST);
        failed = chain_goes_on && !in_full(op, result);
        hand_over(f, op, result);
    }
}

int epoll_files_add(struct epoll_files *f, struct op *op)
{
    if (!f->started) {
        int err = thread_start(&f->thread, "skerry-files", -1, files_main, f);
        if (err < 0)
            return err;
        f->started = true;
    }
    op->backend = op->next == NULL ? FILE_LAST : 0;
    pthread_mutex_lock(&f->lock);
    op_queue_add(&f->queue, op);
    pthread_mutex_unlock(&f->lock);
    pthread_cond_signal(&f->work);
    return 0;
}

int epoll_files_cancel(struct epoll_files *f, struct op *op)
{
    int result = 0;
    pthread_mutex_lock(&f->lock);
    bool queued = false;
    for (struct op *at = f->queue.head; at != NULL && !queued; at = at->next)
        queued = at == op;
    if (queued)
        op->backend |= FILE_CANCELLED;
    else
        result = -EALREADY;
    pthread_mutex_unlock(&f->lock);
    return result;
}

struct op *epoll_files_take(struct epoll_files *f)
{
    if (!epoll_files_done(f))
        return NULL;
    pthread_mutex_lock(&f->lock);
    struct op *first = op_queue_take_all(&f->done);
    atomic_store_explicit(&f->done_any, false, memory_order_relaxed);
    pthread_mutex_unlock(&f->lock);
    return first;
}

void epoll_files_deinit(struct epoll_files *f)
{
    if (f->started) {
        pthread_mutex_lock(&f->lock);
        f->stopping = true;
        pthread_mutex_unlock(&f->lock);
        pthread_cond_signal(&f->work);
        thread_join(&f->thread);
    }
    pthread_cond_destroy(&f->work);
    pthread_mutex_destroy(&f->lock);
}
