// SPDX-License-Identifier: Apache-2.0
#include "tools/listeners.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "reactor/clock.h"
#include "reactor/log.h"
#include "reactor/net.h"
#include "tools/service.h"

#define PATIENCE_MS 2000 // for all addresses together
#define LOOK_MS     10

static int printf_like(3, 4) fail(char *error, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(error, LISTENERS_ERROR_MAX, format, args);
    va_end(args);
    return code;
}

static void add_name(struct listeners *l, const char *name)
{
    size_t used = strlen(l->names);
    snprintf(l->names + used, sizeof l->names - used, "%s%s", used == 0 ? "" : ", ", name);
}

static void add_socket_name(struct listeners *l, int fd)
{
    char name[NET_NAME_MAX];
    net_local_name(fd, name, sizeof name);
    add_name(l, name);
}

static int next_slot(struct listeners *l, char *error)
{
    if (l->count == LISTENERS_MAX)
        return fail(error, -E2BIG, "more than %d addresses to listen on", LISTENERS_MAX);
    for (uint32_t w = 0; w < l->workers; w++)
        listeners_of(l, w)[l->count].fd = -1;
    return (int)l->count++;
}

// One socket for all workers: each gets a descriptor. Takes `fd`.
static int share(struct listeners *l, int fd, bool is_unix, char *error)
{
    uint8_t flags = (is_unix ? LISTENER_UNIX : 0) | (l->workers > 1 ? LISTENER_SHARED : 0);
    int slot = next_slot(l, error);
    if (slot < 0) {
        close(fd);
        return slot;
    }
    add_socket_name(l, fd);
    listeners_of(l, 0)[slot] = (struct listening){ .fd = fd, .flags = flags };
    for (uint32_t w = 1; w < l->workers; w++) {
        int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        if (copy < 0)
            return fail(error, -errno, "cannot give every worker a listening descriptor: %s", strerror(errno));
        listeners_of(l, w)[slot] = (struct listening){ .fd = copy, .flags = flags };
    }
    return 0;
}

// A process that was killed leaves its listening sockets to its rings, which the kernel takes down a little later than the process: who is
// started again at once finds its own address in use. Whether it is that or another server shows soon.
static bool may_become_free(struct listeners *l, int rc)
{
    if (rc != -EADDRINUSE || l->patience_ms == 0)
        return false;
    if (l->patience_ms == PATIENCE_MS)
        log_line(LOG_NOTICE, "an address is in use: waiting for up to %d s, should it be a process' that has just died",
                 PATIENCE_MS / 1000);
    l->patience_ms -= LOOK_MS;
    nanosleep(&(struct timespec){ .tv_nsec = (long)(LOOK_MS * NS_PER_MS) }, NULL);
    return true;
}

static int listen_tcp(struct listeners *l, const struct options *o, const char *host, uint16_t port, bool shared)
{
    int fd;
    do
        fd = net_listen_tcp(host, port, (int)o->tcp_backlog, shared);
    while (may_become_free(l, fd));
    return fd;
}

// With SO_REUSEPORT a second server would quietly share the port of a first one: ask without it whether the port is free.
static int port_is_free(struct listeners *l, const struct options *o, const char *host)
{
    int fd = listen_tcp(l, o, host, (uint16_t)o->port, false);
    if (fd < 0)
        return fd;
    close(fd);
    return 0;
}

static int open_tcp(struct listeners *l, const struct options *o, const char *host, bool optional, char *error)
{
    uint16_t port = (uint16_t)o->port;
    int rc = port_is_free(l, o, host);
    if (optional && (rc == -EADDRNOTAVAIL || rc == -EAFNOSUPPORT))
        return 0;
    if (rc == -EINVAL)
        return fail(error, rc, "bind: '%s' is no IPv4 or IPv6 address", host);
    if (rc < 0)
        return fail(error, rc, "cannot listen on %s port %u: %s", host, port, strerror(-rc));
    int slot = next_slot(l, error);
    if (slot < 0)
        return slot;
    for (uint32_t w = 0; w < l->workers; w++) {
        int fd = listen_tcp(l, o, host, port, true);
        if (fd < 0)
            return fail(error, fd, "cannot listen on %s port %u: %s", host, port, strerror(-fd));
        if (w == 0)
            add_socket_name(l, fd);
        listeners_of(l, w)[slot] = (struct listening){ .fd = fd };
    }
    return 0;
}

static const char *host_of(const char *word)
{
    if (strcmp(word, "*") == 0)
        return "0.0.0.0";
    return strcmp(word, "::*") == 0 ? "::" : word;
}

static int open_addresses(struct listeners *l, const struct options *o, char *error)
{
    char *addresses = strdup(o->bind), *rest = NULL;
    int rc = addresses == NULL ? fail(error, -ENOMEM, "out of memory") : 0;
    for (char *word = rc < 0 ? NULL : strtok_r(addresses, " ", &rest); word != NULL && rc == 0; word = strtok_r(NULL, " ", &rest)) {
        bool optional = word[0] == '-';
        rc = open_tcp(l, o, host_of(word + optional), optional, error);
    }
    free(addresses);
    return rc;
}

// ---- direct ports

uint32_t listeners_addresses(const struct options *o)
{
    uint32_t count = 0;
    for (const char *at = o->bind; *(at += strspn(at, " ")) != '\0'; at += strcspn(at, " "))
        count++;
    return count;
}

static int check_direct(const struct options *o, uint32_t base, uint32_t shards, char *error)
{
    uint32_t last = base + shards - 1;
    if (last > UINT16_MAX)
        return fail(error, -EINVAL, "direct-ports: the ports of %u shards from %u on pass 65535", shards, base);
    if (o->port >= base && o->port <= last)
        return fail(error, -EINVAL, "direct-ports: ports %u to %u overlap port %u", base, last, (unsigned)o->port);
    return 0;
}

static int open_direct_address(struct listeners *l, const struct options *o, const char *host, bool optional, uint32_t shards, char *error)
{
    for (uint32_t shard = 0; shard < shards; shard++) {
        uint16_t port = (uint16_t)(options_direct_base(o) + shard);
        int fd = listen_tcp(l, o, host, port, false);
        if (optional && (fd == -EADDRNOTAVAIL || fd == -EAFNOSUPPORT))
            return 0;
        if (fd < 0)
            return fail(error, fd, "cannot listen on %s port %u, shard %u's: %s", host, port, shard, strerror(-fd));
        l->direct[l->direct_count++] = (struct direct_listening){ .fd = fd, .shard = shard };
    }
    return 0;
}

static int open_direct(struct listeners *l, const struct options *o, uint32_t shards, char *error)
{
    uint32_t base = options_direct_base(o);
    int rc = check_direct(o, base, shards, error);
    if (rc < 0)
        return rc;
    l->direct = calloc((size_t)shards * listeners_addresses(o) + 1, sizeof *l->direct);
    char *addresses = strdup(o->bind), *rest = NULL;
    if (addresses == NULL || l->direct == NULL)
        rc = fail(error, -ENOMEM, "out of memory");
    for (char *word = rc < 0 ? NULL : strtok_r(addresses, " ", &rest); word != NULL && rc == 0; word = strtok_r(NULL, " ", &rest)) {
        bool optional = word[0] == '-';
        rc = open_direct_address(l, o, host_of(word + optional), optional, shards, error);
    }
    free(addresses);
    char name[64];
    snprintf(name, sizeof name, "shards at ports %u to %u", base, base + shards - 1);
    add_name(l, name);
    return rc;
}

// ---- the admin port

static int open_admin_address(struct listeners *l, const struct options *o, const char *host, char *error)
{
    uint16_t port = (uint16_t)o->admin_port;
    if (l->admin_count == LISTENERS_ADMIN_MAX)
        return fail(error, -E2BIG, "admin-bind: more than %d addresses", LISTENERS_ADMIN_MAX);
    int fd = listen_tcp(l, o, host, port, false);
    if (fd == -EINVAL)
        return fail(error, fd, "admin-bind: '%s' is no IPv4 or IPv6 address", host);
    if (fd < 0)
        return fail(error, fd, "admin-port: cannot listen on %s port %u: %s", host, port, strerror(-fd));
    l->admin[l->admin_count++] = fd;
    return 0;
}

static int open_admin(struct listeners *l, const struct options *o, char *error)
{
    char *addresses = strdup(o->admin_bind), *rest = NULL;
    int rc = addresses == NULL ? fail(error, -ENOMEM, "out of memory") : 0;
    for (char *word = rc < 0 ? NULL : strtok_r(addresses, " ", &rest); word != NULL && rc == 0; word = strtok_r(NULL, " ", &rest))
        rc = open_admin_address(l, o, host_of(word), error);
    free(addresses);
    char name[64];
    snprintf(name, sizeof name, "metrics at port %u", (unsigned)o->admin_port);
    add_name(l, name);
    return rc;
}

static int open_export(struct listeners *l, const struct options *o, char *error)
{
    char host[NET_NAME_MAX], name[NET_NAME_MAX + 32];
    uint16_t port;
    int rc = net_split(o->wal_export_addr, host, sizeof host, &port);
    if (rc == 0)
        rc = listen_tcp(l, o, host, port, false);
    if (rc < 0)
        return fail(error, rc, "wal-export-addr: cannot listen on %s: %s", o->wal_export_addr, strerror(-rc));
    l->export = rc;
    snprintf(name, sizeof name, "live export at %.100s", o->wal_export_addr);
    add_name(l, name);
    return 0;
}

static unsigned default_mode(void)
{
    mode_t mask = umask(0);
    umask(mask);
    return 0777 & ~(unsigned)mask;
}

static int open_unix(struct listeners *l, const struct options *o, char *error)
{
    unsigned mode = o->unixsocketperm == 0 ? default_mode() : (unsigned)o->unixsocketperm;
    int fd;
    do
        fd = net_listen_unix(o->unixsocket, mode, (int)o->tcp_backlog);
    while (may_become_free(l, fd));
    if (fd < 0)
        return fail(error, fd, "cannot listen on unix socket %s: %s", o->unixsocket, strerror(-fd));
    l->unix_path = realpath(o->unixsocket, NULL);
    return share(l, fd, true, error);
}

static bool is_loopback(const struct sockaddr_storage *a)
{
    if (a->ss_family == AF_INET)
        return (ntohl(((const struct sockaddr_in *)a)->sin_addr.s_addr) >> 24) == 127;
    return a->ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)a)->sin6_addr);
}

static int take_handed_over(struct listeners *l, const struct options *o, int fd, char *error)
{
    struct sockaddr_storage a = { 0 };
    socklen_t len = sizeof a;
    int listening = 0;
    socklen_t size = sizeof listening;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) != 0 || !listening ||
        getsockname(fd, (struct sockaddr *)&a, &len) != 0)
        return fail(error, -ENOTSOCK, "descriptor %d that the service manager handed over is no listening socket", fd);
    bool is_unix = a.ss_family == AF_UNIX;
    if (!is_unix && !is_loopback(&a) && o->requirepass[0] == '\0' && o->protected_mode)
        return fail(error, -EPERM, "%s", OPTIONS_EXPOSED);
    if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) != 0)
        return fail(error, -errno, "descriptor %d: %s", fd, strerror(errno));
    return share(l, fd, is_unix, error);
}

static int open_all(struct listeners *l, const struct options *o, uint32_t shards, char *error)
{
    uint32_t handed_over = service_sockets();
    int rc = 0;
    if (handed_over > 0 && o->direct_ports)
        return fail(error, -EINVAL, "direct-ports cannot be had with sockets that a service manager hands over");
    for (uint32_t i = 0; i < handed_over && rc == 0; i++)
        rc = take_handed_over(l, o, SERVICE_FDS_FIRST + (int)i, error);
    if (handed_over > 0)
        return rc;
    if (o->port != 0)
        rc = open_addresses(l, o, error);
    if (rc == 0 && o->unixsocket[0] != '\0')
        rc = open_unix(l, o, error);
    if (rc == 0 && o->direct_ports)
        rc = open_direct(l, o, shards, error);
    if (rc == 0 && l->count == 0 && l->direct_count == 0)
        return fail(error, -EINVAL, "nothing to listen on: no port, no address and no unixsocket");
    return rc;
}

int listeners_open(struct listeners *l, const struct options *o, uint32_t workers, uint32_t shards, char error[LISTENERS_ERROR_MAX])
{
    *l = (struct listeners){ .workers = workers, .export = -1, .patience_ms = PATIENCE_MS };
    l->sockets = calloc((size_t)workers * LISTENERS_MAX, sizeof *l->sockets);
    if (l->sockets == NULL)
        return fail(error, -ENOMEM, "out of memory");
    int rc = open_all(l, o, shards, error);
    if (rc == 0 && o->admin_port != 0)
        rc = open_admin(l, o, error);
    if (rc == 0 && o->wal_export_mode == WAL_EXPORT_LISTEN)
        rc = open_export(l, o, error);
    if (rc < 0)
        listeners_close(l);
    return rc;
}

void listeners_close(struct listeners *l)
{
    for (uint32_t w = 0; l->sockets != NULL && w < l->workers; w++)
        for (uint32_t i = 0; i < l->count; i++)
            if (listeners_of(l, w)[i].fd >= 0)
                close(listeners_of(l, w)[i].fd);
    for (uint32_t i = 0; i < l->direct_count; i++)
        if (l->direct[i].fd >= 0)
            close(l->direct[i].fd);
    l->direct_count = 0;
    for (uint32_t i = 0; i < l->admin_count; i++)
        if (l->admin[i] >= 0)
            close(l->admin[i]);
    l->admin_count = 0;
    if (l->sockets != NULL && l->export >= 0)
        close(l->export);
    l->export = -1;
    free(l->direct);
    l->direct = NULL;
    free(l->sockets);
    l->sockets = NULL;
    if (l->unix_path != NULL)
        unlink(l->unix_path);
    free(l->unix_path);
    l->unix_path = NULL;
}
