// SPDX-License-Identifier: Apache-2.0
#include "tools/service.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define SOCKETS_MAX 64

static long number_of(const char *variable)
{
    const char *text = getenv(variable);
    char *end;
    if (text == NULL || *text == '\0')
        return -1;
    long value = strtol(text, &end, 10);
    return *end == '\0' ? value : -1;
}

uint32_t service_sockets(void)
{
    long pid = number_of("LISTEN_PID");
    long count = number_of("LISTEN_FDS");
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    if (pid != getpid() || count <= 0 || count > SOCKETS_MAX)
        return 0;
    for (int fd = SERVICE_FDS_FIRST; fd < SERVICE_FDS_FIRST + count; fd++)
        if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
            return 0;
    return (uint32_t)count;
}

void service_notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    if (path == NULL || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof to.sun_path)
        return;
    memcpy(to.sun_path, path, strlen(path));
    if (path[0] == '@')
        to.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    // A manager that does not listen is none of our trouble.
    (void)!sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&to, len);
    close(fd);
}
