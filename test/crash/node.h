// SPDX-License-Identifier: Apache-2.0
// A store without a server: workers that send turns, the real log role, the real keeper, on the model disk. One thread; who acts next and
// which op ends next is drawn from a seed. What it was told goes into the past, what it acknowledged into the recording.
//
//   node_start      load, begin, log; the power may go in the middle
//   node_step       one action of somebody
//   node_stop       a clean stop
//   node_free       or the end without one
#pragma once

#include "base/prng.h"
#include "persist/keeper.h"
#include "reactor/backend.h"
#include "test/crash/past.h"

#define NODE_OPS   64
#define NODE_OWNER 3

struct node_knobs {
    uint32_t workers;
    enum log_method method;
    enum log_sync sync;
    uint32_t frames;
    uint32_t large;                             // permille of the records: of many blocks, or of a chain
    uint32_t txns;                              // permille of the turns
    uint32_t snapshots;                         // permille of the steps
    uint32_t errors;                            // permille of the writes and syncs, of the log and of the keeper
    uint8_t log_fault, recover_fault, left_out; // enum log_fault, recover_fault, node_left_out
};

// Tests of the tests: calls of the keeper that do nothing.
enum node_left_out {
    LEFT_OUT_NONE,
    LEFT_OUT_SYNC_NAMES,    // 5: no fsync of the directory
    LEFT_OUT_SYNC_SNAPSHOT, // 6: snapshot files are named before they are durable
    LEFT_OUT_SYNC_MANIFEST, // 10: what a manifest no longer needs goes before that manifest is durable
    LEFT_OUT_SYNC_SEGMENT,  // segments are given to the log before they are durable
};

struct node_op {
    struct op *op;
    bool link, waits, started;
};

// What was acknowledged when a note was made: turns of each worker, in the past's numbers.
struct node_note {
    uint32_t turns[PAST_WORKERS];
};

struct node_disk { // what stands before the disk where calls are left out
    struct disk_ops ops;
    const struct disk_ops *real;
    enum node_left_out left_out;
    bool named[SIM_DISK_FDS_MAX]; // descriptors whose fsync is left out
};

struct node_save { // of one worker
    bool walks;
    uint64_t position; // that must be durable
    uint64_t marks[PAST_SHARDS];
};

struct node {
    struct reactor r; // first
    struct node_knobs knobs;
    struct prng prng;
    struct sim_disk *disk;
    struct node_disk before;
    struct past *past;
    struct keeper *k;
    struct log *log;
    struct log_port ports[PAST_WORKERS];
    uint64_t sent[PAST_WORKERS], told[PAST_WORKERS];
    uint32_t base[PAST_WORKERS]; // turns of the past that are from earlier lives
    struct node_op ops[NODE_OPS];
    uint32_t count;
    uint64_t txns;
    uint64_t set; // snapshot that is being made; 0: none
    struct node_save saves[PAST_WORKERS];
    struct past_found found; // at the start
    struct node_note *notes;
    uint32_t note_count, note_cap;
    char text[RECOVER_TEXT_MAX];
};

struct node_knobs node_knobs_draw(struct prng *p);
// 0: it serves; 1: refused (n->found.report); -errno: the disk failed.
int node_start(struct node *n, struct sim_disk *disk, struct past *past, const struct node_knobs *knobs, uint64_t seed);
void node_step(struct node *n);
// It can do no more: the log is poisoned.
bool node_dead(const struct node *n);
// Everything is written and synced. False: it does not come to an end.
bool node_settle(struct node *n);
// Silence: after a few ms what was told to be durable is sealed, if there is room, and after more than a second the manifest knows it too.
bool node_idle(struct node *n, uint32_t ms);
bool node_stop(struct node *n);
void node_free(struct node *n);
