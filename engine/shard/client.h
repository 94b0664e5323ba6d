// SPDX-License-Identifier: Apache-2.0
// Who is at the other end of a connection: what commands like CLIENT, HELLO, AUTH, SELECT and QUIT read and change. A field of
// its connection (conn.h); only the worker that owns the connection touches it.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/slice.h"

#define CLIENT_ADDRESS_MAX 112 // "[ipv6]:port" or a unix socket's path and ":0"

enum client_flag {
    CLIENT_CLOSE_AFTER_REPLY = 1 << 0, // QUIT, protocol errors, CLIENT KILL of oneself
    CLIENT_NO_EVICT = 1 << 1,
    CLIENT_NO_TOUCH = 1 << 2,
    CLIENT_UNIX = 1 << 3,
    CLIENT_AUTHENTICATED = 1 << 4,
    CLIENT_REPLY_OFF = 1 << 5,
    CLIENT_REPLY_SKIP = 1 << 6,      // the next command's reply
    CLIENT_REPLY_SKIP_NEXT = 1 << 7, // set by CLIENT REPLY SKIP itself, becomes SKIP behind it
    CLIENT_MONITOR = 1 << 9,
    CLIENT_LEVELS = 1 << 10,   // its FCNP frames may carry a level
    CLIENT_CLOSE_NOW = 1 << 8, // CLIENT KILL by another client: checked when the worker gets to it
};

struct client {
    uint64_t id; // unique in the server, rising per worker
    uint32_t flags;
    uint32_t db;
    uint8_t protocol; // enum protocol: 2 or 3
    uint8_t level;    // enum gate_level (CLIENT DURABILITY); GATE_NO asks for nothing
    int64_t created_ms;
    int64_t last_ms; // of the last request
    const struct command *last_command;
    uint64_t requests;
    uint64_t net_in;
    uint64_t net_out;
    char *name;        // heap or NULL
    char *lib_name;    // heap or NULL
    char *lib_version; // heap or NULL
    uint32_t auth_failures;
    int fd;
    char address[CLIENT_ADDRESS_MAX];
    char local_address[CLIENT_ADDRESS_MAX];
};

void client_deinit(struct client *c);
// Names are printable and without spaces, so that CLIENT LIST can be split.
bool client_text_ok(struct slice text);
// Keeps a copy; none of an empty text. False: out of memory.
bool client_set_text(char **to, struct slice text);
// Back to a fresh connection's state, as RESET: db 0, RESP2, no name, no flags but what the connection is.
void client_reset(struct client *c, bool needs_auth);

// What CLIENT LIST wants to know of the connection around the client.
struct client_buffers {
    uint64_t query; // bytes carried over
    uint64_t query_free;
    uint64_t output;  // bytes not sent yet
    uint64_t memory;  // all bytes this connection holds
    uint64_t pending; // requests at other workers
    int64_t queued;   // between MULTI and EXEC: how many; else -1
    uint64_t watched; // keys
    uint64_t multi_memory;
    uint32_t argv_memory;
};
struct client_buffers client_buffers(const struct client *c);

struct call;
// CLIENT KILL on several workers: each answers the number that it closed (SPREAD_SUM); the fan-out gives their sum to this, which
// writes the reply that the form of the command asks for.
void client_kill_reply(struct call *c, int64_t killed);

// SHUTDOWN that succeeds and CLIENT REPLY OFF | SKIP write no reply.
