// SPDX-License-Identifier: Apache-2.0
// What clients saw of a server: operations with the time of their call, the time of their reply, and what they found or wrote.
//
// An operation is one command, or one MULTI/EXEC: a list of steps that claim to have happened at one moment between `invoke` and
// `returned`. Without a reply (`returned` = HISTORY_NEVER) it may have happened at any moment after `invoke`, or never; its steps are
// then those of its success, without what it would have found. What certainly did not happen (an error, DISCARD) is not recorded.
//
// The text form, one operation a line, `#` comments; history_print writes it and history_parse reads it:
//
//   3 100-180 MSET | w r1 17; w r2 18          process 3, called at 100, answered at 180
//   4 110-? INCR | i c1                        no reply
//
//   w KEY VALUE    wrote; 0: removed           a KEY TOKEN POSITION   appended as the POSITIONth token, from 1 (left out: unknown)
//   r KEY VALUE    found; 0: nothing           l KEY TOKEN,TOKEN,...  found the list; "-": empty
//   e KEY 0|1 N    missing, there              i KEY SUM              added one, which made SUM (left out: unknown)
//                  without a reply: if so, the next N steps happen, else they don't
//   x KEY          WATCH says that a command of another connection changed it, or another key so marked, meanwhile
//
// A key's first letter says which promise is checked (docs/CHECKING.md): r registers whose values are unique per key, t registers that
// are set once and removed once, l append lists, c counters, s small groups ("s3.a" and "s3.b" are one) that are searched exhaustively.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/assert.h"
#include "test/history/table.h"

#define HISTORY_NEVER     UINT64_MAX
#define HISTORY_STEPS_MAX 24
#define HISTORY_NAME_MAX  24

enum action { ACTION_READ, ACTION_WRITE, ACTION_APPEND, ACTION_LIST, ACTION_ADD, ACTION_EXISTS, ACTION_CHANGED };

struct step {
    uint32_t key;
    uint8_t action;
    uint32_t count;     // APPEND: position, 0 = not known; LIST: tokens; EXISTS: the steps that depend on it
    uint64_t value;     // of READ, WRITE, EXISTS; APPEND: the token; ADD: the sum, 0 = not known
    uint64_t tokens_at; // LIST: in history.tokens
};

struct operation {
    uint32_t process; // a connection: a new one has a new number
    uint32_t step_count;
    uint64_t first_step;
    uint64_t invoke, returned; // any unit; a.returned < b.invoke says that a was over before b began
    const char *name;          // static
};

struct history_key {
    char name[HISTORY_NAME_MAX];
    char kind;
};

struct history {
    struct operation *operations;
    uint64_t operation_count, operation_cap;
    struct step *steps;
    uint64_t step_count, step_cap;
    uint64_t *tokens;
    uint64_t token_count, token_cap;
    struct history_key *keys;
    uint32_t key_count, key_cap;
    struct table names;
};

void history_init(struct history *h);
void history_deinit(struct history *h);
// The key's number; added when it is new.
uint32_t history_key(struct history *h, const char *name);
// Room for a list's tokens; returns where they begin (step.tokens_at).
uint64_t history_tokens(struct history *h, const uint64_t *tokens, uint32_t count);
// At the reply, or when it is known that none will come: the order of the calls does not matter.
void history_add(struct history *h, const struct operation *op, const struct step *steps, uint32_t count);

static inline const struct step *history_steps(const struct history *h, const struct operation *op)
{
    return h->steps + op->first_step;
}

// One operation's line without its end; lists longer than a line are cut in the middle when `brief`.
void history_print_operation(const struct history *h, const struct operation *op, FILE *to, bool brief);
void history_print(const struct history *h, FILE *to);
// 0, or the number of the first line that is wrong.
long history_parse(struct history *h, FILE *from);
