// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "base/bytes.h"
#include "test/unit/command/runner.h"

static struct runner r;

static void keys_are_there_or_not(void)
{
    runner_start(&r);
    says(&r, "MSET a 1 b 2", OK);
    says(&r, "EXISTS a b a nothing", ":3\r\n");
    says(&r, "TOUCH a nothing", ":1\r\n");
    says(&r, "TYPE a", "+string\r\n");
    says(&r, "TYPE nothing", "+none\r\n");
    says(&r, "DEL a a nothing", ":1\r\n");
    check_equal(r.dirty, 1);
    says(&r, "UNLINK b", ":1\r\n");
    says(&r, "DBSIZE", ":0\r\n");
    says(&r, "RANDOMKEY", NIL);
    says(&r, "SET only 1", OK);
    says(&r, "RANDOMKEY", "$4\r\nonly\r\n");
    runner_stop(&r);
}

static void a_deadline_obeys_its_condition(void)
{
    runner_start(&r);
    says(&r, "EXPIRE a 10", ":0\r\n");
    says(&r, "SET a b", OK);
    says(&r, "EXPIRE a 10 XX", ":0\r\n");
    says(&r, "EXPIRE a 10 GT", ":0\r\n");
    says(&r, "EXPIRE a 10 LT", ":1\r\n");
    says(&r, "EXPIRE a 20 NX", ":0\r\n");
    says(&r, "EXPIRE a 20 LT", ":0\r\n");
    says(&r, "EXPIRE a 20 XX GT", ":1\r\n");
    says(&r, "EXPIRE a 20 GT", ":0\r\n");
    says(&r, "TTL a", ":20\r\n");
    says(&r, "PTTL a", ":20000\r\n");
    says(&r, "PEXPIREAT a 1750000012345", ":1\r\n");
    says(&r, "EXPIRETIME a", ":1750000012\r\n");
    says(&r, "PEXPIRETIME a", ":1750000012345\r\n");
    says(&r, "PERSIST a", ":1\r\n");
    says(&r, "PERSIST a", ":0\r\n");
    says(&r, "TTL a", ":-1\r\n");
    says(&r, "TTL nothing", ":-2\r\n");
    says(&r, "EXPIRE a 1 NX XX", "-ERR NX and XX, GT or LT options at the same time are not compatible\r\n");
    says(&r, "EXPIRE a 1 GT LT", "-ERR GT and LT options at the same time are not compatible\r\n");
    says(&r, "EXPIRE a 1 foo", "-ERR Unsupported option foo\r\n");
    runner_stop(&r);
}

static void a_deadline_is_exact_and_the_past_deletes(void)
{
    runner_start(&r);
    says(&r, "SET a b", OK);
    says(&r, "PEXPIRE a 10", ":1\r\n");
    r.now_ms += 9;
    says(&r, "PTTL a", ":1\r\n");
    r.now_ms += 1;
    says(&r, "PTTL a", ":-2\r\n");
    says(&r, "GET a", NIL);
    says(&r, "SET a b", OK);
    says(&r, "EXPIRE a -1", ":1\r\n");
    check_equal(r.dirty, 1);
    says(&r, "EXISTS a", ":0\r\n");
    says(&r, "SET a b", OK);
    says(&r, "EXPIRE a 9223372036854775", "-ERR invalid expire time in 'expire' command\r\n");
    says(&r, "EXPIRE a 9223372036854776", "-ERR invalid expire time in 'expire' command\r\n");
    says(&r, "PEXPIRE a 9223372036854775807", "-ERR invalid expire time in 'pexpire' command\r\n");
    says(&r, "PEXPIREAT a 9223372036854775807", ":1\r\n");
    says(&r, "PEXPIRETIME a", ":9223372036854775807\r\n");
    says(&r, "EXPIRE a -9223372036854775808", "-ERR invalid expire time in 'expire' command\r\n");
    says(&r, "PEXPIREAT a -9223372036854775808", ":1\r\n");
    says(&r, "EXISTS a", ":0\r\n");
    runner_stop(&r);
}

// Reads `$len\r\nbytes\r\n` and moves behind it.
static struct slice read_bulk(struct slice *in)
{
    size_t len = strtoul((const char *)in->data + 1, NULL, 10);
    const uint8_t *body = (const uint8_t *)memchr(in->data, '\n', in->len) + 1;
    struct slice out = slice_of(body, len);
    *in = slice_of(body + len + 2, (size_t)(in->data + in->len - body) - len - 2);
    return out;
}

// Marks the keys "k<number>" that SCAN returns until its cursor is 0; returns how many calls it took.
static uint32_t walk(const char *options, uint8_t *seen, void (*between)(uint32_t call))
{
    char line[128] = "SCAN 0";
    for (uint32_t calls = 1;; calls++) {
        char whole[200];
        snprintf(whole, sizeof whole, "%s%s", line, options);
        struct slice in = runner_line(&r, whole);
        check(in.len > 4 && memcmp(in.data, "*2\r\n", 4) == 0);
        in = slice_of(in.data + 4, in.len - 4);
        struct slice cursor = read_bulk(&in);
        char next[32];
        snprintf(next, sizeof next, "%.*s", (int)cursor.len, (const char *)cursor.data);
        const uint8_t *body = (const uint8_t *)memchr(in.data, '\n', in.len) + 1;
        size_t keys = strtoul((const char *)in.data + 1, NULL, 10);
        in = slice_of(body, (size_t)(in.data + in.len - body));
        for (size_t i = 0; i < keys; i++) {
            struct slice key = read_bulk(&in);
            char name[16];
            snprintf(name, sizeof name, "%.*s", (int)key.len, (const char *)key.data);
            seen[atoi(name + 1)] = 1;
        }
        if (strcmp(next, "0") == 0)
            return calls;
        snprintf(line, sizeof line, "SCAN %s", next);
        if (between != NULL)
            between(calls);
        if (calls > 100000) {
            check(calls <= 100000); // the walk ends
            return calls;
        }
    }
}

#define WALK_KEYS 3000

static void fill(uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        char line[64];
        snprintf(line, sizeof line, "SET k%u v", i);
        runner_line(&r, line);
    }
}

static void grow_meanwhile(uint32_t call)
{
    fill(WALK_KEYS + call * 20, WALK_KEYS + (call + 1) * 20);
}

static void a_walk_sees_every_key_even_while_the_index_grows(void)
{
    static uint8_t seen[WALK_KEYS * 20];
    for (int grows = 0; grows < 2; grows++) {
        runner_start(&r);
        fill(0, WALK_KEYS);
        memset(seen, 0, sizeof seen);
        uint32_t calls = walk(grows ? " COUNT 100" : "", seen, grows ? grow_meanwhile : NULL);
        check(calls > 10);
        for (uint32_t i = 0; i < WALK_KEYS; i++)
            check(seen[i]);
        runner_stop(&r);
    }
}

static void a_walk_filters_by_pattern_and_type(void)
{
    static uint8_t seen[WALK_KEYS];
    runner_start(&r);
    fill(0, 500);
    memset(seen, 0, sizeof seen);
    walk(" MATCH k1? COUNT 50", seen, NULL);
    for (uint32_t i = 0; i < 500; i++)
        check(seen[i] == (i >= 10 && i < 20));
    memset(seen, 0, sizeof seen);
    walk(" TYPE STRING", seen, NULL);
    check(seen[0] && seen[499]);
    memset(seen, 0, sizeof seen);
    walk(" TYPE list", seen, NULL);
    check(!seen[0]);
    says(&r, "SCAN 0 COUNT 0", SYNTAX_ERROR);
    says(&r, "SCAN 0 COUNT a", NOT_INTEGER);
    says(&r, "SCAN 0 MATCH", SYNTAX_ERROR);
    says(&r, "SCAN 0 TYPE foo", "-ERR unknown type name 'foo'\r\n");
    says(&r, "SCAN x", "-ERR invalid cursor\r\n");
    says(&r, "SCAN -1", "-ERR invalid cursor\r\n");
    says(&r, "SCAN 18446744073709551616", "-ERR invalid cursor\r\n");
    runner_stop(&r);
}

static void forged_cursors_are_harmless(void)
{
    runner_start(&r);
    fill(0, 100);
    says(&r, "SCAN 18446744073709551615", "*2\r\n$1\r\n0\r\n*0\r\n");
    says(&r, "SCAN 1125899906842624", "*2\r\n$1\r\n0\r\n*0\r\n");
    for (uint32_t i = 0; i < 1000; i++) {
        char line[64];
        snprintf(line, sizeof line, "SCAN %llu", (unsigned long long)(prng_next(&r.prng) >> (i % 64)));
        check(runner_line(&r, line).data[0] == '*');
    }
    runner_stop(&r);
}

static void keys_lists_what_is_alive(void)
{
    runner_start(&r);
    says(&r, "KEYS *", "*0\r\n");
    says(&r, "SET hello 1", OK);
    says(&r, "SET gone 1 PX 5", OK);
    says(&r, "KEYS h[ae]llo", "*1\r\n$5\r\nhello\r\n");
    says(&r, "KEYS hx*", "*0\r\n");
    r.now_ms += 5;
    says(&r, "KEYS *", "*1\r\n$5\r\nhello\r\n");
    says(&r, "FLUSHDB FOO", SYNTAX_ERROR);
    says(&r, "FLUSHDB SYNC ASYNC", SYNTAX_ERROR);
    r.db = 1;
    says(&r, "SET other 1", OK);
    says(&r, "FLUSHDB ASYNC", OK);
    check_equal(r.dirty, 1);
    r.db = 0;
    says(&r, "EXISTS hello", ":1\r\n");
    r.db = 3;
    says(&r, "FLUSHALL", OK);
    r.db = 0;
    says(&r, "DBSIZE", ":0\r\n");
    runner_stop(&r);
}

static void a_key_keeps_value_and_deadline_under_its_new_name(void)
{
    runner_start(&r);
    says(&r, "RENAME a b", "-ERR no such key\r\n");
    says(&r, "RENAME a a", "-ERR no such key\r\n");
    says(&r, "SET a 1", OK);
    says(&r, "APPEND a 2", ":2\r\n");
    says(&r, "PEXPIRE a 500", ":1\r\n");
    says(&r, "SET b old", OK);
    says(&r, "RENAMENX a b", ":0\r\n");
    says(&r, "RENAMENX a a", ":0\r\n");
    says(&r, "RENAME a a", OK);
    check_equal(r.dirty, 0);
    says(&r, "RENAME a b", OK);
    says(&r, "GET b", "$2\r\n12\r\n");
    says(&r, "PTTL b", ":500\r\n");
    says(&r, "OBJECT ENCODING b", "$3\r\nraw\r\n");
    says(&r, "EXISTS a", ":0\r\n");
    says(&r, "COPY b b", "-ERR source and destination objects are the same\r\n");
    says(&r, "COPY b c", ":1\r\n");
    says(&r, "COPY b c", ":0\r\n");
    says(&r, "COPY b c REPLACE", ":1\r\n");
    says(&r, "PTTL c", ":500\r\n");
    says(&r, "COPY b b DB 1", ":1\r\n");
    says(&r, "COPY b b DB 4", "-ERR DB index is out of range\r\n");
    says(&r, "COPY b b DB x", NOT_INTEGER);
    says(&r, "COPY b c FOO", SYNTAX_ERROR);
    says(&r, "COPY nothing c REPLACE", ":0\r\n");
    r.db = 1;
    says(&r, "GET b", "$2\r\n12\r\n");
    runner_stop(&r);
}

static void objects_answer_in_redis_words(void)
{
    runner_start(&r);
    says(&r, "SET a b", OK);
    says(&r, "OBJECT REFCOUNT a", ":1\r\n");
    says(&r, "OBJECT IDLETIME a", ":0\r\n");
    says(&r, "OBJECT REFCOUNT nothing", NIL);
    says(&r, "OBJECT FOO a", "-ERR unknown subcommand 'FOO'. Try OBJECT HELP.\r\n");
    says(&r, "OBJECT ENCODING", "-ERR wrong number of arguments for 'object|encoding' command\r\n");
    says(&r, "OBJECT", "-ERR wrong number of arguments for 'object' command\r\n");
    struct slice help = runner_line(&r, "OBJECT HELP");
    check(help.len > 50 && memcmp(help.data, "*11\r\n+OBJECT <subcommand>", 25) == 0);
    runner_stop(&r);
}

TESTS(TEST(keys_are_there_or_not), TEST(a_deadline_obeys_its_condition), TEST(a_deadline_is_exact_and_the_past_deletes),
      TEST(a_walk_sees_every_key_even_while_the_index_grows), TEST(a_walk_filters_by_pattern_and_type), TEST(forged_cursors_are_harmless),
      TEST(keys_lists_what_is_alive), TEST(a_key_keeps_value_and_deadline_under_its_new_name), TEST(objects_answer_in_redis_words))
