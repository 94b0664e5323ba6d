// SPDX-License-Identifier: Apache-2.0
// What the files that draw commands share.
//
//   words.c             words, and how they are sent
//   expect.c            the reply that is due, and what becomes of the keys
//   generate_single.c   commands with one key
//   generate_several.c  commands with several keys, or a whole database
//   generate.c          values, shared counters, odd commands, and which of all comes next
#pragma once

#include "test/sim/client.h"

#define WORDS_MAX (2 * KEYS_MAX + 8)

struct words {
    struct slice word[WORDS_MAX];
    uint32_t count;
};

static inline uint64_t draw(struct client_sim *c, uint64_t bound)
{
    return prng_below(&c->prng, bound);
}

static inline bool chance(struct client_sim *c, uint32_t permille)
{
    return permille > 0 && draw(c, 1000) < permille;
}

static inline void word(struct words *w, struct slice s)
{
    assert(w->count < WORDS_MAX);
    w->word[w->count++] = s;
}

static inline void text(struct words *w, const char *s)
{
    word(w, slice_cstr(s));
}

static inline void emit_text(struct client_sim *c, const char *s)
{
    buf_append(&c->out, s, strlen(s));
}

static inline struct slice name_of(const struct key *k)
{
    return slice_cstr(k->name);
}

void words_send(struct client_sim *c, const struct words *w);
void words_select(struct client_sim *c, uint32_t db);
// The command and its key, in the key's database.
void words_begin(struct client_sim *c, struct words *w, const char *name, struct key *k);

// Of the words that were sent last.
struct expect *expect_new(struct client_sim *c, enum expect_kind kind, const struct words *w);
struct expect *expect_text(struct client_sim *c, const struct words *w, const char *reply);
struct expect *expect_prefix(struct client_sim *c, const struct words *w, const char *reply);
struct expect *expect_integer(struct client_sim *c, const struct words *w, int64_t low, int64_t high);
void expect_value(struct client_sim *c, struct expect *e, struct value *v);
// The command leaves `after` in the key, which is taken; and what it does depends on what is there.
void expect_write(struct expect *e, struct key *k, struct value *after);
void expect_read(struct expect *e, struct key *k);

struct value *generate_value(struct client_sim *c);
void generate_single(struct client_sim *c);
void generate_timed(struct client_sim *c);
void generate_several(struct client_sim *c);
void generate_whole(struct client_sim *c);
void generate_scan(struct client_sim *c);
