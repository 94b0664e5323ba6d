// SPDX-License-Identifier: Apache-2.0
// skerry-admin: what is done to a data directory without a server. Each action is a function over `struct disk`, so that the tests run it
// on a disk in memory; only skerry-admin.c knows paths, locks and the command line.
//
// An action prints what it found or did to `out`, what stops it to `err`, and returns an exit status.
#pragma once

#include <stdint.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/slice.h"
#include "engine/store/route.h"
#include "persist/manifest.h"
#include "reactor/disk.h"

enum admin_exit {
    ADMIN_GOOD = 0,
    ADMIN_DAMAGE = 1,  // what is there is damaged, or not all of it could be taken over
    ADMIN_TROUBLE = 2, // wrong usage, or the disk
};

struct admin {
    FILE *out, *err;
    bool json;
};

// Says why on `err`; returns ADMIN_TROUBLE.
int admin_trouble(const struct admin *a, const char *format, ...) printf_like(2, 3);

// Reads all that the manifest lists, and says whether it holds. Writes nothing.
int admin_check(const struct admin *a, struct disk *d);

struct dump_range {
    uint64_t from, to; // LSNs, both inclusive
    bool log_only;     // no snapshot
};
// Prints manifest, entries of the newest snapshot, frames and records of the log.
int admin_dump(const struct admin *a, struct disk *d, const struct dump_range *range);
// One file: a segment, a snapshot or a manifest.
int admin_dump_file(const struct admin *a, struct disk *d, const char *name, const struct dump_range *range);

// What can be read of a damaged directory becomes a new one; what is lost is listed.
int admin_salvage(const struct admin *a, struct disk *from, struct disk *to);

// A consistent copy, also of a directory in use: see backup.c.
int admin_backup(const struct admin *a, struct disk *from, struct disk *to);

#define RESTORE_ALL INT64_MAX
struct restore_point {
    uint64_t lsn;    // the last one to be taken over; UINT64_MAX: all
    int64_t time_ms; // frames closed until then; RESTORE_ALL: all
};
int admin_restore(const struct admin *a, struct disk *from, struct disk *to, const struct restore_point *point);

struct import_options {
    uint32_t shards;
    enum route_mode route_mode;
};
int admin_import_fast_cache(const struct admin *a, struct disk *from, struct disk *to, const struct import_options *options);
int admin_import_rdb(const struct admin *a, struct disk *from, const char *name, struct disk *to, const struct import_options *options);

// The manifest that counts: 0; 1: there is none; -EBADMSG with *why; -errno.
int admin_manifest(struct disk *d, struct manifest *m, const char **why) warn_unused;
// What an action that failed has written goes again; if it does not, that is said.
void admin_undo(const struct admin *a, struct disk *to);
// Nothing but LOCK is in it: 0; -ENOTEMPTY; -errno.
int admin_is_empty(struct disk *d) warn_unused;
