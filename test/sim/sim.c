// SPDX-License-Identifier: Apache-2.0
#include "test/sim/sim.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "engine/shard/conn.h"
#include "engine/shard/worker.h"
#include "reactor/clock.h"
#include "test/sim/client.h"
#include "test/sim/knobs.h"
#include "test/sim/pages.h"
#include "test/sim/traffic.h"

#define PATIENCE_NS  (10 * NS_PER_SEC) // without faults, everything that is due has come by then
#define STEPS_MAX    UINT64_C(20000000)
#define STARVE_STEPS 3000
#define STARVE_NS    (100 * NS_PER_MS)
#define CHECK_EVERY  256
#define CONN_SLACK   (UINT64_C(4) << 20) // what a connection may hold beside the replies that are due
#define MESH_BACKLOG 512

struct counter {
    uint64_t sent, got;
    uint64_t *seen; // bits
    uint64_t seen_cap;
};

struct sim {
    struct sim_options options;
    struct knobs knobs;
    struct world world;
    struct pages pages;
    struct prng schedule;
    struct server server;
    struct server_host host;
    struct worker *workers[WORLD_REACTORS_MAX];
    struct reactor *reactors[WORLD_REACTORS_MAX];
    bool running[WORLD_REACTORS_MAX];
    int listeners[WORLD_REACTORS_MAX];
    uint32_t starved; // a worker that gets no turns, or none
    uint64_t starved_until_step, starved_until_ns;
    struct client_sim clients[CLIENTS_MAX];
    struct traffic traffic; // in its place, in histories that are checked
    struct counter counters[COUNTERS];
    uint64_t steps;
    bool stopping;
};

// ---- what clients ask

struct world *sim_world(struct sim *s)
{
    return &s->world;
}

const struct workload_knobs *sim_workload(const struct sim *s)
{
    return &s->knobs.workload;
}

uint32_t sim_databases(const struct sim *s)
{
    return s->knobs.databases;
}

uint32_t sim_shards(const struct sim *s)
{
    return s->knobs.shards;
}

bool sim_compares(const struct sim *s)
{
    return s->knobs.memory_fails == 0 && s->knobs.maxmemory == 0;
}

bool sim_lenient(const struct sim *s)
{
    return s->stopping || s->knobs.memory_fails > 0 || s->knobs.workload.kill > 0;
}

int sim_listener(struct sim *s, struct prng *prng)
{
    return s->listeners[prng_below(prng, s->knobs.workers)];
}

void sim_say(const struct sim *s, const char *format, ...)
{
    if (!s->options.verbose)
        return;
    va_list args;
    va_start(args, format);
    printf("%12" PRIu64 " ", s->world.now_ns / 1000);
    vprintf(format, args);
    printf("\n");
    va_end(args);
}

void sim_counter_sent(struct sim *s, uint32_t counter)
{
    s->counters[counter].sent++;
}

void sim_counter_got(struct sim *s, struct client_sim *c, uint32_t counter, int64_t value)
{
    struct counter *k = &s->counters[counter];
    if (value < 1 || (uint64_t)value > k->sent) {
        world_fail(&s->world, "client %u: counter %u is %" PRId64 " after %" PRIu64 " INCR", c->id, counter, value, k->sent);
        return;
    }
    uint64_t word = (uint64_t)value / 64, bit = UINT64_C(1) << ((uint64_t)value % 64);
    if (word >= k->seen_cap) {
        k->seen = realloc(k->seen, (word + 1) * 2 * sizeof *k->seen);
        assert(k->seen != NULL);
        memset(k->seen + k->seen_cap, 0, ((word + 1) * 2 - k->seen_cap) * sizeof *k->seen);
        k->seen_cap = (word + 1) * 2;
    }
    if ((k->seen[word] & bit) != 0)
        world_fail(&s->world, "client %u: counter %u answered %" PRId64 " twice", c->id, counter, value);
    k->seen[word] |= bit;
    k->got++;
    if (value <= c->counter_last[counter])
        world_fail(&s->world, "client %u: counter %u went back to %" PRId64, c->id, counter, value);
    c->counter_last[counter] = value;
}

void sim_counter_read(struct sim *s, struct client_sim *c, uint32_t counter, int64_t value)
{
    struct counter *k = &s->counters[counter];
    uint64_t got = k->got + (s->options.wrong_counter && counter == 0 ? k->sent - k->got + 1 : 0);
    if (value < 0 || (uint64_t)value < got || (uint64_t)value > k->sent)
        world_fail(&s->world, "client %u: counter %u ended at %" PRId64 "; %" PRIu64 " INCR were answered, %" PRIu64 " sent", c->id,
                   counter, value, got, k->sent);
}

// ---- the server

static void stop_requested(struct server *server)
{
}

static void make_server(struct sim *s)
{
    struct server *server = &s->server;
    server->order.fault = s->options.fault;
    options_init(&server->options);
    server->options.databases = (int64_t)s->knobs.databases;
    server->options.maxmemory = s->knobs.maxmemory;
    server->options.maxmemory_policy = (int)s->knobs.policy;
    s->host = (struct server_host){ .stop_requested = stop_requested, .os = "simulation", .compiler = "", .allocator = "libc", .pid = 1 };
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
}

static void start_workers(struct sim *s, struct prng *seeds)
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
}

static void stop_server(struct sim *s, enum server_stop how)
{
    sim_say(s, "the server is told to stop");
    s->stopping = true;
    atomic_store(&s->server.stop, how);
    for (uint32_t i = 0; i < s->knobs.workers; i++)
        reactor_wake(s->reactors[i], NULL);
}

static void free_server(struct sim *s)
{
    for (uint32_t i = 0; i < s->knobs.workers; i++) {
        s->workers[i] = worker_free(s->workers[i]);
        s->reactors[i] = reactor_close_all(s->reactors[i]);
    }
    mesh_rings_free(s->server.rings);
    options_deinit(&s->server.options);
}

// ---- invariants

static void check_conn(struct sim *s, const struct conn *c, uint64_t due)
{
    uint64_t memory = conn_memory(c);
    if (memory > CONN_SLACK + 2 * due)
        world_fail(&s->world, "a connection holds %" PRIu64 " bytes for %" PRIu64 " bytes of replies due", memory, due);
}

static void check_bounds(struct sim *s)
{
    uint64_t due = 0;
    for (uint32_t i = 0; i < s->knobs.clients; i++)
        if (s->clients[i].due_bytes > due)
            due = s->clients[i].due_bytes;
    for (uint32_t i = 0; i < s->knobs.workers; i++) {
        struct worker *w = s->workers[i];
        list_for_each (node, &w->conns)
            check_conn(s, container_of(node, struct conn, link), due);
        for (uint32_t p = 0; p < w->mesh.count; p++)
            if (w->mesh.peers[p].backlog_count > MESH_BACKLOG)
                world_fail(&s->world, "worker %u keeps %u blocks for worker %u", i, w->mesh.peers[p].backlog_count, p);
    }
}

// ---- the scheduler

static void run_worker(struct sim *s, uint32_t i)
{
    if (!worker_turn(s->workers[i])) {
        s->running[i] = false;
        sim_say(s, "worker %u has stopped", i);
    }
}

static bool is_starved(struct sim *s, uint32_t worker)
{
    return worker == s->starved && s->steps < s->starved_until_step && s->world.now_ns < s->starved_until_ns && !s->world.calm;
}

static void maybe_starve(struct sim *s)
{
    if (s->world.calm || prng_below(&s->schedule, 1000) >= s->knobs.starve_permille || s->steps < s->starved_until_step)
        return;
    s->starved = (uint32_t)prng_below(&s->schedule, s->knobs.workers);
    s->starved_until_step = s->steps + prng_below(&s->schedule, STARVE_STEPS);
    s->starved_until_ns = s->world.now_ns + prng_below(&s->schedule, STARVE_NS);
}

// Who may go now: workers by number, clients behind them. *next: when somebody will, if nobody may.
static uint32_t find_ready(struct sim *s, uint32_t *ready, uint64_t *next)
{
    uint32_t count = 0;
    uint64_t now = s->world.now_ns;
    *next = NEVER;
    for (uint32_t i = 0; i < s->knobs.workers; i++) {
        if (!s->running[i])
            continue;
        uint64_t at = is_starved(s, i) ? s->starved_until_ns : world_awake_ns(&s->world, i);
        if (at <= now)
            ready[count++] = i;
        else if (at < *next)
            *next = at;
    }
    for (uint32_t i = 0; i < s->knobs.clients; i++) {
        uint64_t at = client_sim_next_ns(&s->clients[i]);
        if (at <= now)
            ready[count++] = s->knobs.workers + i;
        else if (at < *next)
            *next = at;
    }
    for (uint32_t i = 0; i < s->traffic.count; i++) {
        uint64_t at = traffic_next_ns(&s->traffic, i);
        if (at <= now)
            ready[count++] = s->knobs.workers + s->knobs.clients + i;
        else if (at < *next)
            *next = at;
    }
    return count;
}

static void step(struct sim *s)
{
    uint32_t ready[WORLD_REACTORS_MAX + CLIENTS_MAX + TRAFFIC_CLIENTS_MAX];
    uint64_t next;
    s->steps++;
    s->world.now_ns += 1 + prng_below(&s->schedule, s->knobs.tick_ns);
    maybe_starve(s);
    uint32_t count = find_ready(s, ready, &next);
    if (count == 0) {
        if (next != NEVER)
            s->world.now_ns = next;
        return;
    }
    uint32_t who = ready[prng_below(&s->schedule, count)];
    if (who < s->knobs.workers)
        run_worker(s, who);
    else if (who < s->knobs.workers + s->knobs.clients)
        client_sim_step(&s->clients[who - s->knobs.workers]);
    else
        traffic_step(&s->traffic, who - s->knobs.workers - s->knobs.clients);
    world_check_sleepers(&s->world);
    if (s->steps % CHECK_EVERY == 0)
        check_bounds(s);
}

static bool failed(const struct sim *s)
{
    return s->world.failure[0] != '\0';
}

static void say_clients(const struct sim *s)
{
    for (uint32_t i = 0; i < s->knobs.clients; i++) {
        const struct client_sim *c = &s->clients[i];
        sim_say(s, "client %u: connection %u, state %u, %u written, %zu bytes unwritten, %u due (%s)", i,
                c->socket != NULL ? c->socket->number : 0, c->state, c->queued, c->out.len - c->out_sent, c->due_count,
                c->due != NULL ? c->due->command : "");
    }
}

// Steps until `done`; fails when that takes longer than anybody's patience.
static void steps_until(struct sim *s, bool (*done)(struct sim *s), const char *what)
{
    uint64_t until = s->world.now_ns + PATIENCE_NS, most = s->steps + STEPS_MAX;
    while (!failed(s) && !done(s)) {
        step(s);
        if (s->world.now_ns > until || s->steps > most) {
            world_fail(&s->world, "without faults, after %s: %s", s->steps > most ? "many steps" : "ten seconds", what);
            say_clients(s);
        }
    }
}

// ---- phases

static bool has_worked(const struct client_sim *c, const struct workload_knobs *k)
{
    return c->queued >= k->commands && c->due_count == 0;
}

static bool all_worked(struct sim *s)
{
    for (uint32_t i = 0; i < s->knobs.clients; i++)
        if (!has_worked(&s->clients[i], &s->knobs.workload))
            return false;
    return traffic_worked(&s->traffic);
}

static bool all_answered(struct sim *s)
{
    for (uint32_t i = 0; i < s->knobs.clients; i++)
        if (s->clients[i].state != CLIENT_ON || s->clients[i].due_count > 0)
            return false;
    return traffic_answered(&s->traffic);
}

static bool all_left(struct sim *s)
{
    for (uint32_t i = 0; i < s->knobs.clients; i++)
        if (s->clients[i].socket != NULL)
            return false;
    return traffic_left(&s->traffic) && atomic_load(&s->server.connected) == 0;
}

static bool all_stopped(struct sim *s)
{
    for (uint32_t i = 0; i < s->knobs.workers; i++)
        if (s->running[i])
            return false;
    return true;
}

static void busy_phase(struct sim *s)
{
    uint64_t until = s->world.now_ns + 600 * NS_PER_SEC;
    uint64_t stop_at = s->knobs.stop_early ? s->steps + prng_below(&s->schedule, 20000) : NEVER;
    uint64_t most = s->options.steps != 0 ? s->options.steps : STEPS_MAX;
    while (!failed(s) && !all_worked(s) && s->steps < most && s->steps < stop_at && s->world.now_ns < until)
        step(s);
    if (s->options.steps == 0 && !failed(s) && s->steps < stop_at && !all_worked(s)) {
        world_fail(&s->world, "the clients' work does not end");
        say_clients(s);
    }
}

static void verify_phase(struct sim *s)
{
    sim_say(s, "no more faults");
    world_calm(&s->world);
    steps_until(s, all_answered, "a client has not got its replies");
    for (uint32_t i = 0; i < s->knobs.clients && !failed(s); i++)
        client_sim_verify(&s->clients[i]);
    for (uint32_t i = 0; i < COUNTERS && s->knobs.clients > 0 && !failed(s); i++)
        generate_counter_read(&s->clients[0], i);
    steps_until(s, all_answered, "a client has not got its values");
}

static void leave_phase(struct sim *s)
{
    for (uint32_t i = 0; i < s->knobs.clients && !failed(s); i++)
        client_sim_leave(&s->clients[i], (int)prng_below(&s->schedule, 3));
    for (uint32_t i = 0; i < s->knobs.clients; i++)
        s->clients[i].verifying = true;
    traffic_leave(&s->traffic);
    steps_until(s, all_left, "a connection has not ended");
}

static void check_after(struct sim *s)
{
    if (failed(s))
        return;
    if (atomic_load(&s->server.connected) != 0)
        world_fail(&s->world, "%u connections are counted at the end", atomic_load(&s->server.connected));
    for (uint32_t i = 0; i < s->knobs.workers; i++)
        if (s->workers[i]->stats.clients != 0)
            world_fail(&s->world, "worker %u counts %" PRIu64 " clients at the end", i, s->workers[i]->stats.clients);
}

static void history(struct sim *s)
{
    busy_phase(s);
    if (s->knobs.stop_early) {
        world_calm(&s->world);
    } else {
        if (!failed(s))
            verify_phase(s);
        if (!failed(s))
            leave_phase(s);
    }
    stop_server(s, prng_below(&s->schedule, 4) == 0 ? SERVER_STOPS_NOW : SERVER_STOPS);
    steps_until(s, all_stopped, "a worker has not stopped");
    check_after(s);
    if (!failed(s) && s->options.history)
        traffic_check(&s->traffic);
}

static void report(struct sim *s, struct sim_result *out)
{
    *out = (struct sim_result){ .trace = s->world.trace, .steps = s->steps, .virtual_ms = s->world.now_ns / NS_PER_MS };
    out->bug_struck = s->world.bug_struck;
    for (uint32_t i = 0; i < s->knobs.clients; i++)
        out->commands += s->clients[i].queued;
    out->commands += s->traffic.workload.asked;
    out->lies = s->traffic.workload.lies;
    memcpy(out->failure, s->world.failure, sizeof out->failure);
}

static void plant(struct sim *s, struct prng *seeds)
{
    enum world_bug bug = s->options.bug;
    if (bug == BUG_UNSEEDED) { // as if something else than the seed had a say
        static uint64_t unseeded;
        s->world.trace += unseeded++;
    }
    world_plant(&s->world, bug, 1 + prng_below(seeds, 20));
}

void sim_run(const struct sim_options *options, struct sim_result *out)
{
    struct sim *s = calloc(1, sizeof *s);
    assert(s != NULL);
    s->options = *options;
    knobs_draw(&s->knobs, options->seed);
    if (options->history)
        knobs_of_history(&s->knobs);
    if (options->verbose)
        knobs_print(&s->knobs);
    // A generator for each concern, so that a draw more in one does not shift the others.
    struct prng seeds;
    prng_init(&seeds, options->seed ^ 0x736b65727279u);
    prng_init(&s->schedule, prng_next(&seeds));
    world_init(&s->world, &s->knobs.world, prng_next(&seeds));
    pages_init(&s->pages, prng_next(&seeds));
    plant(s, &seeds);
    make_server(s);
    start_workers(s, &seeds);
    s->pages.fail_permille = s->knobs.memory_fails;
    s->starved = UINT32_MAX;
    for (uint32_t i = 0; i < s->knobs.clients; i++)
        client_sim_init(&s->clients[i], s, i, prng_next(&seeds));
    if (options->history)
        traffic_init(&s->traffic, s, options->lie, prng_next(&seeds));
    history(s);
    if (options->history)
        traffic_deinit(&s->traffic);
    for (uint32_t i = 0; i < s->knobs.clients; i++)
        client_sim_deinit(&s->clients[i]);
    if (!failed(s)) {
        free_server(s);
        if (s->pages.live != 0)
            world_fail(&s->world, "%" PRId64 " bytes of pages were not released", s->pages.live);
    }
    world_deinit(&s->world);
    if (!failed(s) && s->world.net.alive != 0)
        world_fail(&s->world, "%u connections are alive in the world at the end", s->world.net.alive);
    report(s, out);
    for (uint32_t i = 0; i < COUNTERS; i++)
        free(s->counters[i].seen);
    free(s);
}
