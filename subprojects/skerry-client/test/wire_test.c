// SPDX-License-Identifier: Apache-2.0
// The specification's vectors, and what a reply must not be.
#include "../src/topology.h"
#include "../src/wire.h"
#include "claims.h"

#include <inttypes.h>

static struct skerry_client_bytes text(const char *words)
{
    return (struct skerry_client_bytes){ words, strlen(words) };
}

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

// ---- routing

static void the_vectors_of_the_specification_route(void)
{
    static const struct {
        const char *key;
        int repeat;
        uint64_t hash;
        uint32_t full[4], session[4]; // of 2, 4, 16, 64 shards
    } rows[] = {
        { "", 0, 0x2d06800538d394c2, { 1, 2, 8, 32 }, { 1, 2, 8, 32 } },
        { "a", 1, 0xe6c632b61e964e1f, { 0, 1, 6, 24 }, { 0, 1, 6, 24 } },
        { "alpha", 1, 0xbe6903b5f625ab5a, { 0, 0, 3, 13 }, { 0, 0, 3, 13 } },
        { "user:42", 1, 0x9fc1e605fa7174aa, { 1, 3, 14, 56 }, { 1, 3, 14, 56 } },
        { "owned-shard-key-1", 1, 0xaea5da1bc648453e, { 0, 1, 5, 20 }, { 0, 1, 5, 20 } },
        { "s:42:c:7", 1, 0x221c18680ed619a8, { 0, 0, 0, 3 }, { 0, 1, 6, 26 } },
        { "s:42", 1, 0x9ed7df9c1d9bd965, { 0, 1, 6, 26 }, { 0, 1, 6, 26 } },
        { "k", 64, 0xea15a22731ab9dd3, { 0, 0, 0, 2 }, { 0, 0, 0, 2 } },
        { "k", 300, 0x3e901c94ff54faa0, { 0, 1, 4, 18 }, { 0, 1, 4, 18 } },
    };
    static const uint32_t shards[] = { 2, 4, 16, 64 };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char key[512] = "";
        for (int n = 0; n < rows[i].repeat; n++)
            strcat(key, rows[i].key);
        CHECK_EQUAL(skerry_client_hash(key, strlen(key)), rows[i].hash);
        CHECK_EQUAL(skerry_client_shard(rows[i].hash, 1), 0);
        for (int n = 0; n < 4; n++) {
            CHECK_EQUAL(skerry_client_shard(rows[i].hash, shards[n]), rows[i].full[n]);
            CHECK_EQUAL(skerry_client_shard(skerry_client_session_hash(key, strlen(key)), shards[n]), rows[i].session[n]);
        }
    }
}

static void a_session_prefix_ends_before_the_last_mark(void)
{
    static const struct {
        const char *key, *prefix;
    } rows[] = {
        { "s:1:c:2:c:3", "s:1:c:2" },
        { "s:c:3", "s" },
        { "s::c:", "s:" },
        { "s:1:c", "s:1:c" },
        { "t:1:c:2", "t:1:c:2" },
        { "s:", "s:" },
        { "s:c:", "s" },
        { "", "" },
        { "s", "s" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        CHECK_EQUAL(skerry_client_session_hash(rows[i].key, strlen(rows[i].key)),
                    skerry_client_hash(rows[i].prefix, strlen(rows[i].prefix)));
}

// ---- requests

static void check_frame(struct wire_request request, const char *hex)
{
    unsigned char want[256], got[256];
    size_t length = from_hex(hex, want);
    CHECK_EQUAL(skc_wire_length(&request), length);
    if (skc_wire_length(&request) != length)
        return;
    skc_wire_write(&request, got);
    CHECK(memcmp(got, want, length) == 0);
}

static void the_frames_of_the_specification_are_written(void)
{
    struct skerry_client_bytes alpha = text("alpha"), beta = text("beta"), words[] = { text("GET"), text("alpha") };
    check_frame((struct wire_request){ .opcode = WIRE_GET, .layout = WIRE_KEY, .key = alpha }, "fa 02 01 00 09000000 05000000 616c706861");
    check_frame((struct wire_request){ .opcode = WIRE_GET, .layout = WIRE_KEY, .key = alpha, .routed = true },
                "fa 02 01 07 1d000000 5aab25f6b50369be 00000000 be00000000000000 05000000 616c706861");
    check_frame((struct wire_request){ .opcode = WIRE_SET, .layout = WIRE_KEY_VALUE, .key = alpha, .value = beta, .routed = true },
                "fa 02 02 07 25000000 5aab25f6b50369be 00000000 be00000000000000 05000000 04000000 616c706861 62657461");
    check_frame(
        (struct wire_request){ .opcode = WIRE_SETEX, .layout = WIRE_NUMBER_KEY_VALUE, .key = alpha, .value = beta, .number = 60000 },
        "fa 02 03 00 19000000 60ea000000000000 05000000 04000000 616c706861 62657461");
    check_frame((struct wire_request){ .opcode = WIRE_DELETE, .layout = WIRE_KEY, .key = alpha },
                "fa 02 05 00 09000000 05000000 616c706861");
    check_frame((struct wire_request){ .opcode = WIRE_RESP, .layout = WIRE_LIST, .parts = words, .part_count = 2 },
                "fa 02 c8 00 14000000 02000000 03000000 474554 05000000 616c706861");
}

static void the_other_layouts_are_those_of_the_table(void)
{
    struct skerry_client_bytes a = text("a"), b = text("bc"), keys[] = { a, b }, values[] = { b, text("") };
    check_frame((struct wire_request){ .opcode = WIRE_EXPIRE, .layout = WIRE_NUMBER_KEY, .key = a, .number = 0x0102030405060708 },
                "fa 02 08 00 0d000000 0807060504030201 01000000 61");
    check_frame((struct wire_request){ .opcode = WIRE_PING, .layout = WIRE_REST, .value = b }, "fa 02 09 00 02000000 6263");
    check_frame((struct wire_request){ .opcode = WIRE_MGET, .layout = WIRE_LIST, .parts = keys, .part_count = 2 },
                "fa 02 0a 00 0f000000 02000000 01000000 61 02000000 6263");
    check_frame((struct wire_request){ .opcode = WIRE_MSET, .layout = WIRE_PAIRS, .parts = keys, .values = values, .part_count = 2 },
                "fa 02 0b 00 19000000 02000000 01000000 02000000 61 6263 02000000 00000000 6263");
    check_frame((struct wire_request){ .opcode = WIRE_AUTH, .layout = WIRE_TWO, .key = a, .value = b },
                "fa 02 3c 00 0b000000 01000000 61 02000000 6263");
    check_frame((struct wire_request){ .opcode = WIRE_HELLO, .layout = WIRE_REST }, "fa 02 3d 00 00000000");
}

static void a_prefix_is_taken_away_without_a_trace(void)
{
    unsigned char frame[64], want[64];
    struct wire_request request = { .opcode = WIRE_GET, .layout = WIRE_KEY, .key = text("alpha"), .routed = true };
    skc_wire_write(&request, frame);
    skc_wire_set_shard(frame, 0x01020304);
    CHECK_EQUAL(frame[WIRE_SHARD_AT], 4);
    CHECK_EQUAL(skc_wire_hash(frame), 0xbe6903b5f625ab5a);
    unsigned char *stripped = skc_wire_strip(frame);
    CHECK_EQUAL(stripped - frame, WIRE_PREFIX);
    request.routed = false;
    skc_wire_write(&request, want);
    CHECK(memcmp(stripped, want, skc_wire_length(&request)) == 0);
}

static void lengths_beyond_32_bits_are_refused(void)
{
    struct skerry_client_bytes huge = { "", (size_t)UINT32_MAX + 1 }, half = { "", UINT32_MAX / 2 + 1 }, parts[] = { half, half };
    CHECK_EQUAL(skc_wire_length(&(struct wire_request){ .layout = WIRE_KEY, .key = huge }), 0);
    CHECK_EQUAL(skc_wire_length(&(struct wire_request){ .layout = WIRE_KEY_VALUE, .key = half, .value = half }), 0);
    CHECK_EQUAL(skc_wire_length(&(struct wire_request){ .layout = WIRE_LIST, .parts = parts, .part_count = 2 }), 0);
    CHECK_EQUAL(skc_wire_length(&(struct wire_request){ .layout = WIRE_PAIRS, .parts = parts, .values = &huge, .part_count = 1 }), 0);
}

// ---- replies

static void every_reply_of_the_specification_is_read(void)
{
    static const struct {
        const char *hex;
        int kind;
        int64_t integer;
        double number;
        const char *bytes;
        size_t count;
    } rows[] = {
        { "fb 02 00 00 00000000", SKERRY_CLIENT_KIND_OK, 0, 0, "", 0 },
        { "fb 02 01 00 00000000", SKERRY_CLIENT_KIND_NULL, 0, 0, "", 0 },
        { "fb 02 02 00 03000000 455252", SKERRY_CLIENT_KIND_ERROR, 0, 0, "ERR", 0 },
        { "fb 02 03 00 08000000 feffffffffffffff", SKERRY_CLIENT_KIND_INTEGER, -2, 0, "", 0 },
        { "fb 02 04 00 01000000 62", SKERRY_CLIENT_KIND_VALUE, 0, 0, "b", 0 },
        { "fb 02 05 00 01000000 01", SKERRY_CLIENT_KIND_BOOLEAN, 1, 0, "", 0 },
        { "fb 02 06 00 0d000000 02000000 01000000 61 ffffffff", SKERRY_CLIENT_KIND_ARRAY, 0, 0, NULL, 2 },
        { "fb 02 07 00 08000000 000000000000f83f", SKERRY_CLIENT_KIND_FLOAT, 0, 1.5, "", 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        unsigned char frame[64];
        size_t length = from_hex(rows[i].hex, frame);
        struct skerry_client_reply reply = { 0 };
        uint64_t said = 0;
        const char *why = NULL;
        CHECK_EQUAL(skc_wire_frame(frame, length, &said, &why), 1);
        CHECK_EQUAL(said, length);
        for (size_t cut = 0; cut < WIRE_HEADER; cut++)
            CHECK_EQUAL(skc_wire_frame(frame, cut, &said, &why), 0);
        for (size_t cut = 0; cut < length; cut++)
            CHECK_EQUAL(skc_wire_reply(frame, cut, &reply, &why), -1);
        CHECK_EQUAL(skc_wire_reply(frame, length, &reply, &why), 0);
        CHECK_EQUAL(reply.kind, rows[i].kind);
        CHECK_EQUAL(reply.integer, rows[i].integer);
        CHECK(reply.number >= rows[i].number && reply.number <= rows[i].number);
        CHECK_EQUAL(reply.count, rows[i].count);
        if (rows[i].bytes != NULL) {
            CHECK_EQUAL(reply.bytes.length, strlen(rows[i].bytes));
            CHECK(memcmp(rows[i].bytes, reply.bytes.length > 0 ? reply.bytes.data : "", reply.bytes.length) == 0);
        }
    }
}

static void a_malformed_reply_is_refused_with_a_reason(void)
{
    static const char *const rows[] = {
        "fa 02 00 00 00000000", // a request's magic
        "2b4f4b0d0a",           // RESP
        "fb 01 00 00 00000000", // version
        "fb 02 08 00 00000000", // status
        "fb 02 ff 00 00000000",
        "fb 02 00 01 00000000",    // flags
        "fb 02 00 00 01000000 00", // lengths that are not those of the status
        "fb 02 01 00 01000000 00",
        "fb 02 03 00 07000000 00000000000000",
        "fb 02 03 00 09000000 000000000000000000",
        "fb 02 05 00 00000000",
        "fb 02 05 00 01000000 02", // a boolean of 2
        "fb 02 07 00 04000000 00000000",
        "fb 02 06 00 00000000", // arrays: no count, a count of 2^32 - 1, items that are not there, too long, trailing bytes
        "fb 02 06 00 03000000 000000",
        "fb 02 06 00 04000000 ffffffff",
        "fb 02 06 00 04000000 01000000",
        "fb 02 06 00 08000000 02000000 00000000",
        "fb 02 06 00 09000000 01000000 02000000 61",
        "fb 02 06 00 09000000 01000000 feffffff 61",
        "fb 02 06 00 09000000 01000000 00000000 61",
        "fb 02 06 00 05000000 00000000 61",
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        unsigned char frame[64];
        size_t length = from_hex(rows[i], frame);
        struct skerry_client_reply reply = { 0 };
        uint64_t said = 0;
        const char *why = NULL;
        bool refused = skc_wire_frame(frame, length, &said, &why) < 0 || skc_wire_reply(frame, length, &reply, &why) < 0;
        CHECK(refused && why != NULL);
        if (!refused)
            printf("    taken: %s\n", rows[i]);
    }
}

static void items_are_walked_in_order_and_end(void)
{
    unsigned char frame[64];
    size_t length = from_hex("fb 02 06 00 11000000 03000000 01000000 61 ffffffff 00000000", frame);
    struct skerry_client_reply reply = { 0 };
    const char *why;
    struct skerry_client_bytes item;
    size_t cursor = 0;
    CHECK_EQUAL(skc_wire_reply(frame, length, &reply, &why), 0);
    CHECK(skerry_client_item(&reply, &cursor, &item) == 1 && item.length == 1 && *(const char *)item.data == 'a');
    CHECK(skerry_client_item(&reply, &cursor, &item) == 1 && item.data == NULL);
    CHECK(skerry_client_item(&reply, &cursor, &item) == 1 && item.data != NULL && item.length == 0);
    CHECK_EQUAL(skerry_client_item(&reply, &cursor, &item), 0);
    cursor = SIZE_MAX;
    CHECK_EQUAL(skerry_client_item(&reply, &cursor, &item), 0);
}

// ---- RESP2 inside of a value

static void resp_is_read_piece_by_piece(void)
{
    struct skerry_client_bytes resp = text("*4\r\n+OK\r\n:-9223372036854775808\r\n$3\r\na\r\n\r\n$-1\r\n");
    struct skerry_client_resp piece;
    size_t cursor = 0;
    CHECK(skerry_client_resp_next(resp, &cursor, &piece) == 1 && piece.type == '*' && piece.integer == 4);
    CHECK(skerry_client_resp_next(resp, &cursor, &piece) == 1 && piece.type == '+' && piece.bytes.length == 2);
    CHECK(skerry_client_resp_next(resp, &cursor, &piece) == 1 && piece.type == ':' && piece.integer == INT64_MIN);
    CHECK(skerry_client_resp_next(resp, &cursor, &piece) == 1 && piece.type == '$' && piece.bytes.length == 3);
    CHECK(skerry_client_resp_next(resp, &cursor, &piece) == 1 && piece.type == '$' && piece.bytes.data == NULL);
    CHECK_EQUAL(skerry_client_resp_next(resp, &cursor, &piece), 0);
}

static void malformed_resp_is_refused_and_cut_resp_too(void)
{
    static const char *const rows[] = { "x\r\n",
                                        "+OK",
                                        "+OK\r",
                                        ":\r\n",
                                        ":1x\r\n",
                                        ":9223372036854775808\r\n",
                                        "$5\r\nabc\r\n",
                                        "$-2\r\n",
                                        "$3\r\nabcde",
                                        "*-2\r\n",
                                        "$9223372036854775807\r\na\r\n",
                                        "\r\n",
                                        "\n",
                                        "-" };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct skerry_client_resp piece;
        size_t cursor = 0;
        CHECK_EQUAL(skerry_client_resp_next(text(rows[i]), &cursor, &piece), -1);
    }
}

// ---- HELLO

static int read_hello(const char *const *words, size_t count, struct topology *topology)
{
    unsigned char frame[1024] = { 0xfb, 2, 6, 0 }, *at = frame + 12;
    frame[8] = (unsigned char)count;
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(words[i]);
        *at = (unsigned char)length;
        memcpy(at + 4, words[i], length);
        at += 4 + length;
    }
    size_t body = (size_t)(at - frame) - 8;
    frame[4] = (unsigned char)body;
    frame[5] = (unsigned char)(body >> 8);
    struct skerry_client_reply reply = { 0 };
    const char *why = NULL;
    CHECK_EQUAL(skc_wire_reply(frame, (uint64_t)(at - frame), &reply, &why), 0);
    int status = skc_topology_read(topology, &reply, &why);
    CHECK(status == 0 || why != NULL);
    return status;
}

static void hello_is_understood_whatever_its_order(void)
{
    static const char *const words[] = { "epoch", "7",      "unheard", "of",        "route_mode", "session_prefix", "direct_base_port",
                                         "7001",  "shards", "8",       "frame_max", "1000" };
    struct topology t;
    CHECK_EQUAL(read_hello(words, 12, &t), 0);
    CHECK(t.direct && t.session_prefix);
    CHECK_EQUAL(t.shards, 8);
    CHECK_EQUAL(t.direct_base_port, 7001);
    CHECK_EQUAL(t.epoch, 7);
    CHECK_EQUAL(t.frame_max, 1000);
    static const char *const off[] = { "shards", "1", "direct_base_port", "" };
    CHECK_EQUAL(read_hello(off, 4, &t), 0);
    CHECK(!t.direct);
}

static void an_impossible_topology_is_refused(void)
{
    static const char *const rows[][4] = {
        { "shards", "0", "", "" },
        { "shards", "3", "", "" },
        { "shards", "8192", "", "" },
        { "shards", "4294967296", "", "" },
        { "shards", "99999999999999999999", "", "" },
        { "shards", "-1", "", "" },
        { "shards", "", "", "" },
        { "epoch", "1", "", "" },
        { "shards", "2", "direct_base_port", "65535" },
        { "shards", "2", "direct_base_port", "0" },
        { "shards", "2", "direct_base_port", "70000" },
        { "shards", "2", "route_mode", "by_moon" },
        { "shards", "2", "frame_max", "many" },
        { "shards", "2", "epoch", "x" },
    };
    struct topology t;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        CHECK_EQUAL(read_hello(rows[i], 4, &t), -1);
    CHECK_EQUAL(read_hello(rows[0], 3, &t), -1);
}

int main(int argc, char **argv)
{
#define CLAIM(name)                                                                                                                        \
    {                                                                                                                                      \
#name, name                                                                                                                        \
    }
    static const struct claim claims[] = {
        CLAIM(the_vectors_of_the_specification_route),      CLAIM(a_session_prefix_ends_before_the_last_mark),
        CLAIM(the_frames_of_the_specification_are_written), CLAIM(the_other_layouts_are_those_of_the_table),
        CLAIM(a_prefix_is_taken_away_without_a_trace),      CLAIM(lengths_beyond_32_bits_are_refused),
        CLAIM(every_reply_of_the_specification_is_read),    CLAIM(a_malformed_reply_is_refused_with_a_reason),
        CLAIM(items_are_walked_in_order_and_end),           CLAIM(resp_is_read_piece_by_piece),
        CLAIM(malformed_resp_is_refused_and_cut_resp_too),  CLAIM(hello_is_understood_whatever_its_order),
        CLAIM(an_impossible_topology_is_refused),
    };
    return claims_run(claims, sizeof claims / sizeof claims[0], argc > 1 ? argv[1] : NULL);
}
