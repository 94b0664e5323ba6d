// SPDX-License-Identifier: Apache-2.0
// Where a server is: the text of the user, and the addresses of the kernel that it stands for.
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { ADDRESSES_MAX = 8, HOST_MAX = 256, PORT_DEFAULT = 6380 };

union socket_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un local;
};

struct address {
    char host[HOST_MAX]; // or the path of a unix socket
    uint16_t port;
    bool local;    // a unix socket
    int count, at; // resolved addresses, and which one is tried next
    union socket_address list[ADDRESSES_MAX];
};

// Reads "host:port", "host", "[v6]:port", "unix:/path", "/path". 0, or -1 with *why.
int skc_address_parse(struct address *address, const char *text, const char **why);

// Fills the list (may block for a name). 0, or -1 with *why; the list is then what it was.
int skc_address_resolve(struct address *address, const char **why);

socklen_t skc_address_length(const union socket_address *address);
void skc_address_set_port(union socket_address *address, uint16_t port);
