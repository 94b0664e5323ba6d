// SPDX-License-Identifier: Apache-2.0
// The backend of threads that do nothing but files (the log's and the keeper's): an op is a system call of the calling thread.
//
//   turn   each submitted op runs, in the order of submission; a chain (OP_LINK) ends with its first failure
//          nothing was submitted: sleep on the eventfd until somebody wakes us, or time is up
//
// A thread that sleeps in its own write costs the cores of the reactors less than a ring whose kernel workers share these cores
// (docs/decisions). There is nothing to be cancelled: an op is over when the turn is.
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include "reactor/backend.h"
#include "reactor/completions.h"
#include "reactor/ticks.h"
#include "reactor/wait.h"

struct blocking {
    struct reactor reactor; // first
    struct completions done;
    struct wait wait;
};

static struct blocking *blocking_of(struct reactor *r)
{
    return (struct blocking *)(void *)r;
}

static int32_t run_op(struct reactor *r, const struct op *op)
{
    struct iovec v = { .iov_base = op->data, .iov_len = op->len };
    ssize_t n;
    do {
        r->stats.syscalls++;
        if (op->kind == OP_READ)
            n = preadv(op->fd, &v, 1, (off_t)op->offset);
        else if (op->kind == OP_WRITE)
            n = pwritev2(op->fd, &v, 1, (off_t)op->offset, op->flags & OP_DSYNC ? RWF_DSYNC : 0);
        else
            n = fdatasync(op->fd);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : (int32_t)n;
}

static bool is_file_op(const struct op *op)
{
    return op->kind == OP_READ || op->kind == OP_WRITE || op->kind == OP_FSYNC;
}

static bool in_full(const struct op *op, int32_t result)
{
    return op->kind == OP_FSYNC ? result == 0 : result == (int32_t)op->len;
}

static void run_submitted(struct blocking *b)
{
    bool failed = false;
    for (struct op *op = reactor_take_submitted(&b->reactor), *next; op != NULL; op = next) {
        next = op->next;
        int32_t result = failed ? -ECANCELED : is_file_op(op) ? run_op(&b->reactor, op) : -EINVAL;
        failed = (op->flags & OP_LINK) != 0 && !in_full(op, result);
        op->state = OP_IDLE;
        b->reactor.stats.ops++;
        completions_add(&b->done, op, result, 0);
    }
}

// Until somebody wakes us, a signal comes, or time is up.
static void sleep_until(struct reactor *r, uint64_t deadline_ns)
{
    if (!wait_lie_down(r))
        return;
    struct pollfd p = { .fd = r->wake_fd, .events = POLLIN };
    int n = 0;
    for (uint64_t now = r->now_ns; n == 0 && now < deadline_ns; now = clock_now_ns()) {
        uint64_t left = deadline_ns - now;
        struct timespec ts = { .tv_sec = (time_t)(left / NS_PER_SEC), .tv_nsec = (long)(left % NS_PER_SEC) };
        r->stats.enters++;
        r->stats.syscalls++;
        n = ppoll(&p, 1, &ts, NULL);
    }
    wait_get_up(r);
    eventfd_t ignored;
    if (n > 0)
        (void)eventfd_read(r->wake_fd, &ignored);
}

static bool never_ready(struct reactor *r)
{
    return false;
}

static uint32_t blocking_turn(struct reactor *r, uint64_t wait_ns, const struct completion **out)
{
    struct blocking *b = blocking_of(r);
    b->done.count = 0;
    run_submitted(b);
    bool waits = wait_ns > 0 && b->done.count == 0;
    if (waits) {
        uint64_t limit = wait_ns < WAIT_MAX_NS ? wait_ns : WAIT_MAX_NS, start = wait_begin(r);
        if (!wait_wants_spin(&b->wait) || !wait_spin(&b->wait, r, start, limit, never_ready))
            sleep_until(r, start + limit);
    }
    r->stats.completions += b->done.count;
    wait_turn_end(&b->wait, r, waits);
    *out = b->done.items;
    return b->done.count;
}

static void blocking_buffer_return(struct reactor *r, uint16_t buffer)
{
    abort(); // nobody has ever got one
}

static int blocking_register_buffers(struct reactor *r, const struct slice *buffers, uint32_t count)
{
    return -EOPNOTSUPP;
}

static void blocking_close_fd(struct reactor *r, int fd)
{
    r->stats.syscalls++;
    close(fd);
}

static struct reactor *blocking_free(struct reactor *r)
{
    struct blocking *b = blocking_of(r);
    completions_deinit(&b->done);
    wait_close(r);
    free(b);
    return NULL;
}

static const struct reactor_ops BLOCKING_OPS = {
    .name = "blocking",
    .turn = blocking_turn,
    .buffer_return = blocking_buffer_return,
    .wake = wait_wake,
    .register_buffers = blocking_register_buffers,
    .close_fd = blocking_close_fd,
    .free = blocking_free,
};

int blocking_open(struct reactor **out, const struct reactor_options *options, const char **why)
{
    struct blocking *b = calloc(1, sizeof *b);
    if (b == NULL)
        return -ENOMEM;
    reactor_init(&b->reactor, &BLOCKING_OPS, REACTOR_BLOCKING);
    int err = completions_init(&b->done, 16);
    if (err < 0)
        goto free_memory;
    err = wait_open(&b->wait, &b->reactor, options->spin_us);
    if (err < 0) {
        *why = "no descriptor to be woken by (raise the limit of open files)";
        goto free_completions;
    }
    ticks_open(&b->reactor);
    b->reactor.now_ns = clock_now_ns();
    b->reactor.wall_ms = clock_wall_ms();
    *out = &b->reactor;
    return 0;

free_completions:
    completions_deinit(&b->done);
free_memory:
    free(b);
    return err;
}
