// SPDX-License-Identifier: Apache-2.0
#include "test/sim/durable.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/hash.h"
#include "engine/store/route.h"
#include "reactor/clock.h"
#include "test/sim/client.h"
#include "test/sim/frames.h"
#include "test/sim/resp_reader.h"

#define ANY(p, ...) ((const uint32_t[]){ __VA_ARGS__ }[prng_below(p, sizeof(const uint32_t[]){ __VA_ARGS__ } / sizeof(uint32_t))])

static struct world *world(const struct durable *d)
{
    return sim_world(d->sim);
}

static bool chance(struct durable_client *c, uint32_t permille)
{
    return prng_below(&c->prng, 1000) < permille;
}

void durable_init(struct durable *d, struct sim *sim, enum durable_policy policy, uint64_t seed)
{
    *d = (struct durable){ .sim = sim, .policy = policy, .clean = true };
    prng_init(&d->prng, seed);
    struct prng *p = &d->prng;
    d->count = ANY(p, 1, 2, 4, DURABLE_CLIENTS_MAX);
    d->requests = ANY(p, 30, 100, 250);
    d->value_max = ANY(p, 30, 300, 3000, 3000, 40000);
    d->databases = sim_databases(sim) > DURABLE_CLIENTS_MAX && prng_below(p, 2) == 0;
    d->snapshots = sim_asks_snapshots(sim);
    d->switches = sim_switches_log(sim);
    durable_log_begin(d, sim_logs(sim));
    for (uint32_t i = 0; i <= d->count; i++) {
        struct durable_client *c = &d->clients[i];
        c->id = i;
        prng_init(&c->prng, prng_next(p));
        buf_init(&c->out, BUF_NO_LIMIT);
        buf_init(&c->in, BUF_NO_LIMIT);
        for (uint32_t k = 0; k < DURABLE_OWN_KEYS; k++)
            c->own[k] = UINT32_MAX;
    }
}

void durable_deinit(struct durable *d)
{
    for (uint32_t i = 0; i <= d->count; i++) {
        struct durable_client *c = &d->clients[i];
        if (c->socket != NULL)
            socket_close(&world(d)->net, c->socket, true);
        buf_deinit(&c->out);
        buf_deinit(&c->in);
    }
    for (uint32_t i = 0; i < d->key_count; i++) {
        free(d->keys[i].writes);
        buf_deinit(&d->keys[i].value);
    }
}

// ---- keys

static struct durable_key *new_key(struct durable *d, struct durable_client *c)
{
    struct durable_key *k = &d->keys[d->key_count++];
    *k = (struct durable_key){ .owner = c->id, .db = d->databases ? c->id : 0 };
    snprintf(k->name, sizeof k->name, "%u:%u:%" PRIu64, c->id, d->key_count, prng_next(&c->prng) % 1000);
    k->shard = route_shard(sim_route(d->sim), slice_cstr(k->name));
    buf_init(&k->value, BUF_NO_LIMIT);
    return k;
}

// One of the client's that it may write; NULL: there are enough keys in the world.
static struct durable_key *own_key(struct durable *d, struct durable_client *c)
{
    uint32_t *slot = &c->own[prng_below(&c->prng, DURABLE_OWN_KEYS)];
    if (*slot == UINT32_MAX || d->keys[*slot].given_up) {
        if (d->key_count == DURABLE_KEYS_MAX)
            return NULL;
        *slot = (uint32_t)(new_key(d, c) - d->keys);
    }
    return &d->keys[*slot];
}

static uint32_t number_of(const struct durable *d, const struct durable_key *k)
{
    return (uint32_t)(k - d->keys);
}

// ---- requests

static struct durable_due *due_add(struct durable *d, struct durable_client *c, enum durable_due_kind kind)
{
    assert(c->due_count < DURABLE_DUE_MAX);
    struct durable_due *due = &c->due[(c->due_first + c->due_count++) % DURABLE_DUE_MAX];
    *due = (struct durable_due){ .kind = (uint8_t)kind, .always = c->always, .turn = c->turn, .log = d->log };
    return due;
}

static void say_part(struct durable_client *c, struct slice part)
{
    buf_format(&c->out, "$%zu\r\n", part.len);
    buf_append(&c->out, part.data, part.len);
    buf_append(&c->out, "\r\n", 2);
}

static void say(struct durable_client *c, uint32_t parts, const char *first)
{
    buf_format(&c->out, "*%u\r\n", parts);
    say_part(c, slice_cstr(first));
}

static void say_number(struct durable_client *c, int64_t n)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, n);
    say_part(c, slice_cstr(text));
}

// What was said from `from` on, one command with one reply due, goes as a frame now and then.
static void maybe_frame(struct durable *d, struct durable_client *c, size_t from, uint32_t due_before)
{
    struct slice words[2 * DURABLE_MANY_MAX + 1];
    struct buf said;
    if (c->due_count != due_before + 1 || !chance(c, sim_workload(d->sim)->frames))
        return;
    buf_init(&said, BUF_NO_LIMIT);
    buf_append(&said, c->out.data + from, c->out.len - from);
    struct reader r = reader_open(buf_view(&said));
    size_t used = r.used, count = (size_t)r.number;
    assert(r.mark == '*' && count <= sizeof words / sizeof *words);
    for (size_t i = 0; i < count; i++) {
        struct reader word = reader_open(slice_of(said.data + used, said.len - used));
        words[i] = word.body;
        used += word.used;
    }
    assert(used == said.len);
    uint8_t flags = (const uint8_t[]){ 0, 1, 7, 7, 2, 3, 4, 5, 6 }[prng_below(&c->prng, 9)];
    struct durable_due *due = &c->due[(c->due_first + due_before) % DURABLE_DUE_MAX];
    c->out.len = from;
    due->form = (uint8_t)frames_put(&c->out, words, (uint32_t)count, flags, sim_shards(d->sim));
    buf_deinit(&said);
}

// The key's next state: what `value` holds now (nothing: it is gone).
static void note_write(struct durable *d, struct durable_client *c, struct durable_key *k, struct durable_due *due, bool there,
                       uint64_t group)
{
    if (k->count == k->cap) {
        k->cap = k->cap == 0 ? 16 : 2 * k->cap;
        k->writes = realloc(k->writes, k->cap * sizeof *k->writes);
        assert(k->writes != NULL);
    }
    k->writes[k->count++] = (struct durable_write){ .hash = there ? XXH3_64bits(k->value.data, k->value.len) | 1 : 0,
                                                    .sent_ns = world(d)->now_ns,
                                                    .replied_ns = NEVER,
                                                    .group = group,
                                                    .turn = c->turn,
                                                    .connection = c->connection,
                                                    .deadline_ms = k->deadline_ms };
    d->written = true;
    due->group = group;
    due->keys[0] = number_of(d, k);
    due->states[0] = k->count;
}

static void fill_value(struct durable *d, struct durable_client *c, struct durable_key *k)
{
    size_t pad = (size_t)prng_below(&c->prng, prng_below(&c->prng, 4) == 0 ? d->value_max : 40);
    k->value.len = 0;
    buf_format(&k->value, "%s=%" PRIu64 "|", k->name, ++d->serial);
    uint8_t *to = buf_reserve(&k->value, pad + 1);
    assert(to != NULL);
    memset(to, 'a' + (int)(d->serial % 26), pad);
    buf_advance(&k->value, pad);
}

static struct slice bytes_of(const struct durable_key *k)
{
    return slice_of(k->value.data, k->value.len);
}

static int64_t some_deadline(struct durable *d, struct durable_client *c)
{
    return world_wall_ms(world(d)) + 1 + (int64_t)prng_below(&c->prng, ANY(&c->prng, 20, 500, 100000));
}

static void write_set(struct durable *d, struct durable_client *c, struct durable_key *k, struct durable_due *due, uint64_t group)
{
    fill_value(d, c, k);
    bool timed = chance(c, 100);
    k->deadline_ms = timed ? some_deadline(d, c) : 0;
    say(c, timed ? 5 : 3, "SET");
    say_part(c, slice_cstr(k->name));
    say_part(c, bytes_of(k));
    if (timed) {
        say_part(c, slice_cstr("PXAT"));
        say_number(c, k->deadline_ms);
    }
    note_write(d, c, k, due, true, group);
}

static void write_delete(struct durable *d, struct durable_client *c, struct durable_key *k, struct durable_due *due, uint64_t group)
{
    say(c, 2, "DEL");
    say_part(c, slice_cstr(k->name));
    k->value.len = 0;
    k->deadline_ms = 0;
    note_write(d, c, k, due, false, group);
}

// Changes some of the bytes; without a deadline, so that they are what the owner thinks.
static void write_part(struct durable *d, struct durable_client *c, struct durable_key *k, struct durable_due *due, uint64_t group)
{
    char part[40];
    int len = snprintf(part, sizeof part, "<%" PRIu64 ">", ++d->serial);
    size_t at = prng_below(&c->prng, 3) == 0 ? k->value.len : (size_t)prng_below(&c->prng, k->value.len + 1);
    bool append = at == k->value.len;
    size_t end = at + (size_t)len;
    if (end > k->value.len) {
        uint8_t *to = buf_reserve(&k->value, end - k->value.len);
        assert(to != NULL);
        buf_advance(&k->value, end - k->value.len);
    }
    memcpy(k->value.data + at, part, (size_t)len);
    say(c, append ? 3 : 4, append ? "APPEND" : "SETRANGE");
    say_part(c, slice_cstr(k->name));
    if (!append)
        say_number(c, (int64_t)at);
    say_part(c, slice_of(part, (size_t)len));
    note_write(d, c, k, due, true, group);
}

static void write_deadline(struct durable *d, struct durable_client *c, struct durable_key *k, struct durable_due *due, uint64_t group)
{
    k->deadline_ms = some_deadline(d, c);
    say(c, 3, "PEXPIREAT");
    say_part(c, slice_cstr(k->name));
    say_number(c, k->deadline_ms);
    note_write(d, c, k, due, true, group);
}

static void write_one(struct durable *d, struct durable_client *c, struct durable_key *k, struct durable_due *due, uint64_t group)
{
    bool there = k->value.len > 0 && k->value.len < 200000 && k->deadline_ms == 0;
    uint64_t pick = prng_below(&c->prng, 20);
    if (pick < 3 && k->value.len > 0)
        write_delete(d, c, k, due, group);
    else if (pick < 8 && there)
        write_part(d, c, k, due, group);
    else if (pick < 9 && there)
        write_deadline(d, c, k, due, group);
    else
        write_set(d, c, k, due, group);
}

// Several different keys of the client's.
static uint32_t some_keys(struct durable *d, struct durable_client *c, struct durable_key **keys)
{
    uint32_t want = 2 + (uint32_t)prng_below(&c->prng, DURABLE_MANY_MAX - 1), count = 0;
    for (uint32_t i = 0; i < want; i++) {
        struct durable_key *k = own_key(d, c);
        bool twice = k == NULL;
        for (uint32_t j = 0; j < count; j++)
            twice |= keys[j] == k;
        if (!twice)
            keys[count++] = k;
    }
    return count;
}

static void ask_mset(struct durable *d, struct durable_client *c)
{
    struct durable_key *keys[DURABLE_MANY_MAX];
    uint32_t count = some_keys(d, c, keys);
    if (count == 0)
        return;
    struct durable_due *due = due_add(d, c, DUE_WRITES);
    uint64_t group = ++d->groups;
    say(c, 1 + 2 * count, "MSET");
    for (uint32_t i = 0; i < count; i++) {
        fill_value(d, c, keys[i]);
        keys[i]->deadline_ms = 0;
        say_part(c, slice_cstr(keys[i]->name));
        say_part(c, bytes_of(keys[i]));
        note_write(d, c, keys[i], due, true, group);
    }
}

static void ask_transaction(struct durable *d, struct durable_client *c)
{
    struct durable_key *keys[DURABLE_MANY_MAX];
    uint32_t count = some_keys(d, c, keys);
    if (count == 0)
        return;
    uint64_t group = ++d->groups;
    due_add(d, c, DUE_OK);
    say(c, 1, "MULTI");
    for (uint32_t i = 0; i < count; i++)
        write_one(d, c, keys[i], due_add(d, c, DUE_QUEUED), group);
    due_add(d, c, DUE_EXEC)->group = group;
    say(c, 1, "EXEC");
}

static void select_db(struct durable *d, struct durable_client *c, uint32_t db)
{
    if (c->db == db)
        return;
    c->db = db;
    due_add(d, c, DUE_OK);
    say(c, 2, "SELECT");
    say_number(c, db);
}

static void ask_read(struct durable *d, struct durable_client *c)
{
    if (d->key_count == 0)
        return;
    const struct durable_key *first = &d->keys[prng_below(&c->prng, d->key_count)];
    uint32_t count = 1 + (uint32_t)prng_below(&c->prng, DURABLE_MANY_MAX);
    uint32_t from = number_of(d, first);
    select_db(d, c, first->db);
    size_t said = c->out.len;
    uint32_t due_before = c->due_count;
    struct durable_due *due = due_add(d, c, DUE_READS);
    for (uint32_t i = from; i < d->key_count && due->count < count; i++) {
        if (d->keys[i].db != first->db)
            continue;
        due->keys[due->count] = i;
        due->states[due->count++] = durable_low(&d->keys[i]);
    }
    say(c, 1u + due->count, "MGET");
    for (uint32_t i = 0; i < due->count; i++)
        say_part(c, slice_cstr(d->keys[due->keys[i]].name));
    maybe_frame(d, c, said, due_before);
}

// Of the client's own database.
static void ask_flush(struct durable *d, struct durable_client *c)
{
    struct durable_due *due = due_add(d, c, DUE_WRITES);
    uint64_t group = ++d->groups;
    due->group = group;
    say(c, 1, "FLUSHDB");
    for (uint32_t i = 0; i < d->key_count; i++) {
        struct durable_key *k = &d->keys[i];
        if (k->owner != c->id)
            continue;
        k->value.len = 0;
        k->deadline_ms = 0;
        note_write(d, c, k, due, false, group);
    }
}

static void ask_waitaof(struct durable *d, struct durable_client *c)
{
    due_add(d, c, DUE_WAITAOF);
    say(c, 4, "WAITAOF");
    say_number(c, 1);
    say_number(c, 0);
    say_number(c, chance(c, 500) ? 0 : 300);
}

static void ask_snapshot(struct durable *d, struct durable_client *c)
{
    due_add(d, c, DUE_BACKGROUND);
    say(c, 1, chance(c, 500) ? "BGSAVE" : "BGREWRITEAOF");
}

static void ask_switch(struct durable *d, struct durable_client *c)
{
    bool on = d->counts == chance(c, 100); // mostly to what it is not
    due_add(d, c, DUE_SWITCH)->on = on;
    durable_log_ask(d, on);
    say(c, 4, "CONFIG");
    say_part(c, slice_cstr("SET"));
    say_part(c, slice_cstr("appendonly"));
    say_part(c, slice_cstr(on ? "yes" : "no"));
}

static void ask(struct durable *d, struct durable_client *c)
{
    uint64_t pick = prng_below(&c->prng, 100);
    c->turn++;
    c->asked++;
    if (pick < 30) {
        ask_read(d, c);
        return;
    }
    if (pick < 32) {
        ask_waitaof(d, c);
        return;
    }
    if (pick < 34 && d->snapshots) {
        ask_snapshot(d, c);
        return;
    }
    if (pick < 38 && pick >= 36 && d->switches && c->id == 0 && !d->turning) {
        ask_switch(d, c);
        return;
    }
    select_db(d, c, d->databases ? c->id : 0);
    size_t said = c->out.len;
    uint32_t due_before = c->due_count;
    struct durable_key *k = own_key(d, c);
    if (pick < 35 && d->databases)
        ask_flush(d, c);
    else if (pick < 50)
        ask_mset(d, c);
    else if (pick < 65)
        ask_transaction(d, c);
    else if (k != NULL)
        write_one(d, c, k, due_add(d, c, DUE_WRITES), 0);
    maybe_frame(d, c, said, due_before);
}

// ---- the auditor

static void audit_some(struct durable *d, struct durable_client *c)
{
    if (!d->probed) {
        d->probed = true;
        due_add(d, c, DUE_BACKGROUND);
        say(c, 1, "DBSIZE");
    }
    while (d->audited < d->key_count && c->due_count < 16) {
        const struct durable_key *k = &d->keys[d->audited];
        select_db(d, c, k->db);
        struct durable_due *due = due_add(d, c, DUE_READS);
        due->count = 1;
        due->keys[0] = d->audited++;
        say(c, 2, "GET");
        say_part(c, slice_cstr(k->name));
    }
}

static void end_audit(struct durable *d)
{
    struct durable_client *c = &d->clients[d->count];
    durable_check_audit(d);
    durable_log_begin(d, sim_logs(d->sim));
    sim_say(d->sim, "audit %u: %u keys, %u writes lost so far", d->audits, d->key_count, d->lost);
    d->phase = DURABLE_WORKS;
    socket_close(&world(d)->net, c->socket, false);
    c->socket = NULL;
    c->out.len = c->out_sent = c->in.len = 0;
}

// ---- replies

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
    k->writes[state - 1].replied_ns = world(d)->now_ns;
    k->writes[state - 1].promised = d->counts;
    k->writes[state - 1].waited = due->always;
    k->replied = state > k->replied ? state : k->replied;
    if (d->counts && state > k->promised)
        k->promised = state;
    if (due->always && d->counts && state > k->safe)
        k->safe = state;
    if (k->doubt != 0 && state >= k->doubt && !k->refused)
        world_fail(world(d), "key %s: a read showed what no write left there, and none of its %u writes was refused", k->name, k->doubt);
}

static void give_up(struct durable *d, const struct durable_due *due, struct durable_key *k, uint32_t state)
{
    k->given_up = true;
}

static void refuse(struct durable *d, const struct durable_due *due, struct durable_key *k, uint32_t state)
{
    k->given_up = k->refused = true;
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
        world_fail(world(d), "client %u: an error that nobody expected: %.*s", c->id, (int)line.len, (const char *)line.data);
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
        world_fail(world(d), "client %u: a reply to a read that is no string", c->id);
    else if (c->id == d->count)
        durable_check_found(d, k, shown);
    else
        durable_check_read(d, k, shown, due->states[at], d->counts && due->log == d->log);
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

// What was not answered may still be done by a server that lives.
static void gone(struct durable *d, struct durable_client *c)
{
    while (c->due_count > 0) {
        const struct durable_due *due = &c->due[c->due_first];
        if (due->kind == DUE_SWITCH)
            durable_log_lose(d);
        if (due->kind != DUE_READS)
            each_write(d, c, due, give_up);
        c->due_first = (c->due_first + 1) % DURABLE_DUE_MAX;
        c->due_count--;
    }
    if (c->id == d->count) { // an audit that was cut begins again
        d->audited = 0;
        d->probed = false;
    }
    c->socket = NULL;
    c->out.len = c->out_sent = c->in.len = 0;
    c->again_ns = world(d)->now_ns + 1 + prng_below(&c->prng, 3 * NS_PER_MS);
}

// The server has not loaded yet.
static void audit_again(struct durable *d, struct durable_client *c)
{
    socket_close(&world(d)->net, c->socket, true);
    gone(d, c);
    c->again_ns = world(d)->now_ns + 2 * NS_PER_MS;
}

static void on_reply(struct durable *d, struct durable_client *c, struct slice reply)
{
    if (c->due_count == 0) {
        world_fail(world(d), "client %u: a reply that nobody asked for", c->id);
        return;
    }
    struct durable_due due = c->due[c->due_first];
    c->due_first = (c->due_first + 1) % DURABLE_DUE_MAX;
    c->due_count--;
    struct reader r = reader_open(reply);
    if (r.mark == '-') {
        on_error(d, c, &due, r.body);
        if (c->id == d->count)
            audit_again(d, c);
        return;
    }
    switch ((enum durable_due_kind)due.kind) {
    case DUE_EXEC:
        if (r.mark != '*' || r.number < 0)
            world_fail(world(d), "client %u: EXEC did not run", c->id);
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
}

// ---- the connection

static void greet(struct durable *d, struct durable_client *c)
{
    c->connection = ++d->connections;
    c->db = 0;
    c->always = false;
    if (c->id == d->count || d->policy == POLICY_ALWAYS || !chance(c, 250))
        return;
    due_add(d, c, DUE_OK);
    say(c, 3, "CLIENT");
    say_part(c, slice_cstr("DURABILITY"));
    say_part(c, slice_cstr("always"));
    c->always = true;
}

static void connect_again(struct durable *d, struct durable_client *c)
{
    c->again_ns = world(d)->now_ns + NS_PER_MS;
    c->socket = socket_connect(&world(d)->net, sim_listener(d->sim, &c->prng), 65536, 1024 * 1024);
    if (c->socket != NULL)
        greet(d, c);
}

// A frame: what RESP would have said is looked at in its place. When the log fails, one error is said for all that waits, in the shape of
// the last of it, and it may stand where RESP was due.
static void on_frame(struct durable *d, struct durable_client *c, struct slice frame)
{
    struct buf resp;
    enum frames_form form = c->due_count > 0 ? (enum frames_form)c->due[c->due_first].form : FRAMES_NOT;
    buf_init(&resp, BUF_NO_LIMIT);
    bool due = form != FRAMES_NOT || frame.data[2] == 2;
    if (!due || !frames_to_resp(frame, form, &resp) || reader_length(buf_view(&resp)) != (long)resp.len)
        world_fail(world(d), "client %u: a frame of status %u that is no answer", c->id, frame.data[2]);
    else
        on_reply(d, c, buf_view(&resp));
    buf_deinit(&resp);
}

static void parse(struct durable *d, struct durable_client *c)
{
    size_t used = 0;
    while (c->socket != NULL && used < c->in.len && world(d)->failure[0] == '\0') {
        struct slice rest = slice_of(c->in.data + used, c->in.len - used);
        bool frame = rest.data[0] == 0xFB;
        long len = frame ? frames_length(rest) : reader_length(rest);
        if (len == READER_PARTIAL)
            break;
        if (len < 0) {
            world_fail(world(d), "client %u: bytes that are no reply", c->id);
            return;
        }
        used += (size_t)len;
        if (frame) {
            on_frame(d, c, slice_of(rest.data, (size_t)len));
            continue;
        }
        sim_say(d->sim, "client %u <- %.*s", c->id, len < 60 ? (int)len - 2 : 60, (const char *)rest.data);
        on_reply(d, c, slice_of(rest.data, (size_t)len));
    }
    if (c->socket != NULL)
        buf_consume(&c->in, used);
}

static void read_some(struct durable *d, struct durable_client *c)
{
    uint8_t *to = buf_reserve(&c->in, 4096);
    assert(to != NULL);
    long n = socket_read(&world(d)->net, c->socket, to, 4096);
    if (n < 0) {
        socket_close(&world(d)->net, c->socket, false);
        gone(d, c);
        return;
    }
    buf_advance(&c->in, (size_t)n);
    if (n > 0)
        parse(d, c);
}

static bool nobody_else_is_on(const struct durable *d)
{
    for (uint32_t i = 0; i < d->count; i++)
        if (d->clients[i].socket != NULL)
            return false;
    return true;
}

// Whose turn it is to be connected.
static bool may_connect(const struct durable *d, const struct durable_client *c)
{
    if (c->id == d->count)
        return d->phase == DURABLE_AUDITS && nobody_else_is_on(d) && !sim_stopping(d->sim);
    return d->phase == DURABLE_WORKS && !sim_stopping(d->sim);
}

static bool wants_more(const struct durable *d, const struct durable_client *c)
{
    if (c->socket == NULL || sim_stopping(d->sim))
        return false;
    if (c->id == d->count)
        return d->phase == DURABLE_AUDITS && (!d->probed || d->audited < d->key_count) && c->due_count < 8;
    return d->phase == DURABLE_WORKS && c->asked < d->requests && c->due_count < DURABLE_DUE_MAX / 4;
}

static void write_some(struct durable *d, struct durable_client *c)
{
    c->out_sent += socket_write(&world(d)->net, c->socket, c->out.data + c->out_sent, c->out.len - c->out_sent);
    if (c->out_sent == c->out.len)
        c->out.len = c->out_sent = 0;
}

static bool has_output(const struct durable_client *c)
{
    return c->socket != NULL && c->out_sent < c->out.len && (c->socket->server_gone || pipe_room(&c->socket->in) > 0);
}

static void ask_some(struct durable *d, struct durable_client *c)
{
    size_t from = c->out.len;
    if (c->id == d->count) {
        audit_some(d, c);
        return;
    }
    for (uint64_t n = 1 + prng_below(&c->prng, 8); n > 0 && wants_more(d, c); n--)
        ask(d, c);
    sim_say(d->sim, "client %u -> %.*s", c->id, (int)(c->out.len - from < 200 ? c->out.len - from : 200),
            c->out.len == 0 ? "" : (const char *)c->out.data + from);
    c->think_until_ns = world(d)->now_ns + prng_below(&c->prng, sim_workload(d->sim)->think_ns + 1);
}

void durable_step(struct durable *d, uint32_t client)
{
    struct durable_client *c = &d->clients[client];
    if (c->socket == NULL && may_connect(d, c) && c->again_ns <= world(d)->now_ns)
        connect_again(d, c);
    if (c->socket == NULL)
        return;
    if (wants_more(d, c) && c->think_until_ns <= world(d)->now_ns)
        ask_some(d, c);
    if (has_output(c))
        write_some(d, c);
    read_some(d, c);
    bool audited = c->id == d->count && d->phase == DURABLE_AUDITS && d->probed && d->audited == d->key_count && c->due_count == 0;
    if (c->socket != NULL && audited && world(d)->failure[0] == '\0')
        end_audit(d);
    else if (c->socket != NULL && d->phase == DURABLE_RESTS && c->due_count == 0) {
        socket_close(&world(d)->net, c->socket, false);
        gone(d, c);
    }
}

uint64_t durable_next_ns(const struct durable *d, uint32_t client)
{
    const struct durable_client *c = &d->clients[client];
    if (c->socket == NULL)
        return may_connect(d, c) ? c->again_ns : NEVER;
    if (has_output(c) || (d->phase == DURABLE_RESTS && c->due_count == 0))
        return 0;
    if (c->id == d->count && d->probed && d->audited == d->key_count && c->due_count == 0)
        return 0;
    uint64_t next = socket_next_ns(c->socket);
    if (wants_more(d, c) && c->think_until_ns < next)
        next = c->think_until_ns;
    return next;
}

// ---- phases

void durable_crashed(struct durable *d, enum crash_kind kind, bool clean)
{
    bool again = d->phase == DURABLE_AUDITS; // before anybody could look: the worst of them counts
    d->crash = again && kind == CRASH_KILLED ? d->crash : kind;
    d->clean = clean && (!again || d->clean);
    d->phase = DURABLE_AUDITS;
    d->audited = 0;
    d->probed = false;
}

bool durable_audits(const struct durable *d)
{
    return d->phase == DURABLE_AUDITS;
}

bool durable_worked(const struct durable *d)
{
    for (uint32_t i = 0; i < d->count; i++)
        if (d->clients[i].asked < d->requests || d->clients[i].due_count > 0)
            return false;
    return d->phase == DURABLE_WORKS;
}

void durable_say(const struct durable *d)
{
    static const char *const KINDS[] = { [DUE_OK] = "OK",
                                         [DUE_QUEUED] = "QUEUED",
                                         [DUE_WRITES] = "a write",
                                         [DUE_EXEC] = "EXEC",
                                         [DUE_READS] = "a read",
                                         [DUE_WAITAOF] = "WAITAOF",
                                         [DUE_SWITCH] = "CONFIG SET appendonly",
                                         [DUE_BACKGROUND] = "something in the background" };
    for (uint32_t i = 0; i <= d->count; i++) {
        const struct durable_client *c = &d->clients[i];
        sim_say(d->sim, "client %u: %u of %u asked, %u replies due (first: %s)%s", i, c->asked, d->requests, c->due_count,
                c->due_count > 0 ? KINDS[c->due[c->due_first].kind] : "none", c->socket == NULL ? ", not connected" : "");
    }
}

void durable_rest(struct durable *d)
{
    d->phase = DURABLE_RESTS;
}

bool durable_left(const struct durable *d)
{
    return nobody_else_is_on(d) && d->clients[d->count].socket == NULL;
}
