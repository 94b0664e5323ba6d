// SPDX-License-Identifier: Apache-2.0
// The memory limit of a store: what counts, and what gives way.
//
//   | in use: slots, large values, what was charged | free in slabs that are in use | free pages that have memory |
//   |<----------------------------- held --------------------------------------->|
//   |<----------------------------------------- resident ---------------------------------------------------->|
//
// What is in use does not stay above the limit: a write makes room for itself and for some of what is too much already, and the rest
// is for the next ones, as long as all that is held is within the margins. So no write takes long because sizes have shifted, but where
// each of them is as large as hundreds of entries that have to go. What is resident may be above it by two margins, so that a store whose
// sizes stay alike keeps all that it has room for: no byte is evicted for a slab's last free slots. From one margin on, those who write
// drain sparse slabs; where that frees nothing, or not fast enough, every byte too many counts LIMIT_PRESSURE times, and entries go until
// so much less is in use. Free pages go back to the system as soon as they would be what is too much.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"

#define LIMIT_MARGIN_LEAST (UINT64_C(2) << 20)
#define LIMIT_MARGIN_SHARE 64u // and so much of the limit
#define LIMIT_PRESSURE     8u

struct store;

// Slots of slabs that are in use, and are not themselves.
uint64_t limit_free_in_slabs(const struct store *s);
// Bytes that have to go, by the measure above.
uint64_t limit_excess(const struct store *s);
// Bytes held beyond both margins: whoever writes has to keep up with what he writes, and does no more than that takes.
uint64_t limit_overrun(const struct store *s);
// Makes slabs free where too much is held.
void limit_relieve(struct store *s);
// Free pages go back to the system, one run of them. False: what is left stays at hand.
bool limit_give_back(struct store *s);
// After the limit has changed.
void limit_set(struct store *s, uint64_t bytes);
