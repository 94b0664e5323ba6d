// SPDX-License-Identifier: Apache-2.0
// Generations take turns between the two files: while one is written, the other one counts. A copy that could not be written is made anew
// the next time, for what a failed fsync left behind is not known.
#include <errno.h>
#include <string.h>

#include "persist/keeper_inside.h"

static int open_copy(struct keeper *k, const char *name, bool *created)
{
    struct disk *d = k->disk;
    uint64_t size = 0;
    if (k->manifest_new) {
        int failed = d->ops->unlink(d, name);
        if (failed != 0 && failed != -ENOENT)
            return failed;
    }
    int fd = d->ops->open(d, name, DISK_WRITE | keeper_open_flags(k), &size);
    *created = fd == -ENOENT;
    return *created ? d->ops->open(d, name, DISK_WRITE | DISK_CREATE | keeper_open_flags(k), &size) : fd;
}

static int write_copy(struct keeper *k, const char *name)
{
    struct disk *d = k->disk;
    bool created = false;
    int fd = open_copy(k, name, &created);
    if (fd < 0)
        return fd;
    int failed = d->ops->write(d, fd, k->block, BLOCK_SIZE, 0);
    if (failed == 0)
        failed = d->ops->sync(d, fd);
    d->ops->close(d, fd);
    if (failed == 0 && created)
        failed = d->ops->sync_names(d);
    return failed;
}

int keeper_manifest_write(struct keeper *k, const struct manifest *next)
{
    struct manifest m = *next;
    m.generation = k->manifest.generation + 1;
    manifest_encode(&m, k->block);
    int failed = write_copy(k, manifest_name(m.generation));
    memset(k->block, 0, BLOCK_SIZE);
    k->manifest_new = failed != 0;
    if (failed != 0)
        return failed;
    k->manifest = m;
    atomic_store_explicit(&k->stats.manifest_generation, m.generation, memory_order_relaxed);
    atomic_store_explicit(&k->stats.first_segment, m.first_segment, memory_order_relaxed);
    return 0;
}
