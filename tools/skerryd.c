// SPDX-License-Identifier: Apache-2.0
// skerryd, the server program: options, listeners, one thread per worker, signals.
//
//   main     options -> threads      | gate | listeners       | gate | waits for signals, tells to stop | gate | joins
//   worker   reactor, worker         | gate |                 | gate | turns until drained              | gate | frees his own
//
// The gates are where every thread waits for all others: nobody takes a turn before all workers exist, and nobody frees his
// before all have taken their last.
//
// Exit status: 0 stopped as it was told, 1 did not start (the reason is on the standard error), 74 the log has failed,
// or the disk had no room for all that was to be in it.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "engine/shard/mesh.h"
#include "engine/shard/worker.h"
#include "reactor/clock.h"
#include "reactor/entropy.h"
#include "reactor/feature_names.h"
#include "reactor/log.h"
#include "reactor/memory.h"
#include "reactor/memory_ahead.h"
#include "reactor/net.h"
#include "reactor/thread.h"
#include "tools/arguments.h"
#include "tools/cores.h"
#include "tools/durability.h"
#include "tools/host.h"
#include "tools/listeners.h"
#include "tools/service.h"

static_assert(LISTENERS_MAX <= WORKER_LISTENERS_MAX, "a worker takes every listener");

#define EXIT_LOG_FAILED   74
#define DESCRIPTORS_SPARE 64 // beside clients and listeners: log, rings, events, the configuration file

struct program;

struct core {
    struct program *program;
    struct thread thread;
    uint32_t id;
    struct reactor *reactor;
    struct worker *worker;
    char why[256]; // the reactor's choice, or what went wrong
    int error;
};

struct program {
    struct server server;
    struct server_host host;
    struct cores cores;
    struct listeners listeners;
    struct durability durability;
    struct core *core; // [workers]
    uint32_t started;  // threads
    struct hash_secret secret;
    pthread_barrier_t gate;
    _Atomic bool go;           // set before the first gate opens: all workers exist
    _Atomic uint32_t finished; // threads
    int event_fd;              // wakes the main thread
    char executable[PATH_MAX];
    char config_file[PATH_MAX];
};

static struct program program;

// ---- what workers ask of the program

static void wake_main(struct server *s)
{
    uint64_t one = 1;
    (void)!write(program.event_fd, &one, sizeof one);
}

static int read_config(struct server *s, struct buf *out)
{
    return host_read_file(s->config_file, out);
}

static int replace_config(struct server *s, struct slice text)
{
    return host_replace_file(s->config_file, text);
}

static int hold_log(struct server *s, struct reactor *r)
{
    return durability_hold_now(&program.durability, r);
}

static void set_loglevel(struct server *s, int level)
{
    log_set_level((enum log_level)level);
}

// ---- one worker

static uint32_t features_without(const struct options *o)
{
    struct slice unknown;
    uint32_t without;
    int rc = feature_names_parse(slice_cstr(o->io_without), &without, &unknown);
    assert(rc == 0); // options_check
    return without;
}

static int core_open(struct core *c)
{
    struct program *p = c->program;
    const struct options *o = &p->server.options;
    static const enum memory_hugepages HUGEPAGES[] = {
        [HUGEPAGES_AUTO] = MEMORY_HUGE_THP, [HUGEPAGES_RESERVED] = MEMORY_HUGE_TLB, [HUGEPAGES_NO] = MEMORY_HUGE_OFF
    };
    int cpu = p->cores.cpu[c->id];
    struct memory *memory = memory_system(o->numa && cpu >= 0 ? thread_node_of_cpu(cpu) : -1, HUGEPAGES[o->hugepages]);
    struct reactor_options r = {
        .backend = (enum reactor_backend)o->io,
        .features = REACTOR_FEATURES_ALL & ~features_without(o),
        .spin_us = p->cores.spin_us,
        .busy_poll = o->busy_poll,
        .cpu = cpu,
        .memory = memory,
    };
    const char *why = "";
    int rc = reactor_open(&c->reactor, &r, &why);
    snprintf(c->why, sizeof c->why, "%s", why);
    if (rc == 0 && c->id == 0 && (rc = durability_hold(&p->durability, c->reactor)) < 0)
        snprintf(c->why, sizeof c->why, "the ring cannot hold the lock of the data directory");
    if (rc < 0)
        return rc;
    rc = worker_new(&c->worker, &p->server, c->id, c->reactor, memory, entropy_u64(), &p->secret);
    if (rc < 0) {
        snprintf(c->why, sizeof c->why, "cannot make a worker: %s", strerror(-rc));
        return rc;
    }
    p->server.workers[c->id] = c->worker;
    return 0;
}

// There is room for every listener (LISTENERS_MAX, and what open_listeners reserved), so that this cannot fail.
static void core_listen(struct core *c)
{
    struct listening *l = listeners_of(&c->program->listeners, c->id);
    for (uint32_t i = 0; i < c->program->listeners.count; i++) {
        int rc = worker_listen(c->worker, l[i].fd, l[i].flags);
        assert(rc == 0);
        l[i].fd = -1;
    }
    for (uint32_t i = 0; i < c->program->listeners.direct_count; i++) {
        struct direct_listening *d = &c->program->listeners.direct[i];
        if (d->shard % c->program->cores.workers != c->id)
            continue;
        int rc = worker_listen_direct(c->worker, d->fd, d->shard);
        assert(rc == 0);
        d->fd = -1;
    }
    for (uint32_t i = 0; c->id == 0 && i < c->program->listeners.admin_count; i++) {
        int rc = worker_listen(c->worker, c->program->listeners.admin[i], LISTENER_ADMIN);
        assert(rc == 0);
        c->program->listeners.admin[i] = -1;
    }
    if (c->id == 0 && c->program->listeners.export >= 0) {
        int rc = worker_listen(c->worker, c->program->listeners.export, LISTENER_EXPORT);
        assert(rc == 0);
        c->program->listeners.export = -1;
    }
}

static void core_run(void *argument)
{
    struct core *c = argument;
    struct program *p = c->program;
    c->error = core_open(c);
    pthread_barrier_wait(&p->gate); // the main thread looks at the errors and opens the listeners
    pthread_barrier_wait(&p->gate);
    if (atomic_load(&p->go)) {
        core_listen(c);
        while (worker_turn(c->worker))
            ;
        if (logging_hosts(c->worker))
            logging_stop(c->worker);
    }
    atomic_fetch_add(&p->finished, 1);
    wake_main(&p->server);
    pthread_barrier_wait(&p->gate);
    if (c->worker != NULL && logging_hosts(c->worker))
        logging_free(c->worker);
    if (c->worker != NULL)
        worker_free(c->worker);
    if (c->reactor != NULL)
        reactor_close_all(c->reactor);
}

// ---- start

static int enter_folder(struct options *o)
{
    char path[PATH_MAX];
    char error[OPTIONS_ERROR_MAX];
    if (chdir(o->dir) != 0 || getcwd(path, sizeof path) == NULL)
        return complain("dir: %s: %s", o->dir, strerror(errno));
    return option_set_text(o, option_find(slice_cstr("dir")), slice_cstr(path), error);
}

// As many descriptors as maxclients needs; when the limit says no, fewer clients.
static void raise_files(struct program *p)
{
    struct options *o = &p->server.options;
    uint64_t spare = DESCRIPTORS_SPARE + (uint64_t)p->cores.workers * (LISTENERS_MAX / 4 + 8);
    if (o->direct_ports)
        spare += (uint64_t)p->cores.shards * listeners_addresses(o);
    uint64_t wanted = (uint64_t)o->maxclients + spare;
    uint64_t got = net_raise_files(wanted);
    if (got >= wanted)
        return;
    int64_t fewer = got > spare + 1 ? (int64_t)(got - spare) : 1;
    log_line(LOG_WARNING, "maxclients is %" PRId64 " instead of %" PRId64 ": this process may open %" PRIu64 " files (ulimit -n)", fewer,
             o->maxclients, got);
    o->maxclients = fewer;
}

static void describe_server(struct program *p)
{
    struct server *s = &p->server;
    uint8_t id[20];
    entropy_fill(id, sizeof id);
    for (size_t i = 0; i < sizeof id; i++)
        snprintf(s->run_id + i * 2, 3, "%02x", id[i]);
    entropy_fill(&p->secret, sizeof p->secret);
    ssize_t len = readlink("/proc/self/exe", p->executable, sizeof p->executable - 1);
    p->executable[len < 0 ? 0 : len] = '\0';
    s->executable = p->executable;
    s->config_file = p->config_file;
    s->started_ns = clock_now_ns();
    s->started_wall_ms = clock_wall_ms();
    s->worker_count = p->cores.workers;
    route_init(&s->route, p->cores.shards, (enum route_mode)s->options.route_mode);
    host_describe(&p->host);
    p->host.stop_requested = wake_main;
    p->host.config_read = read_config;
    p->host.config_replace = replace_config;
    p->host.loglevel_changed = set_loglevel;
    p->host.switch_log = wake_main;
    p->host.hold_log = hold_log;
    s->host = &p->host;
}

static int make_room(struct program *p)
{
    struct server *s = &p->server;
    s->workers = calloc(s->worker_count, sizeof(struct worker *));
    p->core = calloc(s->worker_count, sizeof *p->core);
    s->rings = mesh_rings_new(s->worker_count);
    p->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->workers == NULL || p->core == NULL || s->rings == NULL || p->event_fd < 0)
        return complain("out of memory or descriptors");
    // Every worker and the main thread.
    int rc = pthread_barrier_init(&p->gate, NULL, s->worker_count + 1);
    return rc == 0 ? 0 : complain("%s", strerror(rc));
}

static void start_threads(struct program *p)
{
    int ahead = memory_ahead_start();
    if (ahead < 0)
        complain("memory is not prepared ahead: %s", strerror(-ahead));
    for (uint32_t w = 0; w < p->cores.workers; w++) {
        struct core *c = &p->core[w];
        char name[24];
        *c = (struct core){ .program = p, .id = w };
        snprintf(name, sizeof name, "worker-%" PRIu32, w);
        int rc = thread_start(&c->thread, name, p->cores.cpu[w], core_run, c);
        if (rc < 0) { // the threads that run wait at a gate that never opens
            complain("cannot start worker %" PRIu32 ": %s", w, strerror(-rc));
            exit(1);
        }
    }
}

// True: every worker is ready.
static bool check_cores(const struct program *p)
{
    for (uint32_t w = 0; w < p->cores.workers; w++) {
        const struct core *c = &p->core[w];
        if (c->error == 0)
            continue;
        complain("worker %" PRIu32 ": %s (%s)", w, c->why, strerror(-c->error));
        return false;
    }
    return true;
}

static const char *backend_name(const struct core *c)
{
    return c->reactor->backend == REACTOR_URING ? "io_uring" : "epoll";
}

// What the ring was opened without, by wish or because the kernel lacks it.
static void log_features(const struct reactor *r)
{
    struct buf text;
    uint32_t missing = REACTOR_FEATURES_ALL & ~r->features;
    // Each makes the other idle.
    if (r->features & REACTOR_DEFER_TASKRUN)
        missing &= ~(uint32_t)REACTOR_COOP_TASKRUN;
    buf_init(&text, BUF_NO_LIMIT);
    feature_names_text(missing, &text);
    if (r->backend == REACTOR_URING && text.len > 0)
        log_line(LOG_NOTICE, "io_uring goes without %.*s", (int)text.len, (const char *)text.data);
    buf_deinit(&text);
}

static void log_start(const struct program *p)
{
    const struct options *o = &p->server.options;
    const struct core *first = &p->core[0];
    log_line(LOG_NOTICE, "skerryd %s, process %" PRId64 ", %s", SKERRY_VERSION, p->host.pid,
             p->config_file[0] == '\0' ? "no configuration file" : p->config_file);
    log_line(LOG_NOTICE, "%s: %s", backend_name(first), first->why);
    log_features(first->reactor);
    for (uint32_t w = 1; w < p->cores.workers; w++)
        if (p->core[w].reactor->backend != first->reactor->backend)
            log_line(LOG_WARNING, "worker %" PRIu32 " differs: %s: %s", w, backend_name(&p->core[w]), p->core[w].why);
    log_line(LOG_NOTICE, "%" PRIu32 " workers on %" PRIu32 " cores (%s, spin %" PRIu32 " us), %" PRIu32 " shards, %" PRId64 " databases",
             p->cores.workers, p->cores.allowed, p->cores.pinned ? "pinned" : "not pinned", p->cores.spin_us, p->cores.shards,
             o->databases);
    if (o->maxmemory == 0)
        log_line(LOG_NOTICE, "maxmemory: no limit");
    else
        log_line(LOG_NOTICE, "maxmemory: %" PRIu64 " bytes, %s", o->maxmemory,
                 option_find(slice_cstr("maxmemory-policy"))->choices[o->maxmemory_policy]);
}

// Last, so that whoever can connect finds a server that answers, and a log that says what it is.
static bool open_listeners(struct program *p)
{
    char error[LISTENERS_ERROR_MAX];
    log_start(p);
    if (listeners_open(&p->listeners, &p->server.options, p->cores.workers, p->cores.shards, error) < 0) {
        complain("%s", error);
        return false;
    }
    for (uint32_t w = 0; w < p->cores.workers; w++) {
        if (worker_reserve_listeners(p->server.workers[w], p->listeners.direct_count + p->listeners.admin_count + 1) < 0) {
            complain("out of memory");
            return false;
        }
    }
    log_line(LOG_NOTICE, "Ready to accept connections: %s", p->listeners.names);
    return true;
}

// ---- running and stopping

static void stop_workers(struct program *p, int how)
{
    atomic_store(&p->server.stop, how);
    for (uint32_t w = 0; w < p->cores.workers; w++)
        reactor_wake(p->core[w].reactor, NULL);
}

static void reopen_log(struct program *p)
{
    int rc = log_reopen();
    if (rc < 0)
        log_line(LOG_WARNING, "cannot open the log file anew: %s; going on with the old one", strerror(-rc));
    else
        log_line(LOG_NOTICE, "log file opened anew");
}

static void on_signal(struct program *p, uint32_t number)
{
    const char *name = number == SIGINT ? "SIGINT" : "SIGTERM";
    if (number == SIGHUP) {
        reopen_log(p);
    } else if (atomic_load(&p->server.stop) == SERVER_RUNS && save_stop_ask(&p->server)) {
        log_line(LOG_NOTICE, "%s: taking a snapshot, then stopping", name);
        service_notify("STOPPING=1");
        reactor_wake(p->core[0].reactor, NULL);
    } else if (atomic_load(&p->server.stop) == SERVER_RUNS) {
        log_line(LOG_NOTICE, "%s: finishing what was begun, then stopping", name);
        service_notify("STOPPING=1");
        stop_workers(p, SERVER_STOPS);
    } else {
        log_line(LOG_NOTICE, "%s again: stopping at once", name);
        stop_workers(p, SERVER_STOPS_NOW);
    }
}

// The log is lost: the directory was refused, or writing it has failed.
static bool lost_log(const struct program *p)
{
    const struct logging *l = &p->server.logging;
    bool failed = atomic_load(&l->failed) && p->server.options.on_log_error == LOG_ERROR_EXIT;
    return failed || logging_stage(l) == LOGGING_REFUSED;
}

// A worker says that SHUTDOWN was called, or that he has finished and the others may be asleep; or somebody that the log is lost.
static void on_event(struct program *p, bool stopping)
{
    if (!stopping && atomic_load(&p->server.stop) == SERVER_RUNS)
        durability_switch(&p->durability);
    if (!stopping && lost_log(p)) {
        log_line(LOG_WARNING, "stopping, because the log cannot go on");
        service_notify("STOPPING=1");
        atomic_store(&p->server.stop, SERVER_STOPS);
    } else if (!stopping && atomic_load(&p->server.stop) == SERVER_RUNS) {
        return;
    } else if (!stopping) {
        log_line(LOG_NOTICE, "SHUTDOWN: finishing what was begun, then stopping");
        service_notify("STOPPING=1");
    }
    stop_workers(p, atomic_load(&p->server.stop));
}

static void wait_for_end(struct program *p, int signal_fd)
{
    struct pollfd fds[] = { { .fd = signal_fd, .events = POLLIN }, { .fd = p->event_fd, .events = POLLIN } };
    bool stopping = false;
    while (atomic_load(&p->finished) < p->cores.workers) {
        struct signalfd_siginfo signal;
        uint64_t count;
        (void)poll(fds, 2, -1);
        if (read(p->event_fd, &count, sizeof count) == sizeof count) {
            on_event(p, stopping);
            stopping = atomic_load(&p->server.stop) != SERVER_RUNS;
        }
        while (read(signal_fd, &signal, sizeof signal) == sizeof signal) {
            on_signal(p, signal.ssi_signo);
            stopping |= signal.ssi_signo != SIGHUP;
        }
    }
}

static int open_signals(void)
{
    sigset_t set;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); // a write beyond the limit returns EFBIG instead
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

// A program started with its standard descriptors closed would get sockets there, and print into them.
static void fill_standard_descriptors(void)
{
    int fd;
    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= 2);
    if (fd > 2)
        close(fd);
}

static void tear_down(struct program *p)
{
    listeners_close(&p->listeners);
    if (p->durability.server != NULL)
        durability_close(&p->durability);
    if (p->server.rings != NULL)
        mesh_rings_free(p->server.rings);
    free(p->server.workers);
    free(p->core);
    options_deinit(&p->server.options);
    log_close();
}

// Threads, from start to end. True: it was a server.
static bool serve(struct program *p, int signal_fd)
{
    start_threads(p);
    pthread_barrier_wait(&p->gate);
    bool ready = check_cores(p) && durability_start(&p->durability, p->core[0].reactor, wake_main) == 0 && open_listeners(p);
    struct process_usage usage;
    host_usage(&usage);
    atomic_store(&p->server.resident_at_start, usage.resident);
    atomic_store(&p->go, ready);
    pthread_barrier_wait(&p->gate);
    if (ready) {
        service_notify("READY=1");
        wait_for_end(p, signal_fd);
    }
    durability_stop(&p->durability);
    pthread_barrier_wait(&p->gate);
    for (uint32_t w = 0; w < p->cores.workers; w++)
        thread_join(&p->core[w].thread);
    pthread_barrier_destroy(&p->gate);
    if (ready)
        log_line(LOG_NOTICE, "skerryd stopped");
    return ready;
}

static int run(struct program *p)
{
    struct options *o = &p->server.options;
    if (enter_folder(o) < 0)
        return 1;
    int rc = log_open(o->logfile, (enum log_level)o->loglevel);
    if (rc < 0) {
        complain("logfile: %s: %s", o->logfile, strerror(-rc));
        return 1;
    }
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    int signal_fd = open_signals();
    if (signal_fd < 0 || durability_open(&p->durability, &p->server) < 0)
        return 1;
    cores_plan(&p->cores, o, p->durability.shards);
    raise_files(p);
    describe_server(p);
    if (make_room(p) < 0 || durability_prepare(&p->durability) < 0 || !serve(p, signal_fd))
        return 1;
    if (logging_stage(&p->server.logging) == LOGGING_REFUSED)
        return 1;
    return lost_log(p) || p->durability.cut_short ? EXIT_LOG_FAILED : 0;
}

int main(int argc, char **argv)
{
    int status = 1;
    fill_standard_descriptors();
    options_init(&program.server.options);
    switch (arguments_read(&program.server.options, argc, argv, program.config_file)) {
    case ARGUMENTS_RUN:
        status = run(&program);
        break;
    case ARGUMENTS_DONE:
        status = 0;
        break;
    case ARGUMENTS_WRONG:
        break;
    }
    tear_down(&program);
    return status;
}
