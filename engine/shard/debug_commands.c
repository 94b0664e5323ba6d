// SPDX-License-Identifier: Apache-2.0
// MONITOR, and of DEBUG what test suites use and does no harm. DEBUG needs `enable-debug-command`.
#include <inttypes.h>
#include <stdlib.h>

#include "engine/command/glob.h"
#include "engine/command/keys.h"
#include "engine/shard/client.h"
#include "engine/shard/monitor.h"
#include "engine/shard/server_commands.h"
#include "engine/shard/worker.h"
#include "proto/number.h"
#include "reactor/ticks.h"

void cmd_monitor(struct call *c)
{
    monitor_join(conn_of_client(c->client));
    reply_ok(c->reply);
}

// `local`: from this machine. On another worker than the connection's nobody knows: only OBJECT gets there, and it tells no more than
// MEMORY USAGE does.
static bool allowed(struct call *c)
{
    int mode = c->worker->options.enable_debug_command;
    const struct client *client = c->client;
    bool local = client == NULL || (client->flags & CLIENT_UNIX) != 0 || strncmp(client->address, "127.", 4) == 0 ||
                 strncmp(client->address, "[::1]:", 6) == 0;
    if (mode == DEBUG_COMMAND_YES || (mode == DEBUG_COMMAND_LOCAL && local))
        return true;
    reply_error(c->reply,
                "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a "
                "local connection, otherwise you need to set this option in the configuration file, and then restart the server.");
    return false;
}

static void unknown(struct call *c)
{
    struct slice name = c->argc > 1 ? c->argv[1] : slice_of("", 0);
    reply_error_format(c->reply, "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try DEBUG HELP.",
                       (int)(name.len < 128 ? name.len : 128), (const char *)name.data);
}

void cmd_debug(struct call *c)
{
    if (allowed(c))
        unknown(c);
}

// The whole server, as in Redis: the other workers stop as soon as they have something to do (watch_turn).
void cmd_debug_sleep(struct call *c)
{
    double seconds;
    if (!allowed(c))
        return;
    if (c->argc != 3) {
        unknown(c);
        return;
    }
    // As strtod: what is no number is no time.
    if (!number_parse_double(c->argv[2], &seconds) || !(seconds > 0))
        seconds = 0;
    struct server *s = c->worker->server;
    uint64_t ns = (uint64_t)((seconds < 3600 ? seconds : 3600) * 1e9);
    atomic_store_explicit(&s->nap_until_ns, c->worker->reactor->now_ns + ns, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->attention, 1, memory_order_release);
    reactor_nap(c->worker->reactor, ns);
    atomic_fetch_sub_explicit(&s->attention, 1, memory_order_release);
    reply_ok(c->reply);
}

void cmd_debug_object(struct call *c)
{
    if (!allowed(c))
        return;
    const struct entry *e = keyspace_peek(c->keyspace, c->argv[2], c->hash, c->now_ms);
    if (e == NULL) {
        reply_error(c->reply, REPLY_NO_KEY);
        return;
    }
    char text[160];
    int64_t idle = keyspace_idle_ms(c->keyspace, e, c->now_ms) / 1000;
    // The address is that of nothing: it would only help who attacks.
    snprintf(text, sizeof text, "Value at:0x0 refcount:1 encoding:%s serializedlength:%zu lru:%" PRId64 " lru_seconds_idle:%" PRId64,
             object_encoding(e), entry_value(e).len + 1, (c->now_ms / 1000 - idle) & 0xffffff, idle);
    reply_simple(c->reply, text);
}

void cmd_debug_set_active_expire(struct call *c)
{
    int64_t on;
    if (!allowed(c))
        return;
    if (c->argc != 3) {
        unknown(c);
        return;
    }
    atomic_store_explicit(&c->worker->server->no_active_expire, number_parse_i64(c->argv[2], &on) && on == 0, memory_order_relaxed);
    reply_ok(c->reply);
}

void cmd_debug_stringmatch_len(struct call *c)
{
    int64_t len;
    if (!allowed(c))
        return;
    if (c->argc != 4) {
        unknown(c);
        return;
    }
    if (!number_parse_i64(c->argv[2], &len)) {
        reply_error(c->reply, REPLY_NOT_INTEGER);
        return;
    }
    // A text of so many 'a': what a pattern costs, without having to send it.
    if (len < 0 || len > 1024 * 1024) {
        reply_error(c->reply, REPLY_OUT_OF_RANGE);
        return;
    }
    uint8_t *text = malloc((size_t)len + 1);
    if (text == NULL) {
        reply_error(c->reply, REPLY_OUT_OF_MEMORY);
        return;
    }
    memset(text, 'a', (size_t)len);
    reply_integer(c->reply, glob_match(c->argv[3], slice_of(text, (size_t)len), false));
    free(text);
}

// There is nothing here that these would change: no replication history, no quicklists. Test suites call them on their way.
static void obey(struct call *c, uint32_t argc)
{
    if (!allowed(c))
        return;
    if (c->argc != argc)
        unknown(c);
    else
        reply_ok(c->reply);
}

void cmd_debug_change_repl_id(struct call *c)
{
    obey(c, 2);
}

void cmd_debug_quicklist_packed_threshold(struct call *c)
{
    obey(c, 3);
}

void cmd_debug_replicate(struct call *c)
{
    if (allowed(c))
        reply_error(c->reply, "ERR DEBUG REPLICATE is not supported by this server");
}

void cmd_debug_protocol(struct call *c)
{
    struct reply *r = c->reply;
    if (!allowed(c))
        return;
    if (c->argc != 3) {
        unknown(c);
        return;
    }
    struct slice name = c->argv[2];
    if (slice_is(name, "string")) {
        reply_bulk_cstr(r, "Hello World");
    } else if (slice_is(name, "integer")) {
        reply_integer(r, 12345);
    } else if (slice_is(name, "double")) {
        reply_double(r, 3.141);
    } else if (slice_is(name, "null")) {
        reply_null(r);
    } else if (slice_is(name, "array")) {
        reply_array(r, 3);
        for (int64_t i = 0; i < 3; i++)
            reply_integer(r, i);
    } else if (slice_is(name, "set")) {
        reply_set(r, 3);
        for (int64_t i = 0; i < 3; i++)
            reply_integer(r, i);
    } else if (slice_is(name, "map")) {
        reply_map(r, 3);
        for (int64_t i = 0; i < 3; i++) {
            reply_integer(r, i);
            reply_boolean(r, i == 1);
        }
    } else if (slice_is(name, "bignum")) {
        reply_big_number(r, slice_cstr("1234567999999999999999999999999999999"));
    } else if (slice_is(name, "true")) {
        reply_boolean(r, true);
    } else if (slice_is(name, "false")) {
        reply_boolean(r, false);
    } else if (slice_is(name, "verbatim")) {
        reply_verbatim(r, "txt", slice_cstr("This is a verbatim\nstring"));
    } else {
        reply_error(r, "ERR Wrong protocol type name. Please use one of the following: "
                       "string|integer|double|null|array|set|map|attrib|push|verbatim|true|false");
    }
}

void cmd_debug_help(struct call *c)
{
    static const char *const LINES[] = {
        "CHANGE-REPL-ID",
        "    Accepted: there is no replication history to change.",
        "OBJECT <key>",
        "    Show low level info about `key` and associated value.",
        "PROTOCOL <type>",
        "    Reply with a test value of the specified type. <type> can be: string,",
        "    integer, double, null, array, set, map, verbatim, bignum, true, false.",
        "QUICKLIST-PACKED-THRESHOLD <size>",
        "    Accepted: there are no quicklists.",
        "SET-ACTIVE-EXPIRE <0|1>",
        "    Setting it to 0 disables expiring keys (and other background work) when nobody asks for them.",
        "SLEEP <seconds>",
        "    Stop the server for <seconds>. Decimals allowed.",
        "STRINGMATCH-LEN <len> <pattern>",
        "    Match a text of <len> times 'a' against <pattern>.",
        NULL,
    };
    if (allowed(c))
        reply_help(c, "DEBUG", LINES);
}
