// SPDX-License-Identifier: Apache-2.0
// CONFIG and its subcommands.
#include <errno.h>
#include <string.h>

#include "engine/command/glob.h"
#include "engine/shard/server_commands.h"
#include "engine/shard/worker.h"

void cmd_config(struct call *c)
{
    reply_unknown_subcommand(c, "CONFIG");
}

static bool is_glob(struct slice pattern)
{
    for (size_t i = 0; i < pattern.len; i++)
        if (memchr("*?[", pattern.data[i], 3) != NULL)
            return true;
    return false;
}

// What the option is called in the reply: as a plain pattern spells it, else by its name. NULL data: no pattern matches.
static struct slice matching_name(const struct call *c, const struct option *option)
{
    for (uint32_t i = 2; i < c->argc; i++)
        if (!is_glob(c->argv[i]) && option_find(c->argv[i]) == option)
            return c->argv[i];
    for (uint32_t i = 2; i < c->argc; i++)
        if (is_glob(c->argv[i]) && option_matches(option, c->argv[i]))
            return slice_cstr(option->name);
    return slice_of(NULL, 0);
}

void cmd_config_get(struct call *c)
{
    struct buf value;
    uint32_t count = 0;
    for (uint32_t i = 0; i < options_count(); i++)
        count += matching_name(c, option_at(i)).data != NULL;
    reply_map(c->reply, count);
    for (uint32_t i = 0; i < options_count(); i++) {
        struct slice name = matching_name(c, option_at(i));
        if (name.data == NULL)
            continue;
        buf_init(&value, BUF_NO_LIMIT);
        option_get(&c->worker->options, option_at(i), &value);
        reply_bulk(c->reply, name);
        reply_bulk(c->reply, buf_view(&value));
        buf_deinit(&value);
    }
}

// Every worker checks the same pairs against the same values, so that all of them say the same.
void cmd_config_set(struct call *c)
{
    struct worker *w = c->worker;
    char error[OPTIONS_ERROR_MAX];
    if (c->argc % 2 != 0) {
        reply_error(c->reply, REPLY_SYNTAX);
        return;
    }
    const char *why = logging_switch_refuses(c);
    if (why != NULL) {
        reply_error(c->reply, why);
        return;
    }
    bool logs = w->options.appendonly;
    if (options_set_pairs(&w->options, c->argv + 2, c->argc - 2, error) != 0) {
        reply_error_format(c->reply, "ERR %s", error);
        return;
    }
    w->options.appendonly = logs; // until it is so (logging_switch.h)
    worker_apply_options(w);
    if (w->server->host->loglevel_changed != NULL)
        w->server->host->loglevel_changed(w->server, w->options.loglevel);
    reply_ok(c->reply);
}

// Counters go on; what INFO shows is what came since. Gauges have no beginning.
void cmd_config_resetstat(struct call *c)
{
    struct worker *w = c->worker;
    worker_refresh_stats(w);
    w->stats_base = w->stats;
    w->stats_base.clients = 0;
    w->stats_base.keys = 0;
    w->stats_base.client_memory = 0;
    w->stats_base.sampled_ops_per_second = 0;
    w->stats_base.memory_used = 0;
    w->stats_base.memory_reserved = 0;
    w->stats_base.memory_entries = w->stats_base.memory_index = w->stats_base.memory_blobs = 0;
    w->stats_base.memory_deadlines = w->stats_base.memory_free_slots = w->stats_base.memory_buffers = 0;
    w->stats_base.memory_log = w->stats_base.memory_snapshot = w->stats_base.memory_let_go = 0;
    w->reactor->stats.longest_turn_ns = 0;
    w->reactor_base = w->reactor->stats;
    w->base_ns = w->reactor->now_ns;
    stopwatch_reset(w);
    memset(w->commands, 0, command_count() * sizeof *w->commands);
    memset(w->errors, 0, sizeof w->errors);
    reply_ok(c->reply);
}

static int rewrite_file(struct worker *w)
{
    struct server *s = w->server;
    struct buf old, text;
    buf_init(&old, BUF_NO_LIMIT);
    buf_init(&text, BUF_NO_LIMIT);
    int rc = s->host->config_read(s, &old);
    if (rc == 0) {
        options_rewrite(&w->options, buf_view(&old), &text);
        rc = text.failed ? -ENOMEM : s->host->config_replace(s, buf_view(&text));
    }
    buf_deinit(&old);
    buf_deinit(&text);
    return rc;
}

void cmd_config_rewrite(struct call *c)
{
    struct server *s = c->worker->server;
    if (s->config_file == NULL || s->config_file[0] == '\0' || s->host->config_read == NULL || s->host->config_replace == NULL) {
        reply_error(c->reply, "ERR The server is running without a config file");
        return;
    }
    int rc = rewrite_file(c->worker);
    if (rc < 0)
        reply_error_format(c->reply, "ERR Rewriting CONFIG file: %s", strerror(-rc));
    else
        reply_ok(c->reply);
}

void cmd_config_help(struct call *c)
{
    static const char *const LINES[] = {
        "GET <pattern>",
        "    Return parameters matching the glob-like <pattern> and their values.",
        "SET <directive> <value>",
        "    Set the configuration <directive> to <value>.",
        "RESETSTAT",
        "    Reset statistics reported by the INFO command.",
        "REWRITE",
        "    Rewrite the configuration file.",
        NULL,
    };
    reply_help(c, "CONFIG", LINES);
}
