// SPDX-License-Identifier: Apache-2.0
// The load generator: one main thread that keeps time and reads the server's CPU counters, and `--threads` clients.
//
//   main      open clients | start threads |            | set the window |  read /proc ...... read /proc | report
//   client                 | pin, ring     | load keys  |                |  warm up, measure             |
//                                       barrier      barrier          barrier                         barrier
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>

#include "base/assert.h"
#include "bench/client.h"
#include "bench/options.h"
#include "bench/report.h"
#include "bench/server_cpu.h"
#include "bench/workload.h"

enum { EXIT_BAD_OPTIONS = 2, LOAD_PIPELINE = 64 };

struct bench {
    struct options options;
    struct workload load; // SET of every key, for --preload
    struct workload work;
    struct topology topology; // of direct ports; no shards: everything goes to one port
    uint32_t client_count;
    struct client *clients;
    pthread_t *threads;
    pthread_barrier_t barrier;
    atomic_bool stop;
    uint64_t start_ns;
    uint64_t measure_ns;
    uint64_t end_ns;
};

struct client_thread {
    struct bench *bench;
    struct client *client;
};

static void pin(const struct bench *b, uint32_t index)
{
    const struct options *o = &b->options;
    cpu_set_t set;
    if (o->cpu_count == 0)
        return;
    CPU_ZERO(&set);
    CPU_SET(o->cpus[index % o->cpu_count], &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0)
        fprintf(stderr, "skerry-bench: cannot pin to core %u: %s\n", o->cpus[index % o->cpu_count], strerror(errno));
}

static uint64_t share(uint64_t all, uint32_t parts, uint32_t index)
{
    return all / parts + (index < all % parts);
}

static uint64_t share_first(uint64_t all, uint32_t parts, uint32_t index)
{
    return all / parts * index + (index < all % parts ? index : all % parts);
}

static uint32_t load_pipeline(const struct options *o)
{
    return o->pipeline > LOAD_PIPELINE ? o->pipeline : LOAD_PIPELINE;
}

static void phase_step(struct bench *b, struct client *c, const struct phase *phase)
{
    if (c->failure[0] == '\0' && !atomic_load(&b->stop) && client_run(c, phase) != 0)
        atomic_store(&b->stop, true);
}

static void load_step(struct bench *b, struct client *c)
{
    const struct options *o = &b->options;
    struct phase phase = {
        .workload = &b->load,
        .start_ns = client_clock_ns(),
        .end_ns = UINT64_MAX,
        .quota = share(o->keys, b->client_count, c->index),
        .first_key = share_first(o->keys, b->client_count, c->index),
        .in_order = true,
        .pipeline = load_pipeline(o),
    };
    phase_step(b, c, &phase);
    if (c->failure[0] == '\0' && c->measure.errors > 0) {
        snprintf(c->failure, sizeof c->failure, "%llu keys could not be set: %s", (unsigned long long)c->measure.errors,
                 c->measure.error_text);
        atomic_store(&b->stop, true);
    }
}

static void work_step(struct bench *b, struct client *c)
{
    const struct options *o = &b->options;
    double own_rate = o->rate * c->connection_count / o->connections;
    struct phase phase = {
        .workload = &b->work,
        .start_ns = b->start_ns,
        .measure_ns = b->measure_ns,
        .end_ns = b->end_ns,
        .quota = o->requests > 0 ? share(o->requests, b->client_count, c->index) : UINT64_MAX,
        .pipeline = o->pipeline,
        .interval_ns = o->rate > 0 ? 1e9 / own_rate : 0,
    };
    if (o->rate > 0) // threads take turns instead of all sending at once
        phase.start_ns += (uint64_t)(1e9 / o->rate * c->index);
    phase_step(b, c, &phase);
}

static void *client_main(void *argument)
{
    struct client_thread *t = argument;
    struct bench *b = t->bench;
    pin(b, t->client->index);
    prctl(PR_SET_TIMERSLACK, 1UL);
    if (client_open_ring(t->client) != 0)
        atomic_store(&b->stop, true);
    pthread_barrier_wait(&b->barrier);
    if (b->options.preload)
        load_step(b, t->client);
    pthread_barrier_wait(&b->barrier);
    pthread_barrier_wait(&b->barrier); // between the two, the main thread sets the window
    work_step(b, t->client);
    pthread_barrier_wait(&b->barrier);
    return NULL;
}

// Returns early when a client failed.
static void sleep_until(struct bench *b, uint64_t when_ns)
{
    for (uint64_t now; (now = client_clock_ns()) < when_ns && !atomic_load(&b->stop);) {
        uint64_t until = when_ns - now > 50000000 ? now + 50000000 : when_ns;
        struct timespec t = { .tv_sec = (time_t)(until / 1000000000u), .tv_nsec = (long)(until % 1000000000u) };
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
    }
}

static int server_read(const struct bench *b, struct server_cpu *out)
{
    memset(out, 0, sizeof *out);
    return b->options.server_pid == 0 ? 0 : server_cpu_read(b->options.server_pid, out);
}

static void server_subtract(struct server_cpu *after, const struct server_cpu *before)
{
    after->run_ns -= before->run_ns;
    after->user_ns -= before->user_ns;
    after->system_ns -= before->system_ns;
    after->voluntary_switches -= before->voluntary_switches;
    after->involuntary_switches -= before->involuntary_switches;
}

static void measure_add(struct measure *into, const struct measure *from)
{
    histogram_merge(&into->latency, &from->latency);
    into->requests += from->requests;
    into->errors += from->errors;
    into->misses += from->misses;
    into->wrong += from->wrong;
    into->bytes_in += from->bytes_in;
    into->bytes_out += from->bytes_out;
    into->cpu_ns += from->cpu_ns;
    if (from->last_reply_ns > into->last_reply_ns)
        into->last_reply_ns = from->last_reply_ns;
    if (into->error_text[0] == '\0')
        memcpy(into->error_text, from->error_text, sizeof into->error_text);
}

static void window_set(struct bench *b)
{
    b->start_ns = client_clock_ns();
    b->measure_ns = b->start_ns + (uint64_t)(b->options.warmup_s * 1e9);
    b->end_ns = b->options.requests > 0 ? UINT64_MAX : b->measure_ns + (uint64_t)(b->options.duration_s * 1e9);
}

// So that somebody else can read the server's counters for the same window.
static void announce(const struct bench *b, const char *what)
{
    if (b->options.announce)
        fprintf(stderr, "%s\n", what); // not buffered
}

static int bench_measure(struct bench *b, struct report *report)
{
    struct server_cpu before;
    bool timed = b->options.requests == 0;
    pthread_barrier_wait(&b->barrier); // rings are open
    pthread_barrier_wait(&b->barrier); // keys are loaded
    window_set(b);
    pthread_barrier_wait(&b->barrier);
    sleep_until(b, b->measure_ns);
    announce(b, "measuring");
    int rc = server_read(b, &before);
    if (timed) {
        sleep_until(b, b->end_ns);
        rc = rc != 0 ? rc : server_read(b, &report->server);
    }
    pthread_barrier_wait(&b->barrier); // all is answered
    if (!timed)
        rc = rc != 0 ? rc : server_read(b, &report->server);
    announce(b, "measured");
    server_subtract(&report->server, &before);
    report->has_server = b->options.server_pid != 0 && rc == 0;
    return rc;
}

static int report_fill(struct bench *b, struct report *report)
{
    report->options = &b->options;
    histogram_init(&report->total.latency);
    for (uint32_t i = 0; i < b->client_count; i++)
        measure_add(&report->total, &b->clients[i].measure);
    uint64_t end = b->options.requests > 0 ? report->total.last_reply_ns : b->end_ns;
    report->seconds = end > b->measure_ns ? (double)(end - b->measure_ns) / 1e9 : 0;
    return 0;
}

static int failures_print(const struct bench *b)
{
    for (uint32_t i = 0; i < b->client_count; i++) {
        if (b->clients[i].failure[0] != '\0') {
            fprintf(stderr, "skerry-bench: %s\n", b->clients[i].failure);
            return -1;
        }
    }
    return 0;
}

static int bench_verdict(struct bench *b, struct report *report, int server_rc)
{
    const struct options *o = &b->options;
    if (failures_print(b) != 0)
        return EXIT_FAILURE;
    if (o->duration_s == 0 && o->requests == 0)
        return EXIT_SUCCESS;
    report_fill(b, report);
    report_print(report);
    if (server_rc != 0) {
        fprintf(stderr, "skerry-bench: cannot read what process %d uses: %s\n", (int)o->server_pid, strerror(-server_rc));
        return EXIT_FAILURE;
    }
    if (report->total.requests == 0) {
        fprintf(stderr, "skerry-bench: no reply within the measured time\n");
        return EXIT_FAILURE;
    }
    bool lost = o->verify && o->preload && report->total.misses > 0;
    return report->total.wrong > 0 || lost ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int clients_open(struct bench *b)
{
    const struct options *o = &b->options;
    uint32_t pipeline = o->preload ? load_pipeline(o) : o->pipeline;
    uint64_t request = b->load.len_max > b->work.len_max ? b->load.len_max : b->work.len_max;
    for (uint32_t i = 0; i < o->threads; i++) {
        b->client_count++;
        int rc = client_open(&b->clients[i], o, &b->topology, i, (uint32_t)share_first(o->connections, o->threads, i),
                             (uint32_t)share(o->connections, o->threads, i), pipeline, request, &b->stop);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int bench_run(struct bench *b)
{
    struct client_thread arguments[OPTIONS_THREADS_MAX];
    struct report report = { 0 };
    if (clients_open(b) != 0) {
        failures_print(b);
        return EXIT_FAILURE;
    }
    pthread_barrier_init(&b->barrier, NULL, b->client_count + 1);
    for (uint32_t i = 0; i < b->client_count; i++) {
        arguments[i] = (struct client_thread){ .bench = b, .client = &b->clients[i] };
        int rc = pthread_create(&b->threads[i], NULL, client_main, &arguments[i]);
        if (rc != 0) {
            fprintf(stderr, "skerry-bench: cannot start a thread: %s\n", strerror(rc));
            exit(EXIT_FAILURE); // the others wait at the barrier
        }
    }
    pin(b, 0); // a reading of /proc must not disturb the server's core
    int server_rc = bench_measure(b, &report);
    for (uint32_t i = 0; i < b->client_count; i++)
        pthread_join(b->threads[i], NULL);
    pthread_barrier_destroy(&b->barrier);
    return bench_verdict(b, &report, server_rc);
}

static void descriptors_raise(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

// Where the shards are, and which keys are theirs. -EINVAL: the reason is printed.
static int shards_init(struct bench *b)
{
    char error[256];
    const struct options *o = &b->options;
    if (topology_ask(o, &b->topology, error, sizeof error) != 0) {
        fprintf(stderr, "skerry-bench: %s\n", error);
        return -EINVAL;
    }
    int rc = workload_shard(&b->work, &b->topology);
    if (rc == -EINVAL || o->connections < b->topology.shards) {
        fprintf(stderr, "skerry-bench: too few %s for %u shards\n", rc == -EINVAL ? "keys" : "connections", b->topology.shards);
        return -EINVAL;
    }
    return rc;
}

static int bench_init(struct bench *b)
{
    b->clients = calloc(b->options.threads, sizeof *b->clients);
    b->threads = calloc(b->options.threads, sizeof *b->threads);
    if (b->clients == NULL || b->threads == NULL)
        return -ENOMEM;
    int rc = b->options.preload ? workload_init(&b->load, &b->options, true) : 0;
    rc = rc != 0 ? rc : workload_init(&b->work, &b->options, false);
    return rc == 0 && b->options.direct ? shards_init(b) : rc;
}

static void bench_deinit(struct bench *b)
{
    for (uint32_t i = 0; i < b->client_count; i++)
        client_close(&b->clients[i]);
    workload_deinit(&b->load);
    workload_deinit(&b->work);
    free(b->clients);
    free(b->threads);
}

int main(int argc, char **argv)
{
    static struct bench bench;
    char error[256];
    int rc = options_parse(&bench.options, argc, argv, error, sizeof error);
    if (rc == 1)
        return EXIT_SUCCESS;
    if (rc != 0) {
        fprintf(stderr, "skerry-bench: %s (--help lists the options)\n", error);
        return EXIT_BAD_OPTIONS;
    }
    signal(SIGPIPE, SIG_IGN);
    descriptors_raise();
    rc = bench_init(&bench);
    if (rc == -ENOMEM)
        fprintf(stderr, "skerry-bench: out of memory\n");
    if (rc == 0)
        rc = bench_run(&bench);
    bench_deinit(&bench);
    return rc < 0 ? EXIT_FAILURE : rc;
}
