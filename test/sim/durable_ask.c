// SPDX-License-Identifier: Apache-2.0
// What the clients of durable.h ask for, and what they remember of it.
#include <inttypes.h>
#include <stdlib.h>

#include "base/hash.h"
#include "engine/store/route.h"
#include "reactor/clock.h"
#include "test/sim/client.h"
#include "test/sim/durable_inside.h"
#include "test/sim/frames.h"
#include "test/sim/resp_reader.h"

// ---- keys

static uint32_t number_of(const struct durable *d, const struct durable_key *k)
{
    return (uint32_t)(k - d->keys);
}

#define NAMES_TRIED 64

// May the connection's port serve it?
static bool is_here(const struct durable_client *c, const struct durable_key *k)
{
    return c->shard == UINT32_MAX || c->shard == k->shard;
}

static struct durable_key *new_key(struct durable *d, struct durable_client *c)
{
    struct durable_key *k = &d->keys[d->key_count++];
    *k = (struct durable_key){ .owner = c->id, .db = d->databases ? c->id : 0, .twin = UINT32_MAX };
    for (int i = 0; i == 0 || (i < NAMES_TRIED && !is_here(c, k)); i++) {
        snprintf(k->name, sizeof k->name, "%u:%u:%" PRIu64, c->id, d->key_count, prng_next(&c->prng) % 1000);
        k->shard = route_shard(sim_route(d->sim), slice_cstr(k->name));
    }
    buf_init(&k->value, BUF_NO_LIMIT);
    if (!d->swaps)
        return k;
    struct durable_key *twin = &d->keys[d->key_count];
    k->twin = d->key_count++;
    *twin = *k;
    twin->twin = number_of(d, k);
    twin->db = c->id + DURABLE_CLIENTS_MAX;
    buf_init(&twin->value, BUF_NO_LIMIT);
    return k;
}

// One of the client's that it may write, here; NULL: there are enough keys in the world.
static struct durable_key *own_key(struct durable *d, struct durable_client *c)
{
    uint32_t *slot = &c->own[prng_below(&c->prng, DURABLE_OWN_KEYS)];
    for (int i = 0; i < DURABLE_OWN_KEYS && *slot != UINT32_MAX && !is_here(c, &d->keys[*slot]); i++)
        slot = slot == &c->own[DURABLE_OWN_KEYS - 1] ? &c->own[0] : slot + 1;
    if (*slot == UINT32_MAX || d->keys[*slot].given_up || !is_here(c, &d->keys[*slot])) {
        if (d->key_count + 1 + d->swaps > DURABLE_KEYS_MAX)
            return NULL;
        *slot = number_of(d, new_key(d, c));
    }
    return is_here(c, &d->keys[*slot]) ? &d->keys[*slot] : NULL; // no name may have been found
}

// ---- requests

static uint8_t higher(uint8_t a, uint8_t b)
{
    return a > b ? a : b;
}

// How safe it is to be: as the server has it, the connection, or the frame itself.
static void due_ask(struct durable *d, const struct durable_client *c, struct durable_due *due, uint8_t level)
{
    due->level = higher((uint8_t)d->policy, higher(c->level, level));
    d->levels += due->level > d->policy;
}

static struct durable_due *due_add(struct durable *d, struct durable_client *c, enum durable_due_kind kind)
{
    assert(c->due_count < DURABLE_DUE_MAX);
    struct durable_due *due = &c->due[(c->due_first + c->due_count++) % DURABLE_DUE_MAX];
    *due = (struct durable_due){ .kind = (uint8_t)kind, .turn = c->turn, .log = d->log };
    due_ask(d, c, due, LEVEL_NO);
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

// Of one key the prefix may say where it is, at its shard's own port it has to.
static uint8_t draw_prefix(struct durable_client *c, const struct durable_due *due)
{
    static const uint8_t ANY[] = { 0, 1, 7, 7, 2, 3, 4, 5, 6 }, HERE[] = { 2, 3, 6, 7 };
    if (c->shard != UINT32_MAX)
        return HERE[prng_below(&c->prng, sizeof HERE)];
    bool one = due->kind == DUE_READS ? due->count == 1 : due->group == 0;
    return one ? ANY[prng_below(&c->prng, sizeof ANY)] : 0;
}

// What was said from `from` on, one command with one reply due, goes as a frame now and then.
static void maybe_frame(struct durable *d, struct durable_client *c, size_t from, uint32_t due_before)
{
    struct slice words[2 * DURABLE_MANY_MAX + 1];
    struct buf said;
    if (c->due_count != due_before + 1 || !durable_chance(c, sim_workload(d->sim)->frames))
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
    struct durable_due *due = &c->due[(c->due_first + due_before) % DURABLE_DUE_MAX];
    uint8_t flags = draw_prefix(c, due);
    if (c->levels) {
        uint8_t bits = (uint8_t)prng_below(&c->prng, 4);
        flags |= (uint8_t)(bits << FRAMES_LEVEL_SHIFT);
        due_ask(d, c, due, bits > 0 ? bits - 1 : LEVEL_NO);
    }
    sim_say(d->sim, "client %u -> frame: %.*s %.*s, flags %u", c->id, (int)words[0].len, (const char *)words[0].data,
            count > 1 ? (int)words[1].len : 0, count > 1 ? (const char *)words[1].data : "", flags);
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
                                                    .sent_ns = durable_world(d)->now_ns,
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
    return world_wall_ms(durable_world(d)) + 1 + (int64_t)prng_below(&c->prng, DURABLE_ANY(&c->prng, 20, 500, 100000));
}

static void write_set(struct durable *d, struct durable_client *c, struct durable_key *k, struct durable_due *due, uint64_t group)
{
    fill_value(d, c, k);
    bool timed = durable_chance(c, 100);
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

// Any key that the connection's port serves; NULL: none was met.
static const struct durable_key *any_key(struct durable *d, struct durable_client *c)
{
    for (uint32_t i = 0; d->key_count > 0 && i < NAMES_TRIED; i++) {
        const struct durable_key *k = &d->keys[prng_below(&c->prng, d->key_count)];
        if (is_here(c, k))
            return k;
    }
    return NULL;
}

static void ask_read(struct durable *d, struct durable_client *c)
{
    const struct durable_key *first = any_key(d, c);
    if (first == NULL)
        return;
    uint32_t count = c->shard == UINT32_MAX ? 1 + (uint32_t)prng_below(&c->prng, DURABLE_MANY_MAX) : 1;
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
        if (k->owner != c->id || k->db != c->db)
            continue;
        k->value.len = 0;
        k->deadline_ms = 0;
        note_write(d, c, k, due, false, group);
    }
}

// Whether the client knows what is in its two databases.
static bool may_swap(const struct durable *d, const struct durable_client *c)
{
    for (uint32_t i = 0; i < d->key_count; i++)
        if (d->keys[i].owner == c->id && (d->keys[i].given_up || d->keys[i].refused))
            return false;
    return d->swaps;
}

// They change places.
static void ask_swap(struct durable *d, struct durable_client *c)
{
    struct durable_due *due = due_add(d, c, DUE_WRITES);
    uint64_t group = ++d->groups;
    due->group = group;
    say(c, 3, "SWAPDB");
    say_number(c, c->id);
    say_number(c, c->id + DURABLE_CLIENTS_MAX);
    for (uint32_t i = 0; i < d->key_count; i++) {
        struct durable_key *k = &d->keys[i];
        if (k->owner != c->id || k->twin < i)
            continue;
        struct durable_key *twin = &d->keys[k->twin];
        struct buf value = k->value;
        int64_t deadline_ms = k->deadline_ms;
        k->value = twin->value;
        k->deadline_ms = twin->deadline_ms;
        twin->value = value;
        twin->deadline_ms = deadline_ms;
        note_write(d, c, k, due, k->value.len > 0, group);
        note_write(d, c, twin, due, twin->value.len > 0, group);
    }
}

static void ask_waitaof(struct durable *d, struct durable_client *c)
{
    due_add(d, c, DUE_WAITAOF);
    say(c, 4, "WAITAOF");
    say_number(c, 1);
    say_number(c, 0);
    say_number(c, durable_chance(c, 500) ? 0 : 300);
}

static void ask_snapshot(struct durable *d, struct durable_client *c)
{
    due_add(d, c, DUE_BACKGROUND);
    say(c, 1, durable_chance(c, 500) ? "BGSAVE" : "BGREWRITEAOF");
}

static void ask_switch(struct durable *d, struct durable_client *c)
{
    bool on = d->counts == durable_chance(c, 100); // mostly to what it is not
    due_add(d, c, DUE_SWITCH)->on = on;
    durable_log_ask(d, on);
    say(c, 4, "CONFIG");
    say_part(c, slice_cstr("SET"));
    say_part(c, slice_cstr("appendonly"));
    say_part(c, slice_cstr(on ? "yes" : "no"));
}

static void ask_level(struct durable *d, struct durable_client *c)
{
    static const char *const NAMES[] = { [LEVEL_NO] = "no", [LEVEL_EVERYSEC] = "everysec", [LEVEL_ALWAYS] = "always" };
    uint8_t level = (uint8_t)prng_below(&c->prng, LEVEL_ALWAYS + 1);
    due_add(d, c, DUE_OK);
    say(c, 3, "CLIENT");
    say_part(c, slice_cstr("DURABILITY"));
    say_part(c, slice_cstr(level == LEVEL_NO && durable_chance(c, 500) ? "default" : NAMES[level]));
    c->level = level;
}

// At the port of a shard: one of its keys.
static void ask_here(struct durable *d, struct durable_client *c)
{
    struct durable_key *k = own_key(d, c);
    if (k == NULL || durable_chance(c, 300)) {
        ask_read(d, c);
        return;
    }
    select_db(d, c, k->db);
    size_t said = c->out.len;
    uint32_t due_before = c->due_count;
    write_one(d, c, k, due_add(d, c, DUE_WRITES), 0);
    maybe_frame(d, c, said, due_before);
}

void durable_ask(struct durable *d, struct durable_client *c)
{
    c->turn++;
    c->asked++;
    if (durable_chance(c, 25))
        ask_level(d, c);
    if (c->shard != UINT32_MAX) {
        ask_here(d, c);
        return;
    }
    uint64_t pick = prng_below(&c->prng, 100);
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
    else if (pick < 40 && may_swap(d, c))
        ask_swap(d, c);
    else if (pick < 50)
        ask_mset(d, c);
    else if (pick < 65)
        ask_transaction(d, c);
    else if (k != NULL)
        write_one(d, c, k, due_add(d, c, DUE_WRITES), 0);
    maybe_frame(d, c, said, due_before);
}

// ---- the auditor

void durable_audit_some(struct durable *d, struct durable_client *c)
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

// ---- a new connection

void durable_greet(struct durable *d, struct durable_client *c)
{
    c->connection = ++d->connections;
    c->db = 0;
    c->level = LEVEL_NO;
    c->levels = false;
    if (c->id == d->count)
        return;
    if (sim_workload(d->sim)->frames > 0 && durable_chance(c, 500)) {
        due_add(d, c, DUE_OK)->form = FRAMES_OWN;
        frames_hello(&c->out);
        c->levels = true;
    }
    if (durable_chance(c, 250))
        ask_level(d, c);
}
