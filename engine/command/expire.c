// SPDX-License-Identifier: Apache-2.0
// Times to live. Everything is Unix milliseconds inside; seconds are a matter of the arguments and replies.
#include <limits.h>

#include "engine/command/string_value.h"

enum expire_condition { EXPIRE_NX = 1 << 0, EXPIRE_XX = 1 << 1, EXPIRE_GT = 1 << 2, EXPIRE_LT = 1 << 3 };

static bool parse_conditions(struct call *c, unsigned *out)
{
    static const char *const words[] = { "nx", "xx", "gt", "lt" };
    unsigned given = 0;
    for (uint32_t arg = 3; arg < c->argc; arg++) {
        unsigned i = 0;
        while (i < 4 && !slice_is(c->argv[arg], words[i]))
            i++;
        if (i == 4) {
            struct slice word = c->argv[arg];
            reply_error_format(c->reply, "ERR Unsupported option %.*s", word.len < INT_MAX ? (int)word.len : INT_MAX,
                               (const char *)word.data);
            return false;
        }
        given |= 1u << i;
    }
    *out = given;
    if ((given & EXPIRE_NX) && (given & ~(unsigned)EXPIRE_NX))
        reply_error(c->reply, "ERR NX and XX, GT or LT options at the same time are not compatible");
    else if ((given & EXPIRE_GT) && (given & EXPIRE_LT))
        reply_error(c->reply, "ERR GT and LT options at the same time are not compatible");
    else
        return true;
    return false;
}

// Unlike SET's, a time in the past is welcome: it deletes.
static bool parse_deadline(struct call *c, unsigned time, int64_t *out)
{
    int64_t value;
    if (!string_integer(c, 2, &value))
        return false;
    bool ok = (time & TIME_SECONDS) == 0 || !__builtin_mul_overflow(value, 1000, &value);
    if (ok && (time & TIME_UNIX) == 0)
        ok = !__builtin_add_overflow(value, c->now_ms, &value);
    *out = value;
    if (!ok)
        reply_error_format(c->reply, "ERR invalid expire time in '%s' command", c->command->name);
    return ok;
}

// No deadline counts as one that never comes.
static bool allowed(unsigned conditions, int64_t now, int64_t then)
{
    bool has = now != ENTRY_NO_DEADLINE;
    if ((conditions & EXPIRE_NX) && has)
        return false;
    if ((conditions & EXPIRE_XX) && !has)
        return false;
    if ((conditions & EXPIRE_GT) && (!has || then <= now))
        return false;
    if ((conditions & EXPIRE_LT) && has && then >= now)
        return false;
    return true;
}

static void expire(struct call *c, unsigned time)
{
    unsigned conditions;
    int64_t deadline;
    if (!parse_conditions(c, &conditions) || !parse_deadline(c, time, &deadline))
        return;
    struct entry *e = call_find(c, 1);
    if (e == NULL || !allowed(conditions, entry_deadline(e), deadline)) {
        reply_integer(c->reply, 0);
        return;
    }
    if (deadline <= c->now_ms) {
        keyspace_remove(c->keyspace, e);
    } else if (keyspace_set_deadline(c->keyspace, e, deadline) == NULL) {
        reply_error(c->reply, REPLY_OUT_OF_MEMORY);
        return;
    }
    c->dirty++;
    reply_integer(c->reply, 1);
}

void cmd_expire(struct call *c)
{
    expire(c, TIME_SECONDS);
}

void cmd_pexpire(struct call *c)
{
    expire(c, 0);
}

void cmd_expireat(struct call *c)
{
    expire(c, TIME_SECONDS | TIME_UNIX);
}

void cmd_pexpireat(struct call *c)
{
    expire(c, TIME_UNIX);
}

static void tell(struct call *c, unsigned time)
{
    struct entry *e = keyspace_peek(c->keyspace, c->argv[1], c->hash, c->now_ms);
    int64_t answer = e == NULL ? -2 : entry_deadline(e);
    if (e != NULL && answer != ENTRY_NO_DEADLINE) {
        if ((time & TIME_UNIX) == 0)
            answer -= c->now_ms;
        // To the nearest second, without the sum that could overflow.
        if (time & TIME_SECONDS)
            answer = answer / 1000 + (answer % 1000 >= 500);
    }
    reply_integer(c->reply, answer);
}

void cmd_ttl(struct call *c)
{
    tell(c, TIME_SECONDS);
}

void cmd_pttl(struct call *c)
{
    tell(c, 0);
}

void cmd_expiretime(struct call *c)
{
    tell(c, TIME_SECONDS | TIME_UNIX);
}

void cmd_pexpiretime(struct call *c)
{
    tell(c, TIME_UNIX);
}

void cmd_persist(struct call *c)
{
    struct entry *e = call_find(c, 1);
    bool had = e != NULL && entry_deadline(e) != ENTRY_NO_DEADLINE;
    if (had && keyspace_set_deadline(c->keyspace, e, ENTRY_NO_DEADLINE) == NULL) {
        reply_error(c->reply, REPLY_OUT_OF_MEMORY);
        return;
    }
    c->dirty += had;
    reply_integer(c->reply, had);
}
