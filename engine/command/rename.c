// SPDX-License-Identifier: Apache-2.0
// RENAME, RENAMENX, COPY and MOVE between keys of one worker: the value's bytes are copied, its deadline and mark go with them.
#include <string.h>

#include "engine/command/string_value.h"

static struct entry *look(struct call *c, struct place at, uint32_t arg)
{
    return keyspace_find(at.keyspace, c->argv[arg], at.hash, c->now_ms);
}

// The place of a key in another database of its shard.
static struct place place_in(struct call *c, uint32_t arg, uint32_t db)
{
    uint32_t own = c->db;
    c->db = db;
    struct place at = call_place(c, arg);
    c->db = own;
    return at;
}

// The target is made first, because making it may move the source.
static bool copy_value(struct call *c, struct place from, uint32_t from_arg, struct place to, uint32_t to_arg)
{
    struct entry *e = look(c, from, from_arg);
    assert(e != NULL);
    int64_t deadline = entry_deadline(e);
    bool mark = entry_mark(e);
    size_t len = entry_value(e).len;
    struct entry *copy = keyspace_set_len(to.keyspace, c->argv[to_arg], to.hash, entry_type(e), len, deadline, c->now_ms);
    if (copy == NULL) {
        reply_error(c->reply, REPLY_OUT_OF_MEMORY);
        return false;
    }
    e = keyspace_peek(from.keyspace, c->argv[from_arg], from.hash, c->now_ms);
    assert(e != NULL);
    if (len > 0)
        memcpy(entry_value_bytes(copy), entry_value(e).data, len);
    entry_set_mark(copy, mark);
    return true;
}

static void move_key(struct call *c, bool replace, bool tell)
{
    struct place from = call_place(c, 1), to = call_place(c, 2);
    if (look(c, from, 1) == NULL) {
        reply_error(c->reply, REPLY_NO_KEY);
        return;
    }
    bool same = slice_equal(c->argv[1], c->argv[2]);
    if (same || (!replace && look(c, to, 2) != NULL)) {
        if (tell)
            reply_integer(c->reply, 0);
        else
            reply_ok(c->reply);
        return;
    }
    if (!copy_value(c, from, 1, to, 2))
        return;
    keyspace_delete(from.keyspace, c->argv[1], from.hash, c->now_ms);
    c->dirty++;
    if (tell)
        reply_integer(c->reply, 1);
    else
        reply_ok(c->reply);
}

void cmd_rename(struct call *c)
{
    move_key(c, true, false);
}

void cmd_renamenx(struct call *c)
{
    move_key(c, false, true);
}

static bool database_argument(struct call *c, uint32_t arg, uint32_t *db)
{
    int64_t number;
    if (!string_integer(c, arg, &number))
        return false;
    if (number < INT32_MIN || number > INT32_MAX) {
        reply_error(c->reply, "ERR value is out of range, value must between -2147483648 and 2147483647");
        return false;
    }
    if (number < 0 || number >= store_databases(c->store)) {
        reply_error(c->reply, "ERR DB index is out of range");
        return false;
    }
    *db = (uint32_t)number;
    return true;
}

static bool copy_options(struct call *c, uint32_t *db, bool *replace)
{
    for (uint32_t arg = 3; arg < c->argc; arg++) {
        if (slice_is(c->argv[arg], "replace")) {
            *replace = true;
        } else if (slice_is(c->argv[arg], "db") && arg + 1 < c->argc) {
            if (!database_argument(c, ++arg, db))
                return false;
        } else {
            reply_error(c->reply, REPLY_SYNTAX);
            return false;
        }
    }
    return true;
}

void cmd_copy(struct call *c)
{
    uint32_t db = c->db;
    bool replace = false;
    if (!copy_options(c, &db, &replace))
        return;
    if (db == c->db && slice_equal(c->argv[1], c->argv[2])) {
        reply_error(c->reply, "ERR source and destination objects are the same");
        return;
    }
    struct place from = call_place(c, 1), to = place_in(c, 2, db);
    if (look(c, from, 1) == NULL || (!replace && look(c, to, 2) != NULL)) {
        reply_integer(c->reply, 0);
        return;
    }
    if (!copy_value(c, from, 1, to, 2))
        return;
    c->dirty++;
    reply_integer(c->reply, 1);
}

// The same key in another database: always of the same shard.
void cmd_move(struct call *c)
{
    uint32_t db;
    if (!database_argument(c, 2, &db))
        return;
    if (db == c->db) {
        reply_error(c->reply, "ERR source and destination objects are the same");
        return;
    }
    struct place from = call_place(c, 1), to = place_in(c, 1, db);
    if (look(c, from, 1) == NULL || look(c, to, 1) != NULL) {
        reply_integer(c->reply, 0);
        return;
    }
    if (!copy_value(c, from, 1, to, 1))
        return;
    keyspace_delete(from.keyspace, c->argv[1], from.hash, c->now_ms);
    c->dirty++;
    reply_integer(c->reply, 1);
}
