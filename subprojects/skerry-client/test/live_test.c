// SPDX-License-Identifier: Apache-2.0
// Every verb against a server that is there:  live_test ADDRESS MODE SHARDS DIRECT [PASSWORD]
//   MODE auto, fanout or direct; SHARDS and DIRECT (0 or 1): what the client must learn (fanout learns nothing)
//   live_test --turn ADDRESS, --turn-pipeline ADDRESS: the server changes its route mode after some requests (fake_server.py --turn-after)
//   live_test --restart ADDRESS: says "ready", waits for a line on its input, in which time the server is ended and started again
#include "claims.h"

#include <poll.h>
#include <signal.h>
#include <skerry/client.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

static struct skerry_client_options options = SKERRY_CLIENT_OPTIONS;
static struct skerry_client *client;
static uint32_t want_shards;
static int want_direct;

static void is(int status, int want, int line)
{
    if (status == want)
        return;
    printf("    %s:%d: %s (%s), not %s\n", __FILE__, line, skerry_client_status_name(status), skerry_client_error(client),
           skerry_client_status_name(want));
    wrong++;
}
#define IS(status, want) is((status), SKERRY_CLIENT_##want, __LINE__)

static bool same(struct skerry_client_bytes got, const void *want, size_t length)
{
    return got.data != NULL && got.length == length && (length == 0 || memcmp(got.data, want, length) == 0);
}

static size_t key_of(char *out, const char *kind, size_t number)
{
    return (size_t)sprintf(out, "%s:%zu", kind, number);
}

static void the_topology_is_learnt(void)
{
    struct skerry_client_topology t = { .size = sizeof t };
    IS(skerry_client_connect(client), OK);
    skerry_client_topology(client, &t);
    CHECK_EQUAL(t.shards, options.mode == SKERRY_CLIENT_FANOUT ? 0 : want_shards);
    CHECK_EQUAL(t.direct, options.mode == SKERRY_CLIENT_FANOUT ? 0 : want_direct);
    if (options.mode != SKERRY_CLIENT_FANOUT)
        CHECK(t.frame_max > 1 << 20);
}

static void values_come_back_as_they_were_set(void)
{
    struct skerry_client_bytes value;
    char key[32], text[32];
    for (size_t i = 0; i < 200; i++) {
        size_t length = key_of(key, "live", i), size = key_of(text, "value", i);
        IS(skerry_client_set(client, key, length, text, size, 0), OK);
    }
    for (size_t i = 0; i < 200; i++) {
        size_t length = key_of(key, "live", i), size = key_of(text, "value", i);
        IS(skerry_client_get(client, key, length, &value), OK);
        CHECK(same(value, text, size));
    }
    IS(skerry_client_get(client, "nobody", 6, &value), MISSING);
    CHECK(value.data == NULL);
}

static void bytes_may_be_any(void)
{
    unsigned char all[256];
    struct skerry_client_bytes value;
    for (int i = 0; i < 256; i++)
        all[i] = (unsigned char)i;
    IS(skerry_client_set(client, all, 256, all, 256, 0), OK);
    IS(skerry_client_get(client, all, 256, &value), OK);
    CHECK(same(value, all, 256));
    IS(skerry_client_set(client, "empty value", 11, NULL, 0, 0), OK);
    IS(skerry_client_get(client, "empty value", 11, &value), OK);
    CHECK_EQUAL(value.length, 0);
    IS(skerry_client_set(client, "", 0, "of the empty key", 16, 0), OK);
    IS(skerry_client_get(client, NULL, 0, &value), OK);
    CHECK(same(value, "of the empty key", 16));
    IS(skerry_client_delete(client, NULL, 0), OK);
    IS(skerry_client_get(client, NULL, 3, &value), INVALID);
}

static void large_values_pass(void)
{
    static const size_t sizes[] = { 4095, 65536, 1 << 20, (3 << 20) + 7 };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char *large = malloc(sizes[i]), *copy = malloc(sizes[i]);
        size_t length = 0;
        for (size_t n = 0; n < sizes[i]; n++)
            large[n] = (char)(n * 31 + n / 251);
        IS(skerry_client_set(client, "large", 5, large, sizes[i], 0), OK);
        IS(skerry_client_get_copy(client, "large", 5, copy, sizes[i], &length), OK);
        CHECK(length == sizes[i] && memcmp(large, copy, length) == 0);
        IS(skerry_client_get_copy(client, "large", 5, copy, sizes[i] - 1, &length), TOO_LARGE);
        CHECK_EQUAL(length, sizes[i]);
        free(large);
        free(copy);
    }
    IS(skerry_client_delete(client, "large", 5), OK);
    IS(skerry_client_get_copy(client, "large", 5, NULL, 0, &(size_t){ 0 }), MISSING);
}

static void keys_are_deleted_and_found(void)
{
    IS(skerry_client_set(client, "there", 5, "x", 1, 0), OK);
    IS(skerry_client_exists(client, "there", 5), OK);
    IS(skerry_client_delete(client, "there", 5), OK);
    IS(skerry_client_delete(client, "there", 5), MISSING);
    IS(skerry_client_exists(client, "there", 5), MISSING);
}

static void times_to_live_are_set_and_told(void)
{
    struct skerry_client_bytes value;
    int64_t seconds = 0;
    IS(skerry_client_set(client, "t", 1, "x", 1, 0), OK);
    IS(skerry_client_ttl(client, "t", 1, &seconds), OK);
    CHECK_EQUAL(seconds, -1);
    IS(skerry_client_set(client, "t", 1, "y", 1, 5000000), OK);
    IS(skerry_client_ttl(client, "t", 1, &seconds), OK);
    CHECK(seconds > 4000 && seconds <= 5000);
    IS(skerry_client_expire(client, "t", 1, 9000000), OK);
    IS(skerry_client_ttl(client, "t", 1, &seconds), OK);
    CHECK(seconds > 8000 && seconds <= 9000);
    IS(skerry_client_getex(client, "t", 1, 2000000, &value), OK);
    CHECK(same(value, "y", 1));
    IS(skerry_client_ttl(client, "t", 1, &seconds), OK);
    CHECK(seconds > 1000 && seconds <= 2000);
    IS(skerry_client_set_at(client, "t", 1, "z", 1, ((uint64_t)time(NULL) + 7000) * 1000), OK);
    IS(skerry_client_ttl(client, "t", 1, &seconds), OK);
    CHECK(seconds > 6000 && seconds <= 7001);
    IS(skerry_client_set(client, "t", 1, "x", 1, 0), OK);
    IS(skerry_client_ttl(client, "t", 1, &seconds), OK);
    CHECK_EQUAL(seconds, -1);
    IS(skerry_client_set_at(client, "t", 1, "z", 1, 1000), OK); // in 1970
    IS(skerry_client_get(client, "t", 1, &value), MISSING);
    IS(skerry_client_ttl(client, "t", 1, &seconds), MISSING);
    IS(skerry_client_expire(client, "t", 1, 1000), MISSING);
    IS(skerry_client_getex(client, "t", 1, 1000, &value), MISSING);
    IS(skerry_client_set(client, "short", 5, "x", 1, 1), OK);
    for (int i = 0; i < 30000 && skerry_client_exists(client, "short", 5) == SKERRY_CLIENT_OK; i++)
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    IS(skerry_client_exists(client, "short", 5), MISSING);
}

enum { MANY = 1000 };

static void batches_are_answered_in_the_order_of_their_keys(void)
{
    static char names[MANY][32], texts[MANY][32];
    static struct skerry_client_bytes keys[MANY], values[MANY], got[MANY];
    for (size_t i = 0; i < MANY; i++) {
        keys[i] = (struct skerry_client_bytes){ names[i], key_of(names[i], "batch", i) };
        values[i] = (struct skerry_client_bytes){ texts[i], i % 7 == 0 ? 0 : key_of(texts[i], "of", i) };
    }
    IS(skerry_client_mset(client, keys, values, MANY), OK);
    for (size_t i = 0; i < MANY; i += 10)
        IS(skerry_client_delete(client, names[i], keys[i].length), OK);
    IS(skerry_client_mget(client, keys, MANY, got), OK);
    for (size_t i = 0; i < MANY; i++)
        CHECK(i % 10 == 0 ? got[i].data == NULL : same(got[i], texts[i], values[i].length));
    IS(skerry_client_mget(client, keys, 0, got), OK);
    IS(skerry_client_mset(client, keys, values, 0), INVALID);
}

static void a_key_of_another_type_is_no_string(void)
{
    struct skerry_client_bytes words[] = { { "RPUSH", 5 }, { "a list", 6 }, { "x", 1 } }, resp, value;
    struct skerry_client_bytes keys[] = { { "live:1", 6 }, { "a list", 6 }, { "live:2", 6 } }, got[3];
    struct skerry_client_resp piece;
    size_t cursor = 0;
    IS(skerry_client_command(client, words, 3, 1, &resp), OK);
    if (skerry_client_resp_next(resp, &cursor, &piece) != 1 || piece.type != ':')
        return; // a server without lists
    IS(skerry_client_get(client, "a list", 6, &value), SERVER);
    CHECK(strncmp(skerry_client_error(client), "WRONGTYPE", 9) == 0);
    IS(skerry_client_mget(client, keys, 3, got), OK);
    CHECK(same(got[0], "value:1", 7) && got[1].data == NULL && same(got[2], "value:2", 7));
    IS(skerry_client_delete(client, "a list", 6), OK);
}

static void ping_brings_the_payload_back(void)
{
    char payload[3000];
    memset(payload, 'p', sizeof payload);
    IS(skerry_client_ping(client, NULL, 0), OK);
    IS(skerry_client_ping(client, payload, sizeof payload), OK);
}

static void commands_answer_in_resp(void)
{
    struct skerry_client_bytes get[] = { { "GET", 3 }, { "live:7", 6 } }, echo[] = { { "ECHO", 4 }, { "hello", 5 } },
                               bad[] = { { "NOSUCH", 6 } };
    struct skerry_client_bytes mget[] = { { "MGET", 4 }, { "live:1", 6 }, { "nobody", 6 } }, resp;
    struct skerry_client_resp piece;
    for (int keyed = 0; keyed < 2; keyed++) {
        size_t cursor = 0;
        IS(skerry_client_command(client, get, 2, keyed, &resp), OK);
        CHECK(skerry_client_resp_next(resp, &cursor, &piece) == 1 && same(piece.bytes, "value:7", 7));
        CHECK_EQUAL(skerry_client_resp_next(resp, &cursor, &piece), 0);
    }
    size_t cursor = 0;
    IS(skerry_client_command(client, echo, 2, 0, &resp), OK);
    CHECK(skerry_client_resp_next(resp, &cursor, &piece) == 1 && same(piece.bytes, "hello", 5));
    cursor = 0;
    IS(skerry_client_command(client, bad, 1, 0, &resp), OK);
    CHECK(skerry_client_resp_next(resp, &cursor, &piece) == 1 && piece.type == '-');
    cursor = 0;
    IS(skerry_client_command(client, mget, 3, 0, &resp), OK);
    CHECK(skerry_client_resp_next(resp, &cursor, &piece) == 1 && piece.type == '*' && piece.integer == 2);
    CHECK(skerry_client_resp_next(resp, &cursor, &piece) == 1 && same(piece.bytes, "value:1", 7));
    CHECK(skerry_client_resp_next(resp, &cursor, &piece) == 1 && piece.type == '$' && piece.bytes.data == NULL);
    IS(skerry_client_command(client, get, 0, 0, &resp), INVALID);
}

static void raw_requests_reach_their_shard(void)
{
    const struct skerry_client_reply *reply;
    static const char get_body[] = "\x06\0\0\0live:9";
    IS(skerry_client_request(client, 1, "live:9", 6, get_body, 10, &reply), OK);
    CHECK(reply->kind == SKERRY_CLIENT_KIND_VALUE && same(reply->bytes, "value:9", 7));
    IS(skerry_client_request(client, 1, NULL, 0, get_body, 10, &reply), OK);
    CHECK(reply->kind == SKERRY_CLIENT_KIND_VALUE && same(reply->bytes, "value:9", 7));
    IS(skerry_client_request(client, 199, NULL, 0, "x", 1, &reply), SERVER);
    CHECK(strcmp(skerry_client_error(client), "ERR unsupported command") == 0);
    IS(skerry_client_ping(client, "still", 5), OK);
}

// ---- pipelines

static void queue_one(size_t i)
{
    char key[32], text[32];
    size_t length = key_of(key, "pipe", i / 4 % 97), size = key_of(text, "v", i);
    void *tag = (void *)(uintptr_t)i;
    switch (i % 4) {
    case 0:
        IS(skerry_client_queue_set(client, key, length, text, size, 0, tag), OK);
        break;
    case 1:
        IS(skerry_client_queue_get(client, key, length, tag), OK);
        break;
    case 2:
        IS(i % 8 == 2 ? skerry_client_queue_delete(client, key, length, tag) : skerry_client_queue_exists(client, key, length, tag), OK);
        break;
    default:
        IS(skerry_client_queue_get(client, key, length, tag), OK);
    }
}

static void check_one(size_t i, const struct skerry_client_reply *reply)
{
    char text[32];
    size_t size = key_of(text, "v", i / 4 * 4);
    CHECK_EQUAL((uintptr_t)reply->tag, i);
    if (reply->error != NULL)
        printf("    request %zu: %s\n", i, reply->error);
    switch (i % 4) {
    case 0:
        CHECK(reply->status == SKERRY_CLIENT_OK && reply->kind == SKERRY_CLIENT_KIND_OK);
        break;
    case 1:
        CHECK(same(reply->bytes, text, size));
        break;
    case 2:
        CHECK_EQUAL(reply->integer, 1);
        break;
    default:
        CHECK(i % 8 == 3 ? reply->status == SKERRY_CLIENT_MISSING : same(reply->bytes, text, size));
    }
}

static void a_pipeline_is_answered_in_order(void)
{
    enum { COUNT = 8000 };
    const struct skerry_client_reply *reply;
    struct skerry_client_bytes value;
    for (size_t i = 0; i < COUNT; i++)
        queue_one(i);
    CHECK_EQUAL(skerry_client_outstanding(client), COUNT);
    IS(skerry_client_get(client, "a", 1, &value), BUSY);
    for (size_t i = 0; i < COUNT && wrong < 10; i++) {
        IS(skerry_client_wait(client, &reply), OK);
        check_one(i, reply);
    }
    IS(skerry_client_wait(client, &reply), EMPTY);
    IS(skerry_client_next(client, &reply), EMPTY);
}

static void nothing_blocks_between_polls(void)
{
    enum { COUNT = 4000, DEPTH = 64 };
    const struct skerry_client_reply *reply;
    size_t queued = 0, taken = 0;
    while (taken < COUNT && wrong < 10) {
        while (queued < COUNT && queued - taken < DEPTH)
            queue_one(queued++);
        skerry_client_step(client);
        int status;
        while ((status = skerry_client_next(client, &reply)) == SKERRY_CLIENT_OK)
            check_one(taken++, reply);
        if (status == SKERRY_CLIENT_AGAIN) {
            struct pollfd poll_one = { .fd = skerry_client_fd(client), .events = POLLIN };
            CHECK_EQUAL(poll(&poll_one, 1, 60000), 1);
        }
    }
    CHECK_EQUAL(taken, COUNT);
    IS(skerry_client_next(client, &reply), EMPTY);
}

static void every_verb_may_be_queued(void)
{
    const struct skerry_client_reply *reply;
    struct skerry_client_bytes keys[] = { { "q1", 2 }, { "q2", 2 } }, values[] = { { "a", 1 }, { "b", 1 } }, item;
    struct skerry_client_bytes words[] = { { "GET", 3 }, { "live:3", 6 } };
    size_t cursor = 0;
    IS(skerry_client_queue_mset(client, keys, values, 2, NULL), OK);
    IS(skerry_client_wait(client, &reply), OK);
    IS(reply->status, OK);
    IS(skerry_client_queue_mget(client, keys, 2, NULL), OK);
    IS(skerry_client_wait(client, &reply), OK);
    CHECK_EQUAL(reply->count, 2);
    CHECK(skerry_client_item(reply, &cursor, &item) == 1 && same(item, "a", 1));
    CHECK(skerry_client_item(reply, &cursor, &item) == 1 && same(item, "b", 1));
    CHECK_EQUAL(skerry_client_item(reply, &cursor, &item), 0);
    IS(skerry_client_queue_ping(client, "p", 1, NULL), OK);
    IS(skerry_client_queue_expire(client, "q1", 2, 100000000, NULL), OK);
    IS(skerry_client_queue_ttl(client, "q1", 2, NULL), OK);
    IS(skerry_client_queue_getex(client, "q1", 2, 200000000, NULL), OK);
    IS(skerry_client_queue_set_at(client, "q1", 2, "c", 1, UINT64_C(4102444800000), NULL), OK);
    IS(skerry_client_queue_command(client, words, 2, 1, NULL), OK);
    IS(skerry_client_queue_request(client, 1, "live:9", 6, "\x06\0\0\0live:9", 10, NULL), OK);
    IS(skerry_client_wait(client, &reply), OK);
    CHECK(same(reply->bytes, "p", 1));
    IS(skerry_client_wait(client, &reply), OK);
    CHECK_EQUAL(reply->integer, 1);
    IS(skerry_client_wait(client, &reply), OK);
    CHECK(reply->integer > 90000);
    IS(skerry_client_wait(client, &reply), OK);
    CHECK(same(reply->bytes, "a", 1));
    IS(skerry_client_wait(client, &reply), OK);
    CHECK(same(reply->bytes, "+OK\r\n", 5));
    IS(skerry_client_wait(client, &reply), OK);
    CHECK(same(reply->bytes, "$7\r\nvalue:3\r\n", 13));
    IS(skerry_client_wait(client, &reply), OK);
    CHECK(same(reply->bytes, "value:9", 7));
}

static void bounds_are_kept_and_said(void)
{
    struct skerry_client_options small = options;
    struct skerry_client *other;
    const struct skerry_client_reply *reply;
    static char large[100000];
    int status = SKERRY_CLIENT_OK;
    size_t count = 0;
    small.requests_max = 10;
    small.send_max = 150000;
    IS(skerry_client_new(&other, &small), OK);
    while (count < 100 && (status = skerry_client_queue_get(other, "a", 1, NULL)) == SKERRY_CLIENT_OK)
        count++;
    IS(status, FULL);
    CHECK_EQUAL(count, 10);
    while (skerry_client_wait(other, &reply) == SKERRY_CLIENT_OK)
        count--;
    CHECK_EQUAL(count, 0);
    IS(skerry_client_queue_set(other, "a", 1, large, sizeof large, 0, NULL), OK);
    // Not connected to that shard yet, or connected and the kernel takes it: either it waits and the next is refused, or both pass.
    status = skerry_client_queue_set(other, "a", 1, large, sizeof large, 0, NULL);
    CHECK(status == SKERRY_CLIENT_OK || status == SKERRY_CLIENT_FULL);
    while (skerry_client_wait(other, &reply) == SKERRY_CLIENT_OK)
        IS(reply->status, OK);
    skerry_client_free(other);
}

static void replies_that_nobody_takes_stop_the_reading(void)
{
    struct skerry_client_options small = options;
    struct skerry_client *other;
    const struct skerry_client_reply *reply;
    enum { COUNT = 400, SIZE = 20000 };
    static char value[SIZE];
    small.receive_max = 65536;
    memset(value, 'r', sizeof value);
    IS(skerry_client_new(&other, &small), OK);
    IS(skerry_client_set(other, "r", 1, value, SIZE, 0), OK);
    for (int i = 0; i < COUNT; i++)
        IS(skerry_client_queue_get(other, "r", 1, NULL), OK);
    for (int i = 0; i < 2000; i++) {
        skerry_client_step(other);
        CHECK(skerry_client_memory(other) < 1 << 20); // 8 MB of replies are on the way
    }
    for (int i = 0; i < COUNT && wrong < 10; i++) {
        IS(skerry_client_wait(other, &reply), OK);
        CHECK(same(reply->bytes, value, SIZE));
    }
    skerry_client_free(other);
}

static void a_wrong_password_is_refused(void)
{
    struct skerry_client_options other_options = options;
    struct skerry_client *other;
    struct skerry_client_bytes value;
    if (options.password == NULL)
        return;
    other_options.password = "certainly not";
    IS(skerry_client_new(&other, &other_options), OK);
    IS(skerry_client_get(other, "a", 1, &value), REFUSED);
    CHECK(strstr(skerry_client_error(other), "WRONGPASS") != NULL);
    skerry_client_free(other);
    other_options.password = NULL;
    IS(skerry_client_new(&other, &other_options), OK);
    IS(skerry_client_get(other, "a", 1, &value), REFUSED);
    CHECK(strstr(skerry_client_error(other), "NOAUTH") != NULL);
    skerry_client_free(other);
}

// ---- a server that goes and comes back

static void a_restart_is_survived(void)
{
    struct skerry_client_bytes value, keys[] = { { "a", 1 }, { "b", 1 }, { "c", 1 } }, got[3];
    const struct skerry_client_reply *reply;
    char line[16], key[32];
    for (size_t i = 0; i < 50; i++)
        IS(skerry_client_set(client, key, key_of(key, "before", i), "x", 1, 0), OK);
    puts("ready");
    CHECK(fgets(line, sizeof line, stdin) != NULL);
    for (size_t i = 0; i < 50; i++) { // writes too: the loss is noticed before they are sent
        key_of(key, "after", i);
        IS(skerry_client_set(client, key, strlen(key), key, strlen(key), 0), OK);
        IS(skerry_client_get(client, key, strlen(key), &value), OK);
        CHECK(same(value, key, strlen(key)));
    }
    IS(skerry_client_mset(client, keys, keys, 3), OK);
    IS(skerry_client_mget(client, keys, 3, got), OK);
    CHECK(same(got[0], "a", 1) && same(got[1], "b", 1) && same(got[2], "c", 1));
    puts("ready");
    CHECK(fgets(line, sizeof line, stdin) != NULL); // "down": the server is away and comes back after this request was queued
    for (size_t i = 0; i < 50; i++) {
        key_of(key, "during", i);
        IS(skerry_client_queue_set(client, key, strlen(key), key, strlen(key), 0, NULL), OK);
    }
    skerry_client_step(client);
    puts("ready");
    CHECK(fgets(line, sizeof line, stdin) != NULL);
    int good = 0, count = 0;
    for (; skerry_client_wait(client, &reply) == SKERRY_CLIENT_OK; count++) {
        good += reply->status == SKERRY_CLIENT_OK;
        // A server with other shards: what was routed and not sent must be routed again by who queued it.
        CHECK(reply->status == SKERRY_CLIENT_OK || reply->status == SKERRY_CLIENT_MOVED);
        if (reply->error != NULL && reply->status != SKERRY_CLIENT_MOVED)
            printf("    %s\n", reply->error);
    }
    CHECK_EQUAL(count, 50);
    for (size_t i = 0; i < 50; i++) {
        key_of(key, "again", i);
        IS(skerry_client_set(client, key, strlen(key), key, strlen(key), 0), OK);
    }
    printf("    %d of 50 requests were queued before and sent after\n", good);
}

// ---- a topology that changes while every connection stays

static void wrong_shards_lead_to_the_new_topology(void)
{
    struct skerry_client_topology before = { .size = sizeof before }, after = { .size = sizeof after };
    struct skerry_client_bytes value;
    char key[32];
    IS(skerry_client_connect(client), OK);
    skerry_client_topology(client, &before);
    for (int i = 0; i < 300; i++) { // the server turns within these
        size_t length = (size_t)sprintf(key, "s:%d:c:%d", i % 50, i);
        IS(skerry_client_set(client, key, length, key, length, 0), OK);
        IS(skerry_client_get(client, key, length, &value), OK);
        CHECK(same(value, key, length));
    }
    skerry_client_topology(client, &after);
    CHECK(before.session_prefix != after.session_prefix);
    CHECK_EQUAL(after.epoch, before.epoch + 1);
    CHECK_EQUAL(after.refreshed, before.refreshed + 1); // one question, however many were wrong
}

static void a_pipeline_says_what_moved_and_the_rest_is_served(void)
{
    enum { COUNT = 2000 };
    struct skerry_client_topology before = { .size = sizeof before }, after = { .size = sizeof after };
    const struct skerry_client_reply *reply;
    char key[32];
    int good = 0, moved = 0;
    IS(skerry_client_connect(client), OK);
    skerry_client_topology(client, &before);
    for (int i = 0; i < COUNT; i++)
        IS(skerry_client_queue_set(client, key, (size_t)sprintf(key, "s:%d:c:%d", i % 50, i), "x", 1, 0, NULL), OK);
    while (skerry_client_wait(client, &reply) == SKERRY_CLIENT_OK) {
        good += reply->status == SKERRY_CLIENT_OK;
        moved += reply->status == SKERRY_CLIENT_MOVED;
        if (reply->status != SKERRY_CLIENT_OK && reply->status != SKERRY_CLIENT_MOVED) {
            printf("    %s\n", reply->error);
            wrong++;
        }
    }
    CHECK_EQUAL(good + moved, COUNT);
    CHECK(good > 0 && moved > 0);
    IS(skerry_client_set(client, "s:1:c:2", 7, "x", 1, 0), OK);
    skerry_client_topology(client, &after);
    CHECK_EQUAL(after.epoch, before.epoch + 1);
}

static int run_turn(bool pipeline)
{
    static const struct claim claims[] = {
        { "wrong_shards_lead_to_the_new_topology", wrong_shards_lead_to_the_new_topology },
        { "a_pipeline_says_what_moved_and_the_rest_is_served", a_pipeline_says_what_moved_and_the_rest_is_served },
    };
    return claims_run(&claims[pipeline], 1, NULL);
}

static int run_restart(void)
{
    static const struct claim claims[] = { { "a_restart_is_survived", a_restart_is_survived } };
    return claims_run(claims, 1, NULL);
}

int main(int argc, char **argv)
{
#define CLAIM(name)                                                                                                                        \
    {                                                                                                                                      \
#name, name                                                                                                                        \
    }
    static const struct claim claims[] = {
        CLAIM(the_topology_is_learnt),
        CLAIM(values_come_back_as_they_were_set),
        CLAIM(bytes_may_be_any),
        CLAIM(large_values_pass),
        CLAIM(keys_are_deleted_and_found),
        CLAIM(times_to_live_are_set_and_told),
        CLAIM(batches_are_answered_in_the_order_of_their_keys),
        CLAIM(a_key_of_another_type_is_no_string),
        CLAIM(ping_brings_the_payload_back),
        CLAIM(commands_answer_in_resp),
        CLAIM(raw_requests_reach_their_shard),
        CLAIM(a_pipeline_is_answered_in_order),
        CLAIM(nothing_blocks_between_polls),
        CLAIM(every_verb_may_be_queued),
        CLAIM(bounds_are_kept_and_said),
        CLAIM(replies_that_nobody_takes_stop_the_reading),
        CLAIM(a_wrong_password_is_refused),
    };
    bool restart = argc > 1 && strcmp(argv[1], "--restart") == 0, turn = argc > 1 && strncmp(argv[1], "--turn", 6) == 0;
    bool word = restart || turn;
    if (argc < (word ? 3 : 5)) {
        fprintf(stderr, "usage: %s ADDRESS auto|fanout|direct SHARDS DIRECT [PASSWORD], or --restart|--turn|--turn-pipeline ADDRESS\n",
                argv[0]);
        return 2;
    }
    options.address = word ? argv[2] : argv[1];
    options.request_timeout_ms = options.connect_timeout_ms = 60000; // a slow machine is no failure
    if (!word) {
        options.mode = strcmp(argv[2], "auto") == 0     ? SKERRY_CLIENT_AUTO
                       : strcmp(argv[2], "fanout") == 0 ? SKERRY_CLIENT_FANOUT
                                                        : SKERRY_CLIENT_DIRECT;
        want_shards = (uint32_t)atoi(argv[3]);
        want_direct = atoi(argv[4]);
        options.password = argc > 5 ? argv[5] : NULL;
    }
    signal(SIGPIPE, SIG_DFL); // which would end this program
    if (skerry_client_new(&client, &options) != SKERRY_CLIENT_OK) {
        printf("%s\n0 passed, 1 failed\n", skerry_client_failure());
        return 1;
    }
    int status = restart ? run_restart()
                 : turn  ? run_turn(strcmp(argv[1], "--turn-pipeline") == 0)
                         : claims_run(claims, sizeof claims / sizeof claims[0], NULL);
    skerry_client_free(client);
    return status;
}
