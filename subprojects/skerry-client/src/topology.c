// SPDX-License-Identifier: Apache-2.0
#include "topology.h"

#include <string.h>

#define FRAME_MAX_DEFAULT (UINT64_C(512) << 20) // bytes of a body; what the specification says servers begin with

static bool is(struct skerry_client_bytes text, const char *word)
{
    return text.length == strlen(word) && memcmp(text.data, word, text.length) == 0;
}

static bool read_number(struct skerry_client_bytes text, uint64_t max, uint64_t *number)
{
    uint64_t sum = 0;
    const char *digits = text.data;
    if (text.data == NULL || text.length == 0 || text.length > 19)
        return false;
    for (size_t i = 0; i < text.length; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            return false;
        sum = sum * 10 + (uint64_t)(digits[i] - '0');
    }
    *number = sum;
    return sum <= max;
}

static int fail(const char **why, const char *text)
{
    *why = text;
    return -1;
}

static int read_pair(struct topology *t, struct skerry_client_bytes name, struct skerry_client_bytes value, const char **why)
{
    uint64_t number = 0;
    if (is(name, "shards")) {
        if (!read_number(value, SHARDS_MAX, &number) || number == 0 || (number & (number - 1)) != 0)
            return fail(why, "HELLO: shards is no power of two from 1 to 4096");
        t->shards = (uint32_t)number;
    } else if (is(name, "direct_base_port")) {
        if (value.length > 0 && (!read_number(value, UINT16_MAX, &number) || number == 0))
            return fail(why, "HELLO: direct_base_port is no port");
        t->direct_base_port = (uint16_t)number;
    } else if (is(name, "route_mode")) {
        if (!is(value, "full_key") && !is(value, "session_prefix"))
            return fail(why, "HELLO: route_mode is neither full_key nor session_prefix");
        t->session_prefix = is(value, "session_prefix");
    } else if (is(name, "frame_max")) {
        if (!read_number(value, INT64_MAX, &number))
            return fail(why, "HELLO: frame_max is no number");
        t->frame_max = number;
    } else if (is(name, "epoch")) {
        if (!read_number(value, INT64_MAX, &number))
            return fail(why, "HELLO: epoch is no number");
        t->epoch = number;
    }
    return 0;
}

int skc_topology_read(struct topology *topology, const struct skerry_client_reply *hello, const char **why)
{
    struct topology t = { .frame_max = FRAME_MAX_DEFAULT };
    struct skerry_client_bytes name, value;
    size_t cursor = 0;
    if (hello->count % 2 != 0)
        return fail(why, "HELLO: the last name has no value");
    for (size_t i = 0; i < hello->count; i += 2) {
        if (!skerry_client_item(hello, &cursor, &name) || !skerry_client_item(hello, &cursor, &value))
            return fail(why, "HELLO: cut off");
        if (name.data != NULL && read_pair(&t, name, value, why) != 0)
            return -1;
    }
    if (t.shards == 0)
        return fail(why, "HELLO: shards is missing");
    if (t.direct_base_port != 0 && t.direct_base_port + t.shards - 1 > UINT16_MAX)
        return fail(why, "HELLO: the direct ports pass 65535");
    t.direct = t.direct_base_port != 0;
    *topology = t;
    return 0;
}

bool skc_topology_same(const struct topology *a, const struct topology *b)
{
    return a->shards == b->shards && a->direct == b->direct && a->direct_base_port == b->direct_base_port &&
           a->session_prefix == b->session_prefix;
}
