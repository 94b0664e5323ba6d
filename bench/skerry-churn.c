// SPDX-License-Identifier: Apache-2.0
// What the store holds beyond what is in use, where values of many sizes come and go.
//
//   skerry-churn mix MIB LEAST MOST       loads MIB of values of LEAST to MOST bytes, deletes half at random, fills up again
//   skerry-churn limit MIB POLICY [SEED]  writes under a memory limit of MIB, in phases with sizes of their own; POLICY is a number
//                                         (enum store_policy; 0 = noeviction, where a refused write deletes some keys)
//
// One thread does what a worker does: a slice of maintenance after every 16 operations. `resident` is what the process has grown by.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/prng.h"
#include "bench/alone.h"
#include "bench/histogram.h"
#include "engine/store/store.h"
#include "reactor/memory.h"

#define NOW_MS          INT64_C(1750000000000)
#define OPS_PER_SLICE   16
#define MAINTAIN_BUDGET (64 + OPS_PER_SLICE)
#define VALUE_MAX       ((size_t)1 << 20)
#define KEYS_MAX        4000000u
#define MIB             1048576.0

struct bench {
    struct store *store;
    struct keyspace *ks;
    struct prng prng;
    uint64_t ops;
    uint64_t resident_before;
    struct histogram writes; // ns of CPU time, the room that was made for them included
    uint8_t value[VALUE_MAX];
};

static uint64_t grown(const struct bench *b)
{
    uint64_t now = resident_bytes();
    return now > b->resident_before ? now - b->resident_before : 0;
}

static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static bool open_store(struct bench *b, uint64_t memory_max, enum store_policy policy)
{
    b->resident_before = resident_bytes();
    struct store_options o = { .workers = 1, .databases = 1, .memory = memory_system(-1, MEMORY_HUGE_THP), .policy = policy };
    o.memory_max = memory_max;
    o.secret = (struct hash_secret){ .k0 = 1, .k1 = 2 };
    route_init(&o.route, 1, ROUTE_FULL_KEY);
    if (store_new(&b->store, &o) != 0)
        return false;
    b->ks = store_keyspace(b->store, 0, 0);
    return true;
}

static void tend(struct bench *b)
{
    if (++b->ops % OPS_PER_SLICE == 0)
        (void)store_maintain(b->store, NOW_MS, MAINTAIN_BUDGET);
}

static void settle(struct bench *b)
{
    while (store_maintain(b->store, NOW_MS, 256))
        continue;
}

static void set(struct bench *b, uint64_t id, size_t len)
{
    uint8_t bytes[KEY_LEN];
    struct slice key = key_of(id, bytes);
    if (keyspace_set(b->ks, key, keyspace_hash(b->ks, key), ENTRY_STRING, slice_of(b->value, len), ENTRY_NO_DEADLINE, NOW_MS) == NULL) {
        printf("out of memory\n");
        exit(1);
    }
}

static bool drop(struct bench *b, uint64_t id)
{
    uint8_t bytes[KEY_LEN];
    struct slice key = key_of(id, bytes);
    bool there = keyspace_delete(b->ks, key, keyspace_hash(b->ks, key), NOW_MS);
    tend(b);
    return there;
}

// Each size's logarithm is as likely as any other's.
static size_t draw_len(struct bench *b, size_t least, size_t most)
{
    size_t len = (size_t)((double)least * pow((double)most / (double)least, prng_unit(&b->prng)));
    return len < VALUE_MAX ? len : VALUE_MAX;
}

static void report(const struct bench *b, const char *what)
{
    struct store_memory m = store_memory(b->store);
    double used = (double)store_memory_used(b->store);
    printf("%-10s in use %7.1f MiB, held %+6.2f %%, resident %+6.2f %%, free slots %5.2f %%\n", what, used / MIB,
           100 * ((double)m.reserved / used - 1), 100 * ((double)grown(b) / used - 1), 100 * (double)m.free_slots / used);
}

static int run_mix(struct bench *b, uint64_t bytes, size_t least, size_t most)
{
    if (!open_store(b, 0, STORE_NOEVICTION))
        return 1;
    uint64_t ids = 0, gone = 0;
    for (; store_memory_used(b->store) < bytes && ids < KEYS_MAX; ids++) {
        set(b, ids, draw_len(b, least, most));
        tend(b);
    }
    report(b, "loaded");
    for (uint64_t id = 0; id < ids; id++)
        gone += prng_below(&b->prng, 2) == 0 && drop(b, id);
    settle(b);
    report(b, "half gone");
    while (store_memory_used(b->store) < bytes) {
        set(b, ids++, draw_len(b, least, most));
        tend(b);
    }
    report(b, "refilled");
    settle(b);
    report(b, "settled");
    store_free(b->store);
    return gone == 0;
}

struct phase {
    const char *name;
    size_t least, most;
};

static const struct phase PHASES[] = {
    { "16-64", 16, 64 },           { "256-1K", 256, 1024 },     { "4K-16K", 4096, 16384 },
    { "16-64 again", 16, 64 },     { "32K-64K", 32768, 65500 }, { "16-64K all", 16, 65536 },
    { "64K-256K", 65536, 262144 }, { "100", 100, 100 },         { "16-64K again", 16, 65536 },
};

// Writes twice the limit.
static void run_phase(struct bench *b, const struct phase *p, uint64_t limit, uint64_t *id)
{
    uint64_t written = 0, refused = 0, sets = 0, most = 0, accounted = 0, samples = 0;
    double used = 0;
    uint64_t before = keyspace_stats(b->ks).evicted;
    histogram_init(&b->writes);
    while (written < 2 * limit) {
        size_t len = draw_len(b, p->least, p->most);
        uint64_t begin = cpu_ns();
        bool room = store_make_room(b->store, NOW_MS);
        if (room)
            set(b, (*id)++, len);
        histogram_record(&b->writes, cpu_ns() - begin, 1);
        if (!room) {
            refused++;
            for (int i = 0; i < 16; i++)
                (void)drop(b, *id - 1 - prng_below(&b->prng, *id < KEYS_MAX ? *id : KEYS_MAX));
            continue;
        }
        tend(b);
        written += len + KEY_LEN;
        if (++sets % 256 == 0) {
            uint64_t now = grown(b);
            uint64_t held = store_memory(b->store).reserved;
            most = now > most ? now : most;
            accounted = held > accounted ? held : accounted;
            used += (double)store_memory_used(b->store);
            samples++;
        }
    }
    const struct histogram *h = &b->writes;
    printf("%-13s resident at most %+7.2f MiB (%+5.1f %%) over the limit (accounted %+7.2f), %5.1f %% of it in use; "
           "%llu writes, us: mean %.2f, p99 %.1f, p99.9 %.1f, p99.99 %.1f, longest %.1f; %llu evicted, %llu refused\n",
           p->name, ((double)most - (double)limit) / MIB, 100 * ((double)most / (double)limit - 1),
           ((double)accounted - (double)limit) / MIB, 100 * used / (double)samples / (double)limit, (unsigned long long)h->count,
           histogram_mean(h) / 1e3, (double)histogram_percentile(h, 99) / 1e3, (double)histogram_percentile(h, 99.9) / 1e3,
           (double)histogram_percentile(h, 99.99) / 1e3, (double)h->max / 1e3, (unsigned long long)(keyspace_stats(b->ks).evicted - before),
           (unsigned long long)refused);
}

static int run_limit(struct bench *b, uint64_t limit, enum store_policy policy)
{
    uint64_t id = 1;
    if (!open_store(b, limit, policy))
        return 1;
    for (size_t i = 0; i < sizeof PHASES / sizeof PHASES[0]; i++)
        run_phase(b, &PHASES[i], limit, &id);
    store_free(b->store);
    return 0;
}

int main(int argc, char **argv)
{
    static struct bench b;
    memset(b.value, 'v', sizeof b.value);
    setvbuf(stdout, NULL, _IOLBF, 0);
    uint64_t mib = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
    prng_init(&b.prng, argc == 5 && strcmp(argv[1], "limit") == 0 ? strtoull(argv[4], NULL, 10) : 1);
    if (argc == 5 && strcmp(argv[1], "mix") == 0 && mib > 0)
        return run_mix(&b, mib << 20, strtoul(argv[3], NULL, 10), strtoul(argv[4], NULL, 10));
    if (argc >= 4 && strcmp(argv[1], "limit") == 0 && mib > 0 && strtoul(argv[3], NULL, 10) < STORE_POLICIES)
        return run_limit(&b, mib << 20, (enum store_policy)strtoul(argv[3], NULL, 10));
    fprintf(stderr, "skerry-churn mix MIB LEAST MOST | limit MIB POLICY [SEED]\n");
    return 1;
}
