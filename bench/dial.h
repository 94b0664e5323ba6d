// SPDX-License-Identifier: Apache-2.0
// Connections to the server under test: made one after the other with blocking calls, before anything is measured.
#pragma once

#include <stddef.h>

#include "bench/options.h"

// A connected socket after AUTH and HELLO as asked; -errno with the reason in `error`.
int dial(const struct options *o, const char *port, char *error, size_t error_size);
// Sends `len` bytes on a fresh connection and takes one FCNP frame as answer; its whole length, or -errno.
int dial_ask(int fd, const struct options *o, const void *request, size_t len, uint8_t *answer, size_t answer_max);
