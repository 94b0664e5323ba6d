// SPDX-License-Identifier: Apache-2.0
// Events: how each one changes the disk, and how they are kept and happen again.
#include <stdlib.h>
#include <string.h>

#include "test/sim/disk.h"

// ---- names

struct sim_name *sim_names_find(const struct sim_names *n, const char *name)
{
    for (uint32_t i = 0; i < n->count; i++)
        if (strcmp(n->items[i].name, name) == 0)
            return &n->items[i];
    return NULL;
}

void sim_names_set(struct sim_names *n, const char *name, uint64_t file)
{
    struct sim_name *at = sim_names_find(n, name);
    if (at == NULL) {
        if (n->count == n->cap) {
            n->cap = n->cap == 0 ? 16 : 2 * n->cap;
            n->items = realloc(n->items, n->cap * sizeof *n->items);
            assert(n->items != NULL);
        }
        at = &n->items[n->count++];
        strcpy(at->name, name);
    }
    at->file = file;
}

void sim_names_remove(struct sim_names *n, const char *name)
{
    struct sim_name *at = sim_names_find(n, name);
    if (at != NULL)
        *at = n->items[--n->count];
}

// `to` keeps its memory.
void sim_names_copy(struct sim_names *to, const struct sim_names *from)
{
    if (to->cap < from->count) {
        to->items = realloc(to->items, from->count * sizeof *to->items);
        assert(to->items != NULL);
        to->cap = from->count;
    }
    if (from->count > 0)
        memcpy(to->items, from->items, from->count * sizeof *to->items);
    to->count = from->count;
}

void sim_names_change(struct sim_names *n, const struct sim_change *c)
{
    if (c->kind != CHANGE_CREATE)
        sim_names_remove(n, c->name);
    if (c->kind != CHANGE_UNLINK)
        sim_names_set(n, c->kind == CHANGE_RENAME ? c->to : c->name, c->file);
}

// ---- files

struct sim_file *sim_disk_file(const struct sim_disk *d, uint64_t id)
{
    return id > 0 && id < d->file_count ? d->files[id] : NULL;
}

struct sim_file *sim_disk_file_new(struct sim_disk *d)
{
    if ((d->file_count & (d->file_count - 1)) == 0) {
        d->files = realloc(d->files, 2 * d->file_count * sizeof(struct sim_file *));
        assert(d->files != NULL);
        if (d->file_count == 1)
            d->files[0] = NULL;
    }
    struct sim_file *f = calloc(1, sizeof *f);
    assert(f != NULL);
    f->id = d->file_count;
    f->last = &f->writes;
    d->files[d->file_count++] = f;
    return f;
}

static void write_free(struct sim_write *w)
{
    if (--w->bytes->users == 0)
        free(w->bytes);
    free(w->gone);
    free(w);
}

static void file_free(struct sim_file *f)
{
    for (struct sim_write *w = f->writes, *next; w != NULL; w = next) {
        next = w->next;
        write_free(w);
    }
    image_deinit(&f->now);
    image_deinit(&f->durable);
    free(f);
}

static bool named(const struct sim_names *n, uint64_t file)
{
    for (uint32_t i = 0; i < n->count; i++)
        if (n->items[i].file == file)
            return true;
    return false;
}

// No name leads to them any more, not even after a crash, and nobody has them open.
static void forget_files(struct sim_disk *d)
{
    for (uint64_t id = 1; id < d->file_count; id++) {
        struct sim_file *f = d->files[id];
        if (f == NULL || f->opens > 0 || named(&d->names, id) || named(&d->durable_names, id))
            continue;
        file_free(f);
        d->files[id] = NULL;
    }
}

// ---- writes

bool sim_write_gone(const struct sim_write *w, uint32_t sector)
{
    return w->gone != NULL && (w->gone[sector / 8] >> (sector % 8) & 1) != 0;
}

// Older versions of what `w` has made durable cannot come back.
static void bury(struct sim_file *f, const struct sim_write *w)
{
    for (struct sim_write *old = f->writes; old != NULL && old != w; old = old->next) {
        if (old->done_at == 0 || old->offset >= w->offset + w->len || old->offset + old->len <= w->offset)
            continue;
        uint32_t sectors = (old->len + SIM_SECTOR - 1) / SIM_SECTOR;
        if (old->gone == NULL)
            old->gone = calloc(1, sectors / 8 + 1);
        assert(old->gone != NULL);
        for (uint32_t s = 0; s < sectors; s++) {
            uint64_t at = old->offset + s * SIM_SECTOR, end = at + SIM_SECTOR;
            if (end > old->offset + old->len)
                end = old->offset + old->len;
            if (at >= w->offset && end <= w->offset + w->len)
                old->gone[s / 8] |= (uint8_t)(1u << (s % 8));
        }
    }
}

static void settle(struct sim_file *f, struct sim_write *w)
{
    if (w->offset + w->len > f->durable.size)
        image_resize(&f->durable, w->offset + w->len);
    for (uint32_t at = 0; at < w->len; at += SIM_SECTOR) {
        uint32_t n = w->len - at < SIM_SECTOR ? w->len - at : SIM_SECTOR;
        if (!sim_write_gone(w, at / SIM_SECTOR))
            image_write(&f->durable, w->bytes->data + at, n, w->offset + at);
    }
    bury(f, w);
    f->new_size = f->durable.size != f->now.size;
}

static void drop_write(struct sim_file *f, struct sim_write **at)
{
    struct sim_write *w = *at;
    *at = w->next;
    if (w->next == NULL)
        f->last = at;
    write_free(w);
}

static void apply_write(struct sim_disk *d, struct sim_file *f, const struct sim_event *e)
{
    struct sim_write *w = calloc(1, sizeof *w);
    assert(w != NULL);
    *w = (struct sim_write){ .id = e->write, .offset = e->value, .len = e->len, .bytes = e->bytes };
    e->bytes->users++;
    *f->last = w;
    f->last = &w->next;
    d->write_ids = e->write;
}

static void apply_done(struct sim_disk *d, struct sim_file *f, const struct sim_event *e)
{
    struct sim_write **at = &f->writes;
    while (*at != NULL && (*at)->id != e->write)
        at = &(*at)->next;
    struct sim_write *w = *at;
    assert(w != NULL && w->done_at == 0);
    w->done_at = ++d->tick;
    w->doomed = !e->good;
    if (!e->good)
        return;
    w->len = e->len < w->len ? e->len : w->len;
    if (w->offset + w->len > f->now.size)
        w->len = w->offset < f->now.size ? (uint32_t)(f->now.size - w->offset) : 0; // the file was cut meanwhile
    image_write(&f->now, w->bytes->data, w->len, w->offset);
    if (!e->dsync)
        return;
    settle(f, w);
    drop_write(f, at);
}

static void apply_sync(struct sim_file *f, const struct sim_event *e)
{
    for (struct sim_write **at = &f->writes; *at != NULL;) {
        struct sim_write *w = *at;
        bool covered = w->done_at != 0 && w->done_at <= e->value && !w->doomed;
        if (covered && e->good) {
            settle(f, w);
            drop_write(f, at);
            continue;
        }
        w->doomed |= covered;
        at = &w->next;
    }
    if (!e->good)
        return;
    image_resize(&f->durable, f->now.size);
    f->new_size = false;
}

static void apply_resize(struct sim_file *f, uint64_t size)
{
    for (struct sim_write *w = f->writes; w != NULL; w = w->next)
        if (w->offset + w->len > size && w->done_at != 0)
            w->len = w->offset < size ? (uint32_t)(size - w->offset) : 0;
    image_resize(&f->now, size);
    f->new_size = f->durable.size != size;
}

// ---- events

static void add_change(struct sim_disk *d, enum sim_change_kind kind, const struct sim_event *e, uint64_t file)
{
    if (d->change_count == d->change_cap) {
        d->change_cap = d->change_cap == 0 ? 16 : 2 * d->change_cap;
        d->changes = realloc(d->changes, d->change_cap * sizeof *d->changes);
        assert(d->changes != NULL);
    }
    struct sim_change *c = &d->changes[d->change_count++];
    *c = (struct sim_change){ .kind = kind, .file = file };
    strcpy(c->name, e->name);
    if (e->to != NULL)
        strcpy(c->to, e->to);
    sim_names_change(&d->names, c);
}

static void apply_names(struct sim_disk *d, const struct sim_event *e)
{
    if (e->kind == EVENT_CREATE) {
        add_change(d, CHANGE_CREATE, e, sim_disk_file_new(d)->id);
        return;
    }
    if (e->kind == EVENT_SYNC_NAMES) {
        sim_names_copy(&d->durable_names, &d->names);
        d->change_count = 0;
        forget_files(d);
        return;
    }
    const struct sim_name *at = sim_names_find(&d->names, e->name);
    assert(at != NULL);
    add_change(d, e->kind == EVENT_RENAME ? CHANGE_RENAME : CHANGE_UNLINK, e, at->file);
}

void sim_disk_apply(struct sim_disk *d, const struct sim_event *e)
{
    struct sim_file *f = sim_disk_file(d, e->file);
    if (f == NULL && e->file != 0) { // in a replay: it was unlinked for good, and somebody had it open
        d->tick += e->kind == EVENT_WRITE_DONE;
        return;
    }
    switch (e->kind) {
    case EVENT_CREATE:
    case EVENT_RENAME:
    case EVENT_UNLINK:
    case EVENT_SYNC_NAMES:
        apply_names(d, e);
        return;
    case EVENT_RESIZE:
        apply_resize(f, e->value);
        return;
    case EVENT_WRITE:
        apply_write(d, f, e);
        return;
    case EVENT_WRITE_DONE:
        apply_done(d, f, e);
        return;
    case EVENT_SYNC:
        apply_sync(f, e);
        return;
    case EVENT_NOTE:
        return;
    }
}

void sim_event_record(struct sim_disk *d, const struct sim_event *e)
{
    struct sim_recording *r = d->recording;
    if (r == NULL)
        return;
    if (r->count == r->cap) {
        r->cap = r->cap == 0 ? 256 : 2 * r->cap;
        r->events = realloc(r->events, r->cap * sizeof *r->events);
        assert(r->events != NULL);
    }
    struct sim_event *kept = &r->events[r->count++];
    *kept = *e;
    if (e->bytes != NULL)
        e->bytes->users++;
    kept->name = e->name != NULL ? strdup(e->name) : NULL;
    kept->to = e->to != NULL ? strdup(e->to) : NULL;
}

// ---- recordings and replays

void sim_disk_record(struct sim_disk *d)
{
    assert(d->recording == NULL);
    struct sim_recording *r = calloc(1, sizeof *r);
    assert(r != NULL);
    r->first = sim_disk_clone(d);
    d->recording = r;
}

void sim_disk_note(struct sim_disk *d, uint64_t value)
{
    sim_event_record(d, &(struct sim_event){ .kind = EVENT_NOTE, .good = true, .value = value });
}

struct sim_recording *sim_disk_record_end(struct sim_disk *d)
{
    struct sim_recording *r = d->recording;
    d->recording = NULL;
    return r;
}

struct sim_recording *sim_recording_free(struct sim_recording *r)
{
    if (r == NULL)
        return NULL;
    for (uint64_t i = 0; i < r->count; i++) {
        struct sim_event *e = &r->events[i];
        if (e->bytes != NULL && --e->bytes->users == 0)
            free(e->bytes);
        free(e->name);
        free(e->to);
    }
    free(r->events);
    sim_disk_free(r->first);
    free(r);
    return NULL;
}

void sim_replay_init(struct sim_replay *r, const struct sim_recording *recording)
{
    *r = (struct sim_replay){ .recording = recording, .disk = sim_disk_clone(recording->first) };
}

void sim_replay_deinit(struct sim_replay *r)
{
    r->disk = sim_disk_free(r->disk);
}

const struct sim_event *sim_replay_step(struct sim_replay *r)
{
    if (r->at == r->recording->count)
        return NULL;
    const struct sim_event *e = &r->recording->events[r->at++];
    sim_disk_apply(r->disk, e);
    return e;
}

// ---- copies

static void copy_file(struct sim_disk *to, const struct sim_file *from)
{
    struct sim_file *f = sim_disk_file_new(to);
    image_copy(&f->now, &from->now);
    image_copy(&f->durable, &from->durable);
    f->refuse = from->refuse;
    f->new_size = from->new_size;
    for (const struct sim_write *w = from->writes; w != NULL; w = w->next) {
        struct sim_write *copy = malloc(sizeof *copy);
        assert(copy != NULL);
        *copy = *w;
        copy->next = NULL;
        copy->bytes->users++;
        if (w->gone != NULL) {
            size_t bytes = (w->len + SIM_SECTOR - 1) / SIM_SECTOR / 8 + 1;
            copy->gone = malloc(bytes);
            assert(copy->gone != NULL);
            memcpy(copy->gone, w->gone, bytes);
        }
        *f->last = copy;
        f->last = &copy->next;
    }
}

struct sim_disk *sim_disk_clone(const struct sim_disk *d)
{
    struct sim_disk *c = sim_disk_new(0);
    c->prng = d->prng;
    c->now_ns = d->now_ns;
    c->wall_start_ms = d->wall_start_ms;
    c->clock_ns = d->clock_ns;
    c->tick = d->tick;
    c->write_ids = d->write_ids;
    c->budget = d->budget;
    c->disk.align = d->disk.align;
    memcpy(c->bad, d->bad, sizeof c->bad);
    c->bad_count = d->bad_count;
    for (uint64_t id = 1; id < d->file_count; id++) {
        if (d->files[id] != NULL) {
            copy_file(c, d->files[id]);
        } else {
            uint64_t none = sim_disk_file_new(c)->id;
            file_free(c->files[none]);
            c->files[none] = NULL;
        }
    }
    sim_names_copy(&c->names, &d->names);
    sim_names_copy(&c->durable_names, &d->durable_names);
    for (uint32_t i = 0; i < d->change_count; i++) {
        if (c->changes == NULL) {
            c->changes = malloc(d->change_count * sizeof *c->changes);
            assert(c->changes != NULL);
            c->change_cap = d->change_count;
        }
        c->changes[c->change_count++] = d->changes[i];
    }
    return c;
}

struct sim_disk *sim_disk_free(struct sim_disk *d)
{
    if (d == NULL)
        return NULL;
    for (uint64_t id = 1; id < d->file_count; id++)
        if (d->files[id] != NULL)
            file_free(d->files[id]);
    free(d->files);
    free(d->names.items);
    free(d->durable_names.items);
    free(d->changes);
    sim_recording_free(d->recording);
    free(d);
    return NULL;
}
