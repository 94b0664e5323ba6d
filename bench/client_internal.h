// SPDX-License-Identifier: Apache-2.0
// What the files of a client share: client_open.c makes it, client.c runs it, client_replies.c reads what comes back.
#pragma once

#include "base/assert.h"
#include "bench/client.h"

enum { CLIENT_BUFFER_GROUP = 1 };

// Notes why the client failed; returns rc.
int printf_like(3, 4) cold client_fail(struct client *c, int rc, const char *format, ...);

// Gives a receive buffer back to the kernel, `offset` places after the last that was announced.
void client_buffer_give(struct client *c, uint32_t id, int offset);

// Takes the bytes that one connection received: counts, checks and times the replies in them.
int client_replies_take(struct client *c, struct connection *conn, const uint8_t *bytes, uint64_t len);
