// SPDX-License-Identifier: Apache-2.0
#include "test/crash/sweep.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 3

struct sweep {
    const struct sweep_options *options;
    struct sweep_result *result;
    struct node_knobs knobs;
    uint64_t next; // number of the next state of the first life
};

// What a life has left: how its disk came to be, and what it promised.
struct life {
    struct sim_recording *recording;
    struct past *past;
    struct node_note *notes;
    uint64_t floor[PAST_SHARDS]; // what was there when it began
};

static void fail(struct sweep *s, enum crash_check check, const char *where, const char *text)
{
    struct sweep_result *r = s->result;
    if (r->check != CHECK_NONE)
        return;
    r->check = check;
    r->state = s->next;
    snprintf(r->text, sizeof r->text, "%s: %.256s: %.256s", check_name(check), where, text);
}

// ---- what is due

static void due_of_note(const struct life *l, const struct node_note *note, struct past_due *due)
{
    memcpy(due->sequences, l->floor, sizeof due->sequences);
    for (uint32_t w = 0; w < due->workers && note != NULL; w++) {
        for (uint32_t i = 0; i < note->turns[w] && i < l->past->workers[w].count; i++) {
            const struct past_turn *t = &l->past->workers[w].turns[i];
            for (uint32_t k = 0; k < t->part_count; k++) {
                uint64_t *end = &due->sequences[t->parts[k].shard], last = t->parts[k].first + t->parts[k].count - 1;
                *end = last > *end ? last : *end;
            }
        }
    }
}

// ---- one state

static void explore(struct sweep *s, const struct life *l, uint32_t depth, struct prng *p);
static bool live(struct sweep *s, struct life *l, struct sim_disk *disk, uint64_t seed, uint32_t steps, uint32_t depth);
static void life_free(struct life *l);

// The store goes on from what the crash has left.
static void go_on(struct sweep *s, const struct life *before, struct sim_disk *disk, const struct past_found *found, uint32_t depth,
                  struct prng *p)
{
    struct life l = { .past = past_clone(before->past) };
    memcpy(l.floor, found->sequences, sizeof l.floor);
    s->result->lives++;
    uint64_t seed = prng_next(p);
    if (live(s, &l, disk, seed, 5 + (uint32_t)prng_below(p, 60), depth + 1))
        explore(s, &l, depth + 1, p);
    life_free(&l);
}

static void check_crash(struct sweep *s, const struct life *l, const struct sim_disk *disk, const struct past_due *due,
                        enum crash_kind kind, const struct sim_cut *cut, uint64_t event, uint32_t depth, struct prng *p)
{
    struct past_found found, again;
    char where[128];
    struct sim_disk *left = cut != NULL ? sim_disk_crash_cut(disk, p, kind, cut) : sim_disk_crash(disk, p, kind);
    s->result->states++;
    past_read(l->past, &found, left, s->options->recover_fault);
    enum crash_check check = past_check(l->past, &found, due);
    snprintf(where, sizeof where, "life %" PRIu32 ", event %" PRIu64 ", kind %d, write %" PRIu64 ", %" PRIu32 " sectors%s", depth, event,
             (int)kind, cut != NULL ? cut->id : 0, cut != NULL ? cut->sectors : 0, cut != NULL && cut->torn ? ", torn" : "");
    if (s->options->verbose)
        printf("state %" PRIu64 ": %s: LSN %" PRIu64 ", %s %s\n", s->next, where, found.report.lsn, found.report.rule, found.report.text);
    if (check != CHECK_NONE) {
        fail(s, check, where, found.text);
    } else if (prng_below(p, 16) == 0) {
        past_read(l->past, &again, left, s->options->recover_fault);
        if (!past_found_equal(&found, &again))
            fail(s, CHECK_TWICE, where, again.report.text);
    }
    if (check == CHECK_NONE && depth < DEPTH_MAX && prng_below(p, depth == 0 ? 100 : 40) == 0)
        go_on(s, l, left, &found, depth, p);
    sim_disk_free(left);
}

// ---- all moments of a life

// Of the first life each state has its number and a generator of its own, so that one alone can be looked at.
static bool begin_state(struct sweep *s, uint32_t depth, struct prng *own)
{
    if (s->result->check != CHECK_NONE)
        return false;
    if (depth > 0)
        return true;
    s->next++;
    if (s->result->states >= s->options->most || (s->options->only != SWEEP_ALL && s->options->only != s->next))
        return false;
    prng_init(own, s->options->seed * 1000003 + s->next);
    return true;
}

struct moment {
    const struct life *life;
    const struct sim_disk *disk;
    struct past_due due;
    uint64_t event;
    uint32_t depth;
};

static void at_random(struct sweep *s, const struct moment *m, enum crash_kind kind, struct prng *p)
{
    struct prng own, *use = m->depth == 0 ? &own : p;
    if (begin_state(s, m->depth, &own))
        check_crash(s, m->life, m->disk, &m->due, kind, NULL, m->event, m->depth, use);
}

static void at_sector(struct sweep *s, const struct moment *m, uint64_t write, uint32_t sectors, bool torn, struct prng *p)
{
    static const enum crash_kind OTHERS[] = { CRASH_DROP, CRASH_KEEP, CRASH_SUBSET, CRASH_GARBAGE };
    struct prng own, *use = m->depth == 0 ? &own : p;
    struct sim_cut cut = { .id = write, .sectors = sectors, .torn = torn };
    if (begin_state(s, m->depth, &own))
        check_crash(s, m->life, m->disk, &m->due, OTHERS[prng_below(use, 4)], &cut, m->event, m->depth, use);
}

static void at_event(struct sweep *s, const struct moment *m, const struct sim_event *e, struct prng *p)
{
    static const enum crash_kind KINDS[] = {
        CRASH_DROP, CRASH_KEEP, CRASH_SUBSET, CRASH_SUBSET, CRASH_GARBAGE, CRASH_GARBAGE, CRASH_KILLED
    };
    if (m->depth > 0) { // a few of them
        if (prng_below(p, 8) == 0)
            at_random(s, m, KINDS[prng_below(p, 7)], p);
        else if (e->kind == EVENT_WRITE && prng_below(p, 4) == 0) {
            uint32_t sectors = (uint32_t)prng_below(p, e->len / SIM_SECTOR + 1);
            at_sector(s, m, e->write, sectors, prng_below(p, 2) == 0, p);
        }
        return;
    }
    for (size_t i = 0; i < sizeof KINDS / sizeof KINDS[0]; i++)
        at_random(s, m, KINDS[i], p);
    for (uint32_t sector = 0; e->kind == EVENT_WRITE && sector <= e->len / SIM_SECTOR; sector++) {
        at_sector(s, m, e->write, sector, false, p);
        if (sector < e->len / SIM_SECTOR)
            at_sector(s, m, e->write, sector, true, p);
    }
}

static void explore(struct sweep *s, const struct life *l, uint32_t depth, struct prng *p)
{
    struct sim_replay replay;
    const struct sim_event *e;
    struct moment m = { .life = l, .depth = depth, .due = { .workers = s->knobs.workers } };
    memcpy(m.due.sequences, l->floor, sizeof l->floor);
    sim_replay_init(&replay, l->recording);
    while ((e = sim_replay_step(&replay)) != NULL && s->result->check == CHECK_NONE) {
        m.disk = replay.disk;
        m.event = replay.at;
        if (e->kind == EVENT_NOTE) {
            due_of_note(l, &l->notes[e->value], &m.due);
            continue; // the disk is what it was
        }
        if (depth == 0 && s->result->states >= s->options->most)
            break;
        at_event(s, &m, e, p);
    }
    if (e == NULL && s->result->check == CHECK_NONE && l->recording->count > 0) // the end, with all promises
        at_random(s, &m, CRASH_DROP, p);
    sim_replay_deinit(&replay);
}

// ---- a life

static void life_free(struct life *l)
{
    l->recording = sim_recording_free(l->recording);
    l->past = past_free(l->past);
    free(l->notes);
}

static const char *end_of(struct node *n, uint64_t how)
{
    if (node_dead(n))
        return NULL;
    if (how < 5 && !node_stop(n))
        return "it does not stop";
    if (how >= 5 && how < 8 && !node_settle(n))
        return "what was sent never becomes durable";
    return NULL;
}

static const char *run(struct sweep *s, struct life *l, struct node *n, struct sim_disk *disk, uint64_t seed, uint32_t steps)
{
    int rc = node_start(n, disk, l->past, &s->knobs, seed);
    if (rc > 0)
        return n->found.report.text;
    if (rc < 0)
        return s->knobs.errors > 0 ? NULL : "it does not start";
    for (uint32_t i = 0; i < steps && !node_dead(n); i++)
        node_step(n);
    return end_of(n, prng_below(&n->prng, 10));
}

// False: it has failed already.
static bool live(struct sweep *s, struct life *l, struct sim_disk *disk, uint64_t seed, uint32_t steps, uint32_t depth)
{
    struct node n;
    sim_disk_record(disk);
    const char *wrong = run(s, l, &n, disk, seed, steps);
    l->recording = sim_disk_record_end(disk);
    l->notes = n.notes;
    n.notes = NULL;
    if (wrong != NULL)
        fail(s, CHECK_BROKEN, depth == 0 ? "first life" : "later life", wrong);
    if (disk->failure[0] != '\0')
        fail(s, CHECK_BROKEN, "the disk", disk->failure);
    sim_disk_heal(disk);
    node_free(&n);
    return s->result->check == CHECK_NONE;
}

void sweep_run(const struct sweep_options *options, struct sweep_result *out)
{
    struct sweep s = { .options = options, .result = out };
    struct life l = { .past = past_new() };
    struct prng p;
    *out = (struct sweep_result){ .check = CHECK_NONE };
    prng_init(&p, options->seed);
    s.knobs = node_knobs_draw(&p);
    s.knobs.errors = options->errors > s.knobs.errors ? options->errors : s.knobs.errors;
    s.knobs.snapshots = options->snapshots ? 30 : s.knobs.snapshots;
    s.knobs.large = options->large ? 60 : s.knobs.large;
    s.knobs.log_fault = options->log_fault;
    s.knobs.recover_fault = options->recover_fault;
    s.knobs.left_out = options->left_out;
    s.knobs.method = options->method != LOG_METHOD_AUTO ? options->method : s.knobs.method;
    struct sim_disk *disk = sim_disk_new(options->seed);
    out->lives++;
    uint64_t seed = prng_next(&p);
    if (live(&s, &l, disk, seed, 60 + (uint32_t)prng_below(&p, 300), 0))
        explore(&s, &l, 0, &p);
    life_free(&l);
    sim_disk_free(disk);
}
