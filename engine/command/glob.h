// SPDX-License-Identifier: Apache-2.0
// Glob patterns as KEYS, SCAN and CONFIG GET read them: * ? [abc] [a-z] [^a] \x. Bytes, not characters.
#pragma once

#include <stdbool.h>

#include "base/slice.h"

// Compares and steps of one match at most; past it the answer is false. Patterns that people write need a few hundred.
#define GLOB_STEPS_MAX (1u << 22)

bool glob_match(struct slice pattern, struct slice text, bool fold_case);
// "*" matches without looking.
static inline bool glob_is_all(struct slice pattern)
{
    return pattern.len == 1 && pattern.data[0] == '*';
}
