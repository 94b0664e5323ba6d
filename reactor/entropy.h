// SPDX-License-Identifier: Apache-2.0
// Random bytes from the kernel: seeds of generators, secrets of hashes, ids of runs.
#pragma once

#include <stddef.h>
#include <stdint.h>

// Always fills all of it; stops the process when the kernel has no random source (none of our secrets could be trusted).
void entropy_fill(void *to, size_t size);
uint64_t entropy_u64(void);
