// SPDX-License-Identifier: Apache-2.0
#include "test/history/workload.h"

#include <inttypes.h>
#include <stdarg.h>

#define GROUP_PENDING_MAX 6
#define GROUP_ASKED_MAX   100
#define LIST_APPENDS_MAX  40
#define VALUE_MAX         65536

const char *lie_name(enum lie lie)
{
    static const char *const names[] = { "none", "half-applied", "stale-watch", "reordered", "lost-write", "not-discarded" };
    return names[lie];
}

void workload_fail(struct workload *w, const char *format, ...)
{
    if (w->failure[0] != '\0')
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(w->failure, sizeof w->failure, format, args);
    va_end(args);
}

static uint32_t new_key(struct workload *w, char kind, uint32_t number, const char *part)
{
    char name[HISTORY_NAME_MAX];
    snprintf(name, sizeof name, "%c%u%s", kind, number, part);
    return history_key(&w->history, name);
}

void workload_renew_group(struct workload *w, uint32_t group)
{
    uint32_t number = w->generation++;
    w->groups[group].asked = 0;
    w->groups[group].keys[0] = new_key(w, 's', number, ".a");
    w->groups[group].keys[1] = new_key(w, 's', number, ".b");
    w->groups[group].keys[2] = new_key(w, 's', number, ".c");
}

void workload_init(struct workload *w, const struct workload_options *options, uint64_t seed)
{
    *w = (struct workload){ .options = *options, .next_value = 1, .next_process = 1 };
    history_init(&w->history);
    prng_init(&w->prng, seed);
    for (uint32_t i = 0; i < WORKLOAD_REGISTERS; i++)
        w->registers[i] = new_key(w, 'r', i, "");
    for (uint32_t i = 0; i < WORKLOAD_COUNTERS; i++)
        w->counters[i] = new_key(w, 'c', i, "");
    for (uint32_t i = 0; i < WORKLOAD_LISTS; i++)
        w->lists[i].key = new_key(w, 'l', w->generation++, "");
    for (uint32_t i = 0; i < WORKLOAD_GROUPS; i++)
        workload_renew_group(w, i);
    for (uint32_t i = 0; i < WORKLOAD_STAGED; i++)
        w->staged[i].key = w->staged[i].twin = NO_KEY;
}

void workload_deinit(struct workload *w)
{
    history_deinit(&w->history);
}

// ---- a request being made

struct maker {
    struct session *s;
    struct workload *w;
    struct demand *q;
    struct buf *out;
};

static uint32_t below(struct maker *m, uint64_t bound)
{
    return (uint32_t)prng_below(&m->w->prng, bound);
}

static bool chance(struct maker *m, uint32_t permille)
{
    return below(m, 1000) < permille;
}

static void text(struct maker *m, const char *format, ...) printf_like(2, 3);
static void text(struct maker *m, const char *format, ...)
{
    char word[64];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(word, sizeof word, format, args);
    va_end(args);
    buf_format(m->out, "$%d\r\n%s\r\n", len, word);
}

// A value: its number, and now and then something to carry.
static void value_text(struct maker *m, uint64_t value)
{
    static char padding[VALUE_MAX + 1];
    uint32_t most = m->w->options.value_max < VALUE_MAX ? m->w->options.value_max : VALUE_MAX;
    uint32_t pad = below(m, 16) == 0 ? below(m, most + 1) : 0;
    if (padding[0] == '\0')
        memset(padding, 'x', VALUE_MAX);
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%" PRIu64, value);
    buf_format(m->out, "$%u\r\n%s%.*s\r\n", (uint32_t)len + pad, digits, (int)pad, padding);
}

static void begin(struct maker *m, const char *name)
{
    struct session *s = m->s;
    m->q = &s->pending[(s->first + s->count) % SESSION_PENDING_MAX];
    *m->q = (struct demand){ .name = name, .group = NO_GROUP, .invoke = ++m->w->clock };
}

static void command(struct maker *m, enum want want, uint32_t words)
{
    struct demand *q = m->q;
    assert(q->command_count < REQUEST_COMMANDS_MAX);
    q->commands[q->command_count++] = (struct demand_command){ .want = (uint8_t)want, .first = q->step_count };
    buf_format(m->out, "*%u\r\n", words);
}

// A step of the command made last.
static void step(struct maker *m, enum action action, uint32_t key, uint64_t value)
{
    struct demand *q = m->q;
    assert(q->step_count < HISTORY_STEPS_MAX);
    q->steps[q->step_count++] = (struct step){ .action = (uint8_t)action, .key = key, .value = value };
    q->commands[q->command_count - 1].count++;
}

// The next `count` steps of the command happen only if the key is there, or missing.
static void condition(struct maker *m, uint32_t key, bool exists, uint32_t count)
{
    step(m, ACTION_EXISTS, key, exists);
    m->q->steps[m->q->step_count - 1].count = count;
}

static bool lies(struct maker *m, enum lie lie)
{
    bool now = lie != LIE_NONE && m->w->options.lie == lie && below(m, 20) == 0;
    m->w->lies += now;
    return now;
}

static void key_text(struct maker *m, uint32_t key)
{
    text(m, "%s", m->w->history.keys[key].name);
}

static void written_key(struct maker *m, uint32_t key, enum lie lie)
{
    if (lies(m, lie))
        text(m, "elsewhere");
    else
        key_text(m, key);
}

static uint32_t a_register(struct maker *m)
{
    return m->w->registers[below(m, m->w->options.registers)];
}

static uint32_t a_counter(struct maker *m)
{
    return m->w->counters[below(m, m->w->options.counters)];
}

static uint32_t a_list(struct maker *m, bool append)
{
    uint32_t i = below(m, m->w->options.lists);
    if (append && m->w->lists[i].appends++ == LIST_APPENDS_MAX) {
        m->w->lists[i].key = new_key(m->w, 'l', m->w->generation++, "");
        m->w->lists[i].appends = 1;
    }
    return m->w->lists[i].key;
}

// ---- single commands; `lie`: what a planted fault would do to their write

static void make_get(struct maker *m, uint32_t key)
{
    bool list = m->w->history.keys[key].kind == 'l';
    command(m, WANT_VALUE, 2);
    text(m, "GET");
    key_text(m, key);
    step(m, list ? ACTION_LIST : ACTION_READ, key, 0);
}

static void make_set(struct maker *m, uint32_t key, enum lie lie)
{
    uint64_t value = m->w->next_value++;
    command(m, WANT_OK, 3);
    text(m, "SET");
    written_key(m, key, lie);
    value_text(m, value);
    step(m, ACTION_WRITE, key, value);
}

static void make_getset(struct maker *m, uint32_t key)
{
    uint64_t value = m->w->next_value++;
    command(m, WANT_OLD, 3);
    text(m, "GETSET");
    key_text(m, key);
    value_text(m, value);
    step(m, ACTION_READ, key, 0);
    step(m, ACTION_WRITE, key, value);
}

static void make_append(struct maker *m, uint32_t key)
{
    uint64_t token = m->w->next_value++;
    command(m, WANT_LENGTH, 3);
    text(m, "APPEND");
    key_text(m, key);
    text(m, "%08" PRIu64, token % 100000000);
    step(m, ACTION_APPEND, key, token % 100000000);
}

static void make_incr(struct maker *m, uint32_t key)
{
    command(m, WANT_SUM, 2);
    text(m, "INCR");
    key_text(m, key);
    step(m, ACTION_ADD, key, 0);
}

static void make_flagged(struct maker *m, const char *name, uint32_t key, bool exists, bool removes)
{
    command(m, WANT_FLAG, 2);
    text(m, "%s", name);
    key_text(m, key);
    condition(m, key, exists, removes);
    if (removes)
        step(m, ACTION_WRITE, key, 0);
}

static void make_setnx(struct maker *m, uint32_t key)
{
    uint64_t value = m->w->next_value++;
    command(m, WANT_FLAG, 3);
    text(m, "SETNX");
    key_text(m, key);
    value_text(m, value);
    condition(m, key, false, 1);
    step(m, ACTION_WRITE, key, value);
}

static void make_getdel(struct maker *m, uint32_t key)
{
    command(m, WANT_OLD, 2);
    text(m, "GETDEL");
    key_text(m, key);
    step(m, ACTION_READ, key, 0);
    step(m, ACTION_WRITE, key, 0);
}

static void make_small(struct maker *m, const uint32_t *keys)
{
    uint32_t key = keys[below(m, 2)];
    switch (below(m, 9)) {
    case 0:
        make_set(m, key, LIE_NONE);
        break;
    case 1:
    case 2:
        make_get(m, keys[below(m, 3)]);
        break;
    case 3:
        make_flagged(m, "DEL", keys[below(m, 3)], true, true);
        break;
    case 4:
        make_flagged(m, "EXISTS", keys[below(m, 3)], true, false);
        break;
    case 5:
        make_getdel(m, key);
        break;
    case 6:
        make_incr(m, keys[2]);
        break;
    default:
        make_setnx(m, key);
        break;
    }
}

static void ask_one(struct maker *m)
{
    static const char *const names[] = { "GET", "GET", "SET", "SET", "GETSET", "APPEND", "GETLIST", "INCR", "GETSUM" };
    uint32_t which = below(m, 9);
    begin(m, names[which]);
    if (which < 2)
        make_get(m, a_register(m));
    else if (which < 4)
        make_set(m, a_register(m), LIE_LOST_WRITE);
    else if (which == 4)
        make_getset(m, a_register(m));
    else if (which == 5)
        make_append(m, a_list(m, true));
    else if (which == 6)
        make_get(m, a_list(m, false));
    else if (which == 7)
        make_incr(m, a_counter(m));
    else
        make_get(m, a_counter(m));
}

// ---- small groups

// A group that is not too busy; NO_GROUP.
static uint32_t a_group(struct maker *m)
{
    uint32_t group = below(m, WORKLOAD_GROUPS);
    struct small_group *g = &m->w->groups[group];
    if (g->pending >= GROUP_PENDING_MAX)
        return NO_GROUP;
    if (++g->asked > GROUP_ASKED_MAX)
        workload_renew_group(m->w, group);
    return group;
}

static void join_group(struct maker *m, uint32_t group)
{
    m->q->group = group;
    m->w->groups[group].pending++;
}

static bool ask_small(struct maker *m)
{
    uint32_t group = a_group(m);
    if (group == NO_GROUP)
        return false;
    begin(m, "SMALL");
    join_group(m, group);
    make_small(m, m->w->groups[group].keys);
    return true;
}

static void ask_msetnx(struct maker *m, uint32_t group)
{
    uint64_t one = m->w->next_value++, two = m->w->next_value++;
    const uint32_t *keys = m->w->groups[group].keys;
    begin(m, "MSETNX");
    join_group(m, group);
    command(m, WANT_UNLESS, 5);
    text(m, "MSETNX");
    key_text(m, keys[0]);
    value_text(m, one);
    key_text(m, keys[1]);
    value_text(m, two);
    condition(m, keys[0], false, 3);
    condition(m, keys[1], false, 2);
    step(m, ACTION_WRITE, keys[0], one);
    step(m, ACTION_WRITE, keys[1], two);
}

// ---- several keys

// Different ones.
static uint32_t some_registers(struct maker *m, uint32_t *keys, uint32_t most)
{
    uint32_t wanted = 2 + below(m, most - 1), count = 0;
    for (uint32_t tries = 0; tries < 20 && count < wanted; tries++) {
        uint32_t key = a_register(m), i = 0;
        while (i < count && keys[i] != key)
            i++;
        if (i == count)
            keys[count++] = key;
    }
    return count;
}

static void ask_mset(struct maker *m)
{
    uint32_t keys[4], count = some_registers(m, keys, 4);
    begin(m, "MSET");
    command(m, WANT_OK, 1 + 2 * count);
    text(m, "MSET");
    for (uint32_t i = 0; i < count; i++) {
        uint64_t value = m->w->next_value++;
        written_key(m, keys[i], i == 0 ? LIE_HALF_APPLIED : LIE_NONE);
        value_text(m, value);
        step(m, ACTION_WRITE, keys[i], value);
    }
}

static void ask_mget(struct maker *m)
{
    uint32_t keys[8], count = some_registers(m, keys, 4);
    if (below(m, 2) == 0)
        keys[count++] = a_list(m, false);
    if (below(m, 3) == 0)
        keys[count++] = a_counter(m);
    uint32_t at = below(m, WORKLOAD_STAGED);
    if (m->w->staged[at].key != NO_KEY) {
        keys[count++] = m->w->staged[at].key;
        keys[count++] = m->w->staged[at].twin != NO_KEY ? m->w->staged[at].twin : m->w->staged[at].target;
    }
    begin(m, "MGET");
    command(m, WANT_VALUES, 1 + count);
    text(m, "MGET");
    for (uint32_t i = 0; i < count; i++) {
        key_text(m, keys[i]);
        step(m, m->w->history.keys[keys[i]].kind == 'l' ? ACTION_LIST : ACTION_READ, keys[i], 0);
    }
}

static void make_word(struct maker *m, enum want want, const char *word)
{
    command(m, want, 1);
    text(m, "%s", word);
}

static void make_inner(struct maker *m, const uint32_t *registers, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t which = below(m, 7);
        if (which < 3)
            make_set(m, registers[i], LIE_HALF_APPLIED);
        else if (which == 3)
            make_get(m, registers[i]);
        else if (which == 4)
            make_append(m, a_list(m, true));
        else if (which == 5)
            make_get(m, a_list(m, false));
        else
            make_incr(m, a_counter(m));
    }
}

static void begin_transaction(struct maker *m, const char *name)
{
    begin(m, name);
    m->q->transaction = true;
    make_word(m, WANT_OK, "MULTI");
}

static void ask_transaction(struct maker *m)
{
    uint32_t keys[4], count = some_registers(m, keys, 4);
    uint32_t group = below(m, 4) == 0 ? a_group(m) : NO_GROUP;
    begin_transaction(m, "EXEC");
    if (group != NO_GROUP) {
        join_group(m, group);
        for (int i = 0; i < 3; i++)
            make_small(m, m->w->groups[group].keys);
    } else {
        make_inner(m, keys, count);
    }
    make_word(m, WANT_EXEC, "EXEC");
}

// What it writes must never be seen.
static void ask_discarded(struct maker *m)
{
    bool wrong_command = below(m, 2) == 0;
    begin_transaction(m, wrong_command ? "EXECABORT" : "DISCARD");
    m->q->silent = true;
    make_set(m, a_register(m), LIE_NONE);
    if (wrong_command) {
        command(m, WANT_ERROR, 2);
        text(m, "APPEND");
        text(m, "r1");
        make_word(m, WANT_ABORT, "EXEC");
    } else {
        make_word(m, WANT_OK, lies(m, LIE_NOT_DISCARDED) ? "EXEC" : "DISCARD");
    }
}

static void ask_abandoned(struct maker *m)
{
    begin_transaction(m, "ABANDONED");
    m->q->silent = true;
    make_set(m, a_register(m), LIE_NONE);
    m->q->transaction = false; // each is answered once
    m->q->commands[1].want = WANT_QUEUED;
    m->s->leaving = true;
}

// ---- WATCH: the session asks nothing else until its EXEC

static void ask_watch(struct maker *m)
{
    uint32_t keys[4], count = 1, group = below(m, 3) == 0 ? a_group(m) : NO_GROUP;
    if (group != NO_GROUP)
        keys[0] = m->w->groups[group].keys[below(m, 2)];
    else
        count = some_registers(m, keys, 2);
    begin(m, "WATCH");
    if (group != NO_GROUP)
        join_group(m, group);
    m->q->watches = true;
    command(m, WANT_OK, 1 + count);
    text(m, "WATCH");
    for (uint32_t i = 0; i < count; i++)
        written_key(m, keys[i], LIE_STALE_WATCH);
    command(m, WANT_VALUES, 1 + count);
    text(m, "MGET");
    for (uint32_t i = 0; i < count; i++) {
        key_text(m, keys[i]);
        step(m, ACTION_READ, keys[i], 0);
    }
    m->s->watch_due = true;
}

static void ask_watched(struct maker *m)
{
    struct session *s = m->s;
    s->watch_held = false;
    begin_transaction(m, "EXECWATCH");
    for (uint32_t i = 0; i < s->watch_count; i++)
        step(m, ACTION_READ, s->watched[i].key, s->watched[i].value);
    m->q->watching = true;
    m->q->watch_invoke = s->watch_invoke;
    if (s->watch_group != NO_GROUP)
        join_group(m, s->watch_group);
    make_set(m, s->watched[0].key, LIE_NONE);
    if (s->watch_group == NO_GROUP && below(m, 2) == 0)
        make_append(m, a_list(m, true));
    make_word(m, WANT_EXEC, "EXEC");
}

// ---- registers that are set, seen by others, and moved or removed

static void ask_stage(struct maker *m)
{
    struct session *s = m->s;
    bool twin = below(m, 3) == 0;
    s->staged = new_key(m->w, 't', m->w->generation++, "");
    s->staged_twin = twin ? new_key(m->w, 't', m->w->generation++, "") : NO_KEY;
    s->staged_value = m->w->next_value;
    begin(m, twin ? "MSET" : "SET");
    if (!twin) {
        make_set(m, s->staged, LIE_NONE);
        return;
    }
    command(m, WANT_OK, 5);
    text(m, "MSET");
    for (int i = 0; i < 2; i++) {
        uint64_t value = m->w->next_value++;
        key_text(m, i == 0 ? s->staged : s->staged_twin);
        value_text(m, value);
        step(m, ACTION_WRITE, i == 0 ? s->staged : s->staged_twin, value);
    }
}

static void show_staged(struct maker *m, uint32_t target)
{
    uint32_t at = m->w->staged_at++ % WORKLOAD_STAGED;
    m->w->staged[at].key = m->s->staged;
    m->w->staged[at].twin = m->s->staged_twin;
    m->w->staged[at].target = target;
    m->s->staged = m->s->staged_twin = NO_KEY;
}

static void ask_unstage(struct maker *m)
{
    struct session *s = m->s;
    uint32_t target = a_register(m);
    bool removes = s->staged_twin != NO_KEY, copies = !removes && below(m, 4) == 0;
    begin(m, removes ? "DEL" : copies ? "COPY" : "RENAME");
    command(m, removes || copies ? WANT_NUMBER : WANT_OK, copies ? 4 : 3);
    m->q->commands[0].number = removes ? 2 : 1;
    text(m, "%s", m->q->name);
    key_text(m, s->staged);
    key_text(m, removes ? s->staged_twin : target);
    if (copies)
        text(m, "REPLACE");
    step(m, ACTION_READ, s->staged, s->staged_value);
    if (removes) {
        step(m, ACTION_READ, s->staged_twin, s->staged_value + 1);
        step(m, ACTION_WRITE, s->staged_twin, 0);
    } else {
        step(m, ACTION_WRITE, target, s->staged_value);
    }
    if (!copies)
        step(m, ACTION_WRITE, s->staged, 0);
    show_staged(m, target);
}

static void ask_many(struct maker *m)
{
    struct session *s = m->s;
    uint32_t group;
    switch (below(m, m->w->options.multi ? 13 : 8)) {
    case 0:
    case 1:
        ask_mset(m);
        return;
    case 2:
    case 3:
    case 4:
        ask_mget(m);
        return;
    case 5:
        if ((group = a_group(m)) != NO_GROUP)
            ask_msetnx(m, group);
        else
            ask_mget(m);
        return;
    case 6:
    case 7:
        if (s->staged == NO_KEY)
            ask_stage(m);
        else
            ask_unstage(m);
        return;
    case 8:
        if (chance(m, m->w->options.abandon))
            ask_abandoned(m);
        else
            ask_discarded(m);
        return;
    case 9:
    case 10:
        ask_watch(m);
        return;
    default:
        ask_transaction(m);
    }
}

bool session_may_ask(const struct session *s)
{
    return !s->leaving && !s->watch_due && s->count < s->workload->options.depth;
}

bool session_ask(struct session *s, struct buf *out)
{
    struct workload *w = s->workload;
    struct maker m = { .s = s, .w = w, .out = out };
    if (!session_may_ask(s))
        return false;
    if (s->watch_held)
        ask_watched(&m);
    else if (chance(&m, w->options.many))
        ask_many(&m);
    else if (below(&m, 5) != 0 || !ask_small(&m))
        ask_one(&m);
    s->count++;
    w->asked++;
    return true;
}
