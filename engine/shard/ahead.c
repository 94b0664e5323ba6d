// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/ahead.h"

#include "engine/shard/conn.h"

static bool digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

bool ahead_key(struct slice in, struct slice *key)
{
    const uint8_t *p = in.data;
    struct fcnp_hot hot;
    if (in.len > 0 && p[0] == FCNP_MAGIC) {
        bool found = fcnp_hot(in, UINT64_MAX, &hot);
        *key = found ? hot.key : *key;
        return found;
    }
    if (in.len < 16 || p[0] != '*' || p[2] != '\r' || p[4] != '$' || !digit(p[5]) || p[6] != '\r')
        return false;
    size_t at = 8 + (size_t)(p[5] - '0') + 2; // behind the name
    if (at + 4 > in.len || p[at++] != '$')
        return false;
    size_t len = 0;
    for (int i = 0; i < 3 && at < in.len && digit(p[at]); i++)
        len = len * 10 + (size_t)(p[at++] - '0');
    if (at + 2 + len > in.len || p[at] != '\r')
        return false;
    *key = slice_of(p + at + 2, len);
    return true;
}

void ahead_look(struct worker *w, const struct completion *done, struct ahead *a)
{
    struct slice key;
    a->keyspace = NULL;
    if (done->op->owner != OWNER_CONN_RECV || done->result <= 0 || done->result > AHEAD_BYTES || (done->flags & COMPLETION_BUFFER) == 0 ||
        !ahead_key(slice_of(done->data, (size_t)done->result), &key))
        return;
    const struct conn *c = container_of(done->op, struct conn, recv);
    a->keyspace = store_keyspace(w->store, route_shard(&w->route, key), c->client.db);
    if (a->keyspace == NULL)
        return;
    a->hash = keyspace_hash(a->keyspace, key);
    keyspace_prefetch(a->keyspace, a->hash);
}
