// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "engine/command/syntax.h"
#include "test/unit/command/runner.h"

static struct runner r;

// The tree in one line: name:type, token before =, (children), ? optional, * multiple.
static void print(const struct syntax *s, uint8_t first, char *to, size_t room)
{
    for (uint8_t i = first; i != 0; i = s->node[i].next) {
        const struct syntax_node *n = &s->node[i];
        size_t used = strlen(to);
        if (n->token.len > 0)
            used += (size_t)snprintf(to + used, room - used, "%.*s=", (int)n->token.len, (const char *)n->token.data);
        if (n->child == 0)
            used += (size_t)snprintf(to + used, room - used, "%.*s:%s", (int)n->name.len, (const char *)n->name.data,
                                     syntax_type_name(n->type));
        else {
            snprintf(to + used, room - used, "%s(", n->type == SYNTAX_ONE_OF ? "oneof" : "block");
            print(s, n->child, to, room);
            used = strlen(to);
            used += (size_t)snprintf(to + used, room - used, ")");
        }
        snprintf(to + used, room - used, "%s%s%s", n->optional ? "?" : "", n->multiple ? "*" : "", n->next != 0 ? " " : "");
    }
}

static void parses(const char *text, const char *want)
{
    static struct syntax s;
    char got[1024] = "";
    syntax_parse(&s, text);
    print(&s, s.node[0].child, got, sizeof got);
    if (strcmp(got, want) == 0)
        return;
    printf("%s\n  is   %s\n  not  %s\n", text, got, want);
    test_failures++;
}

static void syntax_becomes_the_tree_that_it_means(void)
{
    parses("", "");
    parses("key", "key:key");
    parses("key [key ...]", "key:key*");
    parses("key value [key value ...]", "block(key:key value:string)*");
    parses("key increment:double", "key:key increment:double");
    parses("key [NX | XX] [GET]", "key:key oneof(NX:pure-token XX:pure-token)? GET:pure-token?");
    parses("[EX seconds | PERSIST]", "oneof(EX=seconds:integer PERSIST:pure-token)?");
    parses("<AND | OR> destkey key [key ...]", "oneof(AND:pure-token OR:pure-token) destkey:key key:key*");
    parses("key [start end [BYTE | BIT]]", "key:key block(start:integer end:integer oneof(BYTE:pure-token BIT:pure-token)?)?");
    parses("[ID client-id [client-id ...]]", "ID=client-id:integer?*");
    parses("[AUTH username password]", "AUTH=block(username:string password:string)?");
    parses("key [GET encoding offset ...]", "key:key GET=block(encoding:string offset:integer)?*");
    parses("[TYPE <NORMAL | MASTER>]", "TYPE=oneof(NORMAL:pure-token MASTER:pure-token)?");
    parses("ip:port", "ip:port:string");
}

// One reply from *in; every aggregate must hold what it promises. Returns false when it does not.
static bool skip_reply(struct slice *in, int depth)
{
    const uint8_t *end = in->len > 0 ? memchr(in->data, '\n', in->len) : NULL;
    if (end == NULL || depth > 20)
        return false;
    uint8_t kind = in->data[0];
    long n = strtol((const char *)in->data + 1, NULL, 10);
    *in = slice_of(end + 1, in->len - (size_t)(end + 1 - in->data));
    if (kind == '$' || kind == '=') {
        if (n < 0)
            return true;
        if (in->len < (size_t)n + 2)
            return false;
        *in = slice_of(in->data + n + 2, in->len - (size_t)n - 2);
        return true;
    }
    if (kind != '*' && kind != '~' && kind != '%')
        return true;
    for (long i = 0; i < (kind == '%' ? 2 * n : n); i++)
        if (!skip_reply(in, depth + 1))
            return false;
    return true;
}

static void replies_about_commands_are_well_formed(void)
{
    static const char *const lines[] = { "COMMAND",
                                         "COMMAND DOCS",
                                         "COMMAND INFO",
                                         "COMMAND LIST",
                                         "COMMAND DOCS get client nonesuch",
                                         "COMMAND HELP",
                                         "COMMAND INFO a get",
                                         "COMMAND LIST FILTERBY ACLCAT read" };
    runner_start(&r);
    for (int protocol = PROTOCOL_RESP2; protocol <= PROTOCOL_RESP3; protocol++)
        for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
            r.protocol = (uint8_t)protocol;
            struct slice got = runner_line(&r, lines[i]);
            check(got.len > 10 && skip_reply(&got, 0));
            check_equal(got.len, 0);
        }
    runner_stop(&r);
}

static void command_answers_as_redis_does(void)
{
    runner_start(&r);
    char want[32];
    snprintf(want, sizeof want, ":%u\r\n", command_top_count());
    says(&r, "COMMAND COUNT", want);
    says(&r, "COMMAND FOO", "-ERR unknown subcommand 'FOO'. Try COMMAND HELP.\r\n");
    says(&r, "COMMAND INFO nonesuch", "*1\r\n$-1\r\n");
    says(&r, "COMMAND DOCS nonesuch", "*0\r\n");
    says(&r, "COMMAND LIST FILTERBY MODULE x", "*0\r\n");
    says(&r, "COMMAND LIST FILTERBY PATTERN GETB*", "*1\r\n$6\r\ngetbit\r\n");
    says(&r, "COMMAND LIST FOO", SYNTAX_ERROR);
    says(&r, "COMMAND GETKEYS MSET a 1 b 2", "*2\r\n$1\r\na\r\n$1\r\nb\r\n");
    says(&r, "COMMAND GETKEYS BITOP and d a b", "*3\r\n$1\r\nd\r\n$1\r\na\r\n$1\r\nb\r\n");
    says(&r, "COMMAND GETKEYS nonesuch a", "-ERR Invalid command specified\r\n");
    says(&r, "COMMAND GETKEYS PING", "-ERR The command has no key arguments\r\n");
    says(&r, "COMMAND GETKEYS GET", "-ERR Invalid number of arguments specified for command\r\n");
    says(&r, "COMMAND GETKEYSANDFLAGS RENAME a b",
         "*2\r\n*2\r\n$1\r\na\r\n*3\r\n+RW\r\n+access\r\n+delete\r\n*2\r\n$1\r\nb\r\n*2\r\n+OW\r\n+update\r\n");
    runner_stop(&r);
}

TESTS(TEST(syntax_becomes_the_tree_that_it_means), TEST(replies_about_commands_are_well_formed), TEST(command_answers_as_redis_does))
