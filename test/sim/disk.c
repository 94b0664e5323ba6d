// SPDX-License-Identifier: Apache-2.0
// The disk as its users see it. What changes it is an event (disk_record.c makes it happen), so that a recording misses nothing.
#include "test/sim/disk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/clock.h"

#define SIM_DISK_ALIGN  4096u
#define SIM_DISK_BUDGET (UINT64_C(1) << 40)
#define SIM_CALL_NS     NS_PER_US // what a call takes on the disk's own clock

static struct sim_disk *disk_of(struct disk *d)
{
    return (struct sim_disk *)(void *)d;
}

static void mistake(struct sim_disk *d, const char *what, int fd)
{
    if (d->failure[0] == '\0')
        snprintf(d->failure, sizeof d->failure, "%s (descriptor %d)", what, fd);
}

// ---- faults

void sim_disk_fail(struct sim_disk *d, enum sim_disk_fault fault, uint64_t nth, bool sticky)
{
    d->faults[fault].in = nth;
    d->faults[fault].sticky = sticky;
}

void sim_disk_heal(struct sim_disk *d)
{
    memset(d->faults, 0, sizeof d->faults);
    d->bad_count = 0;
}

void sim_disk_cut(struct sim_disk *d, uint64_t nth)
{
    d->cut_at = d->operations + nth;
}

static bool fails(struct sim_disk *d, enum sim_disk_fault fault)
{
    if (likely(d->faults[fault].in == 0) || --d->faults[fault].in > 0)
        return false;
    d->faults[fault].in = d->faults[fault].sticky ? 1 : 0;
    return true;
}

// Counts an operation that changes something; false: the power is gone.
static bool powered(struct sim_disk *d)
{
    d->clock_ns += SIM_CALL_NS;
    if (++d->operations == d->cut_at)
        d->cut = true;
    return !d->cut;
}

// ---- descriptors

// NULL: not open.
static struct sim_file *file_of(const struct sim_disk *d, int fd)
{
    if (!sim_disk_owns(fd) || d->fds[fd - SIM_DISK_FD_BASE].flags < 0)
        return NULL;
    return sim_disk_file(d, d->fds[fd - SIM_DISK_FD_BASE].file);
}

static struct sim_file *file_or_mistake(struct sim_disk *d, int fd, bool writes)
{
    struct sim_file *f = file_of(d, fd);
    if (f == NULL)
        mistake(d, "used while it is not open", fd);
    else if (writes && (d->fds[fd - SIM_DISK_FD_BASE].flags & DISK_WRITE) == 0)
        return NULL;
    return f;
}

uint64_t sim_disk_file_of(const struct sim_disk *d, int fd)
{
    const struct sim_file *f = file_of(d, fd);
    return f != NULL ? f->id : 0;
}

static bool aligned(const struct sim_disk *d, int fd, const void *data, size_t len, uint64_t offset)
{
    if ((d->fds[fd - SIM_DISK_FD_BASE].flags & DISK_BUFFERED) != 0)
        return true;
    return (((uintptr_t)data | len | offset) & (d->disk.align - 1)) == 0;
}

static uint64_t used(const struct sim_disk *d)
{
    uint64_t bytes = 0;
    for (uint64_t i = 1; i < d->file_count; i++)
        if (d->files[i] != NULL)
            bytes += (d->files[i]->now.size + IMAGE_PAGE - 1) / IMAGE_PAGE * IMAGE_PAGE;
    return bytes;
}

static void happen(struct sim_disk *d, const struct sim_event *e)
{
    sim_event_record(d, e);
    sim_disk_apply(d, e);
}

static int grow(struct sim_disk *d, struct sim_file *f, uint64_t size)
{
    uint64_t more = size > f->now.size ? size - f->now.size : 0;
    if (more > 0 && used(d) + more > d->budget)
        return -ENOSPC;
    happen(d, &(struct sim_event){ .kind = EVENT_RESIZE, .good = true, .file = f->id, .value = size });
    return 0;
}

// ---- names

static bool is_name(const char *name)
{
    size_t len = strlen(name);
    return len > 0 && len < SIM_DISK_NAME_MAX && strchr(name, '/') == NULL && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

// In an order that promises nothing.
static int list(struct disk *disk, disk_name_fn *fn, void *context)
{
    struct sim_disk *d = disk_of(disk);
    struct sim_names all = { 0 };
    if (d->cut)
        return -EIO;
    sim_names_copy(&all, &d->names);
    while (all.count > 0) {
        struct sim_name *pick = &all.items[prng_below(&d->prng, all.count)];
        struct sim_name next = *pick;
        *pick = all.items[--all.count];
        fn(context, next.name);
    }
    free(all.items);
    return 0;
}

static int fd_free(const struct sim_disk *d)
{
    for (int i = 0; i < SIM_DISK_FDS_MAX; i++)
        if (d->fds[i].flags < 0)
            return i;
    return -EMFILE;
}

static int create(struct sim_disk *d, const char *name)
{
    if (sim_names_find(&d->names, name) != NULL)
        return -EEXIST;
    if (!powered(d))
        return -EIO;
    happen(d, &(struct sim_event){ .kind = EVENT_CREATE, .good = true, .name = (char *)(uintptr_t)name });
    return 0;
}

static int open_file(struct disk *disk, const char *name, int flags, uint64_t *size)
{
    struct sim_disk *d = disk_of(disk);
    if (!is_name(name))
        return -EINVAL;
    int i = fd_free(d);
    if (i < 0)
        return i;
    if (d->cut || fails(d, DISK_FAIL_OPEN))
        return -EIO;
    int err = (flags & DISK_CREATE) != 0 ? create(d, name) : 0;
    if (err < 0)
        return err;
    struct sim_name *at = sim_names_find(&d->names, name);
    if (at == NULL)
        return -ENOENT;
    struct sim_file *f = sim_disk_file(d, at->file);
    if (f->refuse != 0)
        return f->refuse;
    d->fds[i].file = f->id;
    d->fds[i].flags = flags;
    f->opens++;
    if (size != NULL)
        *size = f->now.size;
    return SIM_DISK_FD_BASE + i;
}

static void close_file(struct disk *disk, int fd)
{
    struct sim_disk *d = disk_of(disk);
    struct sim_file *f = file_or_mistake(d, fd, false);
    if (f == NULL)
        return;
    for (const struct sim_write *w = f->writes; w != NULL && !d->cut; w = w->next)
        if (w->done_at == 0)
            mistake(d, "closed with a write in flight", fd);
    d->fds[fd - SIM_DISK_FD_BASE].flags = -1;
    f->opens--;
}

static int rename_file(struct disk *disk, const char *from, const char *to)
{
    struct sim_disk *d = disk_of(disk);
    if (!is_name(from) || !is_name(to))
        return -EINVAL;
    if (sim_names_find(&d->names, from) == NULL)
        return -ENOENT;
    if (!powered(d) || fails(d, DISK_FAIL_NAMES))
        return -EIO;
    happen(d, &(struct sim_event){ .kind = EVENT_RENAME, .good = true, .name = (char *)(uintptr_t)from, .to = (char *)(uintptr_t)to });
    return 0;
}

static int unlink_file(struct disk *disk, const char *name)
{
    struct sim_disk *d = disk_of(disk);
    if (sim_names_find(&d->names, name) == NULL)
        return -ENOENT;
    if (!powered(d) || fails(d, DISK_FAIL_NAMES))
        return -EIO;
    happen(d, &(struct sim_event){ .kind = EVENT_UNLINK, .good = true, .name = (char *)(uintptr_t)name });
    return 0;
}

static int sync_names(struct disk *disk)
{
    struct sim_disk *d = disk_of(disk);
    if (!powered(d) || fails(d, DISK_FAIL_NAMES))
        return -EIO;
    if (!fails(d, DISK_LYING_NAMES))
        happen(d, &(struct sim_event){ .kind = EVENT_SYNC_NAMES, .good = true });
    return 0;
}

// ---- bytes

static bool touches_bad(const struct sim_disk *d, const struct sim_file *f, size_t len, uint64_t offset)
{
    for (uint32_t i = 0; i < d->bad_count; i++) {
        uint64_t at = d->bad[i].sector * SIM_SECTOR;
        if (d->bad[i].file == f->id && at < offset + len && at + SIM_SECTOR > offset)
            return true;
    }
    return false;
}

// How much was read, or -errno.
static int64_t read_some(struct sim_disk *d, int fd, void *data, size_t len, uint64_t offset)
{
    struct sim_file *f = file_or_mistake(d, fd, false);
    if (f == NULL)
        return -EBADF;
    if (!aligned(d, fd, data, len, offset))
        return -EINVAL;
    d->clock_ns += SIM_CALL_NS;
    size_t there = offset >= f->now.size ? 0 : (size_t)(f->now.size - offset);
    size_t n = there < len ? there : len;
    if (d->cut || fails(d, DISK_FAIL_READ) || touches_bad(d, f, n, offset))
        return -EIO;
    if (n > 0)
        image_read(&f->now, data, n, offset);
    return (int64_t)n;
}

static int read_file(struct disk *disk, int fd, void *data, size_t len, uint64_t offset)
{
    int64_t n = read_some(disk_of(disk), fd, data, len, offset);
    if (n < 0)
        return (int)n;
    return (size_t)n == len ? 0 : -ENODATA;
}

// A write that was written is good again.
static void mend(struct sim_disk *d, const struct sim_file *f, size_t len, uint64_t offset)
{
    for (uint32_t i = 0; i < d->bad_count; i++) {
        uint64_t at = d->bad[i].sector * SIM_SECTOR;
        if (d->bad[i].file == f->id && at >= offset && at + SIM_SECTOR <= offset + len)
            d->bad[i--] = d->bad[--d->bad_count];
    }
}

static void check_alone(struct sim_disk *d, const struct sim_file *f, int fd, size_t len, uint64_t offset)
{
    for (const struct sim_write *w = f->writes; w != NULL; w = w->next)
        if (w->done_at == 0 && w->offset < offset + len && w->offset + w->len > offset)
            mistake(d, "two writes of the same bytes are in flight", fd);
}

#define WRITE_LOST UINT64_MAX

// *id: of the write that is in flight now; WRITE_LOST: it will seem to succeed. 0 or -errno.
static int begin_write(struct sim_disk *d, int fd, const void *data, size_t len, uint64_t offset, uint64_t *id)
{
    struct sim_file *f = file_or_mistake(d, fd, true);
    if (f == NULL)
        return -EBADF;
    if (!aligned(d, fd, data, len, offset))
        return -EINVAL;
    bool power = powered(d);
    if (!power && d->operations != d->cut_at)
        return -EIO;
    if (offset + len > f->now.size && grow(d, f, offset + len) != 0)
        return -ENOSPC;
    if (fails(d, DISK_LOST_WRITE)) {
        *id = WRITE_LOST;
        return 0;
    }
    uint64_t blocks = (f->now.size - len) / SIM_DISK_ALIGN + 1;
    if (fails(d, DISK_MISDIRECT_WRITE))
        offset = prng_below(&d->prng, blocks) * SIM_DISK_ALIGN;
    check_alone(d, f, fd, len, offset);
    struct sim_bytes *bytes = malloc(sizeof *bytes + len);
    assert(bytes != NULL && len <= UINT32_MAX);
    bytes->users = 1;
    memcpy(bytes->data, data, len);
    *id = ++d->write_ids;
    happen(d, &(struct sim_event){
                  .kind = EVENT_WRITE, .good = true, .file = f->id, .write = *id, .value = offset, .len = (uint32_t)len, .bytes = bytes });
    if (--bytes->users == 0)
        free(bytes);
    return power ? 0 : -EIO; // cut in its middle: in flight for ever
}

static void end_write(struct sim_disk *d, const struct sim_file *f, uint64_t id, size_t len, uint64_t offset, bool good, bool dsync)
{
    if (good)
        mend(d, f, len, offset);
    happen(d,
           &(struct sim_event){ .kind = EVENT_WRITE_DONE, .good = good, .dsync = dsync, .file = f->id, .write = id, .len = (uint32_t)len });
}

static int write_file(struct disk *disk, int fd, const void *data, size_t len, uint64_t offset)
{
    struct sim_disk *d = disk_of(disk);
    uint64_t id;
    int err = begin_write(d, fd, data, len, offset, &id);
    if (err < 0 || id == WRITE_LOST)
        return err;
    bool good = !fails(d, DISK_FAIL_WRITE);
    end_write(d, file_of(d, fd), id, len, offset, good, false);
    return good ? 0 : -EIO;
}

static int resize_file(struct disk *disk, int fd, uint64_t size, bool shrink)
{
    struct sim_disk *d = disk_of(disk);
    struct sim_file *f = file_or_mistake(d, fd, true);
    if (f == NULL)
        return -EBADF;
    if (!powered(d))
        return -EIO;
    if (size > f->now.size && fails(d, DISK_FAIL_ALLOCATE))
        return -ENOSPC;
    return size == f->now.size || (size < f->now.size && !shrink) ? 0 : grow(d, f, size);
}

static int allocate(struct disk *disk, int fd, uint64_t size)
{
    return resize_file(disk, fd, size, false);
}

static int truncate_file(struct disk *disk, int fd, uint64_t size)
{
    return resize_file(disk, fd, size, true);
}

static int end_sync(struct sim_disk *d, const struct sim_file *f, uint64_t tick)
{
    bool good = !fails(d, DISK_FAIL_SYNC);
    if (!good || !fails(d, DISK_LYING_SYNC))
        happen(d, &(struct sim_event){ .kind = EVENT_SYNC, .good = good, .file = f->id, .value = tick });
    return good ? 0 : -EIO;
}

static int sync_file(struct disk *disk, int fd)
{
    struct sim_disk *d = disk_of(disk);
    struct sim_file *f = file_or_mistake(d, fd, false);
    if (f == NULL)
        return -EBADF;
    return powered(d) ? end_sync(d, f, d->tick) : -EIO;
}

static uint64_t room(struct disk *disk)
{
    const struct sim_disk *d = disk_of(disk);
    uint64_t bytes = used(d);
    return bytes < d->budget ? d->budget - bytes : 0;
}

static void entropy(struct disk *disk, void *out, size_t len)
{
    uint8_t *at = out;
    for (size_t i = 0; i < len; i++)
        at[i] = (uint8_t)prng_next(&disk_of(disk)->prng);
}

static uint64_t now_ns(struct disk *disk)
{
    const struct sim_disk *d = disk_of(disk);
    return d->now_ns != NULL ? *d->now_ns : d->clock_ns;
}

static int64_t wall_ms(struct disk *disk)
{
    return disk_of(disk)->wall_start_ms + (int64_t)(now_ns(disk) / NS_PER_MS);
}

static const struct disk_ops SIM_DISK_OPS = {
    .list = list,
    .open = open_file,
    .close = close_file,
    .read = read_file,
    .write = write_file,
    .allocate = allocate,
    .truncate = truncate_file,
    .sync = sync_file,
    .sync_names = sync_names,
    .rename = rename_file,
    .unlink = unlink_file,
    .room = room,
    .entropy = entropy,
    .now_ns = now_ns,
    .wall_ms = wall_ms,
};

// ---- ops of a reactor

// op->backend of a write: its id; what could not begin: the error, negative. Of a sync: the tick up to which it covers.
void sim_disk_op_start(struct sim_disk *d, struct op *op)
{
    op->backend = 0;
    if (op->kind == OP_WRITE) {
        uint64_t id = 0;
        int err = begin_write(d, op->fd, op->data, op->len, op->offset, &id);
        op->backend = err < 0 ? (uint64_t)(int64_t)err : id;
    } else if (op->kind == OP_FSYNC) {
        op->backend = powered(d) ? d->tick : (uint64_t)(int64_t)-EIO;
    }
}

static struct sim_write *write_of(struct sim_file *f, uint64_t id)
{
    for (struct sim_write *w = f->writes; w != NULL; w = w->next)
        if (w->id == id)
            return w;
    return NULL;
}

static int32_t finish_write(struct sim_disk *d, struct op *op)
{
    if (op->backend == WRITE_LOST)
        return (int32_t)op->len;
    struct sim_file *f = file_or_mistake(d, op->fd, true);
    if (f == NULL)
        return -EBADF;
    const struct sim_write *w = write_of(f, op->backend);
    assert(w != NULL);
    if (memcmp(w->bytes->data, op->data, op->len) != 0)
        mistake(d, "memory of a write changed while it was in flight", op->fd);
    if (fails(d, DISK_FAIL_WRITE)) {
        end_write(d, f, w->id, op->len, w->offset, false, false);
        return -EIO;
    }
    uint32_t len = op->len;
    if (len > SIM_SECTOR && fails(d, DISK_SHORT_WRITE))
        len = (uint32_t)(1 + prng_below(&d->prng, len / SIM_SECTOR - 1)) * SIM_SECTOR;
    end_write(d, f, w->id, len, w->offset, true, (op->flags & OP_DSYNC) != 0);
    return (int32_t)len;
}

int32_t sim_disk_op_finish(struct sim_disk *d, struct op *op)
{
    if (d->cut)
        return -EIO;
    int64_t begun = (int64_t)op->backend;
    if (op->kind != OP_READ && begun < 0 && op->backend != WRITE_LOST)
        return (int32_t)begun;
    if (op->kind == OP_WRITE)
        return finish_write(d, op);
    if (op->kind == OP_READ)
        return (int32_t)read_some(d, op->fd, op->data, op->len, op->offset);
    assert(op->kind == OP_FSYNC);
    struct sim_file *f = file_or_mistake(d, op->fd, false);
    return f == NULL ? -EBADF : end_sync(d, f, op->backend);
}

// ---- making and freeing

struct sim_disk *sim_disk_new(uint64_t seed)
{
    struct sim_disk *d = calloc(1, sizeof *d);
    assert(d != NULL);
    d->disk = (struct disk){ .ops = &SIM_DISK_OPS, .align = SIM_DISK_ALIGN, .direct = true, .path = "simulation" };
    prng_init(&d->prng, seed);
    d->wall_start_ms = 1700000000000;
    d->clock_ns = NS_PER_SEC;
    d->budget = SIM_DISK_BUDGET;
    d->file_count = 1; // ids begin at 1
    for (int i = 0; i < SIM_DISK_FDS_MAX; i++)
        d->fds[i].flags = -1;
    return d;
}
