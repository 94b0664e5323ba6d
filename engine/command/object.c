// SPDX-License-Identifier: Apache-2.0
// OBJECT: how a value is kept, in Redis' words.
#include "engine/command/string_value.h"
#include "proto/number.h"

#define EMBSTR_MAX 44

static const char *encoding_of(const struct entry *e)
{
    int64_t number;
    struct slice value = entry_value(e);
    if (entry_type(e) != ENTRY_STRING)
        return "listpack";
    if (entry_mark(e))
        return "raw";
    if (value.len <= 20 && number_parse_i64(value, &number))
        return "int";
    return value.len <= EMBSTR_MAX ? "embstr" : "raw";
}

static struct entry *peek_or_null(struct call *c)
{
    struct entry *e = keyspace_peek(c->keyspace, c->argv[2], c->hash, c->now_ms);
    if (e == NULL)
        reply_null(c->reply);
    return e;
}

void cmd_object_encoding(struct call *c)
{
    struct entry *e = peek_or_null(c);
    if (e != NULL)
        reply_bulk_cstr(c->reply, encoding_of(e));
}

void cmd_object_refcount(struct call *c)
{
    // Nothing is shared between keys.
    if (peek_or_null(c) != NULL)
        reply_integer(c->reply, 1);
}

void cmd_object_idletime(struct call *c)
{
    // Entries note accesses for the eviction policy, not when they happened.
    if (peek_or_null(c) != NULL)
        reply_integer(c->reply, 0);
}

void cmd_object_freq(struct call *c)
{
    if (peek_or_null(c) != NULL)
        reply_error(c->reply, "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching "
                              "between policies at runtime LRU and LFU data will take some time to adjust.");
}
