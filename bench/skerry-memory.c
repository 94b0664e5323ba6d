// SPDX-License-Identifier: Apache-2.0
// The store alone, one thread: bytes per item beyond key and value while it grows, pauses, fragmentation after deletes and
// refill, lookups one by one and in batches.
//
//   skerry-memory [items] [value length] [ttl: 0 or 1] [policy: 0 = noeviction ...]
//   skerry-memory --size items, value length, none|ttl|cache: one line (bench/sizes.py); `cache` is S3-FIFO with room for half of the items
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/prng.h"
#include "bench/histogram.h"
#include "engine/store/store.h"

#define KEY_LEN 16
#define NOW_MS  INT64_C(1750000000000)
#define BATCH   16

struct bench {
    struct store *store;
    struct keyspace *ks;
    uint64_t items;
    size_t value_len;
    bool ttl;
    uint8_t *value;
    uint64_t rss_before;
    struct histogram pauses;
};

// Time of this thread on a processor: what others on the machine take is not ours.
static uint64_t clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t rss(void)
{
    char text[128] = { 0 };
    int fd = open("/proc/self/statm", O_RDONLY);
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    unsigned long long size = 0, resident = 0;
    if (n <= 0 || sscanf(text, "%llu %llu", &size, &resident) != 2)
        return 0;
    return resident * 4096;
}

static void *reserve(struct memory *m, size_t size, size_t align)
{
    uint8_t *area = mmap(NULL, size + align, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (area == MAP_FAILED)
        return NULL;
    uint8_t *begin = area + (align - (uintptr_t)area % align) % align;
    if (begin > area)
        munmap(area, (size_t)(begin - area));
    munmap(begin + size, (size_t)(area + align - begin));
    if (align >= (2u << 20))
        madvise(begin, size, MADV_HUGEPAGE);
    return begin;
}

static void *resize(struct memory *m, void *area, size_t old_size, size_t new_size)
{
    void *moved = mremap(area, old_size, new_size, MREMAP_MAYMOVE);
    return moved == MAP_FAILED ? NULL : moved;
}

static void discard(struct memory *m, void *area, size_t size)
{
    madvise(area, size, MADV_DONTNEED);
}

static void release(struct memory *m, void *area, size_t size)
{
    munmap(area, size);
}

static struct memory memory = { .reserve = reserve, .resize = resize, .discard = discard, .release = release };

static struct slice key_of(uint64_t id, uint8_t *bytes)
{
    static const char DIGITS[] = "0123456789abcdef";
    for (int i = 0; i < KEY_LEN; i++)
        bytes[i] = (uint8_t)DIGITS[id >> (60 - 4 * i) & 15];
    return slice_of(bytes, KEY_LEN);
}

static void set(struct bench *b, uint64_t id)
{
    uint8_t bytes[KEY_LEN];
    struct slice key = key_of(id, bytes);
    uint64_t begin = clock_ns();
    int64_t deadline = b->ttl ? NOW_MS + 3600000 + (int64_t)(id % 3600000) : ENTRY_NO_DEADLINE;
    struct entry *e = keyspace_set(b->ks, key, keyspace_hash(b->ks, key), ENTRY_STRING, slice_of(b->value, b->value_len), deadline, NOW_MS);
    histogram_record(&b->pauses, clock_ns() - begin, 1);
    if (e == NULL) {
        printf("out of memory at %llu\n", (unsigned long long)id);
        exit(1);
    }
}

static void report_pauses(struct bench *b, const char *what)
{
    printf("%-28s mean %6.0f ns  p99 %6.2f  p99.99 %7.2f  max %8.1f us\n", what, histogram_mean(&b->pauses),
           (double)histogram_percentile(&b->pauses, 99) / 1e3, (double)histogram_percentile(&b->pauses, 99.99) / 1e3,
           (double)b->pauses.max / 1e3);
    histogram_init(&b->pauses);
}

static double beyond(const struct bench *b, uint64_t bytes, uint64_t items)
{
    return (double)bytes / (double)items - (double)(KEY_LEN + b->value_len);
}

static void report_memory(struct bench *b, const char *what, uint64_t items)
{
    struct store_memory m = store_memory(b->store);
    printf("%-28s rss %6.2f B/item beyond; slots %5.2f index %5.2f deadlines %5.2f free %5.2f; rss/reserved %.3f rss/used %.3f\n", what,
           beyond(b, rss() - b->rss_before, items), beyond(b, m.entries, items), (double)m.index / (double)items,
           (double)m.deadlines / (double)items, (double)m.free_slots / (double)items, (double)(rss() - b->rss_before) / (double)m.reserved,
           (double)(rss() - b->rss_before) / (double)store_memory_used(b->store));
}

static void grow(struct bench *b)
{
    double worst = 0;
    uint64_t worst_at = 0, begin = clock_ns();
    for (uint64_t id = 0; id < b->items; id++) {
        set(b, id);
        if (id >= b->items / 10 && id % (b->items / 500 + 1) == 0) {
            double now = beyond(b, rss() - b->rss_before, id + 1);
            worst_at = now > worst ? id : worst_at;
            worst = now > worst ? now : worst;
        }
    }
    printf("%-28s %6.1f ns, two clock readings included\n", "insert", (double)(clock_ns() - begin) / (double)b->items);
    report_pauses(b, "insert");
    report_memory(b, "after growth", b->items);
    printf("%-28s rss %6.2f B/item beyond, at %llu items\n", "worst point (from 10 %)", worst, (unsigned long long)worst_at);
}

static void lookup_single(struct bench *b, uint64_t count, uint64_t miss)
{
    struct prng prng;
    prng_init(&prng, 7);
    uint64_t found = 0, begin = clock_ns();
    for (uint64_t i = 0; i < count; i++) {
        uint8_t bytes[KEY_LEN];
        struct slice key = key_of(prng_next(&prng) % b->items + miss, bytes);
        struct entry *e = keyspace_find(b->ks, key, keyspace_hash(b->ks, key), NOW_MS);
        found += e != NULL ? entry_value(e).data[0] == b->value[0] : 0;
    }
    printf("%-28s %6.1f ns, %.0f %% found\n", miss ? "lookup single, absent" : "lookup single",
           (double)(clock_ns() - begin) / (double)count, 100.0 * (double)found / (double)count);
}

static void lookup_batch(struct bench *b, uint64_t count)
{
    struct prng prng;
    prng_init(&prng, 9);
    uint64_t found = 0, begin = clock_ns();
    for (uint64_t i = 0; i < count; i += BATCH) {
        uint8_t bytes[BATCH][KEY_LEN];
        struct slice keys[BATCH];
        uint64_t hashes[BATCH];
        for (int k = 0; k < BATCH; k++) {
            keys[k] = key_of(prng_next(&prng) % b->items, bytes[k]);
            hashes[k] = keyspace_hash(b->ks, keys[k]);
            keyspace_prefetch(b->ks, hashes[k]);
        }
        bool displaced[BATCH];
        for (int k = 0; k < BATCH; k++)
            displaced[k] = keyspace_prefetch_entry(b->ks, hashes[k]);
        for (int k = 0; k < BATCH; k++)
            if (displaced[k])
                keyspace_prefetch_displaced(b->ks, hashes[k]);
        for (int k = 0; k < BATCH; k++) {
            struct entry *e = keyspace_find(b->ks, keys[k], hashes[k], NOW_MS);
            found += e != NULL ? entry_value(e).data[0] == b->value[0] : 0;
        }
    }
    printf("%-28s %6.1f ns, %.0f %% found\n", "lookup batch of 16", (double)(clock_ns() - begin) / (double)count,
           100.0 * (double)found / (double)count);
}

static void overwrite(struct bench *b, uint64_t count)
{
    struct prng prng;
    prng_init(&prng, 11);
    for (uint64_t i = 0; i < count; i++)
        set(b, prng_next(&prng) % b->items);
    report_pauses(b, "overwrite");
}

static void maintain(struct bench *b, int64_t now_ms, const char *what)
{
    for (bool more = true; more;) {
        uint64_t begin = clock_ns();
        more = store_maintain(b->store, now_ms, 256);
        histogram_record(&b->pauses, clock_ns() - begin, 1);
    }
    report_pauses(b, what);
}

// Half of all keys go at random; as many new ones come, with values of another length.
static void churn(struct bench *b, size_t new_len)
{
    struct prng prng;
    prng_init(&prng, 13);
    uint64_t deleted = 0;
    for (uint64_t id = 0; id < b->items; id++) {
        uint8_t bytes[KEY_LEN];
        struct slice key = key_of(id, bytes);
        if (prng_next(&prng) % 2 == 0)
            deleted += keyspace_delete(b->ks, key, keyspace_hash(b->ks, key), NOW_MS);
    }
    maintain(b, NOW_MS, "maintain after deletes");
    report_memory(b, "half deleted", b->items - deleted);
    size_t old_len = b->value_len;
    b->value_len = new_len;
    for (uint64_t i = 0; i < deleted; i++) {
        set(b, b->items * 2 + i);
        if (i % 64 == 0)
            (void)store_maintain(b->store, NOW_MS, 64);
    }
    char what[64];
    snprintf(what, sizeof what, "refilled with %zu bytes", new_len);
    report_pauses(b, what);
    maintain(b, NOW_MS, "maintain after refill");
    struct store_memory m = store_memory(b->store);
    printf("%-28s fragmentation %.1f %% (rss over bytes in use)\n", what,
           100.0 * ((double)(rss() - b->rss_before) / (double)(m.entries + m.index + m.deadlines + m.blobs) - 1));
    b->value_len = old_len;
}

// One line: items held, bytes an item beyond key and value that are resident, and that are counted against maxmemory.
static int run_size(struct bench *b, const char *mode)
{
    bool cache = strcmp(mode, "cache") == 0;
    struct store_options o = { .workers = 1, .databases = 1, .memory = &memory, .secret = { .k0 = 1, .k1 = 2 } };
    o.policy = cache ? STORE_ALLKEYS_S3FIFO : STORE_NOEVICTION;
    o.memory_max = cache ? b->items * (KEY_LEN + b->value_len) / 2 : 0;
    b->ttl = strcmp(mode, "ttl") == 0;
    route_init(&o.route, 1, ROUTE_FULL_KEY);
    if (store_new(&b->store, &o) != 0)
        return 1;
    b->ks = store_keyspace(b->store, 0, 0);
    b->rss_before = rss();
    for (uint64_t id = 0; id < b->items; id++) {
        (void)store_make_room(b->store, NOW_MS);
        set(b, id);
        if (id % 16 == 0)
            (void)store_maintain(b->store, NOW_MS, 80);
    }
    uint64_t held = keyspace_count(b->ks);
    printf("%llu %.2f %.2f\n", (unsigned long long)held, beyond(b, rss() - b->rss_before, held),
           beyond(b, store_memory_used(b->store), held));
    store_free(b->store);
    return 0;
}

int main(int argc, char **argv)
{
    static struct bench b;
    bool size = argc == 5 && strcmp(argv[1], "--size") == 0;
    if (size) {
        argv++;
        argc--;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    b.items = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
    b.value_len = argc > 2 ? strtoul(argv[2], NULL, 10) : 64;
    b.ttl = argc > 3 && atoi(argv[3]) != 0;
    if (b.items < 1000 && !size)
        b.items = 1000;
    b.value = malloc(b.value_len * 2 + 1);
    memset(b.value, 'v', b.value_len * 2 + 1);
    histogram_init(&b.pauses);
    if (size)
        return run_size(&b, argv[3]);
    b.rss_before = rss();
    struct store_options o = { .workers = 1, .databases = 16, .memory = &memory, .secret = { .k0 = 1, .k1 = 2 } };
    o.policy = argc > 4 ? (enum store_policy)atoi(argv[4]) : STORE_NOEVICTION;
    route_init(&o.route, 1, ROUTE_FULL_KEY);
    if (store_new(&b.store, &o) != 0)
        return 1;
    b.ks = store_keyspace(b.store, 0, 0);
    grow(&b);
    lookup_single(&b, 2000000, 0);
    lookup_single(&b, 2000000, b.items);
    lookup_batch(&b, 2000000);
    overwrite(&b, 2000000);
    churn(&b, b.value_len + b.value_len / 2);
    if (b.ttl)
        maintain(&b, NOW_MS + 4 * 3600000, "expiry burst");
    keyspace_clear(b.ks);
    maintain(&b, NOW_MS, "clear");
    printf("%-28s rss %.1f MiB above the start\n", "after clear", (double)(rss() - b.rss_before) / 1048576.0);
    store_free(b.store);
    free(b.value);
    return 0;
}
