// SPDX-License-Identifier: Apache-2.0
// A folder of files as the log's keeper sees it: whole, blocking calls on names in one data directory. Never called by a thread that
// serves clients. Three worlds stand behind it, as behind the reactor: the kernel (reactor/disk.c), and the simulation's disk
// (test/sim/disk.c), whose crashes keep any subset of what was not synced.
//
// Names are plain file names (no slash, not "." or ".."); the directory is held open, and no symbolic link is followed.
// Descriptors are the backend's: the same number goes into ops (OP_READ, OP_WRITE, OP_FSYNC) of a reactor of the same world.
// All functions: 0 (or what they say) or -errno. One thread at a time.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/slice.h"

struct disk;

enum disk_open {
    DISK_READ = 0,
    DISK_WRITE = 1,    // reading and writing
    DISK_CREATE = 2,   // must not exist
    DISK_BUFFERED = 4, // not O_DIRECT, whatever the file system can
};

typedef void disk_name_fn(void *context, const char *name);

struct disk_ops {
    // Every regular file of the directory. Others are reported too (a reader that opens them gets -EINVAL).
    int (*list)(struct disk *d, disk_name_fn *fn, void *context);
    // *size: bytes. The descriptor, or -errno; -EINVAL for what is not a regular file, -ELOOP for a symbolic link.
    int (*open)(struct disk *d, const char *name, int flags, uint64_t *size);
    void (*close)(struct disk *d, int fd);
    // Whole or -errno; a read beyond the end, or one that the disk gave short, is -ENODATA. Addresses, lengths and offsets are multiples
    // of disk->align unless the file was opened DISK_BUFFERED.
    int (*read)(struct disk *d, int fd, void *data, size_t len, uint64_t offset);
    int (*write)(struct disk *d, int fd, const void *data, size_t len, uint64_t offset);
    // Room for `size` bytes, so that later writes below it need none. -ENOSPC: nothing changed.
    int (*allocate)(struct disk *d, int fd, uint64_t size);
    int (*truncate)(struct disk *d, int fd, uint64_t size);
    int (*sync)(struct disk *d, int fd);                             // fsync: data and metadata. A failure is final for the file.
    int (*sync_names)(struct disk *d);                               // fsync of the directory
    int (*rename)(struct disk *d, const char *from, const char *to); // replaces
    int (*unlink)(struct disk *d, const char *name);
    uint64_t (*room)(struct disk *d);                       // free bytes of the file system
    void (*entropy)(struct disk *d, void *out, size_t len); // uuid, epochs: seeded in the simulation
    uint64_t (*now_ns)(struct disk *d);                     // monotonic; for pacing
    int64_t (*wall_ms)(struct disk *d);                     // Unix time
};

struct disk {
    const struct disk_ops *ops;
    uint32_t align; // a power of two: 4096, or the device's logical block if that is larger
    bool direct;    // O_DIRECT works here; else every file is buffered. The owner may take it away.
    const char *path;
};

// Makes the directory, for its owner alone, unless it is there; its parent must be. 0 or -errno.
int disk_make(const char *path) warn_unused;
// The kernel's. `path` is opened once. *why (static text) on failure.
int disk_open(struct disk **out, const char *path, const char **why) warn_unused;
struct disk *disk_close(struct disk *d);
// Takes the directory's lock (file LOCK, flock): the descriptor, or -EWOULDBLOCK while another process holds it. Give it to
// reactor_hold of the ring that writes: after kill -9 the kernel goes on with a dead process' writes, and a lock that the ring
// holds too is free only when they are over. disk_unlock closes it.
int disk_lock(struct disk *d) warn_unused;
void disk_unlock(struct disk *d, int fd);

// Memory for direct I/O: page-aligned, zeroed. NULL: none to be had.
void *disk_memory(size_t len);
void disk_memory_free(void *memory, size_t len);
