// SPDX-License-Identifier: Apache-2.0
// Every short sequence of what is done with a new segment's file and its names, and for each of them every disk that a power cut may leave:
// which changes of the directory survived, and what of the header. Nothing of it was acknowledged, so recovery must give what was there
// before, whatever the order was.
#pragma once

#include "test/crash/sweep.h"

// All sequences of at most `ops` operations, behind the run of this seed. Of options: seed, only, verbose, faults.
void names_run(const struct sweep_options *options, uint32_t ops, struct sweep_result *out);
