// SPDX-License-Identifier: Apache-2.0
#include "test/crash/rot.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct rot_counts rot_counts;

enum damage {
    DAMAGE_FLIP,
    DAMAGE_SECTOR,  // zeros
    DAMAGE_GARBAGE, // in a sector
    DAMAGE_BLOCK,   // zeros
    DAMAGE_SWAP,    // two blocks of this file, or of two
    DAMAGE_STALE,   // a block as it was earlier
    DAMAGE_TRUNCATE,
    DAMAGE_REMOVE,
    DAMAGE_COPY, // another file's bytes under this name
    DAMAGES
};

static const char *const DAMAGE_NAMES[DAMAGES] = {
    "a bit flipped",    "a sector zeroed", "a sector of garbage",       "a block zeroed", "two blocks swapped", "a block as it was before",
    "the file cut off", "the file gone",   "another file in its place",
};

struct rot {
    const struct sweep_options *options;
    struct sweep_result *result;
    struct past *past;
    struct sim_disk *whole, *early; // at the end; some time before
    struct past_due due;
    uint64_t newest;  // segment
    uint64_t witness; // the highest durable LSN that a frame tells
    bool witnessed;   // all of it by the manifest
};

static void fail(struct rot *r, enum crash_check check, uint64_t image, const char *what, const char *text)
{
    if (r->result->check != CHECK_NONE)
        return;
    r->result->check = check;
    r->result->state = image;
    snprintf(r->result->text, sizeof r->result->text, "%s: %.128s: %.400s", check_name(check), what, text);
}

// ---- the run

static bool run_once(struct rot *r, struct sim_disk *disk, const struct node_knobs *knobs, struct prng *p, bool last)
{
    struct node n;
    uint32_t steps = 60 + (uint32_t)prng_below(p, 200);
    int rc = node_start(&n, disk, r->past, knobs, prng_next(p));
    for (uint32_t i = 0; i < steps && rc == 0; i++) {
        node_step(&n);
        if (last && i == steps * 2 / 3)
            r->early = sim_disk_clone(disk);
    }
    bool good = rc == 0;
    if (good && last)
        good = r->witnessed && prng_below(p, 2) == 0 ? node_stop(&n) : node_settle(&n) && node_idle(&n, r->witnessed ? 2500 : 300);
    if (!good)
        fail(r, CHECK_BROKEN, 0, "the run", rc == 0 ? "it does not come to an end" : "it does not start");
    if (good && last)
        for (uint32_t s = 0; s < PAST_SHARDS; s++)
            r->due.sequences[s] = r->past->shards[s].count;
    r->due.workers = knobs->workers;
    node_free(&n);
    return good;
}

static bool prepare(struct rot *r)
{
    struct prng p;
    prng_init(&p, r->options->seed + 77);
    struct node_knobs knobs = node_knobs_draw(&p);
    knobs.errors = 0;
    r->witnessed = prng_below(&p, 4) != 0;
    struct sim_disk *disk = sim_disk_new(r->options->seed);
    if (prng_below(&p, 2) == 0) { // what a crash has cut lies among the files
        bool good = run_once(r, disk, &knobs, &p, false);
        struct sim_disk *left = sim_disk_crash(disk, &p, CRASH_GARBAGE);
        sim_disk_free(disk);
        disk = left;
        if (!good) {
            sim_disk_free(disk);
            return false;
        }
    }
    bool good = run_once(r, disk, &knobs, &p, true);
    r->whole = sim_disk_crash(disk, &p, CRASH_KEEP);
    sim_disk_free(disk);
    return good;
}

// ---- damage

static const char *any_name(const struct sim_disk *d, struct prng *p)
{
    return d->names.items[prng_below(p, d->names.count)].name;
}

static uint64_t size_of(const struct sim_disk *d, const char *name)
{
    return sim_disk_find(d, name)->now.size;
}

// A place in it: half of the time near the front, where there is most.
static uint64_t any_place(const struct sim_disk *d, const char *name, uint64_t unit, struct prng *p)
{
    uint64_t units = size_of(d, name) / unit;
    if (units == 0)
        return 0;
    uint64_t pick = prng_below(p, 8);
    if (pick == 0)
        return (units - 1 - prng_below(p, units < 8 ? units : 8)) * unit;
    return prng_below(p, pick < 5 && units > 8 * (BLOCK_SIZE / unit + 1) ? 8 * (BLOCK_SIZE / unit + 1) : units) * unit;
}

static void copy_over(struct sim_disk *d, const char *from, const char *to)
{
    uint64_t size = size_of(d, from);
    uint8_t *bytes = malloc(size + 1);
    assert(bytes != NULL);
    sim_disk_peek(d, from, 0, bytes, (size_t)size);
    sim_disk_put(d, to, bytes, size);
    free(bytes);
}

// True: one of them is the manifest's.
static bool swap_blocks(struct sim_disk *d, const char *one, const char *other, struct prng *p)
{
    uint8_t a[BLOCK_SIZE], b[BLOCK_SIZE];
    uint64_t at = any_place(d, one, BLOCK_SIZE, p), to = any_place(d, other, BLOCK_SIZE, p);
    if (size_of(d, one) < BLOCK_SIZE || size_of(d, other) < BLOCK_SIZE)
        return false;
    sim_disk_peek(d, one, at, a, BLOCK_SIZE);
    sim_disk_peek(d, other, to, b, BLOCK_SIZE);
    sim_disk_patch(d, one, at, b, BLOCK_SIZE);
    sim_disk_patch(d, other, to, a, BLOCK_SIZE);
    return (strncmp(one, "MANIFEST", 8) == 0) != (strncmp(other, "MANIFEST", 8) == 0);
}

static void stale_block(struct rot *r, struct sim_disk *d, const char *name, struct prng *p)
{
    uint8_t block[BLOCK_SIZE];
    uint64_t at = any_place(d, name, BLOCK_SIZE, p);
    const struct sim_file *before = sim_disk_find(r->early, name);
    if (before == NULL || before->now.size < at + BLOCK_SIZE || size_of(d, name) < at + BLOCK_SIZE)
        return;
    sim_disk_peek(r->early, name, at, block, BLOCK_SIZE);
    sim_disk_patch(d, name, at, block, BLOCK_SIZE);
}

static void garbage(struct sim_disk *d, const char *name, struct prng *p)
{
    uint8_t sector[SIM_SECTOR];
    for (uint32_t i = 0; i < SIM_SECTOR; i++)
        sector[i] = (uint8_t)prng_next(p);
    sim_disk_patch(d, name, any_place(d, name, SIM_SECTOR, p), sector, sizeof sector);
}

// True: the manifest was damaged with another file.
static bool damage(struct rot *r, struct sim_disk *d, enum damage kind, const char *name, struct prng *p)
{
    uint64_t at;
    if (size_of(d, name) < BLOCK_SIZE && kind < DAMAGE_TRUNCATE)
        return false;
    switch (kind) {
    case DAMAGE_FLIP:
        at = any_place(d, name, SIM_SECTOR, p);
        at += prng_below(p, SIM_SECTOR);
        sim_disk_flip(d, name, at, (uint8_t)(1u << prng_below(p, 8)));
        return false;
    case DAMAGE_SECTOR:
        sim_disk_zero(d, name, any_place(d, name, SIM_SECTOR, p), SIM_SECTOR);
        return false;
    case DAMAGE_GARBAGE:
        garbage(d, name, p);
        return false;
    case DAMAGE_BLOCK:
        sim_disk_zero(d, name, any_place(d, name, BLOCK_SIZE, p), BLOCK_SIZE);
        return false;
    case DAMAGE_SWAP:
        return swap_blocks(d, name, prng_below(p, 2) == 0 ? name : any_name(d, p), p);
    case DAMAGE_STALE:
        stale_block(r, d, name, p);
        return false;
    case DAMAGE_TRUNCATE:
        sim_disk_resize(d, name, prng_below(p, size_of(d, name)));
        return false;
    case DAMAGE_REMOVE:
        sim_disk_remove(d, name);
        return false;
    case DAMAGE_COPY:
        copy_over(d, any_name(d, p), name);
        return false;
    case DAMAGES:
        break;
    }
    return false;
}

// ---- checking

static void find_witness(struct rot *r)
{
    for (uint32_t i = 0; i < r->whole->names.count; i++) {
        const char *name = r->whole->names.items[i].name, *why;
        uint8_t block[BLOCK_SIZE];
        struct segment_header h;
        struct frame_head f;
        if (segment_id_of(name) == 0)
            continue;
        sim_disk_peek(r->whole, name, 0, block, BLOCK_SIZE);
        bool begun = segment_decode(&h, block, &why) == 0 && h.first_lsn != 0;
        for (uint64_t at = BLOCK_SIZE; begun && at < h.size - BLOCK_SIZE; at += BLOCK_SIZE) {
            sim_disk_peek(r->whole, name, at, block, BLOCK_SIZE);
            if (frame_peek(&f, block, h.epoch) == 0 && f.durable > r->witness)
                r->witness = f.durable;
        }
    }
}

// May what is lost be something that nobody bears witness of any more? Two damages, one of them of the manifest, are one too many; and
// before the manifest has been written again, there are only the frames behind, which may be gone together with what they speak of.
static bool unwitnessed(const struct rot *r, enum damage kind, const char *name, bool with_manifest, const struct past_found *f)
{
    if (with_manifest)
        return true;
    if (r->witnessed)
        return false;
    bool whole_file = kind == DAMAGE_TRUNCATE || kind == DAMAGE_REMOVE || kind == DAMAGE_COPY;
    return f->report.lsn >= r->witness || kind == DAMAGE_SWAP || (whole_file && segment_id_of(name) >= r->newest);
}

static bool nothing_is_lost(const struct rot *r, const struct past_found *f)
{
    for (uint32_t s = 0; s < PAST_SHARDS; s++)
        if (f->sequences[s] < r->due.sequences[s])
            return false;
    return true;
}

static void check_image(struct rot *r, uint64_t image)
{
    struct prng p;
    struct past_found found;
    char what[192], name[SIM_DISK_NAME_MAX];
    prng_init(&p, r->options->seed * 1000003 + image);
    struct sim_disk *d = sim_disk_crash(r->whole, &p, CRASH_DROP);
    enum damage kind = (enum damage)prng_below(&p, DAMAGES);
    memcpy(name, any_name(d, &p), sizeof name);
    bool with_manifest = damage(r, d, kind, name, &p);
    past_read(r->past, &found, d, r->options->recover_fault);
    snprintf(what, sizeof what, "%s: %s", name, DAMAGE_NAMES[kind]);
    if (r->options->verbose)
        printf("image %" PRIu64 ": %s: verdict %d %s %s\n", image, what, (int)found.report.verdict, found.report.rule, found.report.text);
    bool refused = found.rc == 1 && found.report.verdict > RECOVER_CUT;
    if (found.rc != 1)
        fail(r, CHECK_BROKEN, image, what, "recovery failed");
    else if (found.wrong != CHECK_NONE)
        fail(r, found.wrong, image, what, found.text);
    else if (refused && (found.report.text[0] == '\0' || found.report.file[0] == '\0'))
        fail(r, CHECK_SILENT, image, what, "refused without saying why or where");
    else if (!refused && past_check_truth(r->past, &found, r->due.workers) != CHECK_NONE)
        fail(r, found.wrong, image, what, found.text);
    else if (!refused && !nothing_is_lost(r, &found) && !unwitnessed(r, kind, name, with_manifest, &found))
        fail(r, CHECK_SILENT, image, what, found.report.text);
    rot_counts.refused += refused;
    rot_counts.harmless += !refused && nothing_is_lost(r, &found);
    rot_counts.unwitnessed += !refused && !nothing_is_lost(r, &found);
    r->result->states++;
    sim_disk_free(d);
}

void rot_run(const struct sweep_options *options, struct sweep_result *out)
{
    struct rot r = { .options = options, .result = out, .past = past_new() };
    *out = (struct sweep_result){ .lives = 1 };
    if (prepare(&r)) {
        struct past_found found;
        past_read(r.past, &found, r.whole, 0);
        if (past_check(r.past, &found, &r.due) != CHECK_NONE)
            fail(&r, found.wrong, 0, "undamaged", found.text);
        r.newest = found.origin.last_segment;
        find_witness(&r);
    }
    for (uint64_t image = 1; out->check == CHECK_NONE && out->states < options->most; image++) {
        if (options->only == SWEEP_ALL || options->only == image)
            check_image(&r, image);
        if (options->only == image)
            break;
    }
    sim_disk_free(r.whole);
    sim_disk_free(r.early);
    past_free(r.past);
}
