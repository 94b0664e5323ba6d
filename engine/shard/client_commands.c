// SPDX-License-Identifier: Apache-2.0
// CLIENT and its subcommands.
#include <inttypes.h>

#include "engine/shard/client.h"
#include "engine/shard/server_commands.h"
#include "engine/shard/watch.h"
#include "engine/shard/worker.h"
#include "proto/number.h"

void cmd_client(struct call *c)
{
    reply_unknown_subcommand(c, "CLIENT");
}

void cmd_client_id(struct call *c)
{
    reply_integer(c->reply, (int64_t)c->client->id);
}

void cmd_client_getname(struct call *c)
{
    if (c->client->name == NULL)
        reply_null(c->reply);
    else
        reply_bulk_cstr(c->reply, c->client->name);
}

void cmd_client_setname(struct call *c)
{
    if (!client_text_ok(c->argv[2]))
        reply_error(c->reply, "ERR Client names cannot contain spaces, newlines or special characters.");
    else if (!client_set_text(&c->client->name, c->argv[2]))
        reply_error(c->reply, REPLY_OUT_OF_MEMORY);
    else
        reply_ok(c->reply);
}

void cmd_client_setinfo(struct call *c)
{
    char **to = slice_is(c->argv[2], "lib-name") ? &c->client->lib_name : &c->client->lib_version;
    if (!slice_is(c->argv[2], "lib-name") && !slice_is(c->argv[2], "lib-ver"))
        reply_error_format(c->reply, "ERR Unrecognized option '%.*s'", (int)(c->argv[2].len & 0xffff), (const char *)c->argv[2].data);
    else if (!client_text_ok(c->argv[3]))
        reply_error_format(c->reply, "ERR %.*s cannot contain spaces, newlines or special characters.", (int)c->argv[2].len,
                           (const char *)c->argv[2].data);
    else if (!client_set_text(to, c->argv[3]))
        reply_error(c->reply, REPLY_OUT_OF_MEMORY);
    else
        reply_ok(c->reply);
}

void cmd_client_reply(struct call *c)
{
    uint32_t *flags = &c->client->flags;
    if (slice_is(c->argv[2], "on")) {
        *flags &= ~(uint32_t)(CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP | CLIENT_REPLY_SKIP_NEXT);
        reply_ok(c->reply);
    } else if (slice_is(c->argv[2], "off")) {
        *flags |= CLIENT_REPLY_OFF;
    } else if (slice_is(c->argv[2], "skip")) {
        if (!(*flags & CLIENT_REPLY_OFF))
            *flags |= CLIENT_REPLY_SKIP_NEXT;
    } else {
        reply_error(c->reply, REPLY_SYNTAX);
    }
}

static void switch_flag(struct call *c, uint32_t flag)
{
    if (slice_is(c->argv[2], "on"))
        c->client->flags |= flag;
    else if (slice_is(c->argv[2], "off"))
        c->client->flags &= ~flag;
    else {
        reply_error(c->reply, REPLY_SYNTAX);
        return;
    }
    reply_ok(c->reply);
}

void cmd_client_no_evict(struct call *c)
{
    switch_flag(c, CLIENT_NO_EVICT);
}

void cmd_client_no_touch(struct call *c)
{
    switch_flag(c, CLIENT_NO_TOUCH);
}

// No command here tracks keys, so that no connection redirects what tracking would say.
void cmd_client_getredir(struct call *c)
{
    reply_integer(c->reply, -1);
}

static void append_text(struct buf *out, const char *field, const char *value)
{
    buf_append_slice(out, slice_cstr(field));
    if (value != NULL)
        buf_append_slice(out, slice_cstr(value));
}

static void append_flags(struct buf *out, uint32_t flags)
{
    static const struct {
        uint32_t flag;
        char letter;
    } LETTERS[] = { { CLIENT_CLOSE_AFTER_REPLY, 'c' }, { CLIENT_CLOSE_NOW, 'A' }, { CLIENT_MONITOR, 'O' }, { CLIENT_UNIX, 'U' },
                    { CLIENT_NO_EVICT, 'e' },          { CLIENT_NO_TOUCH, 'T' } };
    size_t before = out->len;
    for (size_t i = 0; i < sizeof LETTERS / sizeof LETTERS[0]; i++)
        if (flags & LETTERS[i].flag)
            buf_append(out, &LETTERS[i].letter, 1);
    if (out->len == before)
        buf_append(out, "N", 1);
}

// One line, fields and order of Valkey 8. What this server never has is 0, as it is there for a client that has none.
static void append_client(struct buf *out, const struct client *c, int64_t now_ms)
{
    struct client_buffers b = client_buffers(c);
    buf_format(out, "id=%" PRIu64, c->id);
    append_text(out, " addr=", c->address);
    append_text(out, " laddr=", c->local_address);
    buf_format(out, " fd=%d", c->fd);
    append_text(out, " name=", c->name);
    buf_format(out, " age=%" PRId64 " idle=%" PRId64 " flags=", (now_ms - c->created_ms) / 1000, (now_ms - c->last_ms) / 1000);
    append_flags(out, c->flags);
    buf_format(out, " db=%" PRIu32 " sub=0 psub=0 ssub=0 multi=%" PRId64 " watch=%" PRIu64, c->db, b.queued, b.watched);
    buf_format(out, " qbuf=%" PRIu64 " qbuf-free=%" PRIu64 " argv-mem=%" PRIu32 " multi-mem=%" PRIu64 " rbs=0 rbp=0", b.query, b.query_free,
               b.argv_memory, b.multi_memory);
    buf_format(out, " obl=%" PRIu64 " oll=0 omem=%" PRIu64 " tot-mem=%" PRIu64 " events=%s", b.output, b.output, b.memory,
               b.output > 0 ? "rw" : "r");
    append_text(out, " cmd=", c->last_command == NULL ? "NULL" : c->last_command->name);
    buf_format(out, " user=default redir=-1 resp=%u", c->protocol);
    append_text(out, " lib-name=", c->lib_name);
    append_text(out, " lib-ver=", c->lib_version);
    buf_format(out, " tot-net-in=%" PRIu64 " tot-net-out=%" PRIu64 " tot-cmds=%" PRIu64 "\n", c->net_in, c->net_out, c->requests);
}

void cmd_client_info(struct call *c)
{
    struct buf text;
    buf_init(&text, BUF_NO_LIMIT);
    append_client(&text, c->client, c->now_ms);
    reply_text(c, &text);
}

enum client_type { TYPE_NORMAL, TYPE_REPLICA, TYPE_PUBSUB, TYPE_MASTER };

static bool parse_type(struct call *c, struct slice name, enum client_type *out)
{
    static const struct {
        const char *name;
        enum client_type type;
    } TYPES[] = { { "normal", TYPE_NORMAL },
                  { "slave", TYPE_REPLICA },
                  { "replica", TYPE_REPLICA },
                  { "pubsub", TYPE_PUBSUB },
                  { "master", TYPE_MASTER } };
    for (size_t i = 0; i < sizeof TYPES / sizeof TYPES[0]; i++) {
        if (slice_is(name, TYPES[i].name)) {
            *out = TYPES[i].type;
            return true;
        }
    }
    reply_error_format(c->reply, "ERR Unknown client type '%.*s'", (int)(name.len & 0xffff), (const char *)name.data);
    return false;
}

// Which clients LIST and KILL mean.
struct client_filter {
    const struct client *self; // NULL: on another worker
    bool by_type, skip_me;
    enum client_type type;
    int64_t age_min; // seconds; 0: any
    int64_t now_ms;
    struct slice address, local_address; // data NULL: any
    const struct slice *ids;             // NULL: not by id
    uint32_t id_count;
};

static bool has_id(const struct client_filter *f, const struct client *c)
{
    for (uint32_t i = 0; i < f->id_count; i++) {
        int64_t id;
        if (number_parse_i64(f->ids[i], &id) && (uint64_t)id == c->id)
            return true;
    }
    return f->ids == NULL;
}

static bool filter_wants(const struct client_filter *f, const struct client *c)
{
    if (f->address.data != NULL && !slice_equal(f->address, slice_cstr(c->address)))
        return false;
    if (f->local_address.data != NULL && !slice_equal(f->local_address, slice_cstr(c->local_address)))
        return false;
    if (f->by_type && f->type != TYPE_NORMAL) // every client is one
        return false;
    if (f->age_min != 0 && (f->now_ms - c->created_ms) / 1000 < f->age_min)
        return false;
    return has_id(f, c) && !(f->skip_me && c == f->self);
}

// Of KILL: numbers as Redis words what is wrong with them.
static bool filter_number(struct call *c, struct slice text, const char *not_number, const char *too_small, int64_t *out)
{
    if (!number_parse_i64(text, out))
        reply_error(c->reply, not_number);
    else if (*out < 1)
        reply_error(c->reply, too_small);
    else
        return true;
    return false;
}

// One id, or as many as follow. Returns how many words they are, 0 for an error.
static uint32_t filter_ids(struct call *c, uint32_t arg, bool kill, struct client_filter *f)
{
    static const char ID_TEXT[] = "ERR client-id should be greater than 0";
    uint32_t count = 0;
    for (int64_t id; arg + count < c->argc && (count == 0 || number_parse_i64(c->argv[arg + count], &id)); count++)
        if (!filter_number(c, c->argv[arg + count], kill ? ID_TEXT : "ERR Invalid client ID", kill ? ID_TEXT : "ERR Invalid client ID",
                           &id))
            return 0;
    f->ids = c->argv + arg;
    f->id_count = count;
    return count;
}

// The filter at `arg`, with its value behind it. Returns how many words it took, 0 for an error.
static uint32_t filter_parse_one(struct call *c, uint32_t arg, bool kill, struct client_filter *f)
{
    struct slice name = c->argv[arg], value = c->argv[arg + 1];
    uint32_t ids;
    if (slice_is(name, "id"))
        return (ids = filter_ids(c, arg + 1, kill, f)) > 0 ? 1 + ids : 0;
    if (slice_is(name, "maxage"))
        return filter_number(c, value, "ERR maxage is not an integer or out of range", "ERR maxage should be greater than 0", &f->age_min)
                   ? 2
                   : 0;
    if (slice_is(name, "type")) {
        f->by_type = true;
        return parse_type(c, value, &f->type) ? 2 : 0;
    }
    if (slice_is(name, "addr")) {
        f->address = value;
        return 2;
    }
    if (slice_is(name, "laddr")) {
        f->local_address = value;
        return 2;
    }
    if (slice_is(name, "user")) {
        if (slice_equal(value, slice_cstr("default")))
            return 2;
        reply_error_format(c->reply, "ERR No such user '%.*s'", (int)(value.len & 0xffff), (const char *)value.data);
        return 0;
    }
    if (slice_is(name, "skipme") && (slice_is(value, "yes") || slice_is(value, "no"))) {
        f->skip_me = slice_is(value, "yes");
        return 2;
    }
    reply_error(c->reply, REPLY_SYNTAX);
    return 0;
}

static bool filter_parse(struct call *c, bool kill, struct client_filter *f)
{
    for (uint32_t arg = 2, words; arg < c->argc; arg += words) {
        if (arg + 1 == c->argc) {
            reply_error(c->reply, REPLY_SYNTAX);
            return false;
        }
        words = filter_parse_one(c, arg, kill, f);
        if (words == 0)
            return false;
    }
    return true;
}

struct client_list {
    struct buf text;
    struct client_filter filter;
};

static void list_client(void *context, struct client *c)
{
    struct client_list *l = context;
    if (filter_wants(&l->filter, c))
        append_client(&l->text, c, l->filter.now_ms);
}

void cmd_client_list(struct call *c)
{
    struct client_list list = { .filter = { .now_ms = c->now_ms, .self = c->client } };
    if (!filter_parse(c, false, &list.filter))
        return;
    buf_init(&list.text, BUF_NO_LIMIT);
    worker_each_client(c->worker, list_client, &list);
    reply_text(c, &list.text);
}

struct client_kill {
    struct call *call;
    struct client_filter filter;
    int64_t killed;
};

static void kill_client(void *context, struct client *c)
{
    struct client_kill *k = context;
    if ((c->flags & (CLIENT_CLOSE_NOW | CLIENT_CLOSE_AFTER_REPLY)) || !filter_wants(&k->filter, c))
        return;
    worker_kill_client(k->call->worker, c, c == k->call->client);
    k->killed++;
}

static bool kill_parse(struct call *c, struct client_filter *f)
{
    if (c->argc != 3)
        return filter_parse(c, true, f);
    f->address = c->argv[2];
    f->skip_me = false;
    return true;
}

void client_kill_reply(struct call *c, int64_t killed)
{
    if (c->argc != 3)
        reply_integer(c->reply, killed);
    else if (killed == 0)
        reply_error(c->reply, "ERR No such client");
    else
        reply_ok(c->reply);
}

void cmd_client_kill(struct call *c)
{
    struct client_kill kill = { .call = c, .filter = { .now_ms = c->now_ms, .self = c->client, .skip_me = true } };
    if (!kill_parse(c, &kill.filter))
        return;
    worker_each_client(c->worker, kill_client, &kill);
    if (c->worker->server->worker_count > 1)
        reply_integer(c->reply, kill.killed);
    else
        client_kill_reply(c, kill.killed);
}

// ---- pause

void cmd_client_pause(struct call *c)
{
    int64_t ms;
    bool all = c->argc == 3 || slice_is(c->argv[3], "all");
    if (c->argc > 4)
        reply_error_format(c->reply, "ERR wrong number of arguments for '%s' command", c->command->name);
    else if (!all && !slice_is(c->argv[3], "write"))
        reply_error(c->reply, "ERR CLIENT PAUSE mode must be WRITE or ALL");
    else if (!number_parse_i64(c->argv[2], &ms) || ms > INT64_MAX - c->now_ms)
        reply_error(c->reply, "ERR timeout is not an integer or out of range");
    else if (ms < 0)
        reply_error(c->reply, "ERR timeout is negative");
    else {
        watch_pause(c->worker, c->now_ms + ms, all);
        reply_ok(c->reply);
    }
}

void cmd_client_unpause(struct call *c)
{
    watch_unpause(c->worker);
    reply_ok(c->reply);
}

// No command here blocks its client, so that nobody is ever unblocked.
void cmd_client_unblock(struct call *c)
{
    int64_t id;
    if (c->argc > 4)
        reply_error_format(c->reply, "ERR wrong number of arguments for '%s' command", c->command->name);
    else if (c->argc == 4 && !slice_is(c->argv[3], "timeout") && !slice_is(c->argv[3], "error"))
        reply_error(c->reply, "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
    else if (!number_parse_i64(c->argv[2], &id))
        reply_error(c->reply, REPLY_NOT_INTEGER);
    else
        reply_integer(c->reply, 0);
}

// ---- tracking: not there

void cmd_client_tracking(struct call *c)
{
    if (slice_is(c->argv[2], "on"))
        reply_error(c->reply, "ERR CLIENT TRACKING is not supported by this server");
    else if (slice_is(c->argv[2], "off"))
        reply_ok(c->reply);
    else
        reply_error(c->reply, REPLY_SYNTAX);
}

void cmd_client_trackinginfo(struct call *c)
{
    reply_map(c->reply, 3);
    reply_bulk_cstr(c->reply, "flags");
    reply_set(c->reply, 1);
    reply_bulk_cstr(c->reply, "off");
    reply_bulk_cstr(c->reply, "redirect");
    reply_integer(c->reply, -1);
    reply_bulk_cstr(c->reply, "prefixes");
    reply_array(c->reply, 0);
}

void cmd_client_caching(struct call *c)
{
    reply_error(c->reply, "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled");
}

void cmd_client_help(struct call *c)
{
    static const char *const LINES[] = {
        "GETNAME",
        "    Return the name of the current connection.",
        "GETREDIR",
        "    Return the client ID we are redirecting to when tracking is enabled: -1, there is no tracking.",
        "ID",
        "    Return the ID of the current connection.",
        "INFO",
        "    Return information about the current client connection.",
        "KILL <ip:port>",
        "    Kill connection made from <ip:port>.",
        "KILL <option> <value> [<option> <value> [...]]",
        "    Kill connections. Options are:",
        "    * ADDR (<ip:port>|<unixsocket>:0)",
        "      Kill connections made from the specified address",
        "    * LADDR (<ip:port>|<unixsocket>:0)",
        "      Kill connections made to specified local address",
        "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
        "      Kill connections by type.",
        "    * USER <username>",
        "      Kill connections authenticated by <username>.",
        "    * SKIPME (YES|NO)",
        "      Skip killing current connection (default: yes).",
        "    * ID <client-id>",
        "      Kill connections by client id.",
        "    * MAXAGE <maxage>",
        "      Kill connections older than the specified age.",
        "LIST [options ...]",
        "    Return information about client connections. Options:",
        "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
        "      Return clients of specified type.",
        "    * ID <client-id> [<client-id> ...]",
        "      Return clients of specified IDs only.",
        "    * ADDR, LADDR, USER, SKIPME, MAXAGE: as for KILL, where ID takes several too.",
        "NO-EVICT (ON|OFF)",
        "    Protect current client connection from eviction.",
        "NO-TOUCH (ON|OFF)",
        "    Will not touch LRU/LFU stats when this mode is on.",
        "PAUSE <timeout> [WRITE|ALL]",
        "    Suspend all, or just write, clients for <timeout> milliseconds.",
        "REPLY (ON|OFF|SKIP)",
        "    Control the replies sent to the current connection.",
        "SETINFO <option> <value>",
        "    Set client meta attr. Options are:",
        "    * LIB-NAME: the client lib name.",
        "    * LIB-VER: the client lib version.",
        "SETNAME <name>",
        "    Assign the name <name> to the current connection.",
        "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]] [OPTIN] [OPTOUT] [NOLOOP]",
        "    Not supported: ON answers an error.",
        "TRACKINGINFO",
        "    Report tracking status for the current connection: always off.",
        "UNBLOCK <clientid> [TIMEOUT|ERROR]",
        "    Unblock the specified blocked client: no client ever is.",
        "UNPAUSE",
        "    Stop the current client pause, resuming traffic.",
        NULL,
    };
    reply_help(c, "CLIENT", LINES);
}
