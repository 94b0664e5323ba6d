// SPDX-License-Identifier: Apache-2.0
// Values held in place. What a struct skerry_view keeps for us:
//
//   opaque[0]  shard number + 1; 0 = released
//   opaque[1]  the pinned blob, or 0
//   opaque[2]  side of the slab's pin
//   opaque[3]  serial number of the view's guard, in builds with audit
#pragma once

#include "engine/embed/embed.h"

// The entry's value as a view; the shard is entered. SKERRY_NO_MEMORY only in builds with audit.
enum skerry_status view_take(struct shard *sh, struct keyspace *ks, struct entry *e, struct skerry_view *view);
