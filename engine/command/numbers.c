// SPDX-License-Identifier: Apache-2.0
// Numbers kept as text, which is what GET returns: INCR and its relatives.
#include <math.h>
#include <string.h>

#include "engine/command/string_value.h"
#include "proto/number.h"

#define FLOAT_TEXT_MAX (5 * 1024)

// A number that keeps its length is written over.
static bool put_text(struct call *c, struct entry *e, struct slice text)
{
    uint8_t *bytes = e != NULL && entry_value(e).len == text.len ? keyspace_write(c->keyspace, e, c->hash) : NULL;
    if (bytes != NULL) {
        memcpy(bytes, text.data, text.len);
        entry_set_mark(e, false);
        keyspace_wrote(c->keyspace, c->argv[1], c->hash, 0, text.len);
    } else {
        int64_t deadline = e == NULL ? ENTRY_NO_DEADLINE : KEYSPACE_KEEP_DEADLINE;
        if (keyspace_set(c->keyspace, c->argv[1], c->hash, ENTRY_STRING, text, deadline, c->now_ms) == NULL) {
            reply_error(c->reply, REPLY_OUT_OF_MEMORY);
            return false;
        }
    }
    c->dirty++;
    return true;
}

static void add(struct call *c, int64_t amount)
{
    struct entry *e;
    int64_t value = 0;
    if (!string_find(c, 1, &e))
        return;
    if (e != NULL && unlikely(!number_parse_i64(entry_value(e), &value))) {
        reply_error(c->reply, REPLY_NOT_INTEGER);
        return;
    }
    if (unlikely(__builtin_add_overflow(value, amount, &value))) {
        reply_error(c->reply, "ERR increment or decrement would overflow");
        return;
    }
    char text[NUMBER_TEXT_MAX];
    if (put_text(c, e, slice_of(text, number_format_i64(text, value))))
        reply_integer(c->reply, value);
}

void cmd_incr(struct call *c)
{
    add(c, 1);
}

void cmd_decr(struct call *c)
{
    add(c, -1);
}

void cmd_incrby(struct call *c)
{
    int64_t amount;
    if (string_integer(c, 2, &amount))
        add(c, amount);
}

void cmd_decrby(struct call *c)
{
    int64_t amount;
    if (!string_integer(c, 2, &amount))
        return;
    if (amount == INT64_MIN)
        reply_error(c->reply, "ERR decrement would overflow");
    else
        add(c, -amount);
}

void cmd_incrbyfloat(struct call *c)
{
    struct entry *e;
    long double value = 0, amount;
    if (!string_find(c, 1, &e))
        return;
    if ((e != NULL && !number_parse_float(entry_value(e), &value)) || !number_parse_float(c->argv[2], &amount)) {
        reply_error(c->reply, REPLY_NOT_FLOAT);
        return;
    }
    value += amount;
    if (isnan(value) || isinf(value)) {
        reply_error(c->reply, "ERR increment would produce NaN or Infinity");
        return;
    }
    char text[FLOAT_TEXT_MAX];
    struct slice result = slice_of(text, number_format_float(text, sizeof text, value));
    if (put_text(c, e, result))
        reply_bulk(c->reply, result);
}
