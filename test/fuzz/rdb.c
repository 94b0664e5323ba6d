// SPDX-License-Identifier: Apache-2.0
// RDB files from anybody: the pieces that they come in make no difference, and every refusal says why.
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/crc64.h"
#include "persist/rdb.h"
#include "test/unit/persist/pieces.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct crc64_tables tables;

static uint64_t read_file(struct slice bytes, size_t piece, int *result)
{
    struct pieces from = { .bytes = bytes, .piece = piece };
    struct source s;
    struct rdb *r;
    struct rdb_entry e;
    uint64_t digest = 0;
    source_init(&s, pieces_read, &from);
    if (rdb_new(&r, &s) != 0)
        abort();
    while ((*result = rdb_next(r, &e)) == 0)
        digest =
            crc64(&tables, crc64(&tables, digest * 31 + (uint64_t)e.deadline_ms + e.db, e.key.data, e.key.len), e.value.data, e.value.len);
    if (*result < 0 && *result != -ENOMEM && rdb_why(r)[0] == '\0')
        abort();
    rdb_free(r);
    source_deinit(&s);
    return digest;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (tables.by[0][1] == 0)
        crc64_init(&tables);
    uint8_t *file = malloc(size + 18);
    if (file == NULL)
        abort();
    // The head and the sum are made right, so that what lies between is tried.
    memcpy(file, "REDIS0011", 9);
    if (size > 0)
        memcpy(file + 9, data, size);
    size_t len = size + 9;
    file[len++] = 255;
    store_u64(file + len, crc64(&tables, 0, file, len));
    len += 8;
    int a, b;
    if (read_file(slice_of(file, len), 5, &a) != read_file(slice_of(file, len), len, &b) || a != b)
        abort();
    free(file);
    return 0;
}
