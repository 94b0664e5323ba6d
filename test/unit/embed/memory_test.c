// SPDX-License-Identifier: Apache-2.0
// libskerry when memory is short: each allocation fails once, the arena is full, limits are reached, keys and values are as large
// as they may be. The linker sends malloc and its relatives here (--wrap).
#include <sys/mman.h>

#include "test/unit/embed/host.h"
#include "test/unit/store/pages.h"

static struct host host;

// Allocations until one fails; negative = none does.
static int64_t fail_in = -1;
static bool fail_on; // and all behind it
static int64_t allocations;

static bool fails(void)
{
    allocations++;
    if (fail_in < 0)
        return false;
    if (fail_in > 0) {
        fail_in--;
        return false;
    }
    if (!fail_on)
        fail_in = -1;
    return true;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_aligned_alloc(size_t align, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_aligned_alloc(size_t align, size_t size)
{
    return fails() ? NULL : __real_aligned_alloc(align, size);
}

// The host's pages

static struct pages pages;

static void *give_pages(void *context, size_t size, size_t align)
{
    return size > pages.range_max || fails() ? NULL : pages.memory.reserve(&pages.memory, size, align);
}

static void *resize_pages(void *context, void *area, size_t old_size, size_t new_size)
{
    return fails() ? NULL : pages.memory.resize(&pages.memory, area, old_size, new_size);
}

static void take_pages(void *context, void *area, size_t size)
{
    pages.memory.release(&pages.memory, area, size);
}

static void discard_pages(void *context, void *area, size_t size)
{
    pages.memory.discard(&pages.memory, area, size);
}

static const struct skerry_memory MEMORY = {
    .size = sizeof MEMORY, .reserve = give_pages, .release = take_pages, .resize = resize_pages, .discard = discard_pages
};

static struct skerry_options with_pages(uint32_t shards, size_t range_max)
{
    struct skerry_options o = host_options(&host, shards);
    pages_init(&pages);
    pages.range_max = range_max;
    o.memory = &MEMORY;
    return o;
}

static char large[200000];

static bool done_or_no_memory(enum skerry_status status)
{
    check(status == SKERRY_OK || status == SKERRY_NO_MEMORY);
    return status == SKERRY_OK;
}

// A set that fails leaves the value that was there.
static void set_or_not(struct skerry *s, struct skerry_slice key, size_t *now, size_t len)
{
    size_t have = 0;
    if (done_or_no_memory(skerry_set(s, key.data, key.len, large, len, SKERRY_KEEP_TTL)))
        *now = len;
    enum skerry_status status = skerry_get(s, key.data, key.len, NULL, 0, &have);
    if (*now == SIZE_MAX) {
        check_equal(status, SKERRY_NOT_FOUND);
        return;
    }
    check(status == SKERRY_OK || status == SKERRY_TOO_SMALL);
    check_equal(have, *now);
}

static void use_views(struct skerry *s)
{
    struct skerry_view views[4];
    bool taken[4];
    for (int i = 0; i < 4; i++)
        taken[i] = done_or_no_memory(skerry_get_view(s, "n", 1, &views[i]));
    for (int i = 0; i < 4; i++)
        check(!taken[i] || skerry_release(s, &views[i]) == SKERRY_OK);
}

static void use_points(struct skerry *s)
{
    static char long_key[40000];
    struct skerry_slice keys[3] = { { "", 0 }, { "key", 3 }, { long_key, sizeof long_key } };
    static const size_t SIZES[] = { 10, 200, 90000, 70000, 150000, 64, 5000, 0, 66000 };
    for (int k = 0; k < 3; k++) {
        size_t now = SIZE_MAX;
        for (size_t i = 0; i < sizeof SIZES / sizeof SIZES[0]; i++)
            set_or_not(s, keys[k], &now, SIZES[i]);
        if (now == SIZE_MAX)
            continue;
        (void)done_or_no_memory(skerry_expire(s, keys[k].data, keys[k].len, 5000));
        (void)done_or_no_memory(skerry_persist(s, keys[k].data, keys[k].len));
    }
    int64_t n = 0;
    if (done_or_no_memory(skerry_incr(s, "n", 1, 41, &n))) {
        bool added = done_or_no_memory(skerry_incr(s, "n", 1, 1, &n));
        check_equal(n, added ? 42 : 41);
        use_views(s);
        if (added)
            (void)done_or_no_memory(skerry_cas(s, "n", 1, "42", 2, large, 3000));
    }
}

static void use_many(struct skerry *s)
{
    static struct skerry_op ops[500];
    static int names[500];
    for (int i = 0; i < 500; i++) {
        names[i] = i;
        ops[i] =
            (struct skerry_op){ .kind = SKERRY_OP_SET, .key = { &names[i], sizeof names[i] }, .value = { large, 50 }, .number = 60000 };
    }
    size_t set = skerry_batch(s, ops, 500);
    for (int i = 0; i < 500; i++)
        set -= done_or_no_memory(ops[i].status);
    check_equal(set, 0);
    struct skerry_chunk chunks[3] = { { { "a", 1 }, { large, 10 } }, { { "b", 1 }, { large, 80000 } }, { { "c", 1 }, { large, 0 } } };
    size_t before = done_or_no_memory(skerry_session_put(s, "s", 1, chunks, 1, SKERRY_NO_TTL)) ? 1 : 0, count = 0;
    size_t after = done_or_no_memory(skerry_session_put(s, "s", 1, chunks, 3, 1000)) ? 3 : before;
    check_equal(skerry_session_count(s, "s", 1, &count), after > 0 ? SKERRY_OK : SKERRY_NOT_FOUND);
    check_equal(count, after);
    struct skerry_keys *keys;
    if (done_or_no_memory(skerry_keys_new(s, &keys)))
        skerry_keys_free(keys);
    host.now_ms += 100000;
    for (int i = 0; i < 50; i++)
        check_equal(skerry_maintain(s, 1000, NULL), SKERRY_OK);
}

static void use_everything(void)
{
    struct skerry_options o = with_pages(2, (size_t)64 << 20);
    struct skerry *s, *locals[2];
    if (!done_or_no_memory(skerry_open(&s, &o)))
        return;
    use_points(s);
    use_many(s);
    check_equal(skerry_clear(s), SKERRY_OK);
    if (done_or_no_memory(skerry_split(s, 2, locals))) {
        check_equal(skerry_close(locals[0]), SKERRY_OK);
        s = locals[1];
    }
    check_equal(skerry_close(s), SKERRY_OK);
}

static void every_allocation_may_fail_and_nothing_is_lost(void)
{
    fail_in = -1;
    allocations = 0;
    use_everything();
    int64_t all = allocations;
    check(all >= 40);
    for (int on = 0; on < 2; on++) {
        fail_on = on;
        for (int64_t i = 0; i < all && test_failures == 0; i++) {
            fail_in = i;
            use_everything();
            if (pages.held != 0 || test_failures > 0) {
                check_equal(pages.held, 0);
                printf("allocation %d of %d fails%s\n", (int)i, (int)all, on ? ", and all after it" : "");
            }
        }
    }
    fail_in = -1;
    printf("%d allocations\n", (int)all);
}

static void a_full_arena_says_so_and_recovers(void)
{
    struct skerry_options o = with_pages(4, (size_t)2 << 20);
    struct skerry *s = host_open(&o);
    int stored = 0, refused = 0;
    for (int i = 0; i < 20000; i++) {
        enum skerry_status status = skerry_set(s, &i, sizeof i, large, 1000, SKERRY_NO_TTL);
        check(status == SKERRY_OK || status == SKERRY_NO_MEMORY);
        stored += status == SKERRY_OK;
        refused += status != SKERRY_OK;
    }
    check(stored > 4000 && refused > 4000);
    size_t len;
    int found = 0, deleted = 0;
    for (int i = 0; i < 20000; i++)
        found += skerry_get(s, &i, sizeof i, NULL, 0, &len) == SKERRY_TOO_SMALL && len == 1000;
    check_equal(found, stored);
    for (int i = 0; i < 20000; i += 2)
        deleted += skerry_delete(s, &i, sizeof i) == SKERRY_OK;
    for (int i = 0, again = 0; i < 20000 && again < deleted / 2; i += 2, again++)
        check_equal(skerry_set(s, &i, sizeof i, large, 1000, SKERRY_NO_TTL), SKERRY_OK);
    check_equal(skerry_close(s), SKERRY_OK);
    check_equal(pages.held, 0);
}

static void without_eviction_a_full_store_refuses_writes(void)
{
    struct skerry_options o = host_options(&host, 2);
    o.memory_max = 1 << 20;
    struct skerry *s = host_open(&o);
    struct skerry_stats stats = { .size = sizeof stats };
    int stored = 0;
    for (int i = 0; i < 10000; i++) {
        enum skerry_status status = skerry_set(s, &i, sizeof i, large, 500, SKERRY_NO_TTL);
        check(status == SKERRY_OK || status == SKERRY_FULL);
        stored += status == SKERRY_OK;
    }
    check_equal(skerry_stats(s, &stats), SKERRY_OK);
    check_equal(stats.keys, stored);
    check(stored > 1000 && stats.memory_used < (1 << 20) + 4096);
    check_equal(skerry_set_memory_max(s, 0), SKERRY_OK);
    check_equal(set_text(s, "now", "it fits"), SKERRY_OK);
    check_equal(skerry_close(s), SKERRY_OK);
}

static void with_eviction_a_full_store_stays_below_its_limit(void)
{
    static const enum skerry_policy POLICIES[] = { SKERRY_ALLKEYS_LRU, SKERRY_ALLKEYS_LFU, SKERRY_ALLKEYS_RANDOM, SKERRY_ALLKEYS_S3FIFO };
    for (int p = 0; p < 4; p++) {
        struct skerry_options o = host_options(&host, 2);
        o.memory_max = 1 << 20;
        struct skerry *s = host_open(&o);
        struct skerry_stats stats = { .size = sizeof stats };
        check_equal(skerry_set_policy(s, POLICIES[p]), SKERRY_OK);
        check_equal(skerry_set_policy(s, (enum skerry_policy)1000), SKERRY_INVALID);
        for (int i = 0; i < 10000; i++) {
            host.now_ms++;
            check_equal(skerry_set(s, &i, sizeof i, large, 500, SKERRY_NO_TTL), SKERRY_OK);
        }
        check_equal(skerry_stats(s, &stats), SKERRY_OK);
        check(stats.memory_used < (1 << 20) + 4096 && stats.evicted > 5000 && stats.keys + stats.evicted == 10000);
        check_equal(skerry_close(s), SKERRY_OK);
    }
}

// Pages that nobody writes cost nothing: the largest key and value are made of them. (Audits and sanitizers make do with less.)
static void keys_and_values_may_be_as_large_as_promised(void)
{
    size_t most = SKERRY_AUDIT ? (size_t)8 << 20 : SKERRY_KEY_MAX;
    size_t lengths[] = { 0, 1, 2, 255, 256, 32768, 32769, 65535, 65536, 1 << 20, most };
    char *bytes = mmap(NULL, most, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    check(bytes != MAP_FAILED);
    struct skerry_options o = host_options(&host, 2);
    o.hash = SKERRY_HASH_PUBLIC;
    struct skerry *s = host_open(&o);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        size_t len = 0, n = lengths[i];
        check_equal(skerry_set(s, bytes, n, "v", 1, SKERRY_NO_TTL), SKERRY_OK);
        check_equal(skerry_get(s, bytes, n, NULL, 0, &len), SKERRY_TOO_SMALL);
        check_equal(len, 1);
        check_equal(skerry_delete(s, bytes, n), SKERRY_OK);
        check_equal(skerry_set(s, "k", 1, bytes, n, SKERRY_NO_TTL), SKERRY_OK);
        check_equal(skerry_get(s, "k", 1, NULL, 0, &len), n == 0 ? SKERRY_OK : SKERRY_TOO_SMALL);
        check_equal(len, n);
        check_equal(skerry_delete(s, "k", 1), SKERRY_OK);
    }
    munmap(bytes, most);
    check_equal(skerry_close(s), SKERRY_OK);
}

static void a_host_needs_to_give_and_take_pages_only(void)
{
    struct skerry_memory little = { .size = sizeof little, .reserve = give_pages, .release = take_pages };
    struct skerry_options o = with_pages(1, (size_t)64 << 20);
    o.memory = &little;
    struct skerry *s = host_open(&o);
    for (size_t len = 1; len < sizeof large; len = len * 5 / 4 + 1) {
        check_equal(skerry_set(s, "k", 1, large, len, SKERRY_NO_TTL), SKERRY_OK);
        for (int i = 0; i < 3000; i++)
            check_equal(skerry_set(s, &i, sizeof i, large, len % 2000, SKERRY_NO_TTL), SKERRY_OK);
        check_equal(skerry_clear(s), SKERRY_OK);
        bool more = true;
        while (more)
            check_equal(skerry_maintain(s, 1000, &more), SKERRY_OK);
    }
    check_equal(skerry_close(s), SKERRY_OK);
    check_equal(pages.held, 0);
}

TESTS(TEST(every_allocation_may_fail_and_nothing_is_lost), TEST(a_full_arena_says_so_and_recovers),
      TEST(without_eviction_a_full_store_refuses_writes), TEST(with_eviction_a_full_store_stays_below_its_limit),
      TEST(keys_and_values_may_be_as_large_as_promised), TEST(a_host_needs_to_give_and_take_pages_only))
