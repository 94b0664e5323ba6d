// SPDX-License-Identifier: Apache-2.0
// A disk that may lose what was not synced: the simulation's `struct disk` (reactor/disk.h), the file ops of a reactor, and crashes.
//
//   write  -> in flight -> done ----------> pending until a sync that was begun after it was done has succeeded -> durable
//   create, rename, unlink ---------------> pending until sync_names -> durable
//
// A crash makes the disk that the next start finds. Of what was pending it keeps what its kind says, sector by sector: the old bytes,
// any version written since, or garbage. Names: any subset in which changes of one name keep their order; a rename is never halved, and
// is not held back by the bytes of its file. A write with OP_DSYNC makes its own sectors durable, and nothing else's.
// A failed sync is reported once: what it covered stays pending for ever, whatever later syncs say.
//
// Everything is drawn from generators. Mistakes of the user (a buffer that changed under a write, a descriptor that is not open) are
// remembered in `failure`.
#pragma once

#include "base/prng.h"
#include "reactor/disk.h"
#include "reactor/reactor.h"
#include "test/sim/image.h"

#define SIM_SECTOR        512u
#define SIM_DISK_FD_BASE  (1 << 24)
#define SIM_DISK_FDS_MAX  256
#define SIM_DISK_NAME_MAX 64
#define SIM_DISK_BAD_MAX  16

// Bytes that several may hold: a pending write and a recording.
struct sim_bytes {
    uint32_t users;
    uint8_t data[];
};

struct sim_write {
    struct sim_write *next; // in the order of submission
    uint64_t id;            // of the disk's life, from 1
    uint64_t offset;
    uint32_t len;
    uint64_t done_at; // tick; 0: in flight
    bool doomed;      // no sync makes it durable any more
    uint8_t *gone;    // a bit for each sector that something newer has made durable; NULL: none
    struct sim_bytes *bytes;
};

struct sim_file {
    uint64_t id;
    struct image now, durable;
    struct sim_write *writes, **last;
    uint32_t opens;
    int refuse;    // open answers this: not a regular file
    bool new_size; // size of `now` is not durable
};

struct sim_name {
    char name[SIM_DISK_NAME_MAX];
    uint64_t file;
};

struct sim_names {
    struct sim_name *items;
    uint32_t count, cap;
};

enum sim_change_kind { CHANGE_CREATE, CHANGE_RENAME, CHANGE_UNLINK };

struct sim_change {
    enum sim_change_kind kind;
    char name[SIM_DISK_NAME_MAX], to[SIM_DISK_NAME_MAX];
    uint64_t file;
};

// What a disk does wrong: the n-th time from now on that it is asked (1: the next), once or from then on.
enum sim_disk_fault {
    DISK_FAIL_OPEN,       // -EIO
    DISK_FAIL_READ,       // -EIO
    DISK_FAIL_WRITE,      // -EIO; any of its sectors may have been written
    DISK_FAIL_SYNC,       // -EIO
    DISK_FAIL_NAMES,      // -EIO of sync_names, rename and unlink
    DISK_FAIL_ALLOCATE,   // -ENOSPC
    DISK_SHORT_WRITE,     // of an op: some sectors fewer than asked for
    DISK_LOST_WRITE,      // answered with success, and never done
    DISK_MISDIRECT_WRITE, // done at another block of the file
    DISK_LYING_SYNC,      // answered with success, and nothing became durable
    DISK_LYING_NAMES,     // the same of the directory's
    DISK_FAULTS
};

struct sim_recording;

struct sim_disk {
    struct disk disk; // first: what the product sees
    struct prng prng;
    const uint64_t *now_ns; // the world's clock; NULL: the disk's own, which each call moves
    int64_t wall_start_ms;
    uint64_t clock_ns;
    uint64_t tick; // writes that were done
    uint64_t write_ids;
    struct sim_file **files; // by id; NULL: none any more
    uint64_t file_count;
    struct sim_names names, durable_names;
    struct sim_change *changes; // of names, since the last sync of the directory
    uint32_t change_count, change_cap;
    struct {
        uint64_t file;
        int flags; // -1: not open
    } fds[SIM_DISK_FDS_MAX];
    uint64_t budget, used; // bytes
    struct {
        uint64_t in; // 0: does not happen
        bool sticky;
    } faults[DISK_FAULTS];
    struct {
        uint64_t file, sector; // reads of it: -EIO
    } bad[SIM_DISK_BAD_MAX];
    uint32_t bad_count;
    uint64_t operations; // that changed something, or would have
    uint64_t cut_at;     // of these: from this one on nothing happens any more, and every answer is -EIO; 0: never
    bool cut;
    struct sim_recording *recording;
    char failure[256]; // "" = none
};

// An empty directory. Free it with sim_disk_free, also what the other functions return.
struct sim_disk *sim_disk_new(uint64_t seed);
struct sim_disk *sim_disk_free(struct sim_disk *d);
// The same with all of its pending writes; nothing is open, recorded or about to fail.
struct sim_disk *sim_disk_clone(const struct sim_disk *d);

void sim_disk_fail(struct sim_disk *d, enum sim_disk_fault fault, uint64_t nth, bool sticky);
void sim_disk_heal(struct sim_disk *d);
// The power goes at the n-th operation from now (1: the next one): it and all later ones change nothing (a write: stays in flight).
void sim_disk_cut(struct sim_disk *d, uint64_t nth);

// ---- crashes (disk_crash.c)

enum crash_kind {
    CRASH_KILLED,  // of the process alone: what was done is there; of writes in flight or failed, whatever sectors
    CRASH_DROP,    // nothing pending survives
    CRASH_KEEP,    // all of it does
    CRASH_SUBSET,  // any of it
    CRASH_GARBAGE, // any of it, and sectors that were neither written nor left alone
    CRASH_KINDS
};

// The disk that is found afterwards: all durable, nothing open. `d` stays as it is: ask again for another one.
struct sim_disk *sim_disk_crash(const struct sim_disk *d, struct prng *p, enum crash_kind kind);

// For sweeps: of the write `id`, exactly the first `sectors` survive, and the next one is garbage if `torn`; all else as `kind` says.
struct sim_cut {
    uint64_t id; // 0: of none
    uint32_t sectors;
    bool torn;
};
struct sim_disk *sim_disk_crash_cut(const struct sim_disk *d, struct prng *p, enum crash_kind kind, const struct sim_cut *cut);
uint32_t sim_disk_pending_writes(const struct sim_disk *d);
uint32_t sim_disk_pending_names(const struct sim_disk *d);

// ---- at rest: what the medium does to durable bytes (and what tests lay there)

// NULL: no such file.
struct sim_file *sim_disk_find(const struct sim_disk *d, const char *name);
// Creates or replaces it, durably.
void sim_disk_put(struct sim_disk *d, const char *name, const void *bytes, uint64_t len);
// What open refuses with `error`: a directory (-EINVAL), a symbolic link (-ELOOP).
void sim_disk_put_odd(struct sim_disk *d, const char *name, int error);
void sim_disk_remove(struct sim_disk *d, const char *name);
void sim_disk_resize(struct sim_disk *d, const char *name, uint64_t size);
// Within the file, as all that follows.
void sim_disk_patch(struct sim_disk *d, const char *name, uint64_t offset, const void *bytes, size_t len);
void sim_disk_flip(struct sim_disk *d, const char *name, uint64_t offset, uint8_t bits);
void sim_disk_zero(struct sim_disk *d, const char *name, uint64_t offset, size_t len);
void sim_disk_bad_sector(struct sim_disk *d, const char *name, uint64_t offset);
// The current bytes.
void sim_disk_peek(const struct sim_disk *d, const char *name, uint64_t offset, void *to, size_t len);
// Same names with the same current bytes.
bool sim_disk_equal(const struct sim_disk *a, const struct sim_disk *b);

// ---- file ops of a reactor: OP_READ, OP_WRITE, OP_FSYNC

// Begins: takes a copy of what is to be written, or remembers which writes a sync covers. Whoever owns the reactor says when it ends.
void sim_disk_op_start(struct sim_disk *d, struct op *op);
// Ends: the completion's result.
int32_t sim_disk_op_finish(struct sim_disk *d, struct op *op);
static inline bool sim_disk_owns(int fd)
{
    return fd >= SIM_DISK_FD_BASE && fd < SIM_DISK_FD_BASE + SIM_DISK_FDS_MAX;
}
// Whose completions owe each other an order: one file's.
uint64_t sim_disk_file_of(const struct sim_disk *d, int fd);

// ---- a recording of a run: the stream of what changed, from which the disk of every moment is made again (disk_record.c)

enum sim_event_kind {
    EVENT_CREATE,
    EVENT_RENAME,
    EVENT_UNLINK,
    EVENT_SYNC_NAMES,
    EVENT_RESIZE,
    EVENT_WRITE,      // begins: from here on any of its sectors may be on the disk
    EVENT_WRITE_DONE, // and now it counts for a sync
    EVENT_SYNC,       // done
    EVENT_NOTE,       // of whoever records: `value` (an LSN that was acknowledged)
};

struct sim_event {
    enum sim_event_kind kind;
    bool good;  // the operation succeeded
    bool dsync; // EVENT_WRITE_DONE
    uint64_t file;
    uint64_t write; // id
    uint64_t value; // offset, size, tick that a sync covers, or the note
    uint32_t len;
    struct sim_bytes *bytes; // EVENT_WRITE
    char *name, *to;
};

struct sim_recording {
    struct sim_disk *first; // as it was in the beginning
    struct sim_event *events;
    uint64_t count, cap;
};

// Begins to record; it ends with sim_disk_record_end, which gives the recording (free it with sim_recording_free).
void sim_disk_record(struct sim_disk *d);
void sim_disk_note(struct sim_disk *d, uint64_t value);
struct sim_recording *sim_disk_record_end(struct sim_disk *d);
struct sim_recording *sim_recording_free(struct sim_recording *r);

// A disk that follows a recording. Crash it wherever it stands.
struct sim_replay {
    const struct sim_recording *recording;
    struct sim_disk *disk;
    uint64_t at; // events that have happened
};
void sim_replay_init(struct sim_replay *r, const struct sim_recording *recording);
void sim_replay_deinit(struct sim_replay *r);
// The event that has just happened; NULL: the end.
const struct sim_event *sim_replay_step(struct sim_replay *r);

// ---- between the files of this model

struct sim_file *sim_disk_file(const struct sim_disk *d, uint64_t id); // NULL: none
struct sim_file *sim_disk_file_new(struct sim_disk *d);
struct sim_name *sim_names_find(const struct sim_names *n, const char *name);
void sim_names_set(struct sim_names *n, const char *name, uint64_t file);
void sim_names_remove(struct sim_names *n, const char *name);
void sim_names_copy(struct sim_names *to, const struct sim_names *from);
void sim_names_change(struct sim_names *n, const struct sim_change *c);
bool sim_write_gone(const struct sim_write *w, uint32_t sector);
// Makes the event happen; sim_event_record remembers it where there is a recording.
void sim_disk_apply(struct sim_disk *d, const struct sim_event *e);
void sim_event_record(struct sim_disk *d, const struct sim_event *e);
