// SPDX-License-Identifier: Apache-2.0
// A segment's bytes as recovery reads them: headers, frames, sub-batches, records, arguments. Whatever the input, decoders read only
// what they were given; what they accept encodes to the same bytes. Checksums are put right first, so that what lies behind them is
// reached (bit 0 of the first byte: not).
//
//   byte 0   bit 0: leave checksums alone; bits 1-2: header, frame, sub-batches, arguments
#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "persist/format.h"

static const struct uuid STORE = { "fuzz" };
static const struct frame_place PLACE = { &STORE, 3, 5, 4096 };

static void try_header(const uint8_t *data, size_t size, bool fix)
{
    uint8_t block[BLOCK_SIZE] = { 0 }, again[BLOCK_SIZE];
    struct segment_header h;
    const char *why = NULL;
    memcpy(block, data, size < BLOCK_SIZE ? size : BLOCK_SIZE);
    if (fix) {
        memcpy(block, "SKRYLOG1\1\0\0", 12);
        store_u32(block + 12, 0);
        store_u32(block + 12, crc32c(0, block, BLOCK_SIZE));
    }
    int rc = segment_decode(&h, block, &why);
    assert(rc == 0 ? why == NULL : rc == -EBADMSG && why != NULL);
    if (rc != 0)
        return;
    assert(h.id > 0 && h.size >= 4 * BLOCK_SIZE && h.shards >= 1 && h.shards <= SHARDS_MAX);
    segment_encode(&h, again);
    assert(memcmp(block, again, 12) == 0 && memcmp(block + 16, again + 16, 92) == 0);
}

static void try_args(struct slice value)
{
    struct slice argv[16];
    int count = effect_args(value, argv, 16);
    assert(count <= 16);
    for (int i = 0; i < count; i++)
        assert(argv[i].data >= value.data && argv[i].data + argv[i].len <= value.data + value.len);
}

static void try_records(const struct sub_batch *b)
{
    const uint8_t *at = b->records;
    uint32_t taken = 0;
    struct record r;
    int rc;
    while ((rc = record_next(&r, b, &at, &taken)) == 0) {
        assert(at <= b->records + b->bytes && r.sequence == b->first + taken - 1 && r.deadline_ms >= -1);
        uint64_t len = record_size(&r);
        uint8_t *again = malloc(len);
        assert(again != NULL);
        record_encode(&r, b->first, again);
        assert(memcmp(again, at - len, len) == 0);
        free(again);
        if (r.op == RECORD_EFFECT)
            try_args(r.value);
    }
    assert(rc == 1 ? taken == b->count : rc == -EBADMSG && taken <= b->count);
}

static void try_sub_batches(const uint8_t *at, uint64_t left)
{
    struct sub_batch b;
    int rc;
    while ((rc = sub_batch_next(&b, &at, &left)) == 0) {
        uint8_t again[SUB_BATCH_HEAD];
        sub_batch_encode(&b, again);
        assert(memcmp(again, b.records - SUB_BATCH_HEAD, SUB_BATCH_HEAD) == 0 && b.records + b.bytes == at);
        try_records(&b);
    }
    assert(rc == 1 ? left == 0 : rc == -EBADMSG);
}

static void fix_frame(uint8_t *frame, size_t len)
{
    uint8_t place[40];
    memcpy(frame, "SKRF", 4);
    store_u64(frame + 40, PLACE.epoch);
    memcpy(place, STORE.bytes, 16);
    store_u64(place + 16, PLACE.segment);
    store_u64(place + 24, PLACE.epoch);
    store_u64(place + 32, PLACE.offset);
    store_u32(frame + 4, 0);
    store_u32(frame + 4, crc32c(crc32c(0, place, sizeof place), frame, len));
}

static void try_frame(const uint8_t *data, size_t size, bool fix)
{
    size_t len = round_up(size < FRAME_HEAD ? FRAME_HEAD : size, BLOCK_SIZE);
    uint8_t *frame = calloc(1, len), *again = calloc(1, len);
    struct frame_head h;
    assert(frame != NULL && again != NULL);
    memcpy(frame, data, size);
    if (fix)
        fix_frame(frame, len);
    int rc = frame_peek(&h, frame, PLACE.epoch);
    assert(rc == 0 || rc == -EBADMSG);
    if (rc == 0 && (size_t)h.blocks * BLOCK_SIZE <= len) {
        rc = frame_verify(&h, &PLACE, frame);
        if (rc == 0) {
            memcpy(again + FRAME_HEAD, frame + FRAME_HEAD, h.payload);
            frame_encode(&h, &PLACE, again, crc32c(0, frame + FRAME_HEAD, h.payload));
            assert(memcmp(frame, again, (size_t)h.blocks * BLOCK_SIZE) == 0);
            try_sub_batches(frame + FRAME_HEAD, h.payload);
        }
    }
    free(frame);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    bool fix = (data[0] & 1) == 0;
    uint8_t *exact = malloc(size > 1 ? size - 1 : 1); // so that a byte read too far is seen
    assert(exact != NULL);
    memcpy(exact, data + 1, size - 1);
    switch (data[0] >> 1 & 3) {
    case 0:
        try_header(exact, size - 1, fix);
        break;
    case 1:
        try_frame(exact, size - 1, fix);
        break;
    case 2:
        try_sub_batches(exact, size - 1);
        break;
    default:
        try_args(slice_of(exact, size - 1));
    }
    free(exact);
    return 0;
}
