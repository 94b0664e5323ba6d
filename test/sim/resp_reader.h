// SPDX-License-Identifier: Apache-2.0
// Replies as a client reads them; written for the simulation, so that a mistake in proto/ is not made twice.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

enum { READER_PARTIAL = 0, READER_BAD = -1 };

// Length of the whole reply at the beginning, READER_PARTIAL or READER_BAD.
long reader_length(struct slice in);

// A reply's own parts. `body`: of a string its bytes, of a number or an error the line.
struct reader {
    char mark;
    int64_t number; // of ':' the value, of strings the length (-1: null), of aggregates the count of elements
    struct slice body;
    size_t used; // up to the first element of an aggregate, else all of it
};
// `in` holds a whole reply.
struct reader reader_open(struct slice in);
bool reader_is_null(const struct reader *r);
bool reader_is_string(const struct reader *r);
