// SPDX-License-Identifier: Apache-2.0
// A disk that fails when it is told to: a FUSE file system with one file, `disk`, which a loop device makes a block device of (so that a
// real ext4 lies on top), and one to write orders to, `control`. What was written and not flushed is gone after `powercut`.
//
//   faultdisk BYTES MOUNTPOINT        in the foreground, single-threaded: writes have one order
//
//   order                  from the next write (flush) on
//   eio_write SKIP COUNT   COUNT writes fail, behind SKIP that do not
//   eio_flush SKIP COUNT   the same of flushes
//   eio_read FROM TO       reads that touch these bytes of the device fail
//   eio_match TEXT COUNT   COUNT writes that hold TEXT fail
//   lose SKIP COUNT        COUNT writes are answered and not done
//   tear SKIP              one write is done to its half
//   flip SKIP              one bit of a write is wrong
//   misdirect SKIP         a write lands elsewhere
//   delay MICROSECONDS     every write takes so long
//   die SKIP               nothing works any more
//   powercut               back to what was flushed
//   revive                 works again, all orders forgotten
// Reading `control` gives the counters.
#define FUSE_USE_VERSION 31
#include <errno.h>
#include <fuse3/fuse.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RANGES_MAX 65536
#define SECTOR     512
#define NEVER      UINT64_MAX

// Happens to operations number `from` to `from + count - 1`.
struct fault {
    uint64_t from, count;
};

enum fault_kind { EIO_WRITE, EIO_FLUSH, LOSE, TEAR, FLIP, MISDIRECT, DIE, FAULTS };

static struct {
    uint8_t *now;     // what reads see
    uint8_t *durable; // as of the last flush
    uint64_t size;
    struct {
        uint64_t at, len;
    } ranges[RANGES_MAX]; // written since
    uint32_t range_count;
    bool all; // more of them than fit
    uint64_t writes, flushes, reads;
    struct fault faults[FAULTS];
    uint64_t bad_from, bad_to;
    char text[64];
    uint64_t text_count;
    uint64_t delay_us;
    bool dead;
} disk;

static void forget_orders(void)
{
    for (int i = 0; i < FAULTS; i++)
        disk.faults[i] = (struct fault){ .from = NEVER };
    disk.bad_from = disk.bad_to = disk.text_count = disk.delay_us = 0;
    disk.dead = false;
}

static bool happens(enum fault_kind kind, uint64_t number)
{
    const struct fault *f = &disk.faults[kind];
    return number >= f->from && number - f->from < f->count;
}

static void note(uint64_t at, uint64_t len)
{
    if (disk.range_count == RANGES_MAX) {
        disk.all = true;
        return;
    }
    disk.ranges[disk.range_count].at = at;
    disk.ranges[disk.range_count++].len = len;
}

static void put(const char *bytes, uint64_t len, uint64_t at)
{
    memcpy(disk.now + at, bytes, len);
    note(at, len);
}

static void make_durable(void)
{
    if (disk.all)
        memcpy(disk.durable, disk.now, disk.size);
    for (uint32_t i = 0; i < disk.range_count && !disk.all; i++)
        memcpy(disk.durable + disk.ranges[i].at, disk.now + disk.ranges[i].at, disk.ranges[i].len);
    disk.range_count = 0;
    disk.all = false;
}

// ---- orders

static const struct {
    const char *name;
    enum fault_kind kind;
    bool counted; // has a second number
} ORDERS[] = {
    { "eio_write", EIO_WRITE, true }, { "eio_flush", EIO_FLUSH, true },  { "lose", LOSE, true }, { "tear", TEAR, false },
    { "flip", FLIP, false },          { "misdirect", MISDIRECT, false }, { "die", DIE, false },
};

static int fault_order(const char *name, uint64_t a, uint64_t b, int numbers)
{
    for (size_t i = 0; i < sizeof ORDERS / sizeof ORDERS[0]; i++) {
        if (strcmp(name, ORDERS[i].name) != 0)
            continue;
        if (numbers != (ORDERS[i].counted ? 2 : 1))
            return -EINVAL;
        uint64_t done = ORDERS[i].kind == EIO_FLUSH ? disk.flushes : disk.writes;
        uint64_t count = ORDERS[i].counted ? b : ORDERS[i].kind == DIE ? NEVER : 1;
        disk.faults[ORDERS[i].kind] = (struct fault){ .from = done + a, .count = count };
        return 0;
    }
    return -EINVAL;
}

static int order(const char *line)
{
    char name[32], text[64];
    uint64_t a = 0, b = 0;
    if (sscanf(line, "eio_match %63s %" SCNu64, text, &a) == 2) {
        memcpy(disk.text, text, sizeof text);
        disk.text_count = a;
        return 0;
    }
    int words = sscanf(line, "%31s %" SCNu64 " %" SCNu64, name, &a, &b);
    if (words == 3 && strcmp(name, "eio_read") == 0) {
        disk.bad_from = a;
        disk.bad_to = b;
        return 0;
    }
    if (words == 2 && strcmp(name, "delay") == 0) {
        disk.delay_us = a;
        return 0;
    }
    if (words == 1 && strcmp(name, "powercut") == 0) {
        memcpy(disk.now, disk.durable, disk.size);
        disk.range_count = 0;
        disk.all = false;
        return 0;
    }
    if (words == 1 && strcmp(name, "revive") == 0) {
        forget_orders();
        return 0;
    }
    return words < 2 ? -EINVAL : fault_order(name, a, b, words - 1);
}

// ---- the file system

static bool is_disk(const char *path)
{
    return strcmp(path, "/disk") == 0;
}

static bool is_control(const char *path)
{
    return strcmp(path, "/control") == 0;
}

static int on_getattr(const char *path, struct stat *st, struct fuse_file_info *info)
{
    memset(st, 0, sizeof *st);
    st->st_nlink = 1;
    if (strcmp(path, "/") == 0) {
        st->st_mode = S_IFDIR | 0755;
        st->st_nlink = 2;
        return 0;
    }
    if (!is_disk(path) && !is_control(path))
        return -ENOENT;
    st->st_mode = S_IFREG | 0600;
    st->st_size = is_disk(path) ? (off_t)disk.size : 4096;
    st->st_blksize = 4096;
    return 0;
}

static int on_readdir(const char *path, void *list, fuse_fill_dir_t fill, off_t offset, struct fuse_file_info *info,
                      enum fuse_readdir_flags flags)
{
    fill(list, "disk", NULL, 0, 0);
    fill(list, "control", NULL, 0, 0);
    return 0;
}

static int on_open(const char *path, struct fuse_file_info *info)
{
    info->direct_io = 1;
    return 0;
}

static int read_counters(char *to, size_t len, uint64_t at)
{
    char text[128];
    size_t have = (size_t)snprintf(text, sizeof text, "writes=%" PRIu64 " flushes=%" PRIu64 " reads=%" PRIu64 " dead=%d\n", disk.writes,
                                   disk.flushes, disk.reads, disk.dead);
    if (at >= have)
        return 0;
    len = len < have - at ? len : have - at;
    memcpy(to, text + at, len);
    return (int)len;
}

static int on_read(const char *path, char *to, size_t len, off_t offset, struct fuse_file_info *info)
{
    uint64_t at = (uint64_t)offset;
    if (is_control(path))
        return read_counters(to, len, at);
    disk.reads++;
    if (disk.dead || (at < disk.bad_to && at + len > disk.bad_from))
        return -EIO;
    if (at >= disk.size)
        return 0;
    len = len < disk.size - at ? len : disk.size - at;
    memcpy(to, disk.now + at, len);
    return (int)len;
}

static bool matches(const char *bytes, size_t len)
{
    if (disk.text_count == 0 || memmem(bytes, len, disk.text, strlen(disk.text)) == NULL)
        return false;
    disk.text_count--;
    return true;
}

static int write_disk(const char *bytes, size_t len, uint64_t at)
{
    uint64_t number = disk.writes++;
    if (disk.delay_us > 0)
        usleep((useconds_t)disk.delay_us);
    disk.dead |= happens(DIE, number);
    if (disk.dead || happens(EIO_WRITE, number) || matches(bytes, len))
        return -EIO;
    if (at > disk.size || len > disk.size - at)
        return -ENOSPC;
    if (happens(LOSE, number))
        return (int)len;
    if (happens(MISDIRECT, number))
        at = (at + 7 * 4096) % (disk.size - len);
    uint64_t part = happens(TEAR, number) ? len / SECTOR / 2 * SECTOR : len;
    put(bytes, part, at);
    if (happens(FLIP, number))
        disk.now[at + len / 2] ^= 0x10;
    return (int)len;
}

static int on_write(const char *path, const char *bytes, size_t len, off_t offset, struct fuse_file_info *info)
{
    char line[128] = "";
    if (is_disk(path))
        return write_disk(bytes, len, (uint64_t)offset);
    memcpy(line, bytes, len < sizeof line - 1 ? len : sizeof line - 1);
    int rc = order(line);
    return rc < 0 ? rc : (int)len;
}

static int on_fsync(const char *path, int data_only, struct fuse_file_info *info)
{
    if (!is_disk(path))
        return 0;
    uint64_t number = disk.flushes++;
    if (disk.dead || happens(EIO_FLUSH, number))
        return -EIO;
    make_durable();
    return 0;
}

static int on_truncate(const char *path, off_t size, struct fuse_file_info *info)
{
    return 0;
}

// Discards and zeroed ranges of the block device.
static int on_fallocate(const char *path, int mode, off_t offset, off_t len, struct fuse_file_info *info)
{
    uint64_t at = (uint64_t)offset, n = (uint64_t)len;
    if ((mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) == 0 || !is_disk(path))
        return -EOPNOTSUPP;
    if (disk.dead)
        return -EIO;
    if (at > disk.size || n > disk.size - at)
        return -EINVAL;
    memset(disk.now + at, 0, n);
    note(at, n);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct fuse_operations OPERATIONS = {
        .getattr = on_getattr,
        .readdir = on_readdir,
        .open = on_open,
        .read = on_read,
        .write = on_write,
        .fsync = on_fsync,
        .truncate = on_truncate,
        .fallocate = on_fallocate,
    };
    char name[] = "faultdisk", single[] = "-s", foreground[] = "-f";
    char *arguments[] = { name, single, foreground, argc == 3 ? argv[2] : NULL, NULL };
    disk.size = argc == 3 ? strtoull(argv[1], NULL, 10) : 0;
    if (disk.size == 0 || disk.size % 4096 != 0) {
        fprintf(stderr, "usage: faultdisk BYTES MOUNTPOINT\n");
        return 2;
    }
    disk.now = calloc(1, disk.size);
    disk.durable = calloc(1, disk.size);
    if (disk.now == NULL || disk.durable == NULL) {
        fprintf(stderr, "faultdisk: no memory for a disk of %" PRIu64 " bytes\n", disk.size);
        return 1;
    }
    forget_orders();
    return fuse_main(4, arguments, &OPERATIONS, NULL);
}
