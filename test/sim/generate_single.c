// SPDX-License-Identifier: Apache-2.0
// Commands with one key, without and with a deadline.
#include <inttypes.h>
#include <stdio.h>

#include "test/sim/generate_inside.h"

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

void generate_get(struct client_sim *c, struct key *k)
{
    struct words w = { .count = 0 };
    words_begin(c, &w, "GET", k);
    words_send(c, &w);
    expect_value(c, expect_new(c, EXPECT_BULK, &w), k->value);
}

static void do_set(struct client_sim *c, struct key *k)
{
    struct words w = { .count = 0 };
    struct value *v = generate_value(c);
    words_begin(c, &w, draw(c, 8) == 0 ? "sEt" : "SET", k);
    word(&w, value_view(v));
    struct expect *e;
    switch (draw(c, 8)) {
    case 0: // condition
        text(&w, "NX");
        words_send(c, &w);
        e = expect_new(c, EXPECT_BULK, &w);
        if (k->value == NULL) {
            e->kind = EXPECT_TEXT;
            snprintf(e->text, sizeof e->text, "+OK\r\n");
            expect_write(e, k, v);
        } else {
            expect_value(c, e, NULL);
            expect_read(e, k);
            value_drop(v);
        }
        return;
    case 1: // old value
        text(&w, "GET");
        words_send(c, &w);
        e = expect_new(c, EXPECT_BULK, &w);
        expect_value(c, e, k->value);
        break;
    default:
        words_send(c, &w);
        e = expect_text(c, &w, "+OK\r\n");
    }
    expect_write(e, k, v);
}

static void do_del(struct client_sim *c, struct key *k)
{
    struct words w = { .count = 0 };
    words_begin(c, &w, draw(c, 2) == 0 ? "DEL" : "UNLINK", k);
    words_send(c, &w);
    expect_write(expect_integer(c, &w, k->value != NULL, k->value != NULL), k, NULL);
}

static void do_getdel(struct client_sim *c, struct key *k)
{
    struct words w = { .count = 0 };
    words_begin(c, &w, "GETDEL", k);
    words_send(c, &w);
    struct expect *e = expect_new(c, EXPECT_BULK, &w);
    expect_value(c, e, k->value);
    expect_write(e, k, NULL);
}

static void do_incr(struct client_sim *c, struct key *k)
{
    struct words w = { .count = 0 };
    words_begin(c, &w, "INCR", k);
    words_send(c, &w);
    int64_t number = 0;
    if (k->value != NULL && !is_number(k->value, &number)) {
        expect_read(expect_prefix(c, &w, "-ERR value is not an integer"), k);
        return;
    }
    char digits[24];
    snprintf(digits, sizeof digits, "%" PRId64, number + 1);
    expect_write(expect_integer(c, &w, number + 1, number + 1), k, value_of(slice_cstr(digits)));
}

static void do_append(struct client_sim *c, struct key *k)
{
    struct words w = { .count = 0 };
    struct value *tail = generate_value(c);
    size_t before = k->value != NULL ? k->value->len : 0;
    struct value *whole = value_alloc(before + tail->len);
    if (before > 0)
        memcpy(whole->bytes, k->value->bytes, before);
    memcpy(whole->bytes + before, tail->bytes, tail->len);
    words_begin(c, &w, "APPEND", k);
    word(&w, value_view(tail));
    words_send(c, &w);
    expect_write(expect_integer(c, &w, (int64_t)whole->len, (int64_t)whole->len), k, whole);
    value_drop(tail);
}

static void do_strlen(struct client_sim *c, struct key *k)
{
    struct words w = { .count = 0 };
    words_begin(c, &w, "STRLEN", k);
    words_send(c, &w);
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
    words_begin(c, &w, "GETRANGE", k);
    text(&w, a);
    text(&w, b);
    words_send(c, &w);
    size_t end = to + 1 < len ? to + 1 : len;
    struct value *part = value_of(from < end ? slice_of(k->value->bytes + from, end - from) : slice_of(NULL, 0));
    expect_value(c, expect_new(c, EXPECT_BULK, &w), part);
    value_drop(part);
}

// Answers with nothing; the GET behind it says whether it was done.
static void do_silent_set(struct client_sim *c, struct key *k)
{
    struct words skip = { .count = 0 }, set = { .count = 0 }, get = { .count = 0 };
    words_select(c, k->db);
    text(&skip, "CLIENT");
    text(&skip, "REPLY");
    text(&skip, "SKIP");
    words_send(c, &skip);
    struct value *v = generate_value(c);
    words_begin(c, &set, "SET", k);
    word(&set, value_view(v));
    words_send(c, &set);
    words_begin(c, &get, "GET", k);
    words_send(c, &get);
    struct expect *e = expect_new(c, EXPECT_BULK, &get);
    expect_write(e, k, v);
    expect_value(c, e, v);
}

void generate_single(struct client_sim *c)
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

// ---- keys with deadlines

static struct expect *expect_timed(struct client_sim *c, const struct words *w, enum timed_kind kind, struct key *k)
{
    struct expect *e = expect_new(c, EXPECT_TIMED, w);
    e->timed = (uint8_t)kind;
    e->key = k;
    k->busy = true;
    return e;
}

static void timed_set(struct client_sim *c, struct key *k, bool seconds, int64_t amount, const char *number)
{
    struct words w = { .count = 0 };
    struct value *v = generate_value(c);
    words_begin(c, &w, "SET", k);
    word(&w, value_view(v));
    text(&w, seconds ? "EX" : "PX");
    text(&w, number);
    words_send(c, &w);
    struct expect *e = expect_timed(c, &w, TIMED_SET, k);
    e->ms = amount * (seconds ? 1000 : 1);
    expect_value(c, e, v);
    value_drop(v);
}

void generate_timed(struct client_sim *c)
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
        words_begin(c, &w, "GET", k);
        words_send(c, &w);
        expect_timed(c, &w, TIMED_GET, k);
    } else if (kind < 70) {
        words_begin(c, &w, "PTTL", k);
        words_send(c, &w);
        expect_timed(c, &w, TIMED_TTL, k);
    } else if (kind < 80) {
        words_begin(c, &w, seconds ? "EXPIRE" : "PEXPIRE", k);
        text(&w, number);
        words_send(c, &w);
        expect_timed(c, &w, TIMED_EXPIRE, k)->ms = amount * (seconds ? 1000 : 1);
    } else {
        static const char *const names[] = { "PERSIST", "DEL", "EXISTS" };
        static const uint8_t kinds[] = { TIMED_PERSIST, TIMED_DEL, TIMED_EXISTS };
        uint64_t which = draw(c, 3);
        words_begin(c, &w, names[which], k);
        words_send(c, &w);
        expect_timed(c, &w, (enum timed_kind)kinds[which], k);
    }
}
