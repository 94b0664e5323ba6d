// SPDX-License-Identifier: Apache-2.0
// mget: one MGET through the fanout port, or a GET per key at its shard, all under way at the same time, the answers in the keys' order.
#include "state.h"

#include <string.h>

// Values are gathered in c->batch; while it grows they are known by their offset, which is kept in the pointer's place.
static int gather(struct skerry_client *c, struct skerry_client_bytes *value, struct skerry_client_bytes bytes)
{
    if (skc_buffer_reserve(&c->batch, bytes.length + 1) != 0) // an empty value has a byte too: its pointer must not be NULL
        return skc_error(c, SKERRY_CLIENT_MEMORY, "no memory for the values of mget within memory_max (%zu bytes)", c->memory.max);
    size_t at = skc_buffer_length(&c->batch);
    if (bytes.length > 0)
        memcpy(c->batch.data + c->batch.end, bytes.data, bytes.length);
    c->batch.end += bytes.length + 1;
    *value = (struct skerry_client_bytes){ (const void *)(uintptr_t)(at + 1), bytes.length };
    return SKERRY_CLIENT_OK;
}

static void offsets_to_pointers(struct skerry_client *c, struct skerry_client_bytes *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (values[i].data != NULL)
            values[i].data = c->batch.data + c->batch.start + ((uintptr_t)values[i].data - 1);
}

// A key of another type is no string: MGET answers null for it, GET an error.
static bool is_wrong_type(const struct skerry_client_reply *reply)
{
    return reply->status == SKERRY_CLIENT_SERVER && reply->bytes.length >= 9 && memcmp(reply->bytes.data, "WRONGTYPE", 9) == 0;
}

static int take_one(struct skerry_client *c, struct skerry_client_bytes *value)
{
    const struct skerry_client_reply *reply;
    int status = skerry_client_wait(c, &reply);
    if (status != SKERRY_CLIENT_OK)
        return status;
    if (reply->status == SKERRY_CLIENT_OK)
        return gather(c, value, reply->bytes);
    *value = (struct skerry_client_bytes){ 0 };
    return reply->status == SKERRY_CLIENT_MISSING || is_wrong_type(reply) ? SKERRY_CLIENT_OK : reply->status;
}

// Queues as much as fits, takes the oldest when no more does. After an error what is outstanding is still taken, so that the next call
// finds nothing left over.
static int get_each(struct skerry_client *c, const struct skerry_client_bytes *keys, size_t count, struct skerry_client_bytes *values)
{
    size_t queued = 0, taken = 0;
    int status = SKERRY_CLIENT_OK;
    char first_error[sizeof c->error] = "";
    while (taken < (status == SKERRY_CLIENT_OK ? count : queued)) {
        int now = SKERRY_CLIENT_OK;
        while (status == SKERRY_CLIENT_OK && now == SKERRY_CLIENT_OK && queued < count) {
            struct wire_request get = { .opcode = WIRE_GET, .layout = WIRE_KEY, .routed = true, .key = keys[queued] };
            now = skc_queue(c, &get, NULL);
            queued += now == SKERRY_CLIENT_OK;
        }
        if (now == SKERRY_CLIENT_OK || (now == SKERRY_CLIENT_FULL && queued > taken))
            now = take_one(c, &values[taken++]);
        if (now != SKERRY_CLIENT_OK && status == SKERRY_CLIENT_OK) {
            status = now;
            memcpy(first_error, c->error, sizeof first_error);
        }
    }
    if (status != SKERRY_CLIENT_OK)
        memcpy(c->error, first_error, sizeof first_error);
    return status;
}

static int get_together(struct skerry_client *c, const struct skerry_client_bytes *keys, size_t count, struct skerry_client_bytes *values)
{
    const struct skerry_client_reply *reply;
    struct wire_request mget = { .opcode = WIRE_MGET, .layout = WIRE_LIST, .parts = keys, .part_count = count };
    int status = skc_call(c, &mget, true, &reply);
    if (status != SKERRY_CLIENT_OK)
        return status;
    if (reply->count != count)
        return skc_error(c, SKERRY_CLIENT_PROTOCOL, "MGET of %zu keys was answered with %zu values", count, reply->count);
    size_t cursor = 0;
    for (size_t i = 0; i < count; i++)
        (void)skerry_client_item(reply, &cursor, &values[i]);
    return SKERRY_CLIENT_OK;
}

int skerry_client_mget(struct skerry_client *c, const struct skerry_client_bytes *keys, size_t count, struct skerry_client_bytes *values)
{
    enum { TRIES = 4 };
    if (count == 0)
        return SKERRY_CLIENT_OK;
    memset(values, 0, count * sizeof *values);
    int status = skc_blocking(c);
    for (size_t i = 0; status == SKERRY_CLIENT_OK && i < count; i++)
        if (keys[i].data == NULL && keys[i].length > 0)
            status = skc_error(c, SKERRY_CLIENT_INVALID, "key %zu is NULL and %zu bytes long", i, keys[i].length);
    if (status != SKERRY_CLIENT_OK)
        return status;
    if (!c->discovers || (!skc_discovery_needed(c) && !c->topology.direct))
        return get_together(c, keys, count, values);
    for (int i = 0; i < TRIES; i++) {
        skc_buffer_consume(&c->batch, skc_buffer_length(&c->batch));
        status = get_each(c, keys, count, values);
        if (status != SKERRY_CLIENT_MOVED && status != SKERRY_CLIENT_CLOSED)
            break;
    }
    if (status == SKERRY_CLIENT_OK)
        offsets_to_pointers(c, values, count);
    else
        memset(values, 0, count * sizeof *values);
    return status;
}
