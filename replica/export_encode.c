// SPDX-License-Identifier: Apache-2.0
// Records of the log -> frames. Two passes over the turn: how long, then what; so a block is one piece of memory of the right size.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/hash.h"
#include "persist/fcw2.h"
#include "persist/format.h"
#include "replica/export.h"

// What version 1 says: a whole value, a deletion, a deadline, of database 0 (it knows no others).
static bool is_plain(const struct record *r)
{
    return r->db == 0 && r->op != RECORD_EFFECT && (r->flags & RECORD_TYPE) == 0;
}

static void put_argument(struct buf *out, struct slice text)
{
    uint8_t len[4];
    store_u32(len, (uint32_t)text.len);
    buf_append(out, len, 4);
    buf_append_slice(out, text);
}

static void put_number(struct buf *out, int64_t number)
{
    char text[24];
    int len = snprintf(text, sizeof text, "%lld", (long long)number);
    put_argument(out, slice_of(text, (size_t)len));
}

static uint32_t put_words(struct buf *out, const struct record *r)
{
    switch ((enum record_op)r->op) {
    case RECORD_DELETE:
        put_argument(out, slice_cstr("DEL"));
        put_argument(out, r->key);
        return 2;
    case RECORD_EXPIRE:
        put_argument(out, slice_cstr(r->deadline_ms < 0 ? "PERSIST" : "PEXPIREAT"));
        put_argument(out, r->key);
        if (r->deadline_ms < 0)
            return 2;
        put_number(out, r->deadline_ms);
        return 3;
    case RECORD_SET:
        put_argument(out, slice_cstr("SET"));
        put_argument(out, r->key);
        put_argument(out, r->value);
        if (r->deadline_ms < 0)
            return 3;
        put_argument(out, slice_cstr("PXAT"));
        put_number(out, r->deadline_ms);
        return 5;
    case RECORD_EFFECT:
    default:
        if (r->value.len < 4)
            return 0;
        buf_append(out, r->value.data + 4, r->value.len - 4); // its arguments as they are
        return load_u32(r->value.data);
    }
}

// The arguments of an effect: SELECT and the database where that is not 0, then the command.
static void put_argv(struct buf *out, const struct record *r)
{
    uint32_t count = 0;
    uint8_t *head = buf_reserve(out, 4);
    out->len = 0;
    if (head == NULL)
        return;
    buf_advance(out, 4);
    if (r->db != 0) {
        put_argument(out, slice_cstr("SELECT"));
        put_number(out, r->db);
        count = 2;
    }
    count += put_words(out, r);
    if (!out->failed)
        store_u32(out->data, count);
}

struct encoder {
    const struct crc32_tables *tables;
    struct buf argv;
    uint64_t timestamp_ms;
    uint64_t len;
    uint32_t frames;
    bool effects;
    struct export_values *values;
    uint8_t *to; // NULL: counting
};

static int add_effect(struct encoder *e, uint32_t shard, const struct record *r)
{
    put_argv(&e->argv, r);
    if (e->argv.failed)
        return -ENOMEM;
    struct fcw2_effect effect = {
        .shard = shard,
        .sequence = r->sequence,
        .timestamp_ms = e->timestamp_ms,
        .hash = r->key.len > 0 ? hash_route(r->key) : 0,
        .key = r->key,
        .argv = buf_view(&e->argv),
    };
    if (e->to != NULL)
        fcw2_effect_encode(e->tables, &effect, e->to + e->len);
    e->len += fcw2_effect_size(&effect);
    e->frames++;
    return 0;
}

static bool is_range(const struct record *r)
{
    struct slice argv[4];
    return r->op == RECORD_EFFECT && r->db == 0 && effect_args(r->value, argv, 4) == 3 && slice_equal(argv[0], slice_cstr("SETRANGE"));
}

static int add(struct encoder *e, uint32_t shard, const struct record *r)
{
    struct record whole = { .op = RECORD_SET, .key = r->key };
    if (e->values != NULL && is_range(r)) {
        if (!e->values->get(e->values, shard, r->key, &whole.value, &whole.deadline_ms))
            return 0; // what became of it is told by another record
        r = &whole;
    }
    if (!is_plain(r))
        return e->effects ? add_effect(e, shard, r) : 0;
    struct fcw2_record record = {
        .op = r->op, .timestamp_ms = e->timestamp_ms, .deadline_ms = r->deadline_ms, .key = r->key, .value = r->value
    };
    if (e->to != NULL)
        fcw2_frame_encode(e->tables, &record, e->to + e->len);
    e->len += fcw2_frame_size(&record);
    e->frames++;
    return 0;
}

static int walk(struct encoder *e, struct slice turn)
{
    const uint8_t *at = turn.data;
    uint64_t left = turn.len;
    struct sub_batch b;
    int result;
    while ((result = sub_batch_next(&b, &at, &left)) == 0) {
        const uint8_t *record_at = b.records;
        uint32_t taken = 0;
        struct record r;
        while ((result = record_next(&r, &b, &record_at, &taken)) == 0)
            if ((result = add(e, b.shard, &r)) != 0)
                return result;
        if (result < 0)
            return result;
    }
    return result < 0 ? result : 0;
}

int export_encode(struct export_block **out, const struct crc32_tables *t, struct slice turn, uint64_t timestamp_ms, bool effects,
                  struct export_values *values)
{
    struct encoder e = { .tables = t, .timestamp_ms = timestamp_ms, .effects = effects, .values = values };
    buf_init(&e.argv, BUF_NO_LIMIT);
    *out = NULL;
    int result = walk(&e, turn);
    struct export_block *b = result == 0 && e.frames > 0 ? malloc(sizeof *b + e.len) : NULL;
    if (b != NULL) {
        e.to = b->bytes;
        e.len = e.frames = 0;
        result = walk(&e, turn);
        b->next = NULL;
        b->refs = 1;
        b->frames = e.frames;
        b->len = e.len;
    } else if (result == 0 && e.frames > 0) {
        result = -ENOMEM;
    }
    buf_deinit(&e.argv);
    if (result != 0)
        b = b == NULL ? NULL : export_block_free(b);
    *out = b;
    return result;
}
