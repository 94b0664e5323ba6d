// SPDX-License-Identifier: Apache-2.0
// The actions of skerry-admin on a disk in memory.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/test.h"
#include "persist/recover.h"
#include "test/sim/disk.h"
#include "test/unit/admin/world.h"
#include "tools/admin/admin.h"
#include "tools/admin/out.h"
#include "tools/admin/text.h"

#define SHARDS       4u
#define SEGMENT_SIZE (64u * 1024)

// ---- directories with a log: each unit of one record SET k<lsn> <lsn>, closed at 1000 * lsn

static uint64_t unit_bytes(uint8_t *to, uint32_t shard, uint64_t n, uint32_t value_len)
{
    char key[24];
    static uint8_t value[200000];
    snprintf(key, sizeof key, "k%04u", (unsigned)n);
    memset(value, 'v', value_len);
    snprintf((char *)value, 8, "%05u", (unsigned)n);
    struct record r = { .op = RECORD_SET, .sequence = 1, .deadline_ms = -1, .key = slice_cstr(key), .value = slice_of(value, value_len) };
    struct sub_batch b = { .shard = (uint16_t)shard, .count = 1, .first = 1, .bytes = (uint32_t)record_size(&r) };
    sub_batch_encode(&b, to);
    record_encode(&r, 1, to + SUB_BATCH_HEAD);
    return SUB_BATCH_HEAD + b.bytes;
}

// Keys s0000... in a snapshot, then `units` units.
static struct sim_disk *directory(uint32_t entries, uint32_t units, uint32_t value_len)
{
    static const uint64_t NONE[SHARDS] = { 0 };
    static uint8_t bytes[300000];
    struct sim_disk *d = sim_disk_new(7);
    struct out o;
    check_equal(out_init(&o, &d->disk, SHARDS, ROUTE_FULL_KEY, SEGMENT_SIZE), 0);
    for (uint32_t i = 0; i < entries; i++) {
        char key[24];
        snprintf(key, sizeof key, "s%04u", i);
        const struct snapshot_entry e = { .deadline_ms = -1, .key = slice_cstr(key), .value = slice_cstr("snapshot") };
        check_equal(out_entry(&o, &e), 0);
    }
    check_equal(out_snapshot_end(&o), 0);
    for (uint32_t i = 1; i <= units; i++) {
        o.now_ms = 1000 * (int64_t)i;
        check_equal(out_unit(&o, bytes, unit_bytes(bytes, i % SHARDS, i, value_len), NONE), 0);
    }
    check_equal(out_finish(&o), 0);
    out_deinit(&o);
    return d;
}

// ---- what a server would load

struct loaded {
    enum recover_verdict verdict;
    uint64_t entries, records;
    uint64_t lsn;
    uint32_t last; // n of the last record
};

static uint32_t number_of(struct slice key)
{
    uint32_t n = 0;
    for (size_t i = 1; i < key.len; i++)
        n = n * 10 + key.data[i] - '0';
    return n;
}

static struct loaded load(struct sim_disk *d)
{
    const struct recover_options options = { .segment_size = SEGMENT_SIZE };
    struct loaded l = { .entries = 0 };
    struct recover *r;
    struct recover_item item;
    check_equal(recover_open(&r, &d->disk, &options), 0);
    while (recover_next(r, &item) == 0) {
        const uint8_t *at = item.bytes.data;
        uint64_t left = item.bytes.len;
        struct sub_batch b;
        struct record record;
        while (item.piece == RECOVER_UNIT && sub_batch_next(&b, &at, &left) == 0) {
            const uint8_t *next = b.records;
            uint32_t taken = 0;
            while (record_next(&record, &b, &next, &taken) == 0)
                l.last = number_of(record.key);
        }
    }
    l.verdict = recover_report(r)->verdict;
    l.entries = recover_report(r)->entries;
    l.records = recover_report(r)->records;
    l.lsn = recover_report(r)->lsn;
    recover_free(r);
    return l;
}

// ---- check

static void a_whole_directory_is_good_and_stays_as_it_is(void)
{
    struct said s;
    struct sim_disk *d = directory(100, 30, 100), *before = sim_disk_clone(d);
    said_begin(&s, false);
    check_equal(admin_check(&s.admin, &d->disk), ADMIN_GOOD);
    check(said_has(&s, "100 entries") && said_has(&s, "30 records") && said_has(&s, "clean (R1)") && said_has(&s, ": good"));
    said_end(&s);
    said_begin(&s, true);
    check_equal(admin_check(&s.admin, &d->disk), ADMIN_GOOD);
    check(said_has(&s, "{\"good\":true,\"verdict\":\"clean\"") && said_has(&s, "\"records\":30") && said_has(&s, "\"entries\":100"));
    said_end(&s);
    check(sim_disk_equal(d, before));
    sim_disk_free(before);
    sim_disk_free(d);
}

static int check_after_flip(const char *name, uint64_t offset)
{
    struct said s;
    struct sim_disk *d = directory(100, 30, 100);
    sim_disk_flip(d, name, offset, 1);
    said_begin(&s, false);
    int status = admin_check(&s.admin, &d->disk);
    said_end(&s);
    sim_disk_free(d);
    return status;
}

static void damage_of_what_counts_is_found_and_a_second_copy_is_only_warned_about(void)
{
    static const char SEGMENT[] = "log-00000000000000000001.skry", SNAPSHOT[] = "snapshot-00000000000000000001-0.skry";
    check_equal(check_after_flip(SNAPSHOT, 5000), ADMIN_DAMAGE);
    check_equal(check_after_flip(SNAPSHOT, 20), ADMIN_DAMAGE);
    check_equal(check_after_flip(SEGMENT, BLOCK_SIZE + 70), ADMIN_DAMAGE);
    check_equal(check_after_flip(SEGMENT, 100), ADMIN_GOOD); // the other header counts
    check_equal(check_after_flip(manifest_name(1), 30), ADMIN_DAMAGE);
}

static void an_empty_directory_is_no_data(void)
{
    struct said s;
    struct sim_disk *d = sim_disk_new(1);
    said_begin(&s, false);
    check_equal(admin_check(&s.admin, &d->disk), ADMIN_TROUBLE);
    check(said_has(&s, "no data is here"));
    said_end(&s);
    sim_disk_free(d);
}

// ---- dump

static uint32_t lines_with(const struct said *s, const char *part)
{
    uint32_t count = 0;
    fflush(s->admin.out);
    for (const char *at = s->text; (at = strstr(at, part)) != NULL; at += strlen(part))
        count++;
    return count;
}

static void a_dump_shows_every_record_once(void)
{
    struct said s;
    struct sim_disk *d = directory(5, 40, 3000);
    const struct dump_range all = { .to = UINT64_MAX };
    said_begin(&s, false);
    check_equal(admin_dump(&s.admin, &d->disk, &all), ADMIN_GOOD);
    check(lines_with(&s, " SET \"k") == 40 && lines_with(&s, "  entry db 0 \"s") == 5 && lines_with(&s, "\nsegment ") > 1);
    said_end(&s);
    const struct dump_range some = { .from = 10, .to = 19, .log_only = true };
    said_begin(&s, true);
    check_equal(admin_dump(&s.admin, &d->disk, &some), ADMIN_GOOD);
    check(lines_with(&s, "\"op\":\"SET\"") == 10 && lines_with(&s, "\"entry\"") == 0 && lines_with(&s, "\"key\":\"k0010\"") == 1);
    said_end(&s);
    sim_disk_free(d);
}

static void a_record_over_several_frames_is_shown_whole(void)
{
    struct said s;
    struct sim_disk *d = directory(0, 3, 150000);
    const struct dump_range all = { .to = UINT64_MAX };
    said_begin(&s, false);
    check_equal(admin_dump(&s.admin, &d->disk, &all), ADMIN_GOOD);
    check(lines_with(&s, " SET \"k") == 3 && lines_with(&s, " first\n") == 3 && lines_with(&s, " last\n") == 3);
    said_end(&s);
    struct loaded l = load(d);
    check(l.verdict == RECOVER_CLEAN && l.records == 3);
    sim_disk_free(d);
}

static void a_dump_of_one_file_needs_nothing_else(void)
{
    struct said s;
    struct sim_disk *d = directory(5, 4, 10);
    const struct dump_range all = { .to = UINT64_MAX };
    said_begin(&s, false);
    sim_disk_remove(d, manifest_name(1));
    check_equal(admin_dump_file(&s.admin, &d->disk, "log-00000000000000000001.skry", &all), ADMIN_GOOD);
    check_equal(lines_with(&s, " SET \"k"), 4);
    check_equal(admin_dump_file(&s.admin, &d->disk, "snapshot-00000000000000000001-0.skry", &all), ADMIN_GOOD);
    check_equal(lines_with(&s, "  entry db 0"), 5);
    check_equal(admin_dump_file(&s.admin, &d->disk, "log-00000000000000000009.skry", &all), ADMIN_TROUBLE);
    check_equal(admin_dump_file(&s.admin, &d->disk, "MANIFEST.b", &all), ADMIN_TROUBLE);
    check_equal(admin_dump_file(&s.admin, &d->disk, "other", &all), ADMIN_TROUBLE);
    said_end(&s);
    sim_disk_free(d);
}

// ---- backup

static void a_backup_holds_the_same_and_the_source_is_not_touched(void)
{
    struct said s;
    struct sim_disk *d = directory(100, 50, 2000), *before = sim_disk_clone(d), *to = sim_disk_new(9);
    said_begin(&s, false);
    check_equal(admin_backup(&s.admin, &d->disk, &to->disk), ADMIN_GOOD);
    check(said_has(&s, "verified"));
    struct loaded a = load(d), b = load(to);
    check(a.records == 50 && b.records == 50 && b.entries == 100 && b.last == 50 && a.lsn == b.lsn);
    check(sim_disk_equal(d, before));
    check_equal(admin_backup(&s.admin, &d->disk, &to->disk), ADMIN_TROUBLE); // not empty
    said_end(&s);
    sim_disk_free(before);
    sim_disk_free(d);
    sim_disk_free(to);
}

static void a_backup_of_damage_says_so_and_leaves_nothing_that_looks_whole(void)
{
    struct said s;
    struct sim_disk *d = directory(100, 50, 2000), *to = sim_disk_new(9);
    sim_disk_flip(d, "log-00000000000000000001.skry", 3 * BLOCK_SIZE + 100, 4);
    said_begin(&s, false);
    check_equal(admin_backup(&s.admin, &d->disk, &to->disk), ADMIN_DAMAGE);
    check(said_has(&s, "is damaged"));
    check_equal(admin_is_empty(&to->disk), 0);
    said_end(&s);
    sim_disk_free(d);
    sim_disk_free(to);
}

// Frames that were written ahead of one that is not there yet are not taken: the copy is a prefix.
static void a_log_that_is_being_written_is_copied_up_to_its_first_gap(void)
{
    struct said s;
    struct sim_disk *d = directory(10, 12, 100), *to = sim_disk_new(9);
    struct manifest m;
    const char *why;
    check_equal(admin_manifest(&d->disk, &m, &why), 0);
    m.witness = 6; // of 13: what is acknowledged when the manifest was written
    uint8_t block[BLOCK_SIZE];
    manifest_encode(&m, block);
    sim_disk_patch(d, manifest_name(1), 0, block, sizeof block);
    sim_disk_zero(d, "log-00000000000000000001.skry", 9 * BLOCK_SIZE, BLOCK_SIZE); // frame 9 is on its way
    said_begin(&s, false);
    check_equal(admin_backup(&s.admin, &d->disk, &to->disk), ADMIN_GOOD);
    struct loaded l = load(to);
    check(l.records == 8 && l.last == 8);
    said_end(&s);
    sim_disk_free(d);
    sim_disk_free(to);
}

// A disk on which a server finishes a new snapshot, and lets the old one go, while it is copied.
static struct sim_disk *moving, *moved;
static uint32_t moves_left;
static const struct disk_ops *real;

static int moving_open(struct disk *d, const char *name, int flags, uint64_t *size)
{
    if (d == &moving->disk && strncmp(name, "log-", 4) == 0 && moves_left > 0) {
        moves_left--;
        uint8_t block[BLOCK_SIZE];
        struct manifest m;
        const char *why;
        sim_disk_peek(moved, manifest_name(1), 0, block, sizeof block);
        check_equal(manifest_decode(&m, block, &why), 0);
        m.generation = 100 - moves_left;
        m.first_segment = 2;
        m.sets[0].lsn = m.witness;
        manifest_encode(&m, block);
        sim_disk_put(moving, manifest_name(m.generation), block, sizeof block);
        sim_disk_remove(moving, "log-00000000000000000001.skry");
    }
    return real->open(d, name, flags, size);
}

static void a_snapshot_that_is_finished_meanwhile_begins_the_copy_again(void)
{
    struct said s;
    struct disk_ops ops;
    struct sim_disk *to = sim_disk_new(9);
    moving = directory(100, 50, 2000);
    moved = sim_disk_clone(moving);
    real = moving->disk.ops;
    ops = *real;
    ops.open = moving_open;
    moving->disk.ops = &ops;
    moves_left = 1;
    said_begin(&s, false);
    check_equal(admin_backup(&s.admin, &moving->disk, &to->disk), ADMIN_GOOD);
    check(said_has(&s, "once more") && moves_left == 0);
    check_equal(load(to).entries, 100);
    said_end(&s);
    sim_disk_free(moving);
    sim_disk_free(moved);
    sim_disk_free(to);
}

// ---- restore

static struct loaded restored(struct sim_disk *d, uint64_t lsn, int64_t time_ms, int want)
{
    struct said s;
    struct sim_disk *to = sim_disk_new(11);
    const struct restore_point point = { .lsn = lsn, .time_ms = time_ms };
    struct loaded l = { .entries = 0 };
    said_begin(&s, false);
    check_equal(admin_restore(&s.admin, &d->disk, &to->disk, &point), want);
    if (want == ADMIN_GOOD)
        l = load(to);
    else
        check_equal(admin_is_empty(&to->disk), 0);
    said_end(&s);
    sim_disk_free(to);
    return l;
}

static void every_position_can_be_gone_back_to(void)
{
    struct sim_disk *d = directory(20, 40, 3000);
    for (uint64_t lsn = 0; lsn <= 41; lsn++) {
        struct loaded l = restored(d, lsn, RESTORE_ALL, ADMIN_GOOD);
        check(l.verdict == RECOVER_CLEAN && l.entries == 20);
        check_equal(l.records, lsn < 40 ? lsn : 40);
    }
    check_equal(restored(d, UINT64_MAX, RESTORE_ALL, ADMIN_GOOD).records, 40);
    sim_disk_free(d);
}

static void every_moment_can_be_gone_back_to(void)
{
    struct sim_disk *d = directory(20, 40, 3000);
    for (int64_t ms = 0; ms <= 41000; ms += 500)
        check_equal(restored(d, UINT64_MAX, ms, ADMIN_GOOD).records, ms / 1000 < 40 ? ms / 1000 : 40);
    sim_disk_free(d);
}

static void a_cut_in_a_chain_takes_none_of_it(void)
{
    struct sim_disk *d = directory(0, 4, 150000); // three frames each
    for (uint64_t lsn = 0; lsn <= 12; lsn++)
        check_equal(restored(d, lsn, RESTORE_ALL, ADMIN_GOOD).records, lsn / 3);
    sim_disk_free(d);
}

static void a_point_that_no_snapshot_reaches_is_refused(void)
{
    struct sim_disk *d = directory(20, 40, 100);
    struct manifest m;
    const char *why;
    uint8_t block[BLOCK_SIZE];
    check_equal(admin_manifest(&d->disk, &m, &why), 0);
    m.sets[0].lsn = 10;
    manifest_encode(&m, block);
    sim_disk_patch(d, manifest_name(1), 0, block, sizeof block);
    check_equal(restored(d, 10, RESTORE_ALL, ADMIN_GOOD).entries, 20);
    check_equal(restored(d, 9, RESTORE_ALL, ADMIN_GOOD).entries, 0); // from the log alone, which goes back to the beginning
    check_equal(restored(d, 9, RESTORE_ALL, ADMIN_GOOD).records, 9);
    sim_disk_free(d);
    d = directory(20, 0, 0); // no log: only the snapshot's own moment
    restored(d, UINT64_MAX, 1, ADMIN_TROUBLE);
    check_equal(restored(d, UINT64_MAX, INT64_MAX - 1, ADMIN_GOOD).entries, 20);
    sim_disk_free(d);
}

static void a_restored_directory_is_not_taken_for_the_one_it_came_from(void)
{
    struct said s;
    struct sim_disk *d = directory(20, 40, 100), *to = sim_disk_new(11);
    const struct restore_point all = { .lsn = UINT64_MAX, .time_ms = RESTORE_ALL };
    struct manifest a, b;
    const char *why;
    said_begin(&s, false);
    check_equal(admin_restore(&s.admin, &d->disk, &to->disk, &all), ADMIN_GOOD);
    check(admin_manifest(&d->disk, &a, &why) == 0 && admin_manifest(&to->disk, &b, &why) == 0);
    check(uuid_equal(&a.store, &b.store) && !uuid_equal(&a.history, &b.history));
    said_end(&s);
    sim_disk_free(d);
    sim_disk_free(to);
}

// ---- salvage

static void what_lies_before_and_behind_a_damaged_frame_is_saved(void)
{
    struct said s;
    struct sim_disk *d = directory(20, 40, 100), *to = sim_disk_new(13);
    sim_disk_flip(d, "log-00000000000000000001.skry", 10 * BLOCK_SIZE + 100, 4); // LSN 10
    check_equal(load(d).verdict, RECOVER_ROT);
    said_begin(&s, false);
    check_equal(admin_salvage(&s.admin, &d->disk, &to->disk), ADMIN_DAMAGE);
    check(said_has(&s, "lost: LSN 10 to 10") && said_has(&s, "not all could be saved"));
    struct loaded l = load(to);
    check(l.verdict == RECOVER_CLEAN && l.entries == 20 && l.records == 39 && l.last == 40);
    check_equal(admin_check(&s.admin, &to->disk), ADMIN_GOOD);
    said_end(&s);
    sim_disk_free(d);
    sim_disk_free(to);
}

static void salvage_of_what_is_whole_loses_nothing(void)
{
    struct said s;
    struct sim_disk *d = directory(20, 40, 3000), *to = sim_disk_new(13);
    said_begin(&s, false);
    check_equal(admin_salvage(&s.admin, &d->disk, &to->disk), ADMIN_GOOD);
    struct loaded l = load(to);
    check(l.verdict == RECOVER_CLEAN && l.entries == 20 && l.records == 40 && l.last == 40);
    said_end(&s);
    sim_disk_free(d);
    sim_disk_free(to);
}

static void a_log_without_manifest_and_snapshot_is_saved_too(void)
{
    struct said s;
    struct sim_disk *d = directory(20, 40, 3000), *to = sim_disk_new(13);
    sim_disk_remove(d, manifest_name(1));
    sim_disk_remove(d, "snapshot-00000000000000000001-0.skry");
    said_begin(&s, false);
    (void)admin_salvage(&s.admin, &d->disk, &to->disk);
    struct loaded l = load(to);
    check(l.verdict == RECOVER_CLEAN && l.records == 40);
    said_end(&s);
    sim_disk_free(d);
    sim_disk_free(to);
}

static void records_that_the_snapshot_holds_are_not_saved_twice(void)
{
    static const uint64_t MARKS[SHARDS] = { 2, 0, 0, 0 };
    struct sim_disk *d = sim_disk_new(3);
    struct out o;
    uint8_t bytes[2000];
    check_equal(out_init(&o, &d->disk, SHARDS, ROUTE_FULL_KEY, SEGMENT_SIZE), 0);
    // Records 2, 3 and 4 of shard 0: the first one is in the snapshot.
    struct sub_batch b = { .shard = 0, .count = 3, .first = 2 };
    uint64_t at = SUB_BATCH_HEAD;
    for (uint64_t i = 2; i <= 4; i++) {
        struct record r = { .op = RECORD_SET, .sequence = i, .deadline_ms = -1, .key = slice_cstr("k0001"), .value = slice_cstr("v") };
        record_encode(&r, 2, bytes + at);
        at += record_size(&r);
    }
    b.bytes = (uint32_t)(at - SUB_BATCH_HEAD);
    sub_batch_encode(&b, bytes);
    check_equal(out_unit(&o, bytes, at, MARKS), 0);
    check_equal(o.sequences[0], 2);
    check_equal(out_finish(&o), 0);
    out_deinit(&o);
    struct loaded l = load(d);
    check(l.verdict == RECOVER_CLEAN && l.records == 2);
    sim_disk_free(d);
}

// ---- failures of the disk

static void a_disk_that_fails_stops_every_action_and_leaves_no_manifest(void)
{
    const struct restore_point all = { .lsn = UINT64_MAX, .time_ms = RESTORE_ALL };
    static const enum sim_disk_fault FAULTS[] = { DISK_FAIL_WRITE, DISK_FAIL_SYNC, DISK_FAIL_ALLOCATE, DISK_FAIL_OPEN };
    for (size_t f = 0; f < sizeof FAULTS / sizeof FAULTS[0]; f++)
        for (uint64_t nth = 1; nth < 12; nth += 2)
            for (int action = 0; action < 3; action++) {
                struct said s;
                struct sim_disk *d = directory(20, 30, 2000), *to = sim_disk_new(13);
                sim_disk_fail(to, FAULTS[f], nth, true);
                said_begin(&s, false);
                int status = action == 0   ? admin_backup(&s.admin, &d->disk, &to->disk)
                             : action == 1 ? admin_restore(&s.admin, &d->disk, &to->disk, &all)
                                           : admin_salvage(&s.admin, &d->disk, &to->disk);
                said_end(&s);
                sim_disk_heal(to);
                struct manifest m;
                const char *why;
                if (status != ADMIN_GOOD)
                    check(admin_manifest(&to->disk, &m, &why) != 0);
                else
                    check_equal(load(to).records, 30); // it needed fewer than nth of these
                sim_disk_free(d);
                sim_disk_free(to);
            }
}

// ---- text

static void times_are_read_as_they_are_written(void)
{
    int64_t ms;
    check(strcmp(text_time(1795875909123).text, "2026-11-28T14:25:09.123Z") == 0);
    check(text_time_parse("2026-11-28T14:25:09.123Z", &ms) && ms == 1795875909123);
    check(text_time_parse("2026-11-28T14:25:09Z", &ms) && ms == 1795875909000);
    check(text_time_parse("1795875909123", &ms) && ms == 1795875909123);
    check(!text_time_parse("2026-11-28", &ms) && !text_time_parse("", &ms) && !text_time_parse("2026-11-28T14:25:09", &ms));
    check(!text_time_parse("-5", &ms) && !text_time_parse("5x", &ms));
}

static void any_bytes_can_be_shown(void)
{
    struct said s;
    said_begin(&s, false);
    text_bytes(s.admin.out, slice_of("a\"\\\n\0\xff", 6));
    fputc(' ', s.admin.out);
    text_json(s.admin.out, slice_of("a\"\\\n\0\xff", 6));
    check(said_has(&s, "\"a\\\"\\\\\\n\\x00\\xff\" \"a\\\"\\\\\\u000a\\u0000\\u00ff\""));
    said_end(&s);
}

int main(int argc, char **argv)
{
    static const struct test tests[] = {
        TEST(a_whole_directory_is_good_and_stays_as_it_is),
        TEST(damage_of_what_counts_is_found_and_a_second_copy_is_only_warned_about),
        TEST(an_empty_directory_is_no_data),
        TEST(a_dump_shows_every_record_once),
        TEST(a_record_over_several_frames_is_shown_whole),
        TEST(a_dump_of_one_file_needs_nothing_else),
        TEST(a_backup_holds_the_same_and_the_source_is_not_touched),
        TEST(a_backup_of_damage_says_so_and_leaves_nothing_that_looks_whole),
        TEST(a_log_that_is_being_written_is_copied_up_to_its_first_gap),
        TEST(a_snapshot_that_is_finished_meanwhile_begins_the_copy_again),
        TEST(every_position_can_be_gone_back_to),
        TEST(every_moment_can_be_gone_back_to),
        TEST(a_cut_in_a_chain_takes_none_of_it),
        TEST(a_point_that_no_snapshot_reaches_is_refused),
        TEST(a_restored_directory_is_not_taken_for_the_one_it_came_from),
        TEST(what_lies_before_and_behind_a_damaged_frame_is_saved),
        TEST(salvage_of_what_is_whole_loses_nothing),
        TEST(a_log_without_manifest_and_snapshot_is_saved_too),
        TEST(records_that_the_snapshot_holds_are_not_saved_twice),
        TEST(a_disk_that_fails_stops_every_action_and_leaves_no_manifest),
        TEST(times_are_read_as_they_are_written),
        TEST(any_bytes_can_be_shown),
    };
    return test_main(tests, (int)(sizeof tests / sizeof tests[0]), argc, argv);
}
