// SPDX-License-Identifier: Apache-2.0
// COMMAND DOCS: what redis-cli's hints and client libraries read. Shapes as Redis 7.2: maps of maps, absent fields left out.
#include <stdio.h>

#include "engine/command/syntax.h"
#include "engine/command/words.h"

struct docs {
    struct reply *out;
    const struct command *command;
    struct syntax syntax;
    uint32_t keys; // arguments of type key so far: the index of the key specification
};

static void reply_lower(struct reply *r, struct slice word)
{
    char text[64];
    assert(word.len < sizeof text);
    for (size_t i = 0; i < word.len; i++)
        text[i] = (char)(word.data[i] >= 'A' && word.data[i] <= 'Z' ? word.data[i] | 0x20 : word.data[i]);
    reply_bulk(r, slice_of(text, word.len));
}

static void reply_flags(struct reply *r, const struct syntax_node *n)
{
    bool again = n->multiple && n->optional && (n->token.len > 0 || n->type == SYNTAX_BLOCK);
    reply_bulk_cstr(r, "flags");
    reply_set(r, (uint64_t)n->optional + n->multiple + again);
    if (n->optional)
        reply_simple(r, "optional");
    if (n->multiple)
        reply_simple(r, "multiple");
    if (again)
        reply_simple(r, "multiple_token");
}

static void reply_arguments(struct docs *d, uint8_t first);

static uint32_t key_spec_of(struct docs *d)
{
    uint32_t specs = words_parts(d->command->key_access);
    uint32_t index = d->keys++;
    return index < specs ? index : specs - 1;
}

static void reply_argument(struct docs *d, const struct syntax_node *n)
{
    bool is_key = n->type == SYNTAX_KEY, is_token = n->type == SYNTAX_TOKEN, is_leaf = n->type < SYNTAX_ONE_OF;
    bool flags = n->optional || n->multiple;
    struct slice token = is_token ? n->name : n->token;
    reply_map(d->out, 2 + (uint64_t)is_leaf + is_key + (token.len > 0) + flags + !is_leaf);
    reply_bulk_cstr(d->out, "name");
    reply_lower(d->out, n->name);
    reply_bulk_cstr(d->out, "type");
    reply_bulk_cstr(d->out, syntax_type_name(n->type));
    if (is_leaf) {
        reply_bulk_cstr(d->out, "display_text");
        reply_lower(d->out, n->name);
    }
    if (is_key) {
        reply_bulk_cstr(d->out, "key_spec_index");
        reply_integer(d->out, key_spec_of(d));
    }
    if (token.len > 0) {
        reply_bulk_cstr(d->out, "token");
        reply_bulk(d->out, token);
    }
    if (flags)
        reply_flags(d->out, n);
    if (!is_leaf) {
        reply_bulk_cstr(d->out, "arguments");
        reply_arguments(d, n->child);
    }
}

static void reply_arguments(struct docs *d, uint8_t first)
{
    reply_array(d->out, syntax_length(&d->syntax, first));
    for (uint8_t i = first; i != 0; i = d->syntax.node[i].next)
        reply_argument(d, &d->syntax.node[i]);
}

static void reply_pair(struct reply *r, const char *name, const char *text)
{
    reply_bulk_cstr(r, name);
    reply_bulk_cstr(r, text);
}

static void reply_deprecated(struct reply *r, const char *text)
{
    struct slice since = words_next(&text);
    reply_bulk_cstr(r, "doc_flags");
    reply_set(r, 1);
    reply_simple(r, "deprecated");
    reply_bulk_cstr(r, "deprecated_since");
    reply_bulk(r, since);
    reply_pair(r, "replaced_by", text);
}

static void reply_docs(struct reply *r, const struct command *c)
{
    struct docs d = { .out = r, .command = c };
    uint32_t subs = command_sub_count(c);
    bool deprecated = c->deprecated[0] != '\0';
    syntax_parse(&d.syntax, c->syntax);
    bool arguments = d.syntax.node[0].child != 0;
    reply_map(r, 4 + (deprecated ? 3u : 0u) + arguments + (subs > 0));
    reply_pair(r, "summary", c->summary);
    reply_pair(r, "since", c->since);
    reply_pair(r, "group", c->group);
    reply_pair(r, "complexity", c->complexity);
    if (deprecated)
        reply_deprecated(r, c->deprecated);
    if (arguments) {
        reply_bulk_cstr(r, "arguments");
        reply_arguments(&d, d.syntax.node[0].child);
    }
    if (subs == 0)
        return;
    reply_bulk_cstr(r, "subcommands");
    reply_map(r, subs);
    for (uint32_t i = 1; i <= subs; i++) {
        reply_bulk_cstr(r, command_at(command_index(c) + i)->name);
        reply_docs(r, command_at(command_index(c) + i));
    }
}

static void reply_entry(struct reply *r, const struct command *c)
{
    reply_bulk_cstr(r, c->name);
    reply_docs(r, c);
}

static void reply_all(struct reply *r)
{
    reply_map(r, command_top_count());
    for (uint32_t i = 0; i < command_count(); i++)
        if ((command_at(i)->flags & CMD_SUBCOMMAND) == 0)
            reply_entry(r, command_at(i));
}

// Names that nobody knows are left out.
void cmd_command_docs(struct call *c)
{
    if (c->argc == 2) {
        reply_all(c->reply);
        return;
    }
    uint32_t known = 0;
    for (uint32_t arg = 2; arg < c->argc; arg++)
        known += command_find_name(c->argv[arg]) != NULL;
    reply_map(c->reply, known);
    for (uint32_t arg = 2; arg < c->argc; arg++) {
        const struct command *found = command_find_name(c->argv[arg]);
        if (found != NULL)
            reply_entry(c->reply, found);
    }
}
