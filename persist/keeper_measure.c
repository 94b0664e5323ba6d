// SPDX-License-Identifier: Apache-2.0
// How this device likes its flushes: 4 KiB frames into a segment that is made ahead, by the ops and the reactor that the log will use. The
// bytes written are the zeros that are there, or lie in a recycled segment, of which nothing counts.
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "persist/keeper_inside.h"

#define TRIALS     5u
#define TRIAL_NS   (KEEPER_MEASURE_NS / TRIALS)
#define FLIGHT_MAX 4u
#define GAIN       5u // frames more in flight have to bring a fifth more frames

static_assert(FLIGHT_MAX <= LOG_FRAMES_MAX, "what is measured is what the log does");

struct trial {
    const char *name;
    enum log_method method;
    uint32_t flight;
    // found
    uint64_t frames, ns;
    int error;
};

struct measuring {
    struct reactor *r;
    struct op ops[FLIGHT_MAX];
    struct op sync;
    uint64_t blocks; // of the segment, the headers not with them
    uint64_t at;
};

static void submit_write(struct measuring *m, struct op *op, bool dsync)
{
    op->kind = OP_WRITE;
    op->flags = dsync ? OP_DSYNC : 0;
    op->offset = (1 + m->at++ % m->blocks) * BLOCK_SIZE;
    reactor_submit(m->r, op);
}

// Until `count` of them are there; the first error counts.
static int wait_for(struct measuring *m, uint32_t count)
{
    int error = 0;
    while (count > 0) {
        const struct completion *done;
        uint32_t n = reactor_turn(m->r, TRIAL_NS, &done);
        for (uint32_t i = 0; i < n && count > 0; i++, count--) {
            bool is_sync = done[i].op == &m->sync;
            if (error == 0 && done[i].result != (is_sync ? 0 : (int32_t)BLOCK_SIZE))
                error = done[i].result < 0 ? done[i].result : -EIO;
        }
    }
    return error;
}

static int round_of(struct measuring *m, const struct trial *t)
{
    bool dsync = t->method == LOG_METHOD_DSYNC;
    for (uint32_t i = 0; i < t->flight; i++)
        submit_write(m, &m->ops[i], dsync);
    int failed = wait_for(m, t->flight);
    if (failed != 0 || dsync)
        return failed;
    m->sync.kind = OP_FSYNC;
    reactor_submit(m->r, &m->sync);
    return wait_for(m, 1);
}

static void run_trial(struct keeper *k, struct measuring *m, struct trial *t)
{
    uint64_t begin = k->disk->ops->now_ns(k->disk);
    do {
        t->error = round_of(m, t);
        t->frames += t->flight;
        t->ns = k->disk->ops->now_ns(k->disk) - begin;
    } while (t->error == 0 && t->ns < TRIAL_NS);
}

static uint64_t ns_a_frame(const struct trial *t)
{
    return t->error != 0 || t->frames == 0 ? UINT64_MAX : t->ns / t->frames;
}

static void tell(const struct trial *trials, uint32_t count, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < count && used < size; i++) {
        const struct trial *t = &trials[i];
        uint64_t us = t->error != 0 ? 0 : ns_a_frame(t) / 1000;
        int n = t->error != 0 ? snprintf(text + used, size - used, "%s%s failed (%d)", i > 0 ? ", " : "", t->name, -t->error)
                              : snprintf(text + used, size - used, "%s%s %llu us", i > 0 ? ", " : "", t->name, (unsigned long long)us);
        used += n > 0 ? (size_t)n : 0;
    }
}

enum log_method keeper_measure(struct keeper *k, struct reactor *r, uint8_t owner, uint32_t *frames_in_flight, char *text, size_t size)
{
    struct trial trials[TRIALS] = {
        { .name = "fdatasync", .method = LOG_METHOD_FDATASYNC, .flight = 1 },
        { .name = "4 writes, fdatasync", .method = LOG_METHOD_FDATASYNC, .flight = 4 },
        { .name = "dsync", .method = LOG_METHOD_DSYNC, .flight = 1 },
        { .name = "2 dsync", .method = LOG_METHOD_DSYNC, .flight = 2 },
        { .name = "4 dsync", .method = LOG_METHOD_DSYNC, .flight = 4 },
    };
    const struct log_segment *s = k->segments.made;
    assert(k->log == NULL);
    *frames_in_flight = 1;
    text[0] = '\0';
    if (s == NULL) // no room for one
        return LOG_METHOD_FDATASYNC;
    struct measuring m = { .r = r, .blocks = s->header.size / BLOCK_SIZE - 2 };
    for (uint32_t i = 0; i < FLIGHT_MAX; i++)
        m.ops[i] =
            (struct op){ .owner = owner, .fd = s->fd, .data = k->block + (size_t)i * BLOCK_SIZE, .len = BLOCK_SIZE, .fixed_buffer = -1 };
    m.sync = (struct op){ .owner = owner, .fd = s->fd, .fixed_buffer = -1 };
    for (uint32_t i = 0; i < TRIALS; i++)
        run_trial(k, &m, &trials[i]);
    tell(trials, TRIALS, text, size);
    // With one frame in flight first: that is what a single client waits for. More in flight where the device does them together.
    const struct trial *best = ns_a_frame(&trials[2]) < ns_a_frame(&trials[0]) ? &trials[2] : &trials[0];
    for (const struct trial *t = best + 1; t < trials + TRIALS && t->method == best->method; t++) {
        if (ns_a_frame(t) < ns_a_frame(best) - ns_a_frame(best) / GAIN)
            best = t;
    }
    *frames_in_flight = best->flight;
    return best->method;
}
