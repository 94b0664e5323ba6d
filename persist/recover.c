// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "persist/recover_inside.h"

// ---- what is said

void recover_conclude(struct recover *r, enum recover_verdict verdict, const char *rule, const char *format, ...)
{
    va_list args;
    assert(r->phase != PHASE_END);
    r->phase = PHASE_END;
    r->report.verdict = verdict;
    r->report.rule = rule;
    va_start(args, format);
    vsnprintf(r->report.text, sizeof r->report.text, format, args);
    va_end(args);
}

void recover_warn(struct recover *r, const char *format, ...)
{
    char text[RECOVER_TEXT_MAX];
    va_list args;
    r->report.warnings++;
    if (r->options.warn == NULL)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    r->options.warn(r->options.context, text);
}

void recover_place(struct recover *r, const char *file, uint64_t offset)
{
    snprintf(r->report.file, sizeof r->report.file, "%s", file);
    r->report.offset = offset;
}

void recover_place_segment(struct recover *r, uint32_t segment, uint64_t offset)
{
    if (segment < r->segment_count)
        recover_place(r, segment_text(r->segments[segment].id).text, offset);
    else
        recover_place(r, "the log", 0);
}

// ---- open and close

static int shard_tables(struct recover *r)
{
    uint32_t shards = r->shards == 0 ? 1 : r->shards;
    r->marks = calloc(shards, sizeof *r->marks);
    r->next = calloc(shards, sizeof *r->next);
    r->sequences = calloc(shards, sizeof *r->sequences);
    return r->marks != NULL && r->next != NULL && r->sequences != NULL ? 0 : -ENOMEM;
}

// As large as the largest segment, if that is not large.
static int window_for(struct recover *r)
{
    uint64_t most = BLOCK_SIZE;
    for (uint32_t i = 0; i < r->segment_count; i++)
        most = r->segments[i].size > most ? r->segments[i].size : most;
    most = most < WINDOW_BYTES ? round_up(most, BLOCK_SIZE) : WINDOW_BYTES;
    return window_init(&r->window, r->disk, (size_t)most);
}

int recover_open(struct recover **out, struct disk *disk, const struct recover_options *options)
{
    struct recover *r = calloc(1, sizeof *r);
    if (r == NULL)
        return -ENOMEM;
    r->disk = disk;
    r->options = *options;
    r->on = UINT32_MAX;
    r->report.rule = "";
    r->window.fd = -1;
    buf_init(&r->chain, BUF_NO_LIMIT);
    r->block = disk_memory(BLOCK_SIZE);
    int rc = r->block == NULL ? -ENOMEM : recover_files(r);
    if (rc == 0)
        rc = window_for(r);
    if (rc == 0)
        rc = shard_tables(r);
    r->at = r->segment_count;
    if (rc == 0 && r->phase != PHASE_END)
        rc = recover_snapshot_choose(r);
    if (rc != 0) {
        recover_free(r);
        return rc;
    }
    *out = r;
    return 0;
}

struct recover *recover_free(struct recover *r)
{
    if (r == NULL)
        return NULL;
    snapshot_reader_free(r->reader);
    window_deinit(&r->window);
    disk_memory_free(r->block, BLOCK_SIZE);
    buf_deinit(&r->chain);
    free(r->segments);
    free(r->marks);
    free(r->next);
    free(r->sequences);
    free(r);
    return NULL;
}

// ---- the pieces

static int next_piece(struct recover *r, struct recover_item *item)
{
    if (r->phase == PHASE_SNAPSHOT) {
        int rc = recover_snapshot_next(r, item);
        if (rc <= 0)
            return rc;
        if (r->phase == PHASE_SNAPSHOT)
            recover_log_begin(r);
    }
    return recover_log_next(r, item);
}

int recover_next(struct recover *r, struct recover_item *item)
{
    int rc;
    do {
        rc = next_piece(r, item);
    } while (rc == 0 && r->options.verify_only);
    if (rc == 1)
        for (uint32_t i = 0; i < r->shards; i++)
            r->sequences[i] = r->next[i] > r->marks[i] ? r->next[i] - 1 : r->marks[i];
    return rc;
}

// ---- what it found

const struct recover_report *recover_report(const struct recover *r)
{
    return &r->report;
}

void recover_origin(const struct recover *r, struct log_origin *origin, struct manifest *manifest)
{
    *origin = (struct log_origin){
        .store = r->store,
        .history = r->history,
        .lsn = r->unit_lsn,
        .last_crc = r->unit_crc,
        .last_segment = r->unit_segment,
        .shards = r->shards,
        .segment_size = r->options.segment_size,
    };
    *manifest = r->manifest;
}

const uint64_t *recover_sequences(const struct recover *r)
{
    return r->sequences;
}

uint32_t recover_progress(const struct recover *r, uint64_t *bytes, uint64_t *total)
{
    *bytes = r->snapshot_read + r->window.bytes_read;
    *total = r->bytes_total < *bytes ? *bytes : r->bytes_total;
    if (r->phase == PHASE_END)
        return 1000;
    return *total == 0 ? 0 : (uint32_t)((unsigned __int128)*bytes * 1000 / *total);
}
