// SPDX-License-Identifier: Apache-2.0
// What a server may do to a client: wrong bytes, too many, too few, none. Every case must end with the status that says what was wrong,
// within the client's bounds of memory. No case depends on how fast anything is.
#include "claims.h"
#include "fake.h"

#include <dirent.h>
#include <skerry/client.h>

struct script {
    const unsigned char *bytes;
    size_t length;
};

static size_t from_hex(const char *hex, unsigned char *out)
{
    size_t count = 0;
    unsigned byte;
    int used;
    while (sscanf(hex, " %2x%n", &byte, &used) == 1) {
        out[count++] = (unsigned char)byte;
        hex += used;
    }
    return count;
}

static struct skerry_client *client_of(const struct fake *fake, struct skerry_client_options options)
{
    struct skerry_client *client;
    options.address = fake->address;
    options.backoff_min_ms = 1;
    options.backoff_max_ms = 4;
    int status = skerry_client_new(&client, &options);
    if (status != SKERRY_CLIENT_OK) {
        printf("    %s\n", skerry_client_failure());
        abort();
    }
    return client;
}

#define FANOUT(...)                                                                                                                        \
    ((struct skerry_client_options){ .size = sizeof(struct skerry_client_options), .mode = SKERRY_CLIENT_FANOUT, __VA_ARGS__ })
#define AUTO(...) ((struct skerry_client_options){ .size = sizeof(struct skerry_client_options), __VA_ARGS__ })

enum { LONG_MS = 60000, SHORT_MS = 50 }; // "will be answered", and "will never be"

// ---- scripts

static void say_and_close(struct fake *fake, int fd, int connection)
{
    const struct script *script = fake->argument;
    (void)connection;
    if (fake_take(fd, NULL))
        fake_say(fd, script->bytes, fake->number);
}

static void say_and_wait(struct fake *fake, int fd, int connection)
{
    const struct script *script = fake->argument;
    (void)connection;
    if (fake_take(fd, NULL) && fake_say(fd, script->bytes, fake->number))
        fake_wait_end(fd);
}

static void say_by_bytes(struct fake *fake, int fd, int connection)
{
    const struct script *script = fake->argument;
    (void)connection;
    while (fake_take(fd, NULL))
        for (size_t i = 0; i < script->length; i++) {
            fake_say(fd, script->bytes + i, 1);
            usleep(200);
        }
}

static void say_before_asked(struct fake *fake, int fd, int connection)
{
    const struct script *script = fake->argument;
    (void)connection;
    for (int i = 0; i < 1000 && fake_say(fd, script->bytes, script->length); i++)
        ;
    fake_wait_end(fd);
}

static void reset(struct fake *fake, int fd, int connection)
{
    struct linger linger = { .l_onoff = 1 };
    (void)fake, (void)connection;
    fake_take(fd, NULL);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
}

static void say_endlessly(struct fake *fake, int fd, int connection)
{
    const struct script *script = fake->argument;
    static const char zeros[65536];
    (void)connection;
    if (fake_take(fd, NULL) && fake_say(fd, script->bytes, script->length))
        while (fake_say(fd, zeros, sizeof zeros))
            ;
}

static int get_from(struct fake *fake, struct skerry_client_options options)
{
    struct skerry_client *client = client_of(fake, options);
    struct skerry_client_bytes value;
    int status = skerry_client_get(client, "alpha", 5, &value);
    if (status >= SKERRY_CLIENT_INVALID)
        CHECK(strstr(skerry_client_error(client), "127.0.0.1:") != NULL); // names who it was
    skerry_client_free(client);
    fake_stop(fake);
    return status;
}

// ---- replies

static const unsigned char good[] = { 0xfb, 2, 4, 0, 4, 0, 0, 0, 'b', 'e', 't', 'a' };
static const struct script good_script = { good, sizeof good };

static void a_malformed_reply_ends_with_protocol(void)
{
    static const char *const rows[] = {
        "fa 02 04 00 00000000",
        "2b4f4b0d0a",
        "fb 01 04 00 00000000",
        "fb 02 08 00 00000000",
        "fb 02 04 01 00000000",
        "fb 02 01 00 01000000 00",
        "fb 02 03 00 04000000 00000000",
        "fb 02 05 00 01000000 02",
        "fb 02 06 00 04000000 ffffffff",
        "fb 02 03 00 08000000 0100000000000000", // an Integer is no answer to GET
        "fb 02 06 00 04000000 00000000",
        "fb 02 00 00 00000000",
        "fb 02 07 00 08000000 0000000000000000",
        "2d45",
        "48545450",
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        unsigned char bytes[64];
        struct script script = { bytes, from_hex(rows[i], bytes) };
        struct fake fake;
        fake_start(&fake, say_and_wait, &script, script.length);
        int status = get_from(&fake, FANOUT(.request_timeout_ms = LONG_MS));
        CHECK_EQUAL(status, SKERRY_CLIENT_PROTOCOL);
        if (status != SKERRY_CLIENT_PROTOCOL)
            printf("    after %s\n", rows[i]);
    }
}

static void a_reply_cut_at_any_byte_ends_with_closed(void)
{
    for (size_t cut = 0; cut < sizeof good; cut++) {
        struct fake fake;
        fake_start(&fake, say_and_close, &good_script, cut);
        CHECK_EQUAL(get_from(&fake, FANOUT(.request_timeout_ms = LONG_MS)), SKERRY_CLIENT_CLOSED);
        CHECK(atomic_load(&fake.connections) > 1); // GET was said again
    }
}

static void a_reply_cut_at_any_byte_and_silence_ends_with_timeout(void)
{
    for (size_t cut = 0; cut < sizeof good; cut++) {
        struct fake fake;
        fake_start(&fake, say_and_wait, &good_script, cut);
        CHECK_EQUAL(get_from(&fake, FANOUT(.request_timeout_ms = SHORT_MS)), SKERRY_CLIENT_TIMEOUT);
    }
}

static void a_reply_in_single_bytes_is_a_reply(void)
{
    struct fake fake;
    fake_start(&fake, say_by_bytes, &good_script, 0);
    CHECK_EQUAL(get_from(&fake, FANOUT(.request_timeout_ms = LONG_MS)), SKERRY_CLIENT_OK);
}

static void a_reset_ends_with_closed(void)
{
    struct fake fake;
    fake_start(&fake, reset, NULL, 0);
    CHECK_EQUAL(get_from(&fake, FANOUT(.request_timeout_ms = LONG_MS)), SKERRY_CLIENT_CLOSED);
}

static void a_write_is_not_repeated(void)
{
    struct fake fake;
    fake_start(&fake, say_and_close, &good_script, 0);
    struct skerry_client *client = client_of(&fake, FANOUT(.request_timeout_ms = LONG_MS));
    CHECK_EQUAL(skerry_client_set(client, "a", 1, "b", 1, 0), SKERRY_CLIENT_CLOSED);
    CHECK_EQUAL(atomic_load(&fake.connections), 1);
    skerry_client_free(client);
    fake_stop(&fake);
}

static void replies_to_no_request_are_not_taken_for_later_ones(void)
{
    struct fake fake;
    fake_start(&fake, say_before_asked, &good_script, 0);
    // Each connection begins with an answer before the question: none may be believed.
    struct skerry_client *client = client_of(&fake, FANOUT(.request_timeout_ms = SHORT_MS));
    struct skerry_client_bytes value;
    int connected = skerry_client_connect(client);
    CHECK(connected == SKERRY_CLIENT_OK || connected == SKERRY_CLIENT_PROTOCOL);
    int status = skerry_client_get(client, "alpha", 5, &value);
    CHECK(status >= SKERRY_CLIENT_INVALID || value.length == 4); // the request may have been under way first: then it looks like a reply
    CHECK(skerry_client_memory(client) < 1 << 20);
    skerry_client_free(client);
    fake_stop(&fake);
}

static void one_reply_too_many_does_not_answer_the_next_request(void)
{
    static const unsigned char twice[] = { 0xfb, 2, 4, 0, 1, 0, 0, 0, '1', 0xfb, 2, 4, 0, 1, 0, 0, 0, '2' };
    struct script script = { twice, sizeof twice };
    struct fake fake;
    fake_start(&fake, say_and_wait, &script, sizeof twice);
    struct skerry_client *client = client_of(&fake, FANOUT(.request_timeout_ms = LONG_MS));
    struct skerry_client_bytes value;
    for (int i = 0; i < 3; i++) {
        CHECK_EQUAL(skerry_client_get(client, "alpha", 5, &value), SKERRY_CLIENT_OK);
        CHECK(value.length == 1 && *(const char *)value.data == '1');
        usleep(1000); // so that the second reply is there in most runs
    }
    skerry_client_free(client);
    fake_stop(&fake);
}

// ---- memory

struct heap {
    size_t used, peak, calls, fail_at;
};

static void *counting(void *context, void *old, size_t old_size, size_t size)
{
    struct heap *heap = context;
    if (size > old_size && heap->fail_at != 0 && ++heap->calls == heap->fail_at)
        return NULL;
    if (size == 0) {
        free(old);
        heap->used -= old_size;
        return NULL;
    }
    void *memory = realloc(old, size);
    if (memory == NULL)
        return NULL;
    heap->used += size - old_size;
    heap->peak = heap->used > heap->peak ? heap->used : heap->peak;
    return memory;
}

static void a_length_that_lies_allocates_nothing(void)
{
    unsigned char bytes[128] = { 0 };
    from_hex("fb 02 04 00 0000001f", bytes); // 496 MiB are announced, 120 bytes come
    struct script script = { bytes, sizeof bytes };
    struct heap heap = { 0 };
    struct fake fake;
    fake_start(&fake, say_and_wait, &script, sizeof bytes);
    CHECK_EQUAL(get_from(&fake, FANOUT(.request_timeout_ms = SHORT_MS, .resize = counting, .resize_context = &heap)),
                SKERRY_CLIENT_TIMEOUT);
    CHECK(heap.peak < 128 << 10);
    CHECK_EQUAL(heap.used, 0);
}

static void a_reply_over_reply_max_is_refused_by_its_header(void)
{
    unsigned char bytes[8];
    struct script script = { bytes, from_hex("fb 02 04 00 ffffffff", bytes) };
    struct fake fake;
    fake_start(&fake, say_and_wait, &script, sizeof bytes);
    CHECK_EQUAL(get_from(&fake, FANOUT(.request_timeout_ms = LONG_MS)), SKERRY_CLIENT_TOO_LARGE);
    from_hex("fb 02 04 00 65000000", bytes); // 101 bytes
    fake_start(&fake, say_and_wait, &script, sizeof bytes);
    CHECK_EQUAL(get_from(&fake, FANOUT(.request_timeout_ms = LONG_MS, .reply_max = 100)), SKERRY_CLIENT_TOO_LARGE);
}

static void endless_bytes_stop_at_memory_max(void)
{
    unsigned char bytes[8];
    struct script script = { bytes, from_hex("fb 02 04 00 0000001f", bytes) };
    struct heap heap = { 0 };
    struct fake fake;
    fake_start(&fake, say_endlessly, &script, sizeof bytes);
    CHECK_EQUAL(get_from(&fake, FANOUT(.request_timeout_ms = LONG_MS, .memory_max = 4 << 20, .resize = counting, .resize_context = &heap)),
                SKERRY_CLIENT_MEMORY);
    CHECK(heap.peak <= 4 << 20);
    CHECK_EQUAL(heap.used, 0);
}

static void endless_replies_end_with_the_request(void)
{
    struct fake fake;
    struct heap heap = { 0 };
    fake_start(&fake, say_endlessly, &good_script, 0); // one good reply, then zeros
    CHECK_EQUAL(get_from(&fake, FANOUT(.request_timeout_ms = LONG_MS, .resize = counting, .resize_context = &heap)), SKERRY_CLIENT_OK);
    CHECK(heap.peak < 1 << 20);
}

static void answer_all(struct fake *fake, int fd, int connection)
{
    (void)fake, (void)connection;
    while (fake_take(fd, NULL) && fake_say(fd, good, sizeof good))
        ;
}

// Every allocation fails once; nothing may crash, leak or be answered wrongly.
static void no_memory_is_an_error_and_not_an_end(void)
{
    struct fake fake;
    fake_start(&fake, answer_all, NULL, 0);
    int worked = 0;
    for (size_t fail_at = 1; fail_at < 40; fail_at++) {
        struct heap heap = { .fail_at = fail_at };
        struct skerry_client_options options =
            FANOUT(.address = fake.address, .request_timeout_ms = LONG_MS, .resize = counting, .resize_context = &heap, .password = NULL);
        struct skerry_client *client;
        int status = skerry_client_new(&client, &options);
        CHECK(status == SKERRY_CLIENT_OK || (status == SKERRY_CLIENT_MEMORY && client == NULL));
        for (int i = 0; status == SKERRY_CLIENT_OK && i < 3; i++) {
            struct skerry_client_bytes value;
            int got = skerry_client_get(client, "alpha", 5, &value);
            CHECK(got == SKERRY_CLIENT_MEMORY || (got == SKERRY_CLIENT_OK && value.length == 4));
            worked += got == SKERRY_CLIENT_OK;
        }
        skerry_client_free(client);
        CHECK_EQUAL(heap.used, 0);
    }
    CHECK(worked > 30);
    fake_stop(&fake);
}

// ---- HELLO and AUTH

static void greet(struct fake *fake, int fd, int connection)
{
    const struct script *script = fake->argument;
    (void)connection;
    while (fake_take(fd, NULL) && fake_say(fd, script->bytes, script->length))
        ;
}

static size_t hello_of(unsigned char *out, const char *const *words, size_t count)
{
    unsigned char *at = out + 12;
    memcpy(out, (const unsigned char[]){ 0xfb, 2, 6, 0, 0, 0, 0, 0, (unsigned char)count, 0, 0, 0 }, 12);
    for (size_t i = 0; i < count; i++) {
        *at++ = (unsigned char)strlen(words[i]);
        memset(at, 0, 3);
        memcpy(at + 3, words[i], strlen(words[i]));
        at += 3 + strlen(words[i]);
    }
    out[4] = (unsigned char)(at - out - 8);
    return (size_t)(at - out);
}

static void an_impossible_topology_is_said_at_once(void)
{
    static const char *const rows[][4] = {
        { "shards", "4294967295", "epoch", "1" },
        { "shards", "3", "epoch", "1" },
        { "shards", "4", "direct_base_port", "65535" },
        { "epoch", "1", "", "" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        unsigned char bytes[128];
        struct script script = { bytes, hello_of(bytes, rows[i], 4) };
        struct fake fake;
        struct heap heap = { 0 };
        fake_start(&fake, greet, &script, 0);
        CHECK_EQUAL(get_from(&fake, AUTO(.request_timeout_ms = LONG_MS, .resize = counting, .resize_context = &heap)),
                    SKERRY_CLIENT_TOPOLOGY);
        CHECK(heap.peak < 128 << 10);
    }
}

static void a_malformed_hello_ends_with_protocol(void)
{
    static const char *const rows[] = { "fb 02 06 00 04000000 ffffffff", "fb 02 03 00 08000000 0100000000000000", "2b4f4b0d0a",
                                        "fb 02 06 00 09000000 01000000 ff000000 61" };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        unsigned char bytes[64];
        struct script script = { bytes, from_hex(rows[i], bytes) };
        struct fake fake;
        fake_start(&fake, greet, &script, 0);
        struct skerry_client *client = client_of(&fake, AUTO(.connect_timeout_ms = LONG_MS));
        CHECK_EQUAL(skerry_client_connect(client), SKERRY_CLIENT_PROTOCOL);
        skerry_client_free(client);
        fake_stop(&fake);
    }
}

static void a_server_without_hello_is_used_by_its_one_port(void)
{
    static const char error[] = "\xfb\x02\x02\x00\x17\x00\x00\x00"
                                "ERR unsupported command";
    struct script script = { (const unsigned char *)error, sizeof error - 1 };
    struct fake fake;
    fake_start(&fake, greet, &script, 0);
    struct skerry_client *client = client_of(&fake, AUTO(.request_timeout_ms = LONG_MS));
    struct skerry_client_topology topology = { .size = sizeof topology };
    CHECK_EQUAL(skerry_client_connect(client), SKERRY_CLIENT_OK);
    skerry_client_topology(client, &topology);
    CHECK(!topology.direct);
    CHECK_EQUAL(skerry_client_delete(client, "a", 1), SKERRY_CLIENT_SERVER); // it says so to everything
    CHECK(strcmp(skerry_client_error(client), "ERR unsupported command") == 0);
    skerry_client_free(client);
    fake_stop(&fake);
}

static void a_refused_password_ends_what_waits_for_it(void)
{
    static const char error[] = "\xfb\x02\x02\x00\x0d\x00\x00\x00"
                                "WRONGPASS bad";
    struct script script = { (const unsigned char *)error, sizeof error - 1 };
    for (int mode = SKERRY_CLIENT_AUTO; mode <= SKERRY_CLIENT_FANOUT; mode++) {
        struct fake fake;
        fake_start(&fake, greet, &script, 0);
        struct skerry_client *client = client_of(&fake, AUTO(.mode = mode, .request_timeout_ms = LONG_MS, .password = "x"));
        struct skerry_client_bytes value;
        CHECK_EQUAL(skerry_client_get(client, "alpha", 5, &value), SKERRY_CLIENT_REFUSED);
        CHECK(strstr(skerry_client_error(client), "WRONGPASS bad") != NULL);
        skerry_client_free(client);
        fake_stop(&fake);
    }
}

static void a_refusal_in_resp_is_passed_on(void)
{
    static const char error[] = "-ERR max number of clients reached\r\n";
    struct script script = { (const unsigned char *)error, sizeof error - 1 };
    for (int mode = SKERRY_CLIENT_AUTO; mode <= SKERRY_CLIENT_FANOUT; mode++) {
        struct fake fake;
        fake_start(&fake, say_and_close, &script, sizeof error - 1);
        struct skerry_client *client = client_of(&fake, AUTO(.mode = mode, .request_timeout_ms = LONG_MS));
        struct skerry_client_bytes value;
        CHECK_EQUAL(skerry_client_get(client, "alpha", 5, &value), SKERRY_CLIENT_SERVER);
        CHECK(strstr(skerry_client_error(client), "ERR max number of clients reached") != NULL);
        skerry_client_free(client);
        fake_stop(&fake);
    }
}

static void silence_before_hello_is_unreachable(void)
{
    struct fake fake;
    fake_start(&fake, say_and_wait, &good_script, 0);
    struct skerry_client *client = client_of(&fake, AUTO(.connect_timeout_ms = SHORT_MS));
    CHECK_EQUAL(skerry_client_connect(client), SKERRY_CLIENT_UNREACHABLE);
    skerry_client_free(client);
    fake_stop(&fake);
}

// Every test has freed its clients: what is open now was open before.
static int descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    int count = 0;
    while (folder != NULL && readdir(folder) != NULL)
        count++;
    if (folder != NULL)
        closedir(folder);
    return count;
}

static int descriptors_before;

static void no_descriptor_is_left_over(void)
{
    CHECK_EQUAL(descriptors(), descriptors_before);
}

int main(int argc, char **argv)
{
#define CLAIM(name)                                                                                                                        \
    {                                                                                                                                      \
#name, name                                                                                                                        \
    }
    static const struct claim claims[] = {
        CLAIM(a_malformed_reply_ends_with_protocol),
        CLAIM(a_reply_cut_at_any_byte_ends_with_closed),
        CLAIM(a_reply_cut_at_any_byte_and_silence_ends_with_timeout),
        CLAIM(a_reply_in_single_bytes_is_a_reply),
        CLAIM(a_reset_ends_with_closed),
        CLAIM(a_write_is_not_repeated),
        CLAIM(replies_to_no_request_are_not_taken_for_later_ones),
        CLAIM(one_reply_too_many_does_not_answer_the_next_request),
        CLAIM(a_length_that_lies_allocates_nothing),
        CLAIM(a_reply_over_reply_max_is_refused_by_its_header),
        CLAIM(endless_bytes_stop_at_memory_max),
        CLAIM(endless_replies_end_with_the_request),
        CLAIM(no_memory_is_an_error_and_not_an_end),
        CLAIM(an_impossible_topology_is_said_at_once),
        CLAIM(a_malformed_hello_ends_with_protocol),
        CLAIM(a_server_without_hello_is_used_by_its_one_port),
        CLAIM(a_refused_password_ends_what_waits_for_it),
        CLAIM(a_refusal_in_resp_is_passed_on),
        CLAIM(silence_before_hello_is_unreachable),
        CLAIM(no_descriptor_is_left_over),
    };
    descriptors_before = descriptors();
    return claims_run(claims, sizeof claims / sizeof claims[0], argc > 1 ? argv[1] : NULL);
}
