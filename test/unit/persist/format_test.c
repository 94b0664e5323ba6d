// SPDX-License-Identifier: Apache-2.0
#include "persist/format.h"

#include <errno.h>

#include "base/bytes.h"
#include "base/prng.h"
#include "base/test.h"

static const struct uuid STORE = { "store-uuid-0123" }, HISTORY = { "history-uuid-01" };

static struct segment_header a_header(void)
{
    return (struct segment_header){
        .store = STORE,
        .history = HISTORY,
        .id = 7,
        .epoch = 0x1122334455667788,
        .first_lsn = 1000,
        .previous_id = 6,
        .previous_lsn = 999,
        .previous_crc = 0xdeadbeef,
        .shards = 256,
        .size = 64 << 20,
    };
}

// CRC-32C of a block with the field at 12 read as zero, written into that field: a block whose only fault is the planted one.
static void seal_header(uint8_t *block)
{
    store_u32(block + 12, 0);
    store_u32(block + 12, crc32c(0, block, BLOCK_SIZE));
}

static void check_hex(const uint8_t *bytes, size_t len, const char *want)
{
    char text[2 * 128 + 1];
    check(len <= 128);
    for (size_t i = 0; i < len; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    if (strcmp(text, want) != 0) {
        printf("got  %s\nwant %s\n", text, want);
        test_failures++;
    }
}

// ---- segments

static void a_segment_header_reads_back(void)
{
    uint8_t block[BLOCK_SIZE];
    const char *why = "unset";
    struct segment_header h = a_header(), back;
    segment_encode(&h, block);
    check_equal(segment_decode(&back, block, &why), 0);
    check(why == NULL);
    check(uuid_equal(&back.store, &h.store) && uuid_equal(&back.history, &h.history) && back.id == 7 && back.epoch == h.epoch);
    check(back.first_lsn == 1000 && back.previous_id == 6 && back.previous_lsn == 999 && back.previous_crc == 0xdeadbeef);
    check(back.shards == 256 && back.size == 64 << 20);
}

static void a_segment_header_has_these_bytes(void)
{
    uint8_t block[BLOCK_SIZE];
    struct segment_header h = a_header();
    segment_encode(&h, block);
    check_hex(block, 108,
              "534b52594c4f4731010000002bb81759"
              "73746f72652d757569642d3031323300"
              "07000000000000008877665544332211e803000000000000"
              "686973746f72792d757569642d303100"
              "0600000000000000e703000000000000efbeadde00100000"
              "000000040000000000010000");
    for (size_t i = 108; i < BLOCK_SIZE; i++)
        check(block[i] == 0);
}

static void each_condition_of_a_segment_header_is_looked_at(void)
{
    static const struct {
        size_t at;
        uint32_t width;
        uint64_t value;
        const char *why;
    } FAULTS[] = {
        { 0, 1, 'X', "magic" },
        { 7, 1, '2', "magic" },
        { 8, 4, 0, "format" },
        { 8, 4, 2, "format" },
        { 92, 4, 512, "block size" },
        { 92, 4, 8192, "block size" },
        { 92, 4, 0, "block size" },
        { 96, 8, 0, "segment size" },
        { 96, 8, 3 * 4096, "segment size" },
        { 96, 8, 4 * 4096 + 512, "segment size" },
        { 96, 8, UINT64_MAX, "segment size" },
        { 104, 4, 0, "shard count" },
        { 104, 4, 3, "shard count" },
        { 104, 4, 8192, "shard count" },
        { 104, 4, UINT32_C(1) << 31, "shard count" },
        { 104, 4, UINT32_MAX, "shard count" },
        { 32, 8, 0, "id" },
    };
    for (size_t i = 0; i < sizeof FAULTS / sizeof FAULTS[0]; i++) {
        uint8_t block[BLOCK_SIZE];
        const char *why = NULL;
        struct segment_header h = a_header();
        segment_encode(&h, block);
        memcpy(block + FAULTS[i].at, &FAULTS[i].value, FAULTS[i].width);
        seal_header(block);
        check_equal(segment_decode(&h, block, &why), -EBADMSG);
        check(why != NULL && strcmp(why, FAULTS[i].why) == 0);
    }
}

static void the_least_and_the_largest_header_are_valid(void)
{
    uint8_t block[BLOCK_SIZE];
    const char *why;
    struct segment_header h = a_header();
    h.size = 4 * BLOCK_SIZE;
    h.shards = 1;
    h.id = 1;
    segment_encode(&h, block);
    check_equal(segment_decode(&h, block, &why), 0);
    h.size = UINT64_MAX - BLOCK_SIZE + 1;
    h.shards = SHARDS_MAX;
    h.id = h.epoch = h.first_lsn = h.previous_id = h.previous_lsn = UINT64_MAX;
    segment_encode(&h, block);
    check_equal(segment_decode(&h, block, &why), 0);
    check(h.previous_lsn == UINT64_MAX && h.shards == SHARDS_MAX);
}

static void every_flipped_bit_of_a_segment_header_is_noticed(void)
{
    uint8_t block[BLOCK_SIZE];
    const char *why;
    struct segment_header h = a_header();
    segment_encode(&h, block);
    for (size_t bit = 0; bit < BLOCK_SIZE * 8; bit++) {
        block[bit / 8] ^= (uint8_t)(1u << bit % 8);
        check_equal(segment_decode(&h, block, &why), -EBADMSG);
        block[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void names_of_segments_read_back_and_nothing_else_is_one(void)
{
    static const uint64_t IDS[] = { 1, 9, 10, 12345, UINT32_MAX, UINT64_MAX - 1, UINT64_MAX };
    char name[SEGMENT_NAME_MAX];
    for (size_t i = 0; i < sizeof IDS / sizeof IDS[0]; i++) {
        segment_name(IDS[i], name);
        check(segment_id_of(name) == IDS[i]);
    }
    segment_name(42, name);
    check(strcmp(name, "log-00000000000000000042.skry") == 0);
    static const char *const OTHERS[] = {
        "",
        "log-",
        "log-1.skry",
        "log-00000000000000000000.skry",
        "log-00000000000000000042.skrx",
        "log-00000000000000000042.skry ",
        "lag-00000000000000000042.skry",
        "log-0000000000000000004x.skry",
        "log-0000000000000000004/.skry",
        "log--0000000000000000042.skry",
        "log-18446744073709551616.skry",
        "log-99999999999999999999.skry",
        "log-000000000000000000042.skry",
        "MANIFEST.a",
        "LOCK",
    };
    for (size_t i = 0; i < sizeof OTHERS / sizeof OTHERS[0]; i++)
        check(segment_id_of(OTHERS[i]) == 0);
}

// ---- frames

static uint8_t memory[FRAME_BLOCKS_MAX * BLOCK_SIZE];
static const struct frame_place PLACE = { &STORE, 7, 0x1122334455667788, 8192 };

static struct frame_head make_frame(uint32_t payload, uint16_t flags)
{
    struct frame_head h = { .payload = payload,
                            .flags = flags,
                            .lsn = 1001,
                            .durable = 998,
                            .previous_crc = 0xcafef00d,
                            .batches = 3,
                            .epoch = PLACE.epoch,
                            .made_ms = 1700000000000 };
    memset(memory, 0xee, sizeof memory); // what an earlier frame left
    for (uint32_t i = 0; i < payload; i++)
        memory[FRAME_HEAD + i] = (uint8_t)(i * 7 + 1);
    frame_encode(&h, &PLACE, memory, crc32c(0, memory + FRAME_HEAD, payload));
    return h;
}

static int read_frame(struct frame_head *h)
{
    int rc = frame_peek(h, memory, PLACE.epoch);
    return rc != 0 ? rc : frame_verify(h, &PLACE, memory);
}

static void a_frame_of_every_edge_length_reads_back(void)
{
    static const uint32_t LENGTHS[] = {
        0, 1, 7, 4039, 4040, 4041, 8135, 8136, 8137, 262144, 1000, 9999, 65535, 255 * 4096 + 4040 - 1, 255 * 4096 + 4040
    };
    for (size_t i = 0; i < sizeof LENGTHS / sizeof LENGTHS[0]; i++) {
        struct frame_head h = make_frame(LENGTHS[i], FRAME_TXN), back;
        check_equal(h.blocks, (56 + LENGTHS[i] + 4095) / 4096);
        check_equal(read_frame(&back), 0);
        check(back.payload == LENGTHS[i] && back.blocks == h.blocks && back.flags == FRAME_TXN && back.lsn == 1001 && back.durable == 998);
        check(back.previous_crc == 0xcafef00d && back.batches == 3 && back.epoch == PLACE.epoch && back.crc == h.crc &&
              back.made_ms == 1700000000000);
        for (size_t at = FRAME_HEAD + h.payload; at < (size_t)h.blocks * BLOCK_SIZE; at++)
            check(memory[at] == 0);
    }
}

static void a_frame_has_these_bytes(void)
{
    make_frame(20, FRAME_TXN | FRAME_FIRST);
    check_hex(memory, 56 + 20 + 4,
              "534b5246e8a5434e1400000001000c00"
              "e903000000000000e603000000000000"
              "0df0feca030000008877665544332211"
              "0068e5cf8b010000"
              "01080f161d242b323940474e555c636a71787f8600000000");
}

static void each_condition_of_a_frame_head_is_looked_at(void)
{
    static const struct {
        size_t at;
        uint32_t width;
        uint64_t value;
    } FAULTS[] = {
        { 0, 1, 'X' },
        { 3, 1, 'G' },
        { 8, 4, 4041 },                  // more than its blocks hold
        { 8, 4, UINT64_C(1) << 31 },     //
        { 8, 4, UINT32_MAX },            //
        { 8, 4, UINT32_MAX - 55 },       // the sum overflows 32 bits
        { 12, 2, 0 },                    //
        { 12, 2, 2 },                    // a block that is not used
        { 12, 2, FRAME_BLOCKS_MAX + 1 }, //
        { 12, 2, UINT16_MAX },           //
        { 14, 2, 64 },                   // flags that nobody knows
        { 14, 2, 0x8000 },               //
        { 14, 2, FRAME_FIRST | FRAME_LAST },
        { 14, 2, FRAME_MIDDLE | FRAME_LAST },
        { 14, 2, FRAME_SEAL },         // with payload
        { 14, 2, FRAME_CLEAN_STOP },   //
        { 16, 8, 0 },                  // LSN
        { 16, 8, 998 },                // durable = LSN
        { 24, 8, 1001 },               //
        { 24, 8, UINT64_MAX },         //
        { 40, 8, 0x1122334455667789 }, // epoch
        { 40, 8, 0 },
    };
    for (size_t i = 0; i < sizeof FAULTS / sizeof FAULTS[0]; i++) {
        struct frame_head h = make_frame(20, 0);
        memcpy(memory + FAULTS[i].at, &FAULTS[i].value, FAULTS[i].width);
        check_equal(frame_peek(&h, memory, PLACE.epoch), -EBADMSG);
    }
}

static void a_frame_too_long_for_any_is_not_one_even_with_fitting_blocks(void)
{
    struct frame_head h = make_frame(20, 0);
    store_u32(memory + 8, 257 * 4096 - 56);
    store_u16(memory + 12, 257);
    check_equal(frame_peek(&h, memory, PLACE.epoch), -EBADMSG);
    store_u32(memory + 8, 256 * 4096 - 56);
    store_u16(memory + 12, 256);
    check_equal(frame_peek(&h, memory, PLACE.epoch), 0);
}

static void seals_and_stops_are_alone(void)
{
    struct frame_head h;
    make_frame(0, FRAME_SEAL);
    check_equal(read_frame(&h), 0);
    make_frame(0, FRAME_CLEAN_STOP);
    check_equal(read_frame(&h), 0);
    make_frame(0, FRAME_SEAL | FRAME_CLEAN_STOP);
    check_equal(read_frame(&h), -EBADMSG);
    make_frame(0, FRAME_SEAL | FRAME_TXN);
    check_equal(read_frame(&h), -EBADMSG);
}

static void a_frame_elsewhere_does_not_verify(void)
{
    struct frame_head h = make_frame(5000, 0);
    struct uuid other = STORE;
    other.bytes[15] ^= 1;
    const struct frame_place PLACES[] = {
        { &other, PLACE.segment, PLACE.epoch, PLACE.offset },     { &STORE, PLACE.segment + 1, PLACE.epoch, PLACE.offset },
        { &STORE, PLACE.segment, PLACE.epoch + 1, PLACE.offset }, { &STORE, PLACE.segment, PLACE.epoch, PLACE.offset + 4096 },
        { &STORE, PLACE.offset, PLACE.epoch, PLACE.segment },
    };
    check_equal(frame_peek(&h, memory, PLACE.epoch), 0);
    check_equal(frame_verify(&h, &PLACE, memory), 0);
    for (size_t i = 0; i < sizeof PLACES / sizeof PLACES[0]; i++)
        check_equal(frame_verify(&h, &PLACES[i], memory), -EBADMSG);
}

static void every_flipped_bit_of_a_frame_is_noticed(void)
{
    struct frame_head h = make_frame(4100, 0);
    for (size_t bit = 0; bit < (size_t)h.blocks * BLOCK_SIZE * 8; bit++) {
        struct frame_head back;
        memory[bit / 8] ^= (uint8_t)(1u << bit % 8);
        check_equal(read_frame(&back), -EBADMSG);
        memory[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    check_equal(read_frame(&h), 0);
}

static void padding_that_is_not_zero_is_refused_though_the_checksum_holds(void)
{
    for (size_t at = FRAME_HEAD + 20; at < BLOCK_SIZE; at += 97) {
        struct frame_head h = make_frame(20, 0);
        uint8_t place[40];
        memcpy(place, STORE.bytes, 16);
        store_u64(place + 16, PLACE.segment);
        store_u64(place + 24, PLACE.epoch);
        store_u64(place + 32, PLACE.offset);
        memory[at] = 1;
        store_u32(memory + 4, 0);
        store_u32(memory + 4, crc32c(crc32c(0, place, 40), memory, BLOCK_SIZE));
        check_equal(frame_peek(&h, memory, PLACE.epoch), 0);
        check_equal(frame_verify(&h, &PLACE, memory), -EBADMSG);
        memory[at] = 0;
        store_u32(memory + 4, 0);
        store_u32(memory + 4, crc32c(crc32c(0, place, 40), memory, BLOCK_SIZE)); // the test's own arithmetic is right
        check_equal(read_frame(&h), 0);
    }
}

static void bytes_that_changed_after_their_owner_summed_them_make_no_valid_frame(void)
{
    struct frame_head h = { .payload = 300, .lsn = 2, .durable = 1, .epoch = PLACE.epoch };
    memset(memory + FRAME_HEAD, 'v', 300);
    uint32_t first = crc32c(0, memory + FRAME_HEAD, 100), second = crc32c(0, memory + FRAME_HEAD + 100, 200);
    frame_encode(&h, &PLACE, memory, crc32c_join(first, second, 200));
    check_equal(read_frame(&h), 0);
    memory[FRAME_HEAD + 250] ^= 4;
    frame_encode(&h, &PLACE, memory, crc32c_join(first, second, 200));
    check_equal(read_frame(&h), -EBADMSG);
}

// ---- sub-batches and records

static void check_sub_batch(uint64_t left, uint16_t shard, uint16_t count, uint32_t bytes, uint64_t first, int want)
{
    static uint8_t room[SUB_BATCH_HEAD + 64];
    struct sub_batch b = { .shard = shard, .count = count, .bytes = bytes, .first = first }, back;
    sub_batch_encode(&b, room);
    const uint8_t *at = room;
    uint64_t rest = left;
    check_equal(sub_batch_next(&back, &at, &rest), want);
    if (want == 0) {
        check(at == room + SUB_BATCH_HEAD + bytes && rest == left - SUB_BATCH_HEAD - bytes && back.records == room + SUB_BATCH_HEAD);
        check(back.shard == shard && back.count == count && back.bytes == bytes && back.first == first);
    } else {
        check(at == room && rest == left);
    }
}

static void each_condition_of_a_sub_batch_is_looked_at(void)
{
    check_sub_batch(80, 0, 1, 64, 1, 0);
    check_sub_batch(80, 4095, 65535, 64, 1, 0);
    check_sub_batch(0, 0, 1, 64, 1, 1);
    check_sub_batch(1, 0, 1, 0, 1, -EBADMSG);
    check_sub_batch(15, 0, 1, 0, 1, -EBADMSG);
    check_sub_batch(16, 0, 1, 0, 1, 0); // whose record is missing: record_next says so
    check_sub_batch(16, 0, 1, 1, 1, -EBADMSG);
    check_sub_batch(80, 0, 1, 63, 1, 0);
    check_sub_batch(80, 0, 1, 65, 1, -EBADMSG);
    check_sub_batch(80, 0, 1, UINT32_C(1) << 31, 1, -EBADMSG);
    check_sub_batch(80, 0, 1, UINT32_MAX, 1, -EBADMSG);
    check_sub_batch(80, 4096, 1, 64, 1, -EBADMSG);
    check_sub_batch(80, 65535, 1, 64, 1, -EBADMSG);
    check_sub_batch(80, 0, 0, 64, 1, -EBADMSG);
    check_sub_batch(80, 0, 1, 64, 0, -EBADMSG);
    check_sub_batch(80, 0, 3, 64, UINT64_MAX - 3, 0);
    check_sub_batch(80, 0, 3, 64, UINT64_MAX - 2, -EBADMSG);
    check_sub_batch(80, 0, 1, 64, UINT64_MAX, -EBADMSG);
}

static void a_sub_batch_and_its_records_have_these_bytes(void)
{
    uint8_t bytes[128];
    struct record set = { .op = RECORD_SET,
                          .flags = RECORD_MARK | 0x10,
                          .db = 3,
                          .sequence = 500,
                          .deadline_ms = 0x0102030405,
                          .key = slice_cstr("key"),
                          .value = slice_cstr("value") };
    struct record gone = { .op = RECORD_DELETE, .db = 1, .sequence = 501, .deadline_ms = -1, .key = slice_cstr("k") };
    struct sub_batch b = { .shard = 77, .count = 2, .first = 500, .bytes = (uint32_t)(record_size(&set) + record_size(&gone)) };
    check_equal(b.bytes, 24 + 3 + 5 + 16 + 1);
    sub_batch_encode(&b, bytes);
    record_encode(&set, b.first, bytes + 16);
    record_encode(&gone, b.first, bytes + 16 + 32);
    check_hex(bytes, 16 + b.bytes,
              "4d00020031000000f401000000000000"
              "20000000011303000000000005040302010000000300000"
              "06b657976616c7565"
              "110000000200010001000000010000006b");
}

static void check_record(const struct record *r)
{
    uint8_t *bytes = malloc(SUB_BATCH_HEAD + record_size(r));
    struct sub_batch b = { .shard = 5, .count = 1, .first = r->sequence, .bytes = (uint32_t)record_size(r) };
    sub_batch_encode(&b, bytes);
    record_encode(r, b.first, bytes + SUB_BATCH_HEAD);
    const uint8_t *at = bytes;
    uint64_t left = SUB_BATCH_HEAD + b.bytes;
    uint32_t taken = 0;
    struct record back;
    check_equal(sub_batch_next(&b, &at, &left), 0);
    at = b.records;
    check_equal(record_next(&back, &b, &at, &taken), 0);
    check(back.op == r->op && (back.flags & ~RECORD_DEADLINE) == (r->flags & ~RECORD_DEADLINE) && back.db == r->db);
    check(((back.flags & RECORD_DEADLINE) != 0) == (r->deadline_ms >= 0));
    check(back.sequence == r->sequence && back.deadline_ms == r->deadline_ms);
    check(slice_equal(back.key, r->key) && slice_equal(back.value, r->value));
    check_equal(record_next(&back, &b, &at, &taken), 1);
    free(bytes);
}

static void records_of_every_kind_read_back(void)
{
    static uint8_t large[70000];
    static const size_t LENGTHS[] = { 0, 1, 2, 15, 16, 255, 4096, 65535, 65536, 70000 };
    static const int64_t DEADLINES[] = { -1, 0, 1, 1893456000000, INT64_MAX };
    for (size_t k = 0; k < sizeof LENGTHS / sizeof LENGTHS[0]; k++) {
        for (size_t d = 0; d < sizeof DEADLINES / sizeof DEADLINES[0]; d++) {
            struct record r = {
                .op = RECORD_SET, .flags = RECORD_TYPE, .db = 65535, .sequence = UINT64_MAX - 1, .deadline_ms = DEADLINES[d]
            };
            r.key = slice_of(large, LENGTHS[k]);
            r.value = slice_of(large, 70000 - LENGTHS[k]);
            check_record(&r);
            r.op = RECORD_EFFECT;
            check_record(&r);
            r.value.len = 0;
            r.op = RECORD_DELETE;
            check_record(&r);
            r.op = RECORD_EXPIRE;
            r.flags = RECORD_DEADLINE; // not taken from here: the deadline decides
            check_record(&r);
        }
    }
}

// One record of 40 bytes (key `key`, 13 bytes of value, a deadline) with a field overwritten.
static int read_changed_record(size_t at, uint32_t width, uint64_t value)
{
    uint8_t bytes[40];
    struct record r = {
        .op = RECORD_SET, .db = 1, .sequence = 9, .deadline_ms = 5, .key = slice_cstr("key"), .value = slice_cstr("a long value!")
    };
    check_equal(record_size(&r), sizeof bytes);
    record_encode(&r, 9, bytes);
    memcpy(bytes + at, &value, width);
    struct sub_batch b = { .count = 1, .first = 9, .bytes = sizeof bytes, .records = bytes };
    const uint8_t *from = bytes;
    uint32_t taken = 0;
    int rc = record_next(&r, &b, &from, &taken);
    check_equal(taken, rc == 0);
    return rc != 0 ? rc : record_next(&r, &b, &from, &taken);
}

static void a_record_is_written_over_by_one_of_its_key_and_size_alone(void)
{
    uint8_t bytes[64], want[64];
    struct record r = {
        .op = RECORD_SET, .db = 1, .sequence = 7, .deadline_ms = -1, .key = slice_cstr("key"), .value = slice_cstr("12345678")
    };
    struct record next = { .op = RECORD_SET, .db = 1, .deadline_ms = -1, .key = slice_cstr("key"), .value = slice_cstr("abcdefgh") };
    record_encode(&r, 5, bytes);
    next.key = slice_cstr("kez");
    check(!record_rewrite(&next, bytes));
    next.key = slice_cstr("keyk");
    next.value = slice_cstr("abcdefg");
    check(!record_rewrite(&next, bytes)); // of the same size
    next.key = slice_cstr("key");
    check(!record_rewrite(&next, bytes));
    next.value = slice_cstr("abcdefgh");
    next.db = 2;
    check(!record_rewrite(&next, bytes));
    next.db = 1;
    next.op = RECORD_EFFECT;
    check(!record_rewrite(&next, bytes));
    next.op = RECORD_SET;
    check(record_rewrite(&next, bytes));
    next.sequence = 7;
    record_encode(&next, 5, want);
    check(memcmp(bytes, want, record_size(&next)) == 0);
    next.deadline_ms = 99; // eight bytes that the value had
    next.flags = RECORD_DEADLINE;
    next.value = slice_cstr("");
    check(record_rewrite(&next, bytes));
    record_encode(&next, 5, want);
    check(memcmp(bytes, want, record_size(&next)) == 0);
    next.deadline_ms = 100;
    check(record_rewrite(&next, bytes));
}

static void each_condition_of_a_record_is_looked_at(void)
{
    static const struct {
        size_t at;
        uint32_t width;
        uint64_t value;
        int want;
    } CASES[] = {
        { 0, 4, 40, 1 },
        { 0, 4, 39, -EBADMSG }, // bytes are left behind the last one
        { 0, 4, 41, -EBADMSG }, // more than there are
        { 0, 4, 0, -EBADMSG },
        { 0, 4, 1, -EBADMSG },
        { 0, 4, 15, -EBADMSG },
        { 0, 4, 23, -EBADMSG },
        { 0, 4, 24, -EBADMSG }, // no room for the key
        { 0, 4, UINT64_C(1) << 31, -EBADMSG },
        { 0, 4, UINT32_MAX, -EBADMSG },
        { 4, 1, 0, -EBADMSG }, // op
        { 4, 1, 5, -EBADMSG },
        { 4, 1, 255, -EBADMSG },
        { 4, 1, RECORD_EFFECT, 1 },
        { 4, 1, RECORD_DELETE, -EBADMSG }, // with something behind the key
        { 4, 1, RECORD_EXPIRE, -EBADMSG },
        { 5, 1, RECORD_DEADLINE | 4, -EBADMSG }, // flags
        { 5, 1, RECORD_DEADLINE | 8, -EBADMSG },
        { 5, 1, RECORD_DEADLINE | 128, -EBADMSG },
        { 5, 1, RECORD_DEADLINE | RECORD_MARK | RECORD_TYPE, 1 },
        { 8, 4, 1, -EBADMSG }, // sequence
        { 8, 4, UINT32_MAX, -EBADMSG },
        { 12, 8, UINT64_MAX, -EBADMSG }, // deadline
        { 12, 8, UINT64_C(1) << 63, -EBADMSG },
        { 12, 8, INT64_MAX, 1 },
        { 20, 4, 0, 1 }, // key length
        { 20, 4, 16, 1 },
        { 20, 4, 17, -EBADMSG },
        { 20, 4, UINT64_C(1) << 31, -EBADMSG },
        { 20, 4, UINT32_MAX, -EBADMSG },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        int rc = read_changed_record(CASES[i].at, CASES[i].width, CASES[i].value);
        if (rc != CASES[i].want)
            printf("case %zu:\n", i);
        check_equal(rc, CASES[i].want);
    }
}

static void a_record_is_no_shorter_than_its_head(void)
{
    uint8_t bytes[RECORD_HEAD + 8] = { RECORD_HEAD, 0, 0, 0, RECORD_DELETE };
    struct record r;
    for (uint32_t have = 0; have <= RECORD_HEAD; have++) {
        struct sub_batch b = { .count = 1, .first = 1, .bytes = have, .records = bytes };
        const uint8_t *at = bytes;
        uint32_t taken = 0;
        check_equal(record_next(&r, &b, &at, &taken), have < RECORD_HEAD ? -EBADMSG : 0);
    }
    for (uint8_t size = 0; size <= RECORD_HEAD; size++) {
        struct sub_batch b = { .count = 1, .first = 1, .bytes = RECORD_HEAD, .records = bytes };
        const uint8_t *at = bytes;
        uint32_t taken = 0;
        bytes[0] = size;
        check_equal(record_next(&r, &b, &at, &taken), size < RECORD_HEAD ? -EBADMSG : 0);
    }
    bytes[5] = RECORD_DEADLINE; // whose 8 bytes are not in the record
    struct sub_batch b = { .count = 1, .first = 1, .bytes = sizeof bytes, .records = bytes };
    for (uint8_t size = 0; size < sizeof bytes; size++) {
        const uint8_t *at = bytes;
        uint32_t taken = 0;
        bytes[0] = size;
        check_equal(record_next(&r, &b, &at, &taken), -EBADMSG);
    }
    bytes[0] = sizeof bytes;
    const uint8_t *at = bytes;
    uint32_t taken = 0;
    check_equal(record_next(&r, &b, &at, &taken), 0);
    check_equal(r.deadline_ms, 0);
}

static void keys_and_values_beyond_the_limits_are_refused(void)
{
    // Only the head is read before the limit refuses, so the record need not be there.
    uint8_t bytes[64] = { 0 };
    struct sub_batch b = { .count = 1, .first = 1, .bytes = UINT32_MAX, .records = bytes };
    static const struct {
        uint8_t op;
        uint32_t key;
        uint64_t value;
        int want;
    } CASES[] = {
        { RECORD_SET, RECORD_KEY_MAX, RECORD_VALUE_MAX, 0 },
        { RECORD_SET, RECORD_KEY_MAX + 1, 0, -EBADMSG },
        { RECORD_SET, 0, RECORD_VALUE_MAX, 0 },
        { RECORD_SET, 0, RECORD_VALUE_MAX + 1, -EBADMSG },
        { RECORD_EFFECT, 0, RECORD_ARGS_MAX, 0 },
        { RECORD_EFFECT, 0, RECORD_ARGS_MAX + 1, -EBADMSG },
        { RECORD_DELETE, RECORD_KEY_MAX, 0, 0 },
        { RECORD_DELETE, RECORD_KEY_MAX + 1, 0, -EBADMSG },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct record r;
        const uint8_t *at = bytes;
        uint32_t taken = 0;
        bytes[4] = CASES[i].op;
        store_u32(bytes, (uint32_t)(RECORD_HEAD + CASES[i].key + CASES[i].value));
        store_u32(bytes + 12, CASES[i].key);
        check_equal(record_next(&r, &b, &at, &taken), CASES[i].want);
    }
}

static void records_missing_from_a_sub_batch_or_left_over_are_noticed(void)
{
    uint8_t bytes[3 * 17];
    struct record r = { .op = RECORD_DELETE, .deadline_ms = -1, .key = slice_cstr("k") };
    for (uint32_t i = 0; i < 3; i++) {
        r.sequence = 70 + i;
        record_encode(&r, 70, bytes + i * 17);
    }
    static const struct {
        uint16_t count;
        uint32_t bytes;
        uint32_t good;
        int end;
    } CASES[] = { { 3, 51, 3, 1 }, { 2, 51, 2, -EBADMSG }, { 4, 51, 3, -EBADMSG }, { 3, 50, 2, -EBADMSG }, { 3, 34, 2, -EBADMSG } };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct sub_batch b = { .count = CASES[i].count, .first = 70, .bytes = CASES[i].bytes, .records = bytes };
        const uint8_t *at = bytes;
        uint32_t taken = 0;
        for (uint32_t n = 0; n < CASES[i].good; n++) {
            check_equal(record_next(&r, &b, &at, &taken), 0);
            check_equal(r.sequence, 70 + n);
        }
        check_equal(record_next(&r, &b, &at, &taken), CASES[i].end);
    }
}

static void sub_batches_follow_one_another(void)
{
    uint8_t bytes[2 * (16 + 17)];
    struct record r = { .op = RECORD_DELETE, .sequence = 1, .deadline_ms = -1, .key = slice_cstr("k") };
    for (uint16_t i = 0; i < 2; i++) {
        struct sub_batch b = { .shard = i, .count = 1, .first = 1, .bytes = 17 };
        sub_batch_encode(&b, bytes + i * 33);
        record_encode(&r, 1, bytes + i * 33 + 16);
    }
    const uint8_t *at = bytes;
    uint64_t left = sizeof bytes;
    struct sub_batch b;
    check(sub_batch_next(&b, &at, &left) == 0 && b.shard == 0);
    check(sub_batch_next(&b, &at, &left) == 0 && b.shard == 1);
    check_equal(sub_batch_next(&b, &at, &left), 1);
}

// ---- effects

static void arguments_read_back_up_to_the_limit(void)
{
    static const uint8_t BYTES[] = { 3, 0, 0, 0, 1, 0, 0, 0, 'a', 0, 0, 0, 0, 2, 0, 0, 0, 'b', 'c' };
    struct slice argv[3], value = slice_of(BYTES, sizeof BYTES);
    check_equal(effect_args(value, argv, 3), 3);
    check(slice_equal(argv[0], slice_cstr("a")) && argv[1].len == 0 && slice_equal(argv[2], slice_cstr("bc")));
    check_equal(effect_args(value, argv, 2), -EBADMSG);
    static const uint8_t NONE[4];
    check_equal(effect_args(slice_of(NONE, 4), argv, 0), 0);
    for (size_t len = 0; len < sizeof BYTES; len++)
        check_equal(effect_args(slice_of(BYTES, len), argv, 3), -EBADMSG);
    uint8_t more[sizeof BYTES + 1] = { 0 };
    memcpy(more, BYTES, sizeof BYTES);
    check_equal(effect_args(slice_of(more, sizeof more), argv, 3), -EBADMSG);
}

static void lengths_of_arguments_are_bounded(void)
{
    static const uint32_t LENGTHS[] = { 4, 5, 1000, UINT32_C(1) << 31, UINT32_MAX };
    uint8_t bytes[8 + 3] = { 1 };
    struct slice argv[4];
    for (size_t i = 0; i < sizeof LENGTHS / sizeof LENGTHS[0]; i++) {
        store_u32(bytes + 4, LENGTHS[i]);
        check_equal(effect_args(slice_of(bytes, sizeof bytes), argv, 4), -EBADMSG);
    }
    store_u32(bytes + 4, 3);
    check_equal(effect_args(slice_of(bytes, sizeof bytes), argv, 4), 1);
    store_u32(bytes, UINT32_C(1) << 31);
    check_equal(effect_args(slice_of(bytes, sizeof bytes), argv, UINT32_MAX), -EBADMSG);
    store_u32(bytes, UINT32_MAX);
    check_equal(effect_args(slice_of(bytes, sizeof bytes), argv, UINT32_MAX), -EBADMSG);
}

// ---- sums

static void a_sum_of_two_parts_is_the_sum_of_the_whole(void)
{
    static uint8_t data[20000];
    struct prng prng;
    prng_init(&prng, 3);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)prng_next(&prng);
    for (int i = 0; i < 2000; i++) {
        size_t len = prng_below(&prng, sizeof data + 1), cut = prng_below(&prng, len + 1);
        uint32_t a = crc32c(0, data, cut), b = crc32c(0, data + cut, len - cut);
        check_equal(crc32c_join(a, b, len - cut), crc32c(0, data, len));
    }
}

TESTS(TEST(a_segment_header_reads_back), TEST(a_segment_header_has_these_bytes), TEST(each_condition_of_a_segment_header_is_looked_at),
      TEST(the_least_and_the_largest_header_are_valid), TEST(every_flipped_bit_of_a_segment_header_is_noticed),
      TEST(names_of_segments_read_back_and_nothing_else_is_one), TEST(a_frame_of_every_edge_length_reads_back),
      TEST(a_frame_has_these_bytes), TEST(each_condition_of_a_frame_head_is_looked_at),
      TEST(a_frame_too_long_for_any_is_not_one_even_with_fitting_blocks), TEST(seals_and_stops_are_alone),
      TEST(a_frame_elsewhere_does_not_verify), TEST(every_flipped_bit_of_a_frame_is_noticed),
      TEST(padding_that_is_not_zero_is_refused_though_the_checksum_holds),
      TEST(bytes_that_changed_after_their_owner_summed_them_make_no_valid_frame), TEST(each_condition_of_a_sub_batch_is_looked_at),
      TEST(a_sub_batch_and_its_records_have_these_bytes), TEST(records_of_every_kind_read_back),
      TEST(a_record_is_written_over_by_one_of_its_key_and_size_alone), TEST(each_condition_of_a_record_is_looked_at),
      TEST(a_record_is_no_shorter_than_its_head), TEST(keys_and_values_beyond_the_limits_are_refused),
      TEST(records_missing_from_a_sub_batch_or_left_over_are_noticed), TEST(sub_batches_follow_one_another),
      TEST(arguments_read_back_up_to_the_limit), TEST(lengths_of_arguments_are_bounded), TEST(a_sum_of_two_parts_is_the_sum_of_the_whole))
