// SPDX-License-Identifier: Apache-2.0
// The bytes of a simulated file: pages that images share until one of them is written, so that a disk after a crash costs only what
// the crash changed. A page that was never written is nowhere, and reads as zeros.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IMAGE_PAGE 4096u

struct image_page {
    uint32_t users;
    uint8_t bytes[IMAGE_PAGE];
};

struct image {
    uint64_t size;
    struct image_page **pages; // NULL: zeros
    uint32_t count;            // of pages: those that `size` needs
};

// `to` is empty ({ 0 }) before.
void image_copy(struct image *to, const struct image *from);
void image_deinit(struct image *i);
// What comes in are zeros.
void image_resize(struct image *i, uint64_t size);
// Within the size.
void image_read(const struct image *i, void *to, size_t len, uint64_t offset);
void image_write(struct image *i, const void *from, size_t len, uint64_t offset);
bool image_equal(const struct image *a, const struct image *b);
