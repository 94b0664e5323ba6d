// SPDX-License-Identifier: Apache-2.0
// Between the files of skerry-logbench.
#pragma once

#include <stdint.h>

#include "bench/histogram.h"
#include "reactor/disk.h"
#include "reactor/reactor.h"

_Noreturn void logbench_fail(const char *what, int error);
// A reactor without network buffers.
struct reactor *logbench_reactor(enum reactor_backend backend);
// Prints a table of the bare device's rates; `fd` is a file of `size` bytes of written zeros.
void logbench_bare(struct disk *d, int fd, uint64_t size, uint64_t ns);
