// SPDX-License-Identifier: Apache-2.0
#include "tools/admin/out.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"

#define FRAME_MEMORY  ((size_t)FRAME_BLOCKS_MAX * BLOCK_SIZE)
#define FRAME_PAYLOAD (FRAME_MEMORY - FRAME_HEAD)

int out_init(struct out *o, struct disk *d, uint32_t shards, uint32_t route_mode, uint64_t segment_size)
{
    *o = (struct out){ .disk = d, .fd = -1, .now_ms = d->ops->wall_ms(d) };
    o->manifest = (struct manifest){
        .generation = 1, .shards = shards, .route_mode = route_mode, .segment_size = segment_size, .flags = MANIFEST_CLEAN
    };
    d->ops->entropy(d, &o->manifest.store, sizeof o->manifest.store);
    d->ops->entropy(d, &o->manifest.history, sizeof o->manifest.history);
    o->sequences = calloc(shards, sizeof *o->sequences);
    o->frame = disk_memory(FRAME_MEMORY);
    o->chunk = snapshot_chunk_new();
    return o->sequences != NULL && o->frame != NULL && o->chunk != NULL ? 0 : -ENOMEM;
}

void out_deinit(struct out *o)
{
    if (o->fd >= 0)
        o->disk->ops->close(o->disk, o->fd);
    snapshot_writer_free(o->writer);
    if (o->chunk != NULL)
        snapshot_chunk_free(o->chunk);
    if (o->frame != NULL)
        disk_memory_free(o->frame, FRAME_MEMORY);
    free(o->sequences);
}

// ---- snapshot

static int begin_snapshot(struct out *o)
{
    const struct snapshot_identity id = {
        .store = o->manifest.store, .history = o->manifest.history, .set = 1, .files = 1, .shards = o->manifest.shards, .made_ms = o->now_ms
    };
    return snapshot_writer_open(&o->writer, o->disk, &id);
}

static int flush_chunk(struct out *o)
{
    int rc = o->chunk->payload == 0 ? 0 : snapshot_writer_add(o->writer, o->chunk);
    snapshot_chunk_reset(o->chunk);
    return rc;
}

int out_entry(struct out *o, const struct snapshot_entry *e)
{
    int rc = o->writer == NULL ? begin_snapshot(o) : 0;
    uint64_t size = snapshot_entry_size(e), done = 0;
    while (rc == 0 && done < size) {
        if (snapshot_chunk_full(o->chunk))
            rc = flush_chunk(o);
        if (rc == 0)
            done = snapshot_chunk_add(o->chunk, e, done);
    }
    o->entries++;
    return rc;
}

void out_restart(struct out *o)
{
    o->writer = snapshot_writer_free(o->writer);
    snapshot_chunk_reset(o->chunk);
    o->entries = 0;
}

int out_snapshot_end(struct out *o)
{
    if (o->writer == NULL)
        return 0;
    struct snapshot_watermark *marks = calloc(o->manifest.shards, sizeof *marks);
    if (marks == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < o->manifest.shards; i++)
        marks[i].shard = i;
    int rc = flush_chunk(o);
    if (rc == 0)
        rc = snapshot_writer_finish(o->writer, marks, o->manifest.shards);
    o->manifest.set_count = 1;
    o->manifest.sets[0] = (struct snapshot_set){
        .id = 1, .files = 1, .bytes = snapshot_writer_bytes(o->writer), .made_ms = o->now_ms, .entries = o->entries
    };
    o->writer = snapshot_writer_free(o->writer);
    free(marks);
    return rc;
}

// ---- log

static int write_headers(struct out *o)
{
    memset(o->frame, 0, BLOCK_SIZE);
    segment_encode(&o->segment, o->frame);
    int rc = o->disk->ops->write(o->disk, o->fd, o->frame, BLOCK_SIZE, o->segment.size - BLOCK_SIZE);
    return rc != 0 ? rc : o->disk->ops->write(o->disk, o->fd, o->frame, BLOCK_SIZE, 0);
}

static int close_segment(struct out *o)
{
    int rc = o->fd < 0 ? 0 : o->disk->ops->sync(o->disk, o->fd);
    if (o->fd >= 0)
        o->disk->ops->close(o->disk, o->fd);
    o->fd = -1;
    return rc;
}

static int next_segment(struct out *o)
{
    char name[SEGMENT_NAME_MAX];
    struct segment_header previous = o->segment;
    int rc = close_segment(o);
    if (rc != 0)
        return rc;
    o->segment = (struct segment_header){
        .store = o->manifest.store,
        .history = o->manifest.history,
        .id = previous.id + 1,
        .first_lsn = o->lsn + 1,
        .previous_id = previous.id,
        .previous_lsn = o->lsn,
        .previous_crc = o->crc,
        .shards = o->manifest.shards,
        .size = o->manifest.segment_size,
    };
    o->disk->ops->entropy(o->disk, &o->segment.epoch, sizeof o->segment.epoch);
    segment_name(o->segment.id, name);
    o->fd = o->disk->ops->open(o->disk, name, DISK_WRITE | DISK_CREATE | DISK_BUFFERED, NULL);
    if (o->fd < 0)
        return o->fd;
    if (o->manifest.first_segment == 0)
        o->manifest.first_segment = o->segment.id;
    o->at = BLOCK_SIZE;
    rc = o->disk->ops->allocate(o->disk, o->fd, o->segment.size);
    return rc != 0 ? rc : write_headers(o);
}

// One frame of `len` bytes of payload.
static int put_frame(struct out *o, const uint8_t *bytes, uint64_t len, uint16_t flags, uint32_t batches)
{
    uint64_t room = (uint64_t)frame_blocks(len) * BLOCK_SIZE;
    int rc = o->fd < 0 || o->at + room > o->segment.size - BLOCK_SIZE ? next_segment(o) : 0;
    if (rc != 0)
        return rc;
    struct frame_head h = {
        .payload = (uint32_t)len,
        .flags = flags,
        .lsn = o->lsn + 1,
        .previous_crc = o->crc,
        .batches = batches,
        .epoch = o->segment.epoch,
        .made_ms = o->now_ms,
    };
    struct frame_place place = { &o->manifest.store, o->segment.id, o->segment.epoch, o->at };
    if (len > 0)
        memcpy(o->frame + FRAME_HEAD, bytes, len);
    frame_encode(&h, &place, o->frame, crc32c(0, bytes, len));
    rc = o->disk->ops->write(o->disk, o->fd, o->frame, room, o->at);
    o->at += room;
    o->lsn++;
    o->crc = h.crc;
    return rc;
}

// Frames may not be longer than a segment leaves room for.
static uint64_t payload_max(const struct out *o)
{
    uint64_t room = o->manifest.segment_size - 2 * BLOCK_SIZE - FRAME_HEAD;
    return room < FRAME_PAYLOAD ? room : FRAME_PAYLOAD;
}

static int put_unit(struct out *o, const uint8_t *bytes, uint64_t len, uint32_t batches)
{
    uint64_t max = payload_max(o);
    if (len <= max)
        return put_frame(o, bytes, len, 0, batches);
    int rc = 0;
    for (uint64_t at = 0; at < len && rc == 0; at += max) {
        uint64_t part = len - at < max ? len - at : max;
        uint16_t flags = at == 0 ? FRAME_FIRST : at + part == len ? FRAME_LAST : FRAME_MIDDLE;
        rc = put_frame(o, bytes + at, part, flags, at == 0 ? batches : 0);
    }
    return rc;
}

// Gives the sub-batch its place among this directory's sequences; what the snapshot holds is left out. Records keep their distances.
static int place_batch(struct out *o, struct sub_batch *b, const uint64_t *watermarks, uint8_t *bytes)
{
    if (b->shard >= o->manifest.shards)
        return -EBADMSG;
    const uint8_t *at = b->records;
    uint32_t taken = 0, skipped = 0;
    struct record r;
    while (taken < b->count && b->first + taken <= watermarks[b->shard]) {
        if (record_next(&r, b, &at, &taken) != 0)
            return -EBADMSG;
        skipped++;
    }
    uint8_t *kept = bytes + (at - b->records);
    uint32_t left = b->bytes - (uint32_t)(at - b->records);
    for (uint8_t *p = kept; p < kept + left; p += load_u32(p)) // record_next has seen that lengths add up
        store_u32(p + 8, load_u32(p + 8) - skipped);
    b->count = (uint16_t)(b->count - skipped);
    b->bytes = left;
    b->records = kept;
    b->first = o->sequences[b->shard] + 1;
    o->sequences[b->shard] += b->count;
    o->records += b->count;
    return 0;
}

static int check_batch(const struct sub_batch *b)
{
    const uint8_t *at = b->records;
    uint32_t taken = 0;
    struct record r;
    int rc;
    while ((rc = record_next(&r, b, &at, &taken)) == 0)
        continue;
    return rc == 1 ? 0 : rc;
}

int out_unit(struct out *o, uint8_t *bytes, uint64_t len, const uint64_t *watermarks)
{
    const uint8_t *at = bytes;
    uint64_t left = len, kept = 0;
    uint32_t batches = 0;
    struct sub_batch b;
    int rc;
    while ((rc = sub_batch_next(&b, &at, &left)) == 0) {
        if (check_batch(&b) != 0)
            return -EBADMSG;
        uint8_t *records = bytes + (b.records - bytes);
        if ((rc = place_batch(o, &b, watermarks, records)) != 0)
            return rc;
        if (b.count == 0)
            continue;
        uint8_t head[SUB_BATCH_HEAD];
        sub_batch_encode(&b, head);
        memmove(bytes + kept + SUB_BATCH_HEAD, b.records, b.bytes);
        memcpy(bytes + kept, head, sizeof head);
        kept += SUB_BATCH_HEAD + b.bytes;
        batches++;
    }
    if (rc < 0)
        return rc;
    return kept == 0 ? 0 : put_unit(o, bytes, kept, batches);
}

// ---- the end

static int put_manifest(struct disk *d, const char *name, const uint8_t *block)
{
    int fd = d->ops->open(d, name, DISK_WRITE | DISK_CREATE | DISK_BUFFERED, NULL);
    if (fd < 0)
        return fd;
    int rc = d->ops->write(d, fd, block, BLOCK_SIZE, 0);
    if (rc == 0)
        rc = d->ops->sync(d, fd);
    d->ops->close(d, fd);
    return rc;
}

int out_manifest(struct disk *d, const struct manifest *m)
{
    uint8_t block[BLOCK_SIZE];
    manifest_encode(m, block);
    int rc = d->ops->sync_names(d); // what it names first
    if (rc == 0)
        rc = put_manifest(d, manifest_name(m->generation), block);
    if (rc == 0)
        rc = d->ops->sync_names(d);
    return rc;
}

int out_finish(struct out *o)
{
    int rc = o->lsn > 0 ? put_frame(o, NULL, 0, FRAME_CLEAN_STOP, 0) : 0;
    if (rc == 0)
        rc = close_segment(o);
    if (o->lsn > 0)
        o->manifest.flags |= MANIFEST_LOG;
    o->manifest.witness = o->lsn;
    return rc == 0 ? out_manifest(o->disk, &o->manifest) : rc;
}
