// SPDX-License-Identifier: Apache-2.0
// A log role alone with a disk that loses what was not synced (test/sim/disk.h), ports that tests fill by hand, and a reactor whose ops end
// when a test says so, in the order it says.
//
// Each batch holds one record (or none) of the shard that has its port's number; its key names the batch's position. What a crash leaves
// is read back by lab_read, which knows nothing of the product's recovery.
#pragma once

#include "persist/log.h"
#include "reactor/backend.h"
#include "test/sim/disk.h"

#define LAB_PORTS 4
#define LAB_OPS   128

// For the reader: later positions may have no markers.
#define LAB_POSITIONS 4096

struct lab_op {
    struct op *op;
    bool link;    // the one behind it waits for its success
    bool waits;   // for the one before it
    bool started; // at the disk
};

struct lab_segment {
    struct log_segment s;
    bool given, returned;
};

struct lab {
    struct reactor r;
    struct sim_disk *disk;
    struct log *log;
    struct log_options options;
    struct log_port ports[LAB_PORTS];
    uint64_t sent[LAB_PORTS];     // positions
    uint64_t sequence[LAB_PORTS]; // of records
    struct {
        uint16_t txn; // 0: none
        bool empty;   // no record
    } parts[LAB_PORTS][LAB_POSITIONS];
    struct lab_op ops[LAB_OPS];
    uint32_t count;
    bool refuse_buffers;
    uint32_t registered;
    struct lab_segment *segments[256];
    uint32_t segment_count;
    uint64_t segment_size;
    struct prng prng;
};

struct lab_options {
    enum log_method method;
    enum log_sync sync;
    uint32_t frames;       // 0: 4
    uint32_t ports;        // 0: LAB_PORTS
    uint32_t segments;     // ready at the beginning; 0: 3
    uint64_t segment_size; // 0: 64 KiB
    bool no_buffers;       // registering them fails
    uint64_t seed;
};

struct lab *lab_new(const struct lab_options *options);
struct lab *lab_free(struct lab *l);
// Another segment for the role, as the keeper makes them.
void lab_give(struct lab *l);
// Takes back what is full; how many.
uint32_t lab_take_back(struct lab *l);

// A batch of port p with `value` bytes of value; its position.
uint64_t lab_send(struct lab *l, uint32_t p, uint32_t value);
// The same with markers: of transaction `txn` (1 to 4095) with so many parts; empty: without a record.
uint64_t lab_send_part(struct lab *l, uint32_t p, uint32_t value, uint32_t txn, uint32_t parts, bool empty);
uint64_t lab_send_synced(struct lab *l, uint32_t p, uint32_t value); // somebody waits for it
// A batch that is sent as it is.
struct log_batch *lab_batch(struct lab *l, uint32_t p, uint32_t value);

// One step; what it submits is begun.
void lab_step(struct lab *l);
void lab_later(struct lab *l, uint64_t ns);
// Ends the op at index i of lab->ops as the disk likes, or with `result`, and what is linked behind it follows. No step.
void lab_finish(struct lab *l, uint32_t i);
void lab_finish_as(struct lab *l, uint32_t i, int32_t result);
// The first op of a kind that is under way and begun; -1: none.
int lab_find(const struct lab *l, enum op_kind kind);
// Steps and ends whatever is under way, until nothing is.
void lab_settle(struct lab *l);
uint64_t lab_written(const struct lab *l, uint32_t p);
uint64_t lab_durable(const struct lab *l, uint32_t p);

// ---- what is on a disk

struct lab_found {
    uint64_t positions[LAB_PORTS]; // 1 to here are there
    uint64_t sequences[LAB_PORTS];
    uint64_t lsn, units, frames, seals, stops, chains;
    uint64_t witness; // the highest
    char wrong[160];  // "" = everything read is as it was sent
};
void lab_read(const struct lab *l, struct sim_disk *disk, struct lab_found *found);
// Crashes the disk in every way and looks for everything that was told to be durable, with the lab's own eyes and with the product's
// recovery, which must find the same and refuse nothing.
void lab_check_crashes(struct lab *l);
