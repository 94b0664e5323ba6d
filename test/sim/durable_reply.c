// SPDX-License-Identifier: Apache-2.0
// What the clients of durable.h are told.
#include "test/sim/client.h"
#include "test/sim/durable_inside.h"
#include "test/sim/resp_reader.h"

// Calls for each write that the request was.
static void each_write(struct durable *d, const struct durable_client *c, const struct durable_due *due,
                       void (*call)(struct durable *d, const struct durable_due *due, struct durable_key *k, uint32_t state))
{
    if (due->group == 0 && due->states[0] != 0) {
        call(d, due, &d->keys[due->keys[0]], due->states[0]);
        return;
    }
    for (uint32_t i = 0; due->group != 0 && i < d->key_count; i++) {
        struct durable_key *k = &d->keys[i];
        for (uint32_t s = k->count; k->owner == c->id && s > k->base; s--)
            if (k->writes[s - 1].group == due->group)
                call(d, due, k, s);
    }
}

static void acknowledge(struct durable *d, const struct durable_due *due, struct durable_key *k, uint32_t state)
{
    k->writes[state - 1].replied_ns = durable_world(d)->now_ns;
    k->writes[state - 1].promised = d->counts;
    k->writes[state - 1].level = due->level;
    k->writes[state - 1].mixed = due->mixed;
    k->replied = state > k->replied ? state : k->replied;
    if (d->counts && state > k->promised)
        k->promised = state;
    if (due->level == LEVEL_ALWAYS && d->counts && state > k->safe)
        k->safe = state;
    if (k->doubt != 0 && state >= k->doubt && !k->refused)
        world_fail(durable_world(d), "key %s: a read showed what no write left there, and none of its %u writes was refused", k->name,
                   k->doubt);
}

static void give_up(struct durable *d, const struct durable_due *due, struct durable_key *k, uint32_t state)
{
    k->given_up = true;
}

static void refuse(struct durable *d, const struct durable_due *due, struct durable_key *k, uint32_t state)
{
    k->given_up = k->refused = true;
    if (k->twin != UINT32_MAX) // a SWAPDB behind it took it for granted
        d->keys[k->twin].given_up = d->keys[k->twin].refused = true;
}

static bool starts(struct slice line, const char *with)
{
    size_t len = strlen(with);
    return line.len >= len && memcmp(line.data, with, len) == 0;
}

static void on_error(struct durable *d, struct durable_client *c, const struct durable_due *due, struct slice line)
{
    static const char *const EXPECTED[] = {
        "LOADING", "IOERR", "MISCONF", "EXECABORT", "ERR Background", "ERR Can't BGSAVE", "ERR WAITAOF", "ERR CONFIG SET failed"
    };
    bool known = due->kind == DUE_BACKGROUND;
    for (size_t i = 0; i < sizeof EXPECTED / sizeof *EXPECTED; i++)
        known |= starts(line, EXPECTED[i]);
    if (!known)
        world_fail(durable_world(d), "client %u: an error that nobody expected: %.*s", c->id, (int)line.len, (const char *)line.data);
    if (due->kind == DUE_SWITCH)
        durable_log_reply(d, due->on, false);
    // Who is told that the outcome is unknown does not know. Who is told anything else knows that it was not done, and what the key holds
    // is then another thing than the requests behind it took for granted; but when a log that counts has failed, nothing is done any more.
    bool last = starts(line, "IOERR outcome unknown") || (starts(line, "IOERR") && d->counts);
    each_write(d, c, due, last ? give_up : refuse);
}

static void on_value(struct durable *d, struct durable_client *c, const struct durable_due *due, uint32_t at, const struct reader *r)
{
    struct slice bytes = r->body;
    struct durable_key *k = &d->keys[due->keys[at]];
    struct slice *shown = reader_is_null(r) ? NULL : &bytes;
    if (!reader_is_null(r) && !reader_is_string(r))
        world_fail(durable_world(d), "client %u: a reply to a read that is no string", c->id);
    else if (c->id == d->count)
        durable_check_found(d, k, shown);
    else
        durable_check_read(d, k, shown, due->states[at], d->counts && due->log == d->log, due->level);
}

static void on_values(struct durable *d, struct durable_client *c, const struct durable_due *due, const struct reader *r,
                      struct slice reply)
{
    if (r->mark != '*') {
        on_value(d, c, due, 0, r);
        return;
    }
    size_t used = r->used;
    for (uint32_t i = 0; i < due->count; i++) {
        struct reader element = reader_open(slice_of(reply.data + used, reply.len - used));
        on_value(d, c, due, i, &element);
        used += element.used;
    }
}

// Everything that the connection wrote before is on the device.
static void on_waitaof(struct durable *d, struct durable_client *c, const struct durable_due *due, const struct reader *r,
                       struct slice reply)
{
    if (r->mark != '*' || r->number != 2)
        return;
    struct reader local = reader_open(slice_of(reply.data + r->used, reply.len - r->used));
    for (uint32_t i = 0; local.number >= 1 && i < d->key_count; i++) {
        struct durable_key *k = &d->keys[i];
        for (uint32_t s = k->count; s > k->safe; s--) {
            const struct durable_write *w = &k->writes[s - 1];
            if (w->connection != c->connection || w->turn >= due->turn || w->replied_ns == NEVER)
                continue;
            sim_say(d->sim, "client %u: WAITAOF says that state %u of %s is durable", c->id, s, k->name);
            k->safe = s;
            break;
        }
    }
}

bool durable_reply(struct durable *d, struct durable_client *c, struct slice reply)
{
    if (c->due_count == 0) {
        world_fail(durable_world(d), "client %u: a reply that nobody asked for", c->id);
        return true;
    }
    struct durable_due due = c->due[c->due_first];
    c->due_first = (c->due_first + 1) % DURABLE_DUE_MAX;
    c->due_count--;
    for (uint32_t i = 0; i < c->due_count; i++) {
        struct durable_due *next = &c->due[(c->due_first + i) % DURABLE_DUE_MAX];
        next->mixed |= due.level == LEVEL_ALWAYS;
        due.mixed |= next->level == LEVEL_ALWAYS;
    }
    struct reader r = reader_open(reply);
    if (r.mark == '-') {
        on_error(d, c, &due, r.body);
        return c->id != d->count;
    }
    switch ((enum durable_due_kind)due.kind) {
    case DUE_EXEC:
        if (r.mark != '*' || r.number < 0)
            world_fail(durable_world(d), "client %u: EXEC did not run", c->id);
        each_write(d, c, &due, acknowledge);
        break;
    case DUE_WRITES:
        each_write(d, c, &due, acknowledge);
        break;
    case DUE_READS:
        on_values(d, c, &due, &r, reply);
        break;
    case DUE_WAITAOF:
        on_waitaof(d, c, &due, &r, reply);
        break;
    case DUE_SWITCH:
        durable_log_reply(d, due.on, true);
        break;
    case DUE_OK:
    case DUE_QUEUED:
    case DUE_BACKGROUND:
        break;
    }
    return true;
}

void durable_reply_never(struct durable *d, struct durable_client *c, const struct durable_due *due)
{
    if (due->kind == DUE_SWITCH)
        durable_log_lose(d);
    if (due->kind != DUE_READS)
        each_write(d, c, due, give_up);
}
