// SPDX-License-Identifier: Apache-2.0
// CLIENT and its subcommands.
#include <inttypes.h>

#include "engine/shard/client.h"
#include "engine/shard/server_commands.h"
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
    } LETTERS[] = { { CLIENT_CLOSE_AFTER_REPLY, 'c' },
                    { CLIENT_CLOSE_NOW, 'A' },
                    { CLIENT_UNIX, 'U' },
                    { CLIENT_NO_EVICT, 'e' },
                    { CLIENT_NO_TOUCH, 'T' } };
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
    buf_format(out, " db=%" PRIu32 " sub=0 psub=0 ssub=0 multi=-1 watch=0", c->db);
    buf_format(out, " qbuf=%" PRIu64 " qbuf-free=%" PRIu64 " argv-mem=%" PRIu32 " multi-mem=0 rbs=0 rbp=0", b.query, b.query_free,
               b.argv_memory);
    buf_format(out, " obl=%" PRIu64 " oll=0 omem=%" PRIu64 " tot-mem=%" PRIu64 " events=%s", b.output, b.output, b.memory,
               b.output > 0 ? "rw" : "r");
    append_text(out, " cmd=", c->last_command == NULL ? "NULL" : c->last_command->name);
    buf_format(out, " user=default redir=-1 resp=%u", c->protocol);
    append_text(out, " lib-name=", c->lib_name);
    append_text(out, " lib-ver=", c->lib_version);
    buf_format(out, " tot-net-in=%" PRIu64 " tot-net-out=%" PRIu64 " tot-cmds=%" PRIu64 "\n", c->net_in, c->net_out, c->requests);
}

static void reply_text(struct call *c, struct buf *text)
{
    if (text->failed)
        reply_error(c->reply, REPLY_OUT_OF_MEMORY);
    else
        reply_verbatim(c->reply, "txt", buf_view(text));
    buf_deinit(text);
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

struct client_list {
    struct buf text;
    int64_t now_ms;
    bool by_type;
    enum client_type type;
    const struct slice *ids; // NULL: not by id
    uint32_t id_count;
};

static bool list_wants(const struct client_list *l, const struct client *c)
{
    if (l->by_type)
        return l->type == TYPE_NORMAL; // every client is one
    if (l->ids == NULL)
        return true;
    for (uint32_t i = 0; i < l->id_count; i++) {
        int64_t id;
        if (number_parse_i64(l->ids[i], &id) && (uint64_t)id == c->id)
            return true;
    }
    return false;
}

static void list_client(void *context, struct client *c)
{
    struct client_list *l = context;
    if (list_wants(l, c))
        append_client(&l->text, c, l->now_ms);
}

static bool list_parse(struct call *c, struct client_list *l)
{
    if (c->argc == 4 && slice_is(c->argv[2], "type")) {
        l->by_type = true;
        return parse_type(c, c->argv[3], &l->type);
    }
    if (c->argc > 3 && slice_is(c->argv[2], "id")) {
        l->ids = c->argv + 3;
        l->id_count = c->argc - 3;
        for (uint32_t i = 0; i < l->id_count; i++) {
            int64_t id;
            if (number_parse_i64(l->ids[i], &id))
                continue;
            reply_error(c->reply, "ERR Invalid client ID");
            return false;
        }
        return true;
    }
    if (c->argc == 2)
        return true;
    reply_error(c->reply, REPLY_SYNTAX);
    return false;
}

void cmd_client_list(struct call *c)
{
    struct client_list list = { .now_ms = c->now_ms };
    buf_init(&list.text, BUF_NO_LIMIT);
    if (!list_parse(c, &list))
        return;
    worker_each_client(c->worker, list_client, &list);
    reply_text(c, &list.text);
}

struct client_kill {
    struct call *call;
    bool by_type, skip_me;
    enum client_type type;
    int64_t id;                          // 0: any
    int64_t age_min;                     // seconds; 0: any
    struct slice address, local_address; // data NULL: any
    int64_t killed;
};

static bool kill_wants(const struct client_kill *k, const struct client *c)
{
    if (k->address.data != NULL && !slice_equal(k->address, slice_cstr(c->address)))
        return false;
    if (k->local_address.data != NULL && !slice_equal(k->local_address, slice_cstr(c->local_address)))
        return false;
    if (k->by_type && k->type != TYPE_NORMAL)
        return false;
    if (k->id != 0 && (uint64_t)k->id != c->id)
        return false;
    if (k->age_min != 0 && (k->call->now_ms - c->created_ms) / 1000 < k->age_min)
        return false;
    return !(k->skip_me && c == k->call->client);
}

static void kill_client(void *context, struct client *c)
{
    struct client_kill *k = context;
    if ((c->flags & (CLIENT_CLOSE_NOW | CLIENT_CLOSE_AFTER_REPLY)) || !kill_wants(k, c))
        return;
    worker_kill_client(k->call->worker, c, c == k->call->client);
    k->killed++;
}

static bool kill_number(struct call *c, struct slice text, const char *not_number, const char *too_small, int64_t *out)
{
    if (!number_parse_i64(text, out))
        reply_error(c->reply, not_number);
    else if (*out < 1)
        reply_error(c->reply, too_small);
    else
        return true;
    return false;
}

static bool kill_filter(struct call *c, struct slice name, struct slice value, struct client_kill *k)
{
    static const char ID_TEXT[] = "ERR client-id should be greater than 0";
    if (slice_is(name, "id"))
        return kill_number(c, value, ID_TEXT, ID_TEXT, &k->id);
    if (slice_is(name, "maxage"))
        return kill_number(c, value, "ERR maxage is not an integer or out of range", "ERR maxage should be greater than 0", &k->age_min);
    if (slice_is(name, "type")) {
        k->by_type = true;
        return parse_type(c, value, &k->type);
    }
    if (slice_is(name, "addr")) {
        k->address = value;
        return true;
    }
    if (slice_is(name, "laddr")) {
        k->local_address = value;
        return true;
    }
    if (slice_is(name, "user")) {
        if (slice_equal(value, slice_cstr("default")))
            return true;
        reply_error_format(c->reply, "ERR No such user '%.*s'", (int)(value.len & 0xffff), (const char *)value.data);
        return false;
    }
    if (slice_is(name, "skipme") && (slice_is(value, "yes") || slice_is(value, "no"))) {
        k->skip_me = slice_is(value, "yes");
        return true;
    }
    reply_error(c->reply, REPLY_SYNTAX);
    return false;
}

static bool kill_parse(struct call *c, struct client_kill *k)
{
    if (c->argc == 3) {
        k->address = c->argv[2];
        k->skip_me = false;
        return true;
    }
    for (uint32_t i = 2; i < c->argc; i += 2) {
        if (i + 1 == c->argc) {
            reply_error(c->reply, REPLY_SYNTAX);
            return false;
        }
        if (!kill_filter(c, c->argv[i], c->argv[i + 1], k))
            return false;
    }
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
    struct client_kill kill = { .call = c, .skip_me = true };
    if (!kill_parse(c, &kill))
        return;
    worker_each_client(c->worker, kill_client, &kill);
    if (c->worker->server->worker_count > 1)
        reply_integer(c->reply, kill.killed);
    else
        client_kill_reply(c, kill.killed);
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
        "NO-EVICT (ON|OFF)",
        "    Protect current client connection from eviction.",
        "NO-TOUCH (ON|OFF)",
        "    Will not touch LRU/LFU stats when this mode is on.",
        "REPLY (ON|OFF|SKIP)",
        "    Control the replies sent to the current connection.",
        "SETINFO <option> <value>",
        "    Set client meta attr. Options are:",
        "    * LIB-NAME: the client lib name.",
        "    * LIB-VER: the client lib version.",
        "SETNAME <name>",
        "    Assign the name <name> to the current connection.",
        NULL,
    };
    reply_help(c, "CLIENT", LINES);
}
