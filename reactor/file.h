// SPDX-License-Identifier: Apache-2.0
// Small files read and written whole: configuration. Never on the data path.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/slice.h"

// The whole of a regular file, followed by a zero byte that `len` does not count; the caller frees it. -EFBIG above `max` bytes,
// -EINVAL for what is not a regular file.
int file_read_whole(const char *path, size_t max, uint8_t **data, size_t *len) warn_unused;

// Replaces the file atomically: after a crash the path holds the old content or the new one, and after 0 it is the new one for
// good. The old file's mode is kept; a new one gets `mode`.
int file_replace(const char *path, struct slice content, unsigned mode) warn_unused;
