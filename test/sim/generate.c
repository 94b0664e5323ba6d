// SPDX-License-Identifier: Apache-2.0
// Draws commands and says what each will answer.
#include <inttypes.h>
#include <stdio.h>

#include "base/hash.h"
#include "test/sim/client.h"
#include "test/sim/frames.h"

#define WORDS_MAX (2 * KEYS_MAX + 8)

struct words {
    struct slice word[WORDS_MAX];
    uint32_t count;
};

static uint64_t draw(struct client_sim *c, uint64_t bound)
{
    return prng_below(&c->prng, bound);
}

static bool chance(struct client_sim *c, uint32_t permille)
{
    return permille > 0 && draw(c, 1000) < permille;
}

static void word(struct words *w, struct slice s)
{
    assert(w->count < WORDS_MAX);
    w->word[w->count++] = s;
}

static void text(struct words *w, const char *s)
{
    word(w, slice_cstr(s));
}

static void emit_text(struct client_sim *c, const char *s)
{
    buf_append(&c->out, s, strlen(s));
}

static bool is_plain(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] <= ' ' || s.data[i] >= 0x7f || s.data[i] == '"' || s.data[i] == '\'' || s.data[i] == '\\')
            return false;
    return s.len > 0 && s.len < 1000;
}

static bool all_plain(const struct words *w)
{
    for (uint32_t i = 0; i < w->count; i++)
        if (!is_plain(w->word[i]))
            return false;
    return w->word[0].data[0] != '*';
}

static void say_words(struct client_sim *c, const struct words *w)
{
    char line[160];
    size_t len = 0;
    for (uint32_t i = 0; i < w->count && len + 30 < sizeof line; i++) {
        struct slice s = w->word[i];
        line[len++] = ' ';
        for (size_t b = 0; b < s.len && b < 24; b++)
            line[len++] = s.data[b] > ' ' && s.data[b] < 0x7f ? (char)s.data[b] : '.';
    }
    line[len] = '\0';
    sim_say(c->sim, "client %u writes%s", c->id, line);
}

static void send_words(struct client_sim *c, const struct words *w)
{
    char head[32];
    say_words(c, w);
    c->form = FRAMES_NOT;
    if (slice_is(w->word[0], "multi")) // whose commands are no frames
        c->queueing = true;
    else if (slice_is(w->word[0], "exec") || slice_is(w->word[0], "discard"))
        c->queueing = false;
    if (!c->queueing && chance(c, sim_workload(c->sim)->frames) && frames_may(w->word, w->count)) {
        uint8_t flags = (const uint8_t[]){ 0, 1, 7, 7, 2, 3, 4, 5, 6 }[draw(c, 9)];
        c->form = (uint8_t)frames_put(&c->out, w->word, w->count, flags, sim_shards(c->sim));
        return;
    }
    if (chance(c, sim_workload(c->sim)->inline_permille) && all_plain(w)) {
        for (uint32_t i = 0; i < w->count; i++) {
            emit_text(c, i == 0 ? "" : " ");
            buf_append_slice(&c->out, w->word[i]);
        }
        emit_text(c, draw(c, 2) == 0 ? "\n" : "\r\n");
        return;
    }
    snprintf(head, sizeof head, "*%u\r\n", w->count);
    emit_text(c, head);
    for (uint32_t i = 0; i < w->count; i++) {
        snprintf(head, sizeof head, "$%zu\r\n", w->word[i].len);
        emit_text(c, head);
        buf_append_slice(&c->out, w->word[i]);
        emit_text(c, "\r\n");
    }
}

// ---- what is due

static struct expect *expect(struct client_sim *c, enum expect_kind kind, const struct words *w)
{
    struct expect *e = calloc(1, sizeof *e);
    assert(e != NULL);
    e->kind = (uint8_t)kind;
    e->form = c->form;
    e->bytes = 64;
    e->queued_ms = world_wall_ms(sim_world(c->sim));
    int n = w->word[0].len < sizeof e->command - 1 ? (int)w->word[0].len : (int)sizeof e->command - 1;
    snprintf(e->command, sizeof e->command, "%.*s", n, (const char *)w->word[0].data);
    *c->due_tail = e;
    c->due_tail = &e->next;
    c->due_count++;
    c->queued++;
    return e;
}

static struct expect *expect_text(struct client_sim *c, const struct words *w, const char *reply)
{
    struct expect *e = expect(c, EXPECT_TEXT, w);
    snprintf(e->text, sizeof e->text, "%s", reply);
    return e;
}

static struct expect *expect_prefix(struct client_sim *c, const struct words *w, const char *reply)
{
    struct expect *e = expect_text(c, w, reply);
    e->kind = EXPECT_PREFIX;
    return e;
}

static struct expect *expect_integer(struct client_sim *c, const struct words *w, int64_t low, int64_t high)
{
    struct expect *e = expect(c, EXPECT_INTEGER, w);
    e->low = low;
    e->high = high;
    return e;
}

static void add_value(struct client_sim *c, struct expect *e, struct value *v)
{
    e->values = realloc(e->values, (e->value_count + 1) * sizeof(struct value *));
    assert(e->values != NULL);
    e->values[e->value_count++] = value_hold(v);
    e->bytes += 32 + (v != NULL ? v->len : 0);
}

// Takes `after`.
static void write_key(struct expect *e, struct key *k, struct value *after)
{
    e->touches = realloc(e->touches, (e->touch_count + 1) * sizeof *e->touches);
    assert(e->touches != NULL);
    e->touches[e->touch_count++] = (struct touch){ .key = k, .before = value_hold(k->value), .after = value_hold(after) };
    value_drop(k->value);
    k->value = after;
    if (after == NULL)
        k->scan_due = false;
}

// Its state decides what the command does, should that run late, after the connection is long gone.
static void read_key(struct expect *e, struct key *k)
{
    write_key(e, k, value_hold(k->value));
}

// ---- keys and values

void key_name(struct client_sim *c, struct key *k, uint32_t index)
{
    k->generation++;
    k->value = NULL;
    k->has_deadline = k->busy = k->scan_due = false;
    snprintf(k->name, sizeof k->name, "c%u%s:%u.%u", c->id, k->timed ? "t" : "", index, k->generation);
}

static struct key *some_key(struct client_sim *c, bool timed)
{
    for (uint32_t tries = 0; tries < 64; tries++) {
        struct key *k = &c->keys[draw(c, c->key_count)];
        if (k->timed != timed || k->busy || (k->db != 0 && c->private_lost))
            continue;
        return k;
    }
    return NULL;
}

static struct value *new_value(struct client_sim *c)
{
    const struct workload_knobs *k = sim_workload(c->sim);
    size_t len = 12 + draw(c, k->value_max + 1);
    if (k->large_max > 0 && chance(c, k->large))
        len = 12 + draw(c, k->large_max);
    if (chance(c, 100)) { // a number, for INCR
        char digits[24];
        snprintf(digits, sizeof digits, "%" PRIu64, draw(c, 1000000));
        return value_of(slice_cstr(digits));
    }
    struct value *v = value_alloc(len);
    uint64_t seed = prng_next(&c->prng);
    for (size_t i = 0; i < len; i += 8) {
        uint64_t bits = prng_splitmix(&seed);
        memcpy(v->bytes + i, &bits, len - i < 8 ? len - i : 8);
    }
    char mark[16];
    int n = snprintf(mark, sizeof mark, "v%x.%x;", c->id, (unsigned)c->serial++ & 0xffffff);
    memcpy(v->bytes, mark, (size_t)n < len ? (size_t)n : len);
    return v;
}

static struct slice name_of(const struct key *k)
{
    return slice_cstr(k->name);
}

static void select_db(struct client_sim *c, uint32_t db)
{
    if (c->db == db)
        return;
    char number[16];
    snprintf(number, sizeof number, "%u", db);
    struct words w = { .count = 0 };
    text(&w, "SELECT");
    text(&w, number);
    send_words(c, &w);
    expect_text(c, &w, "+OK\r\n");
    c->db = db;
}

static bool is_number(const struct value *v, int64_t *out)
{
    if (v->len == 0 || v->len > 18 || (v->len > 1 && v->bytes[0] == '0'))
        return false;
    *out = 0;
    for (size_t i = 0; i < v->len; i++) {
        if (v->bytes[i] < '0' || v->bytes[i] > '9')
            return false;
        *out = *out * 10 + (v->bytes[i] - '0');
    }
    return true;
}

// ---- commands with one key

static void one_word(struct client_sim *c, struct words *w, const char *name, struct key *k)
{
    select_db(c, k->db);
    text(w, name);
    word(w, name_of(k));
}

void generate_get(struct client_sim *c, struct key *k)
{
    struct words w = { .count = 0 };
    one_word(c, &w, "GET", k);
    send_words(c, &w);
    add_value(c, expect(c, EXPECT_BULK, &w), k->value);
}

static void do_set(struct client_sim *c, struct key *k)
{
    struct words w = { .count = 0 };
    struct value *v = new_value(c);
    one_word(c, &w, draw(c, 8) == 0 ? "sEt" : "SET", k);
    word(&w, value_view(v));
    struct expect *e;
    switch (draw(c, 8)) {
    case 0: // condition
        text(&w, "NX");
        send_words(c, &w);
        e = expect(c, EXPECT_BULK, &w);
        if (k->value == NULL) {
            e->kind = EXPECT_TEXT;
            snprintf(e->text, sizeof e->text, "+OK\r\n");
            write_key(e, k, v);
        } else {
            add_value(c, e, NULL);
            read_key(e, k);
            value_drop(v);
        }
        return;
    case 1: // old value
        text(&w, "GET");
        send_words(c, &w);
        e = expect(c, EXPECT_BULK, &w);
        add_value(c, e, k->value);
        break;
    default:
        send_words(c, &w);
        e = expect_text(c, &w, "+OK\r\n");
    }
    write_key(e, k, v);
}

static void do_del(struct client_sim *c, struct key *k)
{
    struct words w = { .count = 0 };
    one_word(c, &w, draw(c, 2) == 0 ? "DEL" : "UNLINK", k);
    send_words(c, &w);
    write_key(expect_integer(c, &w, k->value != NULL, k->value != NULL), k, NULL);
}

static void do_getdel(struct client_sim *c, struct key *k)
{
    struct words w = { .count = 0 };
    one_word(c, &w, "GETDEL", k);
    send_words(c, &w);
    struct expect *e = expect(c, EXPECT_BULK, &w);
    add_value(c, e, k->value);
    write_key(e, k, NULL);
}

static void do_incr(struct client_sim *c, struct key *k)
{
    struct words w = { .count = 0 };
    one_word(c, &w, "INCR", k);
    send_words(c, &w);
    int64_t number = 0;
    if (k->value != NULL && !is_number(k->value, &number)) {
        read_key(expect_prefix(c, &w, "-ERR value is not an integer"), k);
        return;
    }
    char digits[24];
    snprintf(digits, sizeof digits, "%" PRId64, number + 1);
    write_key(expect_integer(c, &w, number + 1, number + 1), k, value_of(slice_cstr(digits)));
}

static void do_append(struct client_sim *c, struct key *k)
{
    struct words w = { .count = 0 };
    struct value *tail = new_value(c);
    size_t before = k->value != NULL ? k->value->len : 0;
    struct value *whole = value_alloc(before + tail->len);
    if (before > 0)
        memcpy(whole->bytes, k->value->bytes, before);
    memcpy(whole->bytes + before, tail->bytes, tail->len);
    one_word(c, &w, "APPEND", k);
    word(&w, value_view(tail));
    send_words(c, &w);
    write_key(expect_integer(c, &w, (int64_t)whole->len, (int64_t)whole->len), k, whole);
    value_drop(tail);
}

static void do_strlen(struct client_sim *c, struct key *k)
{
    struct words w = { .count = 0 };
    one_word(c, &w, "STRLEN", k);
    send_words(c, &w);
    int64_t len = k->value != NULL ? (int64_t)k->value->len : 0;
    expect_integer(c, &w, len, len);
}

static void do_getrange(struct client_sim *c, struct key *k)
{
    struct words w = { .count = 0 };
    size_t len = k->value != NULL ? k->value->len : 0;
    size_t from = draw(c, len + 2), to = from + draw(c, len + 2);
    char a[24], b[24];
    snprintf(a, sizeof a, "%zu", from);
    snprintf(b, sizeof b, "%zu", to);
    one_word(c, &w, "GETRANGE", k);
    text(&w, a);
    text(&w, b);
    send_words(c, &w);
    size_t end = to + 1 < len ? to + 1 : len;
    struct value *part = value_of(from < end ? slice_of(k->value->bytes + from, end - from) : slice_of(NULL, 0));
    add_value(c, expect(c, EXPECT_BULK, &w), part);
    value_drop(part);
}

// Answers with nothing; the GET behind it says whether it was done.
static void do_silent_set(struct client_sim *c, struct key *k)
{
    struct words skip = { .count = 0 }, set = { .count = 0 }, get = { .count = 0 };
    select_db(c, k->db);
    text(&skip, "CLIENT");
    text(&skip, "REPLY");
    text(&skip, "SKIP");
    send_words(c, &skip);
    struct value *v = new_value(c);
    one_word(c, &set, "SET", k);
    word(&set, value_view(v));
    send_words(c, &set);
    one_word(c, &get, "GET", k);
    send_words(c, &get);
    struct expect *e = expect(c, EXPECT_BULK, &get);
    write_key(e, k, v);
    add_value(c, e, v);
}

static void single(struct client_sim *c)
{
    struct key *k = some_key(c, false);
    if (k == NULL)
        return;
    size_t most = sim_workload(c->sim)->large_max + sim_workload(c->sim)->value_max + 4096;
    uint64_t kind = draw(c, 100);
    if (kind < 35)
        generate_get(c, k);
    else if (kind < 65)
        do_set(c, k);
    else if (kind < 72)
        do_del(c, k);
    else if (kind < 75)
        do_getdel(c, k);
    else if (kind < 82 && (k->value == NULL || k->value->len <= 18 || k->value->bytes[0] == 'v'))
        do_incr(c, k);
    else if (kind < 90 && (k->value == NULL || k->value->len < most))
        do_append(c, k);
    else if (kind < 93)
        do_strlen(c, k);
    else if (kind < 97)
        do_getrange(c, k);
    else
        do_silent_set(c, k);
}

// ---- counters that all clients share

static void counter_word(struct client_sim *c, struct words *w, const char *name, uint32_t counter, char key[24])
{
    select_db(c, 0);
    snprintf(key, 24, "shared:%u", counter);
    text(w, name);
    text(w, key);
}

static void do_counter(struct client_sim *c)
{
    uint32_t counter = (uint32_t)draw(c, COUNTERS);
    char key[24];
    struct words w = { .count = 0 };
    counter_word(c, &w, "INCR", counter, key);
    send_words(c, &w);
    expect(c, EXPECT_COUNTER, &w)->counter = (uint16_t)counter;
    sim_counter_sent(c->sim, counter);
}

void generate_counter_read(struct client_sim *c, uint32_t counter)
{
    char key[24];
    struct words w = { .count = 0 };
    counter_word(c, &w, "INCRBY", counter, key);
    text(&w, "0");
    send_words(c, &w);
    struct expect *e = expect(c, EXPECT_COUNTER, &w);
    e->counter = (uint16_t)counter;
    e->high = 1; // the last word
}

// ---- commands with several keys

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
        select_db(c, db);
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
    send_words(c, &w);
    struct expect *e = expect(c, EXPECT_BULKS, &w);
    for (uint32_t i = 0; i + 1 < w.count; i++)
        add_value(c, e, keys[i < count ? i : 0]->value);
}

static void do_mset(struct client_sim *c, struct key **keys, uint32_t count)
{
    struct words w = { .count = 0 };
    struct value *values[KEYS_MAX];
    bool nx = draw(c, 3) == 0, blocked = false;
    text(&w, nx ? "MSETNX" : "MSET");
    for (uint32_t i = 0; i < count; i++) {
        values[i] = new_value(c);
        word(&w, name_of(keys[i]));
        word(&w, value_view(values[i]));
        blocked |= nx && keys[i]->value != NULL;
    }
    send_words(c, &w);
    struct expect *e = nx ? expect_integer(c, &w, !blocked, !blocked) : expect_text(c, &w, "+OK\r\n");
    for (uint32_t i = 0; i < count; i++) {
        if (blocked)
            read_key(e, keys[i]);
        else
            write_key(e, keys[i], value_hold(values[i]));
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
    send_words(c, &w);
    struct expect *e = expect_integer(c, &w, there, there);
    for (uint32_t i = 0; kind == 2 && i < count; i++)
        write_key(e, keys[i], NULL);
}

static void do_rename(struct client_sim *c, struct key *from, struct key *to)
{
    struct words w = { .count = 0 };
    bool nx = draw(c, 3) == 0;
    text(&w, nx ? "RENAMENX" : "RENAME");
    word(&w, name_of(from));
    word(&w, name_of(to));
    send_words(c, &w);
    if (from->value == NULL) {
        struct expect *failed = expect_prefix(c, &w, "-ERR no such key");
        read_key(failed, from);
        read_key(failed, to);
        return;
    }
    bool blocked = nx && to->value != NULL;
    struct expect *e = nx ? expect_integer(c, &w, !blocked, !blocked) : expect_text(c, &w, "+OK\r\n");
    if (blocked) {
        read_key(e, from);
        read_key(e, to);
        return;
    }
    write_key(e, to, value_hold(from->value));
    write_key(e, from, NULL);
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
    send_words(c, &w);
    bool done = from->value != NULL && (replace || to->value == NULL);
    struct expect *e = expect_integer(c, &w, done, done);
    read_key(e, from);
    write_key(e, to, value_hold(done ? from->value : to->value));
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
    send_words(c, &w);
    struct value *v = len > 0 ? value_alloc(len) : NULL;
    if (v != NULL)
        memset(v->bytes, 0, len);
    for (uint32_t i = 1; i < count; i++)
        for (size_t b = 0; keys[i]->value != NULL && b < keys[i]->value->len; b++)
            v->bytes[b] = xor? v->bytes[b] ^ keys[i]->value->bytes[b] : v->bytes[b] | keys[i]->value->bytes[b];
    struct expect *e = expect_integer(c, &w, (int64_t)len, (int64_t)len);
    for (uint32_t i = 1; i < count; i++)
        read_key(e, keys[i]);
    write_key(e, keys[0], v);
}

static void several(struct client_sim *c)
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

static void whole(struct client_sim *c)
{
    if (c->private_lost)
        return;
    select_db(c, c->id + 1);
    struct words w = { .count = 0 };
    uint64_t hash;
    uint32_t names = names_in(c, &hash);
    struct expect *e;
    switch (draw(c, 5)) {
    case 0:
    case 1:
        text(&w, "DBSIZE");
        send_words(c, &w);
        expect_integer(c, &w, names, names + c->private_extra);
        break;
    case 2:
        text(&w, "KEYS");
        text(&w, "*");
        send_words(c, &w);
        e = expect(c, EXPECT_KEYS, &w);
        e->names = names;
        e->names_hash = hash;
        e->low = c->private_extra;
        e->bytes = 64 * names;
        break;
    case 3:
        text(&w, "RANDOMKEY");
        send_words(c, &w);
        e = expect(c, EXPECT_ANY, &w);
        break;
    default:
        if (draw(c, 4) != 0)
            return;
        text(&w, draw(c, 2) == 0 ? "FLUSHDB" : "flushdb");
        if (draw(c, 2) == 0)
            text(&w, "ASYNC");
        send_words(c, &w);
        e = expect_text(c, &w, "+OK\r\n");
        e->flush = true;
        lost_flushed(c);
        for (uint32_t i = 0; i < c->key_count; i++)
            if (c->keys[i].db != 0 && c->keys[i].value != NULL)
                write_key(e, &c->keys[i], NULL);
    }
}

static void do_scan(struct client_sim *c)
{
    if (c->scan_waits)
        return;
    if (!c->scanning) {
        c->scanning = true;
        c->scan_db = draw(c, 2) == 0 || c->private_lost ? 0 : c->id + 1;
        snprintf(c->scan_cursor, sizeof c->scan_cursor, "0");
    }
    select_db(c, c->scan_db);
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
    send_words(c, &w);
    expect(c, EXPECT_SCAN, &w)->bytes = 4096;
    c->scan_waits = true;
}

// ---- keys with deadlines

static struct expect *expect_timed(struct client_sim *c, const struct words *w, enum timed_kind kind, struct key *k)
{
    struct expect *e = expect(c, EXPECT_TIMED, w);
    e->timed = (uint8_t)kind;
    e->key = k;
    k->busy = true;
    return e;
}

static void timed_set(struct client_sim *c, struct key *k, bool seconds, int64_t amount, const char *number)
{
    struct words w = { .count = 0 };
    struct value *v = new_value(c);
    one_word(c, &w, "SET", k);
    word(&w, value_view(v));
    text(&w, seconds ? "EX" : "PX");
    text(&w, number);
    send_words(c, &w);
    struct expect *e = expect_timed(c, &w, TIMED_SET, k);
    e->ms = amount * (seconds ? 1000 : 1);
    add_value(c, e, v);
    value_drop(v);
}

static void timed(struct client_sim *c)
{
    struct key *k = some_key(c, true);
    if (k == NULL)
        return;
    struct words w = { .count = 0 };
    bool seconds = draw(c, 4) == 0;
    int64_t amount = seconds ? 1 + (int64_t)draw(c, 3) : 1 + (int64_t)draw(c, 200);
    char number[24];
    snprintf(number, sizeof number, "%" PRId64, amount);
    uint64_t kind = draw(c, 100);
    if (kind < 35) {
        timed_set(c, k, seconds, amount, number);
    } else if (kind < 60) {
        one_word(c, &w, "GET", k);
        send_words(c, &w);
        expect_timed(c, &w, TIMED_GET, k);
    } else if (kind < 70) {
        one_word(c, &w, "PTTL", k);
        send_words(c, &w);
        expect_timed(c, &w, TIMED_TTL, k);
    } else if (kind < 80) {
        one_word(c, &w, seconds ? "EXPIRE" : "PEXPIRE", k);
        text(&w, number);
        send_words(c, &w);
        expect_timed(c, &w, TIMED_EXPIRE, k)->ms = amount * (seconds ? 1000 : 1);
    } else {
        static const char *const names[] = { "PERSIST", "DEL", "EXISTS" };
        static const uint8_t kinds[] = { TIMED_PERSIST, TIMED_DEL, TIMED_EXISTS };
        uint64_t which = draw(c, 3);
        one_word(c, &w, names[which], k);
        send_words(c, &w);
        expect_timed(c, &w, (enum timed_kind)kinds[which], k);
    }
}

// ---- wrong and administrative ones

static const struct {
    const char *words[5];
    const char *reply; // its beginning
} ODD[] = {
    { { "PING" }, "+PONG\r\n" },
    { { "PING", "hello" }, "$5\r\nhello\r\n" },
    { { "ECHO", "" }, "$0\r\n\r\n" },
    { { "NOSUCH", "a", "b" }, "-ERR unknown command 'NOSUCH'" },
    { { "GET" }, "-ERR wrong number of arguments for 'get' command" },
    { { "SET", "a" }, "-ERR wrong number of arguments for 'set' command" },
    { { "MSET", "a", "b", "c" }, "-ERR wrong number of arguments for" },
    { { "SET", "nokey", "b", "NX", "XX" }, "-ERR syntax error" },
    { { "SELECT", "99999" }, "-ERR DB index is out of range" },
    { { "CLIENT", "ID" }, ":" },
    { { "CLIENT", "LIST" }, NULL },
    { { "CLIENT", "NOSUCH" }, "-ERR" },
    { { "INFO" }, NULL },
    { { "COMMAND", "COUNT" }, ":" },
    { { "CONFIG", "GET", "maxmemory" }, NULL },
    { { "CONFIG", "SET", "hz", "20" }, "+OK\r\n" },
    { { "TIME" }, "*2\r\n" },
    { { "SCAN", "nonumber" }, "-ERR invalid cursor" },
    { { "EXISTS", "nokey", "nokey2", "nokey3" }, ":0\r\n" },
};

static void odd(struct client_sim *c)
{
    size_t which = draw(c, sizeof ODD / sizeof ODD[0]);
    struct words w = { .count = 0 };
    for (int i = 0; i < 5 && ODD[which].words[i] != NULL; i++)
        text(&w, ODD[which].words[i]);
    send_words(c, &w);
    if (ODD[which].reply != NULL)
        expect_prefix(c, &w, ODD[which].reply);
    else
        expect(c, EXPECT_ANY, &w)->bytes = 16384;
}

static void do_kill(struct client_sim *c)
{
    struct words w = { .count = 0 };
    text(&w, "CLIENT");
    text(&w, "KILL");
    text(&w, "TYPE");
    text(&w, "normal");
    send_words(c, &w);
    expect_integer(c, &w, 0, CLIENTS_MAX * 4);
}

void generate_hello(struct client_sim *c)
{
    struct words w = { .count = 0 };
    text(&w, "HELLO");
    text(&w, "3");
    send_words(c, &w);
    expect_prefix(c, &w, "%");
    c->protocol = 3;
}

void generate_quit(struct client_sim *c)
{
    struct words w = { .count = 0 };
    text(&w, "QUIT");
    send_words(c, &w);
    expect_text(c, &w, "+OK\r\n");
    c->hung_up = true;
    c->state = CLIENT_FINISHED;
}

void generate_malformed(struct client_sim *c)
{
    static const char *const rubbish[] = {
        "*abc\r\n",        "*1\r\n:3\r\nGET\r\n", "*2\r\n$3\r\nGET\r\n$-5\r\n", "*1\r\n$99999999999999\r\n",
        "*9999999999\r\n", "*1\r\n$\r\n",         "SET \"unbalanced\r\n",
    };
    struct words w = { .count = 0 };
    text(&w, "rubbish");
    c->form = FRAMES_NOT;
    emit_text(c, rubbish[draw(c, sizeof rubbish / sizeof rubbish[0])]);
    expect_prefix(c, &w, "-ERR Protocol error");
    c->hung_up = true;
    c->state = CLIENT_FINISHED;
}

// A key that was given up: it must hold one of the values that were possible.
void generate_lost(struct client_sim *c, struct lost_key *lost)
{
    char number[16];
    struct words select = { .count = 0 }, get = { .count = 0 };
    snprintf(number, sizeof number, "%u", lost->db);
    text(&select, "SELECT");
    text(&select, number);
    send_words(c, &select);
    expect_text(c, &select, "+OK\r\n");
    c->db = lost->db;
    text(&get, "GET");
    text(&get, lost->name);
    send_words(c, &get);
    struct expect *e = expect(c, EXPECT_BULK, &get);
    for (uint32_t i = 0; i < lost->count; i++)
        add_value(c, e, lost->values[i]);
}

uint64_t generate_draw(struct client_sim *c, uint64_t bound)
{
    return draw(c, bound);
}

struct expect *generate_words(struct client_sim *c, const struct slice *words, uint32_t count, enum expect_kind kind)
{
    struct words w = { .count = 0 };
    select_db(c, 0);
    for (uint32_t i = 0; i < count; i++)
        word(&w, words[i]);
    send_words(c, &w);
    return expect(c, kind, &w);
}

void generate_command(struct client_sim *c)
{
    const struct workload_knobs *k = sim_workload(c->sim);
    uint64_t which = draw(c, 1000);
    if (chance(c, k->malformed))
        generate_malformed(c);
    else if (chance(c, k->quit))
        generate_quit(c);
    else if (chance(c, k->kill))
        do_kill(c);
    else if (which < k->many)
        several(c);
    else if (which < k->many + k->timed)
        timed(c);
    else if (which < k->many + k->timed + k->scan)
        do_scan(c);
    else if (which < k->many + k->timed + k->scan + k->odd)
        odd(c);
    else if (which < k->many + k->timed + k->scan + k->odd + 20)
        whole(c);
    else if (which < k->many + k->timed + k->scan + k->odd + 90)
        do_counter(c);
    else if (which < k->many + k->timed + k->scan + k->odd + 90 + k->many / 3)
        group_command(c);
    else
        single(c);
}
