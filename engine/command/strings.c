// SPDX-License-Identifier: Apache-2.0
// Strings: whole values and parts of them. Numbers in strings are numbers.c, SET's options set.c.
#include "engine/command/string_value.h"

#include <string.h>

#include "engine/command/places.h"
#include "proto/number.h"

bool string_integer(struct call *c, uint32_t arg, int64_t *out)
{
    if (likely(number_parse_i64(c->argv[arg], out)))
        return true;
    reply_error(c->reply, REPLY_NOT_INTEGER);
    return false;
}

bool string_length_ok(struct call *c, uint64_t offset, uint64_t len)
{
    if (likely(len <= c->bulk_max && offset <= c->bulk_max - len))
        return true;
    reply_error(c->reply, REPLY_STRING_TOO_LONG);
    return false;
}

uint8_t *string_extend(struct call *c, uint32_t arg, struct entry *e, size_t len)
{
    if (e == NULL) {
        e = keyspace_set_len(c->keyspace, c->argv[arg], c->hash, ENTRY_STRING, len, ENTRY_NO_DEADLINE, c->now_ms);
        if (e != NULL)
            memset(entry_value_bytes(e), 0, len);
    } else if (entry_value(e).len < len) {
        e = keyspace_resize(c->keyspace, e, len);
    }
    uint8_t *bytes = e == NULL ? NULL : keyspace_write(c->keyspace, e, c->hash);
    if (unlikely(bytes == NULL)) {
        reply_error(c->reply, REPLY_OUT_OF_MEMORY);
    } else if (!entry_mark(e)) {
        entry_set_mark(e, true);
        keyspace_marked(c->keyspace, c->argv[arg], c->hash);
    }
    return bytes;
}

static void reply_large(struct call *c, const struct entry *e)
{
    if (c->refer == NULL || !c->refer(c, entry_blob(e)))
        reply_bulk(c->reply, entry_value(e));
}

void cmd_get(struct call *c)
{
    struct entry *e;
    if (!string_find(c, 1, &e))
        return;
    if (e == NULL)
        reply_null(c->reply);
    else if (unlikely(entry_blob(e) != NULL))
        reply_large(c, e);
    else
        reply_bulk(c->reply, entry_value(e));
}

void cmd_getdel(struct call *c)
{
    struct entry *e;
    if (!string_find(c, 1, &e))
        return;
    if (e == NULL) {
        reply_null(c->reply);
        return;
    }
    reply_bulk(c->reply, entry_value(e));
    keyspace_remove(c->keyspace, e);
    c->dirty++;
}

void cmd_mget(struct call *c)
{
    reply_array(c->reply, c->argc - 1);
    struct place at[PLACES_MAX];
    for (uint32_t arg = 1, n; arg < c->argc; arg += n) {
        n = places_load(c, arg, c->argc, 1, at);
        for (uint32_t i = 0; i < n; i++) {
            struct entry *e = keyspace_find(at[i].keyspace, c->argv[arg + i], at[i].hash, c->now_ms);
            if (e != NULL && entry_type(e) == ENTRY_STRING)
                reply_bulk(c->reply, entry_value(e));
            else
                reply_null(c->reply);
        }
    }
}

void cmd_strlen(struct call *c)
{
    struct entry *e;
    if (string_find(c, 1, &e))
        reply_integer(c->reply, e == NULL ? 0 : (int64_t)entry_value(e).len);
}

// Bytes `start` to `end`, both inclusive, negative ones counted from the end.
static struct slice range_of(struct slice value, int64_t start, int64_t end)
{
    int64_t len = (int64_t)value.len;
    if (start < 0 && end < 0 && start > end)
        return slice_of(value.data, 0);
    if (start < 0)
        start = start + len < 0 ? 0 : start + len;
    if (end < 0)
        end = end + len < 0 ? 0 : end + len;
    if (end >= len)
        end = len - 1;
    if (start > end || len == 0)
        return slice_of(value.data, 0);
    return slice_of(value.data + start, (size_t)(end - start + 1));
}

void cmd_getrange(struct call *c)
{
    int64_t start, end;
    struct entry *e;
    if (!string_integer(c, 2, &start) || !string_integer(c, 3, &end) || !string_find(c, 1, &e))
        return;
    reply_bulk(c->reply, e == NULL ? slice_of("", 0) : range_of(entry_value(e), start, end));
}

void cmd_substr(struct call *c)
{
    cmd_getrange(c);
}

void cmd_setrange(struct call *c)
{
    int64_t offset;
    struct entry *e;
    struct slice value = c->argv[3];
    if (!string_integer(c, 2, &offset))
        return;
    if (offset < 0) {
        reply_error(c->reply, "ERR offset is out of range");
        return;
    }
    if (!string_find(c, 1, &e))
        return;
    size_t len = e == NULL ? 0 : entry_value(e).len;
    if (value.len == 0) {
        reply_integer(c->reply, (int64_t)len);
        return;
    }
    if (!string_length_ok(c, (uint64_t)offset, value.len))
        return;
    size_t end = (size_t)offset + value.len;
    uint8_t *bytes = string_extend(c, 1, e, end);
    if (bytes == NULL)
        return;
    memcpy(bytes + offset, value.data, value.len);
    keyspace_wrote(c->keyspace, c->argv[1], c->hash, (uint64_t)offset, end);
    c->dirty++;
    reply_integer(c->reply, (int64_t)(len > end ? len : end));
}

void cmd_append(struct call *c)
{
    struct entry *e;
    struct slice tail = c->argv[2];
    if (!string_find(c, 1, &e))
        return;
    size_t len = e == NULL ? 0 : entry_value(e).len;
    if (e == NULL) {
        // As if it were SET: a number stays one.
        if (keyspace_set(c->keyspace, c->argv[1], c->hash, ENTRY_STRING, tail, ENTRY_NO_DEADLINE, c->now_ms) == NULL) {
            reply_error(c->reply, REPLY_OUT_OF_MEMORY);
            return;
        }
    } else {
        if (!string_length_ok(c, len, tail.len))
            return;
        uint8_t *bytes = string_extend(c, 1, e, len + tail.len);
        if (bytes == NULL)
            return;
        if (tail.len > 0)
            memcpy(bytes + len, tail.data, tail.len);
        else
            keyspace_wrote(c->keyspace, c->argv[1], c->hash, len, len);
    }
    c->dirty++;
    reply_integer(c->reply, (int64_t)(len + tail.len));
}
