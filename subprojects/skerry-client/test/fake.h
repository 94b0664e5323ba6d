// SPDX-License-Identifier: Apache-2.0
// A server inside of the test program: a thread that accepts one connection after the other and plays a script on each.
#pragma once

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct fake;
typedef void fake_script(struct fake *fake, int fd, int connection);

struct fake {
    int listener;
    char address[32];
    pthread_t thread;
    fake_script *script;
    const void *argument;
    size_t number;
    _Atomic bool ends;
    _Atomic int connections;
};

static inline void *fake_run(void *argument)
{
    struct fake *fake = argument;
    for (;;) {
        int fd = accept(fake->listener, NULL, NULL);
        if (fd < 0)
            return NULL;
        fake->script(fake, fd, atomic_fetch_add(&fake->connections, 1));
        close(fd);
    }
}

// A listening socket on a free port of the loopback.
static inline int fake_listen(char address[32])
{
    struct sockaddr_in where = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof where;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&where, size) != 0 || getsockname(fd, (struct sockaddr *)&where, &size) != 0)
        abort();
    snprintf(address, 32, "127.0.0.1:%u", ntohs(where.sin_port));
    return fd;
}

static inline void fake_start(struct fake *fake, fake_script *script, const void *argument, size_t number)
{
    *fake = (struct fake){ .script = script, .argument = argument, .number = number };
    fake->listener = fake_listen(fake->address);
    if (listen(fake->listener, 16) != 0 || pthread_create(&fake->thread, NULL, fake_run, fake) != 0)
        abort();
}

// The client must have gone before: scripts end with their connection.
static inline void fake_stop(struct fake *fake)
{
    atomic_store(&fake->ends, true);
    shutdown(fake->listener, SHUT_RDWR);
    pthread_join(fake->thread, NULL);
    close(fake->listener);
}

// Reads one whole request frame; false when the client has gone.
static inline bool fake_take(int fd, unsigned char *opcode)
{
    unsigned char header[8], body[4096];
    if (recv(fd, header, sizeof header, MSG_WAITALL) != sizeof header)
        return false;
    uint32_t left = (uint32_t)header[4] | (uint32_t)header[5] << 8 | (uint32_t)header[6] << 16 | (uint32_t)header[7] << 24;
    while (left > 0) {
        ssize_t n = recv(fd, body, left < sizeof body ? left : sizeof body, 0);
        if (n <= 0)
            return false;
        left -= (uint32_t)n;
    }
    if (opcode != NULL)
        *opcode = header[2];
    return true;
}

static inline bool fake_say(int fd, const void *bytes, size_t length)
{
    const char *at = bytes;
    while (length > 0) {
        ssize_t n = send(fd, at, length, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        at += n;
        length -= (size_t)n;
    }
    return true;
}

// Until the client closes.
static inline void fake_wait_end(int fd)
{
    char bytes[4096];
    while (recv(fd, bytes, sizeof bytes, 0) > 0)
        ;
}
