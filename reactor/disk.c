// SPDX-License-Identifier: Apache-2.0
// The kernel's disk. Every name is looked up under the directory that was opened once, and no symbolic link is followed; what is not a
// regular file is never opened for long: a fifo would stop us, a device might act.
//
// O_DIRECT: whether the file system has it, and what it wants to be aligned to, is found out by doing it. A file that refuses all the
// same (a mount below, a file system that is picky about single files) is opened without.
#include "reactor/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "reactor/clock.h"
#include "reactor/entropy.h"

#define DISK_ALIGN_MIN 4096u
#define DISK_ALIGN_MAX 65536u
#define DISK_MODE      0600
#define LOCK_NAME      "LOCK"
#define PROBE_NAME     "probe.tmp"
#define ZEROS          (256u * 1024)

struct kernel_disk {
    struct disk disk; // first
    int dir;
    char path[];
};

static struct kernel_disk *kernel(struct disk *d)
{
    return (struct kernel_disk *)(void *)d;
}

static bool is_name(const char *name)
{
    return name[0] != '\0' && strchr(name, '/') == NULL && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

// ---- opening

// Looks before it opens, and again at what it has opened.
static int check_regular(int dir, const char *name)
{
    struct stat st;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return -errno;
    if (S_ISLNK(st.st_mode))
        return -ELOOP;
    return S_ISREG(st.st_mode) ? 0 : -EINVAL;
}

static int adopt(int fd, uint64_t *size)
{
    struct stat st;
    int err = 0;
    if (fstat(fd, &st) != 0)
        err = -errno;
    else if (!S_ISREG(st.st_mode))
        err = -EINVAL;
    else if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK) != 0) // it kept a fifo in the file's place from stopping us
        err = -errno;
    if (err < 0) {
        close(fd);
        return err;
    }
    if (size != NULL)
        *size = (uint64_t)st.st_size;
    return fd;
}

static int open_at(int dir, const char *name, int flags)
{
    int fd;
    do {
        fd = openat(dir, name, flags | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, DISK_MODE);
    } while (fd < 0 && errno == EINTR);
    return fd < 0 ? -errno : fd;
}

static int kernel_open(struct disk *d, const char *name, int flags, uint64_t *size)
{
    int dir = kernel(d)->dir;
    if (!is_name(name))
        return -EINVAL;
    int err = (flags & DISK_CREATE) != 0 ? 0 : check_regular(dir, name);
    if (err < 0)
        return err;
    int how = (flags & DISK_WRITE) != 0 ? O_RDWR : O_RDONLY;
    if ((flags & DISK_CREATE) != 0)
        how |= O_CREAT | O_EXCL;
    bool direct = d->direct && (flags & DISK_BUFFERED) == 0;
    int fd = open_at(dir, name, direct ? how | O_DIRECT : how);
    if (fd == -EINVAL && direct) {
        if ((flags & DISK_CREATE) != 0) // some have created it all the same
            (void)unlinkat(dir, name, 0);
        fd = open_at(dir, name, how);
    }
    return fd < 0 ? fd : adopt(fd, size);
}

static void kernel_close(struct disk *d, int fd)
{
    close(fd);
}

// ---- bytes

static int kernel_read(struct disk *d, int fd, void *data, size_t len, uint64_t offset)
{
    uint8_t *at = data;
    while (len > 0) {
        ssize_t n = pread(fd, at, len, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return at != data && errno == EINVAL ? -ENODATA : -errno; // behind a piece that was cut off in the middle of a block
        if (n == 0)
            return -ENODATA;
        at += n, offset += (uint64_t)n, len -= (size_t)n;
    }
    return 0;
}

static int kernel_write(struct disk *d, int fd, const void *data, size_t len, uint64_t offset)
{
    const uint8_t *at = data;
    while (len > 0) {
        ssize_t n = pwrite(fd, at, len, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        // Part of a block is written again with the rest.
        size_t done = (size_t)n == len ? len : (size_t)n / d->align * d->align;
        if (done == 0)
            return -EIO;
        at += done, offset += done, len -= done;
    }
    return 0;
}

static int write_zeros(struct disk *d, int fd, uint64_t from, uint64_t to)
{
    uint8_t *zeros = disk_memory(ZEROS);
    if (zeros == NULL)
        return -ENOMEM;
    int err = 0;
    while (err == 0 && from < to) {
        size_t n = to - from < ZEROS ? (size_t)(to - from) : ZEROS;
        err = kernel_write(d, fd, zeros, n, from);
        from += n;
    }
    disk_memory_free(zeros, ZEROS);
    return err;
}

static int set_size(int fd, uint64_t size)
{
    int rc;
    do {
        rc = ftruncate(fd, (off_t)size);
    } while (rc != 0 && errno == EINTR);
    return rc == 0 ? 0 : -errno;
}

static int kernel_allocate(struct disk *d, int fd, uint64_t size)
{
    struct stat st;
    int rc;
    if (fstat(fd, &st) != 0)
        return -errno;
    do {
        rc = fallocate(fd, 0, 0, (off_t)size);
    } while (rc != 0 && errno == EINTR);
    int err = rc == 0 ? 0 : -errno;
    uint64_t had = (uint64_t)st.st_size;
    if (err == -EOPNOTSUPP)
        err = write_zeros(d, fd, had / d->align * d->align, size); // what lies behind the last whole block: not in our files
    if (err < 0 && had < size)
        (void)set_size(fd, had); // gives back what was found before there was no more
    return err;
}

static int kernel_truncate(struct disk *d, int fd, uint64_t size)
{
    return set_size(fd, size);
}

static int sync_fd(int fd)
{
    int rc;
    do {
        rc = fsync(fd);
    } while (rc != 0 && errno == EINTR);
    return rc == 0 ? 0 : -errno;
}

static int kernel_sync(struct disk *d, int fd)
{
    return sync_fd(fd);
}

// ---- names

static int kernel_sync_names(struct disk *d)
{
    return sync_fd(kernel(d)->dir);
}

static int kernel_rename(struct disk *d, const char *from, const char *to)
{
    int dir = kernel(d)->dir;
    if (!is_name(from) || !is_name(to))
        return -EINVAL;
    return renameat(dir, from, dir, to) == 0 ? 0 : -errno;
}

static int kernel_unlink(struct disk *d, const char *name)
{
    if (!is_name(name))
        return -EINVAL;
    return unlinkat(kernel(d)->dir, name, 0) == 0 ? 0 : -errno;
}

static int kernel_list(struct disk *d, disk_name_fn *fn, void *context)
{
    int fd = openat(kernel(d)->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); // a place in the directory of its own
    if (fd < 0)
        return -errno;
    DIR *dir = fdopendir(fd);
    if (dir == NULL) {
        int err = -errno;
        close(fd);
        return err;
    }
    errno = 0;
    for (struct dirent *e; (e = readdir(dir)) != NULL; errno = 0)
        if (is_name(e->d_name))
            fn(context, e->d_name);
    int err = -errno;
    closedir(dir);
    return err;
}

// ---- the rest

static uint64_t kernel_room(struct disk *d)
{
    struct statvfs st;
    return fstatvfs(kernel(d)->dir, &st) == 0 ? (uint64_t)st.f_bavail * st.f_frsize : 0;
}

static void kernel_entropy(struct disk *d, void *out, size_t len)
{
    entropy_fill(out, len);
}

static uint64_t kernel_now_ns(struct disk *d)
{
    return clock_now_ns();
}

static int64_t kernel_wall_ms(struct disk *d)
{
    return clock_wall_ms();
}

static const struct disk_ops KERNEL_OPS = {
    .list = kernel_list,
    .open = kernel_open,
    .close = kernel_close,
    .read = kernel_read,
    .write = kernel_write,
    .allocate = kernel_allocate,
    .truncate = kernel_truncate,
    .sync = kernel_sync,
    .sync_names = kernel_sync_names,
    .rename = kernel_rename,
    .unlink = kernel_unlink,
    .room = kernel_room,
    .entropy = kernel_entropy,
    .now_ns = kernel_now_ns,
    .wall_ms = kernel_wall_ms,
};

// ---- what the file system can do

// A file without a name, or with one that goes at once.
static int probe_file(int dir)
{
    int fd = open_at(dir, ".", O_TMPFILE | O_RDWR | O_DIRECT);
    if (fd != -EOPNOTSUPP && fd != -EISDIR && fd != -ENOENT)
        return fd;
    fd = open_at(dir, PROBE_NAME, O_CREAT | O_TRUNC | O_RDWR | O_DIRECT);
    (void)unlinkat(dir, PROBE_NAME, 0);
    return fd;
}

static void probe(struct kernel_disk *k)
{
    uint8_t *block = disk_memory(DISK_ALIGN_MAX);
    int fd = probe_file(k->dir);
    k->disk.align = DISK_ALIGN_MIN;
    // Where nothing may be written (a read-only mount, an offline tool) reading decides: see kernel_open.
    k->disk.direct = fd != -EINVAL;
    ssize_t n = -1;
    for (uint32_t align = DISK_ALIGN_MIN; fd >= 0 && block != NULL && n < 0 && align <= DISK_ALIGN_MAX; align *= 2) {
        n = pwrite(fd, block, align, 0);
        k->disk.align = align;
        if (n < 0 && errno != EINVAL) // no room and the like: nothing about alignment
            break;
    }
    if (fd >= 0 && n < 0) {
        k->disk.direct = errno != EINVAL;
        k->disk.align = DISK_ALIGN_MIN;
    }
    if (fd >= 0)
        close(fd);
    disk_memory_free(block, DISK_ALIGN_MAX);
}

int disk_make(const char *path)
{
    if (mkdir(path, 0700) == 0) {
        char parent[4096];
        if (snprintf(parent, sizeof parent, "%s/..", path) >= (int)sizeof parent)
            return -ENAMETOOLONG;
        int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
            return -errno;
        int err = sync_fd(fd);
        close(fd);
        return err;
    }
    return errno == EEXIST ? 0 : -errno;
}

int disk_open(struct disk **out, const char *path, const char **why)
{
    *why = "out of memory";
    size_t len = strlen(path) + 1;
    struct kernel_disk *k = malloc(sizeof *k + len);
    if (k == NULL)
        return -ENOMEM;
    memcpy(k->path, path, len);
    k->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (k->dir < 0) {
        int err = -errno;
        *why = err == -ENOENT ? "there is no such directory" : "the directory cannot be opened";
        free(k);
        return err;
    }
    k->disk = (struct disk){ .ops = &KERNEL_OPS, .path = k->path };
    probe(k);
    *out = &k->disk;
    return 0;
}

struct disk *disk_close(struct disk *d)
{
    if (d == NULL)
        return NULL;
    close(kernel(d)->dir);
    free(kernel(d));
    return NULL;
}

int disk_lock(struct disk *d)
{
    int fd = open_at(kernel(d)->dir, LOCK_NAME, O_CREAT | O_RDWR);
    if (fd < 0)
        return fd;
    fd = adopt(fd, NULL);
    if (fd < 0)
        return fd;
    int rc;
    do {
        rc = flock(fd, LOCK_EX | LOCK_NB);
    } while (rc != 0 && errno == EINTR);
    if (rc == 0)
        return fd;
    int err = -errno;
    close(fd);
    return err;
}

void disk_unlock(struct disk *d, int fd)
{
    close(fd);
}
