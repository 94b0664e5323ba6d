// SPDX-License-Identifier: Apache-2.0
#include "reactor/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"

static const struct {
    int opcode;
    const char *missing;
} NEEDED[] = {
    { IORING_OP_ACCEPT, "io_uring lacks IORING_OP_ACCEPT" },
    { IORING_OP_CONNECT, "io_uring lacks IORING_OP_CONNECT" },
    { IORING_OP_RECV, "io_uring lacks IORING_OP_RECV" },
    { IORING_OP_SEND, "io_uring lacks IORING_OP_SEND" },
    { IORING_OP_POLL_ADD, "io_uring lacks IORING_OP_POLL_ADD" },
    { IORING_OP_ASYNC_CANCEL, "io_uring lacks IORING_OP_ASYNC_CANCEL" },
    { IORING_OP_READ, "io_uring lacks IORING_OP_READ" },
    { IORING_OP_WRITE, "io_uring lacks IORING_OP_WRITE" },
    { IORING_OP_READ_FIXED, "io_uring lacks IORING_OP_READ_FIXED" },
    { IORING_OP_WRITE_FIXED, "io_uring lacks IORING_OP_WRITE_FIXED" },
    { IORING_OP_FSYNC, "io_uring lacks IORING_OP_FSYNC" },
};

const char *probe_uring_opcode_missing(struct io_uring *ring)
{
    struct io_uring_probe *probe = io_uring_get_probe_ring(ring);
    if (probe == NULL)
        return "io_uring cannot be probed (IORING_REGISTER_PROBE)";
    const char *missing = NULL;
    for (size_t i = 0; i < sizeof NEEDED / sizeof *NEEDED && missing == NULL; i++) {
        if (!io_uring_opcode_supported(probe, NEEDED[i].opcode))
            missing = NEEDED[i].missing;
    }
    io_uring_free_probe(probe);
    return missing;
}

// kernel.io_uring_disabled: 0 = allowed, 1 = for a group only, 2 = for nobody; -1 = the kernel has no such switch.
static int sysctl_disabled(void)
{
    int fd = open("/proc/sys/kernel/io_uring_disabled", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    char digit = 0;
    ssize_t n = read(fd, &digit, 1);
    close(fd);
    return n == 1 ? digit - '0' : -1;
}

const char *probe_uring_refusal(int err)
{
    static _Thread_local char text[96];
    switch (-err) {
    case EPERM:
        if (sysctl_disabled() > 0)
            return "io_uring is forbidden by kernel.io_uring_disabled";
        return "io_uring is forbidden here (EPERM, usually a container's seccomp profile)";
    case ENOSYS:
        return "io_uring is not there (ENOSYS: an old kernel or a seccomp profile)";
    case ENOMEM:
        return "io_uring gets no memory (ENOMEM: raise the memlock limit, ulimit -l)";
    case EMFILE:
    case ENFILE:
        return "io_uring gets no descriptor (raise the limit of open files)";
    case EINVAL:
        return "io_uring refuses every set of flags that we can use (EINVAL)";
    default:
        snprintf(text, sizeof text, "io_uring_setup failed: %s", strerrordesc_np(-err));
        return text;
    }
}
