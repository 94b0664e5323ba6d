// SPDX-License-Identifier: Apache-2.0
// What a store was told, in order: the oracle of the sweeps. Whatever recovery finds on a disk must be a beginning of it, shard by shard,
// turn by turn, transaction by transaction, with nothing missing that was acknowledged.
//
// A *turn* is a worker's batch: records of some of its shards. A record's value follows from its shard and sequence alone, so that a wrong
// one cannot pass for another.
#pragma once

#include "persist/recover.h"
#include "persist/snapshot.h"
#include "test/sim/disk.h"

#define PAST_SHARDS  8u
#define PAST_WORKERS 3u
#define PAST_KEYS    5u // of a shard
#define PAST_PARTS   3u // of a turn

struct past_record {
    uint8_t op;  // enum record_op
    uint8_t key; // number
    int64_t deadline_ms;
    uint32_t len; // of the value
    uint64_t hash;
};

struct past_turn {
    uint64_t txn;  // 0: none
    uint32_t life; // of the store
    uint32_t part_count;
    struct {
        uint32_t shard, count;
        uint64_t first; // sequence
    } parts[PAST_PARTS];
};

struct past {
    struct {
        struct past_record *records; // of sequence i + 1
        uint64_t count, cap;
    } shards[PAST_SHARDS];
    struct {
        struct past_turn *turns;
        uint32_t count, cap;
    } workers[PAST_WORKERS];
    uint32_t life;
};

// A shard's key.
struct past_key {
    uint64_t sequence; // of the record that gave it its value; 0: it is not there
    int64_t deadline_ms;
};

enum crash_check {
    CHECK_NONE,
    CHECK_REFUSED, // a start is refused after a mere crash
    CHECK_LOST,    // something acknowledged is gone
    CHECK_HALVED,  // a turn, a transaction, or a later record without an earlier one
    CHECK_WRONG,   // a value that was never given, or an old one
    CHECK_TWICE,   // the second look says something else than the first
    CHECK_SILENT,  // damage in what was acknowledged is neither refused nor harmless
    CHECK_BROKEN,  // the store itself noticed: it refuses its own files, stands still, or misuses the disk
    CHECKS
};
const char *check_name(enum crash_check check);

struct past *past_new(void);
struct past *past_free(struct past *p);
struct past *past_clone(const struct past *p);

static inline uint32_t past_worker_of(uint32_t shard, uint32_t workers)
{
    return shard % workers;
}
// Adds a record to a shard; its number is its sequence. Fills in hash.
void past_add(struct past *p, uint32_t shard, struct past_record *r);
void past_add_turn(struct past *p, uint32_t worker, const struct past_turn *t);
// The bytes of a value: `len` bytes for this shard and sequence.
void past_value(uint32_t shard, uint64_t sequence, uint8_t *to, uint32_t len);
void past_key_name(uint32_t key, char name[8]);
// State of a shard after its first `sequence` records.
void past_state(const struct past *p, uint32_t shard, uint64_t sequence, struct past_key keys[PAST_KEYS]);
// A new life begins: what is behind these sequences never happened.
void past_cut(struct past *p, const uint64_t sequences[PAST_SHARDS]);

// ---- what is found on a disk

struct past_found {
    int rc; // of recovery: 1
    struct recover_report report;
    struct log_origin origin;
    uint64_t generation; // of the manifest
    uint64_t sequences[PAST_SHARDS];
    struct past_key keys[PAST_SHARDS][PAST_KEYS];
    enum crash_check wrong; // something in it was never said
    char text[256];
};

// Applies a piece as a worker does.
void past_apply(const struct past *p, struct past_found *f, const struct recover_item *item);
// Recovers the whole directory; only looks.
void past_read(const struct past *p, struct past_found *f, struct sim_disk *disk, uint32_t fault);
bool past_found_equal(const struct past_found *a, const struct past_found *b);

// What must be there.
struct past_due {
    uint64_t sequences[PAST_SHARDS]; // at least
    uint32_t workers;
};
// After a mere crash. CHECK_NONE, or what is wrong with it (f->text).
enum crash_check past_check(const struct past *p, struct past_found *f, const struct past_due *due);
// Whatever happened to the disk: what it shows is a beginning of the past, whole turns and transactions (no more than `workers`).
enum crash_check past_check_truth(const struct past *p, struct past_found *f, uint32_t workers);
