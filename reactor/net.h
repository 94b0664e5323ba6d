// SPDX-License-Identifier: Apache-2.0
// Sockets outside of the data path: listening, options, names, limits. Everything returns -errno on failure; descriptors
// are non-blocking and close-on-exec.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/assert.h"

// `host`: a numeric IPv4 or IPv6 address. `reuse_port`: every reactor listens by itself and the kernel spreads connections.
// `port` 0: the kernel picks one (net_port tells). Returns the descriptor.
int net_listen_tcp(const char *host, uint16_t port, int backlog, bool reuse_port) warn_unused;
// Takes the place of a dead server's socket file, never of a live one's (-EADDRINUSE) or of something else (-EEXIST).
int net_listen_unix(const char *path, unsigned mode, int backlog) warn_unused;

// Blocking connects, for tools and tests; the descriptor is blocking.
int net_connect_tcp(const char *host, uint16_t port) warn_unused;
int net_connect_unix(const char *path) warn_unused;

// "127.0.0.1:7630" or "[::1]:7630" as host (`size` bytes) and port. -EINVAL.
int net_split(const char *text, char *host, size_t size, uint16_t *port) warn_unused;
// The same as a socket address, for OP_CONNECT on a socket of its family (net_open_socket: non-blocking).
int net_address(struct sockaddr_storage *out, uint32_t *len, const char *text) warn_unused;
int net_open_socket(int family) warn_unused;

// The local port, 0 when it has none.
uint16_t net_port(int fd);

// Send at once what was sent. A unix socket answers -EOPNOTSUPP.
int net_set_nodelay(int fd);
// Probes after `seconds` of silence, three of them at a third of that, as Redis; 0 = off.
int net_set_keepalive(int fd, int seconds);

#define NET_NAME_MAX 128

// "127.0.0.1:6380", "[::1]:6380", "/path/of.sock:0" as in Redis' CLIENT LIST, "?:0" when unknown. Returns the length.
size_t net_peer_name(int fd, char *text, size_t size);
size_t net_local_name(int fd, char *text, size_t size);

// True for 127.0.0.0/8 and ::1.
bool net_is_loopback(const char *host);

// Raises the limit of open files to `wanted`, or as far as allowed; returns what it is now.
uint64_t net_raise_files(uint64_t wanted);
