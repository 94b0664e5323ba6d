// SPDX-License-Identifier: Apache-2.0
#include "reactor/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un local;
};

static int close_and(int fd, int result)
{
    close(fd);
    return result;
}

static int address_parse(union address *a, socklen_t *len, const char *host, uint16_t port)
{
    memset(a, 0, sizeof *a);
    if (inet_pton(AF_INET, host, &a->v4.sin_addr) == 1) {
        a->v4.sin_family = AF_INET;
        a->v4.sin_port = htons(port);
        *len = sizeof a->v4;
        return 0;
    }
    if (inet_pton(AF_INET6, host, &a->v6.sin6_addr) == 1) {
        a->v6.sin6_family = AF_INET6;
        a->v6.sin6_port = htons(port);
        *len = sizeof a->v6;
        return 0;
    }
    return -EINVAL;
}

static int address_local(union address *a, socklen_t *len, const char *path)
{
    memset(a, 0, sizeof *a);
    if (strlen(path) >= sizeof a->local.sun_path)
        return -ENAMETOOLONG;
    a->local.sun_family = AF_UNIX;
    memcpy(a->local.sun_path, path, strlen(path));
    *len = sizeof a->local;
    return 0;
}

static int set_option(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof value) == 0 ? 0 : -errno;
}

int net_listen_tcp(const char *host, uint16_t port, int backlog, bool reuse_port)
{
    union address a;
    socklen_t len;
    int err = address_parse(&a, &len, host, port);
    if (err < 0)
        return err;
    int fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    err = set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (err == 0 && reuse_port)
        err = set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    // A v6 address means v6: the v4 one has a listener of its own.
    if (err == 0 && a.any.sa_family == AF_INET6)
        err = set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    if (err < 0)
        return close_and(fd, err);
    if (bind(fd, &a.any, len) != 0 || listen(fd, backlog) != 0)
        return close_and(fd, -errno);
    return fd;
}

// A socket file stays when its server dies; nobody answers there then.
static int remove_stale(const char *path)
{
    struct stat st;
    if (lstat(path, &st) != 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(st.st_mode))
        return -EEXIST;
    int fd = net_connect_unix(path);
    if (fd >= 0)
        return close_and(fd, -EADDRINUSE);
    if (fd != -ECONNREFUSED)
        return fd;
    return unlink(path) == 0 ? 0 : -errno;
}

int net_listen_unix(const char *path, unsigned mode, int backlog)
{
    union address a;
    socklen_t len;
    int err = address_local(&a, &len, path);
    if (err == 0)
        err = remove_stale(path);
    if (err < 0)
        return err;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    // The mode is set before anybody can connect: listen comes last.
    if (bind(fd, &a.any, len) != 0 || chmod(path, mode) != 0 || listen(fd, backlog) != 0)
        return close_and(fd, -errno);
    return fd;
}

static int connect_to(const union address *a, socklen_t len)
{
    int fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, &a->any, len) != 0)
        return close_and(fd, -errno);
    return fd;
}

int net_split(const char *text, char *host, size_t size, uint16_t *port)
{
    const char *colon = strrchr(text, ':');
    if (colon == NULL || colon[1] < '0' || colon[1] > '9')
        return -EINVAL;
    char *end;
    unsigned long number = strtoul(colon + 1, &end, 10);
    bool bracketed = text[0] == '[' && colon > text + 1 && colon[-1] == ']';
    const char *from = text + bracketed;
    size_t len = (size_t)(colon - from) - bracketed;
    if (*end != '\0' || number == 0 || number > UINT16_MAX || len == 0 || len >= size || (!bracketed && memchr(from, ':', len) != NULL))
        return -EINVAL;
    memcpy(host, from, len);
    host[len] = '\0';
    *port = (uint16_t)number;
    return 0;
}

int net_address(struct sockaddr_storage *out, uint32_t *len, const char *text)
{
    char host[NET_NAME_MAX];
    uint16_t port;
    union address a;
    socklen_t size = 0;
    int err = net_split(text, host, sizeof host, &port);
    if (err == 0)
        err = address_parse(&a, &size, host, port);
    if (err < 0)
        return err;
    memcpy(out, &a, size);
    *len = size;
    return 0;
}

int net_open_socket(int family)
{
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return fd < 0 ? -errno : fd;
}

int net_connect_tcp(const char *host, uint16_t port)
{
    union address a;
    socklen_t len;
    int err = address_parse(&a, &len, host, port);
    return err < 0 ? err : connect_to(&a, len);
}

int net_connect_unix(const char *path)
{
    union address a;
    socklen_t len;
    int err = address_local(&a, &len, path);
    return err < 0 ? err : connect_to(&a, len);
}

static uint16_t address_port(const union address *a)
{
    if (a->any.sa_family == AF_INET)
        return ntohs(a->v4.sin_port);
    return a->any.sa_family == AF_INET6 ? ntohs(a->v6.sin6_port) : 0;
}

uint16_t net_port(int fd)
{
    union address a;
    socklen_t len = sizeof a;
    return getsockname(fd, &a.any, &len) == 0 ? address_port(&a) : 0;
}

int net_set_nodelay(int fd)
{
    return set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
}

int net_set_keepalive(int fd, int seconds)
{
    if (seconds <= 0)
        return set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 0);
    int interval = seconds / 3 > 0 ? seconds / 3 : 1;
    int err = set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    if (err == 0)
        err = set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, seconds);
    if (err == 0)
        err = set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, interval);
    if (err == 0)
        err = set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
    return err;
}

static size_t address_text(const union address *a, char *text, size_t size)
{
    char host[INET6_ADDRSTRLEN] = "?";
    int n;
    if (a->any.sa_family == AF_INET && inet_ntop(AF_INET, &a->v4.sin_addr, host, sizeof host) != NULL)
        n = snprintf(text, size, "%s:%u", host, (unsigned)address_port(a));
    else if (a->any.sa_family == AF_INET6 && inet_ntop(AF_INET6, &a->v6.sin6_addr, host, sizeof host) != NULL)
        n = snprintf(text, size, "[%s]:%u", host, (unsigned)address_port(a));
    else if (a->any.sa_family == AF_UNIX)
        n = snprintf(text, size, "%.108s:0", a->local.sun_path);
    else
        n = snprintf(text, size, "?:0");
    return (size_t)n < size ? (size_t)n : size - 1;
}

size_t net_local_name(int fd, char *text, size_t size)
{
    union address a;
    memset(&a, 0, sizeof a);
    socklen_t len = sizeof a - 1;
    if (getsockname(fd, &a.any, &len) != 0)
        a.any.sa_family = AF_UNSPEC;
    return address_text(&a, text, size);
}

// Who connected to a unix socket has no name of its own: it is known by ours.
size_t net_peer_name(int fd, char *text, size_t size)
{
    union address a;
    memset(&a, 0, sizeof a);
    socklen_t len = sizeof a - 1;
    if (getpeername(fd, &a.any, &len) != 0)
        a.any.sa_family = AF_UNSPEC;
    bool nameless = a.any.sa_family == AF_UNIX && a.local.sun_path[0] == '\0';
    return nameless ? net_local_name(fd, text, size) : address_text(&a, text, size);
}

bool net_is_loopback(const char *host)
{
    union address a;
    socklen_t len;
    if (address_parse(&a, &len, host, 0) < 0)
        return false;
    if (a.any.sa_family == AF_INET)
        return ntohl(a.v4.sin_addr.s_addr) >> 24 == 127;
    return IN6_IS_ADDR_LOOPBACK(&a.v6.sin6_addr);
}

uint64_t net_raise_files(uint64_t wanted)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 0;
    if (limit.rlim_cur >= wanted)
        return limit.rlim_cur;
    // Root may go beyond the hard limit; everybody else up to it.
    struct rlimit higher = { .rlim_cur = wanted, .rlim_max = limit.rlim_max > wanted ? limit.rlim_max : wanted };
    if (setrlimit(RLIMIT_NOFILE, &higher) == 0)
        return wanted;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 0;
}
