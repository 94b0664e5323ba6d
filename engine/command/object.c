// SPDX-License-Identifier: Apache-2.0
// OBJECT: how a value is kept, in Redis' words.
#include "engine/command/keys.h"
#include "engine/command/string_value.h"
#include "proto/number.h"

#define EMBSTR_MAX 44

const char *object_encoding(const struct entry *e)
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
        reply_bulk_cstr(c->reply, object_encoding(e));
}

void cmd_object_refcount(struct call *c)
{
    // Nothing is shared between keys.
    if (peek_or_null(c) != NULL)
        reply_integer(c->reply, 1);
}

static bool is_lfu(const struct call *c)
{
    enum store_policy policy = store_policy(c->store);
    return policy == STORE_ALLKEYS_LFU || policy == STORE_VOLATILE_LFU;
}

// Known under an LRU policy only: entries keep what the policy needs and nothing else.
void cmd_object_idletime(struct call *c)
{
    struct entry *e = peek_or_null(c);
    if (e == NULL)
        return;
    if (is_lfu(c))
        reply_error(c->reply, "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between "
                              "policies at runtime LRU and LFU data will take some time to adjust.");
    else
        reply_integer(c->reply, keyspace_idle_ms(c->keyspace, e, c->now_ms) / 1000);
}

void cmd_object_freq(struct call *c)
{
    struct entry *e = peek_or_null(c);
    if (e == NULL)
        return;
    if (is_lfu(c))
        reply_integer(c->reply, keyspace_frequency(c->keyspace, e, c->now_ms));
    else
        reply_error(c->reply, "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching "
                              "between policies at runtime LRU and LFU data will take some time to adjust.");
}
