// SPDX-License-Identifier: Apache-2.0
#include "persist/fcw2.h"

#include <errno.h>
#include <lz4.h>

#include "base/test.h"
#include "test/unit/persist/pieces.h"

static struct crc32_tables tables;

static const uint8_t SET_ALPHA[] = {
    0x46, 0x43, 0x57, 0x32, 0x00, 0x26, 0,   0,   0,   0x01, 0x05, 0,    0,    0,    0x04, 0,    0,
    0,    0x2a, 0,    0,    0,    0,    0,   0,   0,   0x63, 0,    0,    0,    0,    0,    0,    0,
    'a',  'l',  'p',  'h',  'a',  'b',  'e', 't', 'a', 0xc3, 0x83, 0x8d, 0x3d, 0xbd, 0x8c, 0xdf, 0x56,
};
static const uint8_t DELETE_ALPHA[] = {
    0x46, 0x43, 0x57, 0x32, 0x00, 0x22, 0,    0,    0,    0x02, 0x05, 0,   0,   0,   0,   0,    0,    0,    0x2b, 0,    0,    0,    0,    0,
    0,    0,    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 'a',  'l', 'p', 'h', 'a', 0x46, 0x71, 0x37, 0x7a, 0x83, 0xfe, 0xd4, 0x4c,
};

static const struct fcw2_record SET = { FCW2_SET, 42, 99, { (const uint8_t *)"alpha", 5 }, { (const uint8_t *)"beta", 4 } };
static const struct fcw2_record DELETE = { FCW2_DELETE, 43, -1, { (const uint8_t *)"alpha", 5 }, { (const uint8_t *)"", 0 } };

static bool same(const struct fcw2_record *a, const struct fcw2_record *b)
{
    return a->op == b->op && a->timestamp_ms == b->timestamp_ms && a->deadline_ms == b->deadline_ms && slice_equal(a->key, b->key) &&
           slice_equal(a->value, b->value);
}

// What reading `bytes` in pieces of `piece` gives: how many records, then the result that is not 0.
static uint32_t read_all(struct slice bytes, size_t piece, int *result, bool *torn, struct fcw2_record *last)
{
    struct pieces from = { .bytes = bytes, .piece = piece };
    struct source s;
    struct fcw2_reader r;
    struct fcw2_record record;
    uint32_t count = 0;
    source_init(&s, pieces_read, &from);
    fcw2_reader_init(&r, &s, &tables);
    while ((*result = fcw2_reader_next(&r, &record)) == 0) {
        count++;
        if (last != NULL)
            *last = record;
    }
    *torn = r.torn;
    check((*result == -EBADMSG) == (r.why[0] != '\0'));
    fcw2_reader_deinit(&r);
    source_deinit(&s);
    return count;
}

static int result_of(struct slice bytes)
{
    int result;
    bool torn;
    read_all(bytes, 1000, &result, &torn, NULL);
    return torn ? -EPIPE : result;
}

static void the_vectors_of_the_specification_are_what_is_written(void)
{
    uint8_t out[128];
    check_equal(fcw2_frame_size(&SET), sizeof SET_ALPHA);
    fcw2_frame_encode(&tables, &SET, out);
    check(memcmp(out, SET_ALPHA, sizeof SET_ALPHA) == 0);
    check_equal(fcw2_frame_size(&DELETE), sizeof DELETE_ALPHA);
    fcw2_frame_encode(&tables, &DELETE, out);
    check(memcmp(out, DELETE_ALPHA, sizeof DELETE_ALPHA) == 0);
}

static void what_was_written_is_read_back_whatever_the_pieces(void)
{
    uint8_t both[sizeof SET_ALPHA + sizeof DELETE_ALPHA];
    memcpy(both, SET_ALPHA, sizeof SET_ALPHA);
    memcpy(both + sizeof SET_ALPHA, DELETE_ALPHA, sizeof DELETE_ALPHA);
    for (size_t piece = 1; piece <= sizeof both; piece++) {
        struct pieces from = { .bytes = slice_of(both, sizeof both), .piece = piece };
        struct source s;
        struct fcw2_reader r;
        struct fcw2_record record;
        source_init(&s, pieces_read, &from);
        fcw2_reader_init(&r, &s, &tables);
        check_equal(fcw2_reader_next(&r, &record), 0);
        check(same(&record, &SET));
        check_equal(fcw2_reader_next(&r, &record), 0);
        check(same(&record, &DELETE));
        check_equal(fcw2_reader_next(&r, &record), 1);
        fcw2_reader_deinit(&r);
        source_deinit(&s);
    }
}

static void every_beginning_of_a_segment_is_torn_or_clean_and_never_wrong(void)
{
    uint8_t both[sizeof SET_ALPHA + sizeof DELETE_ALPHA];
    memcpy(both, SET_ALPHA, sizeof SET_ALPHA);
    memcpy(both + sizeof SET_ALPHA, DELETE_ALPHA, sizeof DELETE_ALPHA);
    for (size_t len = 0; len <= sizeof both; len++) {
        int result;
        bool torn;
        uint32_t count = read_all(slice_of(both, len), 7, &result, &torn, NULL);
        check_equal(count, len < sizeof SET_ALPHA ? 0 : len < sizeof both ? 1 : 2);
        bool whole = len == 0 || len == sizeof SET_ALPHA || len == sizeof both;
        check_equal(result, whole ? 1 : -EBADMSG);
        check_equal(torn, !whole);
    }
}

static void every_flipped_bit_of_a_frame_is_noticed(void)
{
    uint8_t frame[sizeof SET_ALPHA];
    for (size_t bit = 0; bit < sizeof frame * 8; bit++) {
        memcpy(frame, SET_ALPHA, sizeof frame);
        frame[bit / 8] ^= (uint8_t)(1u << bit % 8);
        check(result_of(slice_of(frame, sizeof frame)) < 0);
    }
}

static void bare_records_are_read_too(void)
{
    uint8_t bare[128];
    size_t first = sizeof SET_ALPHA - 13, second = sizeof DELETE_ALPHA - 13;
    memcpy(bare, SET_ALPHA + 9, first);
    memcpy(bare + first, DELETE_ALPHA + 9, second);
    int result;
    bool torn;
    check_equal(read_all(slice_of(bare, first + second), 3, &result, &torn, NULL), 2);
    check(result == 1 && !torn);
    check_equal(read_all(slice_of(bare, first + second - 1), 3, &result, &torn, NULL), 1);
    check(result == -EBADMSG && torn);
    bare[first + 3] ^= 1;
    check_equal(read_all(slice_of(bare, first + second), 3, &result, &torn, NULL), 1);
    check_equal(result, -EBADMSG);
}

// A frame around any payload, with a sum that holds.
static struct slice wrap(uint8_t *to, uint8_t flags, struct slice payload)
{
    memcpy(to, "FCW2", 4);
    to[4] = flags;
    store_u32(to + 5, (uint32_t)payload.len);
    memcpy(to + 9, payload.data, payload.len);
    store_u32(to + 9 + payload.len, crc32(&tables, 0, to, 9 + payload.len));
    return slice_of(to, 9 + payload.len + 4);
}

// The same around the record of SET with one byte changed, both sums right.
static int with_byte(size_t at, uint8_t byte)
{
    uint8_t record[sizeof SET_ALPHA - 13], frame[64];
    memcpy(record, SET_ALPHA + 9, sizeof record);
    record[at] = byte;
    store_u32(record + sizeof record - 4, crc32(&tables, 0, record, sizeof record - 4));
    return result_of(wrap(frame, 0, slice_of(record, sizeof record)));
}

static void every_condition_of_a_record_is_checked_behind_its_sums(void)
{
    uint8_t frame[64];
    check_equal(with_byte(0, 1), 1);
    check_equal(with_byte(0, 0), -EBADMSG); // no such operation
    check_equal(with_byte(0, 4), -EBADMSG);
    check_equal(with_byte(0, 2), -EBADMSG);                                        // a value with DELETE
    check_equal(with_byte(0, 3), -EBADMSG);                                        // with EXPIRE
    check_equal(with_byte(1, 4), -EBADMSG);                                        // too little for the payload
    check_equal(with_byte(1, 6), -EBADMSG);                                        // too much
    check_equal(with_byte(4, 0xff), -EBADMSG);                                     // a key beyond the bound
    check_equal(with_byte(8, 0xff), -EBADMSG);                                     // a value
    check_equal(result_of(wrap(frame, 0, slice_of(SET_ALPHA + 9, 10))), -EBADMSG); // no whole head
    check_equal(result_of(wrap(frame, 4, slice_of(SET_ALPHA + 9, 38))), -EBADMSG); // unknown flags
    check_equal(result_of(wrap(frame, 3, slice_of(SET_ALPHA + 9, 38))), -EBADMSG); // both
    check_equal(result_of(wrap(frame, 1, slice_of(SET_ALPHA + 9, 38))), -EBADMSG); // not LZ4
    check_equal(result_of(wrap(frame, 1, slice_of(SET_ALPHA + 9, 3))), -EBADMSG);  // not even a size
    memcpy(frame, SET_ALPHA, sizeof SET_ALPHA);
    frame[5 + 3] = 0x41;
    check_equal(result_of(slice_of(frame, sizeof SET_ALPHA)), -EBADMSG); // a payload beyond the bound, of which nothing is awaited
}

static void a_segment_goes_on_only_with_frames(void)
{
    uint8_t bytes[sizeof SET_ALPHA * 2];
    memcpy(bytes, SET_ALPHA, sizeof SET_ALPHA);
    memcpy(bytes + sizeof SET_ALPHA, SET_ALPHA + 9, sizeof SET_ALPHA - 9);
    check_equal(result_of(slice_of(bytes, sizeof bytes - 9)), -EBADMSG);
}

static void packed_frames_are_unpacked_within_bounds(void)
{
    uint8_t value[4000], record[4100], payload[4200], frame[4300];
    memset(value, 'v', sizeof value);
    struct fcw2_record r = { FCW2_SET, 1, -1, slice_of("k", 1), slice_of(value, sizeof value) };
    uint8_t plain[4100];
    fcw2_frame_encode(&tables, &r, plain);
    size_t len = fcw2_frame_size(&r) - 13;
    memcpy(record, plain + 9, len);
    int packed = LZ4_compress_default((const char *)record, (char *)payload + 4, (int)len, (int)sizeof payload - 4);
    store_u32(payload, (uint32_t)len);
    struct slice whole = wrap(frame, FCW2_LZ4, slice_of(payload, (size_t)packed + 4));
    int result;
    bool torn;
    check_equal(read_all(whole, 100, &result, &torn, NULL), 1);
    check_equal(result, 1);
    static const uint32_t SIZES[] = { 0, 1, 28, 4029, 4031, 1u << 20, INT32_MAX, UINT32_MAX };
    for (size_t i = 0; i < sizeof SIZES / sizeof SIZES[0]; i++) {
        store_u32(payload, SIZES[i]);
        check_equal(result_of(wrap(frame, FCW2_LZ4, slice_of(payload, (size_t)packed + 4))), -EBADMSG);
    }
}

static void effects_are_passed_over(void)
{
    static const uint8_t ARGV[] = { 1, 0, 0, 0, 7, 0, 0, 0, 'F', 'L', 'U', 'S', 'H', 'D', 'B' };
    struct fcw2_effect e = { .shard = 2,
                             .sequence = 9,
                             .timestamp_ms = 42,
                             .hash = 0xbe6903b5f625ab5a,
                             .key = slice_of("alpha", 5),
                             .argv = slice_of(ARGV, sizeof ARGV) };
    uint8_t bytes[256];
    size_t len = fcw2_effect_size(&e);
    fcw2_effect_encode(&tables, &e, bytes);
    check_equal(bytes[4], FCW2_EFFECT);
    check_equal(load_u32(bytes + 5), len - 13);
    check_equal(bytes[9 + 20], 4);
    check_equal(load_u64(bytes + 9 + 21), 0xbe6903b5f625ab5a);
    check_equal(load_u64(bytes + 9 + 29), 0xbe);
    check(memcmp(bytes + 9 + 53, "alpha", 5) == 0 && memcmp(bytes + 9 + 58, ARGV, sizeof ARGV) == 0);
    memcpy(bytes + len, SET_ALPHA, sizeof SET_ALPHA);
    int result;
    bool torn;
    check_equal(read_all(slice_of(bytes, len + sizeof SET_ALPHA), 11, &result, &torn, NULL), 1);
    check_equal(result, 1);
    check_equal(result_of(slice_of(bytes, len)), 1);
}

static void the_error_of_a_source_is_passed_on(void)
{
    for (size_t good = 0; good < sizeof SET_ALPHA; good++) {
        struct pieces from = { .bytes = slice_of(SET_ALPHA, good), .piece = 5, .error = -EIO };
        struct source s;
        struct fcw2_reader r;
        struct fcw2_record record;
        source_init(&s, pieces_read, &from);
        fcw2_reader_init(&r, &s, &tables);
        check_equal(fcw2_reader_next(&r, &record), -EIO);
        fcw2_reader_deinit(&r);
        source_deinit(&s);
    }
}

// ---- snapshots

static size_t snapshot(uint8_t *to, uint64_t says)
{
    memcpy(to, "FCSNAP1", 8);
    store_u32(to + 8, 1);
    store_u64(to + 12, 1000);
    store_u64(to + 20, says);
    uint8_t *p = to + 28;
    for (uint32_t i = 0; i < 2; i++) {
        store_u32(p, 1);
        store_u32(p + 4, 3);
        store_u64(p + 8, i == 0 ? UINT64_MAX : 5000);
        memcpy(p + 16, i == 0 ? "aone" : "btwo", 4);
        p += 20;
    }
    return (size_t)(p - to);
}

static uint32_t snapshot_read(struct slice bytes, size_t piece, int *result)
{
    struct pieces from = { .bytes = bytes, .piece = piece };
    struct source s;
    struct fcw2_snapshot n;
    struct fcw2_record record;
    uint32_t count = 0;
    source_init(&s, pieces_read, &from);
    *result = fcw2_snapshot_open(&n, &s);
    while (*result == 0 && (*result = fcw2_snapshot_next(&n, &s, &record)) == 0) {
        check(record.op == FCW2_SET && record.key.len == 1 && record.value.len == 3);
        check_equal(record.deadline_ms, record.key.data[0] == 'a' ? -1 : 5000);
        count++;
    }
    source_deinit(&s);
    return count;
}

static void a_snapshot_is_read_and_each_of_its_beginnings_refused(void)
{
    uint8_t bytes[128];
    size_t len = snapshot(bytes, 2);
    int result;
    for (size_t piece = 1; piece <= len; piece++) {
        check_equal(snapshot_read(slice_of(bytes, len), piece, &result), 2);
        check_equal(result, 1);
    }
    for (size_t cut = 0; cut < len; cut++) {
        snapshot_read(slice_of(bytes, cut), 9, &result);
        check_equal(result, -EBADMSG);
    }
}

static void a_snapshot_that_does_not_add_up_is_refused(void)
{
    uint8_t bytes[128];
    int result;
    size_t len = snapshot(bytes, 3);
    snapshot_read(slice_of(bytes, len), 9, &result);
    check_equal(result, -EBADMSG); // fewer entries than it says
    len = snapshot(bytes, 1);
    check_equal(snapshot_read(slice_of(bytes, len), 9, &result), 1);
    check_equal(result, -EBADMSG);                           // more
    static const size_t BAD[] = { 0, 7, 8, 28 + 3, 28 + 7 }; // magic twice, version, lengths
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        len = snapshot(bytes, 2);
        bytes[BAD[i]] = 0x7f;
        snapshot_read(slice_of(bytes, len), 9, &result);
        check_equal(result, -EBADMSG);
    }
}

static void names_say_what_a_file_is(void)
{
    uint64_t number;
    bool packed;
    check(fcw2_segment_name("segment-00000000000000000012-1700000000000.wal", &number) && number == 12);
    check(fcw2_segment_name("segment-00000000000000000013-1700000000000.wal.lz4", &number) && number == 13);
    check(!fcw2_segment_name("segment-00000000000000000013-1700000000000.walx", &number));
    check(!fcw2_segment_name("segment-00000000000000000013.wal", &number));
    check(!fcw2_segment_name("segment--1.wal", &number));
    check(!fcw2_segment_name("segment-99999999999999999999-1.wal", &number));
    check(fcw2_snapshot_name("snapshot-1700000000000.bin", &number, &packed) && number == 1700000000000 && !packed);
    check(fcw2_snapshot_name("snapshot-1.bin.lz4", &number, &packed) && packed);
    check(!fcw2_snapshot_name("snapshot-1.bin.gz", &number, &packed));
    check(!fcw2_snapshot_name("snapshot-.bin", &number, &packed));
}

int main(int argc, char **argv)
{
    static const struct test tests[] = {
        TEST(the_vectors_of_the_specification_are_what_is_written),
        TEST(what_was_written_is_read_back_whatever_the_pieces),
        TEST(every_beginning_of_a_segment_is_torn_or_clean_and_never_wrong),
        TEST(every_flipped_bit_of_a_frame_is_noticed),
        TEST(bare_records_are_read_too),
        TEST(every_condition_of_a_record_is_checked_behind_its_sums),
        TEST(a_segment_goes_on_only_with_frames),
        TEST(packed_frames_are_unpacked_within_bounds),
        TEST(effects_are_passed_over),
        TEST(the_error_of_a_source_is_passed_on),
        TEST(a_snapshot_is_read_and_each_of_its_beginnings_refused),
        TEST(a_snapshot_that_does_not_add_up_is_refused),
        TEST(names_say_what_a_file_is),
    };
    crc32_init(&tables);
    return test_main(tests, (int)(sizeof tests / sizeof tests[0]), argc, argv);
}
