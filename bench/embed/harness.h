// SPDX-License-Identifier: Apache-2.0
// The in-process benchmark: one harness for every store, C and C++. A peer's file defines the PEER_... functions below and then
// includes this file, which holds main(): so the compiler may inline a peer's calls, as it does in a program.
//
//   peer_open(config)                        one store for all threads
//   peer_thread(t)                           what thread t hands to the following
//   peer_owns(p, key)                        is the key this thread's? (true for shared stores)
//   peer_set(p, key, value, len, ttl)        ttl: an hour, else none
//   peer_get_copy(p, key, to, len)           copies into `to`; false = not there
//   peer_get_view(p, key)                    reads first and last byte in place, returns their sum; -1 = not there
//   peer_get_batch(p, keys, n, to, len)      copies n values; returns how many were there. PEER_BATCH 0: there is no such thing
//   peer_get_packed(p, keys, n, to, len)     likewise into one buffer
//
// Keys are 16 bytes made from a number; numbers are drawn uniformly. Each thread runs a workload for the same wall time and
// counts its CPU time. A line per workload: name, CPU ns an operation, million operations a second of all threads, misses.
// bench/embed/rust/src/main.rs does the same in Rust: change both.
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KEY_LEN     16
#define BATCH_MAX   64
#define THREADS_MAX 16
#define CHUNK       512 // operations between looks at the clock

struct config {
    uint64_t items;
    size_t value;
    unsigned threads;
    double seconds; // a workload
    char mode[16];  // local, shared
    char hash[16];  // keyed, public
    char only[16];  // the name of one workload; empty: all
};

#ifndef PEER_BATCH
#define PEER_BATCH 0
#endif
#ifndef PEER_TTL // 0: it has no deadlines
#define PEER_TTL 1
#endif

static inline void key_make(uint8_t *key, uint64_t number)
{
    uint64_t mixed = number * 0x9e3779b97f4a7c15u;
    memcpy(key, &mixed, 8);
    memcpy(key + 8, &number, 8);
}

static inline uint64_t draw(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

static inline uint64_t draw_below(uint64_t *state, uint64_t bound)
{
    return ((draw(state) >> 32) * bound) >> 32;
}

static double clock_seconds(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

enum workload { GET, VIEW, SET, MIX, GET_TTL, VIEW_TTL, BATCH16, BATCH64, PACKED16, WORKLOADS };
static const char *const NAMES[WORKLOADS] = { "get", "view", "set", "80/20", "get+ttl", "view+ttl", "batch16", "batch64", "packed16" };

struct runner {
    pthread_t thread;
    const struct config *config;
    struct peer *peer;
    unsigned number;
    uint32_t *own; // numbers of keys of a local store; NULL = all
    uint64_t own_count;
    uint64_t state;
    uint8_t *value;
    uint8_t *to;
    enum workload workload;
    uint64_t done;
    uint64_t missed;
    double cpu;
    double wall;
    uint64_t sink;
};

static struct runner runners[THREADS_MAX];
static pthread_barrier_t barrier;

static inline void next_key(struct runner *r, uint8_t *key)
{
    uint64_t number = draw_below(&r->state, r->own_count);
    key_make(key, r->own != NULL ? r->own[number] : number);
}

static void run_chunk(struct runner *r)
{
    size_t len = r->config->value;
    uint8_t key[KEY_LEN];
    for (int i = 0; i < CHUNK; i++) {
        next_key(r, key);
        if (r->workload == SET || (r->workload == MIX && i % 5 == 4)) {
            peer_set(r->peer, key, r->value, len, false);
        } else if (r->workload == VIEW || r->workload == VIEW_TTL) {
            int seen = peer_get_view(r->peer, key);
            r->missed += seen < 0;
            r->sink += (unsigned)seen;
        } else {
            r->missed += !peer_get_copy(r->peer, key, r->to, len);
            r->sink += r->to[0];
        }
    }
    r->done += CHUNK;
}

#if PEER_BATCH
static void run_batches(struct runner *r)
{
    static __thread uint8_t keys[BATCH_MAX][KEY_LEN];
    unsigned n = r->workload == BATCH64 ? 64 : 16;
    for (unsigned i = 0; i < CHUNK; i += n) {
        for (unsigned j = 0; j < n; j++)
            next_key(r, keys[j]);
        unsigned found = r->workload == PACKED16 ? peer_get_packed(r->peer, keys, n, r->to, r->config->value)
                                                 : peer_get_batch(r->peer, keys, n, r->to, r->config->value);
        r->missed += n - found;
        r->sink += r->to[0];
    }
    r->done += CHUNK;
}
#else
static void run_batches(struct runner *r)
{
    abort();
}
#endif

static void load(struct runner *r, bool ttl)
{
    uint8_t key[KEY_LEN];
    const struct config *c = r->config;
    bool local = strcmp(c->mode, "local") == 0;
    // Of a shared store, each thread loads its part; of local ones, its own keys.
    for (uint64_t i = local ? 0 : r->number; i < c->items; i += local ? 1 : c->threads) {
        key_make(key, i);
        if (local && !peer_owns(r->peer, key))
            continue;
        if (r->own != NULL && !ttl)
            r->own[r->own_count++] = (uint32_t)i;
        peer_set(r->peer, key, r->value, c->value, ttl);
    }
    if (r->own == NULL)
        r->own_count = c->items;
}

static bool has_workload(const struct config *c, enum workload w)
{
    if (c->only[0] != '\0' && strcmp(c->only, NAMES[w]) != 0)
        return false;
    return (PEER_BATCH || w < BATCH16) && (PEER_TTL || (w != GET_TTL && w != VIEW_TTL));
}

static void run_workload(struct runner *r, enum workload w)
{
    r->workload = w;
    r->done = 0;
    r->missed = 0;
    pthread_barrier_wait(&barrier);
    double begin = clock_seconds(CLOCK_MONOTONIC), cpu = clock_seconds(CLOCK_THREAD_CPUTIME_ID);
    do {
        if (w >= BATCH16)
            run_batches(r);
        else
            run_chunk(r);
        r->wall = clock_seconds(CLOCK_MONOTONIC) - begin;
    } while (r->wall < r->config->seconds);
    r->cpu = clock_seconds(CLOCK_THREAD_CPUTIME_ID) - cpu;
    pthread_barrier_wait(&barrier);
}

static void report(const struct config *c, enum workload w)
{
    double cpu = 0, rate = 0;
    uint64_t done = 0, missed = 0;
    for (unsigned t = 0; t < c->threads; t++) {
        cpu += runners[t].cpu;
        done += runners[t].done;
        missed += runners[t].missed;
        rate += (double)runners[t].done / runners[t].wall;
    }
    printf("%s %.2f %.3f %llu\n", NAMES[w], cpu * 1e9 / (double)done, rate * 1e-6, (unsigned long long)missed);
    fflush(stdout);
}

static void *run_thread(void *context)
{
    struct runner *r = (struct runner *)context;
    bool ttl = false;
    r->peer = peer_thread(r->number);
    load(r, false);
    for (int w = 0; w < WORKLOADS; w++) {
        // Those with deadlines come last: their load stays.
        static const enum workload ORDER[WORKLOADS] = { GET, VIEW, BATCH16, BATCH64, PACKED16, MIX, SET, GET_TTL, VIEW_TTL };
        if (!has_workload(r->config, ORDER[w]))
            continue;
        if (!ttl && (ORDER[w] == GET_TTL || ORDER[w] == VIEW_TTL)) {
            load(r, true);
            ttl = true;
        }
        run_workload(r, ORDER[w]);
        if (r->number == 0)
            report(r->config, ORDER[w]);
    }
    return NULL;
}

static const char *argument(int argc, char **argv, const char *name, const char *otherwise)
{
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], name) == 0)
            return argv[i + 1];
    }
    return otherwise;
}

int main(int argc, char **argv)
{
    struct config c;
    c.items = strtoull(argument(argc, argv, "--items", "100000"), NULL, 10);
    c.value = strtoul(argument(argc, argv, "--value", "64"), NULL, 10);
    c.threads = (unsigned)strtoul(argument(argc, argv, "--threads", "1"), NULL, 10);
    c.seconds = strtod(argument(argc, argv, "--seconds", "0.2"), NULL);
    snprintf(c.mode, sizeof c.mode, "%s", argument(argc, argv, "--mode", "shared"));
    snprintf(c.hash, sizeof c.hash, "%s", argument(argc, argv, "--hash", "keyed"));
    snprintf(c.only, sizeof c.only, "%s", argument(argc, argv, "--only", ""));
    if (c.items == 0 || c.items > UINT32_MAX || c.value == 0 || c.threads == 0 || c.threads > THREADS_MAX) {
        fprintf(stderr,
                "usage: %s --items N --value BYTES --threads N --seconds S --mode local|shared --hash keyed|public --only WORKLOAD\n",
                argv[0]);
        return 2;
    }
    peer_open(&c);
    pthread_barrier_init(&barrier, NULL, c.threads);
    for (unsigned t = 0; t < c.threads; t++) {
        struct runner *r = &runners[t];
        r->config = &c;
        r->number = t;
        r->state = 88172645463325252u + t * 7919u;
        r->value = (uint8_t *)malloc(c.value);
        r->to = (uint8_t *)malloc(c.value * BATCH_MAX);
        if (strcmp(c.mode, "local") == 0 && c.threads > 1)
            r->own = (uint32_t *)malloc(c.items * sizeof(uint32_t));
        if (r->value == NULL || r->to == NULL)
            return 1;
        memset(r->value, 'v', c.value);
        memset(r->to, 0, c.value * BATCH_MAX);
        if (pthread_create(&r->thread, NULL, run_thread, r) != 0)
            return 1;
    }
    for (unsigned t = 0; t < c.threads; t++)
        pthread_join(runners[t].thread, NULL);
    return 0;
}
