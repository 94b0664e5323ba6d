// SPDX-License-Identifier: Apache-2.0
// The names of what io_uring can be told to do without (enum reactor_feature), as options of programs spell them. What is off by
// name takes the very path that is taken when probing finds the feature missing.
//
// Not among them: REACTOR_FIXED_BUFFERS, which only files use and no program registers any yet.
#pragma once

#include <stdint.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/slice.h"

// The bit, or 0 for an unknown name.
uint32_t feature_names_find(struct slice name);
// Names separated by spaces or commas, as a set of bits. 0, or -EINVAL when one is unknown: `*unknown` views it.
int feature_names_parse(struct slice names, uint32_t *out, struct slice *unknown) warn_unused;
// Appends the names of the bits, with a space between; those without a name are left out.
void feature_names_text(uint32_t features, struct buf *out);
