// SPDX-License-Identifier: Apache-2.0
// One command whose keys, or shards, belong to several workers: split by worker, answers gathered into one reply. What touches keys is
// a transaction (txn.h): nobody sees some of the parts done and others not yet.
#pragma once

#include "engine/shard/conn.h"

void fanout_start(struct conn *c, struct item *item);
// The next slices of long shares of this worker.
void fanout_run_slices(struct worker *w);
