// SPDX-License-Identifier: Apache-2.0
// Connections to the server under test: made one after the other with blocking calls, before anything is measured.
#pragma once

#include <stddef.h>

#include "bench/options.h"

// A connected socket after AUTH and HELLO as asked; -errno with the reason in `error`.
int dial(const struct options *o, char *error, size_t error_size);
