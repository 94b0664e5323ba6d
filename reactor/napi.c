// SPDX-License-Identifier: Apache-2.0
// The C library's headers may be older than the kernel, so the two requests are spelt out here (uapi linux/eventpoll.h and
// linux/io_uring.h).
#include "reactor/napi.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define POLL_US      50 // the longest that one look may take
#define POLL_PACKETS 8  // more needs a privilege

struct epoll_request {
    uint32_t busy_poll_usecs;
    uint16_t busy_poll_budget;
    uint8_t prefer_busy_poll;
    uint8_t pad;
};

struct uring_request {
    uint32_t busy_poll_to;
    uint8_t prefer_busy_poll;
    uint8_t pad[3];
    uint64_t resv;
};

static_assert(sizeof(struct epoll_request) == 8, "as the kernel has it");
static_assert(sizeof(struct uring_request) == 16, "as the kernel has it");

#define EPOLL_SET_PARAMETERS _IOW(0x8A, 0x01, struct epoll_request)
#define URING_REGISTER_NAPI  27

int napi_poll_epoll(int epoll_fd)
{
    struct epoll_request request = { .busy_poll_usecs = POLL_US, .busy_poll_budget = POLL_PACKETS };
    return ioctl(epoll_fd, EPOLL_SET_PARAMETERS, &request) == 0 ? 0 : -errno;
}

int napi_poll_uring(int ring_fd)
{
    struct uring_request request = { .busy_poll_to = POLL_US };
    return syscall(__NR_io_uring_register, ring_fd, URING_REGISTER_NAPI, &request, 1) == 0 ? 0 : -errno;
}
