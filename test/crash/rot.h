// SPDX-License-Identifier: Apache-2.0
// Damage at rest. A seed's run comes to an end (a stop, or silence), so that all of it is durable and witnessed; then one thing in its
// files is damaged, again and again: a bit, a sector, a block, blocks swapped, an old version of a block, a file cut off, gone, or
// another's.
//
// Whatever recovery hands out must be true, and what was acknowledged must be there, or be refused. Only the end of the newest segment may
// have no witness, as long as the manifest has not been written again (once a second) and there was no room for a seal, or the seal was
// taken as well; a quarter of the runs end so, and what is lost there is counted.
#pragma once

#include "test/crash/sweep.h"

// Of options: seed, most (images), only, faults.
void rot_run(const struct sweep_options *options, struct sweep_result *out);
// Since start: images that were refused, that were as good as new, and whose end was lost unwitnessed.
struct rot_counts {
    uint64_t refused, harmless, unwitnessed;
};
extern struct rot_counts rot_counts;
