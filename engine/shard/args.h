// SPDX-License-Identifier: Apache-2.0
// A request's arguments kept beyond the buffer they were parsed in: one piece of heap; big arguments move instead of being copied.
#pragma once

#include <stdint.h>

#include "base/assert.h"
#include "base/slice.h"
#include "engine/store/blob.h"

struct args {
    uint32_t argc;
    struct slice *argv;  // views of what follows it, or of blobs
    struct blob **blobs; // [argc]: big arguments, NULL elsewhere
    size_t bytes;        // taken
};

// `blobs`: NULL or `blobs_cap` pointers by position; what is kept is set to NULL there. False: out of memory, nothing was taken.
bool args_copy(struct args *a, const struct slice *argv, uint32_t argc, struct blob **blobs, uint32_t blobs_cap) warn_unused;
void args_deinit(struct args *a);
