// SPDX-License-Identifier: Apache-2.0
// The machine that a simulated server runs on.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "reactor/clock.h"
#include "test/sim/sim_inside.h"

static void stop_requested(struct server *server)
{
}

void machine_make(struct sim *s)
{
    struct server *server = &s->server;
    memset(server, 0, sizeof *server);
    server->order.fault = s->options.fault;
    options_init(&server->options);
    server->options.databases = (int64_t)s->knobs.databases;
    server->options.maxmemory = s->knobs.maxmemory;
    server->options.send_zerocopy_min = s->knobs.zerocopy_min;
    server->options.maxmemory_policy = (int)s->knobs.policy;
    s->host = (struct server_host){ .stop_requested = stop_requested,
                                    .switch_log = storage_on(s) ? storage_switch : NULL,
                                    .os = "simulation",
                                    .compiler = "",
                                    .allocator = "libc",
                                    .pid = 1 };
    server->host = &s->host;
    server->executable = "";
    server->config_file = "";
    snprintf(server->run_id, sizeof server->run_id, "%040" PRIx64, s->options.seed);
    server->started_ns = s->world.now_ns;
    server->started_wall_ms = world_wall_ms(&s->world);
    server->worker_count = s->knobs.workers;
    server->workers = s->workers;
    route_init(&server->route, s->knobs.shards, ROUTE_FULL_KEY);
    server->rings = mesh_rings_new(server->worker_count);
    assert(server->rings != NULL);
    if (storage_on(s))
        storage_make(s);
}

void machine_start(struct sim *s, struct prng *seeds)
{
    struct hash_secret secret = { prng_next(seeds), prng_next(seeds) };
    for (uint32_t i = 0; i < s->knobs.workers; i++) {
        s->reactors[i] = world_reactor_new(&s->world);
        int rc = worker_new(&s->workers[i], &s->server, i, s->reactors[i], &s->pages.memory, prng_next(seeds), &secret);
        assert(rc == 0);
        s->listeners[i] = net_listen(&s->world.net);
        rc = worker_listen(s->workers[i], s->listeners[i], prng_below(seeds, 4) == 0);
        assert(rc == 0);
        s->running[i] = true;
    }
    for (uint32_t shard = 0; s->knobs.storage.direct && shard < s->knobs.shards; shard++) {
        s->direct[shard] = net_listen(&s->world.net);
        int rc = worker_listen_direct(s->workers[shard % s->knobs.workers], s->direct[shard], shard);
        assert(rc == 0);
    }
    if (storage_on(s))
        storage_start(s);
}

void machine_stop(struct sim *s, enum server_stop how)
{
    sim_say(s, "the server is told to stop");
    s->stopping = true;
    atomic_store(&s->server.stop, how);
    for (uint32_t i = 0; i < s->knobs.workers; i++)
        reactor_wake(s->reactors[i], NULL);
}

void machine_free(struct sim *s)
{
    if (storage_on(s))
        storage_free_log(s); // its ops are in a reactor
    for (uint32_t i = 0; i < s->knobs.workers; i++) {
        s->workers[i] = worker_free(s->workers[i]);
        s->reactors[i] = reactor_close_all(s->reactors[i]);
    }
    if (storage_on(s))
        storage_free(s);
    mesh_rings_free(s->server.rings);
    options_deinit(&s->server.options);
}

uint32_t machine_actors(const struct sim *s)
{
    return s->knobs.workers + (storage_on(s) ? STORAGE_ACTORS : 0);
}

uint64_t machine_next_ns(struct sim *s, uint32_t actor)
{
    if (actor >= s->knobs.workers)
        return storage_next_ns(s, (enum storage_actor)(actor - s->knobs.workers));
    return s->running[actor] ? world_awake_ns(&s->world, actor) : NEVER;
}

void machine_run(struct sim *s, uint32_t i)
{
    if (i >= s->knobs.workers) {
        storage_run(s, (enum storage_actor)(i - s->knobs.workers));
        return;
    }
    bool runs = worker_turn(s->workers[i]);
    if (storage_on(s))
        storage_look(s);
    if (runs)
        return;
    s->running[i] = false;
    sim_say(s, "worker %u has stopped", i);
    if (storage_on(s))
        storage_worker_stopped(s);
}

bool machine_stopped(struct sim *s)
{
    for (uint32_t i = 0; i < s->knobs.workers; i++)
        if (s->running[i])
            return false;
    return !storage_on(s) || storage_stopped(s);
}

// ---- a crash

#define LIMBO_STEPS 200000

// The process is taken apart as if it stopped, so that nothing of it is left; but nothing that it does any more is seen by anybody.
static void limbo(struct sim *s)
{
    uint64_t now = s->world.now_ns;
    bool calm = s->world.calm;
    s->world.calm = true;
    machine_stop(s, SERVER_STOPS_NOW);
    for (uint32_t step = 0; step < LIMBO_STEPS && !machine_stopped(s); step++) {
        for (uint32_t i = 0; i < machine_actors(s); i++)
            if (machine_next_ns(s, i) <= s->world.now_ns)
                machine_run(s, i);
        s->world.now_ns += NS_PER_MS;
    }
    if (!machine_stopped(s))
        world_fail(&s->world, "a server that was killed cannot be taken apart");
    s->world.now_ns = now;
    s->world.calm = calm;
}

void machine_crash(struct sim *s, enum crash_kind kind)
{
    struct sim_disk *after = sim_disk_crash(s->world.disk, &s->schedule, kind);
    s->world.disk->cut = true;
    net_crash(&s->world.net);
    limbo(s);
    if (!machine_stopped(s))
        return;
    machine_free(s);
    sim_disk_free(s->world.disk);
    s->world.disk = after;
    s->stopping = false;
}
