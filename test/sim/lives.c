// SPDX-License-Identifier: Apache-2.0
// A server with a disk, killed at any moment and started again, until its clients have asked all they wanted; then stopped as one should,
// and started once more.
#include "reactor/clock.h"
#include "test/sim/sim_inside.h"

#define LIVES_STEPS_MAX 400000           // of one life
#define FULL_NS         (3 * NS_PER_SEC) // so long a disk stays full
#define LIVES_MAX       12               // then the disk fails no more

struct fate {
    uint64_t at_step, at_ns; // whichever comes first
    uint64_t at_operation;   // of the disk; 0: none
    uint64_t steps;          // behind the next switch of the log; 0: whatever that is
    uint64_t quiet_ns;       // so long nobody asks for anything before it comes
};

static struct fate draw_fate(struct sim *s)
{
    static const uint64_t STEPS[] = { 300, 3000, 20000 };
    static const uint64_t NS[] = { 20 * NS_PER_MS, 600 * NS_PER_MS, 4 * NS_PER_SEC };
    struct prng *p = &s->schedule;
    uint64_t steps = s->options.switches && prng_below(p, 2) == 0 ? 1 + prng_below(p, prng_below(p, 2) == 0 ? 5 : 200) : 0;
    return (struct fate){
        .steps = steps,
        .at_step = s->steps + 1 + prng_below(p, STEPS[prng_below(p, 3)]),
        .at_ns = s->world.now_ns + 1 + prng_below(p, NS[prng_below(p, 3)]),
        .at_operation = prng_below(p, 2) == 0 ? 1 + prng_below(p, 120) : 0,
        .quiet_ns = prng_below(p, 8) == 0 ? NS_PER_SEC + prng_below(p, NS_PER_SEC) : 0,
    };
}

static bool is_full(struct sim *s)
{
    struct disk *d = &s->world.disk->disk;
    return d->ops->room(d) < 2 * s->knobs.storage.segment_size;
}

// Somebody does.
static void make_room(struct sim *s)
{
    if (is_full(s))
        s->world.disk->budget += 6 * s->knobs.storage.segment_size;
}

static enum crash_kind draw_crash(struct sim *s)
{
    enum crash_kind kind = (enum crash_kind)prng_below(&s->schedule, CRASH_KINDS);
    return s->options.recover_fault == RECOVER_FAULT_TORN_FRAME ? CRASH_GARBAGE : kind; // where it would be seen
}

static void start(struct sim *s, struct prng *seeds)
{
    make_room(s);
    machine_make(s);
    machine_start(s, seeds);
}

static void crash(struct sim *s, enum crash_kind kind, struct prng *seeds)
{
    static const char *const NAMES[] = { "the process is killed", "power cut: nothing unsynced survives", "power cut: all survives",
                                         "power cut: some survives", "power cut: some survives, some is garbage" };
    sim_say(s, "%s; %u writes and %u names are not synced", NAMES[kind], sim_disk_pending_writes(s->world.disk),
            sim_disk_pending_names(s->world.disk));
    bool poisoned = s->storage.poisoned; // what a failed sync covered may be lost, as in a power cut
    machine_crash(s, kind);
    durable_crashed(&s->durable, poisoned && kind == CRASH_KILLED ? CRASH_SUBSET : kind, false);
    if (s->pages.live != 0)
        world_fail(&s->world, "%lld bytes of pages were not released", (long long)s->pages.live);
    if (!sim_failed(s))
        start(s, seeds);
}

static bool is_audited(struct sim *s)
{
    return !durable_audits(&s->durable);
}

static bool has_worked(struct sim *s)
{
    return durable_worked(&s->durable);
}

static bool have_left(struct sim *s)
{
    return durable_left(&s->durable) && atomic_load(&s->server.connected) == 0;
}

enum end { END_WORKED, END_CRASH, END_POISONED };

// A switch of the log brings the end nearer.
static void hurry(struct sim *s, struct fate *fate, uint32_t switched)
{
    if (fate->steps == 0 || s->durable.switched == switched)
        return;
    fate->at_step = s->steps + fate->steps;
    fate->steps = 0;
}

// What has been answered by then was promised a flush, and nothing that comes behind it asks for one.
static bool is_due(struct sim *s, struct fate *fate)
{
    if (s->steps < fate->at_step && s->world.now_ns < fate->at_ns)
        return false;
    if (fate->quiet_ns == 0 || s->durable.phase != DURABLE_WORKS)
        return true;
    durable_rest(&s->durable);
    fate->at_step = UINT64_MAX;
    fate->at_ns = s->world.now_ns + fate->quiet_ns;
    fate->quiet_ns = 0;
    return false;
}

// Until the crash that is due, or until there is nothing more to be done.
static enum end live(struct sim *s, bool mortal)
{
    struct fate fate = draw_fate(s);
    uint64_t most = s->steps + LIVES_STEPS_MAX;
    uint32_t switched = s->durable.switched;
    if (mortal && fate.at_operation != 0)
        sim_disk_cut(s->world.disk, fate.at_operation);
    uint64_t full_until = NEVER;
    while (!sim_failed(s) && !has_worked(s)) {
        sim_step(s);
        hurry(s, &fate, switched);
        bool full = is_full(s);
        s->durable.refuses |= full;
        if (!full)
            full_until = NEVER;
        else if (full_until == NEVER)
            full_until = s->world.now_ns + FULL_NS;
        else if (s->world.now_ns > full_until)
            make_room(s);
        if (mortal && (s->world.disk->cut || is_due(s, &fate)))
            return END_CRASH;
        if (s->storage.poisoned)
            return END_POISONED;
        if (s->steps > most) {
            world_fail(&s->world, "the clients' work does not end");
            durable_say(&s->durable);
        }
    }
    s->world.disk->cut_at = 0;
    return END_WORKED;
}

static void stop_and_start(struct sim *s, struct prng *seeds)
{
    s->world.disk->budget += 6 * s->knobs.storage.segment_size; // what was acknowledged under everysec needs some
    durable_rest(&s->durable);
    sim_until(s, have_left, "a connection has not ended");
    machine_stop(s, SERVER_STOPS);
    sim_until(s, machine_stopped, "a server has not stopped");
    if (sim_failed(s))
        return;
    if (s->storage.unclean && s->knobs.storage.budget == 0)
        world_fail(&s->world, "a server was stopped and left changes behind, though there was room");
    durable_crashed(&s->durable, CRASH_KILLED, !s->storage.unclean);
    machine_free(s);
    s->stopping = false;
    start(s, seeds);
    sim_until(s, is_audited, "a server has not come back after a clean stop");
}

void lives_run(struct sim *s, struct prng *seeds)
{
    durable_init(&s->durable, s, (enum durable_level)s->knobs.storage.policy, prng_next(seeds));
    uint32_t crashes = 1 + (uint32_t)prng_below(&s->schedule, 5);
    for (uint32_t i = 0; !sim_failed(s); i++) {
        enum end end = live(s, i < crashes);
        if (end == END_WORKED)
            break;
        // A server whose log has failed ends its process; the next one reads what is there.
        crash(s, end == END_POISONED ? CRASH_KILLED : draw_crash(s), seeds);
        if (i == LIVES_MAX)
            s->world.knobs.write_error = s->world.knobs.short_write = s->world.knobs.sync_error = 0;
    }
    world_calm(&s->world);
    if (!sim_failed(s))
        stop_and_start(s, seeds);
    durable_rest(&s->durable);
    if (!sim_failed(s))
        sim_until(s, have_left, "a connection has not ended");
    machine_stop(s, SERVER_STOPS_NOW);
    sim_until(s, machine_stopped, "a server has not stopped");
}
