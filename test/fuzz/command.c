// SPDX-License-Identifier: Apache-2.0
// Sequences of commands against the real store. Two bytes choose a command of the table, then each argument is chosen by a byte from a
// dictionary of keys, numbers, options and edges, or spelled by the input itself. Every command must write exactly one whole reply.
#include <stdint.h>
#include <stdlib.h>

#include "test/unit/command/runner.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const words[] = {
    "a",
    "b",
    "c",
    "d",
    "",
    "0",
    "1",
    "-1",
    "2",
    "7",
    "8",
    "15",
    "100",
    "255",
    "-128",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "18446744073709551615",
    "1750000000500",
    "1750000001",
    "1.5",
    "inf",
    "nan",
    "1e300",
    "NX",
    "XX",
    "GT",
    "LT",
    "GET",
    "EX",
    "PX",
    "EXAT",
    "PXAT",
    "KEEPTTL",
    "PERSIST",
    "IFEQ",
    "LEN",
    "IDX",
    "MINMATCHLEN",
    "WITHMATCHLEN",
    "BIT",
    "BYTE",
    "AND",
    "OR",
    "XOR",
    "NOT",
    "SET",
    "INCRBY",
    "OVERFLOW",
    "WRAP",
    "SAT",
    "FAIL",
    "u8",
    "i64",
    "u63",
    "i5",
    "#0",
    "#3",
    "MATCH",
    "COUNT",
    "TYPE",
    "string",
    "*",
    "[a-c]*",
    "a*b?",
    "[^",
    "ASYNC",
    "SYNC",
    "REPLACE",
    "DB",
    "FILTERBY",
    "PATTERN",
    "ACLCAT",
    "MODULE",
    "get",
    "mset",
    "bitop",
    "object",
    "encoding",
};

struct input {
    const uint8_t *at, *end;
};

static uint8_t next(struct input *in)
{
    return in->at < in->end ? *in->at++ : 0;
}

static struct slice argument(struct input *in)
{
    uint8_t choice = next(in);
    size_t count = sizeof words / sizeof *words;
    if (choice < 255 - 32)
        return slice_cstr(words[choice % count]);
    size_t len = choice - (255 - 32), left = (size_t)(in->end - in->at);
    struct slice raw = slice_of(in->at, len < left ? len : left);
    in->at += raw.len;
    return raw;
}

// Those of engine/shard need a server, and a connection.
static bool is_ours(const struct command *c)
{
    if (strcmp(c->name, "waitaof") == 0) // of the generic group all the same
        return false;
    static const char *const groups[] = { "string", "bitmap", "generic" };
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
        if (strcmp(c->group, groups[i]) == 0)
            return true;
    return strncmp(c->name, "command", 7) == 0 || strncmp(c->name, "flush", 5) == 0 || strcmp(c->name, "dbsize") == 0;
}

static bool skip_reply(struct slice *in, int depth)
{
    const uint8_t *end = in->len > 0 ? memchr(in->data, '\n', in->len) : NULL;
    if (end == NULL || depth > 20)
        return false;
    uint8_t kind = in->data[0];
    long n = strtol((const char *)in->data + 1, NULL, 10);
    *in = slice_of(end + 1, in->len - (size_t)(end + 1 - in->data));
    if (kind == '$' && n >= 0) {
        if (in->len < (size_t)n + 2)
            return false;
        *in = slice_of(in->data + n + 2, in->len - (size_t)n - 2);
    }
    bool many = kind == '*' || kind == '~' || kind == '%';
    for (long i = 0; many && i < (kind == '%' ? 2 * n : n); i++)
        if (!skip_reply(in, depth + 1))
            return false;
    return true;
}

static void one_command(struct runner *r, struct input *in)
{
    const struct command *c = command_at(next(in) % command_count());
    uint32_t argc = 0;
    if (!is_ours(c))
        return;
    const char *bar = strchr(c->name, '|');
    r->argv[argc++] = slice_of(c->name, bar != NULL ? (size_t)(bar - c->name) : strlen(c->name));
    if (bar != NULL)
        r->argv[argc++] = slice_cstr(bar + 1);
    for (uint8_t more = next(in) % 10; more > 0; more--)
        r->argv[argc++] = argument(in);
    struct slice reply = runner_call(r, r->argv, argc, NULL);
    if (!skip_reply(&reply, 0) || reply.len != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct runner r;
    struct input in = { .at = data, .end = data + size };
    if (size < 2)
        return 0;
    struct store_options o = { .seed = 1, .public_hash = true };
    uint8_t setting = next(&in);
    if (runner_start_with(&r, &o, 1u << setting % 3) != 0)
        return 0;
    r.protocol = setting & 0x80 ? PROTOCOL_RESP3 : PROTOCOL_RESP2;
    while (in.at < in.end) {
        one_command(&r, &in);
        r.now_ms += setting & 0x40 ? 100 : 0;
        if (setting & 0x20)
            store_maintain(r.store, r.now_ms, 16);
    }
    runner_stop(&r);
    return 0;
}
