// SPDX-License-Identifier: Apache-2.0
// Groups of keys, on whatever workers, that all clients write and that only ever change together: whoever sees two of them apart has
// seen half of a command. A value says of itself whether it is whole, so that a mixture made by BITOP shows too.
#include <inttypes.h>
#include <stdio.h>

#include "base/hash.h"
#include "test/sim/client.h"
#include "test/sim/resp_reader.h"

#define GROUPS    3
#define GROUP     5 // keys in one
#define VALUE_LEN 32

static void make_value(struct client_sim *c, char out[VALUE_LEN + 1])
{
    char body[17];
    snprintf(body, sizeof body, "%08" PRIx32 "%08" PRIx32, c->id, (uint32_t)++c->serial);
    snprintf(out, VALUE_LEN + 1, "%s%016" PRIx64, body, (uint64_t)XXH3_64bits(body, 16));
}

static bool is_value(struct slice s)
{
    char sum[17];
    if (s.len != VALUE_LEN)
        return false;
    snprintf(sum, sizeof sum, "%016" PRIx64, (uint64_t)XXH3_64bits(s.data, 16));
    return memcmp(sum, s.data + 16, 16) == 0;
}

struct group {
    char names[GROUP + 1][24]; // the last one is made of the others
    struct slice words[2 * GROUP + 2];
    uint32_t count;
    uint32_t first;
};

static void word(struct group *g, const char *s)
{
    g->words[g->count++] = slice_cstr(s);
}

static void begin(struct client_sim *c, struct group *g, const char *name)
{
    uint32_t which = (uint32_t)generate_draw(c, GROUPS);
    *g = (struct group){ .count = 0 };
    for (uint32_t i = 0; i <= GROUP; i++)
        snprintf(g->names[i], sizeof g->names[i], "group:%u:%u", which, i);
    g->first = (uint32_t)generate_draw(c, GROUP);
    word(g, name);
}

// In any order.
static const char *name_at(const struct group *g, uint32_t i)
{
    return g->names[(g->first + i) % GROUP];
}

static struct expect *all_keys(struct client_sim *c, struct group *g, const char *value, enum expect_kind kind)
{
    for (uint32_t i = 0; i < GROUP; i++) {
        word(g, name_at(g, i));
        if (value != NULL)
            word(g, value);
    }
    return generate_words(c, g->words, g->count, kind);
}

static void set_all(struct client_sim *c, struct group *g, const char *name)
{
    char value[VALUE_LEN + 1];
    make_value(c, value);
    begin(c, g, name);
    bool always = strcmp(name, "MSET") == 0;
    struct expect *e = all_keys(c, g, value, always ? EXPECT_TEXT : EXPECT_INTEGER);
    if (always)
        snprintf(e->text, sizeof e->text, "+OK\r\n");
    e->high = 1;
}

static void say(struct client_sim *c, const char *name, const char *reply)
{
    struct slice word = slice_cstr(name);
    struct expect *e = generate_words(c, &word, 1, EXPECT_TEXT);
    snprintf(e->text, sizeof e->text, "%s", reply);
}

// The same by MULTI: a command for each key.
static void transaction(struct client_sim *c, bool writes)
{
    struct group g;
    char value[VALUE_LEN + 1];
    make_value(c, value);
    begin(c, &g, "");
    say(c, "MULTI", "+OK\r\n");
    for (uint32_t i = 0; i < GROUP; i++) {
        struct slice words[] = { slice_cstr(writes ? "SET" : "GET"), slice_cstr(g.names[i]), slice_cstr(value) };
        struct expect *e = generate_words(c, words, writes ? 3 : 2, EXPECT_TEXT);
        snprintf(e->text, sizeof e->text, "+QUEUED\r\n");
    }
    struct slice exec = slice_cstr("EXEC");
    if (writes)
        say(c, "EXEC", "*5\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n");
    else
        generate_words(c, &exec, 1, EXPECT_GROUP);
}

void group_command(struct client_sim *c)
{
    struct group g;
    uint64_t kind = generate_draw(c, 120);
    if (kind >= 100) {
        transaction(c, kind >= 110);
    } else if (kind < 30) {
        set_all(c, &g, "MSET");
    } else if (kind < 60) {
        begin(c, &g, "MGET");
        all_keys(c, &g, NULL, EXPECT_GROUP);
    } else if (kind < 68) {
        set_all(c, &g, "MSETNX");
    } else if (kind < 76) {
        begin(c, &g, generate_draw(c, 2) == 0 ? "DEL" : "UNLINK");
        all_keys(c, &g, NULL, EXPECT_GROUP_COUNT);
    } else if (kind < 84) {
        begin(c, &g, generate_draw(c, 2) == 0 ? "EXISTS" : "TOUCH");
        all_keys(c, &g, NULL, EXPECT_GROUP_COUNT);
    } else if (kind < 92) {
        begin(c, &g, "BITOP");
        word(&g, generate_draw(c, 2) == 0 ? "OR" : "AND");
        word(&g, g.names[GROUP]);
        struct expect *e = all_keys(c, &g, NULL, EXPECT_INTEGER);
        e->high = VALUE_LEN;
    } else if (kind < 96) {
        begin(c, &g, "GET");
        word(&g, g.names[GROUP]);
        generate_words(c, g.words, g.count, EXPECT_GROUP_VALUE);
    } else {
        begin(c, &g, "LCS");
        word(&g, name_at(&g, 0));
        word(&g, name_at(&g, 1));
        generate_words(c, g.words, g.count, EXPECT_GROUP_VALUE);
    }
}

static const char *check_equal_values(struct slice bytes)
{
    struct reader whole = reader_open(bytes);
    if (whole.mark != '*' || whole.number != GROUP)
        return "an array of the group's values";
    struct slice first = { 0 };
    size_t at = whole.used;
    for (int i = 0; i < GROUP; i++) {
        struct reader r = reader_open(slice_of(bytes.data + at, bytes.len - at));
        struct slice body = reader_is_null(&r) ? slice_of(NULL, 0) : r.body;
        if (i == 0)
            first = body;
        if (!slice_equal(first, body) || (body.len > 0 && !is_value(body)))
            return "the values of one moment";
        at += r.used;
    }
    return "";
}

const char *group_check(enum expect_kind kind, struct slice bytes)
{
    if (kind == EXPECT_GROUP)
        return check_equal_values(bytes);
    struct reader r = reader_open(bytes);
    if (kind == EXPECT_GROUP_COUNT)
        return r.mark == ':' && (r.number == 0 || r.number == GROUP) ? "" : "none or all of the group";
    bool empty = reader_is_null(&r) || (reader_is_string(&r) && r.body.len == 0);
    return empty || (reader_is_string(&r) && is_value(r.body)) ? "" : "a whole value";
}
