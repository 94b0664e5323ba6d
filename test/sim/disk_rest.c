// SPDX-License-Identifier: Apache-2.0
// What happens to bytes at rest: tests lay files there, and the medium changes them without being asked.
#include <stdlib.h>
#include <string.h>

#include "test/sim/disk.h"

struct sim_file *sim_disk_find(const struct sim_disk *d, const char *name)
{
    const struct sim_name *at = sim_names_find(&d->names, name);
    return at != NULL ? sim_disk_file(d, at->file) : NULL;
}

static struct sim_file *known(const struct sim_disk *d, const char *name)
{
    struct sim_file *f = sim_disk_find(d, name);
    assert(f != NULL);
    return f;
}

static struct sim_file *put(struct sim_disk *d, const char *name)
{
    assert(d->recording == NULL && strlen(name) < SIM_DISK_NAME_MAX);
    struct sim_file *f = sim_disk_file_new(d);
    sim_names_set(&d->names, name, f->id);
    sim_names_set(&d->durable_names, name, f->id);
    return f;
}

void sim_disk_put(struct sim_disk *d, const char *name, const void *bytes, uint64_t len)
{
    struct sim_file *f = put(d, name);
    image_resize(&f->now, len);
    image_write(&f->now, bytes, (size_t)len, 0);
    image_copy(&f->durable, &f->now);
}

void sim_disk_put_odd(struct sim_disk *d, const char *name, int error)
{
    put(d, name)->refuse = error;
}

void sim_disk_remove(struct sim_disk *d, const char *name)
{
    assert(d->recording == NULL);
    sim_names_remove(&d->names, name);
    sim_names_remove(&d->durable_names, name);
}

void sim_disk_resize(struct sim_disk *d, const char *name, uint64_t size)
{
    struct sim_file *f = known(d, name);
    image_resize(&f->now, size);
    image_resize(&f->durable, size);
}

void sim_disk_patch(struct sim_disk *d, const char *name, uint64_t offset, const void *bytes, size_t len)
{
    struct sim_file *f = known(d, name);
    image_write(&f->now, bytes, len, offset);
    image_write(&f->durable, bytes, len, offset);
}

void sim_disk_flip(struct sim_disk *d, const char *name, uint64_t offset, uint8_t bits)
{
    uint8_t byte;
    sim_disk_peek(d, name, offset, &byte, 1);
    byte ^= bits;
    sim_disk_patch(d, name, offset, &byte, 1);
}

void sim_disk_zero(struct sim_disk *d, const char *name, uint64_t offset, size_t len)
{
    static const uint8_t zeros[IMAGE_PAGE];
    while (len > 0) {
        size_t n = len < sizeof zeros ? len : sizeof zeros;
        sim_disk_patch(d, name, offset, zeros, n);
        offset += n;
        len -= n;
    }
}

void sim_disk_bad_sector(struct sim_disk *d, const char *name, uint64_t offset)
{
    assert(d->bad_count < SIM_DISK_BAD_MAX);
    d->bad[d->bad_count].file = known(d, name)->id;
    d->bad[d->bad_count++].sector = offset / SIM_SECTOR;
}

void sim_disk_peek(const struct sim_disk *d, const char *name, uint64_t offset, void *to, size_t len)
{
    image_read(&known(d, name)->now, to, len, offset);
}

bool sim_disk_equal(const struct sim_disk *a, const struct sim_disk *b)
{
    if (a->names.count != b->names.count)
        return false;
    for (uint32_t i = 0; i < a->names.count; i++) {
        const struct sim_file *f = sim_disk_find(b, a->names.items[i].name);
        if (f == NULL || !image_equal(&sim_disk_find(a, a->names.items[i].name)->now, &f->now))
            return false;
    }
    return true;
}
