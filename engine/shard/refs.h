// SPDX-License-Identifier: Apache-2.0
// Large values that a reply contains without a copy: the buffer holds what stands around them, and the places where they belong.
//
//   buffer   $70000 CR LF | CR LF +OK CR LF        refs: 70,000 bytes of a blob behind byte 8
//
// A value is pinned meanwhile: whoever overwrites or deletes it leaves these pages to us. It may be another worker's.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/assert.h"
#include "base/slice.h"
#include "engine/store/blob.h"

// Values from this size on are referred to: it wins from the smallest blob on (docs/decisions/0007-large-values-by-reference.md).
#define REFS_MIN    BLOB_MIN
#define REFS_PIECES 16 // of one send

struct ref {
    uint64_t at; // bytes of the buffer in front of it
    struct blob *blob;
};

struct refs {
    struct ref *items; // heap
    uint32_t count, cap;
    uint64_t bytes; // of all the values
};

// Pins. False: out of memory.
bool refs_add(struct refs *r, uint64_t at, struct blob *b);
// Unpins all.
void refs_deinit(struct refs *r);
// The whole from byte `from` on, as pieces; returns how many (REFS_PIECES at most, so perhaps not all).
uint32_t refs_pieces(const struct refs *r, struct slice buffer, uint64_t from, struct iovec out[REFS_PIECES]);
