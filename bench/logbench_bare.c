// SPDX-License-Identifier: Apache-2.0
// The device alone: what a commit costs without anything of ours around it.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/logbench.h"

enum { WRITE_LEN = 4096 };

static void report(const char *what, struct histogram *h, uint64_t took_ns)
{
    printf("| %s | %.0f | %.0f | %.0f |\n", what, (double)h->count * 1e9 / (double)took_ns, (double)histogram_percentile(h, 50) / 1e3,
           (double)histogram_percentile(h, 99) / 1e3);
    fflush(stdout);
}

static uint64_t offset_of(uint64_t i, uint64_t size)
{
    return WRITE_LEN + i * WRITE_LEN % (size - 2 * WRITE_LEN);
}

static void one_at_a_time(struct disk *d, int fd, uint64_t size, uint64_t ns)
{
    uint8_t *data = disk_memory(WRITE_LEN);
    struct histogram h;
    histogram_init(&h);
    uint64_t begin = d->ops->now_ns(d), now = begin;
    for (uint64_t i = 0; now - begin < ns; i++) {
        uint64_t start = now;
        if (d->ops->write(d, fd, data, WRITE_LEN, offset_of(i, size)) != 0 || d->ops->sync(d, fd) != 0)
            logbench_fail("write or sync", -EIO);
        now = d->ops->now_ns(d);
        histogram_record(&h, now - start, 1);
    }
    report("write + fsync, one at a time", &h, now - begin);
    disk_memory_free(data, WRITE_LEN);
}

struct flight {
    struct op op;
    uint64_t start_ns;
};

static void flight_send(struct reactor *r, struct flight *f, int fd, uint8_t *data, uint64_t offset)
{
    f->op =
        (struct op){ .kind = OP_WRITE, .flags = OP_DSYNC, .fd = fd, .data = data, .len = WRITE_LEN, .fixed_buffer = -1, .offset = offset };
    f->start_ns = r->now_ns;
    reactor_submit(r, &f->op);
}

static void in_flight(enum reactor_backend backend, int fd, uint64_t size, uint32_t depth, uint64_t ns)
{
    struct reactor *r = logbench_reactor(backend);
    uint8_t *data = disk_memory(WRITE_LEN);
    struct flight flights[8];
    struct histogram h;
    histogram_init(&h);
    const struct completion *done;
    (void)reactor_turn(r, 0, &done);
    uint64_t begin = r->now_ns, sent = 0, under_way = depth;
    for (uint32_t i = 0; i < depth; i++)
        flight_send(r, &flights[i], fd, data, offset_of(sent++, size));
    while (under_way > 0) {
        uint32_t count = reactor_turn(r, UINT64_MAX, &done);
        for (uint32_t i = 0; i < count; i++) {
            struct flight *f = (struct flight *)(void *)done[i].op;
            if (done[i].result != WRITE_LEN)
                logbench_fail("write", done[i].result);
            histogram_record(&h, r->now_ns - f->start_ns, 1);
            if (r->now_ns - begin < ns)
                flight_send(r, f, fd, data, offset_of(sent++, size));
            else
                under_way--;
        }
    }
    char what[64];
    snprintf(what, sizeof what, "%s, RWF_DSYNC, %u in flight", backend == REACTOR_URING ? "io_uring" : "blocking", depth);
    report(what, &h, r->now_ns - begin);
    reactor_close_all(r);
    disk_memory_free(data, WRITE_LEN);
}

void logbench_bare(struct disk *d, int fd, uint64_t size, uint64_t ns)
{
    printf("\n## The device: 4 KiB\n\n| | commits/s | p50 us | p99 us |\n|---|---|---|---|\n");
    one_at_a_time(d, fd, size, ns);
    in_flight(REACTOR_BLOCKING, fd, size, 1, ns);
    for (uint32_t depth = 1; depth <= 8; depth *= 2)
        in_flight(REACTOR_URING, fd, size, depth, ns);
}
