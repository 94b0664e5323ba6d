// SPDX-License-Identifier: Apache-2.0
// What the tests of recovery share: a directory that is laid, recovered, and told as text; memory and disks that fail when asked to.
#pragma once

#include "persist/recover.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/test.h"
#include "test/unit/persist/lay.h"

// ---- memory and disks that fail

static uint64_t allocations, fail_at; // fail_at 0: never

static inline bool out_of_memory(void)
{
    return fail_at != 0 && ++allocations == fail_at;
}

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size)
{
    return out_of_memory() ? NULL : __real_calloc(count, size);
}

void *__real_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size)
{
    return out_of_memory() ? NULL : __real_realloc(old, size);
}

void *__real_disk_memory(size_t len);
void *__wrap_disk_memory(size_t len);
void *__wrap_disk_memory(size_t len)
{
    return out_of_memory() ? NULL : __real_disk_memory(len);
}

static struct lay l;
static struct disk_ops ops;
static const struct disk_ops *real;
static uint64_t opens, open_fails_at; // 0: never
static uint64_t reads, read_fails_from;
static uint64_t shrink_at, shrink_to; // at the n-th opening
static int list_fails;

// Without memory of its own: that is not to fail.
static inline int plain_list(struct disk *d, disk_name_fn *fn, void *context)
{
    for (uint32_t i = 0; i < l.disk->names.count; i++)
        fn(context, l.disk->names.items[i].name);
    return list_fails;
}

static inline int counted_open(struct disk *d, const char *name, int flags, uint64_t *size)
{
    if (open_fails_at != 0 && ++opens == open_fails_at)
        return -EACCES;
    if (shrink_at != 0 && --shrink_at == 0)
        sim_disk_resize(l.disk, name, shrink_to);
    return real->open(d, name, flags, size);
}

static inline int counted_read(struct disk *d, int fd, void *data, size_t len, uint64_t offset)
{
    if (read_fails_from != 0 && ++reads >= read_fails_from)
        return -EIO;
    return real->read(d, fd, data, len, offset);
}

static inline void begin(uint32_t shards)
{
    lay_init(&l, shards);
    real = l.disk->disk.ops;
    ops = *real;
    ops.list = plain_list;
    ops.open = counted_open;
    ops.read = counted_read;
    l.disk->disk.ops = &ops;
    allocations = fail_at = opens = open_fails_at = 0;
    reads = read_fails_from = shrink_at = 0;
    list_fails = 0;
}

static inline void end(void)
{
    check(l.disk->failure[0] == '\0');
    lay_deinit(&l);
}

// ---- what recovery says

static struct outcome {
    int rc;
    struct recover_report report;
    char keys[4096]; // those handed out: "a b", entries of a snapshot as "<a>", RECOVER_RESTART as "|"
    char warnings[8192];
    struct log_origin origin;
    struct manifest manifest;
    uint64_t sequences[LAY_SHARDS];
} got;
static struct recover_options options;

static inline void on_warning(void *context, const char *text)
{
    (void)context;
    size_t used = strlen(got.warnings);
    snprintf(got.warnings + used, sizeof got.warnings - used, "%s\n", text);
}

static inline void say_key(const char *front, struct slice key, const char *back)
{
    size_t used = strlen(got.keys);
    snprintf(got.keys + used, sizeof got.keys - used, "%s%s%.*s%s", used > 0 ? " " : "", front, (int)(key.len < 16 ? key.len : 16),
             (const char *)key.data, back);
}

static inline void take_item(const struct recover_item *item)
{
    const uint8_t *at = item->bytes.data, *records;
    uint64_t left = item->bytes.len;
    struct snapshot_entry e;
    struct sub_batch b;
    struct record r;
    if (item->piece == RECOVER_RESTART)
        say_key("|", slice_of("", 0), "");
    while (item->piece == RECOVER_ENTRY_RUN && snapshot_entry_next(&e, &at, &left) == 0)
        say_key("<", e.key, ">");
    while (item->piece == RECOVER_UNIT && sub_batch_next(&b, &at, &left) == 0) {
        uint32_t taken = 0;
        records = b.records;
        while (record_next(&r, &b, &records, &taken) == 0)
            if (r.sequence > item->watermarks[b.shard])
                say_key("", r.key, "");
    }
}

static inline void run(void)
{
    struct recover *r;
    struct recover_item item;
    uint64_t bytes, total;
    memset(&got, 0, sizeof got);
    options.warn = on_warning;
    options.segment_size = LAY_SEGMENT;
    got.rc = recover_open(&r, &l.disk->disk, &options);
    if (got.rc != 0)
        return;
    while ((got.rc = recover_next(r, &item)) == 0) {
        check(recover_progress(r, &bytes, &total) <= 1000 && bytes <= total);
        take_item(&item);
    }
    got.report = *recover_report(r);
    recover_origin(r, &got.origin, &got.manifest);
    if (got.rc == 1 && got.report.verdict != RECOVER_EMPTY)
        memcpy(got.sequences, recover_sequences(r), got.origin.shards * sizeof got.sequences[0]);
    check(got.rc != 1 || recover_progress(r, &bytes, &total) == 1000);
    recover_free(r);
}

static inline void is_said(const char *file, int line, enum recover_verdict verdict, const char *rule, const char *keys)
{
    run();
    bool good = got.rc == 1 && got.report.verdict == verdict && strcmp(got.report.rule, rule) == 0 && strcmp(got.keys, keys) == 0;
    if (good)
        return;
    printf("%s:%d: rc %d, verdict %d (%d), rule %s (%s), keys \"%s\" (\"%s\")\n  %s\n%s", file, line, got.rc, (int)got.report.verdict,
           (int)verdict, got.report.rule, rule, got.keys, keys, got.report.text, got.warnings);
    test_failures++;
}
#define says(verdict, rule, keys) is_said(__FILE__, __LINE__, verdict, rule, keys)
#define text_has(part)            check(strstr(got.report.text, part) != NULL)
#define warned(part)              check(strstr(got.warnings, part) != NULL)

static inline const char *log_name(uint64_t id)
{
    static char name[SEGMENT_NAME_MAX];
    segment_name(id, name);
    return name;
}

static inline void spoil(uint64_t segment, uint64_t offset)
{
    sim_disk_flip(l.disk, log_name(segment), offset, 1);
}

static inline void spoil_headers(uint64_t segment)
{
    spoil(segment, 100);
    spoil(segment, LAY_SEGMENT - BLOCK_SIZE + 100);
}

static inline void remove_segment(uint64_t id)
{
    sim_disk_remove(l.disk, log_name(id));
}

// A frame's place, frames of one block each.
static inline uint64_t block_of(uint64_t number)
{
    return number * BLOCK_SIZE;
}

// ---- laying more

// A chain whose one record is cut anywhere.
static inline void lay_chain(const char *key, uint32_t frames, bool whole)
{
    static char value[9000];
    struct buf all;
    memset(value, 'y', sizeof value - 1);
    lay_set(&l, 0, key, value);
    all = l.payload;
    buf_init(&l.payload, BUF_NO_LIMIT);
    size_t piece = all.len / frames;
    for (uint32_t i = 0; i < frames - (whole ? 0 : 1); i++) {
        size_t len = i + 1 == frames ? all.len - piece * i : piece;
        if (l.offset + (uint64_t)frame_blocks(len) * BLOCK_SIZE > LAY_SEGMENT - BLOCK_SIZE)
            lay_segment(&l);
        lay_bytes(&l, all.data + piece * i, len);
        lay_frame_as(&l, i == 0 ? FRAME_FIRST : i + 1 == frames ? FRAME_LAST : FRAME_MIDDLE);
    }
    l.batches = 0;
    buf_deinit(&all);
}

// The next start: behind frame `lsn`, in the segment with this id.
static inline void start_again(uint64_t lsn, uint32_t crc, uint64_t sequence, uint64_t previous, uint64_t id)
{
    l.lsn = lsn;
    l.crc = crc;
    l.next[0] = sequence;
    l.segment = previous;
    struct segment_header h = lay_header(&l, id);
    h.epoch = 500 + id;
    lay_segment_as(&l, &h);
}
