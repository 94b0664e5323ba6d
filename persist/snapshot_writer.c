// SPDX-License-Identifier: Apache-2.0
// One snapshot file: header, chunks in the order they come, trailer, fsync; only then it gets its name.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "persist/snapshot.h"
#include "persist/snapshot_inside.h"

struct snapshot_writer {
    struct disk *disk;
    struct snapshot_identity id;
    int fd; // -1: finished, or lost
    bool named;
    char part[SNAPSHOT_NAME_MAX + 8];
    uint64_t offset;
    uint64_t entries, chunks, bytes;
    uint8_t *memory; // SNAPSHOT_TRAILER_MAX
    uint64_t digest;
};

static void encode_header(const struct snapshot_identity *id, uint8_t block[BLOCK_SIZE])
{
    memset(block, 0, BLOCK_SIZE);
    memcpy(block, SNAPSHOT_HEADER_MAGIC, 8);
    store_u32(block + 8, SNAPSHOT_FORMAT);
    memcpy(block + 16, id->store.bytes, 16);
    memcpy(block + 32, id->history.bytes, 16);
    store_u64(block + 48, id->set);
    store_u32(block + 56, id->file);
    store_u32(block + 60, id->files);
    store_u32(block + 64, id->shards);
    store_u64(block + 72, (uint64_t)id->made_ms);
    store_u32(block + SNAPSHOT_HEADER_CRC, snapshot_crc(0, block, BLOCK_SIZE, SNAPSHOT_HEADER_CRC));
}

int snapshot_writer_open(struct snapshot_writer **out, struct disk *disk, const struct snapshot_identity *id)
{
    assert(id->file < id->files && is_power_of_two(id->shards) && id->shards <= SHARDS_MAX);
    struct snapshot_writer *w = calloc(1, sizeof *w);
    if (w == NULL)
        return -ENOMEM;
    w->disk = disk;
    w->id = *id;
    w->fd = -1;
    char name[SNAPSHOT_NAME_MAX];
    snapshot_name(id->set, id->file, name);
    (void)snprintf(w->part, sizeof w->part, "%s.part", name);
    int failed = -ENOMEM;
    w->memory = disk_memory(SNAPSHOT_TRAILER_MAX);
    if (w->memory == NULL)
        goto give_up;
    failed = disk->ops->unlink(disk, w->part); // of a life before
    if (failed != 0 && failed != -ENOENT)
        goto give_up;
    uint64_t size = 0;
    w->fd = disk->ops->open(disk, w->part, DISK_WRITE | DISK_CREATE | snapshot_open_flags(disk), &size);
    failed = w->fd < 0 ? w->fd : 0;
    if (failed != 0)
        goto give_up;
    encode_header(id, w->memory);
    failed = disk->ops->write(disk, w->fd, w->memory, BLOCK_SIZE, 0);
    if (failed != 0)
        goto give_up;
    w->offset = BLOCK_SIZE;
    *out = w;
    return 0;
give_up:
    snapshot_writer_free(w);
    return failed;
}

int snapshot_writer_add(struct snapshot_writer *w, struct snapshot_chunk *c)
{
    assert(w->fd >= 0);
    if (c->payload == 0)
        return 0;
    uint64_t size = snapshot_chunk_size(c->payload);
    uint64_t used = (uint64_t)SNAPSHOT_CHUNK_HEAD + c->payload;
    memcpy(c->memory, SNAPSHOT_CHUNK_MAGIC, 4);
    store_u32(c->memory + 8, c->payload);
    store_u32(c->memory + 12, c->entries);
    store_u64(c->memory + 16, w->chunks);
    memset(c->memory + used, 0, size - used);
    uint32_t crc = snapshot_crc(snapshot_seed(&w->id, w->offset), c->memory, size, SNAPSHOT_CHUNK_CRC);
    store_u32(c->memory + SNAPSHOT_CHUNK_CRC, crc);
    int failed = w->disk->ops->write(w->disk, w->fd, c->memory, size, w->offset);
    if (failed != 0)
        return failed;
    w->digest = snapshot_digest(w->digest, w->chunks, crc);
    w->offset += size;
    w->chunks++;
    w->entries += c->entries;
    w->bytes += c->payload;
    return 0;
}

static uint64_t encode_trailer(struct snapshot_writer *w, const struct snapshot_watermark *watermarks, uint32_t count)
{
    uint64_t size = snapshot_trailer_size(count);
    uint8_t *to = w->memory;
    memset(to, 0, size);
    memcpy(to, SNAPSHOT_TRAILER_MAGIC, 8);
    store_u64(to + 16, w->entries);
    store_u64(to + 24, w->chunks);
    store_u64(to + 32, w->bytes);
    store_u64(to + 40, w->digest);
    store_u32(to + 48, count);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *at = to + SNAPSHOT_TRAILER_HEAD + (size_t)SNAPSHOT_WATERMARK * i;
        store_u32(at, watermarks[i].shard);
        store_u64(at + 4, watermarks[i].sequence);
    }
    store_u32(to + SNAPSHOT_TRAILER_CRC, snapshot_crc(snapshot_seed(&w->id, w->offset), to, size, SNAPSHOT_TRAILER_CRC));
    return size;
}

int snapshot_writer_finish(struct snapshot_writer *w, const struct snapshot_watermark *watermarks, uint32_t count)
{
    assert(w->fd >= 0 && count <= w->id.shards);
    struct disk *d = w->disk;
    uint64_t size = encode_trailer(w, watermarks, count);
    int failed = d->ops->write(d, w->fd, w->memory, size, w->offset);
    if (failed == 0)
        failed = d->ops->sync(d, w->fd);
    d->ops->close(d, w->fd);
    w->fd = -1;
    if (failed != 0)
        return failed;
    w->offset += size;
    char name[SNAPSHOT_NAME_MAX];
    snapshot_name(w->id.set, w->id.file, name);
    failed = d->ops->rename(d, w->part, name);
    w->named = failed == 0;
    return failed;
}

uint64_t snapshot_writer_bytes(const struct snapshot_writer *w)
{
    return w->offset;
}

uint64_t snapshot_writer_entries(const struct snapshot_writer *w)
{
    return w->entries;
}

struct snapshot_writer *snapshot_writer_free(struct snapshot_writer *w)
{
    if (w == NULL)
        return NULL;
    if (w->fd >= 0)
        w->disk->ops->close(w->disk, w->fd);
    if (!w->named)
        (void)w->disk->ops->unlink(w->disk, w->part);
    disk_memory_free(w->memory, SNAPSHOT_TRAILER_MAX);
    free(w);
    return NULL;
}
