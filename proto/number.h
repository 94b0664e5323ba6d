// SPDX-License-Identifier: Apache-2.0
// Numbers in text, as strictly as Redis reads them: no spaces, no plus sign, no leading zeros, no "-0".
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/slice.h"

#define NUMBER_TEXT_MAX 32 // bytes that number_format_i64, _u64 and _double may write

bool number_parse_i64(struct slice text, int64_t *out) warn_unused;
bool number_parse_u64(struct slice text, uint64_t *out) warn_unused;
// As Redis reads floats (strtold's forms, no NaN, whole text, no leading space); long double as in INCRBYFLOAT.
bool number_parse_float(struct slice text, long double *out) warn_unused;
bool number_parse_double(struct slice text, double *out) warn_unused;

// Decimal digits, no terminator; returns how many.
size_t number_format_i64(char *out, int64_t value);
size_t number_format_u64(char *out, uint64_t value);
// As Redis' INCRBYFLOAT prints: %.17Lf without trailing zeros. `out` has room for 5 KiB (LDBL_MAX has 4,933 digits).
size_t number_format_float(char *out, size_t room, long double value);
// Shortest text that reads back the same double, laid out as Redis 7.2 and Valkey do: 1e+20, 1e-7, 0.001, inf, -0.
size_t number_format_double(char *out, size_t room, double value);
