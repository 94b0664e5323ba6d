// SPDX-License-Identifier: Apache-2.0
// What commands ask of their call, and the refusals that are spelled the same whoever dispatches.
#include <stdio.h>

#include "engine/command/command.h"

struct blob *call_take_blob(struct call *c, uint32_t arg)
{
    if (likely(c->blobs == NULL) || c->blobs[arg] == NULL)
        return NULL;
    struct blob *b = c->blobs[arg];
    c->blobs[arg] = NULL;
    return b;
}

void call_each_keyspace(struct call *c, call_keyspace_fn *fn, void *context)
{
    for (uint32_t shard = 0; shard < c->route->shards; shard++) {
        struct keyspace *ks = store_keyspace(c->store, shard, c->db);
        if (ks != NULL)
            fn(context, ks, shard);
    }
}

// Redis shows at most 128 bytes of the name and about as many of the arguments.
void command_reply_unknown(struct reply *r, const struct slice *argv, uint32_t argc)
{
    char args[160] = "";
    size_t used = 0;
    for (uint32_t i = 1; i < argc && used < 128; i++) {
        size_t room = 128 - used;
        int len = (int)(argv[i].len < room ? argv[i].len : room);
        used += (size_t)snprintf(args + used, sizeof args - used, "'%.*s' ", len, (const char *)argv[i].data);
    }
    int len = argv[0].len < 128 ? (int)argv[0].len : 128;
    reply_error_format(r, "ERR unknown command '%.*s', with args beginning with: %s", len, (const char *)argv[0].data, args);
}

void command_reply_arity(struct reply *r, const struct command *c)
{
    reply_error_format(r, "ERR wrong number of arguments for '%s' command", c->name);
}
