// SPDX-License-Identifier: Apache-2.0
#include "address.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const char **why, const char *text)
{
    *why = text;
    return -1;
}

static int copy_host(struct address *address, const char *text, size_t length, const char **why)
{
    if (length == 0)
        return fail(why, "no host in it");
    if (length >= sizeof address->host)
        return fail(why, "its host is too long");
    memcpy(address->host, text, length);
    address->host[length] = 0;
    return 0;
}

static int read_port(struct address *address, const char *text, const char **why)
{
    unsigned port = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9' && port <= UINT16_MAX; at++)
        port = port * 10 + (unsigned)(*at - '0');
    if (at == text || *at != 0 || port == 0 || port > UINT16_MAX)
        return fail(why, "its port is no number from 1 to 65535");
    address->port = (uint16_t)port;
    return 0;
}

int skc_address_parse(struct address *address, const char *text, const char **why)
{
    memset(address, 0, sizeof *address);
    address->port = PORT_DEFAULT;
    if (strncmp(text, "unix:", 5) == 0 || text[0] == '/') {
        const char *path = text[0] == '/' ? text : text + 5;
        if (strlen(path) >= sizeof address->list[0].local.sun_path)
            return fail(why, "its path is longer than 107 bytes");
        address->local = true;
        return copy_host(address, path, strlen(path), why);
    }
    if (text[0] == '[') {
        const char *end = strchr(text, ']');
        if (end == NULL || (end[1] != 0 && end[1] != ':'))
            return fail(why, "its brackets are not closed, or followed by something else than a port");
        if (end[1] == ':' && read_port(address, end + 2, why) != 0)
            return -1;
        return copy_host(address, text + 1, (size_t)(end - text - 1), why);
    }
    const char *colon = strchr(text, ':');
    if (colon != NULL && strchr(colon + 1, ':') != NULL) // ::1
        return copy_host(address, text, strlen(text), why);
    if (colon != NULL && read_port(address, colon + 1, why) != 0)
        return -1;
    return copy_host(address, text, colon != NULL ? (size_t)(colon - text) : strlen(text), why);
}

int skc_address_resolve(struct address *address, const char **why)
{
    if (address->local) {
        union socket_address *local = &address->list[0];
        memset(local, 0, sizeof *local);
        local->local.sun_family = AF_UNIX;
        memcpy(local->local.sun_path, address->host, strlen(address->host) + 1);
        address->count = 1;
        return 0;
    }
    struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST }, *found = NULL;
    int error = getaddrinfo(address->host, NULL, &hints, &found);
    if (error == EAI_NONAME) { // not a number: ask for the name
        hints.ai_flags = 0;
        error = getaddrinfo(address->host, NULL, &hints, &found);
    }
    if (error != 0)
        return fail(why, gai_strerror(error));
    int count = 0;
    for (struct addrinfo *a = found; a != NULL && count < ADDRESSES_MAX; a = a->ai_next) {
        if ((a->ai_family != AF_INET && a->ai_family != AF_INET6) || a->ai_addrlen > sizeof address->list[0])
            continue;
        memset(&address->list[count], 0, sizeof address->list[count]);
        memcpy(&address->list[count], a->ai_addr, a->ai_addrlen);
        skc_address_set_port(&address->list[count++], address->port);
    }
    freeaddrinfo(found);
    if (count == 0)
        return fail(why, "its name has no IPv4 or IPv6 address");
    address->count = count;
    address->at = 0;
    return 0;
}

socklen_t skc_address_length(const union socket_address *address)
{
    switch (address->any.sa_family) {
    case AF_INET:
        return sizeof address->v4;
    case AF_INET6:
        return sizeof address->v6;
    default:
        return sizeof address->local;
    }
}

void skc_address_set_port(union socket_address *address, uint16_t port)
{
    if (address->any.sa_family == AF_INET)
        address->v4.sin_port = htons(port);
    else if (address->any.sa_family == AF_INET6)
        address->v6.sin6_port = htons(port);
}
