// SPDX-License-Identifier: Apache-2.0
// hiredis against a server (RESP2): hiredis PORT
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int passed, failed;

static void claim(const char *what, int holds)
{
    if (holds) {
        passed++;
        return;
    }
    failed++;
    printf("FAIL hiredis %s\n", what);
}

static int is_text(redisReply *r, const char *text)
{
    int same = r != NULL && r->str != NULL && r->len == strlen(text) && memcmp(r->str, text, r->len) == 0;
    freeReplyObject(r);
    return same;
}

static int is_integer(redisReply *r, long long value)
{
    int same = r != NULL && r->type == REDIS_REPLY_INTEGER && r->integer == value;
    freeReplyObject(r);
    return same;
}

static int is_type(redisReply *r, int type)
{
    int same = r != NULL && r->type == type;
    freeReplyObject(r);
    return same;
}

static void strings_come_back(redisContext *c)
{
    freeReplyObject(redisCommand(c, "FLUSHALL"));
    claim("SET", is_text(redisCommand(c, "SET a %b", "1\0\r\n2", (size_t)5), "OK"));
    redisReply *r = redisCommand(c, "GET a");
    claim("GET of bytes", r != NULL && r->len == 5 && memcmp(r->str, "1\0\r\n2", 5) == 0);
    freeReplyObject(r);
    claim("GET of nothing", is_type(redisCommand(c, "GET nothing"), REDIS_REPLY_NIL));
    claim("INCRBY", is_integer(redisCommand(c, "INCRBY n 42"), 42));
    claim("an error", is_type(redisCommand(c, "INCR a"), REDIS_REPLY_ERROR));
    claim("MSET", is_text(redisCommand(c, "MSET x 1 y 2"), "OK"));
    r = redisCommand(c, "MGET x y nothing");
    claim("MGET", r != NULL && r->elements == 3 && strcmp(r->element[1]->str, "2") == 0 && r->element[2]->type == REDIS_REPLY_NIL);
    freeReplyObject(r);
}

static void keys_expire(redisContext *c)
{
    claim("SET PX", is_text(redisCommand(c, "SET t 1 PX 40"), "OK"));
    claim("EXPIRE", is_integer(redisCommand(c, "EXPIRE n 100"), 1));
    claim("TTL", is_integer(redisCommand(c, "TTL n"), 100));
    usleep(60000);
    claim("EXISTS", is_integer(redisCommand(c, "EXISTS t"), 0));
}

static void pipelines_keep_their_order(redisContext *c)
{
    int good = 0, count = 2000;
    for (int i = 0; i < count; i++) {
        redisAppendCommand(c, "SET k%d %d", i, i);
        redisAppendCommand(c, "GET k%d", i);
    }
    for (int i = 0; i < count; i++) {
        void *set, *get;
        if (redisGetReply(c, &set) != REDIS_OK || redisGetReply(c, &get) != REDIS_OK)
            break;
        redisReply *r = get;
        good += r->type == REDIS_REPLY_STRING && atoi(r->str) == i;
        freeReplyObject(set);
        freeReplyObject(get);
    }
    claim("a pipeline of 4,000", good == count);
}

static void big_values_come_back(redisContext *c)
{
    size_t size = 8u << 20;
    char *value = malloc(size);
    memset(value, 'z', size);
    claim("SET of 8 MiB", is_text(redisCommand(c, "SET big %b", value, size), "OK"));
    redisReply *r = redisCommand(c, "GET big");
    claim("GET of 8 MiB", r != NULL && r->len == size && memcmp(r->str, value, size) == 0);
    freeReplyObject(r);
    free(value);
}

int main(int argc, char **argv)
{
    redisContext *c = argc > 1 ? redisConnect("127.0.0.1", atoi(argv[1])) : NULL;
    if (c == NULL || c->err != 0) {
        printf("FAIL hiredis: no connection\n0 passed, 1 failed\n");
        return 1;
    }
    strings_come_back(c);
    keys_expire(c);
    pipelines_keep_their_order(c);
    big_values_come_back(c);
    redisFree(c);
    printf("%d passed, %d failed\n", passed, failed);
    return failed > 0;
}
