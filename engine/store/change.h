// SPDX-License-Identifier: Apache-2.0
// What a write makes of one entry: planned, then done at once or not at all. For keyspace.c, which says what is to change.
#pragma once

#include "engine/store/inside.h"

// The key's place, what it will be, and the blobs that an OUTSIDE entry points to.
struct change {
    struct slice key;
    uint64_t hash;
    struct spot spot; // of the old entry
    uint32_t old_ref; // 0 = none
    int64_t old_deadline;
    bool tracked; // the old entry is, by S3-FIFO
    bool moves;   // it has to be written elsewhere, though it may fit where it is
    struct entry_plan plan;
    struct blob *value;          // for OUTSIDE
    struct blob *key_blob;       // for OUTSIDE with a long key
    enum store_change_kind kind; // what whoever listens is told
    uint64_t lo, hi;
};

// Of an entry that is there: it stays what it is, until the caller says otherwise.
struct change change_of(struct keyspace *ks, struct entry *e);
// What the policy keeps in the entry; `access`: the change counts as a read of the old one, too. Comes before entry_plan.
void change_plan_recency(struct keyspace *ks, struct change *c, bool access);
// The planned entry fits the old one's slot, which may be so many classes larger than needed.
bool change_fits(const struct keyspace *ks, const struct change *c, uint32_t classes);
bool change_needs_record(const struct change *c, bool in_place); // with the wheel of deadlines
void change_count_deadline(struct keyspace *ks, int64_t before, int64_t after);

// The one way in of all sets. `value` NULL: an uninitialised value of value_len bytes. NULL: no memory, nothing changed.
struct entry *change_set(struct keyspace *ks, struct change *c, int64_t deadline_ms, int64_t now_ms) warn_unused;
// Makes the planned entry the key's. The old one is released unless it is reused or `keep_old`. NULL: no memory, nothing changed
// (blobs of the change stay the caller's).
struct entry *change_commit(struct keyspace *ks, struct change *c, uint32_t classes, bool keep_old) warn_unused;
// From slot to pages or back, or to a larger or smaller slot: the value is copied, the old slot released last. NULL: no memory, nothing
// changed.
struct entry *change_move(struct keyspace *ks, struct change *c, struct entry *old, size_t len) warn_unused;
// The value of `len` bytes behind a new header, in the old slot (change_fits).
struct entry *change_in_place(struct keyspace *ks, struct change *c, struct entry *e, size_t len);
