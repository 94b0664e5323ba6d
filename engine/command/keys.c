// SPDX-License-Identifier: Apache-2.0
// Keys, whatever their values: there or not, of which type, gone.
#include "engine/command/keys.h"

#include "engine/command/places.h"

static const char *const type_names[] = {
    [ENTRY_STRING] = "string",   [ENTRY_LIST] = "list", [ENTRY_SET] = "set",
    [ENTRY_SORTED_SET] = "zset", [ENTRY_HASH] = "hash", [ENTRY_STREAM] = "stream",
};

const char *key_type_name(enum entry_type type)
{
    return type_names[type];
}

static bool forget(struct call *c, struct place at, struct slice key)
{
    bool was = keyspace_delete(at.keyspace, key, at.hash, c->now_ms);
    c->dirty += was;
    return was;
}

static bool is_there(struct call *c, struct place at, struct slice key)
{
    return keyspace_peek(at.keyspace, key, at.hash, c->now_ms) != NULL;
}

static bool touch(struct call *c, struct place at, struct slice key)
{
    return keyspace_find(at.keyspace, key, at.hash, c->now_ms) != NULL;
}

// For how many keys `one` is true.
static inline void count_keys(struct call *c, bool (*one)(struct call *, struct place, struct slice))
{
    int64_t count = 0;
    struct place at[PLACES_MAX];
    for (uint32_t arg = 1, n; arg < c->argc; arg += n) {
        n = places_load(c, arg, c->argc, 1, at);
        for (uint32_t i = 0; i < n; i++)
            count += one(c, at[i], c->argv[arg + i]);
    }
    reply_integer(c->reply, count);
}

void cmd_del(struct call *c)
{
    count_keys(c, forget);
}

void cmd_unlink(struct call *c)
{
    count_keys(c, forget);
}

void cmd_exists(struct call *c)
{
    count_keys(c, is_there);
}

void cmd_touch(struct call *c)
{
    bool before = store_set_touching(c->store, true); // also for a client that does not touch otherwise
    count_keys(c, touch);
    store_set_touching(c->store, before);
}

void cmd_type(struct call *c)
{
    struct entry *e = keyspace_peek(c->keyspace, c->argv[1], c->hash, c->now_ms);
    reply_simple(c->reply, e == NULL ? "none" : type_names[entry_type(e)]);
}
