// SPDX-License-Identifier: Apache-2.0
// The small calls on a socket that are no ops: done at once, by the kernel or by the simulated world.
#include "reactor/backend.h"
#include "reactor/net.h"

void reactor_shutdown(struct reactor *r, int fd)
{
    if (r->ops->shutdown_fd != NULL)
        r->ops->shutdown_fd(r, fd);
    else
        (void)shutdown(fd, SHUT_RDWR);
}

void reactor_send_now(struct reactor *r, int fd, struct slice bytes)
{
    if (r->ops->send_now != NULL)
        r->ops->send_now(r, fd, bytes);
    else
        (void)!send(fd, bytes.data, bytes.len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void reactor_names(struct reactor *r, int fd, char *peer, char *own, size_t size)
{
    if (r->ops->names != NULL) {
        r->ops->names(r, fd, peer, own, size);
        return;
    }
    (void)net_peer_name(fd, peer, size);
    (void)net_local_name(fd, own, size);
}
