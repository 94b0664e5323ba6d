// SPDX-License-Identifier: Apache-2.0
// What this kernel, in this container, for this user, can do; found by asking, never by version.
#pragma once

#include "reactor/uring_compat.h"

// One sentence on why a ring could not be made.
const char *probe_uring_refusal(int err);
// NULL, or which operation that we need is not there.
const char *probe_uring_opcode_missing(struct io_uring *ring);
