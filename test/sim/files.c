// SPDX-License-Identifier: Apache-2.0
// File ops of the world's reactors, on the disk that crashes. Each takes its time, and those that are in flight together end in any order,
// also of one file, as on a device with a queue. A chain (OP_LINK) starts one op when the one before it has ended in full.
#include <errno.h>
#include <string.h>

#include "test/sim/inside.h"

static uint64_t takes_ns(struct world *w)
{
    const struct world_knobs *k = &w->knobs;
    uint64_t most = world_happens(w, k->file_spike) ? k->file_spike_ns : k->file_ns;
    return most > 0 ? prng_below(&w->prng, most) : 0;
}

static void begin(struct sim_reactor *s, struct file_op *f)
{
    f->waits = false;
    f->due_ns = s->world->now_ns + takes_ns(s->world);
    sim_disk_op_start(s->world->disk, f->op);
}

void files_start(struct sim_reactor *s, struct op *op, bool linked)
{
    assert(s->world->disk != NULL && s->file_count < FILE_OPS_MAX);
    struct file_op *f = &s->files[s->file_count++];
    *f = (struct file_op){ .op = op, .waits = linked };
    if (!linked)
        begin(s, f);
}

// What is with the device cannot be called back.
void files_cancel(struct sim_reactor *s, struct op *cancel)
{
    world_fail(s->world, "worker %u cancels a file op", s->id);
    world_complete(s, cancel, -EALREADY, 0);
}

static void strike(struct world *w, const struct op *op)
{
    const struct world_knobs *k = &w->knobs;
    if (op->kind == OP_WRITE && world_happens(w, k->write_error))
        sim_disk_fail(w->disk, DISK_FAIL_WRITE, 1, false);
    else if (op->kind == OP_WRITE && world_happens(w, k->short_write))
        sim_disk_fail(w->disk, DISK_SHORT_WRITE, 1, false);
    if (op->kind == OP_FSYNC && world_happens(w, k->sync_error))
        sim_disk_fail(w->disk, DISK_FAIL_SYNC, 1, false);
}

static bool in_full(const struct op *op, int32_t result)
{
    return op->kind == OP_FSYNC ? result == 0 : result == (int32_t)op->len;
}

static void take_out(struct sim_reactor *s, uint32_t at)
{
    s->file_count--;
    memmove(&s->files[at], &s->files[at + 1], (s->file_count - at) * sizeof s->files[0]);
}

// Ends the op, and starts or ends what was linked to it, which has moved into its place.
static void end(struct sim_reactor *s, uint32_t at)
{
    struct world *w = s->world;
    struct op *op = s->files[at].op;
    strike(w, op);
    int32_t result = sim_disk_op_finish(w->disk, op);
    bool links = (op->flags & OP_LINK) != 0, failed = links && !in_full(op, result);
    take_out(s, at);
    world_complete(s, op, result, 0);
    if (!links || at == s->file_count || !s->files[at].waits)
        return;
    if (!failed) {
        begin(s, &s->files[at]);
        return;
    }
    while (links && at < s->file_count && s->files[at].waits) {
        struct op *next = s->files[at].op;
        links = (next->flags & OP_LINK) != 0;
        take_out(s, at);
        world_complete(s, next, -ECANCELED, 0);
    }
}

void files_progress(struct sim_reactor *s)
{
    struct world *w = s->world;
    for (;;) {
        uint32_t due[FILE_OPS_MAX], count = 0;
        for (uint32_t i = 0; i < s->file_count; i++)
            if (!s->files[i].waits && s->files[i].due_ns <= w->now_ns)
                due[count++] = i;
        if (count == 0 || (count > 1 && world_happens(w, w->knobs.hold)))
            return;
        end(s, due[prng_below(&w->prng, count)]);
        if (w->disk->failure[0] != '\0')
            world_fail(w, "the disk: %s", w->disk->failure);
    }
}

uint64_t files_next_ns(const struct sim_reactor *s)
{
    uint64_t next = NEVER;
    for (uint32_t i = 0; i < s->file_count; i++)
        if (!s->files[i].waits && s->files[i].due_ns < next)
            next = s->files[i].due_ns;
    return next;
}
