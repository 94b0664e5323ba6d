// SPDX-License-Identifier: Apache-2.0
// The owner's short GET beside skerry_get_prepared, which always goes the long way.
#include "test/unit/embed/host.h"

#define KEY_MAX   20
#define VALUE_MAX 700

static struct host host;

static struct skerry *open_local(enum skerry_hash hash)
{
    struct skerry_options o = host_options(&host, 1);
    o.hash = hash;
    struct skerry *s = host_open(&o), *local = NULL;
    check_equal(skerry_split(s, 1, &local), SKERRY_OK);
    return local;
}

static void make(uint8_t *bytes, size_t len, uint32_t seed)
{
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(seed * 31 + i * 7);
}

// Both ways find `want` of `len` bytes, and write nothing behind it; a byte less of room is too small.
static void expect(struct skerry *s, const uint8_t *key, size_t key_len, const uint8_t *want, size_t len)
{
    uint8_t got[VALUE_MAX + 1];
    size_t got_len = 0;
    struct skerry_prepared p;
    got[len] = 0xee;
    check_equal(skerry_get(s, key, key_len, got, len, &got_len), SKERRY_OK);
    check_equal(got_len, len);
    check(memcmp(got, want, len) == 0 && got[len] == 0xee);
    check_equal(skerry_prepare(s, key, key_len, &p), SKERRY_OK);
    check_equal(skerry_get_prepared(s, &p, got, len, &got_len), SKERRY_OK);
    check(got_len == len && memcmp(got, want, len) == 0);
    if (len == 0)
        return;
    check_equal(skerry_get(s, key, key_len, got, len - 1, &got_len), SKERRY_TOO_SMALL);
    check_equal(got_len, len);
}

static uint64_t hits(struct skerry *s)
{
    struct skerry_stats stats = { .size = sizeof stats };
    check_equal(skerry_stats(s, &stats), SKERRY_OK);
    return stats.hits;
}

static void every_length_of_key_and_value_is_copied_whole_and_nothing_behind_it(void)
{
    static const enum skerry_hash HASHES[] = { SKERRY_HASH_KEYED, SKERRY_HASH_PUBLIC };
    uint8_t key[KEY_MAX], value[VALUE_MAX];
    for (int h = 0; h < 2; h++) {
        struct skerry *s = open_local(HASHES[h]);
        for (size_t key_len = 1; key_len <= KEY_MAX; key_len++) {
            for (size_t len = 0; len <= VALUE_MAX && test_failures == 0; len += len < 300 ? 1 : 57) {
                make(key, key_len, (uint32_t)len);
                make(value, len, (uint32_t)(len + key_len));
                check_equal(skerry_set(s, key, key_len, value, len, SKERRY_NO_TTL), SKERRY_OK);
                expect(s, key, key_len, value, len);
            }
        }
        check_equal(skerry_close(s), SKERRY_OK);
    }
}

static void fill(struct skerry *s, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint64_t key[2] = { i, i * UINT64_C(0x9e3779b97f4a7c15) };
        check_equal(skerry_set(s, key, sizeof key, &i, sizeof i, SKERRY_NO_TTL), SKERRY_OK);
    }
}

// Full buckets and keys that share a tag: some keys are not where the short way looks, all are found and counted once.
static void keys_that_are_not_at_home_are_found_too(void)
{
    const uint32_t count = SKERRY_AUDIT ? 20000 : 200000;
    struct skerry *s = open_local(SKERRY_HASH_KEYED);
    fill(s, count);
    uint64_t before = hits(s);
    for (uint32_t i = 0; i < 2 * count && test_failures == 0; i++) {
        uint64_t key[2] = { i, i * UINT64_C(0x9e3779b97f4a7c15) };
        uint32_t got = 0;
        size_t len;
        check_equal(skerry_get(s, key, sizeof key, &got, sizeof got, &len), i < count ? SKERRY_OK : SKERRY_NOT_FOUND);
        check_equal(got, i < count ? i : 0);
    }
    check_equal(hits(s) - before, count);
    check_equal(skerry_close(s), SKERRY_OK);
}

// A key that is read all the time outlives thousands of others under LRU, though its reads were not noted before.
static void a_policy_that_comes_later_sees_reads(void)
{
    struct skerry *s = open_local(SKERRY_HASH_KEYED);
    uint64_t key[2] = { 1, 2 };
    uint8_t got[8];
    size_t len;
    check_equal(skerry_set(s, key, sizeof key, "12345678", 8, SKERRY_NO_TTL), SKERRY_OK);
    expect(s, (uint8_t *)key, sizeof key, (const uint8_t *)"12345678", 8);
    check_equal(skerry_set_policy(s, SKERRY_ALLKEYS_LRU), SKERRY_OK);
    check_equal(skerry_set(s, key, sizeof key, "12345678", 8, SKERRY_NO_TTL), SKERRY_OK);
    fill(s, 1000);
    for (int i = 0; i < 2000; i++) {
        host.now_ms += 1000;
        check_equal(skerry_get(s, key, sizeof key, got, sizeof got, &len), SKERRY_OK);
        uint64_t other[2] = { (uint64_t)i, 99 };
        check_equal(skerry_set_memory_max(s, 100000), SKERRY_OK);
        check_equal(skerry_set(s, other, sizeof other, "12345678", 8, SKERRY_NO_TTL), SKERRY_OK);
    }
    check_equal(skerry_set_policy(s, SKERRY_NOEVICTION), SKERRY_OK);
    expect(s, (uint8_t *)key, sizeof key, (const uint8_t *)"12345678", 8);
    check_equal(skerry_close(s), SKERRY_OK);
}

TESTS(TEST(every_length_of_key_and_value_is_copied_whole_and_nothing_behind_it), TEST(keys_that_are_not_at_home_are_found_too),
      TEST(a_policy_that_comes_later_sees_reads))
