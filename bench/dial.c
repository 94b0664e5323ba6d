// SPDX-License-Identifier: Apache-2.0
#include "bench/dial.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/bytes.h"
#include "bench/reply_scan.h"

enum { FCNP_HEADER = 8 };

static int set_timeouts(int fd, double seconds)
{
    struct timeval limit = { .tv_sec = (time_t)seconds, .tv_usec = (suseconds_t)((seconds - (double)(time_t)seconds) * 1e6) };
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0)
        return -errno;
    return setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) != 0 ? -errno : 0;
}

static int connect_to(const struct options *o, int family, const struct sockaddr *address, socklen_t len)
{
    int one = 1, fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int rc = set_timeouts(fd, o->timeout_s);
    if (rc == 0 && family != AF_UNIX && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0)
        rc = -errno;
    if (rc == 0 && connect(fd, address, len) != 0)
        rc = -errno;
    if (rc == 0)
        return fd;
    close(fd);
    return rc == -EINPROGRESS ? -ETIMEDOUT : rc; // what a blocking connect says when its time is up
}

static int connect_unix(const struct options *o)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    if (strlen(o->unix_path) >= sizeof address.sun_path)
        return -ENAMETOOLONG;
    memcpy(address.sun_path, o->unix_path, strlen(o->unix_path) + 1);
    return connect_to(o, AF_UNIX, (struct sockaddr *)&address, sizeof address);
}

static int connect_tcp(const struct options *o, const char *port, char *error, size_t error_size)
{
    struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM }, *list = NULL;
    int rc = getaddrinfo(o->host, port, &hints, &list);
    if (rc != 0) {
        snprintf(error, error_size, "cannot find %s: %s", o->host, gai_strerror(rc));
        return -EADDRNOTAVAIL;
    }
    int fd = -EADDRNOTAVAIL;
    for (struct addrinfo *a = list; a != NULL && fd < 0; a = a->ai_next)
        fd = connect_to(o, a->ai_family, a->ai_addr, a->ai_addrlen);
    freeaddrinfo(list);
    return fd;
}

static int send_all(int fd, const void *bytes, size_t len)
{
    const uint8_t *text = bytes;
    while (len > 0) {
        ssize_t n = send(fd, text, len, MSG_NOSIGNAL);
        if (n < 0)
            return -errno;
        text += n;
        len -= (size_t)n;
    }
    return 0;
}

// Reads one RESP reply; 0 when it is no error.
static int reply_await(int fd, char *error, size_t error_size)
{
    struct reply_scan scan;
    uint8_t bytes[4096];
    reply_scan_init(&scan, false);
    for (;;) {
        ssize_t n = recv(fd, bytes, sizeof bytes, 0);
        if (n <= 0)
            return n == 0 ? -ECONNRESET : errno == EAGAIN ? -ETIMEDOUT : -errno;
        const uint8_t *at = bytes;
        enum reply_event event = reply_scan_next(&scan, &at, bytes + n);
        if (event == REPLY_BAD)
            return -EPROTO;
        if (event == REPLY_DONE) {
            if (scan.error)
                snprintf(error, error_size, "the server refused: %s", scan.text);
            return scan.error ? -EPERM : 0;
        }
    }
}

static int ask(int fd, const char *text, char *error, size_t error_size)
{
    int rc = send_all(fd, text, strlen(text));
    return rc != 0 ? rc : reply_await(fd, error, error_size);
}

int dial_ask(int fd, const struct options *o, const void *request, size_t len, uint8_t *answer, size_t answer_max)
{
    int rc = set_timeouts(fd, o->timeout_s);
    rc = rc != 0 ? rc : send_all(fd, request, len);
    size_t got = 0, want = FCNP_HEADER;
    while (rc == 0 && got < want) {
        ssize_t n = recv(fd, answer + got, want - got, 0);
        if (n <= 0)
            return n == 0 ? -ECONNRESET : errno == EAGAIN ? -ETIMEDOUT : -errno;
        got += (size_t)n;
        if (got == FCNP_HEADER)
            want += load_u32(answer + 4);
        if (answer[0] != 0xFB || want > answer_max)
            return -EPROTO;
    }
    return rc != 0 ? rc : (int)got;
}

// AUTH: user and password, each behind its length.
static int login(int fd, const struct options *o, char *error, size_t error_size)
{
    static const char USER[] = "default";
    uint8_t frame[1024] = { 0xFA, 2, 60 }, answer[1024];
    size_t user = sizeof USER - 1, password = strlen(o->password), len = FCNP_HEADER;
    if (password > sizeof frame / 2)
        return -ENAMETOOLONG;
    store_u32(frame + 4, (uint32_t)(8 + user + password));
    store_u32(frame + len, (uint32_t)user);
    memcpy(frame + len + 4, USER, user);
    len += 4 + user;
    store_u32(frame + len, (uint32_t)password);
    memcpy(frame + len + 4, o->password, password);
    len += 4 + password;
    int rc = dial_ask(fd, o, frame, len, answer, sizeof answer);
    if (rc < 0)
        return rc;
    if (answer[2] != 0)
        snprintf(error, error_size, "the server refused: %.*s", rc - FCNP_HEADER, (const char *)answer + FCNP_HEADER);
    return answer[2] != 0 ? -EPERM : 0;
}

static int greet(int fd, const struct options *o, char *error, size_t error_size)
{
    char text[1024];
    int rc = 0;
    if (o->protocol == PROTOCOL_FCNP)
        return o->password == NULL ? 0 : login(fd, o, error, error_size);
    if (o->password != NULL) {
        if (snprintf(text, sizeof text, "*2\r\n$4\r\nAUTH\r\n$%zu\r\n%s\r\n", strlen(o->password), o->password) >= (int)sizeof text)
            return -ENAMETOOLONG;
        rc = ask(fd, text, error, error_size);
    }
    if (rc == 0 && o->protocol == 3)
        rc = ask(fd, "*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n", error, error_size);
    return rc;
}

int dial(const struct options *o, const char *port, char *error, size_t error_size)
{
    error[0] = '\0';
    int fd = o->unix_path != NULL ? connect_unix(o) : connect_tcp(o, port, error, error_size);
    int rc = fd < 0 ? fd : greet(fd, o, error, error_size);
    if (rc == 0)
        rc = set_timeouts(fd, 0);
    if (rc == 0)
        return fd;
    if (error[0] == '\0' && o->unix_path != NULL)
        snprintf(error, error_size, "cannot talk to %s: %s", o->unix_path, strerror(-rc));
    else if (error[0] == '\0')
        snprintf(error, error_size, "cannot talk to %s:%s: %s", o->host, port, strerror(-rc));
    if (fd >= 0)
        close(fd);
    return rc;
}
