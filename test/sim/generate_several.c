// SPDX-License-Identifier: Apache-2.0
// Commands with several keys, and those that look at a whole database.
#include <inttypes.h>
#include <stdio.h>

#include "base/hash.h"
#include "test/sim/generate_inside.h"

// Distinct ones of one database.
static uint32_t some_keys(struct client_sim *c, struct key **out, uint32_t most)
{
    uint32_t count = 0, want = 1 + (uint32_t)draw(c, most);
    uint32_t db = draw(c, 2) == 0 || c->private_lost ? 0 : c->id + 1;
    uint32_t from = (uint32_t)draw(c, c->key_count);
    for (uint32_t i = 0; i < c->key_count && count < want; i++) {
        struct key *k = &c->keys[(from + i * 7) % c->key_count];
        bool taken = false;
        for (uint32_t j = 0; j < count; j++)
            taken |= out[j] == k;
        if (!taken && !k->timed && k->db == db)
            out[count++] = k;
    }
    if (count > 0)
        words_select(c, db);
    return count;
}

static void do_mget(struct client_sim *c, struct key **keys, uint32_t count)
{
    struct words w = { .count = 0 };
    text(&w, "MGET");
    for (uint32_t i = 0; i < count; i++)
        word(&w, name_of(keys[i]));
    if (draw(c, 4) == 0) // the same twice
        word(&w, name_of(keys[0]));
    words_send(c, &w);
    struct expect *e = expect_new(c, EXPECT_BULKS, &w);
    for (uint32_t i = 0; i + 1 < w.count; i++)
        expect_value(c, e, keys[i < count ? i : 0]->value);
}

static void do_mset(struct client_sim *c, struct key **keys, uint32_t count)
{
    struct words w = { .count = 0 };
    struct value *values[KEYS_MAX];
    bool nx = draw(c, 3) == 0, blocked = false;
    text(&w, nx ? "MSETNX" : "MSET");
    for (uint32_t i = 0; i < count; i++) {
        values[i] = generate_value(c);
        word(&w, name_of(keys[i]));
        word(&w, value_view(values[i]));
        blocked |= nx && keys[i]->value != NULL;
    }
    words_send(c, &w);
    struct expect *e = nx ? expect_integer(c, &w, !blocked, !blocked) : expect_text(c, &w, "+OK\r\n");
    for (uint32_t i = 0; i < count; i++) {
        if (blocked)
            expect_read(e, keys[i]);
        else
            expect_write(e, keys[i], value_hold(values[i]));
        value_drop(values[i]);
    }
}

static void do_count(struct client_sim *c, struct key **keys, uint32_t count)
{
    struct words w = { .count = 0 };
    int64_t there = 0;
    uint64_t kind = draw(c, 3);
    text(&w, kind == 0 ? "EXISTS" : kind == 1 ? "TOUCH" : "DEL");
    for (uint32_t i = 0; i < count; i++) {
        word(&w, name_of(keys[i]));
        there += keys[i]->value != NULL;
    }
    words_send(c, &w);
    struct expect *e = expect_integer(c, &w, there, there);
    for (uint32_t i = 0; kind == 2 && i < count; i++)
        expect_write(e, keys[i], NULL);
}

static void do_rename(struct client_sim *c, struct key *from, struct key *to)
{
    struct words w = { .count = 0 };
    bool nx = draw(c, 3) == 0;
    text(&w, nx ? "RENAMENX" : "RENAME");
    word(&w, name_of(from));
    word(&w, name_of(to));
    words_send(c, &w);
    if (from->value == NULL) {
        struct expect *failed = expect_prefix(c, &w, "-ERR no such key");
        expect_read(failed, from);
        expect_read(failed, to);
        return;
    }
    bool blocked = nx && to->value != NULL;
    struct expect *e = nx ? expect_integer(c, &w, !blocked, !blocked) : expect_text(c, &w, "+OK\r\n");
    if (blocked) {
        expect_read(e, from);
        expect_read(e, to);
        return;
    }
    expect_write(e, to, value_hold(from->value));
    expect_write(e, from, NULL);
}

static void do_copy(struct client_sim *c, struct key *from, struct key *to)
{
    struct words w = { .count = 0 };
    text(&w, "COPY");
    word(&w, name_of(from));
    word(&w, name_of(to));
    bool replace = draw(c, 2) == 0;
    if (replace)
        text(&w, "REPLACE");
    words_send(c, &w);
    bool done = from->value != NULL && (replace || to->value == NULL);
    struct expect *e = expect_integer(c, &w, done, done);
    expect_read(e, from);
    expect_write(e, to, value_hold(done ? from->value : to->value));
}

static void do_bitop(struct client_sim *c, struct key **keys, uint32_t count)
{
    struct words w = { .count = 0 };
    bool xor = draw(c, 2) == 0;
    text(&w, "BITOP");
    text(&w, xor? "XOR" : "OR");
    size_t len = 0;
    for (uint32_t i = 0; i < count; i++) {
        word(&w, name_of(keys[i]));
        if (i > 0 && keys[i]->value != NULL && keys[i]->value->len > len)
            len = keys[i]->value->len;
    }
    words_send(c, &w);
    struct value *v = len > 0 ? value_alloc(len) : NULL;
    if (v != NULL)
        memset(v->bytes, 0, len);
    for (uint32_t i = 1; i < count; i++)
        for (size_t b = 0; keys[i]->value != NULL && b < keys[i]->value->len; b++)
            v->bytes[b] = xor? v->bytes[b] ^ keys[i]->value->bytes[b] : v->bytes[b] | keys[i]->value->bytes[b];
    struct expect *e = expect_integer(c, &w, (int64_t)len, (int64_t)len);
    for (uint32_t i = 1; i < count; i++)
        expect_read(e, keys[i]);
    expect_write(e, keys[0], v);
}

void generate_several(struct client_sim *c)
{
    struct key *keys[KEYS_MAX];
    uint32_t count = some_keys(c, keys, draw(c, 4) == 0 ? KEYS_MAX : 5);
    uint64_t kind = draw(c, 100);
    if (count == 0)
        return;
    if (kind < 30)
        do_mget(c, keys, count);
    else if (kind < 60)
        do_mset(c, keys, count);
    else if (kind < 75)
        do_count(c, keys, count);
    else if (count >= 2 && kind < 84)
        do_rename(c, keys[0], keys[1]);
    else if (count >= 2 && kind < 91)
        do_copy(c, keys[0], keys[1]);
    else if (count >= 2)
        do_bitop(c, keys, count < 6 ? count : 6);
}

// ---- the whole of the private database

static uint32_t names_in(struct client_sim *c, uint64_t *hash)
{
    uint32_t count = 0;
    *hash = 0;
    for (uint32_t i = 0; i < c->key_count; i++) {
        struct key *k = &c->keys[i];
        if (k->db == 0 || k->value == NULL)
            continue;
        count++;
        *hash += XXH3_64bits(k->name, strlen(k->name));
    }
    return count;
}

void generate_whole(struct client_sim *c)
{
    if (c->private_lost)
        return;
    words_select(c, c->id + 1);
    struct words w = { .count = 0 };
    uint64_t hash;
    uint32_t names = names_in(c, &hash);
    struct expect *e;
    switch (draw(c, 5)) {
    case 0:
    case 1:
        text(&w, "DBSIZE");
        words_send(c, &w);
        expect_integer(c, &w, names, names + c->private_extra);
        break;
    case 2:
        text(&w, "KEYS");
        text(&w, "*");
        words_send(c, &w);
        e = expect_new(c, EXPECT_KEYS, &w);
        e->names = names;
        e->names_hash = hash;
        e->low = c->private_extra;
        e->bytes = 64 * names;
        break;
    case 3:
        text(&w, "RANDOMKEY");
        words_send(c, &w);
        e = expect_new(c, EXPECT_ANY, &w);
        break;
    default:
        if (draw(c, 4) != 0)
            return;
        text(&w, draw(c, 2) == 0 ? "FLUSHDB" : "flushdb");
        if (draw(c, 2) == 0)
            text(&w, "ASYNC");
        words_send(c, &w);
        e = expect_text(c, &w, "+OK\r\n");
        e->flush = true;
        lost_flushed(c);
        for (uint32_t i = 0; i < c->key_count; i++)
            if (c->keys[i].db != 0 && c->keys[i].value != NULL)
                expect_write(e, &c->keys[i], NULL);
    }
}

void generate_scan(struct client_sim *c)
{
    if (c->scan_waits)
        return;
    if (!c->scanning) {
        c->scanning = true;
        c->scan_db = draw(c, 2) == 0 || c->private_lost ? 0 : c->id + 1;
        snprintf(c->scan_cursor, sizeof c->scan_cursor, "0");
    }
    words_select(c, c->scan_db);
    if (strcmp(c->scan_cursor, "0") == 0)
        for (uint32_t i = 0; i < c->key_count; i++) {
            struct key *k = &c->keys[i];
            k->scan_due = k->db == c->scan_db && !k->timed && k->value != NULL;
            k->scan_seen = false;
        }
    char pattern[24], count[24];
    snprintf(pattern, sizeof pattern, "c%u:*", c->id);
    snprintf(count, sizeof count, "%" PRIu64, 1 + draw(c, 40));
    struct words w = { .count = 0 };
    text(&w, "SCAN");
    text(&w, c->scan_cursor);
    if (c->scan_db == 0 || draw(c, 2) == 0) {
        text(&w, "MATCH");
        text(&w, pattern);
    }
    text(&w, "COUNT");
    text(&w, count);
    words_send(c, &w);
    expect_new(c, EXPECT_SCAN, &w)->bytes = 4096;
    c->scan_waits = true;
}
