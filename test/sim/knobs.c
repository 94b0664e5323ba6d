// SPDX-License-Identifier: Apache-2.0
#include "test/sim/knobs.h"

#include <stdio.h>

#include "engine/store/store.h"
#include "persist/log.h"
#include "reactor/clock.h"

// One of a few, so that the ends of a range are drawn often.
#define PICK(p, ...)   ((const uint64_t[]){ __VA_ARGS__ }[prng_below(p, sizeof(const uint64_t[]){ __VA_ARGS__ } / sizeof(uint64_t))])
#define PICK32(p, ...) ((uint32_t)PICK(p, __VA_ARGS__))

static void draw_net(struct net_knobs *n, struct prng *p)
{
    n->delay_ns = PICK(p, 0, 10 * NS_PER_US, 200 * NS_PER_US, 2 * NS_PER_MS);
    n->spike_ns = PICK(p, NS_PER_MS, 30 * NS_PER_MS, 300 * NS_PER_MS);
    n->spike_permille = PICK32(p, 0, 0, 2, 20);
    n->segment_max = PICK32(p, 1, 7, 100, 1448, 16384, 65536);
}

static void draw_world(struct world_knobs *w, struct prng *p)
{
    draw_net(&w->net, p);
    w->buffers = PICK32(p, 1, 3, 16, 256);
    w->buffer_size = PICK32(p, 16, 64, 512, 4096, 16384);
    w->wake_delay_ns = PICK(p, 0, 50 * NS_PER_US, 20 * NS_PER_MS);
    w->hold = PICK32(p, 0, 50, 400);
    w->cut_receive = PICK32(p, 0, 100, 700);
    w->end_receive = PICK32(p, 0, 0, 20, 300);
    w->no_buffer = PICK32(p, 0, 0, 20, 200);
    w->accept_error = PICK32(p, 0, 0, 100, 400);
    w->end_accept = PICK32(p, 0, 300);
    w->short_send = PICK32(p, 0, 0, 50, 500);
}

static void draw_workload(struct workload_knobs *k, struct prng *p)
{
    k->keys = PICK32(p, 4, 12, 24, KEYS_MAX);
    k->depth = PICK32(p, 1, 4, 16, 64, 300);
    k->value_max = PICK32(p, 0, 16, 64, 500, 3000);
    k->large_max = PICK32(p, 0, 0, 0, 20000, 70000, 200 * 1024);
    k->large = 40;
    k->commands = PICK32(p, 60, 300, 1500);
    k->cut = PICK32(p, 0, 0, 1, 5);
    k->slow = PICK32(p, 0, 0, 1, 10);
    k->malformed = PICK32(p, 0, 0, 2, 10);
    k->quit = PICK32(p, 0, 0, 5);
    k->inline_permille = PICK32(p, 0, 0, 50, 500);
    k->many = PICK32(p, 0, 50, 200, 500);
    k->timed = PICK32(p, 0, 50, 200);
    k->scan = PICK32(p, 0, 20, 100);
    k->odd = PICK32(p, 0, 10, 100);
    k->read_max = PICK32(p, 3, 100, 4096, 65536);
    k->send_window = PICK(p, 100, 4096, 65536, 1024 * 1024);
    k->receive_window = PICK(p, 20, 1000, 65536, 4 * 1024 * 1024);
    k->think_ns = PICK(p, 0, 0, 100 * NS_PER_US, 5 * NS_PER_MS);
}

// Combinations that would only take long.
static void temper(struct knobs *k)
{
    struct workload_knobs *l = &k->workload;
    uint64_t most = l->large_max > l->value_max ? l->large_max : l->value_max;
    if (k->world.net.segment_max < most / 64)
        k->world.net.segment_max = (uint32_t)(most / 64);
    if (k->world.buffer_size < most / 64)
        k->world.buffer_size = (uint32_t)(most / 64);
    if (l->read_max < most / 16)
        l->read_max = (uint32_t)(most / 16);
    if (l->receive_window < most / 8)
        l->receive_window = most / 8;
    if (l->send_window < most / 8)
        l->send_window = most / 8;
    if (most > 10000 && l->commands > 200)
        l->commands = 200;
    if (most > 10000 && l->depth > 64)
        l->depth = 64;
}

// More requests on their way to other workers than a connection may have.
static void make_deep(struct knobs *k)
{
    struct workload_knobs *l = &k->workload;
    l->depth = 10000;
    l->commands = 12000;
    l->value_max = l->value_max < 64 ? l->value_max : 64;
    l->large_max = l->many = l->timed = l->scan = 0;
    l->think_ns = 0;
    l->send_window = 1024 * 1024;
    l->read_max = 65536;
    k->clients = k->clients < 2 ? k->clients : 2;
    k->world.net.segment_max = 16384;
    k->world.buffer_size = 16384;
}

// Values that travel by reference, to connections that may end meanwhile.
static void make_large(struct knobs *k, struct prng *p)
{
    struct workload_knobs *l = &k->workload;
    l->large_max = 200 * 1024;
    l->large = 500;
    l->cut = 20;
    k->zerocopy_min = PICK(p, 0, 1, 150000);
    temper(k);
}

void knobs_draw(struct knobs *k, uint64_t seed)
{
    struct prng p;
    prng_init(&p, seed);
    *k = (struct knobs){ .workers = 1 + (uint32_t)prng_below(&p, 4) };
    k->shards = 16;
    while (k->shards > k->workers && prng_below(&p, 2) == 0)
        k->shards /= 2;
    while (k->shards < k->workers)
        k->shards *= 2;
    k->clients = PICK32(&p, 1, 2, 4, 8, 12);
    k->databases = PICK32(&p, 1, 4, 16);
    k->starve_permille = PICK32(&p, 0, 0, 2, 20);
    k->tick_ns = PICK(&p, 100, 2000, 50 * NS_PER_US);
    k->stop_early = prng_below(&p, STORE_POLICIES) == 0;
    draw_world(&k->world, &p);
    draw_workload(&k->workload, &p);
    temper(k);
    if (prng_below(&p, 40) == 0)
        make_deep(k);
    k->memory_fails = PICK32(&p, 0, 0, 0, 0, 0, 0, 10, 200);
    k->maxmemory = PICK(&p, 0, 0, 0, 0, 0, 0, 0, 300000, 2000000, 20000000);
    k->policy = (uint32_t)prng_below(&p, 8);
    k->workload.kill = PICK32(&p, 0, 0, 0, 0, 0, 0, 0, 3);
    k->workload.frames = PICK32(&p, 0, 0, 30, 300, 800);
    if (prng_below(&p, 20) == 0)
        make_large(k, &p);
}

void knobs_of_history(struct knobs *k)
{
    k->clients = 0;
    k->memory_fails = 0;
    k->maxmemory = 0;
    k->workload.kill = 0;
    k->stop_early = false;
}

void knobs_of_durable(struct knobs *k, struct prng *p)
{
    knobs_of_history(k);
    struct storage_knobs *d = &k->storage;
    d->policy = (uint32_t)prng_below(p, 3);
    d->segment_size = PICK(p, 65536, 65536, 131072, 1048576);
    d->method = PICK32(p, LOG_METHOD_AUTO, LOG_METHOD_DSYNC, LOG_METHOD_FDATASYNC, LOG_METHOD_LINKED);
    d->frames_in_flight = PICK32(p, 1, 2, 4, LOG_FRAMES_MAX);
    d->spare = PICK32(p, 0, 2, 4);
    d->hosted = prng_below(p, 2) == 0;
    // Values of these clients are up to 40,000 bytes long.
    if (k->world.net.segment_max < 1448)
        k->world.net.segment_max = 1448;
    if (k->world.buffer_size < 512)
        k->world.buffer_size = 512;
    k->world.file_ns = PICK(p, 0, 100 * NS_PER_US, 2 * NS_PER_MS, 20 * NS_PER_MS);
    k->world.file_spike_ns = PICK(p, 5 * NS_PER_MS, 300 * NS_PER_MS, 2 * NS_PER_SEC);
    k->world.file_spike = PICK32(p, 0, 5, 50);
    if (prng_below(p, 6) == 0) {
        k->world.write_error = PICK32(p, 0, 10);
        k->world.short_write = PICK32(p, 0, 10);
        k->world.sync_error = PICK32(p, 0, 20);
    }
    // Room for some segments, and no more.
    d->budget = prng_below(p, 8) == 0 ? (8 + prng_below(p, 8)) * d->segment_size : 0;
    d->direct = prng_below(p, 2) == 0;
}

void knobs_print(const struct knobs *k)
{
    printf("workers %u, shards %u, clients %u, databases %u, starving %u, tick %llu ns, memory fails %u, maxmemory %llu (%u), kill %u, "
           "zero-copy %llu%s\n",
           k->workers, k->shards, k->clients, k->databases, k->starve_permille, (unsigned long long)k->tick_ns, k->memory_fails,
           (unsigned long long)k->maxmemory, k->policy, k->workload.kill, (unsigned long long)k->zerocopy_min,
           k->stop_early ? ", stopped early" : "");
    const struct world_knobs *w = &k->world;
    const struct storage_knobs *d = &k->storage;
    if (d->segment_size > 0)
        printf("storage: policy %u, segments %llu (%u spare), method %u, %u frames, %s%s; file ops %llu ns, spikes %llu (%u)\n", d->policy,
               (unsigned long long)d->segment_size, d->spare, d->method, d->frames_in_flight, d->hosted ? "hosted" : "apart",
               d->direct ? ", direct ports" : "", (unsigned long long)w->file_ns, (unsigned long long)w->file_spike_ns, w->file_spike);
    printf("network: delay %llu, spike %llu (%u), segment %u\n", (unsigned long long)w->net.delay_ns, (unsigned long long)w->net.spike_ns,
           w->net.spike_permille, w->net.segment_max);
    printf("reactor: buffers %u x %u, wake %llu, hold %u, cut %u, end %u, no buffer %u, accept error %u, end accept %u, short send %u\n",
           w->buffers, w->buffer_size, (unsigned long long)w->wake_delay_ns, w->hold, w->cut_receive, w->end_receive, w->no_buffer,
           w->accept_error, w->end_accept, w->short_send);
    const struct workload_knobs *l = &k->workload;
    printf(
        "clients: keys %u, depth %u, values %u / %u (%u), commands %u, cut %u, slow %u, malformed %u, quit %u, inline %u, frames %u, many "
        "%u, timed %u, "
        "scan %u, odd %u, read %u, windows %zu / %zu, think %llu\n",
        l->keys, l->depth, l->value_max, l->large_max, l->large, l->commands, l->cut, l->slow, l->malformed, l->quit, l->inline_permille,
        l->frames, l->many, l->timed, l->scan, l->odd, l->read_max, l->send_window, l->receive_window, (unsigned long long)l->think_ns);
}
