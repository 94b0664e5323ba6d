// SPDX-License-Identifier: Apache-2.0
// What a disk holds after a crash.
//
// Bytes: writes in the order of submission, each over what the ones before it left: a sector that is not kept shows an older version.
// How much of a write is kept is drawn for each write: all, nothing, a beginning, or sectors by chance; drawing only the last would
// hardly ever make the tails that matter.
#include <stdlib.h>
#include <string.h>

#include "test/sim/disk.h"

enum fate { FATE_DROP, FATE_KEEP, FATE_GARBAGE };

struct fates {
    struct prng *prng;
    enum { ALL, NOTHING, BEGINNING, BY_CHANCE } shape;
    uint32_t kept; // BEGINNING: so many sectors
    bool garbage;
};

static uint32_t sectors_of(const struct sim_write *w)
{
    return (w->len + SIM_SECTOR - 1) / SIM_SECTOR;
}

static struct fates draw(const struct sim_write *w, struct prng *p, enum crash_kind kind)
{
    struct fates f = { .prng = p, .garbage = kind == CRASH_GARBAGE };
    if (kind == CRASH_DROP || kind == CRASH_KEEP) {
        f.shape = kind == CRASH_KEEP ? ALL : NOTHING;
        return f;
    }
    uint64_t pick = prng_below(p, 8);
    f.shape = pick < 2 ? ALL : pick < 4 ? NOTHING : pick < 6 ? BEGINNING : BY_CHANCE;
    f.kept = (uint32_t)prng_below(p, sectors_of(w) + 1);
    return f;
}

static enum fate fate_of(const struct fates *f, uint32_t sector)
{
    if (f->shape == ALL || f->shape == NOTHING)
        return f->shape == ALL ? FATE_KEEP : FATE_DROP;
    if (f->shape == BEGINNING) {
        if (sector == f->kept && f->garbage)
            return FATE_GARBAGE;
        return sector < f->kept ? FATE_KEEP : FATE_DROP;
    }
    uint64_t pick = prng_below(f->prng, 8);
    if (pick == 7 && f->garbage)
        return FATE_GARBAGE;
    return pick < 4 ? FATE_KEEP : FATE_DROP;
}

// What a sector may hold when the power went while it was written.
static void garbage(uint8_t *to, const uint8_t *new, uint32_t len, struct prng *p)
{
    uint64_t pick = prng_below(p, 4);
    for (uint32_t i = 0; i < len; i++) {
        if (pick == 0)
            to[i] = (uint8_t)prng_next(p);
        else if (pick == 1)
            to[i] = 0;
        else if (pick == 2 && i < len / 2)
            to[i] = new[i];
        else if (pick == 3 && i >= len / 2)
            to[i] = new[i];
    }
}

static void land(struct image *i, const struct sim_write *w, uint32_t sector, enum fate fate, struct prng *p)
{
    uint32_t at = sector * SIM_SECTOR;
    uint32_t len = w->len - at < SIM_SECTOR ? w->len - at : SIM_SECTOR;
    if (fate == FATE_DROP || sim_write_gone(w, sector) || w->offset + at + len > i->size)
        return;
    if (fate == FATE_KEEP) {
        image_write(i, w->bytes->data + at, len, w->offset + at);
        return;
    }
    uint8_t bytes[SIM_SECTOR];
    image_read(i, bytes, len, w->offset + at);
    garbage(bytes, w->bytes->data + at, len, p);
    image_write(i, bytes, len, w->offset + at);
}

static void land_write(struct image *i, const struct sim_write *w, const struct fates *f)
{
    for (uint32_t s = 0; s < sectors_of(w); s++)
        land(i, w, s, fate_of(f, s), f->prng);
}

static void land_cut(struct image *i, const struct sim_write *w, const struct sim_cut *cut, struct prng *p)
{
    for (uint32_t s = 0; s < sectors_of(w); s++) {
        enum fate fate = s < cut->sectors ? FATE_KEEP : s == cut->sectors && cut->torn ? FATE_GARBAGE : FATE_DROP;
        land(i, w, s, fate, p);
    }
}

static bool new_size_survives(const struct sim_file *f, struct prng *p, enum crash_kind kind)
{
    if (!f->new_size || kind == CRASH_DROP)
        return false;
    return kind == CRASH_KEEP || prng_below(p, 2) == 0;
}

static void crash_file(struct sim_disk *to, const struct sim_file *from, const char *name, struct prng *p, enum crash_kind kind,
                       const struct sim_cut *cut)
{
    struct sim_file *f = sim_disk_file_new(to);
    f->refuse = from->refuse;
    image_copy(&f->durable, &from->durable);
    if (new_size_survives(from, p, kind))
        image_resize(&f->durable, from->now.size);
    for (const struct sim_write *w = from->writes; w != NULL; w = w->next) {
        struct fates fates = draw(w, p, kind);
        fates.prng = p;
        if (cut != NULL && w->id == cut->id)
            land_cut(&f->durable, w, cut, p);
        else
            land_write(&f->durable, w, &fates);
    }
    image_copy(&f->now, &f->durable);
    sim_names_set(&to->names, name, f->id);
}

// ---- names

static bool same_name(const struct sim_change *a, const char *name)
{
    return strcmp(a->name, name) == 0 || (a->kind == CHANGE_RENAME && strcmp(a->to, name) == 0);
}

static bool touches(const struct sim_change *a, const struct sim_change *b)
{
    return same_name(a, b->name) || (b->kind == CHANGE_RENAME && same_name(a, b->to));
}

// A change survives only if all earlier ones of its names did. `survives`: [change_count].
static void draw_changes(const struct sim_disk *d, bool *survives, struct prng *p, enum crash_kind kind)
{
    uint64_t in_four = prng_below(p, 5); // how many of four survive
    for (uint32_t i = 0; i < d->change_count; i++) {
        survives[i] = kind == CRASH_KEEP || (kind != CRASH_DROP && prng_below(p, 4) < in_four);
        for (uint32_t k = 0; k < i && survives[i]; k++)
            survives[i] = survives[k] || !touches(&d->changes[k], &d->changes[i]);
    }
}

static void surviving_names(const struct sim_disk *d, struct sim_names *out, struct prng *p, enum crash_kind kind)
{
    sim_names_copy(out, &d->durable_names);
    if (d->change_count == 0)
        return;
    bool *survives = malloc(d->change_count * sizeof *survives);
    assert(survives != NULL);
    draw_changes(d, survives, p, kind);
    for (uint32_t i = 0; i < d->change_count; i++)
        if (survives[i])
            sim_names_change(out, &d->changes[i]);
    free(survives);
}

// ---- a process that was killed

// What a sector held before it was written, if that is what it shows now (a write that failed may not have).
static void take_back(struct sim_file *f, const struct sim_write *w, uint32_t sector)
{
    uint8_t old[SIM_SECTOR] = { 0 }, new[SIM_SECTOR];
    uint64_t at = w->offset + (uint64_t)sector * SIM_SECTOR;
    uint32_t len = w->len - sector * SIM_SECTOR < SIM_SECTOR ? w->len - sector * SIM_SECTOR : SIM_SECTOR;
    if (at + len > f->now.size)
        return;
    image_read(&f->now, new, len, at);
    if (memcmp(new, w->bytes->data + sector * SIM_SECTOR, len) != 0)
        return;
    if (at + len <= f->durable.size)
        image_read(&f->durable, old, len, at);
    image_write(&f->now, old, len, at);
}

// What was in flight ends, and what has failed (itself, or the sync that covered it) is decided: whoever reads the file from now on sees
// what the device has, and a sync makes just that durable.
static void kill_writes(struct sim_disk *d, struct sim_file *f, struct prng *p)
{
    for (struct sim_write *w = f->writes; w != NULL; w = w->next) {
        bool undecided = w->done_at == 0 || w->doomed;
        struct fates fates = draw(w, p, undecided ? CRASH_SUBSET : CRASH_KEEP);
        uint32_t sectors = sectors_of(w);
        if (w->gone == NULL)
            w->gone = calloc(1, sectors / 8 + 1);
        assert(w->gone != NULL);
        for (uint32_t s = 0; s < sectors; s++) {
            enum fate fate = fate_of(&fates, s);
            if (fate == FATE_DROP && w->doomed && !sim_write_gone(w, s))
                take_back(f, w, s);
            land(&f->now, w, s, fate, p);
            if (fate == FATE_DROP)
                w->gone[s / 8] |= (uint8_t)(1u << (s % 8));
        }
        if (w->done_at == 0)
            w->done_at = ++d->tick;
        w->doomed = false;
    }
}

// The kernel goes on: what was done is still on its way to the medium, and a later power cut may take it.
static struct sim_disk *killed(const struct sim_disk *d, struct prng *p)
{
    struct sim_disk *after = sim_disk_clone(d);
    for (uint64_t id = 1; id < after->file_count; id++)
        if (after->files[id] != NULL)
            kill_writes(after, after->files[id], p);
    return after;
}

struct sim_disk *sim_disk_crash_cut(const struct sim_disk *d, struct prng *p, enum crash_kind kind, const struct sim_cut *cut)
{
    if (kind == CRASH_KILLED)
        return killed(d, p);
    struct sim_disk *after = sim_disk_new(prng_next(p));
    struct sim_names names = { 0 };
    after->budget = d->budget;
    after->disk.align = d->disk.align;
    after->now_ns = d->now_ns;
    after->wall_start_ms = d->wall_start_ms;
    after->clock_ns = d->clock_ns;
    surviving_names(d, &names, p, kind);
    for (uint32_t i = 0; i < names.count; i++) {
        const struct sim_file *f = sim_disk_file(d, names.items[i].file);
        crash_file(after, f, names.items[i].name, p, kind, cut);
        for (uint32_t b = 0; b < d->bad_count; b++)
            if (d->bad[b].file == f->id)
                sim_disk_bad_sector(after, names.items[i].name, d->bad[b].sector * SIM_SECTOR);
    }
    sim_names_copy(&after->durable_names, &after->names);
    free(names.items);
    return after;
}

struct sim_disk *sim_disk_crash(const struct sim_disk *d, struct prng *p, enum crash_kind kind)
{
    return sim_disk_crash_cut(d, p, kind, NULL);
}

uint32_t sim_disk_pending_writes(const struct sim_disk *d)
{
    uint32_t n = 0;
    for (uint64_t id = 1; id < d->file_count; id++)
        for (const struct sim_write *w = d->files[id] != NULL ? d->files[id]->writes : NULL; w != NULL; w = w->next)
            n++;
    return n;
}

uint32_t sim_disk_pending_names(const struct sim_disk *d)
{
    return d->change_count;
}
