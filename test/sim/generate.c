// SPDX-License-Identifier: Apache-2.0
// Draws commands and says what each will answer.
#include <inttypes.h>
#include <stdio.h>

#include "test/sim/frames.h"
#include "test/sim/generate_inside.h"

void key_name(struct client_sim *c, struct key *k, uint32_t index)
{
    k->generation++;
    k->value = NULL;
    k->has_deadline = k->busy = k->scan_due = false;
    snprintf(k->name, sizeof k->name, "c%u%s:%u.%u", c->id, k->timed ? "t" : "", index, k->generation);
}

struct value *generate_value(struct client_sim *c)
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

// ---- counters that all clients share

static void counter_word(struct client_sim *c, struct words *w, const char *name, uint32_t counter, char key[24])
{
    words_select(c, 0);
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
    words_send(c, &w);
    expect_new(c, EXPECT_COUNTER, &w)->counter = (uint16_t)counter;
    sim_counter_sent(c->sim, counter);
}

void generate_counter_read(struct client_sim *c, uint32_t counter)
{
    char key[24];
    struct words w = { .count = 0 };
    counter_word(c, &w, "INCRBY", counter, key);
    text(&w, "0");
    words_send(c, &w);
    struct expect *e = expect_new(c, EXPECT_COUNTER, &w);
    e->counter = (uint16_t)counter;
    e->high = 1; // the last word
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
    words_send(c, &w);
    if (ODD[which].reply != NULL)
        expect_prefix(c, &w, ODD[which].reply);
    else
        expect_new(c, EXPECT_ANY, &w)->bytes = 16384;
}

static void do_kill(struct client_sim *c)
{
    struct words w = { .count = 0 };
    text(&w, "CLIENT");
    text(&w, "KILL");
    text(&w, "TYPE");
    text(&w, "normal");
    words_send(c, &w);
    expect_integer(c, &w, 0, CLIENTS_MAX * 4);
}

void generate_hello(struct client_sim *c)
{
    struct words w = { .count = 0 };
    text(&w, "HELLO");
    text(&w, "3");
    words_send(c, &w);
    expect_prefix(c, &w, "%");
    c->protocol = 3;
}

void generate_quit(struct client_sim *c)
{
    struct words w = { .count = 0 };
    text(&w, "QUIT");
    words_send(c, &w);
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
    words_send(c, &select);
    expect_text(c, &select, "+OK\r\n");
    c->db = lost->db;
    text(&get, "GET");
    text(&get, lost->name);
    words_send(c, &get);
    struct expect *e = expect_new(c, EXPECT_BULK, &get);
    for (uint32_t i = 0; i < lost->count; i++)
        expect_value(c, e, lost->values[i]);
}

// ---- all of them

uint64_t generate_draw(struct client_sim *c, uint64_t bound)
{
    return draw(c, bound);
}

struct expect *generate_words(struct client_sim *c, const struct slice *words, uint32_t count, enum expect_kind kind)
{
    struct words w = { .count = 0 };
    words_select(c, 0);
    for (uint32_t i = 0; i < count; i++)
        word(&w, words[i]);
    words_send(c, &w);
    return expect_new(c, kind, &w);
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
        generate_several(c);
    else if (which < k->many + k->timed)
        generate_timed(c);
    else if (which < k->many + k->timed + k->scan)
        generate_scan(c);
    else if (which < k->many + k->timed + k->scan + k->odd)
        odd(c);
    else if (which < k->many + k->timed + k->scan + k->odd + 20)
        generate_whole(c);
    else if (which < k->many + k->timed + k->scan + k->odd + 90)
        do_counter(c);
    else if (which < k->many + k->timed + k->scan + k->odd + 90 + k->many / 3)
        group_command(c);
    else
        generate_single(c);
}
