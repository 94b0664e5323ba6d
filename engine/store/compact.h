// SPDX-License-Identifier: Apache-2.0
// Moves entries out of sparse slabs, so that their memory can serve other sizes or go back to the system.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct store;

// A move counts COMPACT_COST of the budget. True: there is more to do.
bool compact_some(struct store *s, uint32_t *budget);
