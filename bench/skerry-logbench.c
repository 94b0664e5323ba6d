// SPDX-License-Identifier: Apache-2.0
// The log role on a real directory, without a server around it.
//
//   skerry-logbench DIRECTORY [milliseconds per run] [rounds] [workers] [bytes of a record's value]
//
// First the device alone (logbench_bare.c). Then a log thread as the server has it, and worker threads whose waiters each write a record,
// wait until it is durable, and write the next: a waiter is a client without pipelining. All combinations of method, host and number of
// waiters run once a round, one after the other, so that what the machine does meanwhile meets them all; printed are the medians.
//
// commit: a record that is durable. CPU: of the log thread and of what the kernel does for it in this process (io-wq), without the workers.
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/logbench.h"
#include "persist/log.h"
#include "reactor/thread.h"

enum { SEGMENTS = 6, WORKERS_MAX = 8, WAITERS_MAX = 1024, ROUNDS_MAX = 15, SEGMENT_SIZE = 64 << 20, BLOCK_RUN = 1 << 20 };

_Noreturn void logbench_fail(const char *what, int error)
{
    fprintf(stderr, "skerry-logbench: %s: %s\n", what, strerror(-error));
    exit(1);
}

struct reactor *logbench_reactor(enum reactor_backend backend)
{
    struct reactor *r;
    const char *why;
    struct reactor_options o = {
        .backend = backend, .features = REACTOR_FEATURES_ALL, .entries = 64, .completions = 256, .buffers = 4, .cpu = -1
    };
    int rc = reactor_open(&r, &o, &why);
    if (rc != 0)
        logbench_fail(why, rc);
    return r;
}

// ---- what is compared

struct way {
    const char *name;
    enum reactor_backend host;
    enum log_method method;
    uint32_t frames;
};

static const struct way WAYS[] = {
    { "io_uring DSYNC 1", REACTOR_URING, LOG_METHOD_DSYNC, 1 },  { "io_uring DSYNC 2", REACTOR_URING, LOG_METHOD_DSYNC, 2 },
    { "io_uring DSYNC 4", REACTOR_URING, LOG_METHOD_DSYNC, 4 },  { "io_uring fdatasync", REACTOR_URING, LOG_METHOD_FDATASYNC, 2 },
    { "io_uring linked", REACTOR_URING, LOG_METHOD_LINKED, 1 },  { "io_uring auto", REACTOR_URING, LOG_METHOD_AUTO, 1 },
    { "blocking DSYNC", REACTOR_BLOCKING, LOG_METHOD_DSYNC, 1 }, { "blocking fdatasync", REACTOR_BLOCKING, LOG_METHOD_FDATASYNC, 1 },
};
static const uint32_t WAITERS[] = { 1, 16, 64, 256 };

enum { WAYS_COUNT = sizeof WAYS / sizeof WAYS[0], WAITERS_COUNT = sizeof WAITERS / sizeof WAITERS[0] };

struct figures {
    double commits, per_flush, p50_us, p99_us, cpu_us, cpu_flush_us;
};

// ---- one run

struct worker {
    struct thread thread;
    struct reactor *r;
    _Atomic bool opened;
    struct log_port port;
    struct run *run;
    uint64_t position;
    uint32_t waiters;
    uint64_t waits_for[WAITERS_MAX]; // positions; 0: none
    uint64_t sent_ns[WAITERS_MAX];
    struct histogram latency;
    uint64_t cpu_ns;
};

struct run {
    const struct way *way;
    struct log *log;
    struct reactor *r;
    struct thread thread;
    struct worker workers[WORKERS_MAX];
    uint32_t worker_count;
    uint32_t value_len;
    _Atomic bool opened;
    _Atomic bool ends;  // for the workers
    _Atomic bool began; // for the measurement
    bool clean;
};

static uint64_t thread_cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t process_cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static bool log_pending(void *context)
{
    const struct run *run = context;
    return log_has_work(run->log);
}

// In the thread that uses the reactor: a ring has one submitter.
static void log_open(struct run *run)
{
    struct log_port *ports[WORKERS_MAX];
    for (uint32_t w = 0; w < run->worker_count; w++)
        ports[w] = &run->workers[w].port;
    struct log_options o = {
        .origin = { .shards = 8, .segment_size = SEGMENT_SIZE },
        .sync = LOG_SYNC_ALWAYS,
        .method = run->way->method,
        .frames_in_flight = run->way->frames,
        .ports = run->worker_count,
        .buffer_limit = 64 << 20,
    };
    run->r = logbench_reactor(run->way->host);
    int rc = log_new(&run->log, &o, run->r, ports);
    if (rc != 0)
        logbench_fail("log", rc);
    run->r->pending = log_pending;
    run->r->pending_context = run;
    atomic_store(&run->opened, true);
}

// As the server's log thread: it does little, and everybody waits for it.
static bool go_first(bool first)
{
    struct sched_param p = { .sched_priority = first ? 1 : 0 };
    return sched_setscheduler(0, first ? SCHED_FIFO : SCHED_OTHER, &p) == 0;
}

static void log_host(void *arg)
{
    struct run *run = arg;
    (void)go_first(true);
    log_open(run);
    struct log *l = run->log;
    while (!log_stopped(l)) {
        const struct completion *done;
        uint32_t count = reactor_turn(run->r, log_next_ns(l), &done);
        for (uint32_t i = 0; i < count; i++)
            log_on_completion(l, &done[i]);
        log_step(l);
        uint64_t told = log_told(l, 0);
        for (uint32_t w = 0; w < run->worker_count; w++)
            if (told >> w & 1)
                reactor_wake(run->workers[w].r, run->r);
    }
    while (log_segment_take(l) != NULL)
        ;
    run->clean = log_stopped_clean(l);
    run->log = log_free(l);
}

static void record_add(struct log_batch *b, uint32_t shard, uint64_t sequence, struct slice value)
{
    struct record r = { .op = RECORD_SET, .sequence = sequence, .deadline_ms = -1, .key = slice_cstr("key:00000001"), .value = value };
    struct sub_batch s = { .shard = (uint16_t)shard, .count = 1, .first = sequence, .bytes = (uint32_t)record_size(&r) };
    uint8_t *to = buf_reserve(&b->data, SUB_BATCH_HEAD + s.bytes);
    if (to == NULL)
        logbench_fail("batch", -ENOMEM);
    sub_batch_encode(&s, to);
    record_encode(&r, sequence, to + SUB_BATCH_HEAD);
    buf_advance(&b->data, SUB_BATCH_HEAD + s.bytes);
    b->batches++;
}

static struct log_batch *batch_take(struct worker *w, struct log_batch **spare)
{
    if (*spare == NULL)
        *spare = log_port_recycle(&w->port);
    struct log_batch *b = *spare != NULL ? *spare : log_batch_new();
    if (b == NULL)
        logbench_fail("batch", -ENOMEM);
    *spare = b == *spare ? b->next : NULL;
    return b;
}

// Every waiter whose record is durable writes the next one: a turn's batch.
static void worker_turn(struct worker *w, struct log_batch **spare, const struct slice *value)
{
    uint64_t durable = atomic_load_explicit(&w->port.durable, memory_order_acquire), now = w->r->now_ns;
    bool counts = atomic_load_explicit(&w->run->began, memory_order_relaxed), ends = atomic_load(&w->run->ends);
    struct log_batch *b = NULL;
    for (uint32_t i = 0; i < w->waiters; i++) {
        if (w->waits_for[i] > durable)
            continue;
        if (w->waits_for[i] > 0 && counts)
            histogram_record(&w->latency, now - w->sent_ns[i], 1);
        w->waits_for[i] = 0;
        if (ends)
            continue;
        b = b != NULL ? b : batch_take(w, spare);
        record_add(b, (uint32_t)(w - w->run->workers), w->position + 1, *value);
        w->waits_for[i] = w->position + 1;
        w->sent_ns[i] = now;
    }
    if (b == NULL)
        return;
    b->position = ++w->position;
    b->built_ns = now;
    b->crc = crc32c(0, b->data.data, b->data.len);
    b->sync = true;
    log_port_send(&w->port, b);
    if (log_wants_wake(w->run->log, true))
        reactor_wake(w->run->r, w->r);
}

static bool worker_pending(void *context)
{
    struct worker *w = context;
    uint64_t durable = atomic_load_explicit(&w->port.durable, memory_order_relaxed);
    for (uint32_t i = 0; i < w->waiters; i++)
        if (w->waits_for[i] > 0 && w->waits_for[i] <= durable)
            return true;
    return false;
}

static void worker_main(void *arg)
{
    struct worker *w = arg;
    uint8_t *bytes = calloc(1, w->run->value_len + 1);
    struct slice value = slice_of(bytes, w->run->value_len);
    struct log_batch *spare = NULL;
    const struct completion *done;
    w->r = logbench_reactor(REACTOR_BLOCKING);
    w->r->pending = worker_pending;
    w->r->pending_context = w;
    bool counted = false;
    uint64_t cpu = 0;
    (void)reactor_turn(w->r, 0, &done);
    atomic_store(&w->opened, true);
    while (!atomic_load(&w->run->ends)) {
        if (!counted && atomic_load_explicit(&w->run->began, memory_order_relaxed)) {
            counted = true;
            cpu = thread_cpu_ns();
        }
        worker_turn(w, &spare, &value);
        (void)reactor_turn(w->r, 10000000, &done);
    }
    w->cpu_ns = thread_cpu_ns() - cpu;
    while (atomic_load(&w->port.durable) < w->position)
        (void)reactor_turn(w->r, 1000000, &done);
    for (struct log_batch *next; spare != NULL; spare = next) {
        next = spare->next;
        log_batch_free(spare);
    }
    free(bytes);
}

// ---- segments: the keeper's part

struct store {
    struct disk *disk;
    struct log_segment segments[SEGMENTS];
    uint64_t next_id;
    uint8_t *block;
};

static void segment_renew(struct store *s, struct log_segment *segment)
{
    struct segment_header *h = &segment->header;
    *h = (struct segment_header){ .id = s->next_id++, .shards = 8, .size = SEGMENT_SIZE };
    s->disk->ops->entropy(s->disk, &h->epoch, sizeof h->epoch);
    segment_encode(h, s->block);
    int rc = s->disk->ops->write(s->disk, segment->fd, s->block, BLOCK_SIZE, 0);
    rc = rc != 0 ? rc : s->disk->ops->write(s->disk, segment->fd, s->block, BLOCK_SIZE, SEGMENT_SIZE - BLOCK_SIZE);
    rc = rc != 0 ? rc : s->disk->ops->sync(s->disk, segment->fd);
    if (rc != 0)
        logbench_fail("segment", rc);
}

static void store_open(struct store *s, const char *path)
{
    const char *why = "";
    int rc = disk_open(&s->disk, path, &why);
    if (rc != 0)
        logbench_fail(why, rc);
    struct disk *d = s->disk;
    uint8_t *zeros = disk_memory(BLOCK_RUN);
    s->block = disk_memory(BLOCK_SIZE);
    for (int i = 0; i < SEGMENTS; i++) {
        char name[32];
        uint64_t size = 0;
        snprintf(name, sizeof name, "logbench-%d", i);
        (void)d->ops->unlink(d, name);
        int fd = d->ops->open(d, name, DISK_WRITE | DISK_CREATE, &size);
        rc = fd < 0 ? fd : d->ops->allocate(d, fd, SEGMENT_SIZE);
        for (uint64_t at = 0; rc == 0 && at < SEGMENT_SIZE; at += BLOCK_RUN)
            rc = d->ops->write(d, fd, zeros, BLOCK_RUN, at);
        rc = rc != 0 ? rc : d->ops->sync(d, fd);
        if (rc != 0)
            logbench_fail(name, rc);
        s->segments[i].fd = fd;
    }
    if (d->ops->sync_names(d) != 0)
        logbench_fail(path, -EIO);
    disk_memory_free(zeros, BLOCK_RUN);
}

static void store_close(struct store *s)
{
    for (int i = 0; i < SEGMENTS; i++) {
        char name[32];
        snprintf(name, sizeof name, "logbench-%d", i);
        s->disk->ops->close(s->disk, s->segments[i].fd);
        (void)s->disk->ops->unlink(s->disk, name);
    }
    disk_memory_free(s->block, BLOCK_SIZE);
    disk_close(s->disk);
}

// ---- a run

static void sleep_ns(uint64_t ns)
{
    struct timespec t = { .tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u) };
    nanosleep(&t, NULL);
}

static void keep_for(struct store *s, struct run *run, uint64_t ns)
{
    for (uint64_t end = s->disk->ops->now_ns(s->disk) + ns; s->disk->ops->now_ns(s->disk) < end;) {
        for (struct log_segment *full; (full = log_segment_take(run->log)) != NULL;) {
            segment_renew(s, full);
            log_segment_give(run->log, full);
            reactor_wake(run->r, NULL);
        }
        sleep_ns(1000000);
    }
}

static void run_begin(struct store *s, struct run *run, uint32_t waiters)
{
    for (uint32_t w = 0; w < run->worker_count; w++) {
        struct worker *worker = &run->workers[w];
        worker->run = run;
        worker->waiters = waiters / run->worker_count + (w < waiters % run->worker_count);
        histogram_init(&worker->latency);
        log_port_init(&worker->port);
    }
    int rc = thread_start(&run->thread, "log", -1, log_host, run);
    while (rc == 0 && !atomic_load(&run->opened))
        sleep_ns(100000);
    s->next_id = 1;
    for (int i = 0; i < SEGMENTS && rc == 0; i++) {
        segment_renew(s, &s->segments[i]);
        log_segment_give(run->log, &s->segments[i]);
    }
    for (uint32_t w = 0; w < run->worker_count && rc == 0; w++) {
        rc = thread_start(&run->workers[w].thread, "worker", -1, worker_main, &run->workers[w]);
        while (rc == 0 && !atomic_load(&run->workers[w].opened))
            sleep_ns(100000);
    }
    if (rc != 0)
        logbench_fail("thread", rc);
}

static struct figures measure(struct store *s, struct run *run, uint64_t ns)
{
    struct figures f = { .commits = 0 };
    const struct log_stats *stats = log_stats(run->log);
    keep_for(s, run, ns / 5);
    uint64_t flushes = atomic_load(&stats->flushes), cpu = process_cpu_ns(), own = thread_cpu_ns(), begin = s->disk->ops->now_ns(s->disk);
    atomic_store(&run->began, true);
    keep_for(s, run, ns);
    flushes = atomic_load(&stats->flushes) - flushes;
    cpu = process_cpu_ns() - cpu - (thread_cpu_ns() - own);
    uint64_t took = s->disk->ops->now_ns(s->disk) - begin;
    atomic_store(&run->ends, true);
    struct histogram all;
    histogram_init(&all);
    for (uint32_t w = 0; w < run->worker_count; w++) {
        reactor_wake(run->workers[w].r, NULL);
        thread_join(&run->workers[w].thread);
        histogram_merge(&all, &run->workers[w].latency);
        cpu -= run->workers[w].cpu_ns < cpu ? run->workers[w].cpu_ns : cpu;
    }
    f.commits = (double)all.count * 1e9 / (double)took;
    f.per_flush = (double)all.count / (double)(flushes == 0 ? 1 : flushes);
    f.p50_us = (double)histogram_percentile(&all, 50) / 1e3;
    f.p99_us = (double)histogram_percentile(&all, 99) / 1e3;
    f.cpu_us = (double)cpu / 1e3 / (double)(all.count == 0 ? 1 : all.count);
    f.cpu_flush_us = (double)cpu / 1e3 / (double)(flushes == 0 ? 1 : flushes);
    return f;
}

static void run_end(struct run *run)
{
    log_stop(run->log);
    reactor_wake(run->r, NULL);
    thread_join(&run->thread);
    reactor_close_all(run->r); // here: it has just been woken
    if (!run->clean)
        logbench_fail("the log stopped", -EIO);
    for (uint32_t w = 0; w < run->worker_count; w++) {
        reactor_close_all(run->workers[w].r);
        log_port_deinit(&run->workers[w].port);
    }
}

// ---- all of it

static int by_commits(const void *a, const void *b)
{
    const struct figures *x = a, *y = b;
    return (x->commits > y->commits) - (x->commits < y->commits);
}

static struct figures results[WAYS_COUNT][WAITERS_COUNT][ROUNDS_MAX];

static void print_results(uint32_t rounds)
{
    printf("\n## The log: always, medians of %u rounds\n\n| waiters | | commits/s | per flush | p50 us | p99 us | CPU us a commit | CPU us "
           "a flush |\n"
           "|---|---|---|---|---|---|---|---|\n",
           rounds);
    for (size_t k = 0; k < WAITERS_COUNT; k++) {
        for (size_t m = 0; m < WAYS_COUNT; m++) {
            qsort(results[m][k], rounds, sizeof results[m][k][0], by_commits);
            const struct figures *f = &results[m][k][rounds / 2];
            printf("| %u | %s | %.0f | %.1f | %.0f | %.0f | %.2f | %.1f |\n", WAITERS[k], WAYS[m].name, f->commits, f->per_flush, f->p50_us,
                   f->p99_us, f->cpu_us, f->cpu_flush_us);
        }
    }
}

static uint32_t number(int argc, char **argv, int at, uint32_t otherwise, uint32_t least, uint32_t most)
{
    unsigned long value = argc > at ? strtoul(argv[at], NULL, 10) : otherwise;
    if (value < least || value > most) {
        fprintf(stderr, "skerry-logbench: argument %d: %u to %u\n", at, least, most);
        exit(2);
    }
    return (uint32_t)value;
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 6) {
        fprintf(stderr, "usage: skerry-logbench DIRECTORY [milliseconds per run] [rounds] [workers] [bytes of a value]\n");
        return 2;
    }
    uint64_t ns = number(argc, argv, 2, 1000, 10, 600000) * UINT64_C(1000000);
    uint32_t rounds = number(argc, argv, 3, 3, 1, ROUNDS_MAX), workers = number(argc, argv, 4, 1, 1, WORKERS_MAX);
    uint32_t value_len = number(argc, argv, 5, 128, 0, 1 << 20);
    static struct store store;
    store_open(&store, argv[1]);
    bool first = go_first(true);
    printf("%s: %s; %u workers, values of %u bytes, %.1f s a run; what writes has %s priority\n", argv[1],
           store.disk->direct ? "O_DIRECT" : "buffered", workers, value_len, (double)ns / 1e9, first ? "real-time" : "ordinary");
    logbench_bare(store.disk, store.segments[0].fd, SEGMENT_SIZE, ns);
    (void)go_first(false);
    for (uint32_t round = 0; round < rounds; round++) {
        for (size_t k = 0; k < WAITERS_COUNT; k++) {
            for (size_t m = 0; m < WAYS_COUNT; m++) {
                static struct run run;
                memset(&run, 0, sizeof run);
                run.way = &WAYS[m];
                run.worker_count = workers;
                run.value_len = value_len;
                run_begin(&store, &run, WAITERS[k]);
                results[m][k][round] = measure(&store, &run, ns);
                run_end(&run);
            }
        }
    }
    print_results(rounds);
    store_close(&store);
    return 0;
}
