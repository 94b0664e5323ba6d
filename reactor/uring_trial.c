// SPDX-License-Identifier: Apache-2.0
// Some features have no bit to ask for: a kernel without them answers -EINVAL when they are used. So they are used once, on the
// new ring, with sockets of our own.
#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "reactor/uring.h"

#define TRIAL_WAIT_NS (200 * NS_PER_MS)

// The next answer to a trial; false when none comes.
static bool answer(struct uring *u, struct io_uring_cqe *out)
{
    for (int i = 0; i < 4 && !uring_has_cqe(u); i++)
        (void)uring_enter(u, TRIAL_WAIT_NS);
    if (!uring_has_cqe(u))
        return false;
    const struct io_uring_cq *cq = &u->ring.cq;
    *out = cq->cqes[*cq->khead & cq->ring_mask];
    __atomic_store_n(cq->khead, *cq->khead + 1, __ATOMIC_RELEASE);
    return true;
}

static void end_trial(struct uring *u)
{
    struct io_uring_sqe *sqe = uring_sqe(u);
    io_uring_prep_cancel64(sqe, URING_TRIAL, 0);
    sqe->user_data = URING_IGNORE;
    struct io_uring_cqe cqe;
    // The cancel's own answer and the last one of the trial, in either order.
    for (int left = 2; left > 0 && answer(u, &cqe); left--) {
        if (cqe.user_data == URING_TRIAL && (cqe.flags & IORING_CQE_F_MORE))
            left++;
    }
}

static bool accepts_multishot(struct uring *u)
{
    struct sockaddr_un any = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool works = false;
    // An address of the family alone: the kernel picks an abstract one.
    if (fd >= 0 && bind(fd, (struct sockaddr *)&any, sizeof any.sun_family) == 0 && listen(fd, 1) == 0) {
        struct io_uring_sqe *sqe = uring_sqe(u);
        io_uring_prep_multishot_accept(sqe, fd, NULL, NULL, SOCK_CLOEXEC);
        sqe->user_data = URING_TRIAL;
        (void)uring_enter(u, 0);
        struct io_uring_cqe cqe;
        works = !uring_has_cqe(u);
        if (works)
            end_trial(u);
        else
            (void)answer(u, &cqe);
    }
    if (fd >= 0)
        close(fd);
    return works;
}

static void give_back(struct uring *u, const struct io_uring_cqe *cqe)
{
    if (!(cqe->flags & IORING_CQE_F_BUFFER))
        return;
    u->buffers_free--;
    uring_buffer_return(&u->reactor, (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT));
    uring_buffers_publish(u);
}

static bool receives(struct uring *u, int fd, uint16_t how)
{
    struct io_uring_sqe *sqe = uring_sqe(u);
    io_uring_prep_recv(sqe, fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->ioprio = how;
    sqe->user_data = URING_TRIAL;
    struct io_uring_cqe cqe;
    if (!answer(u, &cqe))
        return false;
    give_back(u, &cqe);
    bool works = cqe.res == 1 && (how == 0 || (cqe.flags & IORING_CQE_F_MORE) != 0);
    if (cqe.flags & IORING_CQE_F_MORE)
        end_trial(u);
    return works;
}

static bool tries_receiving(struct uring *u, uint16_t how)
{
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
        return false;
    bool works = send(fds[1], "x", 1, MSG_NOSIGNAL) == 1 && receives(u, fds[0], how);
    close(fds[0]);
    close(fds[1]);
    return works;
}

// Unix sockets cannot: who knows the op and its flag says so.
static bool sends_zerocopy(struct uring *u)
{
    int fds[2];
    struct iovec piece = { .iov_base = (void *)(uintptr_t) "x", .iov_len = 1 };
    struct msghdr message = { .msg_iov = &piece, .msg_iovlen = 1 };
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
        return false;
    struct io_uring_sqe *sqe = uring_sqe(u);
    io_uring_prep_sendmsg_zc(sqe, fds[0], &message, MSG_NOSIGNAL);
    sqe->ioprio |= IORING_SEND_ZC_REPORT_USAGE;
    sqe->user_data = URING_TRIAL;
    struct io_uring_cqe cqe;
    bool works = answer(u, &cqe) && cqe.res == -EOPNOTSUPP;
    if (cqe.flags & IORING_CQE_F_MORE)
        (void)answer(u, &cqe);
    close(fds[0]);
    close(fds[1]);
    return works;
}

void uring_trial(struct uring *u)
{
    uint32_t *features = &u->reactor.features;
    if ((*features & REACTOR_MULTISHOT_ACCEPT) && !accepts_multishot(u))
        *features &= ~(uint32_t)REACTOR_MULTISHOT_ACCEPT;
    if ((*features & REACTOR_MULTISHOT_RECV) && !tries_receiving(u, IORING_RECV_MULTISHOT))
        *features &= ~(uint32_t)REACTOR_MULTISHOT_RECV;
    if ((*features & REACTOR_ZEROCOPY_SEND) && !sends_zerocopy(u))
        *features &= ~(uint32_t)REACTOR_ZEROCOPY_SEND;
}
