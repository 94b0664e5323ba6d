// SPDX-License-Identifier: Apache-2.0
// Snapshots, salvage, and memory that is not to be had.
#include "test/unit/persist/recovering.h"

// ---- snapshots

static void a_snapshot_comes_first_and_the_records_behind_it_after(void)
{
    begin(4);
    lay_segment(&l);
    lay_keys(&l, 3, 0);
    lay_snapshot(&l, 1, 3, 2, "abcdef");
    lay_manifest(&l);
    lay_set(&l, 0, "x", "v");
    lay_set(&l, 3, "y", "v");
    lay_frame(&l);
    says(RECOVER_CLEAN, "R1", "<c> <f> <a> <d> <b> <e> x y");
    check_equal(got.report.entries, 6);
    check_equal(got.sequences[0], 4);
    check_equal(got.sequences[3], 1);
    check_equal(got.report.units, 2);
    end();
}

static void a_snapshot_alone_is_a_store(void)
{
    begin(2);
    l.next[0] = 8;
    l.manifest.flags = 0;
    lay_snapshot(&l, 1, 1, 0, "abc");
    lay_manifest(&l);
    says(RECOVER_CLEAN, "R1", "<a> <b> <c>");
    check_equal(got.sequences[0], 7);
    check_equal(got.sequences[1], 0);
    end();
}

static const char *snapshot_file(uint64_t set, uint32_t file)
{
    static char name[SNAPSHOT_NAME_MAX];
    snapshot_name(set, file, name);
    return name;
}

static void lay_two_snapshots(void)
{
    begin(2);
    lay_segment(&l);
    lay_keys(&l, 2, 0);
    lay_snapshot(&l, 1, 1, 2, "ab");
    lay_keys(&l, 2, 0);
    lay_snapshot(&l, 2, 1, 4, "cde");
    lay_manifest(&l);
    lay_keys(&l, 1, 0);
}

static void a_snapshot_that_is_damaged_at_its_ends_is_passed_over(void)
{
    lay_two_snapshots();
    says(RECOVER_CLEAN, "R1", "<c> <d> <e> 5");
    sim_disk_flip(l.disk, snapshot_file(2, 0), 60, 1);
    says(RECOVER_CLEAN, "R1", "<a> <b> 3 4 5");
    warned("snapshot-00000000000000000002-0.skry");
    sim_disk_remove(l.disk, snapshot_file(2, 0));
    says(RECOVER_CLEAN, "R1", "<a> <b> 3 4 5");
    warned("not there");
    end();
}

static void a_snapshot_whose_damage_shows_late_is_taken_back(void)
{
    lay_two_snapshots();
    sim_disk_flip(l.disk, snapshot_file(2, 0), block_of(2) + 30, 1);
    says(RECOVER_CLEAN, "R1", "<c> | <a> <b> 3 4 5");
    check_equal(got.report.entries, 2);
    sim_disk_bad_sector(l.disk, snapshot_file(2, 0), block_of(1));
    says(RECOVER_CLEAN, "R1", "<a> <b> 3 4 5");
    warned("cannot be read");
    end();
}

static void without_any_good_snapshot_a_whole_log_will_do(void)
{
    lay_two_snapshots();
    sim_disk_flip(l.disk, snapshot_file(1, 0), 60, 1);
    sim_disk_flip(l.disk, snapshot_file(2, 0), block_of(2) + 30, 1);
    says(RECOVER_CLEAN, "R1", "<c> | 1 2 3 4 5");
    warned("goes back to the beginning");
    check_equal(got.sequences[0], 5);
    end();
}

static void without_any_good_snapshot_and_log_it_is_refused(void)
{
    lay_two_snapshots();
    l.manifest.first_segment = 2;
    lay_segment(&l);
    lay_keys(&l, 1, 0);
    lay_manifest(&l);
    sim_disk_flip(l.disk, snapshot_file(2, 0), block_of(3) + 30, 1);
    sim_disk_flip(l.disk, snapshot_file(1, 0), 30, 1);
    says(RECOVER_SNAPSHOT, "R3", ""); // the log begins behind both
    sim_disk_remove(l.disk, log_name(2));
    says(RECOVER_SNAPSHOT, "R3", "<c> <d>");
    text_has("no snapshot is valid");
    check(got.report.file[0] != '\0');
    end();
}

static void a_snapshot_counts_though_the_segment_behind_it_was_only_being_begun(void)
{
    begin(1);
    l.lsn = 6;
    l.segment = 4;
    l.next[0] = 7;
    l.manifest.first_segment = 5;
    l.manifest.witness = 6;
    lay_snapshot(&l, 1, 1, 6, "ab");
    lay_manifest(&l);
    lay_segment(&l);
    l.durable = 6;
    lay_key(&l, "7");
    lay_segment(&l);
    lay_key(&l, "8");
    remove_segment(5);
    lay_ahead(&l, 5);
    says(RECOVER_CUT, "R2", "<a> <b>");
    check_equal(got.origin.lsn, 6);
    end();
}

static void an_older_snapshot_that_the_log_does_not_reach_is_no_help(void)
{
    begin(2);
    lay_segment(&l);
    lay_keys(&l, 2, 0);
    lay_snapshot(&l, 1, 1, 2, "ab");
    lay_keys(&l, 2, 0);
    lay_snapshot(&l, 2, 1, 4, "cde");
    lay_segment(&l);
    lay_keys(&l, 1, 0);
    l.manifest.first_segment = 2;
    lay_manifest(&l);
    says(RECOVER_CLEAN, "R1", "<c> <d> <e> 5");
    sim_disk_flip(l.disk, snapshot_file(2, 0), 60, 1);
    says(RECOVER_SNAPSHOT, "R3", "");
    end();
}

static void a_lost_snapshot_of_nothing_at_the_logs_beginning_is_no_loss(void)
{
    begin(1);
    lay_snapshot(&l, 1, 1, 0, "");
    lay_segment(&l);
    lay_keys(&l, 2, 0);
    lay_manifest(&l);
    sim_disk_flip(l.disk, snapshot_file(1, 0), 30, 1);
    says(RECOVER_CLEAN, "R1", "1 2");
    warned("goes back to the beginning");
    end();
}

static void a_snapshot_of_another_kind_is_not_taken(void)
{
    static const char *const SAYS[] = { "another set",   "another number of shards", "number of entries", "watermark",
                                        "another store", "watermarks contradict",    "another set" };
    for (int what = 0; what < 7; what++) {
        begin(4);
        struct manifest kept = l.manifest;
        if (what == 0)
            l.manifest.history.bytes[0] ^= 1;
        if (what == 1)
            l.manifest.shards = 8;
        if (what == 3)
            l.manifest.shards = 4;
        if (what == 4)
            l.manifest.store.bytes[0] ^= 1;
        lay_snapshot(&l, 1, what == 5 ? 2 : 1, 0, "abc");
        kept.sets[0] = l.manifest.sets[0];
        kept.set_count = 1;
        l.manifest = kept;
        if (what == 2)
            l.manifest.sets[0].entries++;
        if (what == 6)
            l.manifest.sets[0].files = 2;
        if (what == 3 || what == 5) { // file 1 of 2 has the watermarks of file 0
            struct snapshot_identity id = { .store = l.manifest.store,
                                            .history = l.manifest.history,
                                            .set = 1,
                                            .file = what == 5 ? 1 : 0,
                                            .files = what == 5 ? 2 : 1,
                                            .shards = 4 };
            struct snapshot_writer *w;
            struct snapshot_watermark marks[] = { { 0, 1 } };
            sim_disk_remove(l.disk, snapshot_file(1, id.file));
            check_equal(snapshot_writer_open(&w, &l.disk->disk, &id), 0);
            check_equal(snapshot_writer_finish(w, marks, 1), 0);
            snapshot_writer_free(w);
        }
        lay_manifest(&l);
        says(RECOVER_SNAPSHOT, "R3", "");
        warned(SAYS[what]);
        end();
    }
}

static void damage_that_the_snapshot_covers_does_not_matter(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 6, 0);
    l.next[0] = 5;
    lay_snapshot(&l, 1, 1, 4, "ab");
    l.next[0] = 7;
    l.manifest.witness = 6;
    lay_manifest(&l);
    spoil(1, block_of(2));
    says(RECOVER_CLEAN, "R1", "<a> <b> 5 6");
    warned("the snapshot holds");
    spoil(1, block_of(4)); // the last one that it holds
    says(RECOVER_CLEAN, "R1", "<a> <b> 5 6");
    spoil(1, block_of(5));
    says(RECOVER_ROT, "R3", "<a> <b>");
    check_equal(got.report.lost_from, 5);
    end();
}

static void a_log_that_ends_before_its_snapshot_begins_anew_behind_it(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 4, 0);
    lay_snapshot(&l, 1, 1, 4, "ab");
    l.manifest.witness = 4;
    lay_manifest(&l);
    sim_disk_zero(l.disk, log_name(1), block_of(3), 2 * BLOCK_SIZE);
    says(RECOVER_CLEAN, "R1", "<a> <b>");
    check_equal(got.origin.lsn, 4);
    check_equal(got.origin.last_segment, 0);
    check_equal(got.origin.last_crc, 0);
    // The next start's segment follows none, and what was before it is dead.
    start_again(4, 0, 5, 0, 2);
    lay_keys(&l, 1, 0);
    says(RECOVER_CLEAN, "R1", "<a> <b> 5");
    end();
}

static void the_rest_of_a_chain_below_the_snapshot_is_passed_over(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 1, 0);
    lay_chain("chain", 3, true); // 2 to 4
    lay_snapshot(&l, 1, 1, 4, "ab");
    lay_manifest(&l);
    lay_keys(&l, 1, 0);
    spoil(1, block_of(2));
    says(RECOVER_CLEAN, "R1", "<a> <b> 5");
    end();
}

static void the_first_needed_segment_may_begin_inside_a_chain_that_the_snapshot_holds(void)
{
    for (int what = 0; what < 3; what++) {
        begin(1);
        lay_segment(&l);
        lay_keys(&l, 12, 0);
        lay_chain("chain", 5, true); // 13 to 17
        check_equal(l.segment, 2);
        lay_snapshot(&l, 1, 1, what == 1 ? 15 : what == 2 ? 14 : 17, "ab"); // 15: no snapshot ends there
        l.manifest.first_segment = 2;
        lay_manifest(&l);
        lay_keys(&l, 1, 0);
        remove_segment(1);
        if (what == 0)
            says(RECOVER_CLEAN, "R1", "<a> <b> 18");
        else
            says(RECOVER_BROKEN, "R9", "<a> <b>");
        end();
    }
}

static void the_rest_of_a_chain_at_the_beginning_must_end_before_something_else_comes(void)
{
    begin(1);
    l.segment = 1;
    l.lsn = 10;
    l.next[0] = 5;
    lay_snapshot(&l, 1, 1, 20, "ab");
    l.manifest.first_segment = 2;
    lay_manifest(&l);
    lay_segment(&l);
    lay_frame_as(&l, FRAME_MIDDLE);
    lay_frame_as(&l, FRAME_SEAL);
    says(RECOVER_BROKEN, "R9", "<a> <b>");
    text_has("chain");
    end();
}

// ---- salvage

static void salvage_goes_on_behind_damage_and_lists_what_is_lost(void)
{
    begin(4);
    lay_segment(&l);
    lay_keys(&l, 9, 0);
    lay_segment(&l);
    lay_keys(&l, 3, 0);
    spoil(1, block_of(4));
    spoil(1, block_of(5));
    spoil(1, block_of(7));
    options.salvage = true;
    says(RECOVER_ROT, "R3", "1 2 3 6 8 9 10 11 12");
    warned("lost: LSN 4 to 5");
    warned("lost: LSN 7 to 7");
    warned("lost: shard 0, sequences 4 to 5");
    text_has("some of the log is lost");
    options.salvage = false;
    end();
}

static void salvage_of_what_is_whole_says_so(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 6, 3);
    options.salvage = true;
    says(RECOVER_CLEAN, "R1", "1 2 3 4 5 6");
    spoil(1, block_of(4) + 10); // frames that nobody was told of are cut as ever
    says(RECOVER_CUT, "R2", "1 2 3");
    options.salvage = false;
    end();
}

static void salvage_passes_missing_and_headless_segments(void)
{
    begin(1);
    for (int i = 0; i < 5; i++) {
        lay_segment(&l);
        lay_keys(&l, 2, 0);
    }
    remove_segment(2);
    spoil_headers(4);
    options.salvage = true;
    says(RECOVER_ROT, "R3", "1 2 5 6 7 8 9 10");
    warned("lost: LSN 3 to 4");
    remove_segment(1);
    says(RECOVER_ROT, "R3", "5 6 7 8 9 10");
    warned("lost: LSN 1 to 4");
    options.salvage = false;
    end();
}

static void salvage_tells_of_a_tail_that_the_manifest_knows_of(void)
{
    begin(1);
    l.manifest.witness = 9;
    lay_manifest(&l);
    lay_segment(&l);
    lay_keys(&l, 4, 0);
    options.salvage = true;
    says(RECOVER_ROT, "R3", "1 2 3 4");
    warned("lost: LSN 5 to 9");
    options.salvage = false;
    end();
}

static void salvage_leaves_out_what_is_not_ours(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 2, 0);
    struct lay kept = l;
    struct segment_header h = lay_header(&l, 2);
    h.store.bytes[0] ^= 1;
    lay_segment_as(&l, &h);
    sim_disk_put_odd(l.disk, log_name(3), -EINVAL);
    l.segment = kept.segment;
    h = lay_header(&l, 4);
    lay_segment_as(&l, &h);
    lay_keys(&l, 1, 0);
    options.salvage = true;
    options.shards = 2;
    says(RECOVER_ROT, "R3", "1 2 3");
    warned("another store");
    warned("cannot be opened");
    options.salvage = false;
    options.shards = 0;
    end();
}

static void salvage_drops_what_does_not_parse(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 1, 0);
    lay_bytes(&l, "short", 5);
    lay_frame(&l);
    lay_keys(&l, 1, 0);
    l.lsn += 2; // a frame that does not follow
    lay_keys(&l, 1, 0);
    l.lsn -= 3; // and one that was there
    lay_keys(&l, 1, 0);
    l.lsn += 2;
    lay_frame_as(&l, FRAME_CLEAN_STOP);
    l.next[0] = 1;
    lay_keys(&l, 1, 0); // its sequence was there
    options.salvage = true;
    says(RECOVER_ROT, "R3", "1 3 6");
    warned("does not parse");
    warned("another LSN");
    warned("follows a clean stop");
    options.salvage = false;
    end();
}

static void salvage_goes_on_behind_a_clean_stop(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 1, 100);
    lay_frame_as(&l, FRAME_CLEAN_STOP);
    lay_keys(&l, 2, 100);
    spoil(1, block_of(3));
    options.salvage = true;
    says(RECOVER_ROT, "R3", "1 4");
    options.salvage = false;
    end();
}

static void salvage_drops_a_chain_whose_beginning_or_end_is_lost(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 1, 0);
    lay_chain("one", 3, true); // 2 to 4
    lay_chain("two", 3, true); // 5 to 7
    l.durable = 7;
    lay_key(&l, "8");
    spoil(1, block_of(2)); // beginning of the first
    spoil(1, block_of(7)); // end of the second
    options.salvage = true;
    says(RECOVER_ROT, "R3", "1 8");
    options.salvage = false;
    end();
}

static void salvage_goes_on_where_a_segment_follows_another_frame(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 2, 0);
    uint32_t crc = l.crc;
    l.crc ^= 1;
    lay_segment(&l);
    l.crc = crc;
    lay_keys(&l, 1, 0);
    options.salvage = true;
    says(RECOVER_CLEAN, "R1", "1 2 3");
    warned("another frame");
    options.salvage = false;
    end();
}

static void salvage_ignores_a_header_that_says_what_cannot_be(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 2, 0);
    lay_segment(&l);
    lay_keys(&l, 2, 0);
    struct segment_header h = lay_header(&l, 3);
    h.previous_lsn = 0;
    h.first_lsn = 5;
    lay_segment_as(&l, &h);
    lay_keys(&l, 1, 0);
    options.salvage = true;
    run();
    warned("cannot be");
    check(strstr(got.keys, "1 2 3 4") == got.keys);
    options.salvage = false;
    end();
}

static void salvage_does_without_a_manifest(void)
{
    begin(4);
    lay_segment(&l);
    lay_keys(&l, 3, 0);
    lay_ahead(&l, 2);
    lay_ahead(&l, 3);
    spoil_headers(3);
    sim_disk_remove(l.disk, "MANIFEST.b");
    options.salvage = true;
    says(RECOVER_CLEAN, "R1", "1 2 3");
    warned("no manifest");
    check_equal(got.origin.shards, 4);
    spoil_headers(1);
    spoil_headers(2);
    says(RECOVER_ROT, "R7", "");
    text_has("nothing says whose files");
    options.salvage = false;
    end();
}

static void salvage_takes_what_a_damaged_snapshot_still_gives(void)
{
    begin(2);
    lay_segment(&l);
    lay_keys(&l, 2, 0);
    lay_snapshot(&l, 1, 2, 2, "abcd");
    lay_manifest(&l);
    lay_keys(&l, 1, 0);
    sim_disk_flip(l.disk, snapshot_file(1, 0), block_of(2) + 30, 1);
    options.salvage = true;
    says(RECOVER_ROT, "R3", "<b> <a> <c> 3");
    warned("lost: what snapshot");
    sim_disk_flip(l.disk, snapshot_file(1, 1), 30, 1);
    says(RECOVER_CLEAN, "R1", "1 2 3");
    options.salvage = false;
    end();
}

static void salvage_drops_a_chain_that_does_not_parse(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 1, 0);
    for (int i = 0; i < 3; i++) {
        lay_bytes(&l, "nonsense", 8);
        lay_frame_as(&l, i == 0 ? FRAME_FIRST : i == 1 ? FRAME_MIDDLE : FRAME_LAST);
    }
    lay_keys(&l, 1, 0);
    options.salvage = true;
    says(RECOVER_ROT, "R3", "1 5");
    warned("lost: LSN 2 to 4");
    options.salvage = false;
    end();
}

static void salvage_takes_a_snapshot_that_the_log_does_not_reach(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 2, 0);
    lay_snapshot(&l, 1, 1, 2, "ab");
    lay_manifest(&l);
    lay_segment(&l);
    lay_keys(&l, 2, 0);
    lay_segment(&l);
    lay_keys(&l, 1, 0);
    remove_segment(1);
    remove_segment(2);
    options.salvage = true;
    says(RECOVER_ROT, "R3", "<a> <b> 5");
    warned("lost: LSN 3 to 4");
    options.salvage = false;
    end();
}

// ---- odds and ends

static void without_anybody_to_warn_warnings_are_counted(void)
{
    struct recover *r;
    struct recover_item item;
    struct recover_options quiet = { .segment_size = LAY_SEGMENT };
    uint64_t bytes, total;
    begin(1);
    check_equal(recover_open(&r, &l.disk->disk, &quiet), 0);
    check_equal(recover_progress(r, &bytes, &total), 0);
    check_equal(total, 0);
    recover_free(r);
    lay_segment(&l);
    lay_keys(&l, 1, 0);
    spoil(1, 50);
    check_equal(recover_open(&r, &l.disk->disk, &quiet), 0);
    check_equal(recover_next(r, &item), 0);
    check_equal(recover_next(r, &item), 1);
    check_equal(recover_report(r)->warnings, 1);
    check(recover_free(r) == NULL);
    check(recover_free(NULL) == NULL);
    end();
}

static void a_segment_that_begins_anew_may_be_followed_before_it_has_frames(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 2, 0);
    lay_snapshot(&l, 1, 1, 4, "ab");
    l.next[0] = 3;
    lay_manifest(&l);
    lay_ahead(&l, 2);
    start_again(4, 0, 3, 0, 3);
    l.crc = 5; // nobody knows
    lay_segment(&l);
    lay_keys(&l, 1, 0);
    says(RECOVER_CLEAN, "R1", "<a> <b> 5");
    end();
}

static void a_log_that_goes_back_to_the_beginning_may_have_dead_and_empty_segments(void)
{
    begin(1);
    lay_segment(&l);
    lay_keys(&l, 3, 100);
    struct lay at3 = l;
    lay_segment(&l);
    lay_keys(&l, 1, 100);
    start_again(3, at3.crc, 4, 1, 3);
    lay_keys(&l, 1, 100);
    lay_snapshot(&l, 1, 1, 4, "ab");
    lay_manifest(&l);
    lay_ahead(&l, 4);
    sim_disk_remove(l.disk, snapshot_file(1, 0));
    says(RECOVER_CLEAN, "R1", "1 2 3 4");
    warned("not there");
    end();
}

static void whatever_read_of_a_snapshot_fails_another_one_is_taken(void)
{
    for (uint64_t nth = 1; nth < 30; nth++) {
        lay_two_snapshots();
        sim_disk_fail(l.disk, DISK_FAIL_READ, nth, false);
        run();
        check_equal(got.rc, 1);
        check_equal(got.report.verdict, RECOVER_CLEAN);
        const char *whole = strchr(got.keys, '|') != NULL ? strchr(got.keys, '|') + 2 : got.keys;
        check(strcmp(whole, "<c> <d> <e> 5") == 0 || strcmp(whole, "<a> <b> 3 4 5") == 0 ||
              strcmp(whole, "1 2 3 4 5") == 0); // the older manifest knows of none
        end();
    }
}

static void damage_below_the_snapshot_in_files_that_are_gone_does_not_matter(void)
{
    begin(1);
    for (int i = 0; i < 3; i++) {
        lay_segment(&l);
        lay_keys(&l, 2, 0);
    }
    lay_snapshot(&l, 1, 1, 8, "ab");
    l.manifest.witness = 8;
    lay_manifest(&l);
    says(RECOVER_CLEAN, "R1", "<a> <b>");
    remove_segment(2);
    says(RECOVER_CLEAN, "R1", "<a> <b>");
    check_equal(got.origin.lsn, 8);
    end();
}

// ---- memory

static void without_memory_it_fails_and_leaves_nothing_behind(void)
{
    uint64_t tried = 0;
    begin(2);
    for (int i = 0; i < 20; i++) {
        lay_segment(&l);
        lay_keys(&l, 1, 0);
    }
    lay_snapshot(&l, 1, 2, 20, "abcd");
    lay_manifest(&l);
    lay_snapshot(&l, 2, 2, 20, "abcd");
    lay_manifest(&l);
    lay_chain("chain", 3, true);
    sim_disk_flip(l.disk, snapshot_file(2, 1), block_of(2) + 30, 1);
    for (fail_at = 1;; fail_at++) {
        allocations = 0;
        run();
        if (got.rc == 1)
            break;
        check_equal(got.rc, -ENOMEM);
        tried++;
    }
    fail_at = 0;
    check(tried > 10);
    says(RECOVER_CLEAN, "R1", "<b> <d> <a> | <b> <d> <a> <c> chain");
    end();
}

TESTS(TEST(a_snapshot_comes_first_and_the_records_behind_it_after), TEST(a_snapshot_alone_is_a_store),
      TEST(a_snapshot_that_is_damaged_at_its_ends_is_passed_over), TEST(a_snapshot_whose_damage_shows_late_is_taken_back),
      TEST(without_any_good_snapshot_a_whole_log_will_do), TEST(without_any_good_snapshot_and_log_it_is_refused),
      TEST(a_snapshot_counts_though_the_segment_behind_it_was_only_being_begun),
      TEST(an_older_snapshot_that_the_log_does_not_reach_is_no_help), TEST(a_lost_snapshot_of_nothing_at_the_logs_beginning_is_no_loss),
      TEST(a_snapshot_of_another_kind_is_not_taken), TEST(damage_that_the_snapshot_covers_does_not_matter),
      TEST(a_log_that_ends_before_its_snapshot_begins_anew_behind_it), TEST(the_rest_of_a_chain_below_the_snapshot_is_passed_over),
      TEST(the_first_needed_segment_may_begin_inside_a_chain_that_the_snapshot_holds),
      TEST(the_rest_of_a_chain_at_the_beginning_must_end_before_something_else_comes),
      TEST(salvage_goes_on_behind_damage_and_lists_what_is_lost), TEST(salvage_of_what_is_whole_says_so),
      TEST(salvage_passes_missing_and_headless_segments), TEST(salvage_tells_of_a_tail_that_the_manifest_knows_of),
      TEST(salvage_leaves_out_what_is_not_ours), TEST(salvage_drops_what_does_not_parse), TEST(salvage_goes_on_behind_a_clean_stop),
      TEST(salvage_drops_a_chain_whose_beginning_or_end_is_lost), TEST(salvage_goes_on_where_a_segment_follows_another_frame),
      TEST(salvage_ignores_a_header_that_says_what_cannot_be), TEST(salvage_does_without_a_manifest),
      TEST(salvage_takes_what_a_damaged_snapshot_still_gives), TEST(salvage_drops_a_chain_that_does_not_parse),
      TEST(salvage_takes_a_snapshot_that_the_log_does_not_reach), TEST(without_anybody_to_warn_warnings_are_counted),
      TEST(a_segment_that_begins_anew_may_be_followed_before_it_has_frames),
      TEST(a_log_that_goes_back_to_the_beginning_may_have_dead_and_empty_segments),
      TEST(whatever_read_of_a_snapshot_fails_another_one_is_taken), TEST(damage_below_the_snapshot_in_files_that_are_gone_does_not_matter),
      TEST(without_memory_it_fails_and_leaves_nothing_behind))
