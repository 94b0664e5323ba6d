// SPDX-License-Identifier: Apache-2.0
#include "test/sim/sim.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "engine/shard/conn.h"
#include "reactor/clock.h"
#include "test/sim/sim_inside.h"

#define PATIENCE_NS  (10 * NS_PER_SEC) // without faults, everything that is due has come by then
#define STARVE_STEPS 3000
#define STARVE_NS    (100 * NS_PER_MS)
#define CHECK_EVERY  256
#define CONN_SLACK   (UINT64_C(4) << 20) // what a connection may hold beside the replies that are due
#define MESH_BACKLOG 512

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

bool sim_stopping(const struct sim *s)
{
    return s->stopping;
}

bool sim_asks_snapshots(const struct sim *s)
{
    return s->options.snapshots;
}

bool sim_switches_log(const struct sim *s)
{
    return s->options.switches;
}

bool sim_disk_is_quick(const struct sim *s)
{
    const struct world_knobs *w = &s->knobs.world;
    return s->knobs.storage.budget == 0 && w->file_spike == 0 && w->write_error + w->short_write + w->sync_error == 0;
}

bool sim_logs(const struct sim *s)
{
    return s->server.logging.on;
}

bool sim_log_left_clean(const struct sim *s)
{
    return s->server.logging.turning.clean;
}

const struct route *sim_route(const struct sim *s)
{
    return &s->server.route;
}

int sim_listener(struct sim *s, struct prng *prng)
{
    return s->listeners[prng_below(prng, s->knobs.workers)];
}

int sim_direct_listener(const struct sim *s, uint32_t shard)
{
    return s->knobs.storage.direct ? s->direct[shard] : -1;
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

// Who takes steps: the machine's, then clients of each kind.
static uint32_t actors(const struct sim *s)
{
    return machine_actors(s) + s->knobs.clients + s->traffic.count + (s->options.durable ? s->durable.count + 1 : 0);
}

static uint64_t next_ns(struct sim *s, uint32_t actor)
{
    uint32_t machine = machine_actors(s);
    if (actor < machine)
        return is_starved(s, actor) && machine_next_ns(s, actor) != NEVER ? s->starved_until_ns : machine_next_ns(s, actor);
    uint32_t client = actor - machine;
    if (client < s->knobs.clients)
        return client_sim_next_ns(&s->clients[client]);
    client -= s->knobs.clients;
    return client < s->traffic.count ? traffic_next_ns(&s->traffic, client) : durable_next_ns(&s->durable, client - s->traffic.count);
}

static void run(struct sim *s, uint32_t actor)
{
    uint32_t machine = machine_actors(s);
    if (actor < machine) {
        machine_run(s, actor);
        return;
    }
    uint32_t client = actor - machine;
    if (client < s->knobs.clients)
        client_sim_step(&s->clients[client]);
    else if (client < s->knobs.clients + s->traffic.count)
        traffic_step(&s->traffic, client - s->knobs.clients);
    else
        durable_step(&s->durable, client - s->knobs.clients - s->traffic.count);
}

// Who may go now. *next: when somebody will, if nobody may.
static uint32_t find_ready(struct sim *s, uint32_t *ready, uint64_t *next)
{
    uint32_t count = 0;
    uint64_t now = s->world.now_ns;
    *next = NEVER;
    for (uint32_t i = 0; i < actors(s); i++) {
        uint64_t at = next_ns(s, i);
        if (at <= now)
            ready[count++] = i;
        else if (at < *next)
            *next = at;
    }
    return count;
}

void sim_step(struct sim *s)
{
    uint32_t ready[WORLD_REACTORS_MAX + CLIENTS_MAX + TRAFFIC_CLIENTS_MAX + DURABLE_CLIENTS_MAX + 1];
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
    run(s, ready[prng_below(&s->schedule, count)]);
    world_check_sleepers(&s->world);
    if (s->steps % CHECK_EVERY == 0)
        check_bounds(s);
}

bool sim_failed(const struct sim *s)
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

void sim_until(struct sim *s, bool (*done)(struct sim *s), const char *what)
{
    uint64_t until = s->world.now_ns + PATIENCE_NS, most = s->steps + SIM_STEPS_MAX;
    while (!sim_failed(s) && !done(s)) {
        sim_step(s);
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

static void busy_phase(struct sim *s)
{
    uint64_t until = s->world.now_ns + 600 * NS_PER_SEC;
    uint64_t stop_at = s->knobs.stop_early ? s->steps + prng_below(&s->schedule, 20000) : NEVER;
    uint64_t most = s->options.steps != 0 ? s->options.steps : SIM_STEPS_MAX;
    while (!sim_failed(s) && !all_worked(s) && s->steps < most && s->steps < stop_at && s->world.now_ns < until)
        sim_step(s);
    if (s->options.steps == 0 && !sim_failed(s) && s->steps < stop_at && !all_worked(s)) {
        world_fail(&s->world, "the clients' work does not end");
        say_clients(s);
    }
}

static void verify_phase(struct sim *s)
{
    sim_say(s, "no more faults");
    world_calm(&s->world);
    sim_until(s, all_answered, "a client has not got its replies");
    for (uint32_t i = 0; i < s->knobs.clients && !sim_failed(s); i++)
        client_sim_verify(&s->clients[i]);
    for (uint32_t i = 0; i < COUNTERS && s->knobs.clients > 0 && !sim_failed(s); i++)
        generate_counter_read(&s->clients[0], i);
    sim_until(s, all_answered, "a client has not got its values");
}

static void leave_phase(struct sim *s)
{
    for (uint32_t i = 0; i < s->knobs.clients && !sim_failed(s); i++)
        client_sim_leave(&s->clients[i], (int)prng_below(&s->schedule, 3));
    for (uint32_t i = 0; i < s->knobs.clients; i++)
        s->clients[i].verifying = true;
    traffic_leave(&s->traffic);
    sim_until(s, all_left, "a connection has not ended");
}

static void check_after(struct sim *s)
{
    if (sim_failed(s))
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
        if (!sim_failed(s))
            verify_phase(s);
        if (!sim_failed(s))
            leave_phase(s);
    }
    machine_stop(s, prng_below(&s->schedule, 4) == 0 ? SERVER_STOPS_NOW : SERVER_STOPS);
    sim_until(s, machine_stopped, "a worker has not stopped");
    check_after(s);
    if (!sim_failed(s) && s->options.history)
        traffic_check(&s->traffic);
}

static void report(struct sim *s, struct sim_result *out)
{
    *out = (struct sim_result){ .trace = s->world.trace, .steps = s->steps, .virtual_ms = s->world.now_ns / NS_PER_MS };
    out->bug_struck = s->world.bug_struck;
    for (uint32_t i = 0; i < s->knobs.clients; i++)
        out->commands += s->clients[i].queued;
    out->commands += s->traffic.workload.asked;
    for (uint32_t i = 0; i < s->durable.count; i++)
        out->commands += s->durable.clients[i].asked;
    out->lies = s->traffic.workload.lies;
    out->switched = s->durable.switched;
    out->switches_cut = s->durable.switches_cut;
    out->levels = s->durable.levels;
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
    // A generator for each concern, so that a draw more in one does not shift the others.
    struct prng seeds;
    prng_init(&seeds, options->seed ^ 0x736b65727279u);
    if (options->history)
        knobs_of_history(&s->knobs);
    if (options->durable)
        knobs_of_durable(&s->knobs, &seeds);
    if (options->verbose)
        knobs_print(&s->knobs);
    prng_init(&s->schedule, prng_next(&seeds));
    world_init(&s->world, &s->knobs.world, prng_next(&seeds));
    pages_init(&s->pages, prng_next(&seeds));
    plant(s, &seeds);
    if (options->durable) {
        s->world.disk = sim_disk_new(prng_next(&seeds));
        s->world.disk->now_ns = &s->world.now_ns;
        if (s->knobs.storage.budget > 0)
            s->world.disk->budget = s->knobs.storage.budget;
    }
    machine_make(s);
    machine_start(s, &seeds);
    s->pages.fail_permille = s->knobs.memory_fails;
    s->starved = UINT32_MAX;
    for (uint32_t i = 0; i < s->knobs.clients; i++)
        client_sim_init(&s->clients[i], s, i, prng_next(&seeds));
    if (options->history)
        traffic_init(&s->traffic, s, options->lie, prng_next(&seeds));
    if (options->durable)
        lives_run(s, &seeds);
    else
        history(s);
    if (options->history)
        traffic_deinit(&s->traffic);
    if (options->durable)
        durable_deinit(&s->durable);
    for (uint32_t i = 0; i < s->knobs.clients; i++)
        client_sim_deinit(&s->clients[i]);
    if (!sim_failed(s)) {
        machine_free(s);
        if (s->pages.live != 0)
            world_fail(&s->world, "%" PRId64 " bytes of pages were not released", s->pages.live);
    }
    sim_disk_free(s->world.disk);
    world_deinit(&s->world);
    if (!sim_failed(s) && s->world.net.alive != 0)
        world_fail(&s->world, "%u connections are alive in the world at the end", s->world.net.alive);
    report(s, out);
    for (uint32_t i = 0; i < COUNTERS; i++)
        free(s->counters[i].seen);
    free(s);
}
