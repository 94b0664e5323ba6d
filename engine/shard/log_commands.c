// SPDX-License-Identifier: Apache-2.0
// SLOWLOG and COMMANDLOG: what the logs of command_log.h hold.
#include <stdlib.h>

#include "base/bytes.h"
#include "engine/shard/command_log.h"
#include "engine/shard/server_commands.h"
#include "engine/shard/worker.h"
#include "proto/number.h"

static struct command_log *log_of(const struct call *c, enum command_log_kind kind)
{
    return &c->worker->server->logs[kind];
}

static void reply_entry(struct reply *r, const struct command_entry *e)
{
    const uint8_t *at = e->words.data;
    reply_array(r, 6);
    reply_integer(r, (int64_t)e->id);
    reply_integer(r, e->time_ms / 1000);
    reply_integer(r, (int64_t)e->value);
    reply_array(r, e->argc);
    for (uint32_t i = 0; i < e->argc; i++) {
        uint32_t len = load_u32(at);
        reply_bulk(r, slice_of(at + 4, len));
        at += 4 + len;
    }
    reply_bulk(r, buf_view(&e->address));
    reply_bulk(r, buf_view(&e->name));
}

// `wanted` -1: all.
static void reply_entries(struct call *c, enum command_log_kind kind, int64_t wanted)
{
    struct command_log *log = log_of(c, kind);
    uint32_t length = command_log_length(log);
    uint32_t count = wanted < 0 || wanted > length ? length : (uint32_t)wanted;
    struct command_entry **entries = calloc(count + 1, sizeof(struct command_entry *));
    if (entries == NULL) {
        reply_error(c->reply, REPLY_OUT_OF_MEMORY);
        return;
    }
    count = command_log_take(log, entries, count);
    reply_array(c->reply, count);
    for (uint32_t i = 0; i < count; i++) {
        reply_entry(c->reply, entries[i]);
        command_entry_free(entries[i]);
    }
    free(entries);
}

static bool parse_count(struct call *c, struct slice text, int64_t *count)
{
    if (number_parse_i64(text, count) && *count >= -1 && *count <= INT64_MAX)
        return true;
    reply_error(c->reply, "ERR count should be greater than or equal to -1");
    return false;
}

void cmd_slowlog(struct call *c)
{
    reply_unknown_subcommand(c, "SLOWLOG");
}

void cmd_slowlog_get(struct call *c)
{
    int64_t count = 10;
    if (c->argc > 3)
        reply_error_format(c->reply, "ERR wrong number of arguments for '%s' command", c->command->name);
    else if (c->argc == 2 || parse_count(c, c->argv[2], &count))
        reply_entries(c, LOG_SLOW, count);
}

void cmd_slowlog_len(struct call *c)
{
    reply_integer(c->reply, command_log_length(log_of(c, LOG_SLOW)));
}

void cmd_slowlog_reset(struct call *c)
{
    command_log_reset(log_of(c, LOG_SLOW));
    reply_ok(c->reply);
}

void cmd_slowlog_help(struct call *c)
{
    static const char *const LINES[] = {
        "GET [<count>]",
        "    Return top <count> entries from the slowlog (default: 10, -1 mean all).",
        "    Entries are made of:",
        "    id, timestamp, time in microseconds, arguments array, client IP and port,",
        "    client name",
        "LEN",
        "    Return the length of the slowlog.",
        "RESET",
        "    Reset the slowlog.",
        NULL,
    };
    reply_help(c, "SLOWLOG", LINES);
}

static bool parse_kind(struct call *c, struct slice text, enum command_log_kind *kind)
{
    static const char *const NAMES[LOG_KINDS] = { "slow", "large-request", "large-reply" };
    for (uint32_t i = 0; i < LOG_KINDS; i++) {
        if (!slice_is(text, NAMES[i]))
            continue;
        *kind = (enum command_log_kind)i;
        return true;
    }
    reply_error(c->reply, "ERR type should be one of the following: slow, large-request, large-reply");
    return false;
}

void cmd_commandlog(struct call *c)
{
    reply_unknown_subcommand(c, "COMMANDLOG");
}

void cmd_commandlog_get(struct call *c)
{
    int64_t count;
    enum command_log_kind kind;
    if (parse_count(c, c->argv[2], &count) && parse_kind(c, c->argv[3], &kind))
        reply_entries(c, kind, count);
}

void cmd_commandlog_len(struct call *c)
{
    enum command_log_kind kind;
    if (parse_kind(c, c->argv[2], &kind))
        reply_integer(c->reply, command_log_length(log_of(c, kind)));
}

void cmd_commandlog_reset(struct call *c)
{
    enum command_log_kind kind;
    if (!parse_kind(c, c->argv[2], &kind))
        return;
    command_log_reset(log_of(c, kind));
    reply_ok(c->reply);
}

void cmd_commandlog_help(struct call *c)
{
    static const char *const LINES[] = {
        "GET <count> <type>",
        "    Return top <count> entries of the specified <type> from the commandlog (-1 means all).",
        "    Entries are made of:",
        "    id, timestamp,",
        "    time in microseconds for type of slow,",
        "    or size in bytes for type of large-request,",
        "    or size in bytes for type of large-reply,",
        "    arguments array, client IP and port,",
        "    client name",
        "LEN <type>",
        "    Return the length of the specified type of commandlog.",
        "RESET <type>",
        "    Reset the specified type of commandlog.",
        NULL,
    };
    reply_help(c, "COMMANDLOG", LINES);
}
