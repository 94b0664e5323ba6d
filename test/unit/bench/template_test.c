// SPDX-License-Identifier: Apache-2.0
// FCNP requests against the specification's own bytes (its section 4: key alpha, value beta, four shards).
#include "bench/template.h"

#include "base/bytes.h"
#include "base/hash.h"
#include "base/test.h"
#include "bench/workload.h"

static struct workload w;

static struct options options(enum op_kind kind, bool direct)
{
    struct options o = { .keys = 10, .key_size = 5, .sizes = { { 4, 1 } }, .size_count = 1, .batch = 2, .protocol = PROTOCOL_FCNP };
    o.mix[kind] = 1;
    o.direct = direct;
    return o;
}

static const char *hex(const uint8_t *bytes, uint64_t len)
{
    static char text[512];
    for (uint64_t i = 0; i < len && 2 * i + 2 < sizeof text; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    return text;
}

// The request for key number 7, "key:7", as text.
static const char *written(enum op_kind kind, bool direct, const struct topology *t, uint64_t *len)
{
    static uint8_t out[256];
    struct options o = options(kind, direct);
    struct request_source s;
    struct request r;
    check_equal(workload_init(&w, &o, false), 0);
    request_source_init(&s, &w, 1);
    s.in_order = true;
    s.next_key = 7;
    s.shard = topology_shard(t, hash_route(slice_cstr("key:7")));
    *len = workload_write(&s, out, &r);
    check_equal(*len, w.len_max);
    workload_deinit(&w);
    return hex(out, *len);
}

static void frames_are_the_specifications(void)
{
    static const struct topology FOUR = { .shards = 4, .direct_base_port = 1000 };
    char want[512], hash[17], tag[17];
    uint8_t number[8];
    uint64_t len, h = hash_route(slice_cstr("key:7"));
    uint32_t shard = topology_shard(&FOUR, h);
    store_u64(number, h);
    snprintf(hash, sizeof hash, "%.16s", hex(number, 8));
    store_u64(number, h >> 56);
    snprintf(tag, sizeof tag, "%.16s", hex(number, 8));

    snprintf(want, sizeof want, "fa02010111000000%s050000006b65793a37", hash);
    check(strcmp(written(OP_GET, false, &FOUR, &len), want) == 0);
    snprintf(want, sizeof want, "fa0201071d000000%s%02x000000%s050000006b65793a37", hash, shard, tag);
    check(strcmp(written(OP_GET, true, &FOUR, &len), want) == 0);
    snprintf(want, sizeof want, "fa02020725000000%s%02x000000%s05000000040000006b65793a37", hash, shard, tag);
    check(strncmp(written(OP_SET, true, &FOUR, &len), want, strlen(want)) == 0);
    check_equal(len, 8 + 0x25);
    check(strcmp(written(OP_PING, false, &FOUR, &len), "fa02090000000000") == 0);
    check(strcmp(written(OP_MGET, false, &FOUR, &len), "fa020a001600000002000000050000006b65793a37050000006b65793a38") == 0);
    const char *mset = written(OP_MSET, false, &FOUR, &len);
    check(strncmp(mset,
                  "fa020b002600000002000000"
                  "05000000"
                  "04000000"
                  "6b65793a37",
                  2 * (12 + 8 + 5)) == 0);
    check_equal(len, 8 + 4 + 2 * (8 + 5 + 4));
}

// Shards of the specification's section 3.
static void keys_go_to_the_specified_shards(void)
{
    static const struct {
        const char *key;
        uint32_t shard[4];
    } CASES[] = { { "", { 1, 2, 8, 32 } }, { "a", { 0, 1, 6, 24 } }, { "alpha", { 0, 0, 3, 13 } }, { "user:42", { 1, 3, 14, 56 } } };
    static const uint32_t COUNTS[] = { 2, 4, 16, 64 };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++)
        for (size_t n = 0; n < 4; n++)
            check_equal(topology_shard(&(struct topology){ .shards = COUNTS[n] }, hash_route(slice_cstr(CASES[i].key))), CASES[i].shard[n]);
    check_equal(topology_shard(&(struct topology){ .shards = 1 }, UINT64_MAX), 0);
}

static void a_prefix_may_be_the_shard_alone(void)
{
    struct options o = options(OP_GET, true);
    struct request_source s;
    struct request r;
    uint8_t out[256];
    o.shard_prefix = true;
    check_equal(workload_init(&w, &o, false), 0);
    request_source_init(&s, &w, 1);
    s.in_order = true;
    s.next_key = 7;
    s.shard = 3;
    check_equal(workload_write(&s, out, &r), 21);
    check(strcmp(hex(out, 21), "fa0201020d00000003000000050000006b65793a37") == 0);
    workload_deinit(&w);
}

static void a_port_gets_the_keys_of_its_shard_and_all_of_them(void)
{
    static const struct topology EIGHT = { .shards = 8, .direct_base_port = 1000 };
    struct options o = options(OP_GET, true);
    uint64_t all = 0;
    uint8_t out[256];
    o.keys = 1000;
    check_equal(workload_init(&w, &o, false), 0);
    check_equal(workload_shard(&w, &EIGHT), 0);
    for (uint32_t shard = 0; shard < 8; shard++) {
        struct request_source s;
        struct request r;
        all += w.shards[shard].count;
        request_source_init(&s, &w, 1);
        s.shard = shard;
        for (int i = 0; i < 100; i++) {
            uint64_t len = workload_write(&s, out, &r);
            check_equal(topology_shard(&EIGHT, hash_route(slice_of(out + len - 5, 5))), shard);
            check_equal(load_u32(out + TEMPLATE_SHARD_AT), shard);
        }
    }
    check_equal(all, 1000);
    workload_deinit(&w);
    o.keys = 2; // two keys cannot give eight shards one each
    check_equal(workload_init(&w, &o, false), 0);
    check(workload_shard(&w, &EIGHT) < 0);
    workload_deinit(&w);
}

TESTS(TEST(frames_are_the_specifications), TEST(keys_go_to_the_specified_shards), TEST(a_prefix_may_be_the_shard_alone),
      TEST(a_port_gets_the_keys_of_its_shard_and_all_of_them))
