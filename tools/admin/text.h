// SPDX-License-Identifier: Apache-2.0
// Bytes of any kind for people and for programs.
#pragma once

#include <stdint.h>
#include <stdio.h>

#include "base/slice.h"
#include "persist/format.h"

// "abc\x00\"": printable ASCII as it is, everything else escaped as Redis' clients show it.
void text_bytes(FILE *out, struct slice bytes);
// A JSON string whose code points 0 to 255 are the bytes (Latin-1), so that nothing is lost.
void text_json(FILE *out, struct slice bytes);
void text_json_cstr(FILE *out, const char *text);
// 32 hexadecimal digits.
struct text_uuid {
    char text[33];
};
struct text_uuid text_uuid(const struct uuid *u);
// 2026-11-28T14:05:09.123Z
struct text_time {
    char text[32];
};
struct text_time text_time(int64_t unix_ms);
// The same backwards, with or without milliseconds, or a number of milliseconds. False: neither.
bool text_time_parse(const char *text, int64_t *unix_ms);
