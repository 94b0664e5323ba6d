// SPDX-License-Identifier: Apache-2.0
// Imports, on a disk in memory: what is in the directory afterwards is what the other server would have loaded.
#include <lz4.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc64.h"
#include "base/test.h"
#include "persist/fcw2.h"
#include "persist/snapshot.h"
#include "test/sim/disk.h"
#include "test/unit/admin/world.h"
#include "tools/admin/admin.h"

static const struct import_options OPTIONS = { .shards = 2 };
static struct crc32_tables tables;

// ---- what is in the new directory, as "key=value@deadline " in the order of keys

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static const char *contents(struct sim_disk *d)
{
    static char text[4096];
    char *lines[64];
    uint32_t count = 0;
    struct manifest m;
    struct snapshot_reader *r;
    struct slice run;
    struct snapshot_entry e;
    const char *why;
    text[0] = '\0';
    if (admin_manifest(&d->disk, &m, &why) != 0 || m.shards != 2)
        return "no manifest";
    if (m.set_count == 0)
        return text;
    if (snapshot_reader_open(&r, &d->disk, 1, 0, &m.store, &why) != 0)
        return "no snapshot";
    while (snapshot_reader_next(r, &run, &why) == 0) {
        const uint8_t *at = run.data;
        uint64_t left = run.len;
        while (snapshot_entry_next(&e, &at, &left) == 0 && count < 64)
            if (asprintf(&lines[count++], "%u/%.*s=%.*s@%lld ", e.db, (int)e.key.len, (const char *)e.key.data, (int)e.value.len,
                         (const char *)e.value.data, (long long)e.deadline_ms) < 0)
                abort();
    }
    snapshot_reader_free(r);
    qsort(lines, count, sizeof lines[0], by_text);
    for (uint32_t i = 0; i < count; i++) {
        strcat(text, lines[i]);
        free(lines[i]);
    }
    return text;
}

#define check_contents(d, want)                                                                                                            \
    do {                                                                                                                                   \
        const char *is = contents(d);                                                                                                      \
        if (strcmp(is, want) != 0)                                                                                                         \
            printf("    it holds '%s'\n", is);                                                                                             \
        check(strcmp(is, want) == 0);                                                                                                      \
    } while (0)

// ---- fast-cache's files

static struct buf file;

static void frame(uint8_t op, uint64_t timestamp, int64_t deadline, const char *key, const char *value)
{
    const struct fcw2_record r = { op, timestamp, deadline, slice_cstr(key), slice_cstr(value) };
    uint64_t len = fcw2_frame_size(&r);
    uint8_t *to = buf_reserve(&file, len);
    fcw2_frame_encode(&tables, &r, to);
    buf_advance(&file, len);
}

static void save(struct sim_disk *d, const char *name)
{
    sim_disk_put(d, name, file.data, file.len);
    file.len = 0;
}

static void put_u32(uint32_t value)
{
    buf_append(&file, &value, 4);
}

static void put_u64(uint64_t value)
{
    buf_append(&file, &value, 8);
}

static void snapshot_head(uint64_t timestamp, uint64_t count)
{
    buf_append(&file, "FCSNAP1", 8);
    put_u32(1);
    put_u64(timestamp);
    put_u64(count);
}

static void snapshot_entry(const char *key, const char *value, uint64_t deadline)
{
    put_u32((uint32_t)strlen(key));
    put_u32((uint32_t)strlen(value));
    put_u64(deadline);
    buf_append_slice(&file, slice_cstr(key));
    buf_append_slice(&file, slice_cstr(value));
}

static void pack(void)
{
    struct buf packed;
    buf_init(&packed, BUF_NO_LIMIT);
    uint8_t *to = buf_reserve(&packed, file.len + 100);
    if (to == NULL)
        abort();
    int len = LZ4_compress_default((const char *)file.data, (char *)to + 4, (int)file.len, (int)file.len + 96);
    memcpy(to, &(uint32_t){ (uint32_t)file.len }, 4);
    file.len = 0;
    buf_append(&file, to, (size_t)len + 4);
    buf_deinit(&packed);
}

static int import(struct sim_disk *from, struct sim_disk *to, const char *part)
{
    struct said s;
    said_begin(&s, false);
    int status = admin_import_fast_cache(&s.admin, &from->disk, &to->disk, &OPTIONS);
    check(said_has(&s, part));
    said_end(&s);
    return status;
}

static void a_log_is_played_over_the_newest_snapshot(void)
{
    for (int packed = 0; packed < 2; packed++) {
        struct sim_disk *d = sim_disk_new(1), *to = sim_disk_new(2);
        snapshot_head(500, 1);
        snapshot_entry("ancient", "x", UINT64_MAX);
        save(d, "snapshot-500.bin");
        snapshot_head(1000, 3);
        snapshot_entry("a", "snapshot", UINT64_MAX);
        snapshot_entry("b", "snapshot", 99);
        snapshot_entry("c", "snapshot", UINT64_MAX);
        if (packed)
            pack();
        save(d, packed ? "snapshot-1000.bin.lz4" : "snapshot-1000.bin");
        frame(FCW2_SET, 900, -1, "a", "older than the snapshot");
        frame(FCW2_SET, 1100, -1, "d", "first");
        save(d, "segment-00000000000000000009-1.wal");
        frame(FCW2_SET, 1200, 77, "d", "second");
        frame(FCW2_DELETE, 1201, -1, "c", "");
        frame(FCW2_EXPIRE, 1202, -1, "b", "");
        frame(FCW2_EXPIRE, 1203, 5, "nobody", "");
        save(d, "segment-00000000000000000010-1.wal");
        check_equal(import(d, to, "imported: 3 keys"), ADMIN_GOOD);
        check_contents(to, "0/a=snapshot@-1 0/b=snapshot@-1 0/d=second@77 ");
        sim_disk_free(d);
        sim_disk_free(to);
    }
}

static void a_last_record_that_was_cut_is_left_out_and_one_before_is_damage(void)
{
    struct sim_disk *d = sim_disk_new(1), *to = sim_disk_new(2), *again = sim_disk_new(3);
    frame(FCW2_SET, 1, -1, "a", "1");
    frame(FCW2_SET, 1, -1, "b", "2");
    file.len -= 5;
    save(d, "segment-00000000000000000001-1.wal");
    check_equal(import(d, to, "left out"), ADMIN_GOOD);
    check_contents(to, "0/a=1@-1 ");
    frame(FCW2_SET, 1, -1, "c", "3");
    save(d, "segment-00000000000000000002-1.wal");
    check_equal(import(d, again, "ends inside of a record"), ADMIN_DAMAGE);
    check_contents(again, "no manifest");
    sim_disk_free(d);
    sim_disk_free(to);
    sim_disk_free(again);
}

static void a_flipped_bit_is_damage_and_an_empty_directory_is_trouble(void)
{
    struct sim_disk *d = sim_disk_new(1), *to = sim_disk_new(2);
    check_equal(import(d, to, "neither segment"), ADMIN_DAMAGE);
    frame(FCW2_SET, 1, -1, "a", "1");
    file.data[40] ^= 1;
    save(d, "segment-00000000000000000001-1.wal");
    check_equal(import(d, to, "checksum"), ADMIN_DAMAGE);
    check_contents(to, "no manifest");
    sim_disk_free(d);
    sim_disk_free(to);
}

// ---- RDB

static int import_file(struct sim_disk *from, struct sim_disk *to, const char *part)
{
    struct said s;
    said_begin(&s, false);
    int status = admin_import_rdb(&s.admin, &from->disk, "dump.rdb", &to->disk, &OPTIONS);
    check(said_has(&s, part));
    said_end(&s);
    return status;
}

static void strings_of_an_rdb_file_arrive_with_database_and_deadline(void)
{
    static const uint8_t HEAD[] = { 'R', 'E', 'D', 'I', 'S', '0', '0', '1', '1', 0, 1, 'a', 1, 'x', 1,   1,    'l', 1,  1,
                                    'y', 254, 3,   252, 7,   0,   0,   0,   0,   0, 0, 0,   0, 1,   'b', 0xc0, 5,   255 };
    static struct crc64_tables sums;
    struct sim_disk *d = sim_disk_new(1), *to = sim_disk_new(2), *again = sim_disk_new(3);
    crc64_init(&sums);
    buf_append(&file, HEAD, sizeof HEAD);
    put_u64(crc64(&sums, 0, HEAD, sizeof HEAD));
    save(d, "dump.rdb");
    check_equal(import_file(d, to, "left out: 1 keys of type list"), ADMIN_GOOD);
    check_contents(to, "0/a=x@-1 3/b=5@7 ");
    sim_disk_flip(d, "dump.rdb", 13, 1);
    check_equal(import_file(d, again, "the checksum does not match"), ADMIN_DAMAGE);
    check_contents(again, "no manifest");
    check_equal(import_file(d, to, "not empty"), ADMIN_TROUBLE);
    sim_disk_free(d);
    sim_disk_free(to);
    sim_disk_free(again);
}

int main(int argc, char **argv)
{
    static const struct test tests[] = {
        TEST(a_log_is_played_over_the_newest_snapshot),
        TEST(a_last_record_that_was_cut_is_left_out_and_one_before_is_damage),
        TEST(a_flipped_bit_is_damage_and_an_empty_directory_is_trouble),
        TEST(strings_of_an_rdb_file_arrive_with_database_and_deadline),
    };
    crc32_init(&tables);
    buf_init(&file, BUF_NO_LIMIT);
    int failed = test_main(tests, (int)(sizeof tests / sizeof tests[0]), argc, argv);
    buf_deinit(&file);
    return failed;
}
