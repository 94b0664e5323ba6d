// SPDX-License-Identifier: Apache-2.0
// LCS: the longest common subsequence, by the table of lengths of all prefixes. Its length alone needs two rows of the table.
#include <stdlib.h>

#include "base/bytes.h"
#include "engine/command/string_value.h"
#include "proto/number.h"

// Bytes of one table; also what bounds a call's time.
#define LCS_TABLE_MAX (UINT64_C(1) << 30)

struct lcs {
    struct slice a, b;
    bool want_len, want_idx, with_len;
    int64_t min_len;
    uint32_t *table; // [a.len + 1][b.len + 1]
};

static bool find_texts(struct call *c, struct lcs *l)
{
    struct slice *out[] = { &l->a, &l->b };
    for (uint32_t i = 0; i < 2; i++) {
        struct place at = call_place(c, i + 1);
        struct entry *e = keyspace_find(at.keyspace, c->argv[i + 1], at.hash, c->now_ms);
        if (e != NULL && entry_type(e) != ENTRY_STRING) {
            reply_error(c->reply, "ERR The specified keys must contain string values");
            return false;
        }
        *out[i] = e == NULL ? slice_of("", 0) : entry_value(e);
    }
    return true;
}

static bool parse_options(struct call *c, struct lcs *l)
{
    for (uint32_t arg = 3; arg < c->argc; arg++) {
        struct slice word = c->argv[arg];
        if (slice_is(word, "idx")) {
            l->want_idx = true;
        } else if (slice_is(word, "len")) {
            l->want_len = true;
        } else if (slice_is(word, "withmatchlen")) {
            l->with_len = true;
        } else if (slice_is(word, "minmatchlen") && arg + 1 < c->argc) {
            if (!string_integer(c, ++arg, &l->min_len))
                return false;
        } else {
            reply_error(c->reply, REPLY_SYNTAX);
            return false;
        }
    }
    if (l->want_idx && l->want_len) {
        reply_error(c->reply, "ERR If you want both the length and indexes, please just use IDX.");
        return false;
    }
    return true;
}

static inline uint32_t larger(uint32_t x, uint32_t y)
{
    return x > y ? x : y;
}

static inline uint32_t *row(const struct lcs *l, size_t i)
{
    return l->table + i * (l->b.len + 1);
}

// `rows` of the table are kept: all, or two in turn.
static uint32_t fill(struct lcs *l, size_t rows)
{
    for (size_t i = 1; i <= l->a.len; i++) {
        const uint32_t *above = row(l, (i - 1) % rows);
        uint32_t *here = row(l, i % rows);
        here[0] = 0;
        for (size_t j = 1; j <= l->b.len; j++)
            here[j] = l->a.data[i - 1] == l->b.data[j - 1] ? above[j - 1] + 1 : larger(above[j], here[j - 1]);
    }
    return row(l, l->a.len % rows)[l->b.len];
}

static bool make_table(struct call *c, struct lcs *l, size_t rows)
{
    uint64_t cells, bytes;
    bool ok = size_mul(rows, l->b.len + 1, &cells) && size_mul(cells, sizeof *l->table, &bytes) && bytes <= LCS_TABLE_MAX;
    l->table = ok ? calloc(cells, sizeof *l->table) : NULL;
    if (l->table == NULL)
        reply_error(c->reply, "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len");
    return l->table != NULL;
}

// A common run: [a, a + len) and [b, b + len).
struct match {
    size_t a, b, len;
};

// The next run going back from (*i, *j); len 0 = none is left. `text`, when asked for, is filled from its end.
static struct match step_back(const struct lcs *l, size_t *i, size_t *j, uint8_t *text)
{
    struct match m = { 0 };
    while (*i > 0 && *j > 0) {
        if (l->a.data[*i - 1] == l->b.data[*j - 1]) {
            if (text != NULL)
                text[row(l, *i)[*j] - 1] = l->a.data[*i - 1];
            --*i, --*j;
            m = (struct match){ .a = *i, .b = *j, .len = m.len + 1 };
        } else if (m.len > 0) {
            break;
        } else if (row(l, *i - 1)[*j] > row(l, *i)[*j - 1]) {
            --*i;
        } else {
            --*j;
        }
    }
    return m;
}

static void reply_match(struct reply *r, const struct match *m, bool with_len)
{
    reply_array(r, with_len ? 3 : 2);
    reply_array(r, 2);
    reply_integer(r, (int64_t)m->a);
    reply_integer(r, (int64_t)(m->a + m->len - 1));
    reply_array(r, 2);
    reply_integer(r, (int64_t)m->b);
    reply_integer(r, (int64_t)(m->b + m->len - 1));
    if (with_len)
        reply_integer(r, (int64_t)m->len);
}

static void reply_matches(struct reply *r, const struct lcs *l, uint32_t total)
{
    reply_map(r, 2);
    reply_bulk_cstr(r, "matches");
    size_t mark = reply_array_later(r), i = l->a.len, j = l->b.len;
    uint64_t count = 0;
    for (struct match m = step_back(l, &i, &j, NULL); m.len > 0; m = step_back(l, &i, &j, NULL)) {
        if (l->min_len > 0 && m.len < (uint64_t)l->min_len)
            continue;
        reply_match(r, &m, l->with_len);
        count++;
    }
    reply_array_set(r, mark, count);
    reply_bulk_cstr(r, "len");
    reply_integer(r, total);
}

static void reply_text(struct reply *r, const struct lcs *l, uint32_t total)
{
    uint8_t *text = malloc((size_t)total + 1);
    if (text == NULL) {
        reply_error(r, REPLY_OUT_OF_MEMORY);
        return;
    }
    size_t i = l->a.len, j = l->b.len;
    while (step_back(l, &i, &j, text).len > 0)
        ;
    reply_bulk(r, slice_of(text, total));
    free(text);
}

void cmd_lcs(struct call *c)
{
    struct lcs l = { 0 };
    if (!find_texts(c, &l) || !parse_options(c, &l))
        return;
    size_t rows = l.want_len ? 2 : l.a.len + 1;
    if (!make_table(c, &l, rows))
        return;
    uint32_t total = fill(&l, rows);
    if (l.want_len)
        reply_integer(c->reply, total);
    else if (l.want_idx)
        reply_matches(c->reply, &l, total);
    else
        reply_text(c->reply, &l, total);
    free(l.table);
}
