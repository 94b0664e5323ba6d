// SPDX-License-Identifier: Apache-2.0
// What is damaged, missing, foreign or our own fault (R3 to R10): never taken for the end.
#include "test/unit/persist/recovering.h"

// ---- R3, R4: rot

static void r3_rot_in_front_of_a_witness_is_refused_with_its_range(void)
{
    begin(4);
    lay_segment(&l);
    lay_keys(&l, 3, 0);
    lay_set(&l, 2, "4", "v");
    lay_frame(&l);
    lay_set(&l, 3, "5", "v");
    lay_frame(&l);
    l.durable = 5;
    lay_set(&l, 0, "6", "v");
    lay_set(&l, 2, "6", "v");
    lay_set(&l, 3, "6", "v");
    lay_frame(&l);
    spoil(1, block_of(4) + 60);
    says(RECOVER_ROT, "R3", "1 2 3");
    check_equal(got.report.lost_from, 4);
    check_equal(got.report.lost_to, 4);
    check_equal(got.report.offset, block_of(4));
    check(strcmp(got.report.file, log_name(1)) == 0);
    text_has(log_name(1));
    text_has("at 16384");
    text_has("LSN 4 to 4");
    text_has("shards 2.");
    text_has("salvage");
    end();
}

static void r3_the_witness_may_be_in_a_later_segment(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 13, 100);
    lay_segment(&l);
    lay_keys(&l, 1, 100);
    l.durable = 14;
    lay_frame_as(&l, FRAME_SEAL);
    spoil(1, block_of(12) + 10);
    says(RECOVER_ROT, "R3", "1 2 3 4 5 6 7 8 9 10 11");
    check_equal(got.report.lost_from, 12);
    check_equal(got.report.lost_to, 12);
    text_has(log_name(2));
    end();
}

static void r3_many_shards_are_named_as_far_as_there_is_room(void)
{
    begin(64);
    lay_segment(&l);
    lay_keys(&l, 1, 0);
    for (uint32_t i = 0; i < 40; i++)
        lay_set(&l, i, "x", "v");
    lay_frame(&l);
    l.durable = 2;
    for (uint32_t i = 0; i < 40; i++) {
        lay_set(&l, i, "y", "v");
        lay_set(&l, i, "z", "v");
    }
    lay_frame(&l);
    spoil(1, block_of(2));
    says(RECOVER_ROT, "R3", "1");
    text_has("shards 0, 1, 2");
    text_has("and perhaps others");
    end();
}

static void r3_the_rest_of_a_chain_names_no_shards(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 1, 0);
    lay_chain("chain", 3, true);
    l.durable = 4;
    lay_frame_as(&l, FRAME_SEAL);
    spoil(1, block_of(2) + 100);
    says(RECOVER_ROT, "R3", "1");
    check_equal(got.report.lost_from, 2);
    check_equal(got.report.lost_to, 2);
    check(strstr(got.report.text, "shards") == NULL);
    end();
}

static void r3_records_of_a_shard_that_there_is_not_name_none(void)
{
    begin(4);
    lay_segment(&l);
    lay_keys(&l, 2, 0);
    l.durable = 2;
    lay_set(&l, 9, "x", "v");
    lay_frame(&l);
    spoil(1, block_of(2));
    says(RECOVER_ROT, "R3", "1");
    check(strstr(got.report.text, "shards") == NULL);
    end();
}

static void r4_a_lost_tail_is_refused_when_the_manifest_knows_of_it(void)
{
    begin(1);
    l.manifest.witness = 3;
    lay_manifest(&l);
    lay_segment(&l);
    lay_keys(&l, 4, 100);
    says(RECOVER_CLEAN, "R1", "1 2 3 4");
    sim_disk_zero(l.disk, log_name(1), block_of(3), 2 * BLOCK_SIZE);
    says(RECOVER_ROT, "R4", "1 2");
    check_equal(got.report.lost_from, 3);
    check_equal(got.report.lost_to, 3);
    text_has("MANIFEST.a says so");
    end();
}

static void r4_a_log_that_is_gone_is_refused_when_the_manifest_knows_of_it(void)
{
    begin(1);
    l.manifest.witness = 7;
    lay_manifest(&l);
    says(RECOVER_ROT, "R4", "");
    check_equal(got.report.lost_from, 1);
    check_equal(got.report.lost_to, 7);
    text_has("the log");
    end();
}

static void r4_the_last_sealed_frame_is_missed(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 3, 100);
    l.durable = 3;
    lay_frame_as(&l, FRAME_SEAL);
    spoil(1, block_of(3));
    says(RECOVER_ROT, "R3", "1 2");
    end();
}

static void r4_a_truncated_file_is_missed(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 6, 0);
    l.manifest.witness = 5;
    lay_manifest(&l);
    sim_disk_resize(l.disk, log_name(1), block_of(4) + 100);
    says(RECOVER_ROT, "R4", "1 2 3");
    warned("R6");
    end();
}

// ---- R5: the disk does not give it

static void r5_a_read_that_fails_once_is_done_again_by_blocks(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 5, 0);
    sim_disk_fail(l.disk, DISK_FAIL_READ, 5, false); // both manifests, both headers, then the frames
    says(RECOVER_CLEAN, "R1", "1 2 3 4 5");
    end();
}

static void r5_an_unreadable_block_is_never_the_end(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 5, 100);
    sim_disk_bad_sector(l.disk, log_name(1), block_of(4) + 512);
    says(RECOVER_IO, "R5", "1 2 3");
    text_has("may have been acknowledged");
    check_equal(got.report.lost_from, 4);
    end();
}

static void r5_nor_is_one_in_the_middle_of_a_frame(void)
{
    static char value[9000];
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 2, 100);
    memset(value, 'x', sizeof value - 1);
    lay_set(&l, 0, "big", value);
    lay_frame(&l);
    sim_disk_bad_sector(l.disk, log_name(1), block_of(4));
    says(RECOVER_IO, "R5", "1 2");
    end();
}

static void r5_with_a_witness_it_is_rot(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 5, 0);
    sim_disk_bad_sector(l.disk, log_name(1), block_of(2));
    says(RECOVER_ROT, "R3", "1");
    text_has("cannot read");
    end();
}

static void r5_behind_the_end_it_does_not_matter(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 5, 0);
    sim_disk_bad_sector(l.disk, log_name(1), block_of(9));
    says(RECOVER_CLEAN, "R1", "1 2 3 4 5");
    end();
}

static void r5_unreadable_blocks_stay_unreadable_when_the_window_moves(void)
{
    static char value[700000];
    begin(1);
    l.segment_size = 12u << 20;
    lay_segment(&l);
    memset(value, 'x', sizeof value - 1);
    for (int i = 0; i < 6; i++) {
        char key[2] = { (char)('a' + i), '\0' };
        lay_set(&l, 0, key, value);
        lay_frame(&l);
    }
    // The sixth frame (171 blocks each) is cut by the window's end at 4 MiB; its beginning cannot be read.
    check(l.last_offset < (4u << 20) + BLOCK_SIZE && l.last_offset + 171 * BLOCK_SIZE > (4u << 20));
    sim_disk_bad_sector(l.disk, log_name(1), l.last_offset + 2 * BLOCK_SIZE);
    says(RECOVER_IO, "R5", "a b c d e");
    end();
}

static void r5_a_manifest_that_cannot_be_read_leaves_the_other_one(void)
{
    begin(1);
    lay_manifest(&l);
    lay_segment(&l);
    lay_keys(&l, 1, 0);
    sim_disk_bad_sector(l.disk, "MANIFEST.a", 0);
    says(RECOVER_CLEAN, "R1", "1");
    warned("MANIFEST.a cannot be read");
    check_equal(got.manifest.generation, 1);
    sim_disk_heal(l.disk);
    sim_disk_put_odd(l.disk, "MANIFEST.a", -ELOOP);
    says(RECOVER_CLEAN, "R1", "1");
    warned("MANIFEST.a cannot be opened");
    end();
}

static void r5_what_cannot_be_opened_or_synced_is_refused(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 1, 0);
    lay_segment(&l);
    lay_keys(&l, 1, 0);
    for (uint64_t nth = 1; nth <= 3; nth++) { // a manifest and two segments
        sim_disk_fail(l.disk, DISK_FAIL_SYNC, nth, false);
        says(RECOVER_IO, "R5", "");
        text_has("synced");
    }
    lay_manifest(&l);
    sim_disk_fail(l.disk, DISK_FAIL_SYNC, 1, true);
    says(RECOVER_IO, "R5", "");
    options.salvage = true;
    run();
    options.salvage = false;
    check_equal(got.report.verdict, RECOVER_ROT);
    sim_disk_heal(l.disk);
    sim_disk_fail(l.disk, DISK_FAIL_NAMES, 1, false);
    says(RECOVER_IO, "R5", "");
    text_has("directory");
    for (uint64_t nth = 3; nth <= 6; nth++) { // behind both manifests: both headers, then both for their frames
        opens = 0;
        open_fails_at = nth;
        says(RECOVER_IO, "R5", nth == 6 ? "1" : "");
        text_has("cannot be opened");
    }
    open_fails_at = 0;
    end();
}

static void a_directory_that_cannot_be_listed_is_an_error(void)
{
    begin(1);
    list_fails = -EIO;
    run();
    check_equal(got.rc, -EIO);
    end();
}

// ---- R6, R7: headers

static void r6_one_bad_header_is_enough_to_go_on_with_a_warning(void)
{
    for (int which = 0; which < 2; which++) {
        begin(1);
        lay_segment(&l);
        lay_keys(&l, 3, 0);
        lay_segment(&l);
        lay_keys(&l, 3, 0);
        for (uint64_t id = 1; id <= 2; id++)
            spoil(id, which == 0 ? 50 : LAY_SEGMENT - BLOCK_SIZE + 50);
        says(RECOVER_CLEAN, "R1", "1 2 3 4 5 6");
        warned("R6");
        check_equal(got.report.warnings, 2);
        end();
    }
}

static void r6_a_header_that_cannot_be_read_is_a_bad_one(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 3, 0);
    sim_disk_bad_sector(l.disk, log_name(1), 0);
    says(RECOVER_CLEAN, "R1", "1 2 3");
    warned("R6");
    sim_disk_heal(l.disk);
    sim_disk_bad_sector(l.disk, log_name(1), LAY_SEGMENT - BLOCK_SIZE);
    says(RECOVER_CLEAN, "R1", "1 2 3");
    warned("R6");
    end();
}

static void r6_the_second_header_is_found_by_the_manifests_size_when_the_file_is_longer(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 3, 0);
    spoil(1, 50);
    sim_disk_resize(l.disk, log_name(1), LAY_SEGMENT + 3 * BLOCK_SIZE + 5);
    says(RECOVER_CLEAN, "R1", "1 2 3");
    end();
}

static void r6_a_second_header_counts_only_where_it_says_it_lies(void)
{
    static uint8_t block[BLOCK_SIZE];
    begin(1);
    l.segment_size = 2 * LAY_SEGMENT; // not the manifest's
    lay_segment(&l);
    lay_keys(&l, 3, 0);
    spoil(1, 50);
    says(RECOVER_CLEAN, "R1", "1 2 3");
    warned("R6");
    end();
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 3, 100);
    spoil(1, 50);
    sim_disk_peek(l.disk, log_name(1), LAY_SEGMENT - BLOCK_SIZE, block, sizeof block);
    sim_disk_resize(l.disk, log_name(1), 2 * LAY_SEGMENT);
    sim_disk_patch(l.disk, log_name(1), 2 * LAY_SEGMENT - BLOCK_SIZE, block, sizeof block);
    sim_disk_zero(l.disk, log_name(1), LAY_SEGMENT - BLOCK_SIZE, BLOCK_SIZE);
    says(RECOVER_CUT, "R2", ""); // nobody was told of what is in it
    end();
}

static void r7_bad_headers_in_the_middle_are_rot(void)
{
    begin(1);
    for (int i = 0; i < 3; i++) {
        lay_segment(&l);
        lay_keys(&l, 3, 0);
    }
    spoil_headers(2);
    says(RECOVER_ROT, "R7", "1 2 3");
    check_equal(got.report.lost_from, 4);
    text_has("both headers");
    check(strcmp(got.report.file, log_name(2)) == 0);
    end();
}

static void r7_bad_headers_of_the_newest_are_rot_when_its_frames_say_so(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 3, 0);
    lay_segment(&l);
    lay_keys(&l, 3, 0);
    spoil_headers(2);
    says(RECOVER_ROT, "R7", "1 2 3");
    check_equal(got.report.lost_from, 4);
    check_equal(got.report.lost_to, 5);
    end();
}

static void r7_and_a_torn_beginning_when_they_do_not(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 3, 100);
    lay_segment(&l);
    lay_keys(&l, 3, 100);
    spoil_headers(2);
    says(RECOVER_CUT, "R2", "1 2 3");
    sim_disk_resize(l.disk, log_name(2), 100);
    says(RECOVER_CLEAN, "R1", "1 2 3");
    end();
}

static void r7_headers_that_contradict_each_other_are_both_bad(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 3, 0);
    struct segment_header h = lay_header(&l, 1);
    uint8_t block[BLOCK_SIZE];
    h.first_lsn = 2;
    segment_encode(&h, block);
    l.manifest.witness = 2;
    lay_manifest(&l);
    sim_disk_patch(l.disk, log_name(1), LAY_SEGMENT - BLOCK_SIZE, block, sizeof block);
    says(RECOVER_ROT, "R7", "");
    end();
}

// ---- R8: what does not belong together

static void r8_another_stores_file_is_refused(void)
{
    for (int what = 0; what < 3; what++) {
        begin(4);
        lay_segment(&l);
        lay_keys(&l, 1, 0);
        struct segment_header h = lay_header(&l, 2);
        if (what == 0)
            h.store.bytes[3] ^= 1;
        else if (what == 1)
            h.history.bytes[3] ^= 1;
        else
            h.shards = 8;
        lay_segment_as(&l, &h);
        says(RECOVER_FOREIGN, "R8", "");
        text_has(what == 0 ? "another store" : what == 1 ? "another history" : "number of shards");
        text_has(log_name(2));
        end();
    }
}

static void r8_a_missing_segment_is_refused_whatever_was_acknowledged(void)
{
    for (uint64_t behind = 0; behind < 200; behind += 100) {
        begin(1);
        for (int i = 0; i < 4; i++) {
            lay_segment(&l);
            lay_keys(&l, 3, behind);
        }
        remove_segment(2);
        says(RECOVER_FOREIGN, "R8", "1 2 3");
        check(strcmp(got.report.file, log_name(2)) == 0);
        text_has("missing");
        end();
    }
}

static void r8_the_first_segment_is_missed(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 3, 0);
    lay_segment(&l);
    lay_keys(&l, 3, 0);
    remove_segment(1);
    says(RECOVER_ROT, "R8", "");
    text_has("begins with LSN 4");
    end();
}

static void r7_the_first_segments_bad_headers_are_rot_when_a_later_one_says_so(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 3, 0);
    lay_segment(&l);
    lay_keys(&l, 3, 0);
    spoil_headers(1);
    says(RECOVER_ROT, "R7", "");
    check_equal(got.report.lost_from, 1);
    check(strcmp(got.report.file, log_name(1)) == 0);
    end();
}

static void r8_a_copy_of_another_segment_is_refused(void)
{
    static uint8_t bytes[LAY_SEGMENT];
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 3, 0);
    sim_disk_peek(l.disk, log_name(1), 0, bytes, sizeof bytes);
    lay_segment(&l);
    lay_keys(&l, 3, 0);
    sim_disk_put(l.disk, log_name(3), bytes, sizeof bytes);
    says(RECOVER_FOREIGN, "R8", "");
    text_has("copy");
    end();
}

static void r8_what_is_no_file_is_refused(void)
{
    for (int i = 0; i < 2; i++) {
        begin(1);
        lay_segment(&l);
        sim_disk_put_odd(l.disk, log_name(2), i == 0 ? -EINVAL : -ELOOP);
        says(RECOVER_FOREIGN, "R8", "");
        text_has("not a regular file");
        end();
    }
}

static void r8_a_segment_that_follows_another_frame_is_refused(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 3, 0);
    l.crc ^= 1;
    lay_segment(&l);
    lay_keys(&l, 3, 0);
    says(RECOVER_FOREIGN, "R8", "1 2 3");
    text_has("another time");
    end();
}

static void r8_another_number_of_shards_is_refused(void)
{
    begin(4);
    options.shards = 8;
    says(RECOVER_FOREIGN, "R8", "");
    text_has("4 shards");
    options.shards = 4;
    says(RECOVER_CLEAN, "R1", "");
    options.shards = 0;
    end();
}

static void files_without_a_manifest_are_refused(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 3, 0);
    sim_disk_remove(l.disk, "MANIFEST.b");
    says(RECOVER_ROT, "R3", "");
    text_has("neither is there");
    sim_disk_put(l.disk, "MANIFEST.a", "x", 1);
    says(RECOVER_ROT, "R3", "");
    text_has("magic");
    end();
    begin(1);
    lay_snapshot(&l, 1, 1, 0, "a");
    sim_disk_remove(l.disk, "MANIFEST.b");
    says(RECOVER_ROT, "R3", "");
    end();
}

// ---- R9, R10: frames that are whole and wrong

static void r9_records_that_do_not_parse_are_refused(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 2, 0);
    lay_set(&l, 0, "x", "v");
    l.payload.data[SUB_BATCH_HEAD + 4] = 99; // op
    lay_frame(&l);
    says(RECOVER_BROKEN, "R9", "1 2");
    text_has("record does not parse");
    text_has("keep a copy");
    check_equal(got.report.offset, block_of(3));
    end();
}

static void r9_batches_that_do_not_parse_are_refused(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 2, 0);
    lay_bytes(&l, "short", 5);
    lay_frame(&l);
    says(RECOVER_BROKEN, "R9", "1 2");
    text_has("batch does not parse");
    end();
}

static void r9_another_number_of_batches_is_refused(void)
{
    begin(1);
    lay_segment(&l);
    lay_set(&l, 0, "a", "v");
    l.batches = 2;
    lay_frame(&l);
    says(RECOVER_BROKEN, "R9", "");
    text_has("number of batches");
    end();
}

static void r9_a_shard_that_there_is_not_is_refused(void)
{
    begin(4);
    lay_segment(&l);
    lay_set(&l, 4, "a", "v");
    lay_frame(&l);
    says(RECOVER_BROKEN, "R9", "");
    text_has("shard");
    end();
}

static void r9_a_gap_in_a_shards_sequences_is_refused(void)
{
    for (int first = 0; first < 2; first++) {
        begin(4);
        lay_segment(&l);
        lay_set(&l, 1, "a", "v");
        lay_frame(&l);
        l.next[first == 0 ? 1 : 2] = 3;
        lay_set(&l, first == 0 ? 1 : 2, "b", "v");
        lay_frame(&l);
        says(RECOVER_BROKEN, "R9", "a");
        text_has("sequences");
        end();
    }
}

static void r9_sequences_that_go_back_are_refused(void)
{
    begin(4);
    lay_segment(&l);
    lay_key(&l, "a");
    lay_key(&l, "b");
    l.next[0] = 2;
    lay_key(&l, "c");
    says(RECOVER_BROKEN, "R9", "a b");
    end();
}

static void r9_another_lsn_than_the_next_is_refused(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 2, 0);
    l.lsn++;
    lay_keys(&l, 1, 0);
    says(RECOVER_BROKEN, "R9", "1 2");
    text_has("another LSN");
    end();
}

static void r9_a_frame_that_follows_another_one_is_refused(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 2, 0);
    l.crc ^= 1;
    lay_keys(&l, 1, 0);
    says(RECOVER_BROKEN, "R9", "1 2");
    text_has("follows another frame");
    end();
}

static void r9_headers_that_say_what_cannot_be_are_refused(void)
{
    for (int what = 0; what < 3; what++) {
        begin(1);
        lay_segment(&l);
        lay_keys(&l, 3, 0);
        lay_segment(&l);
        lay_keys(&l, 3, 0);
        struct segment_header h = lay_header(&l, 3);
        if (what == 0)
            h.previous_id = 3;
        else if (what == 1)
            h.previous_lsn = 4;
        else
            h.previous_lsn = 1, h.first_lsn = 2;
        lay_segment_as(&l, &h);
        says(RECOVER_BROKEN, "R9", "");
        text_has("cannot be");
        end();
    }
}

static void r10_a_frame_behind_a_clean_stop_is_refused(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 1, 0);
    lay_frame_as(&l, FRAME_CLEAN_STOP);
    lay_keys(&l, 1, 0);
    says(RECOVER_BROKEN, "R10", "1");
    text_has("clean stop");
    end();
}

static void r10_behind_a_hole_too(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 1, 100);
    lay_frame_as(&l, FRAME_CLEAN_STOP);
    lay_keys(&l, 2, 100);
    spoil(1, block_of(3));
    says(RECOVER_BROKEN, "R10", "1");
    text_has("LSN 4 lies behind the clean stop");
    end();
}

// ---- what else may stand between

static void dead_segments_and_cut_frames_are_no_witnesses(void)
{
    for (int what = 0; what < 2; what++) {
        begin(1);
        lay_segment(&l);
        lay_keys(&l, 3, 100);
        struct lay at3 = l;
        l.durable = 3;
        lay_key(&l, "4"); // beyond what the next start took
        lay_segment(&l);
        l.durable = 4;
        lay_key(&l, "5");
        l.durable = 2;
        start_again(3, at3.crc, 4, 1, 3);
        lay_key(&l, "new");
        if (what == 0)
            spoil(1, block_of(3));
        else
            sim_disk_zero(l.disk, log_name(1), block_of(3), BLOCK_SIZE);
        says(RECOVER_CUT, "R2", "1 2");
        end();
    }
}

static void frames_behind_a_hole_that_are_older_are_no_witnesses(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 4, 100);
    l.lsn = 1;
    lay_key(&l, "old");
    spoil(1, block_of(4) + 100);
    says(RECOVER_CUT, "R1", "1 2 3");
    end();
}

static void whatever_cannot_be_opened_nothing_is_taken_for_whole(void)
{
    for (int salvages = 0; salvages < 2; salvages++) {
        uint64_t nth = 0;
        begin(1);
        lay_manifest(&l);
        for (int i = 0; i < 4; i++) {
            lay_segment(&l);
            lay_keys(&l, 3, 0);
        }
        spoil(2, block_of(2));
        options.salvage = salvages == 1;
        for (bool used = true; used; nth++) {
            opens = 0;
            open_fails_at = nth + 1;
            run();
            used = opens >= open_fails_at;
            check_equal(got.rc, 1);
            check(got.report.verdict != RECOVER_CLEAN && got.report.verdict != RECOVER_CUT && got.report.verdict != RECOVER_EMPTY);
        }
        check(nth > 8);
        options.salvage = false;
        end();
    }
}

static void whatever_reads_fail_from_then_on_nothing_is_taken_for_the_end(void)
{
    bool failed = true;
    for (uint64_t nth = 1; failed; nth++) {
        begin(1);
        lay_manifest(&l);
        for (int i = 0; i < 4; i++) {
            lay_segment(&l);
            lay_keys(&l, 3, 0);
        }
        read_fails_from = nth;
        run();
        failed = reads >= nth;
        check_equal(got.rc, 1);
        check(failed == (got.report.verdict != RECOVER_CLEAN));
        check(failed || strcmp(got.keys, "1 2 3 4 5 6 7 8 9 10 11 12") == 0);
        end();
    }
}

static void a_device_with_larger_blocks_is_read_buffered(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 5, 0);
    lay_segment(&l);
    lay_keys(&l, 5, 0);
    l.disk->disk.align = 4 * BLOCK_SIZE;
    says(RECOVER_CLEAN, "R1", "1 2 3 4 5 6 7 8 9 10");
    end();
}

// Between its two openings.
static void a_file_that_shrinks_meanwhile_has_lost_what_is_not_there(void)
{
    static char value[9000];
    for (int blocks = 3; blocks < 8; blocks++) {
        begin(1);
        lay_segment(&l);
        lay_keys(&l, 2, 0);
        memset(value, 'x', sizeof value - 1);
        lay_set(&l, 0, "big", value);
        lay_frame(&l);
        shrink_at = 4; // both manifests, the headers, the frames
        shrink_to = block_of((uint64_t)blocks);
        says(blocks < 6 && blocks > 3 ? RECOVER_CUT : RECOVER_CLEAN, "R1", blocks < 6 ? "1 2" : "1 2 big");
        end();
    }
}

TESTS(TEST(r3_rot_in_front_of_a_witness_is_refused_with_its_range), TEST(r3_the_witness_may_be_in_a_later_segment),
      TEST(r3_many_shards_are_named_as_far_as_there_is_room), TEST(r3_the_rest_of_a_chain_names_no_shards),
      TEST(r3_records_of_a_shard_that_there_is_not_name_none), TEST(r4_a_lost_tail_is_refused_when_the_manifest_knows_of_it),
      TEST(r4_a_log_that_is_gone_is_refused_when_the_manifest_knows_of_it), TEST(r4_the_last_sealed_frame_is_missed),
      TEST(r4_a_truncated_file_is_missed), TEST(r5_a_read_that_fails_once_is_done_again_by_blocks),
      TEST(r5_an_unreadable_block_is_never_the_end), TEST(r5_nor_is_one_in_the_middle_of_a_frame), TEST(r5_with_a_witness_it_is_rot),
      TEST(r5_behind_the_end_it_does_not_matter), TEST(r5_unreadable_blocks_stay_unreadable_when_the_window_moves),
      TEST(r5_a_manifest_that_cannot_be_read_leaves_the_other_one), TEST(r5_what_cannot_be_opened_or_synced_is_refused),
      TEST(a_directory_that_cannot_be_listed_is_an_error), TEST(r6_one_bad_header_is_enough_to_go_on_with_a_warning),
      TEST(r6_a_header_that_cannot_be_read_is_a_bad_one), TEST(r6_the_second_header_is_found_by_the_manifests_size_when_the_file_is_longer),
      TEST(r6_a_second_header_counts_only_where_it_says_it_lies), TEST(r7_bad_headers_in_the_middle_are_rot),
      TEST(r7_bad_headers_of_the_newest_are_rot_when_its_frames_say_so), TEST(r7_and_a_torn_beginning_when_they_do_not),
      TEST(r7_headers_that_contradict_each_other_are_both_bad), TEST(r8_another_stores_file_is_refused),
      TEST(r8_a_missing_segment_is_refused_whatever_was_acknowledged), TEST(r8_the_first_segment_is_missed),
      TEST(r7_the_first_segments_bad_headers_are_rot_when_a_later_one_says_so), TEST(r8_a_copy_of_another_segment_is_refused),
      TEST(r8_what_is_no_file_is_refused), TEST(r8_a_segment_that_follows_another_frame_is_refused),
      TEST(r8_another_number_of_shards_is_refused), TEST(files_without_a_manifest_are_refused),
      TEST(r9_records_that_do_not_parse_are_refused), TEST(r9_batches_that_do_not_parse_are_refused),
      TEST(r9_another_number_of_batches_is_refused), TEST(r9_a_shard_that_there_is_not_is_refused),
      TEST(r9_a_gap_in_a_shards_sequences_is_refused), TEST(r9_sequences_that_go_back_are_refused),
      TEST(r9_another_lsn_than_the_next_is_refused), TEST(r9_a_frame_that_follows_another_one_is_refused),
      TEST(r9_headers_that_say_what_cannot_be_are_refused), TEST(r10_a_frame_behind_a_clean_stop_is_refused), TEST(r10_behind_a_hole_too),
      TEST(dead_segments_and_cut_frames_are_no_witnesses), TEST(frames_behind_a_hole_that_are_older_are_no_witnesses),
      TEST(whatever_cannot_be_opened_nothing_is_taken_for_whole), TEST(whatever_reads_fail_from_then_on_nothing_is_taken_for_the_end),
      TEST(a_device_with_larger_blocks_is_read_buffered), TEST(a_file_that_shrinks_meanwhile_has_lost_what_is_not_there))
