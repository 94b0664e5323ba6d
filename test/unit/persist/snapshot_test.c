// SPDX-License-Identifier: Apache-2.0
#include "persist/snapshot.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/prng.h"
#include "base/test.h"
#include "persist/snapshot_inside.h"
#include "test/sim/disk.h"

#define SET 7u

static const struct uuid STORE = { "0123456789abcdef" };
static const struct snapshot_identity ID = { .store = { "0123456789abcdef" },
                                             .history = { "fedcba9876543210" },
                                             .set = SET,
                                             .file = 1,
                                             .files = 3,
                                             .shards = 16,
                                             .made_ms = 1750000000000 };
static const struct snapshot_watermark MARKS[] = { { 1, 100 }, { 4, 0 }, { 7, UINT64_C(1) << 60 } };

// ---- writing

struct writing {
    struct snapshot_writer *w;
    struct snapshot_chunk *c;
    int failed;
};

static void put_entry(struct writing *g, const struct snapshot_entry *e)
{
    for (uint64_t done = 0, size = snapshot_entry_size(e); done < size && g->failed == 0;) {
        if (snapshot_chunk_full(g->c)) {
            g->failed = snapshot_writer_add(g->w, g->c);
            snapshot_chunk_reset(g->c);
        }
        done = snapshot_chunk_add(g->c, e, done);
    }
}

// Entry i of a file: what it has follows from i alone.
static struct snapshot_entry entry_at(uint32_t i, uint8_t *memory)
{
    struct prng p;
    prng_init(&p, i);
    uint64_t r = prng_next(&p);
    uint32_t key = 4 + (uint32_t)(r % 20), value = (uint32_t)(r >> 8) % 300;
    if (i % 97 == 5)
        value = SNAPSHOT_CHUNK_MAX * (i % 4) + i;
    memset(memory, (int)i, key + value);
    store_u32(memory, i);
    bool deadline = r >> 32 & 1;
    uint32_t type = (uint32_t)(r >> 33) % (SNAPSHOT_TYPE_MAX + 1);
    return (struct snapshot_entry){
        .flags = (uint8_t)((deadline ? RECORD_DEADLINE : 0) | (r >> 40 & 1 ? RECORD_MARK : 0) | type << 4),
        .db = (uint16_t)(r >> 48),
        .deadline_ms = deadline ? (int64_t)(r >> 20) : -1,
        .key = slice_of(memory, key),
        .value = slice_of(memory + key, value),
    };
}

#define MEMORY (4u * SNAPSHOT_CHUNK_MAX)

static int write_file(struct disk *d, uint32_t entries)
{
    uint8_t *memory = malloc(MEMORY);
    struct writing g = { .c = snapshot_chunk_new() };
    g.failed = snapshot_writer_open(&g.w, d, &ID);
    for (uint32_t i = 0; i < entries && g.failed == 0; i++) {
        struct snapshot_entry e = entry_at(i, memory);
        put_entry(&g, &e);
    }
    if (g.failed == 0)
        g.failed = snapshot_writer_add(g.w, g.c);
    if (g.failed == 0)
        g.failed = snapshot_writer_finish(g.w, MARKS, 3);
    if (g.failed == 0)
        check_equal(snapshot_writer_entries(g.w), entries);
    snapshot_writer_free(g.w);
    snapshot_chunk_free(g.c);
    free(memory);
    return g.failed;
}

// ---- reading

static void compare(uint32_t i, const struct snapshot_entry *e)
{
    uint8_t *memory = malloc(MEMORY);
    struct snapshot_entry want = entry_at(i, memory);
    check_equal(e->flags, want.flags);
    check_equal(e->db, want.db);
    check_equal(e->deadline_ms, want.deadline_ms);
    check(slice_equal(e->key, want.key) && slice_equal(e->value, want.value));
    free(memory);
}

// Entries read, or -errno; *why as the reader says.
static int64_t read_file(struct disk *d, const char **why, bool verify)
{
    struct snapshot_reader *r;
    int failed = snapshot_reader_open(&r, d, SET, 1, &STORE, why);
    if (failed != 0)
        return failed;
    uint32_t i = 0;
    struct slice run;
    while ((failed = snapshot_reader_next(r, &run, why)) == 0) {
        const uint8_t *at = run.data;
        uint64_t left = run.len;
        struct snapshot_entry e;
        int more;
        while ((more = snapshot_entry_next(&e, &at, &left)) == 0) {
            if (verify)
                compare(i, &e);
            i++;
        }
        check_equal(more, 1);
    }
    snapshot_reader_free(r);
    return failed == 1 ? (int64_t)i : failed;
}

static void what_is_written_is_read(void)
{
    static const uint32_t COUNTS[] = { 0, 1, 5, 6, 7, 100, 3000 };
    for (size_t i = 0; i < sizeof COUNTS / sizeof COUNTS[0]; i++) {
        struct sim_disk *d = sim_disk_new(i);
        const char *why = "";
        check_equal(write_file(&d->disk, COUNTS[i]), 0);
        check_equal(read_file(&d->disk, &why, true), COUNTS[i]);
        check(d->failure[0] == '\0');
        sim_disk_free(d);
    }
}

static void totals_and_watermarks_come_back(void)
{
    struct sim_disk *d = sim_disk_new(1);
    check_equal(write_file(&d->disk, 50), 0);
    struct snapshot_reader *r;
    const char *why;
    check_equal(snapshot_reader_open(&r, &d->disk, SET, 1, &STORE, &why), 0);
    struct snapshot_totals t;
    snapshot_reader_totals(r, &t);
    check_equal(t.entries, 50);
    check_equal(t.watermark_count, 3);
    for (int i = 0; i < 3; i++) {
        check_equal(t.watermarks[i].shard, MARKS[i].shard);
        check(t.watermarks[i].sequence == MARKS[i].sequence);
    }
    check_equal(t.id.files, 3);
    check_equal(t.id.made_ms, ID.made_ms);
    check(uuid_equal(&t.id.history, &ID.history));
    snapshot_reader_free(r);
    sim_disk_free(d);
}

static void every_shard_may_have_a_watermark(void)
{
    struct sim_disk *d = sim_disk_new(1);
    struct snapshot_identity id = ID;
    id.shards = SHARDS_MAX;
    static struct snapshot_watermark marks[SHARDS_MAX];
    for (uint32_t i = 0; i < SHARDS_MAX; i++)
        marks[i] = (struct snapshot_watermark){ i, i * 3u };
    for (uint32_t count = 335; count <= SHARDS_MAX; count += count < 340 ? 1 : SHARDS_MAX - 340) {
        struct snapshot_writer *w;
        struct snapshot_reader *r;
        const char *why;
        struct snapshot_totals t;
        check_equal(snapshot_writer_open(&w, &d->disk, &id), 0);
        check_equal(snapshot_writer_finish(w, marks, count), 0);
        snapshot_writer_free(w);
        check_equal(snapshot_reader_open(&r, &d->disk, SET, 1, &STORE, &why), 0);
        snapshot_reader_totals(r, &t);
        check_equal(t.watermark_count, count);
        check_equal(t.watermarks[count - 1].sequence, (count - 1) * 3);
        snapshot_reader_free(r);
    }
    sim_disk_free(d);
}

static void names_have_one_spelling(void)
{
    char name[SNAPSHOT_NAME_MAX];
    uint64_t set;
    uint32_t file;
    snapshot_name(UINT64_MAX, UINT32_MAX, name);
    check(snapshot_name_parse(name, &set, &file));
    check(set == UINT64_MAX && file == UINT32_MAX);
    static const char *const ODD[] = { "snapshot-1-1.skry",
                                       "snapshot-00000000000000000001-01.skry",
                                       "snapshot-00000000000000000001-1.skry.part",
                                       "snapshot-00000000000000000001-.skry",
                                       "snapshot-99999999999999999999-1.skry",
                                       "snapshot-00000000000000000001-4294967296.skry",
                                       "snapshot-00000000000000000001",
                                       "snapshot-",
                                       "",
                                       "log-00000000000000000001.skry" };
    for (size_t i = 0; i < sizeof ODD / sizeof ODD[0]; i++)
        check(!snapshot_name_parse(ODD[i], &set, &file));
}

// ---- what is not valid

struct spoilt {
    uint8_t *bytes;
    uint64_t len;
    struct sim_disk *disk;
    char name[SNAPSHOT_NAME_MAX];
};

static void spoilt_open(struct spoilt *m, uint32_t entries)
{
    m->disk = sim_disk_new(1);
    check_equal(write_file(&m->disk->disk, entries), 0);
    snapshot_name(SET, 1, m->name);
    m->len = sim_disk_find(m->disk, m->name)->now.size;
    m->bytes = malloc(m->len + 2 * BLOCK_SIZE);
    sim_disk_peek(m->disk, m->name, 0, m->bytes, m->len);
}

static void spoilt_close(struct spoilt *m)
{
    free(m->bytes);
    sim_disk_free(m->disk);
}

static int64_t spoilt_read(struct spoilt *m, const char **why)
{
    *why = "";
    sim_disk_put(m->disk, m->name, m->bytes, m->len);
    return read_file(&m->disk->disk, why, false);
}

static void seal_header(struct spoilt *m)
{
    store_u32(m->bytes + SNAPSHOT_HEADER_CRC, snapshot_crc(0, m->bytes, BLOCK_SIZE, SNAPSHOT_HEADER_CRC));
}

static void seal_trailer(struct spoilt *m)
{
    uint64_t at = m->len - BLOCK_SIZE;
    uint32_t crc = snapshot_crc(snapshot_seed(&ID, at), m->bytes + at, BLOCK_SIZE, SNAPSHOT_TRAILER_CRC);
    store_u32(m->bytes + at + SNAPSHOT_TRAILER_CRC, crc);
}

static uint64_t chunk_len(const struct spoilt *m, uint64_t at)
{
    return snapshot_chunk_size(load_u32(m->bytes + at + 8));
}

// The chunk at `at`, and the trailer with all that follows from it.
static void seal_chunk(struct spoilt *m, uint64_t at)
{
    uint64_t len = chunk_len(m, at), trailer = m->len - BLOCK_SIZE, digest = 0, chunk = 0;
    uint32_t crc = snapshot_crc(snapshot_seed(&ID, at), m->bytes + at, len, SNAPSHOT_CHUNK_CRC);
    store_u32(m->bytes + at + SNAPSHOT_CHUNK_CRC, crc);
    for (uint64_t i = BLOCK_SIZE; i < trailer; i += chunk_len(m, i), chunk++)
        digest = snapshot_digest(digest, chunk, load_u32(m->bytes + i + SNAPSHOT_CHUNK_CRC));
    store_u64(m->bytes + trailer + 40, digest);
    seal_trailer(m);
}

// One byte of the header, trailer or a chunk changed, with good checksums.
struct wrong {
    uint64_t offset; // in the part
    uint8_t bits;
    const char *why;
};

static void a_header_that_is_not_valid_is_refused(void)
{
    static const struct wrong WRONG[] = {
        { 0, 1, "not a snapshot: header magic" },
        { 8, 2, "unknown format" },
        { 16, 1, "of another store" },
        { 48, 1, "of another set, or another file of it" },
        { 56, 3, "of another set, or another file of it" },
        { 60, 3 ^ 1, "number of files" },
        { 62, 1, "number of files" },
        { 64, 1, "shard count" },
        { 65, 0x80, "shard count" },
        { 68, 1, "header padding" },
        { 4095, 1, "header padding" },
    };
    struct spoilt m;
    spoilt_open(&m, 3);
    const char *why;
    for (size_t i = 0; i < sizeof WRONG / sizeof WRONG[0]; i++) {
        m.bytes[WRONG[i].offset] ^= WRONG[i].bits;
        seal_header(&m);
        check_equal(spoilt_read(&m, &why), -EBADMSG);
        if (strcmp(why, WRONG[i].why) != 0)
            printf("%zu: %s\n", i, why);
        check(strcmp(why, WRONG[i].why) == 0);
        m.bytes[WRONG[i].offset] ^= WRONG[i].bits;
    }
    seal_header(&m);
    check_equal(spoilt_read(&m, &why), 3);
    spoilt_close(&m);
}

static void a_trailer_that_is_not_valid_is_refused(void)
{
    static const struct wrong WRONG[] = {
        { 0, 1, "no trailer: unfinished, cut off or damaged" },
        { 48, 64, "no trailer: unfinished, cut off or damaged" }, // more watermarks than shards
        { 12, 1, "trailer padding" },
        { 4095, 1, "trailer padding" },
        { 16, 1, "totals differ" },
        { 24, 1, "totals differ" },
        { 32, 1, "totals differ" },
        { 40, 1, "digest differs" },
        { 52, 16, "watermark of a shard that there is not" },
        { 52, 4, "watermarks out of order" },
    };
    struct spoilt m;
    spoilt_open(&m, 3);
    const char *why;
    uint64_t trailer = m.len - BLOCK_SIZE;
    for (size_t i = 0; i < sizeof WRONG / sizeof WRONG[0]; i++) {
        m.bytes[trailer + WRONG[i].offset] ^= WRONG[i].bits;
        seal_trailer(&m);
        check_equal(spoilt_read(&m, &why), -EBADMSG);
        if (strcmp(why, WRONG[i].why) != 0)
            printf("%zu: %s\n", i, why);
        check(strcmp(why, WRONG[i].why) == 0);
        m.bytes[trailer + WRONG[i].offset] ^= WRONG[i].bits;
    }
    spoilt_close(&m);
}

static void a_chunk_that_is_not_valid_is_refused(void)
{
    static const struct wrong WRONG[] = {
        { 0, 1, "chunk magic" },
        { 10, 0x80, "chunk length" }, // beyond the file
        { 12, 1, "entries of a chunk" },
        { 12, 4, "entries of a chunk" },
        { 16, 1, "chunk number" },
        { 4095, 1, "chunk padding" },
        { 24, 1, "entries of a chunk" },       // the first entry is longer by a byte, and the last one's length is nonsense
        { 28, 0x80, "an entry is not valid" }, // unknown flag
        { 28, 0x70, "an entry is not valid" }, // unknown type
        { 29, 1, "an entry is not valid" },
    };
    struct spoilt m;
    spoilt_open(&m, 3);
    check_equal(chunk_len(&m, BLOCK_SIZE), BLOCK_SIZE);
    const char *why;
    for (size_t i = 0; i < sizeof WRONG / sizeof WRONG[0]; i++) {
        uint8_t before = m.bytes[BLOCK_SIZE + WRONG[i].offset];
        bool resealed = WRONG[i].offset != 10;
        m.bytes[BLOCK_SIZE + WRONG[i].offset] ^= WRONG[i].bits;
        if (WRONG[i].bits == 0x70)
            m.bytes[BLOCK_SIZE + WRONG[i].offset] = (uint8_t)(before | 0x70);
        if (resealed)
            seal_chunk(&m, BLOCK_SIZE);
        check_equal(spoilt_read(&m, &why), -EBADMSG);
        bool other = WRONG[i].offset == 24; // whatever is noticed first
        if (!other && strcmp(why, WRONG[i].why) != 0)
            printf("%zu: %s\n", i, why);
        check(other || strcmp(why, WRONG[i].why) == 0);
        m.bytes[BLOCK_SIZE + WRONG[i].offset] = before;
        seal_chunk(&m, BLOCK_SIZE);
    }
    check_equal(spoilt_read(&m, &why), 3);
    spoilt_close(&m);
}

static void lengths_of_entries_are_not_believed(void)
{
    struct spoilt m;
    spoilt_open(&m, 3);
    uint8_t *first = m.bytes + BLOCK_SIZE + SNAPSHOT_CHUNK_HEAD;
    uint32_t size = load_u32(first), head = (first[4] & RECORD_DEADLINE) != 0 ? 20 : 12, key = load_u32(first + head - 4);
    const char *why;
    static const uint32_t LENGTHS[] = { 0, 1, 11, 0x7fffffff, 0xffffffff };
    for (size_t i = 0; i < sizeof LENGTHS / sizeof LENGTHS[0]; i++) {
        store_u32(first, LENGTHS[i]);
        seal_chunk(&m, BLOCK_SIZE);
        check_equal(spoilt_read(&m, &why), -EBADMSG);
    }
    store_u32(first, size);
    static const uint32_t KEYS[] = { 0x7fffffff, 0xffffffff, RECORD_KEY_MAX };
    for (size_t i = 0; i < sizeof KEYS / sizeof KEYS[0]; i++) {
        store_u32(first + head - 4, KEYS[i]);
        seal_chunk(&m, BLOCK_SIZE);
        check_equal(spoilt_read(&m, &why), -EBADMSG);
    }
    store_u32(first + head - 4, key);
    seal_chunk(&m, BLOCK_SIZE);
    check_equal(spoilt_read(&m, &why), 3);
    spoilt_close(&m);
}

static void a_negative_deadline_is_refused(void)
{
    uint8_t bytes[32] = { 0 };
    struct snapshot_entry e;
    store_u32(bytes, 20);
    bytes[4] = RECORD_DEADLINE;
    store_u64(bytes + 8, UINT64_MAX);
    const uint8_t *at = bytes;
    uint64_t left = 20;
    check_equal(snapshot_entry_next(&e, &at, &left), -EBADMSG);
    store_u64(bytes + 8, INT64_MAX);
    check_equal(snapshot_entry_next(&e, &at, &left), 0);
    check_equal(snapshot_entry_next(&e, &at, &left), 1);
    left = 3;
    check_equal(snapshot_entry_next(&e, &at, &left), -EBADMSG);
}

// An entry over several chunks, of which something is missing or too much.
static void a_cut_entry_has_to_go_on(void)
{
    struct spoilt m;
    spoilt_open(&m, 8); // entry 5 is larger than two chunks
    const char *why;
    uint64_t at = BLOCK_SIZE, next = at + chunk_len(&m, at);
    check_equal(load_u32(m.bytes + next + 12), 0);
    store_u32(m.bytes + next + 12, 1);
    seal_chunk(&m, next);
    check_equal(spoilt_read(&m, &why), -EBADMSG);
    check(strcmp(why, "a cut entry does not go on") == 0);
    store_u32(m.bytes + next + 12, 0);
    seal_chunk(&m, next);
    check_equal(spoilt_read(&m, &why), 8);
    // Without its continuation, and renumbered behind it.
    uint64_t trailer = m.len - BLOCK_SIZE, digest = 0;
    memmove(m.bytes + next, m.bytes + trailer, BLOCK_SIZE);
    m.len = next + BLOCK_SIZE;
    digest = snapshot_digest(0, 0, load_u32(m.bytes + at + SNAPSHOT_CHUNK_CRC));
    store_u64(m.bytes + next + 24, 1);
    store_u64(m.bytes + next + 40, digest);
    seal_trailer(&m);
    check_equal(spoilt_read(&m, &why), -EBADMSG);
    check(strcmp(why, "an entry's length") == 0);
    spoilt_close(&m);
}

static void a_chunk_without_payload_is_refused(void)
{
    struct spoilt m;
    spoilt_open(&m, 3);
    const char *why;
    store_u32(m.bytes + BLOCK_SIZE + 8, 0);
    check_equal(spoilt_read(&m, &why), -EBADMSG);
    check(strcmp(why, "chunk length") == 0);
    spoilt_close(&m);
}

static void a_file_cut_anywhere_is_refused(void)
{
    struct spoilt m;
    spoilt_open(&m, 90);
    uint64_t whole = m.len;
    const char *why;
    for (m.len = 0; m.len < whole; m.len += m.len % BLOCK_SIZE == 0 && m.len > 8 * BLOCK_SIZE ? 512 * 97 : 512)
        check_equal(spoilt_read(&m, &why), -EBADMSG);
    m.len = whole;
    check_equal(spoilt_read(&m, &why), 90);
    memset(m.bytes + m.len, 0, BLOCK_SIZE);
    m.len += BLOCK_SIZE;
    check_equal(spoilt_read(&m, &why), -EBADMSG);
    spoilt_close(&m);
}

static void a_flipped_bit_anywhere_is_noticed(void)
{
    struct spoilt m;
    spoilt_open(&m, 5);
    const char *why;
    struct prng p;
    prng_init(&p, 5);
    uint32_t refused = 0;
    for (uint64_t i = 0; i < 600; i++) {
        uint64_t at = i < 200 ? i : i < 400 ? m.len - 1 - (i - 200) : prng_next(&p) % m.len;
        uint8_t bit = (uint8_t)(1u << prng_next(&p) % 8);
        m.bytes[at] ^= bit;
        refused += spoilt_read(&m, &why) == -EBADMSG;
        m.bytes[at] ^= bit;
    }
    check_equal(refused, 600);
    spoilt_close(&m);
}

static void chunks_do_not_count_elsewhere(void)
{
    struct spoilt m;
    spoilt_open(&m, 2500);
    const char *why;
    uint64_t a = BLOCK_SIZE, b = a + chunk_len(&m, a);
    check(chunk_len(&m, a) > 0 && b < m.len - BLOCK_SIZE);
    // A chunk of the same file in another's place, where it fits.
    uint64_t len = chunk_len(&m, a) < chunk_len(&m, b) ? chunk_len(&m, a) : chunk_len(&m, b);
    memcpy(m.bytes + b, m.bytes + a, len);
    check_equal(spoilt_read(&m, &why), -EBADMSG);
    spoilt_close(&m);
}

static void another_file_of_the_name_is_refused(void)
{
    struct sim_disk *d = sim_disk_new(1);
    check_equal(write_file(&d->disk, 10), 0);
    char from[SNAPSHOT_NAME_MAX], to[SNAPSHOT_NAME_MAX];
    snapshot_name(SET, 1, from);
    snapshot_name(SET, 2, to);
    check_equal(d->disk.ops->rename(&d->disk, from, to), 0);
    struct snapshot_reader *r;
    const char *why;
    check_equal(snapshot_reader_open(&r, &d->disk, SET, 2, &STORE, &why), -EBADMSG);
    check_equal(snapshot_reader_open(&r, &d->disk, SET, 1, &STORE, &why), -ENOENT);
    sim_disk_free(d);
}

// The same key twice is no matter of the file: both entries come, in order, and whoever loads keeps the last.
static void duplicate_keys_come_in_order(void)
{
    struct sim_disk *d = sim_disk_new(1);
    struct writing g = { .c = snapshot_chunk_new() };
    check_equal(snapshot_writer_open(&g.w, &d->disk, &ID), 0);
    for (int i = 0; i < 2; i++) {
        struct snapshot_entry e = { .deadline_ms = -1, .key = slice_cstr("same"), .value = slice_cstr(i == 0 ? "old" : "new") };
        put_entry(&g, &e);
    }
    check_equal(snapshot_writer_add(g.w, g.c), 0);
    check_equal(snapshot_writer_finish(g.w, MARKS, 1), 0);
    snapshot_writer_free(g.w);
    snapshot_chunk_free(g.c);
    struct snapshot_reader *r;
    const char *why;
    struct slice run;
    check_equal(snapshot_reader_open(&r, &d->disk, SET, 1, &STORE, &why), 0);
    check_equal(snapshot_reader_next(r, &run, &why), 0);
    struct snapshot_entry e;
    check_equal(snapshot_entry_next(&e, &run.data, &run.len), 0);
    check(slice_equal(e.value, slice_cstr("old")));
    check_equal(snapshot_entry_next(&e, &run.data, &run.len), 0);
    check(slice_equal(e.value, slice_cstr("new")));
    snapshot_reader_free(r);
    sim_disk_free(d);
}

// ---- the disk fails

static bool has(const struct sim_disk *d, const char *name)
{
    return sim_disk_find(d, name) != NULL;
}

static void a_failed_write_leaves_no_file(void)
{
    static const enum sim_disk_fault FAULTS[] = { DISK_FAIL_OPEN, DISK_FAIL_WRITE, DISK_FAIL_SYNC };
    char name[SNAPSHOT_NAME_MAX], part[SNAPSHOT_NAME_MAX + 8];
    snapshot_name(SET, 1, name);
    (void)snprintf(part, sizeof part, "%s.part", name);
    for (size_t i = 0; i < 3; i++) {
        for (uint64_t nth = 1; nth <= 4; nth++) {
            struct sim_disk *d = sim_disk_new(nth);
            sim_disk_fail(&*d, FAULTS[i], nth, false);
            int failed = write_file(&d->disk, 1500);
            check(failed == -EIO || (failed == 0 && FAULTS[i] != DISK_FAIL_WRITE && nth > 1));
            check_equal(has(d, name), failed == 0);
            check(!has(d, part));
            sim_disk_free(d);
        }
    }
}

static void a_failed_read_is_passed_on(void)
{
    for (uint64_t nth = 1; nth <= 3; nth++) {
        struct sim_disk *d = sim_disk_new(nth);
        const char *why;
        check_equal(write_file(&d->disk, 100), 0);
        sim_disk_fail(d, DISK_FAIL_READ, nth, false);
        check_equal(read_file(&d->disk, &why, false), -EIO);
        check_equal(read_file(&d->disk, &why, false), 100);
        sim_disk_free(d);
    }
}

static void what_a_life_before_left_is_in_nobodys_way(void)
{
    struct sim_disk *d = sim_disk_new(1);
    char part[SNAPSHOT_NAME_MAX + 8];
    (void)snprintf(part, sizeof part, "snapshot-%020u-1.skry.part", SET);
    sim_disk_put(d, part, "x", 1);
    const char *why;
    check_equal(write_file(&d->disk, 10), 0);
    check_equal(read_file(&d->disk, &why, true), 10);
    check(!has(d, part));
    sim_disk_free(d);
}

// Power fails at every operation: there is no file of the name, or a good one.
static void a_crash_leaves_a_whole_file_or_none(void)
{
    char name[SNAPSHOT_NAME_MAX];
    snapshot_name(SET, 1, name);
    struct prng p;
    prng_init(&p, 9);
    uint32_t whole = 0, none = 0;
    for (uint64_t cut = 1; cut < 40; cut++) {
        struct sim_disk *d = sim_disk_new(cut);
        sim_disk_cut(d, cut);
        int failed = write_file(&d->disk, 1000);
        for (uint32_t i = 0; i < 3 * CRASH_KINDS; i++) {
            struct sim_disk *after = sim_disk_crash(d, &p, (enum crash_kind)(i % CRASH_KINDS));
            const char *why;
            if (has(after, name)) {
                check_equal(read_file(&after->disk, &why, false), 1000);
                whole++;
            } else {
                none++;
            }
            sim_disk_free(after);
        }
        sim_disk_free(d);
        if (failed == 0)
            break;
        check(cut < 39);
    }
    check(whole > 0 && none > 0);
}

TESTS(TEST(what_is_written_is_read), TEST(totals_and_watermarks_come_back), TEST(every_shard_may_have_a_watermark),
      TEST(names_have_one_spelling), TEST(a_header_that_is_not_valid_is_refused), TEST(a_trailer_that_is_not_valid_is_refused),
      TEST(a_chunk_that_is_not_valid_is_refused), TEST(lengths_of_entries_are_not_believed), TEST(a_negative_deadline_is_refused),
      TEST(a_cut_entry_has_to_go_on), TEST(a_chunk_without_payload_is_refused), TEST(a_file_cut_anywhere_is_refused),
      TEST(a_flipped_bit_anywhere_is_noticed), TEST(chunks_do_not_count_elsewhere), TEST(another_file_of_the_name_is_refused),
      TEST(duplicate_keys_come_in_order), TEST(a_failed_write_leaves_no_file), TEST(a_failed_read_is_passed_on),
      TEST(what_a_life_before_left_is_in_nobodys_way), TEST(a_crash_leaves_a_whole_file_or_none))
