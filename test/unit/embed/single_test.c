// SPDX-License-Identifier: Apache-2.0
// libskerry's operations on single keys.
#include "test/unit/embed/host.h"

#define KEYS      400
#define VALUE_MAX 3000

static struct host host;

// What every key should hold.
struct expected {
    bool there;
    int64_t deadline_ms; // -1 = none
    size_t len;
    uint8_t fill;
};
static struct expected model[KEYS];

static size_t name(char *key, int i)
{
    // The empty key, short ones and long ones; session keys among them.
    if (i == 0)
        return 0;
    if (i % 50 == 1) {
        memset(key, 'k', 300);
        return 300 - (size_t)i / 50;
    }
    return (size_t)snprintf(key, 64, i % 3 == 0 ? "s:%d:c:%d" : "key:%d:%d", i / 7, i);
}

static bool alive(const struct expected *e)
{
    return e->there && (e->deadline_ms < 0 || e->deadline_ms > host.now_ms);
}

static bool holds(const uint8_t *bytes, const struct expected *e)
{
    for (size_t i = 0; i < e->len; i++) {
        if (bytes[i] != e->fill)
            return false;
    }
    return true;
}

static void random_set(struct skerry *s, const char *key, size_t key_len, struct expected *e)
{
    static uint8_t value[VALUE_MAX];
    struct expected next = { .there = true, .deadline_ms = -1, .fill = (uint8_t)prng_next(&host.prng) };
    next.len = prng_below(&host.prng, prng_below(&host.prng, 10) == 0 ? VALUE_MAX : 100);
    memset(value, next.fill, next.len);
    int64_t ttl = SKERRY_NO_TTL;
    switch (prng_below(&host.prng, 4)) {
    case 0:
        ttl = (int64_t)prng_below(&host.prng, 5000);
        next.deadline_ms = host.now_ms + ttl;
        break;
    case 1:
        ttl = SKERRY_KEEP_TTL;
        next.deadline_ms = alive(e) ? e->deadline_ms : -1;
        break;
    default:
        break;
    }
    check_equal(skerry_set(s, key, key_len, value, next.len, ttl), SKERRY_OK);
    *e = next;
}

static void random_expire(struct skerry *s, const char *key, size_t key_len, struct expected *e)
{
    int64_t ttl = (int64_t)prng_below(&host.prng, 4000);
    enum skerry_status want = alive(e) ? SKERRY_OK : SKERRY_NOT_FOUND;
    if (prng_below(&host.prng, 2) == 0)
        check_equal(skerry_expire(s, key, key_len, ttl), want);
    else
        check_equal(skerry_expire_at(s, key, key_len, host.now_ms + ttl), want);
    if (alive(e))
        e->deadline_ms = host.now_ms + ttl;
}

static void random_read(struct skerry *s, const char *key, size_t key_len, const struct expected *e)
{
    static uint8_t buffer[VALUE_MAX];
    size_t len = 12345;
    int64_t ttl = -5;
    check_equal(skerry_get(s, key, key_len, buffer, sizeof buffer, &len), alive(e) ? SKERRY_OK : SKERRY_NOT_FOUND);
    check_equal(skerry_exists(s, key, key_len), alive(e) ? SKERRY_OK : SKERRY_NOT_FOUND);
    check_equal(skerry_ttl(s, key, key_len, &ttl), alive(e) ? SKERRY_OK : SKERRY_NOT_FOUND);
    if (!alive(e))
        return;
    check_equal(len, e->len);
    check(holds(buffer, e));
    check_equal(ttl, e->deadline_ms < 0 ? SKERRY_NO_TTL : e->deadline_ms - host.now_ms);
    if (e->len > 0)
        check_equal(skerry_get(s, key, key_len, buffer, e->len - 1, &len), SKERRY_TOO_SMALL);
    check_equal(len, e->len);
}

static void random_swap(struct skerry *s, const char *key, size_t key_len, struct expected *e)
{
    static uint8_t now[VALUE_MAX];
    memset(now, e->fill, e->len);
    if (!alive(e)) {
        check_equal(skerry_cas(s, key, key_len, "x", 1, "y", 1), SKERRY_NOT_FOUND);
        check_equal(skerry_cas(s, key, key_len, NULL, 0, "yy", 2), SKERRY_OK);
        *e = (struct expected){ .there = true, .deadline_ms = -1, .len = 2, .fill = 'y' };
        return;
    }
    check_equal(skerry_cas(s, key, key_len, NULL, 0, "y", 1), SKERRY_MISMATCH);
    now[e->len] ^= 1;
    check_equal(skerry_cas(s, key, key_len, now, e->len + 1, "y", 1), SKERRY_MISMATCH);
    now[e->len] ^= 1;
    check_equal(skerry_cas(s, key, key_len, now, e->len, "zzz", 3), SKERRY_OK);
    e->len = 3;
    e->fill = 'z';
}

static void random_step(struct skerry *s)
{
    char key[320];
    int i = (int)prng_below(&host.prng, KEYS);
    size_t len = name(key, i);
    struct expected *e = &model[i];
    bool was_alive = alive(e);
    switch (prng_below(&host.prng, 10)) {
    case 0:
    case 1:
    case 2:
        random_set(s, key, len, e);
        return;
    case 3:
        check_equal(skerry_delete(s, key, len), was_alive ? SKERRY_OK : SKERRY_NOT_FOUND);
        e->there = false;
        return;
    case 4:
        random_expire(s, key, len, e);
        return;
    case 5:
        check_equal(skerry_persist(s, key, len), was_alive ? SKERRY_OK : SKERRY_NOT_FOUND);
        if (was_alive)
            e->deadline_ms = -1;
        return;
    case 6:
        random_swap(s, key, len, e);
        return;
    case 7:
        host.now_ms += (int64_t)prng_below(&host.prng, 30);
        check_equal(skerry_maintain(s, 20, NULL), SKERRY_OK);
        return;
    default:
        random_read(s, key, len, e);
    }
}

static void walk_the_model(struct skerry_options o, bool split, int steps)
{
    struct skerry *s = host_open(&o), *local = NULL;
    memset(model, 0, sizeof model);
    if (split)
        check_equal(skerry_split(s, 1, &local), SKERRY_OK);
    for (int i = 0; i < steps && test_failures == 0; i++)
        random_step(split ? local : s);
    check_equal(skerry_close(split ? local : s), SKERRY_OK);
}

static void random_operations_agree_with_a_plain_map(void)
{
    for (uint32_t shards = 1; shards <= 8; shards *= 8) {
        for (int variant = 0; variant < 8; variant++) {
            struct skerry_options o = host_options(&host, shards);
            o.route_mode = variant & 1 ? SKERRY_ROUTE_SESSION_PREFIX : SKERRY_ROUTE_FULL_KEY;
            o.hash = variant & 2 ? SKERRY_HASH_PUBLIC : SKERRY_HASH_KEYED;
            walk_the_model(o, (variant & 4) != 0, SKERRY_AUDIT ? 8000 : 30000);
        }
    }
}

static void incr_counts_in_64_bits_and_keeps_the_deadline(void)
{
    struct skerry_options o = host_options(&host, 4);
    struct skerry *s = host_open(&o);
    int64_t n = 0, ttl = 0;
    check_equal(skerry_incr(s, "n", 1, 5, &n), SKERRY_OK);
    check_equal(skerry_incr(s, "n", 1, -7, &n), SKERRY_OK);
    check_equal(n, -2);
    check(text_is(s, "n", "-2"));
    check_equal(skerry_expire(s, "n", 1, 1000), SKERRY_OK);
    check_equal(skerry_incr(s, "n", 1, 100, NULL), SKERRY_OK);
    check_equal(skerry_ttl(s, "n", 1, &ttl), SKERRY_OK);
    check_equal(ttl, 1000);
    check_equal(skerry_incr(s, "n", 1, INT64_MAX, &n), SKERRY_OVERFLOW);
    check(text_is(s, "n", "98"));
    check_equal(set_text(s, "n", " 1"), SKERRY_OK);
    check_equal(skerry_incr(s, "n", 1, 1, &n), SKERRY_NOT_INTEGER);
    check_equal(skerry_close(s), SKERRY_OK);
}

static void a_key_is_gone_from_its_deadline_on(void)
{
    struct skerry_options o = host_options(&host, 1);
    struct skerry *s = host_open(&o);
    size_t len;
    check_equal(skerry_set(s, "a", 1, "1", 1, 100), SKERRY_OK);
    check_equal(skerry_set(s, "b", 1, "1", 1, 0), SKERRY_OK);
    check_equal(skerry_exists(s, "b", 1), SKERRY_NOT_FOUND);
    host.now_ms += 99;
    check_equal(skerry_exists(s, "a", 1), SKERRY_OK);
    host.now_ms += 1;
    check_equal(skerry_get(s, "a", 1, NULL, 0, &len), SKERRY_NOT_FOUND);
    check_equal(skerry_delete(s, "a", 1), SKERRY_NOT_FOUND);
    check_equal(skerry_set(s, "a", 1, "1", 1, SKERRY_NO_TTL), SKERRY_OK);
    check_equal(skerry_expire_at(s, "a", 1, host.now_ms), SKERRY_OK);
    check_equal(skerry_exists(s, "a", 1), SKERRY_NOT_FOUND);
    check_equal(skerry_close(s), SKERRY_OK);
}

static void bad_arguments_are_named_and_change_nothing(void)
{
    struct skerry_options o = host_options(&host, 2);
    struct skerry *s = host_open(&o);
    int64_t ttl;
    check_equal(set_text(s, "a", "1"), SKERRY_OK);
    check_equal(skerry_set(s, "a", 1, "2", 1, -3), SKERRY_INVALID);
    check_equal(skerry_set(s, "a", 1, "2", 1, INT64_MAX), SKERRY_INVALID);
    check_equal(skerry_expire(s, "a", 1, -1), SKERRY_INVALID);
    check_equal(skerry_expire(s, "a", 1, INT64_MAX), SKERRY_INVALID);
    check_equal(skerry_set(s, "a", SKERRY_KEY_MAX + 1, "2", 1, SKERRY_NO_TTL), SKERRY_TOO_LONG);
    check_equal(skerry_set(s, "a", 1, "2", SKERRY_VALUE_MAX + 1, SKERRY_NO_TTL), SKERRY_TOO_LONG);
    check_equal(skerry_exists(s, "a", SIZE_MAX), SKERRY_TOO_LONG);
    check(text_is(s, "a", "1"));
    check_equal(skerry_ttl(s, "a", 1, &ttl), SKERRY_OK);
    check_equal(ttl, SKERRY_NO_TTL);
    check_equal(skerry_close(s), SKERRY_OK);
}

static void prepared_keys_answer_as_plain_ones(void)
{
    for (int session = 0; session < 2; session++) {
        struct skerry_options o = host_options(&host, 8);
        o.route_mode = session ? SKERRY_ROUTE_SESSION_PREFIX : SKERRY_ROUTE_FULL_KEY;
        struct skerry *s = host_open(&o);
        for (int i = 0; i < 1000; i++) {
            char key[64], buffer[8];
            size_t len, key_len = (size_t)snprintf(key, sizeof key, "s:%d:c:%d", i % 10, i);
            struct skerry_prepared p;
            check_equal(skerry_prepare(s, key, key_len, &p), SKERRY_OK);
            check_equal(skerry_set_prepared(s, &p, &i, sizeof i, SKERRY_NO_TTL), SKERRY_OK);
            check_equal(skerry_get(s, key, key_len, buffer, sizeof buffer, &len), SKERRY_OK);
            check(len == sizeof i && memcmp(buffer, &i, len) == 0);
            check_equal(skerry_get_prepared(s, &p, buffer, sizeof buffer, &len), SKERRY_OK);
            check_equal(skerry_delete_prepared(s, &p), SKERRY_OK);
            check_equal(skerry_get_prepared(s, &p, buffer, sizeof buffer, &len), SKERRY_NOT_FOUND);
        }
        check_equal(skerry_close(s), SKERRY_OK);
    }
}

static void routes_are_those_of_the_specification(void)
{
    static const struct {
        const char *key;
        uint32_t full[4], session[4]; // of 2, 4, 16, 64
    } VECTORS[] = {
        { "", { 1, 2, 8, 32 }, { 1, 2, 8, 32 } },      { "a", { 0, 1, 6, 24 }, { 0, 1, 6, 24 } },
        { "alpha", { 0, 0, 3, 13 }, { 0, 0, 3, 13 } }, { "user:42", { 1, 3, 14, 56 }, { 1, 3, 14, 56 } },
        { "s:42", { 0, 1, 6, 26 }, { 0, 1, 6, 26 } },  { "s:42:c:7", { 0, 0, 0, 3 }, { 0, 1, 6, 26 } },
    };
    static const uint32_t SHARDS[] = { 2, 4, 16, 64 };
    for (int n = 0; n < 4; n++) {
        for (int mode = 0; mode < 2; mode++) {
            struct skerry_options o = host_options(&host, SHARDS[n]);
            o.route_mode = mode ? SKERRY_ROUTE_SESSION_PREFIX : SKERRY_ROUTE_FULL_KEY;
            struct skerry *s = host_open(&o);
            check_equal(skerry_shards(s), SHARDS[n]);
            for (size_t i = 0; i < sizeof VECTORS / sizeof VECTORS[0]; i++) {
                const char *key = VECTORS[i].key;
                check_equal(skerry_route_key(s, key, strlen(key)), mode ? VECTORS[i].session[n] : VECTORS[i].full[n]);
            }
            check_equal(skerry_route_session(s, "s:42", 4), VECTORS[4].full[n]);
            check(skerry_owns(s, SHARDS[n] - 1) && !skerry_owns(s, SHARDS[n]));
            check_equal(skerry_close(s), SKERRY_OK);
        }
    }
}

TESTS(TEST(random_operations_agree_with_a_plain_map), TEST(incr_counts_in_64_bits_and_keeps_the_deadline),
      TEST(a_key_is_gone_from_its_deadline_on), TEST(bad_arguments_are_named_and_change_nothing), TEST(prepared_keys_answer_as_plain_ones),
      TEST(routes_are_those_of_the_specification))
