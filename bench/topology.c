// SPDX-License-Identifier: Apache-2.0
#include "bench/topology.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/slice.h"
#include "bench/dial.h"

enum { ANSWER_MAX = 4096 };

// Item `index` of an Array's body. False: there is none.
static bool item(const uint8_t *body, uint64_t len, uint32_t index, struct slice *out)
{
    uint64_t at = 4;
    for (uint32_t i = 0; len >= 4 && i < load_u32(body) && at + 4 <= len; i++) {
        uint64_t size = load_u32(body + at);
        at += 4;
        if (size == UINT32_MAX)
            size = 0;
        if (at + size > len)
            return false;
        *out = slice_of(body + at, size);
        if (i == index)
            return true;
        at += size;
    }
    return false;
}

// The number that follows this name; -1 when it is missing or empty.
static long number_of(const uint8_t *body, uint64_t len, const char *name)
{
    struct slice key, value;
    for (uint32_t i = 0; item(body, len, i, &key) && item(body, len, i + 1, &value); i += 2) {
        char text[16];
        if (!slice_equal(key, slice_cstr(name)))
            continue;
        if (value.len == 0 || value.len >= sizeof text)
            return -1;
        memcpy(text, value.data, value.len);
        text[value.len] = '\0';
        return strtol(text, NULL, 10);
    }
    return -1;
}

static int printf_like(4, 5) refuse(int rc, char *error, size_t size, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error, size, format, arguments);
    va_end(arguments);
    return rc;
}

static int read_topology(struct topology *t, const uint8_t *body, uint64_t len, char *error, size_t size)
{
    long shards = number_of(body, len, "shards"), port = number_of(body, len, "direct_base_port");
    if (shards < 1 || shards > 65536 || !is_power_of_two((uint64_t)shards))
        return refuse(-EPROTO, error, size, "the server's HELLO tells no number of shards");
    if (port < 1 || port + shards > 65536)
        return refuse(-EPROTO, error, size, "the server has no direct ports (direct-ports yes)");
    *t = (struct topology){ .shards = (uint32_t)shards, .direct_base_port = (uint16_t)port };
    return 0;
}

int topology_ask(const struct options *o, struct topology *out, char *error, size_t error_size)
{
    static const uint8_t HELLO[] = { 0xFA, 2, 61, 0, 0, 0, 0, 0 };
    uint8_t answer[ANSWER_MAX];
    int fd = dial(o, o->port, error, error_size);
    if (fd < 0)
        return fd;
    int rc = dial_ask(fd, o, HELLO, sizeof HELLO, answer, sizeof answer);
    close(fd);
    if (rc < 0)
        return refuse(rc, error, error_size, "the server does not answer HELLO: %s", strerror(-rc));
    if (answer[2] != 6)
        return refuse(-EPROTO, error, error_size, "the server does not know HELLO");
    return read_topology(out, answer + 8, (uint64_t)rc - 8, error, error_size);
}
