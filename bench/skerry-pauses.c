// SPDX-License-Identifier: Apache-2.0
// How long one call of the store can take: while it grows, while a burst of keys falls due, while everything is flushed.
//
//   skerry-pauses [items] [burst] [value length] [hugepages: 0 = none, 1 = transparent, 2 = reserved]
//
// One thread does what a worker does: sets and gets, and after every 16 of them a slice of maintenance while there is more to do. Each
// call is timed by itself, in this thread's time on a processor, so that others on the machine do not count (page faults do; what
// another thread does to prepare memory does not). Two readings of that clock cost some hundred nanoseconds a call.
// Beside the times stands the most that one call did, counted: other processes on the machine do not change it.
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/prng.h"
#include "bench/alone.h"
#include "bench/histogram.h"
#include "engine/store/store.h"
#include "reactor/memory.h"
#include "reactor/memory_ahead.h"

#define NOW_MS          INT64_C(1750000000000)
#define OPS_PER_SLICE   16
#define MAINTAIN_BUDGET (64 + OPS_PER_SLICE) // as in a worker's turn

struct calls {
    struct histogram times;
    struct store_work worst; // each figure's
};

struct bench {
    struct store *store;
    struct keyspace *ks;
    struct prng prng;
    int64_t now_ms;
    uint64_t ops;
    bool more; // maintenance has more to do
    size_t value_len;
    uint8_t value[65536];
    struct store_work work; // before the call
    struct calls sets, gets, slices, all;
};

static uint64_t clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void note_worst(struct store_work *worst, const struct store_work *did)
{
    worst->keys = did->keys > worst->keys ? did->keys : worst->keys;
    worst->moved = did->moved > worst->moved ? did->moved : worst->moved;
    worst->places = did->places > worst->places ? did->places : worst->places;
}

static void record(struct bench *b, struct calls *c, uint64_t begin)
{
    uint64_t took = clock_ns() - begin;
    struct store_work now = store_work(b->store);
    struct store_work did = { now.keys - b->work.keys, now.moved - b->work.moved, now.places - b->work.places };
    b->work = now;
    histogram_record(&c->times, took, 1);
    histogram_record(&b->all.times, took, 1);
    note_worst(&c->worst, &did);
    note_worst(&b->all.worst, &did);
}

static void calls_init(struct calls *c)
{
    histogram_init(&c->times);
    c->worst = (struct store_work){ 0 };
}

static void slice(struct bench *b)
{
    uint64_t begin = clock_ns();
    b->more = store_maintain(b->store, b->now_ms, MAINTAIN_BUDGET);
    record(b, &b->slices, begin);
}

static void after_op(struct bench *b)
{
    b->ops++;
    if (b->ops % OPS_PER_SLICE == 0 && (b->more || b->ops % 4096 == 0 || store_next_deadline(b->store) <= b->now_ms))
        slice(b);
}

static void set(struct bench *b, uint64_t id, int64_t deadline)
{
    uint8_t bytes[KEY_LEN];
    struct slice key = key_of(id, bytes);
    uint64_t begin = clock_ns();
    struct slice value = slice_of(b->value, b->value_len);
    struct entry *e = keyspace_set(b->ks, key, keyspace_hash(b->ks, key), ENTRY_STRING, value, deadline, b->now_ms);
    record(b, &b->sets, begin);
    if (e == NULL) {
        printf("out of memory at %llu\n", (unsigned long long)id);
        exit(1);
    }
    after_op(b);
}

static void get(struct bench *b, uint64_t id)
{
    uint8_t bytes[KEY_LEN];
    struct slice key = key_of(id, bytes);
    uint64_t begin = clock_ns();
    (void)keyspace_find(b->ks, key, keyspace_hash(b->ks, key), b->now_ms);
    record(b, &b->gets, begin);
    after_op(b);
}

static void report_one(const char *phase, const char *what, struct calls *c)
{
    const struct histogram *h = &c->times;
    if (h->count == 0)
        return;
    printf("| %s | %s | %llu | %.2f | %.2f | %.1f | %.1f | %.0f | %llu | %llu | %llu |\n", phase, what, (unsigned long long)h->count,
           histogram_mean(h) / 1e3, (double)histogram_percentile(h, 99) / 1e3, (double)histogram_percentile(h, 99.9) / 1e3,
           (double)histogram_percentile(h, 99.99) / 1e3, (double)h->max / 1e3, (unsigned long long)c->worst.keys,
           (unsigned long long)c->worst.moved, (unsigned long long)c->worst.places);
    calls_init(c);
}

static void report(struct bench *b, const char *phase)
{
    report_one(phase, "set", &b->sets);
    report_one(phase, "get", &b->gets);
    report_one(phase, "slice", &b->slices);
    report_one(phase, "**all**", &b->all);
}

static void finish(struct bench *b)
{
    do
        slice(b);
    while (b->more);
}

// Gets and sets among `items` until maintenance has nothing left to do, and so many of them at least.
static void serve_until_done(struct bench *b, uint64_t items, uint64_t least)
{
    b->more = true;
    for (uint64_t done = 0; b->more || done < least; done++) {
        get(b, prng_next(&b->prng) % items);
        if (b->ops % 4 == 0)
            set(b, prng_next(&b->prng) % items, ENTRY_NO_DEADLINE);
    }
}

// FLUSHDB of the second database, and what follows. `at_once`: SYNC, all memory is back before it answers.
static void flush(struct bench *b, uint64_t items, uint64_t burst, bool at_once)
{
    b->ks = store_keyspace(b->store, 0, 1);
    for (uint64_t id = 0; id < burst; id++)
        set(b, id, ENTRY_NO_DEADLINE);
    finish(b);
    calls_init(&b->sets), calls_init(&b->gets), calls_init(&b->slices), calls_init(&b->all);
    uint64_t begin = clock_ns();
    keyspace_clear(b->ks);
    if (at_once)
        store_reclaim(b->store);
    record(b, &b->sets, begin);
    report_one(at_once ? "flush SYNC" : "flush ASYNC", "clear", &b->sets);
    b->ks = store_keyspace(b->store, 0, 0);
    serve_until_done(b, items, burst / 5);
    report(b, at_once ? "after flush SYNC" : "after flush ASYNC");
}

int main(int argc, char **argv)
{
    static struct bench b;
    setvbuf(stdout, NULL, _IOLBF, 0);
    uint64_t items = argc > 1 ? strtoull(argv[1], NULL, 10) : 50000000;
    uint64_t burst = argc > 2 ? strtoull(argv[2], NULL, 10) : 5000000;
    b.value_len = argc > 3 ? strtoul(argv[3], NULL, 10) : 64;
    int huge = argc > 4 ? atoi(argv[4]) : MEMORY_HUGE_THP;
    if (items < 1000 || burst < 1000 || b.value_len > sizeof b.value || huge < 0 || huge > 2) {
        fprintf(stderr, "skerry-pauses [items] [burst] [value length <= 65536] [hugepages 0..2]\n");
        return 1;
    }
    memset(b.value, 'v', sizeof b.value);
    prng_init(&b.prng, 1);
    calls_init(&b.sets), calls_init(&b.gets), calls_init(&b.slices), calls_init(&b.all);
    struct store_options o = { .workers = 1, .databases = 2, .secret = { .k0 = 1, .k1 = 2 } };
    o.memory = memory_system(-1, (enum memory_hugepages)huge);
    route_init(&o.route, 1, ROUTE_FULL_KEY);
    if (memory_ahead_start() != 0 || store_new(&b.store, &o) != 0)
        return 1;
    b.now_ms = NOW_MS;
    printf("Microseconds of CPU time a call, and the most that one call did beside its own key: keys read or released, references moved, "
           "places of directories copied; %llu items of %zu + %zu bytes, bursts of %llu\n\n",
           (unsigned long long)items, (size_t)KEY_LEN, b.value_len, (unsigned long long)burst);
    printf("| phase | call | calls | mean | p99 | p99.9 | p99.99 | max | keys | moved | places |\n"
           "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n");
    b.ks = store_keyspace(b.store, 0, 0);
    for (uint64_t id = 0; id < items; id++)
        set(&b, id, ENTRY_NO_DEADLINE);
    report(&b, "grow from nothing");
    finish(&b);
    b.ks = store_keyspace(b.store, 0, 1);
    for (uint64_t id = 0; id < burst; id++)
        set(&b, id, NOW_MS + 100000);
    report(&b, "burst is written");
    b.now_ms = NOW_MS + 100000 + 1000;
    b.ks = store_keyspace(b.store, 0, 0);
    serve_until_done(&b, items, 0);
    report(&b, "burst falls due");
    flush(&b, items, burst, false);
    flush(&b, items, burst, true);
    store_free(b.store);
    return 0;
}
