// SPDX-License-Identifier: Apache-2.0
// PING ECHO HELLO AUTH QUIT RESET SELECT: who is speaking, and in which protocol.
#include "engine/shard/server_commands.h"

#include "engine/shard/client.h"
#include "engine/shard/monitor.h"
#include "engine/shard/multi.h"
#include "engine/shard/worker.h"
#include "proto/number.h"

static const char WRONG_PASSWORD[] = "WRONGPASS invalid username-password pair or user is disabled.";

void cmd_ping(struct call *c)
{
    if (c->argc > 2)
        reply_error(c->reply, "ERR wrong number of arguments for 'ping' command");
    else if (c->argc == 2)
        reply_bulk(c->reply, c->argv[1]);
    else
        reply_simple(c->reply, "PONG");
}

void cmd_echo(struct call *c)
{
    reply_bulk(c->reply, c->argv[1]);
}

// Takes the same time wherever the first difference is, and for every guess of one length.
static bool password_equal(struct slice guess, const char *password)
{
    struct slice want = slice_cstr(password);
    uint32_t difference = guess.len != want.len;
    for (size_t i = 0; i < guess.len; i++)
        difference |= (uint32_t)(guess.data[i] ^ want.data[want.len == 0 ? 0 : i % want.len]);
    return difference == 0;
}

// One user, `default`; without a password it takes any.
static bool authenticate(struct call *c, struct slice user, struct slice password)
{
    const char *want = c->worker->options.requirepass;
    bool known = slice_equal(user, slice_cstr("default"));
    bool right = password_equal(password, want) || want[0] == '\0';
    if (known && right) {
        c->client->flags |= CLIENT_AUTHENTICATED;
        return true;
    }
    c->client->auth_failures++;
    reply_error(c->reply, WRONG_PASSWORD);
    return false;
}

void cmd_auth(struct call *c)
{
    if (c->argc > 3) {
        reply_error(c->reply, REPLY_SYNTAX);
        return;
    }
    if (c->argc == 2 && c->worker->options.requirepass[0] == '\0') {
        reply_error(c->reply, "ERR AUTH <password> called without any password configured for the default user. "
                              "Are you sure your configuration is correct?");
        return;
    }
    struct slice user = c->argc == 3 ? c->argv[1] : slice_cstr("default");
    if (authenticate(c, user, c->argv[c->argc - 1]))
        reply_ok(c->reply);
}

struct hello {
    int64_t protocol; // 0: as it is
    bool authenticates, names;
    struct slice user, password, name;
};

static bool hello_parse(struct call *c, struct hello *h)
{
    *h = (struct hello){ 0 };
    if (c->argc >= 2 && !number_parse_i64(c->argv[1], &h->protocol)) {
        reply_error(c->reply, "ERR Protocol version is not an integer or out of range");
        return false;
    }
    if (c->argc >= 2 && (h->protocol < PROTOCOL_RESP2 || h->protocol > PROTOCOL_RESP3)) {
        reply_error(c->reply, "NOPROTO unsupported protocol version");
        return false;
    }
    for (uint32_t i = 2; i < c->argc; i++) {
        uint32_t more = c->argc - 1 - i;
        if (slice_is(c->argv[i], "auth") && more >= 2) {
            h->authenticates = true;
            h->user = c->argv[++i];
            h->password = c->argv[++i];
        } else if (slice_is(c->argv[i], "setname") && more >= 1) {
            h->names = true;
            h->name = c->argv[++i];
            if (!client_text_ok(h->name)) {
                reply_error(c->reply, "ERR Client names cannot contain spaces, newlines or special characters.");
                return false;
            }
        } else {
            reply_error_format(c->reply, "ERR Syntax error in HELLO option '%.*s'", (int)(c->argv[i].len & 0xffff),
                               (const char *)c->argv[i].data);
            return false;
        }
    }
    return true;
}

static void hello_reply(struct call *c)
{
    struct reply *r = c->reply;
    reply_map(r, 7);
    reply_bulk_cstr(r, "server");
    reply_bulk_cstr(r, "skerry");
    reply_bulk_cstr(r, "version");
    reply_bulk_cstr(r, SKERRY_VERSION);
    reply_bulk_cstr(r, "proto");
    reply_integer(r, c->client->protocol);
    reply_bulk_cstr(r, "id");
    reply_integer(r, (int64_t)c->client->id);
    reply_bulk_cstr(r, "mode");
    reply_bulk_cstr(r, "standalone");
    reply_bulk_cstr(r, "role");
    reply_bulk_cstr(r, "master");
    reply_bulk_cstr(r, "modules");
    reply_array(r, 0);
}

static void put_pair(struct reply *r, const char *name, const char *value)
{
    reply_bulk_cstr(r, name);
    reply_bulk_cstr(r, value);
}

static void put_number_pair(struct reply *r, const char *name, uint64_t value)
{
    reply_bulk_cstr(r, name);
    reply_bulk_integer(r, (int64_t)value);
}

// HELLO of an FCNP frame: what RESP's says, and where the shards are.
static void hello_native(struct call *c)
{
    struct reply *r = c->reply;
    const struct worker *w = c->worker;
    int64_t protocol = FCNP_VERSION;
    if (c->argc > 1 && (!number_parse_i64(c->argv[1], &protocol) || (protocol & ~(int64_t)FCNP_HELLO_LEVELS) != FCNP_VERSION)) {
        reply_error(r, "NOPROTO unsupported protocol version");
        return;
    }
    if (!(c->client->flags & CLIENT_AUTHENTICATED)) {
        reply_error(r, "NOAUTH HELLO must be called with the client already authenticated: AUTH comes first");
        return;
    }
    bool levels = (protocol & (int64_t)FCNP_HELLO_LEVELS) != 0;
    if (levels)
        c->client->flags |= CLIENT_LEVELS;
    reply_array(r, levels ? 2 * 14 : 2 * 13);
    put_pair(r, "server", "skerry");
    put_pair(r, "version", SKERRY_VERSION);
    put_number_pair(r, "proto", FCNP_VERSION);
    put_number_pair(r, "id", c->client->id);
    put_pair(r, "mode", "standalone");
    put_pair(r, "role", "master");
    put_pair(r, "modules", "");
    put_number_pair(r, "shards", w->route.shards);
    put_number_pair(r, "fanout_port", (uint64_t)w->options.port);
    reply_bulk_cstr(r, "direct_base_port");
    uint32_t base = options_direct_base(&w->options);
    if (base == 0)
        reply_bulk_cstr(r, "");
    else
        reply_bulk_integer(r, base);
    put_pair(r, "route_mode", w->route.mode == ROUTE_FULL_KEY ? "full_key" : "session_prefix");
    put_number_pair(r, "frame_max", w->options.proto_max_bulk_len + FCNP_HEADER);
    put_number_pair(r, "epoch", (uint64_t)w->server->started_wall_ms);
    if (levels)
        put_number_pair(r, "levels", 1);
}

void cmd_hello(struct call *c)
{
    if (c->reply->protocol == PROTOCOL_FCNP) {
        hello_native(c);
        return;
    }
    struct hello h;
    if (!hello_parse(c, &h))
        return;
    if (h.authenticates && !authenticate(c, h.user, h.password))
        return;
    if (!(c->client->flags & CLIENT_AUTHENTICATED)) {
        reply_error(c->reply, "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH "
                              "<user> <pass> option can be used to authenticate the client and select the RESP protocol version at "
                              "the same time");
        return;
    }
    if (h.names && !client_set_text(&c->client->name, h.name)) {
        reply_error(c->reply, REPLY_OUT_OF_MEMORY);
        return;
    }
    if (h.protocol != 0)
        c->client->protocol = c->reply->protocol = (uint8_t)h.protocol;
    hello_reply(c);
}

void cmd_quit(struct call *c)
{
    c->client->flags |= CLIENT_CLOSE_AFTER_REPLY;
    reply_ok(c->reply);
}

void cmd_reset(struct call *c)
{
    monitor_leave(conn_of_client(c->client));
    multi_reset(conn_of_client(c->client));
    client_reset(c->client, c->worker->options.requirepass[0] != '\0');
    c->reply->protocol = c->client->protocol;
    reply_simple(c->reply, "RESET");
}

void cmd_select(struct call *c)
{
    int64_t db;
    if (!number_parse_i64(c->argv[1], &db))
        reply_error(c->reply, REPLY_NOT_INTEGER);
    else if (db < INT32_MIN || db > INT32_MAX)
        reply_error(c->reply, "ERR value is out of range, value must between -2147483648 and 2147483647");
    else if (db < 0 || db >= c->worker->options.databases)
        reply_error(c->reply, "ERR DB index is out of range");
    else {
        c->client->db = (uint32_t)db;
        reply_ok(c->reply);
    }
}
