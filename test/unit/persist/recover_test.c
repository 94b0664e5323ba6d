// SPDX-License-Identifier: Apache-2.0
// What is whole, and what a crash alone leaves behind (R1, R2): never a reason to refuse.
#include "test/unit/persist/recovering.h"

// ---- what is whole

static void a_new_directory_is_empty(void)
{
    begin(4);
    sim_disk_remove(l.disk, "MANIFEST.b");
    options.shards = 4;
    says(RECOVER_EMPTY, "", "");
    check_equal(got.origin.shards, 4);
    check_equal(got.manifest.generation, 0);
    options.shards = 0;
    end();
}

static void a_first_start_that_was_cut_is_an_empty_directory(void)
{
    begin(4);
    sim_disk_flip(l.disk, "MANIFEST.b", 20, 1);
    says(RECOVER_EMPTY, "", "");
    warned("first start did not finish");
    end();
}

static void a_manifest_without_a_log_is_clean(void)
{
    begin(4);
    says(RECOVER_CLEAN, "R1", "");
    check_equal(got.origin.lsn, 0);
    check_equal(got.origin.last_segment, 0);
    lay_ahead(&l, 1);
    lay_ahead(&l, 2);
    says(RECOVER_CLEAN, "R1", "");
    check_equal(got.origin.lsn, 0);
    end();
}

static void records_come_in_order_and_the_origin_is_behind_the_last_one(void)
{
    begin(4);
    lay_segment(&l);
    lay_set(&l, 1, "a", "1");
    lay_set(&l, 3, "b", "2");
    lay_frame(&l);
    lay_set(&l, 1, "c", "3");
    lay_frame(&l);
    says(RECOVER_CLEAN, "R1", "a b c");
    check_equal(got.report.lsn, 2);
    check_equal(got.report.frames, 2);
    check_equal(got.report.units, 2);
    check_equal(got.report.records, 3);
    check_equal(got.report.warnings, 0);
    check_equal(got.origin.lsn, 2);
    check_equal(got.origin.last_crc, l.crc);
    check_equal(got.origin.last_segment, 1);
    check_equal(got.origin.segment_size, LAY_SEGMENT);
    check(uuid_equal(&got.origin.store, &l.manifest.store) && uuid_equal(&got.origin.history, &l.manifest.history));
    check_equal(got.manifest.generation, 1);
    check_equal(got.sequences[1], 2);
    check_equal(got.sequences[3], 1);
    check_equal(got.sequences[0], 0);
    end();
}

static void segments_follow_each_other(void)
{
    begin(1);
    for (int i = 0; i < 3; i++) {
        lay_segment(&l);
        lay_keys(&l, 3, 1);
    }
    lay_ahead(&l, 4);
    lay_ahead(&l, 5);
    says(RECOVER_CLEAN, "R1", "1 2 3 4 5 6 7 8 9");
    check_equal(got.origin.last_segment, 3);
    end();
}

static void a_segment_may_be_full_to_its_last_block(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 14, 0);
    check_equal(l.offset, LAY_SEGMENT - BLOCK_SIZE);
    says(RECOVER_CLEAN, "R1", "1 2 3 4 5 6 7 8 9 10 11 12 13 14");
    lay_segment(&l);
    lay_keys(&l, 1, 0);
    says(RECOVER_CLEAN, "R1", "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15");
    end();
}

static void a_segment_without_frames_may_be_followed_by_another(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 2, 0);
    lay_segment(&l);
    lay_segment(&l);
    lay_keys(&l, 1, 0);
    says(RECOVER_CLEAN, "R1", "1 2 3");
    end();
}

static void frames_of_many_blocks_are_read_across_the_window(void)
{
    static char value[900000];
    begin(1);
    l.segment_size = 12u << 20;
    lay_segment(&l);
    memset(value, 'x', sizeof value - 1);
    for (int i = 0; i < 12; i++) {
        char key[2] = { (char)('a' + i), '\0' };
        lay_set(&l, 0, key, value);
        lay_frame(&l);
    }
    says(RECOVER_CLEAN, "R1", "a b c d e f g h i j k l");
    end();
}

static void a_seal_and_a_clean_stop_are_told(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 2, 0);
    l.durable = 2;
    lay_frame_as(&l, FRAME_SEAL);
    says(RECOVER_CLEAN, "R1", "1 2");
    text_has("sealed");
    check_equal(got.origin.lsn, 3);
    l.durable = 3;
    lay_frame_as(&l, FRAME_CLEAN_STOP);
    says(RECOVER_CLEAN, "R1", "1 2");
    text_has("clean stop");
    check_equal(got.origin.lsn, 4);
    end();
}

static void a_clean_stop_is_followed_by_the_next_start_in_a_segment_of_its_own(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 1, 0);
    lay_frame_as(&l, FRAME_CLEAN_STOP);
    lay_segment(&l);
    lay_keys(&l, 1, 0);
    says(RECOVER_CLEAN, "R1", "1 3");
    end();
}

static void files_below_the_first_segment_and_other_names_are_left_alone(void)
{
    begin(1);
    sim_disk_put(l.disk, "notes.txt", "x", 1);
    sim_disk_put(l.disk, "log-00000000000000000001.skry.old", "x", 1);
    sim_disk_put_odd(l.disk, log_name(1), -EINVAL);
    l.segment = 1;
    l.manifest.first_segment = 2;
    l.lsn = 10;
    l.next[0] = 11;
    lay_snapshot(&l, 1, 1, 10, "a");
    lay_manifest(&l);
    lay_segment(&l);
    lay_keys(&l, 2, 0);
    says(RECOVER_CLEAN, "R1", "<a> 11 12");
    check_equal(got.report.warnings, 0);
    end();
}

static void checking_alone_hands_nothing_out(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 4, 0);
    options.verify_only = true;
    says(RECOVER_CLEAN, "R1", "");
    check_equal(got.report.records, 4);
    options.verify_only = false;
    end();
}

// ---- chains

static void a_chain_is_one_unit_across_segments(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 12, 0);
    lay_chain("chain", 5, true);
    check_equal(l.segment, 2);
    lay_keys(&l, 1, 0);
    says(RECOVER_CLEAN, "R1", "1 2 3 4 5 6 7 8 9 10 11 12 chain 18");
    check_equal(got.report.units, 14);
    end();
}

static void a_chain_whose_last_part_is_missing_is_dropped_whole(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 2, 0);
    uint32_t crc = l.crc;
    lay_chain("chain", 4, false);
    says(RECOVER_CUT, "R1", "1 2");
    text_has("rest of a chain");
    check_equal(got.origin.lsn, 2);
    check_equal(got.origin.last_crc, crc);
    check_equal(got.sequences[0], 2);
    end();
}

static void a_chain_that_was_cut_by_a_start_is_not_joined_with_what_came_after(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 2, 0);
    struct lay kept = l;
    lay_chain("chain", 4, false);
    l.lsn = kept.lsn;
    l.crc = kept.crc;
    l.next[0] = kept.next[0];
    lay_segment(&l);
    lay_keys(&l, 2, 0);
    says(RECOVER_CLEAN, "R1", "1 2 3 4");
    end();
}

static void the_parts_of_a_chain_must_be_in_order(void)
{
    static const uint16_t BAD[][2] = {
        { FRAME_MIDDLE, 0 }, { FRAME_LAST, 0 }, { FRAME_FIRST, FRAME_FIRST }, { FRAME_FIRST, FRAME_SEAL }, { FRAME_FIRST, FRAME_CLEAN_STOP }
    };
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        begin(1);
        lay_segment(&l);
        lay_keys(&l, 1, 0);
        for (int k = 0; k < 2 && BAD[i][k] != 0; k++)
            lay_frame_as(&l, BAD[i][k]);
        says(RECOVER_BROKEN, "R9", "1");
        text_has("chain");
        end();
    }
}

// ---- R1, R2: a crash and nothing else

static void r1_a_torn_tail_is_cut_at_every_sector(void)
{
    for (int whole = 0; whole < 8 * 3; whole++) {
        begin(1);
        lay_segment(&l);
        lay_keys(&l, 3, 0);
        lay_set(&l, 0, "big", "0123456789");
        static uint8_t filler[9000];
        memset(filler, 7, sizeof filler);
        struct record r = { .op = RECORD_SET,
                            .sequence = l.next[0]++,
                            .deadline_ms = -1,
                            .key = slice_cstr("filler"),
                            .value = slice_of(filler, sizeof filler) };
        struct sub_batch b = { .shard = 0, .count = 1, .bytes = (uint32_t)record_size(&r), .first = r.sequence };
        uint8_t *to = buf_reserve(&l.payload, SUB_BATCH_HEAD + b.bytes);
        sub_batch_encode(&b, to);
        record_encode(&r, b.first, to + SUB_BATCH_HEAD);
        buf_advance(&l.payload, SUB_BATCH_HEAD + b.bytes);
        l.batches++;
        l.durable = 3;
        lay_frame(&l);
        check_equal(l.last_blocks, 3);
        sim_disk_zero(l.disk, log_name(1), l.last_offset + (uint64_t)whole * 512, 512 * (size_t)(24 - whole));
        // The last sectors hold the padding only, and that is zeros.
        bool intact = (uint64_t)whole * 512 >= FRAME_HEAD + 9000 + 100;
        says(intact ? RECOVER_CLEAN : whole == 0 ? RECOVER_CLEAN : RECOVER_CUT, "R1", intact ? "1 2 3 big filler" : "1 2 3");
        check_equal(got.origin.lsn, intact ? 4 : 3);
        end();
    }
}

static void r1_garbage_behind_the_last_frame_is_no_frame(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 2, 0);
    for (uint64_t at = l.offset; at < LAY_SEGMENT - BLOCK_SIZE; at++)
        if (at % 7 != 0)
            sim_disk_flip(l.disk, log_name(1), at, (uint8_t)(at * 31 | 1));
    says(RECOVER_CLEAN, "R1", "1 2");
    end();
}

static void r1_a_frame_whose_length_leaves_the_segment_is_torn(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 13, 0);
    struct frame_head h = { .payload = 9000, .lsn = 14, .epoch = l.epoch };
    struct frame_place place = { .store = &l.manifest.store, .segment = 1, .epoch = l.epoch, .offset = l.offset };
    static uint8_t frame[3 * BLOCK_SIZE];
    frame_encode(&h, &place, frame, crc32c(0, frame + FRAME_HEAD, h.payload));
    sim_disk_patch(l.disk, log_name(1), l.offset, frame, BLOCK_SIZE);
    says(RECOVER_CUT, "R1", "1 2 3 4 5 6 7 8 9 10 11 12 13");
    end();
}

static void r1_frames_of_the_files_last_life_are_no_frames(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 6, 0);
    // The same file made new: another epoch over the old bytes.
    struct segment_header h = lay_header(&l, 1);
    uint8_t block[BLOCK_SIZE];
    h.first_lsn = 1;
    h.previous_id = h.previous_lsn = 0;
    h.previous_crc = 0;
    h.epoch = 77;
    segment_encode(&h, block);
    sim_disk_patch(l.disk, log_name(1), 0, block, sizeof block);
    sim_disk_patch(l.disk, log_name(1), LAY_SEGMENT - BLOCK_SIZE, block, sizeof block);
    says(RECOVER_CLEAN, "R1", "");
    l.epoch = 77;
    l.lsn = l.crc = 0;
    l.durable = 0;
    l.next[0] = 1;
    l.offset = BLOCK_SIZE;
    lay_keys(&l, 2, 0);
    says(RECOVER_CLEAN, "R1", "1 2");
    end();
}

static void r2_frames_behind_a_hole_that_nobody_was_told_of_are_cut(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 6, 3); // frame 6 says 2 is durable
    spoil(1, block_of(4) + 10);
    says(RECOVER_CUT, "R2", "1 2 3");
    check_equal(got.origin.lsn, 3);
    text_has("LSN 3");
    end();
}

static void r2_across_segments_too(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 13, 100);
    lay_segment(&l);
    lay_keys(&l, 1, 100);
    l.durable = 11;
    lay_key(&l, "15");
    spoil(1, block_of(12) + 10);
    says(RECOVER_CUT, "R2", "1 2 3 4 5 6 7 8 9 10 11");
    check_equal(got.origin.last_segment, 1);
    end();
}

static void r2_a_segment_that_never_was_begun_in_the_middle_of_unsynced_ones(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 3, 100);
    lay_segment(&l);
    lay_keys(&l, 3, 100);
    lay_segment(&l);
    lay_keys(&l, 1, 100);
    remove_segment(2);
    l.epoch = 5;
    lay_ahead(&l, 2);
    says(RECOVER_CUT, "R2", "1 2 3");
    check_equal(got.origin.last_segment, 1);
    end();
}

static void r1_a_segment_that_was_being_begun_is_no_reason_to_refuse(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 3, 100);
    lay_segment(&l);
    spoil_headers(2);
    lay_ahead(&l, 3);
    says(RECOVER_CLEAN, "R1", "1 2 3");
    end();
}

static void r1_nor_is_the_very_first_one_if_nobody_was_told_of_what_is_in_it(void)
{
    for (int what = 0; what < 2; what++) {
        begin(1);
        lay_segment(&l);
        lay_keys(&l, 3, 100);
        lay_segment(&l);
        lay_keys(&l, 2, 100);
        if (what == 0) {
            spoil_headers(1);
        } else {
            remove_segment(1);
            l.epoch = 5;
            lay_ahead(&l, 1);
        }
        says(RECOVER_CUT, "R2", "");
        check_equal(got.origin.lsn, 0);
        check_equal(got.origin.last_segment, 0);
        end();
    }
}

static void r1_nor_is_one_header_of_it_that_is_older_than_the_other_one(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 3, 100);
    lay_ahead(&l, 2);
    uint8_t block[BLOCK_SIZE];
    struct segment_header h = lay_header(&l, 2);
    segment_encode(&h, block);
    sim_disk_patch(l.disk, log_name(2), LAY_SEGMENT - BLOCK_SIZE, block, sizeof block);
    says(RECOVER_CLEAN, "R1", "1 2 3");
    warned("older than the other");
    sim_disk_patch(l.disk, log_name(2), 0, block, sizeof block);
    lay_ahead(&l, 3);
    h.first_lsn = h.previous_id = 0;
    segment_encode(&h, block);
    sim_disk_patch(l.disk, log_name(2), LAY_SEGMENT - BLOCK_SIZE, block, sizeof block);
    says(RECOVER_CLEAN, "R1", "1 2 3");
    warned("older than the other");
    end();
}

static void r1_a_segment_that_was_being_made_new_is_no_reason_to_refuse(void)
{
    begin(1);
    l.segment = 4;
    l.manifest.first_segment = 5;
    l.lsn = 10;
    lay_snapshot(&l, 1, 1, 10, "a");
    lay_manifest(&l);
    lay_segment(&l);
    lay_keys(&l, 2, 0);
    struct segment_header old = lay_header(&l, 3);
    uint8_t block[BLOCK_SIZE];
    lay_ahead(&l, 6);
    segment_encode(&old, block);
    sim_disk_patch(l.disk, log_name(6), 0, block, sizeof block);
    sim_disk_patch(l.disk, log_name(6), LAY_SEGMENT - BLOCK_SIZE, block, sizeof block);
    says(RECOVER_CLEAN, "R1", "<a> 11 12");
    end();
}

// ---- lives after a crash

static void what_a_start_has_cut_never_comes_back(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 3, 0);
    struct lay at3 = l;
    lay_keys(&l, 3, 100); // 4 to 6: whole now, but they were not when the next start read them
    start_again(3, at3.crc, 4, 1, 2);
    lay_key(&l, "new");
    says(RECOVER_CLEAN, "R1", "1 2 3 new");
    check_equal(got.origin.last_segment, 2);
    // And after the next crash, when that start's frames are torn, no sooner.
    spoil(2, block_of(1) + 5);
    says(RECOVER_CUT, "R1", "1 2 3");
    check_equal(got.origin.last_segment, 1);
    end();
}

static void segments_that_a_start_passed_over_are_dead(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 3, 100);
    struct lay at3 = l;
    lay_keys(&l, 1, 100);
    lay_segment(&l);
    lay_keys(&l, 3, 100);
    lay_segment(&l);
    lay_keys(&l, 1, 100);
    spoil_headers(3);
    start_again(3, at3.crc, 4, 1, 5);
    l.durable = 3;
    lay_key(&l, "new");
    says(RECOVER_CLEAN, "R1", "1 2 3 new");
    end();
}

static void a_start_whose_first_header_is_torn_leaves_the_one_before(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 3, 100);
    struct lay at3 = l;
    lay_keys(&l, 1, 100);
    spoil(1, block_of(4) + 5);
    lay_segment(&l);
    lay_keys(&l, 1, 100);
    start_again(3, at3.crc, 4, 1, 3);
    spoil_headers(3);
    says(RECOVER_CUT, "R2", "1 2 3");
    check_equal(got.origin.last_segment, 1);
    end();
}

TESTS(TEST(a_new_directory_is_empty), TEST(a_first_start_that_was_cut_is_an_empty_directory), TEST(a_manifest_without_a_log_is_clean),
      TEST(records_come_in_order_and_the_origin_is_behind_the_last_one), TEST(segments_follow_each_other),
      TEST(a_segment_may_be_full_to_its_last_block), TEST(a_segment_without_frames_may_be_followed_by_another),
      TEST(frames_of_many_blocks_are_read_across_the_window), TEST(a_seal_and_a_clean_stop_are_told),
      TEST(a_clean_stop_is_followed_by_the_next_start_in_a_segment_of_its_own),
      TEST(files_below_the_first_segment_and_other_names_are_left_alone), TEST(checking_alone_hands_nothing_out),
      TEST(a_chain_is_one_unit_across_segments), TEST(a_chain_whose_last_part_is_missing_is_dropped_whole),
      TEST(a_chain_that_was_cut_by_a_start_is_not_joined_with_what_came_after), TEST(the_parts_of_a_chain_must_be_in_order),
      TEST(r1_a_torn_tail_is_cut_at_every_sector), TEST(r1_garbage_behind_the_last_frame_is_no_frame),
      TEST(r1_a_frame_whose_length_leaves_the_segment_is_torn), TEST(r1_frames_of_the_files_last_life_are_no_frames),
      TEST(r2_frames_behind_a_hole_that_nobody_was_told_of_are_cut), TEST(r2_across_segments_too),
      TEST(r2_a_segment_that_never_was_begun_in_the_middle_of_unsynced_ones),
      TEST(r1_a_segment_that_was_being_begun_is_no_reason_to_refuse),
      TEST(r1_nor_is_the_very_first_one_if_nobody_was_told_of_what_is_in_it),
      TEST(r1_nor_is_one_header_of_it_that_is_older_than_the_other_one), TEST(r1_a_segment_that_was_being_made_new_is_no_reason_to_refuse),
      TEST(what_a_start_has_cut_never_comes_back), TEST(segments_that_a_start_passed_over_are_dead),
      TEST(a_start_whose_first_header_is_torn_leaves_the_one_before))
