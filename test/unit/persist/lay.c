// SPDX-License-Identifier: Apache-2.0
#include "test/unit/persist/lay.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/crc32c.h"

void lay_init(struct lay *l, uint32_t shards)
{
    *l = (struct lay){ .disk = sim_disk_new(1), .segment_size = LAY_SEGMENT, .epoch = 1000 };
    l->manifest = (struct manifest){
        .store = { "store of a test" },
        .history = { "its history" },
        .shards = shards,
        .flags = MANIFEST_LOG,
        .segment_size = LAY_SEGMENT,
    };
    for (uint32_t i = 0; i < LAY_SHARDS; i++)
        l->next[i] = 1;
    buf_init(&l->payload, BUF_NO_LIMIT);
    lay_manifest(l);
}

void lay_deinit(struct lay *l)
{
    sim_disk_free(l->disk);
    buf_deinit(&l->payload);
}

void lay_manifest(struct lay *l)
{
    uint8_t block[BLOCK_SIZE];
    l->manifest.generation++;
    manifest_encode(&l->manifest, block);
    sim_disk_put(l->disk, manifest_name(l->manifest.generation), block, sizeof block);
}

struct segment_header lay_header(const struct lay *l, uint64_t id)
{
    return (struct segment_header){
        .store = l->manifest.store,
        .history = l->manifest.history,
        .id = id,
        .epoch = l->epoch + 1,
        .first_lsn = l->lsn + 1,
        .previous_id = l->segment,
        .previous_lsn = l->lsn,
        .previous_crc = l->crc,
        .shards = l->manifest.shards,
        .size = l->segment_size,
    };
}

static void put_segment(struct lay *l, const struct segment_header *h)
{
    char name[SEGMENT_NAME_MAX];
    uint8_t *bytes = calloc(1, h->size);
    assert(bytes != NULL);
    segment_encode(h, bytes);
    segment_encode(h, bytes + h->size - BLOCK_SIZE);
    segment_name(h->id, name);
    sim_disk_put(l->disk, name, bytes, h->size);
    free(bytes);
}

void lay_segment_as(struct lay *l, const struct segment_header *h)
{
    put_segment(l, h);
    l->segment = h->id;
    l->epoch = h->epoch;
    l->offset = BLOCK_SIZE;
}

void lay_segment(struct lay *l)
{
    struct segment_header h = lay_header(l, l->segment + 1);
    lay_segment_as(l, &h);
}

void lay_ahead(struct lay *l, uint64_t id)
{
    struct segment_header h = lay_header(l, id);
    h.first_lsn = h.previous_id = h.previous_lsn = 0;
    h.previous_crc = 0;
    put_segment(l, &h);
}

void lay_bytes(struct lay *l, const void *bytes, size_t len)
{
    buf_append(&l->payload, bytes, len);
}

void lay_set(struct lay *l, uint32_t shard, const char *key, const char *value)
{
    struct record r = {
        .op = RECORD_SET, .sequence = l->next[shard]++, .deadline_ms = -1, .key = slice_cstr(key), .value = slice_cstr(value)
    };
    struct sub_batch b = { .shard = (uint16_t)shard, .count = 1, .bytes = (uint32_t)record_size(&r), .first = r.sequence };
    uint8_t *to = buf_reserve(&l->payload, SUB_BATCH_HEAD + b.bytes);
    assert(to != NULL);
    sub_batch_encode(&b, to);
    record_encode(&r, b.first, to + SUB_BATCH_HEAD);
    buf_advance(&l->payload, SUB_BATCH_HEAD + b.bytes);
    l->batches++;
}

void lay_frame_as(struct lay *l, uint16_t flags)
{
    char name[SEGMENT_NAME_MAX];
    struct frame_head h = {
        .payload = (uint32_t)l->payload.len,
        .flags = flags,
        .lsn = l->lsn + 1,
        .durable = l->durable,
        .previous_crc = l->crc,
        .batches = l->batches,
        .epoch = l->epoch,
    };
    struct frame_place place = { .store = &l->manifest.store, .segment = l->segment, .epoch = l->epoch, .offset = l->offset };
    size_t size = (size_t)frame_blocks(h.payload) * BLOCK_SIZE;
    uint8_t *frame = calloc(1, size);
    assert(frame != NULL);
    if (l->payload.len > 0)
        memcpy(frame + FRAME_HEAD, l->payload.data, l->payload.len);
    frame_encode(&h, &place, frame, crc32c(0, frame + FRAME_HEAD, h.payload));
    segment_name(l->segment, name);
    assert(l->offset + size <= l->segment_size - BLOCK_SIZE);
    sim_disk_patch(l->disk, name, l->offset, frame, size);
    free(frame);
    l->last_offset = l->offset;
    l->last_blocks = h.blocks;
    l->offset += size;
    l->lsn = h.lsn;
    l->crc = h.crc;
    l->payload.len = 0;
    l->batches = 0;
}

void lay_frame(struct lay *l)
{
    lay_frame_as(l, 0);
}

void lay_key(struct lay *l, const char *key)
{
    lay_set(l, 0, key, "v");
    lay_frame(l);
}

void lay_keys(struct lay *l, uint32_t count, uint64_t behind)
{
    for (uint32_t i = 0; i < count; i++) {
        char key[24];
        snprintf(key, sizeof key, "%u", (unsigned)(l->lsn + 1));
        l->durable = l->lsn > behind ? l->lsn - behind : 0;
        lay_key(l, key);
    }
}

void lay_snapshot(struct lay *l, uint64_t id, uint32_t files, uint64_t lsn, const char *keys)
{
    struct snapshot_set set = { .id = id, .lsn = lsn, .files = files };
    struct snapshot_chunk *c = snapshot_chunk_new();
    assert(c != NULL);
    for (uint32_t file = 0; file < files; file++) {
        struct snapshot_identity identity = { .store = l->manifest.store,
                                              .history = l->manifest.history,
                                              .set = id,
                                              .file = file,
                                              .files = files,
                                              .shards = l->manifest.shards };
        struct snapshot_writer *w;
        struct snapshot_watermark marks[LAY_SHARDS];
        uint32_t count = 0;
        int rc = snapshot_writer_open(&w, &l->disk->disk, &identity);
        assert(rc == 0);
        snapshot_chunk_reset(c);
        for (const char *at = keys; *at != '\0' && rc == 0; at++) {
            char key[2] = { *at, '\0' };
            if (*at == ' ' || (uint32_t)(*at % (int)files) != file)
                continue;
            struct snapshot_entry e = { .deadline_ms = -1, .key = slice_cstr(key), .value = slice_cstr("v") };
            uint64_t done = snapshot_chunk_add(c, &e, 0);
            assert(done == snapshot_entry_size(&e));
            set.entries++;
            rc = snapshot_writer_add(w, c); // a chunk for each entry
            snapshot_chunk_reset(c);
        }
        for (uint32_t shard = file; shard < l->manifest.shards; shard += files)
            marks[count++] = (struct snapshot_watermark){ .shard = shard, .sequence = l->next[shard] - 1 };
        rc = rc != 0 ? rc : snapshot_writer_finish(w, marks, count);
        assert(rc == 0);
        set.bytes += snapshot_writer_bytes(w);
        snapshot_writer_free(w);
    }
    snapshot_chunk_free(c);
    struct manifest *m = &l->manifest;
    m->set_count = m->set_count < MANIFEST_SETS ? m->set_count + 1 : MANIFEST_SETS;
    memmove(&m->sets[1], &m->sets[0], (m->set_count - 1) * sizeof m->sets[0]);
    m->sets[0] = set;
}
