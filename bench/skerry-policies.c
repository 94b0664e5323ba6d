// SPDX-License-Identifier: Apache-2.0
// Miss ratios of every eviction policy of the store, beside exact LRU, FIFO, S3-FIFO and Belady's bound, on traces drawn from a seed.
//
//   skerry-policies [requests a trace] [memory as a share of all objects' bytes, per cent] [seed]
//
// The store gets that much memory for everything (keys, values, index, deadlines, its policy's own), the exact policies as much for
// keys, values and index alone. All policies see the same requests; a miss is followed by a set. The first quarter warms up and is not
// counted. Clock: 50,000 requests a second.
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "bench/alone.h"
#include "bench/policies_exact.h"
#include "engine/store/store.h"
#include "reactor/memory.h"

#define NOW_MS          INT64_C(1750000000000)
#define REQUESTS_PER_MS 50
#define VALUE_LEN       100
#define VALUE_LEN_MAX   16384
#define HEADER          3 // of an entry
#define INDEX_SHARE     6

// Popularity

struct ranks {
    uint32_t count;
    double *sums; // of the first ranks' probabilities
};

static struct ranks ranks_new(uint32_t count, double exponent)
{
    struct ranks r = { .count = count, .sums = malloc(count * sizeof *r.sums) };
    double sum = 0;
    for (uint32_t i = 0; i < count; i++)
        r.sums[i] = sum += pow((double)i + 1, -exponent);
    return r;
}

static uint32_t ranks_draw(const struct ranks *r, struct prng *p)
{
    double at = prng_unit(p) * r->sums[r->count - 1];
    uint32_t low = 0, high = r->count - 1;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (r->sums[middle] < at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

// Traces

#define POPULAR 400000u

static struct trace trace_new(const char *name, const char *about, bool stationary, uint32_t length, uint32_t objects)
{
    struct trace t = { .name = name, .about = about, .stationary = stationary, .length = length, .objects = objects };
    t.ids = malloc((size_t)length * sizeof *t.ids);
    t.value_len = malloc((size_t)objects * sizeof *t.value_len);
    t.cost = malloc((size_t)objects * sizeof *t.cost);
    for (uint32_t id = 0; id < objects; id++)
        t.value_len[id] = VALUE_LEN;
    return t;
}

static void trace_free(struct trace *t)
{
    free(t->ids);
    free(t->value_len);
    free(t->cost);
}

static void set_costs(struct trace *t)
{
    for (uint32_t id = 0; id < t->objects; id++)
        t->cost[id] = HEADER + (t->value_len[id] > 255 ? 1u : 0u) + KEY_LEN + t->value_len[id] + INDEX_SHARE;
}

static struct trace zipf_trace(const char *name, double exponent, uint32_t length, struct prng *p)
{
    struct trace t = trace_new(name, "Zipf over 400,000 objects", true, length, POPULAR);
    struct ranks r = ranks_new(POPULAR, exponent);
    for (uint32_t i = 0; i < length; i++)
        t.ids[i] = ranks_draw(&r, p);
    free(r.sums);
    return t;
}

static struct trace one_hit_trace(uint32_t length, struct prng *p)
{
    struct trace t =
        trace_new("one-hit", "Zipf 0.99, every third request for an object that never comes again", true, length, POPULAR + length);
    struct ranks r = ranks_new(POPULAR, 0.99);
    for (uint32_t i = 0; i < length; i++)
        t.ids[i] = prng_below(p, 3) == 0 ? POPULAR + i : ranks_draw(&r, p);
    free(r.sums);
    return t;
}

static struct trace scan_trace(uint32_t length, struct prng *p)
{
    struct trace t = trace_new("scan", "Zipf 0.99; after every 100,000 requests a scan over the next 50,000 of 400,000 others", true,
                               length, 2 * POPULAR);
    struct ranks r = ranks_new(POPULAR, 0.99);
    uint32_t scanned = 0;
    for (uint32_t i = 0; i < length; i++)
        t.ids[i] = i % 150000 < 100000 ? ranks_draw(&r, p) : POPULAR + scanned++ % POPULAR;
    free(r.sums);
    return t;
}

static struct trace shifting_trace(uint32_t length, struct prng *p)
{
    struct trace t = trace_new("shifting", "Zipf 0.99; every 100,000 requests all ranks move by 2,000 objects", false, length, POPULAR);
    struct ranks r = ranks_new(POPULAR, 0.99);
    for (uint32_t i = 0; i < length; i++)
        t.ids[i] = (ranks_draw(&r, p) + i / 100000 * 2000) % POPULAR;
    free(r.sums);
    return t;
}

static struct trace mixed_trace(uint32_t length, struct prng *p)
{
    struct trace t = zipf_trace("sizes", 0.99, length, p);
    t.about = "Zipf 0.99, values of 16 bytes to 16 KiB, every size's logarithm as likely";
    t.sized = true;
    for (uint32_t id = 0; id < t.objects; id++)
        t.value_len[id] = (uint32_t)(16 * pow(VALUE_LEN_MAX / 16.0, prng_unit(p)));
    return t;
}

// The store

struct policy {
    const char *name;
    enum store_policy policy;
};

static const struct policy POLICIES[] = {
    { "allkeys-s3fifo", STORE_ALLKEYS_S3FIFO }, { "volatile-s3fifo", STORE_VOLATILE_S3FIFO }, { "allkeys-lru", STORE_ALLKEYS_LRU },
    { "volatile-lru", STORE_VOLATILE_LRU },     { "allkeys-lfu", STORE_ALLKEYS_LFU },         { "volatile-lfu", STORE_VOLATILE_LFU },
    { "allkeys-random", STORE_ALLKEYS_RANDOM }, { "volatile-random", STORE_VOLATILE_RANDOM }, { "volatile-ttl", STORE_VOLATILE_TTL },
};
#define POLICY_COUNT (sizeof POLICIES / sizeof POLICIES[0])

static double store_ratio(const struct policy *policy, const struct trace *t, uint64_t memory_max, uint32_t from)
{
    static uint8_t value[VALUE_LEN_MAX + 1];
    struct store_options o = { .workers = 1, .databases = 1, .memory = memory_system(-1, MEMORY_HUGE_OFF), .policy = policy->policy };
    o.memory_max = memory_max;
    o.secret = (struct hash_secret){ .k0 = 1, .k1 = 2 };
    route_init(&o.route, 1, ROUTE_FULL_KEY);
    struct store *s;
    if (store_new(&s, &o) != 0)
        exit(1);
    struct keyspace *ks = store_keyspace(s, 0, 0);
    bool dated = strncmp(policy->name, "volatile", 8) == 0;
    uint64_t misses = 0;
    for (uint32_t i = 0; i < t->length; i++) {
        uint8_t bytes[KEY_LEN];
        uint32_t id = t->ids[i];
        struct slice key = key_of(id, bytes);
        uint64_t hash = keyspace_hash(ks, key);
        int64_t now = NOW_MS + i / REQUESTS_PER_MS;
        if (i % 64 == 0)
            (void)store_maintain(s, now, 256);
        if (keyspace_find(ks, key, hash, now) != NULL)
            continue;
        misses += i >= from;
        (void)store_make_room(s, now);
        // The compiler of the whole program cannot know that lengths are in range.
        size_t len = t->value_len[id] < VALUE_LEN_MAX ? t->value_len[id] : VALUE_LEN_MAX;
        (void)keyspace_set(ks, key, hash, ENTRY_STRING, slice_of(value, len), dated ? now + 3600000 : ENTRY_NO_DEADLINE, now);
    }
    store_free(s);
    return (double)misses / (double)(t->length - from);
}

struct row {
    double exact[4];
    double store[POLICY_COUNT];
};

static struct row run(struct trace *t, uint64_t percent)
{
    struct row row = { 0 };
    uint64_t all = 0;
    uint32_t from = t->length / 4;
    set_costs(t);
    // The one-hit objects would make memory large for no reason: the share is of those that come again.
    for (uint32_t id = 0; id < t->objects && id < POPULAR; id++)
        all += t->cost[id];
    uint64_t capacity = all * percent / 100;
    for (int e = EXACT_LRU; e <= EXACT_BELADY; e++)
        if (e != EXACT_BELADY || !t->sized)
            row.exact[e] = (double)exact_misses((enum exact)e, t, capacity, from) / (double)(t->length - from);
    for (size_t i = 0; i < POLICY_COUNT; i++)
        row.store[i] = store_ratio(&POLICIES[i], t, capacity, from);
    return row;
}

static void print_row(const struct trace *t, const struct row *row)
{
    printf("| %s |", t->name);
    for (int e = 0; e < 3; e++)
        printf(" %.2f |", 100 * row->exact[e]);
    if (t->sized)
        printf(" |");
    else
        printf(" %.2f |", 100 * row->exact[EXACT_BELADY]);
    for (size_t i = 0; i < POLICY_COUNT; i++)
        printf(" %.2f |", 100 * row->store[i]);
    // store[0] = S3-FIFO, store[2] = sampled LRU
    printf(" %s | %+.2f |\n",
           row->store[0] < row->store[2] ? "yes"
           : t->stationary               ? "**no**"
                                         : "no",
           100 * (row->store[0] - row->exact[EXACT_S3FIFO]));
    fflush(stdout);
}

int main(int argc, char **argv)
{
    uint32_t length = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 4000000;
    uint64_t percent = argc > 2 ? strtoul(argv[2], NULL, 10) : 10;
    uint64_t seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
    if (length < 100000 || percent < 1 || percent > 100) {
        fprintf(stderr, "skerry-policies [requests >= 100000] [memory, 1 to 100 per cent] [seed]\n");
        return 1;
    }
    printf("Miss ratio in per cent, %u requests, memory %llu %% of the objects that come again\n\n", length, (unsigned long long)percent);
    printf("| trace | exact LRU | exact FIFO | exact S3-FIFO | Belady |");
    for (size_t i = 0; i < POLICY_COUNT; i++)
        printf(" %s |", POLICIES[i].name);
    printf(" beats sampled LRU | from exact S3-FIFO |\n|---|");
    for (size_t i = 0; i < POLICY_COUNT + 6; i++)
        printf("---:|");
    printf("\n");
    for (int i = 0; i < 7; i++) {
        struct prng p;
        prng_init(&p, seed);
        struct trace t = i == 0   ? zipf_trace("zipf 0.7", 0.7, length, &p)
                         : i == 1 ? zipf_trace("zipf 0.99", 0.99, length, &p)
                         : i == 2 ? zipf_trace("zipf 1.2", 1.2, length, &p)
                         : i == 3 ? one_hit_trace(length, &p)
                         : i == 4 ? scan_trace(length, &p)
                         : i == 5 ? shifting_trace(length, &p)
                                  : mixed_trace(length, &p);
        struct row row = run(&t, percent);
        print_row(&t, &row);
        trace_free(&t);
    }
    return 0;
}
