// SPDX-License-Identifier: Apache-2.0
// Tests of the tests: the faults of docs/PLANTED.md, one at a time; each must be noticed, by the check that it is known for.
#pragma once

#include <stdint.h>

// Prints a line for each; adds up what was noticed and what was not.
void planted_run(uint64_t *passed, int *failed);
