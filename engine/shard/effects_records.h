// SPDX-License-Identifier: Apache-2.0
// The batch that a worker's turn builds: its sub-batches and records, in memory that comes back from the log. For effects.c, and for who
// trims it.
//
// A key's record may be written over by its next one in the same batch. Invariant: `recent` names a key's last record in the batch, or
// nothing; what stands before an effect by name (it may concern any key) or a snapshot's cut is not touched any more.
#pragma once

#include "engine/shard/effects.h"

// A change that happened cannot be written: what follows must not be acknowledged.
static inline void effects_records_lose(struct effects *e)
{
    e->failed = true;
}

// There is a batch. False: no memory, and it is lost.
bool effects_records_begin(struct worker *w) warn_unused;
// What is written so far is whole sub-batches: before the batch is sent, or another shard's records of many keys come.
void effects_records_close(struct effects *e);
// And with it the books: true, batches take more or less memory than before.
bool effects_records_count(struct effects *e);
// A batch that is no more.
void effects_records_drop(struct effects *e, struct log_batch *b);
uint64_t effects_records_memory(const struct effects *e);
// Now and then: batches that have come back and are more than are soon filled again go.
void effects_records_trim(struct effects *e);
// Once a tick: much has gone since this was last true, and nothing more for so many ticks.
bool effects_records_gone(struct effects *e, uint32_t ticks);
// `hash`: of the record's key.
void effects_records_append(struct worker *w, uint32_t shard, uint64_t hash, struct record *r);
// What is in the batch stays as it is.
static inline void effects_records_keep(struct effects *e)
{
    e->recent_from = e->batch != NULL ? e->batch->data.len : 0;
    e->lanes.generation++;
}

// An effect by name; `key` may be without bytes.
void effects_records_effect(struct worker *w, uint32_t shard, uint32_t db, struct slice key, uint8_t flags, const struct slice *argv,
                            uint32_t argc);
