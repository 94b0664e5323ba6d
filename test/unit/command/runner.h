// SPDX-License-Identifier: Apache-2.0
// Commands as a client would send them, without a server: words in, reply bytes out.
//
//   struct runner r; runner_start(&r);
//   says(&r, "SET a b", "+OK\r\n");
//
// Words are parted by spaces; "" is an empty one, \0 \r \n \\ \s (a space) stand for bytes. A check names the command that failed.
#pragma once

#include "base/test.h"
#include "engine/command/command.h"
#include "test/unit/store/pages.h"

#define RUNNER_NOW INT64_C(1750000000000)

struct runner {
    struct pages pages;
    struct store *store;
    struct route route;
    struct prng prng;
    struct buf out;
    uint32_t db;
    uint8_t protocol;
    int64_t now_ms;
    uint64_t dirty; // of the last command
    struct slice argv[256];
    char text[65536];
};

static inline int runner_start_with(struct runner *r, struct store_options *o, uint32_t shards)
{
    memset(r, 0, sizeof *r);
    pages_init(&r->pages);
    route_init(&r->route, shards, ROUTE_FULL_KEY);
    prng_init(&r->prng, 7);
    buf_init(&r->out, BUF_NO_LIMIT);
    r->protocol = PROTOCOL_RESP2;
    r->now_ms = RUNNER_NOW;
    o->route = r->route;
    o->workers = 1;
    o->databases = 4;
    o->memory = &r->pages.memory;
    return store_new(&r->store, o);
}

static inline void runner_start(struct runner *r)
{
    struct store_options o = { .seed = 1 };
    int result = runner_start_with(r, &o, 4);
    assert(result == 0);
}

static inline void runner_stop(struct runner *r)
{
    buf_deinit(&r->out);
    r->store = store_free(r->store);
}

// As engine/shard dispatches.
static inline struct slice runner_call(struct runner *r, const struct slice *argv, uint32_t argc, struct blob **blobs)
{
    r->out.len = 0;
    struct reply reply = { .out = &r->out, .protocol = r->protocol };
    struct call c = { .command = command_find(argv, argc), .argc = argc, .argv = argv, .reply = &reply };
    struct command_keys keys;
    c.store = r->store;
    c.route = &r->route;
    c.db = r->db;
    c.now_ms = r->now_ms;
    c.prng = &r->prng;
    c.bulk_max = 1 << 20;
    c.blobs = blobs;
    if (c.command == NULL) {
        command_reply_unknown(&reply, argv, argc);
    } else if (!command_arity_ok(c.command, argc)) {
        command_reply_arity(&reply, c.command);
    } else {
        if (command_keys(c.command, argv, argc, &keys)) {
            struct place at = call_place(&c, keys.first);
            c.keyspace = at.keyspace;
            c.hash = at.hash;
        }
        c.command->run(&c);
    }
    r->dirty = c.dirty;
    return buf_view(&r->out);
}

static inline char unescape(const char **at)
{
    if (**at != '\\')
        return *(*at)++;
    char c = (*at)[1];
    *at += 2;
    return c == '0' ? '\0' : c == 'r' ? '\r' : c == 'n' ? '\n' : c == 's' ? ' ' : c;
}

static inline uint32_t runner_split(struct runner *r, const char *line)
{
    char *to = r->text;
    uint32_t argc = 0;
    while (*line != '\0') {
        char *begin = to;
        if (line[0] == '"' && line[1] == '"')
            line += 2;
        while (*line != ' ' && *line != '\0')
            *to++ = unescape(&line);
        r->argv[argc++] = slice_of(begin, (size_t)(to - begin));
        while (*line == ' ')
            line++;
    }
    return argc;
}

static inline struct slice runner_line(struct runner *r, const char *line)
{
    uint32_t argc = runner_split(r, line);
    return runner_call(r, r->argv, argc, NULL);
}

static inline void says_at(struct runner *r, const char *line, const char *want, const char *file, int at)
{
    struct slice got = runner_line(r, line);
    if (slice_equal(got, slice_cstr(want)))
        return;
    printf("%s:%d: %s\n  says  %.*s\n  not   %s\n", file, at, line, (int)got.len, (const char *)got.data, want);
    test_failures++;
}

#define says(r, line, want) says_at(r, line, want, __FILE__, __LINE__)
#define OK                  "+OK\r\n"
#define NIL                 "$-1\r\n"
#define SYNTAX_ERROR        "-ERR syntax error\r\n"
#define NOT_INTEGER         "-ERR value is not an integer or out of range\r\n"
