// SPDX-License-Identifier: Apache-2.0
// COMMAND and its subcommands, but for DOCS: the table as clients see it.
#include <stdio.h>

#include "engine/command/glob.h"
#include "engine/command/words.h"

struct bit_name {
    uint32_t bit;
    const char *name;
};

static const struct bit_name flag_names[] = {
    { CMD_WRITE, "write" },
    { CMD_READONLY, "readonly" },
    { CMD_DENYOOM, "denyoom" },
    { CMD_ADMIN, "admin" },
    { CMD_PUBSUB, "pubsub" },
    { CMD_NOSCRIPT, "noscript" },
    { CMD_BLOCKING, "blocking" },
    { CMD_LOADING, "loading" },
    { CMD_STALE, "stale" },
    { CMD_SKIP_MONITOR, "skip_monitor" },
    { CMD_SKIP_SLOWLOG, "skip_slowlog" },
    { CMD_ASKING, "asking" },
    { CMD_FAST, "fast" },
    { CMD_NO_AUTH, "no_auth" },
    { CMD_MAY_REPLICATE, "may_replicate" },
    { CMD_NO_MULTI, "no_multi" },
    { CMD_MOVABLE_KEYS, "movablekeys" },
    { CMD_ALLOW_BUSY, "allow_busy" },
};

static const struct bit_name category_names[] = {
    { CAT_KEYSPACE, "@keyspace" },
    { CAT_READ, "@read" },
    { CAT_WRITE, "@write" },
    { CAT_SET, "@set" },
    { CAT_SORTEDSET, "@sortedset" },
    { CAT_LIST, "@list" },
    { CAT_HASH, "@hash" },
    { CAT_STRING, "@string" },
    { CAT_BITMAP, "@bitmap" },
    { CAT_HYPERLOGLOG, "@hyperloglog" },
    { CAT_GEO, "@geo" },
    { CAT_STREAM, "@stream" },
    { CAT_PUBSUB, "@pubsub" },
    { CAT_ADMIN, "@admin" },
    { CAT_FAST, "@fast" },
    { CAT_SLOW, "@slow" },
    { CAT_BLOCKING, "@blocking" },
    { CAT_DANGEROUS, "@dangerous" },
    { CAT_CONNECTION, "@connection" },
    { CAT_TRANSACTION, "@transaction" },
    { CAT_SCRIPTING, "@scripting" },
};

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

static void reply_bits(struct reply *r, uint32_t bits, const struct bit_name *names, size_t count)
{
    uint64_t set = 0;
    for (size_t i = 0; i < count; i++)
        set += (bits & names[i].bit) != 0;
    reply_set(r, set);
    for (size_t i = 0; i < count; i++)
        if (bits & names[i].bit)
            reply_simple(r, names[i].name);
}

static void reply_word(struct reply *r, struct slice word)
{
    char text[32];
    assert(word.len < sizeof text);
    snprintf(text, sizeof text, "%.*s", (int)word.len, (const char *)word.data);
    reply_simple(r, text);
}

static void reply_access(struct reply *r, const char *part)
{
    reply_set(r, words_count(part));
    while (*part != '\0' && *part != ';')
        reply_word(r, words_next(&part));
}

// The last key, counted from the first one of its range as key specifications do.
static int64_t last_of(const struct command *c, uint32_t spec, uint32_t specs)
{
    if (spec + 1 < specs)
        return 0;
    return c->key_last < 0 ? c->key_last : c->key_last - c->key_first - (int64_t)spec;
}

static void reply_key_spec(struct reply *r, const struct command *c, uint32_t spec, uint32_t specs)
{
    reply_map(r, 3);
    reply_bulk_cstr(r, "flags");
    reply_access(r, words_part(c->key_access, spec));
    reply_bulk_cstr(r, "begin_search");
    reply_map(r, 2);
    reply_bulk_cstr(r, "type");
    reply_bulk_cstr(r, "index");
    reply_bulk_cstr(r, "spec");
    reply_map(r, 1);
    reply_bulk_cstr(r, "index");
    reply_integer(r, c->key_first + (int64_t)spec);
    reply_bulk_cstr(r, "find_keys");
    reply_map(r, 2);
    reply_bulk_cstr(r, "type");
    reply_bulk_cstr(r, "range");
    reply_bulk_cstr(r, "spec");
    reply_map(r, 3);
    reply_bulk_cstr(r, "lastkey");
    reply_integer(r, last_of(c, spec, specs));
    reply_bulk_cstr(r, "keystep");
    reply_integer(r, c->key_step);
    reply_bulk_cstr(r, "limit");
    reply_integer(r, 0);
}

static void reply_info(struct reply *r, const struct command *c)
{
    reply_array(r, 10);
    reply_bulk_cstr(r, c->name);
    reply_integer(r, c->arity);
    reply_bits(r, c->flags, flag_names, COUNT_OF(flag_names));
    reply_integer(r, c->key_first);
    reply_integer(r, c->key_last);
    reply_integer(r, c->key_step);
    reply_bits(r, c->categories, category_names, COUNT_OF(category_names));
    reply_set(r, words_count(c->tips));
    for (const char *tips = c->tips; *tips != '\0';)
        reply_bulk(r, words_next(&tips));
    uint32_t specs = words_parts(c->key_access);
    reply_set(r, specs);
    for (uint32_t i = 0; i < specs; i++)
        reply_key_spec(r, c, i, specs);
    uint32_t subs = command_sub_count(c);
    if (subs == 0) {
        reply_set(r, 0);
        return;
    }
    reply_array(r, subs);
    for (uint32_t i = 1; i <= subs; i++)
        reply_info(r, command_at(command_index(c) + i));
}

static void reply_all(struct reply *r)
{
    reply_array(r, command_top_count());
    for (uint32_t i = 0; i < command_count(); i++)
        if ((command_at(i)->flags & CMD_SUBCOMMAND) == 0)
            reply_info(r, command_at(i));
}

void cmd_command(struct call *c)
{
    if (c->argc == 1)
        reply_all(c->reply);
    else
        cmd_container(c);
}

void cmd_command_info(struct call *c)
{
    if (c->argc == 2) {
        reply_all(c->reply);
        return;
    }
    reply_array(c->reply, c->argc - 2);
    for (uint32_t arg = 2; arg < c->argc; arg++) {
        const struct command *found = command_find_name(c->argv[arg]);
        if (found == NULL)
            reply_null(c->reply);
        else
            reply_info(c->reply, found);
    }
}

void cmd_command_count(struct call *c)
{
    reply_integer(c->reply, command_top_count());
}

static bool in_category(const struct command *c, struct slice name)
{
    for (size_t i = 0; i < COUNT_OF(category_names); i++)
        if ((c->categories & category_names[i].bit) && slice_is(name, category_names[i].name + 1))
            return true;
    return false;
}

void cmd_command_list(struct call *c)
{
    bool by_module = false, by_category = false, by_pattern = false;
    if (c->argc == 5 && slice_is(c->argv[2], "filterby")) {
        by_module = slice_is(c->argv[3], "module");
        by_category = slice_is(c->argv[3], "aclcat");
        by_pattern = slice_is(c->argv[3], "pattern");
    }
    if (c->argc > 2 && !by_module && !by_category && !by_pattern) {
        reply_error(c->reply, REPLY_SYNTAX);
        return;
    }
    uint64_t count = 0;
    for (int pass = 0; pass < 2; pass++) {
        if (pass == 1)
            reply_array(c->reply, count);
        for (uint32_t i = 0; i < command_count(); i++) {
            const struct command *each = command_at(i);
            if (by_module || (by_category && !in_category(each, c->argv[4])) ||
                (by_pattern && !glob_match(c->argv[4], slice_cstr(each->name), true)))
                continue;
            count++;
            if (pass == 1)
                reply_bulk_cstr(c->reply, each->name);
        }
    }
}

static bool has_word(const struct slice *argv, uint32_t argc, uint32_t from, const char *word)
{
    for (uint32_t i = from; i < argc; i++)
        if (slice_is(argv[i], word))
            return true;
    return false;
}

// SET and BITFIELD: what they do with their key hangs on their options (variable_flags).
static const char *access_of(const struct command *c, uint32_t key, const struct slice *argv, uint32_t argc)
{
    if (c->run == cmd_set)
        return has_word(argv, argc, 3, "get") ? "RW access update" : "OW update";
    if (c->run == cmd_bitfield)
        return has_word(argv, argc, 2, "set") || has_word(argv, argc, 2, "incrby") ? "RW access update" : "RO access";
    return words_part(c->key_access, key);
}

static void get_keys(struct call *c, bool with_flags)
{
    const struct slice *argv = c->argv + 2;
    uint32_t argc = c->argc - 2;
    const struct command *found = command_find(argv, argc);
    struct command_keys keys;
    const char *error = NULL;
    if (found == NULL || (argc > 1 && command_sub_count(found) > 0))
        error = "ERR Invalid command specified";
    else if (found->key_first == 0)
        error = "ERR The command has no key arguments";
    else if (!command_arity_ok(found, argc))
        error = "ERR Invalid number of arguments specified for command";
    else if (!command_key_range(found, argc, &keys))
        error = "ERR Invalid arguments specified for command";
    if (error != NULL) {
        reply_error(c->reply, error);
        return;
    }
    reply_array(c->reply, (keys.last - keys.first) / keys.step + 1);
    for (uint32_t arg = keys.first, n = 0; arg <= keys.last; arg += keys.step, n++) {
        if (with_flags)
            reply_array(c->reply, 2);
        reply_bulk(c->reply, argv[arg]);
        if (with_flags)
            reply_access(c->reply, access_of(found, n, argv, argc));
    }
}

void cmd_command_getkeys(struct call *c)
{
    get_keys(c, false);
}

void cmd_command_getkeysandflags(struct call *c)
{
    get_keys(c, true);
}

// ---- containers

static void upper_name(const char *name, char *out, size_t room)
{
    size_t i = 0;
    for (; name[i] != '\0' && name[i] != '|' && i + 1 < room; i++)
        out[i] = (char)(name[i] >= 'a' && name[i] <= 'z' ? name[i] & ~0x20 : name[i]);
    out[i] = '\0';
}

// Reached with a subcommand that the table does not have.
void cmd_container(struct call *c)
{
    char name[COMMAND_NAME_MAX];
    struct slice sub = c->argv[1];
    upper_name(c->command->name, name, sizeof name);
    reply_error_format(c->reply, "ERR unknown subcommand '%.*s'. Try %s HELP.", sub.len < 128 ? (int)sub.len : 128, (const char *)sub.data,
                       name);
}

void cmd_container_help(struct call *c)
{
    const struct command *container = command_at(c->command->id_container - 1u);
    uint32_t subs = command_sub_count(container);
    char name[COMMAND_NAME_MAX], line[256];
    upper_name(container->name, name, sizeof name);
    reply_array(c->reply, 1 + 2 * (uint64_t)subs);
    snprintf(line, sizeof line, "%s <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", name);
    reply_simple(c->reply, line);
    for (uint32_t i = 1; i <= subs; i++) {
        const struct command *sub = command_at(command_index(container) + i);
        upper_name(strchr(sub->name, '|') + 1, name, sizeof name);
        snprintf(line, sizeof line, "%s%s%s", name, sub->syntax[0] != '\0' ? " " : "", sub->syntax);
        reply_simple(c->reply, line);
        snprintf(line, sizeof line, "    %s", sub->summary);
        reply_simple(c->reply, line);
    }
}
