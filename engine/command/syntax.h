// SPDX-License-Identifier: Apache-2.0
// The arguments of a command as a tree, read from the syntax column of commands.def.
//
//   lower        an argument; its type follows from its name or is written behind it: `value:integer`
//   UPPER        a token; the arguments behind it, up to the next token or bracket, are its own
//   [ ... ]      optional          < ... >   together          a | b   one of
//   x [x ...]    x, at least once  [x ...]   x, any number of times
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

#define SYNTAX_NODES_MAX 64

enum syntax_type {
    SYNTAX_STRING,
    SYNTAX_INTEGER,
    SYNTAX_DOUBLE,
    SYNTAX_KEY,
    SYNTAX_PATTERN,
    SYNTAX_UNIX_TIME,
    SYNTAX_TOKEN,
    SYNTAX_ONE_OF,
    SYNTAX_BLOCK,
};

struct syntax_node {
    struct slice name;  // of a token: the token itself
    struct slice token; // before the argument; empty = none
    enum syntax_type type;
    bool optional;
    bool multiple;
    uint8_t child; // index of the first, 0 = none
    uint8_t next;  // sibling, 0 = the last
};

// Node 0 is a block: the whole command.
struct syntax {
    struct syntax_node node[SYNTAX_NODES_MAX];
    uint32_t count;
};

void syntax_parse(struct syntax *s, const char *text);
const char *syntax_type_name(enum syntax_type type);
// Of a child list.
uint32_t syntax_length(const struct syntax *s, uint8_t first);
