// SPDX-License-Identifier: Apache-2.0
// Whole values in: SET with its options and the older commands that are one of them, GETEX, MSET.
#include "engine/command/places.h"
#include "engine/command/string_value.h"
#include "proto/number.h"

bool string_deadline(struct call *c, uint32_t arg, unsigned time, int64_t *deadline_ms)
{
    int64_t value;
    if (!string_integer(c, arg, &value))
        return false;
    bool ok = value > 0;
    if (time & TIME_SECONDS)
        ok = ok && !__builtin_mul_overflow(value, 1000, &value);
    if ((time & TIME_UNIX) == 0)
        ok = ok && !__builtin_add_overflow(value, c->now_ms, &value);
    *deadline_ms = value;
    if (!ok)
        reply_error_format(c->reply, "ERR invalid expire time in '%s' command", c->command->name);
    return ok;
}

// One probe, new key or old. Takes a big argument's pages instead of copying them.
static inline struct entry *store_value(struct call *c, struct keyspace *ks, uint64_t hash, uint32_t key, uint32_t value,
                                        int64_t deadline_ms)
{
    struct blob *blob = call_take_blob(c, value);
    if (likely(blob == NULL))
        return keyspace_set(ks, c->argv[key], hash, ENTRY_STRING, c->argv[value], deadline_ms, c->now_ms);
    return keyspace_set_blob(ks, c->argv[key], hash, ENTRY_STRING, blob, deadline_ms, c->now_ms);
}

static inline bool put(struct call *c, struct keyspace *ks, uint64_t hash, uint32_t key, uint32_t value, int64_t deadline_ms)
{
    if (unlikely(store_value(c, ks, hash, key, value, deadline_ms) == NULL)) {
        reply_error(c->reply, REPLY_OUT_OF_MEMORY);
        return false;
    }
    c->dirty++;
    return true;
}

// The old value stands in the reply already, from `mark` on: an error takes its place.
static bool put_instead(struct call *c, int64_t deadline_ms, size_t mark)
{
    if (likely(store_value(c, c->keyspace, c->hash, 1, 2, deadline_ms) != NULL)) {
        c->dirty++;
        return true;
    }
    c->reply->out->len = mark;
    reply_error(c->reply, REPLY_OUT_OF_MEMORY);
    return false;
}

enum set_option {
    SET_NX = 1 << 0,
    SET_XX = 1 << 1,
    SET_IFEQ = 1 << 2,
    SET_GET = 1 << 3,
    SET_KEEPTTL = 1 << 4,
    SET_PERSIST = 1 << 5,
    SET_EX = 1 << 6,
    SET_PX = 1 << 7,
    SET_EXAT = 1 << 8,
    SET_PXAT = 1 << 9,
};
#define SET_CONDITIONS (SET_NX | SET_XX | SET_IFEQ)
#define SET_TIMES      (SET_KEEPTTL | SET_PERSIST | SET_EX | SET_PX | SET_EXAT | SET_PXAT)
// Given twice, the last one counts, as in Redis.
#define OTHER_TIMES(own) (SET_TIMES & ~(own))

static const struct option {
    const char *word;
    unsigned option;
    unsigned excludes;
    bool takes;    // an argument follows
    bool set, get; // of SET, of GETEX
} options[] = {
    { "nx", SET_NX, SET_XX | SET_IFEQ, false, true, false },
    { "xx", SET_XX, SET_NX | SET_IFEQ, false, true, false },
    { "ifeq", SET_IFEQ, SET_CONDITIONS, true, true, false },
    { "get", SET_GET, 0, false, true, false },
    { "keepttl", SET_KEEPTTL, OTHER_TIMES(SET_KEEPTTL), false, true, false },
    { "persist", SET_PERSIST, OTHER_TIMES(SET_PERSIST), false, false, true },
    { "ex", SET_EX, OTHER_TIMES(SET_EX), true, true, true },
    { "px", SET_PX, OTHER_TIMES(SET_PX), true, true, true },
    { "exat", SET_EXAT, OTHER_TIMES(SET_EXAT), true, true, true },
    { "pxat", SET_PXAT, OTHER_TIMES(SET_PXAT), true, true, true },
};

struct set_options {
    unsigned given;
    uint32_t time_arg;
    uint32_t compare_arg;
};

static const struct option *option_find(struct slice word)
{
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        if (slice_is(word, options[i].word))
            return &options[i];
    return NULL;
}

static bool parse_options(struct call *c, uint32_t arg, bool is_set, struct set_options *out)
{
    *out = (struct set_options){ 0 };
    for (; arg < c->argc; arg++) {
        const struct option *o = option_find(c->argv[arg]);
        if (o == NULL || !(is_set ? o->set : o->get) || (out->given & o->excludes) || (o->takes && arg + 1 >= c->argc)) {
            reply_error(c->reply, REPLY_SYNTAX);
            return false;
        }
        out->given |= o->option;
        if (o->takes && o->option == SET_IFEQ)
            out->compare_arg = ++arg;
        else if (o->takes)
            out->time_arg = ++arg;
    }
    return true;
}

static bool option_deadline(struct call *c, const struct set_options *o, int64_t *deadline_ms)
{
    *deadline_ms = (o->given & SET_KEEPTTL) ? KEYSPACE_KEEP_DEADLINE : ENTRY_NO_DEADLINE;
    if (o->time_arg == 0)
        return true;
    unsigned time = (o->given & (SET_EX | SET_EXAT)) ? TIME_SECONDS : 0;
    if (o->given & (SET_EXAT | SET_PXAT))
        time |= TIME_UNIX;
    return string_deadline(c, o->time_arg, time, deadline_ms);
}

static bool condition_holds(struct call *c, const struct set_options *o, const struct entry *old)
{
    if (o->given & SET_NX)
        return old == NULL;
    if (o->given & SET_XX)
        return old != NULL;
    if (o->given & SET_IFEQ)
        return old != NULL && slice_equal(entry_value(old), c->argv[o->compare_arg]);
    return true;
}

static cold void set_with_options(struct call *c)
{
    struct set_options o;
    int64_t deadline;
    if (!parse_options(c, 3, true, &o) || !option_deadline(c, &o, &deadline))
        return;
    struct entry *old = NULL;
    if (o.given & (SET_CONDITIONS | SET_GET))
        old = call_find(c, 1);
    if (old != NULL && (o.given & (SET_GET | SET_IFEQ)) && entry_type(old) != ENTRY_STRING) {
        reply_error(c->reply, REPLY_WRONGTYPE);
        return;
    }
    size_t mark = c->reply->out->len;
    bool holds = condition_holds(c, &o, old);
    if ((o.given & SET_GET) && old != NULL)
        reply_bulk(c->reply, entry_value(old));
    else if ((o.given & SET_GET) || !holds)
        reply_null(c->reply);
    if (!holds)
        return;
    if (o.time_arg != 0 && deadline <= c->now_ms) {
        // Born expired: what was there is gone, nothing takes its place.
        keyspace_delete(c->keyspace, c->argv[1], c->hash, c->now_ms);
        c->dirty++;
    } else if (!put_instead(c, deadline, mark)) {
        return;
    }
    if ((o.given & SET_GET) == 0)
        reply_ok(c->reply);
}

void cmd_set(struct call *c)
{
    if (unlikely(c->argc > 3))
        set_with_options(c);
    else if (likely(put(c, c->keyspace, c->hash, 1, 2, ENTRY_NO_DEADLINE)))
        reply_ok(c->reply);
}

void cmd_setnx(struct call *c)
{
    if (call_find(c, 1) != NULL)
        reply_integer(c->reply, 0);
    else if (put(c, c->keyspace, c->hash, 1, 2, ENTRY_NO_DEADLINE))
        reply_integer(c->reply, 1);
}

static void set_for(struct call *c, unsigned time)
{
    int64_t deadline;
    if (string_deadline(c, 2, time, &deadline) && put(c, c->keyspace, c->hash, 1, 3, deadline))
        reply_ok(c->reply);
}

void cmd_setex(struct call *c)
{
    set_for(c, TIME_SECONDS);
}

void cmd_psetex(struct call *c)
{
    set_for(c, 0);
}

void cmd_getset(struct call *c)
{
    struct entry *old;
    if (!string_find(c, 1, &old))
        return;
    size_t mark = c->reply->out->len;
    if (old == NULL)
        reply_null(c->reply);
    else
        reply_bulk(c->reply, entry_value(old));
    (void)put_instead(c, ENTRY_NO_DEADLINE, mark);
}

void cmd_getex(struct call *c)
{
    struct set_options o;
    struct entry *e;
    int64_t deadline = ENTRY_NO_DEADLINE;
    if (!parse_options(c, 2, false, &o) || !string_find(c, 1, &e))
        return;
    if (e == NULL) {
        reply_null(c->reply);
        return;
    }
    if (!option_deadline(c, &o, &deadline))
        return;
    reply_bulk(c->reply, entry_value(e));
    if (o.time_arg != 0 && deadline <= c->now_ms) {
        keyspace_remove(c->keyspace, e);
        c->dirty++;
    } else if (o.time_arg != 0 || ((o.given & SET_PERSIST) && entry_deadline(e) != ENTRY_NO_DEADLINE)) {
        // Without memory for the deadline the value was still read; the entry keeps the deadline that it had.
        if (keyspace_set_deadline(c->keyspace, e, deadline) != NULL)
            c->dirty++;
    }
}

// False: odd number of keys and values.
static bool pairs_ok(struct call *c)
{
    if (c->argc % 2 != 0)
        return true;
    command_reply_arity(c->reply, c->command);
    return false;
}

static bool put_pairs(struct call *c)
{
    struct place at[PLACES_MAX];
    for (uint32_t arg = 1, n; arg < c->argc; arg += 2 * n) {
        n = places_load(c, arg, c->argc, 2, at);
        for (uint32_t i = 0; i < n; i++)
            if (!put(c, at[i].keyspace, at[i].hash, arg + 2 * i, arg + 2 * i + 1, ENTRY_NO_DEADLINE))
                return false;
    }
    return true;
}

void cmd_mset(struct call *c)
{
    if (pairs_ok(c) && put_pairs(c))
        reply_ok(c->reply);
}

static bool any_exists(struct call *c)
{
    struct place at[PLACES_MAX];
    for (uint32_t arg = 1, n; arg < c->argc; arg += 2 * n) {
        n = places_load(c, arg, c->argc, 2, at);
        for (uint32_t i = 0; i < n; i++)
            if (keyspace_find(at[i].keyspace, c->argv[arg + 2 * i], at[i].hash, c->now_ms) != NULL)
                return true;
    }
    return false;
}

void cmd_msetnx(struct call *c)
{
    if (!pairs_ok(c))
        return;
    if (any_exists(c))
        reply_integer(c->reply, 0);
    else if (put_pairs(c))
        reply_integer(c->reply, 1);
}
