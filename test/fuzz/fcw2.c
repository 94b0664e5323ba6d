// SPDX-License-Identifier: Apache-2.0
// Segments and snapshots of fast-cache from anybody: what is understood lies inside and, written again, is the same; how the bytes come in
// makes no difference. The sums are made right first, so that it is the structure that is tried.
#include <stdint.h>
#include <stdlib.h>

#include "persist/fcw2.h"
#include "test/unit/persist/pieces.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct crc32_tables tables;

// Sums of frames and bare records as far as lengths make sense.
static void mend(uint8_t *p, size_t size)
{
    size_t at = 0;
    bool framed = size >= 4 && memcmp(p, "FCW2", 4) == 0;
    while (framed ? size - at >= 13 : size - at >= 29) {
        uint64_t record = framed ? at + 9 : at, len;
        if (framed) {
            len = load_u32(p + at + 5);
            if (len > size - at - 13)
                return;
        } else {
            len = 29 + (uint64_t)load_u32(p + at + 1) + load_u32(p + at + 5);
            if (len > size - at)
                return;
        }
        if (len >= 4)
            store_u32(p + record + len - 4, crc32(&tables, 0, p + record, len - 4));
        if (framed)
            store_u32(p + at + 9 + len, crc32(&tables, 0, p + at, 9 + len));
        at = record + len + (framed ? 4 : 0);
    }
}

static uint64_t read_segment(struct slice bytes, size_t piece, uint64_t *digest)
{
    struct pieces from = { .bytes = bytes, .piece = piece };
    struct source s;
    struct fcw2_reader r;
    struct fcw2_record record;
    uint64_t count = 0;
    int result;
    source_init(&s, pieces_read, &from);
    fcw2_reader_init(&r, &s, &tables);
    while ((result = fcw2_reader_next(&r, &record)) == 0) {
        uint64_t len = fcw2_frame_size(&record);
        uint8_t *again = malloc(len);
        if (again == NULL)
            abort();
        fcw2_frame_encode(&tables, &record, again);
        *digest = *digest * 31 + crc32(&tables, 0, again, len);
        free(again);
        count++;
    }
    if (result != 1 && r.why[0] == '\0')
        abort();
    fcw2_reader_deinit(&r);
    source_deinit(&s);
    return count * 2 + (result == 1);
}

static void read_snapshot(struct slice bytes)
{
    struct pieces from = { .bytes = bytes, .piece = 100 };
    struct source s;
    struct fcw2_snapshot n;
    struct fcw2_record record;
    source_init(&s, pieces_read, &from);
    int result = fcw2_snapshot_open(&n, &s);
    while (result == 0)
        result = fcw2_snapshot_next(&n, &s, &record);
    if (result == 1 && n.taken != n.entries)
        abort();
    source_deinit(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (tables.by[0][1] == 0)
        crc32_init(&tables);
    if (size < 1)
        return 0;
    uint8_t *copy = malloc(size);
    if (copy == NULL)
        abort();
    memcpy(copy, data, size);
    if (data[0] != 0)
        mend(copy + 1, size - 1);
    struct slice bytes = slice_of(copy + 1, size - 1);
    uint64_t a = 0, b = 0;
    if (read_segment(bytes, 7, &a) != read_segment(bytes, size, &b) || a != b)
        abort();
    read_snapshot(bytes);
    free(copy);
    return 0;
}
