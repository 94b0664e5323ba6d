// SPDX-License-Identifier: Apache-2.0
// One thread that puts pages behind memory which somebody will write to soon: the kernel clears them on another core, and whoever
// writes first does not wait for it (a huge page takes 0.1 to 1 ms).
//
// Only programs that start the thread have it: a library must not bring threads along. Without it, or when too much is asked for at
// once, or on kernels before 5.14, pages come with the first write as ever.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/assert.h"

// Once; the thread lives as long as the process. 0 or -errno.
int memory_ahead_start(void) warn_unused;
// Any thread. Nothing waits. False: nobody will do it.
bool memory_ahead(void *area, size_t size);
// The area goes: what was asked for and has not begun is forgotten. What has begun goes on for a moment, harmlessly: at worst pages
// that another mapping gets at the same addresses are there early.
void memory_ahead_cancel(const void *area, size_t size);
