// SPDX-License-Identifier: Apache-2.0
// Snapshot files of any bytes. First byte even: the input is the file. Odd: the input says what is in the chunks, whose checksums are
// made right, so that entries and totals are what is looked at. Whatever comes out lies in the file and is no more than it holds.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "persist/snapshot.h"
#include "persist/snapshot_inside.h"

#define FILE_MAX (4u * 1024 * 1024)

struct memory_disk {
    struct disk disk;
    uint8_t *bytes;
    uint64_t len;
};

static int open_memory(struct disk *d, const char *name, int flags, uint64_t *size)
{
    *size = ((struct memory_disk *)(void *)d)->len;
    return 3;
}

static void close_memory(struct disk *d, int fd)
{
}

static int read_memory(struct disk *d, int fd, void *data, size_t len, uint64_t offset)
{
    struct memory_disk *m = (struct memory_disk *)(void *)d;
    if (offset > m->len || len > m->len - offset)
        return -ENODATA;
    memcpy(data, m->bytes + offset, len);
    return 0;
}

static const struct disk_ops OPS = { .open = open_memory, .close = close_memory, .read = read_memory };
static const struct snapshot_identity ID = { .set = 1, .file = 0, .files = 1, .shards = 4 };

static void put_header(uint8_t *b)
{
    memset(b, 0, BLOCK_SIZE);
    memcpy(b, SNAPSHOT_HEADER_MAGIC, 8);
    store_u32(b + 8, SNAPSHOT_FORMAT);
    store_u64(b + 48, ID.set);
    store_u32(b + 60, ID.files);
    store_u32(b + 64, ID.shards);
    store_u32(b + SNAPSHOT_HEADER_CRC, snapshot_crc(0, b, BLOCK_SIZE, SNAPSHOT_HEADER_CRC));
}

// Pieces of the input: u16 length, u8 entries, payload.
static uint64_t put_chunks(uint8_t *to, const uint8_t *data, size_t size, uint64_t *chunks, uint64_t *bytes, uint64_t *digest)
{
    uint64_t at = BLOCK_SIZE;
    while (size > 3) {
        uint32_t len = load_u16(data), entries = data[2];
        len = len > size - 3 ? (uint32_t)size - 3 : len;
        uint64_t block = snapshot_chunk_size(len);
        if (at + block + BLOCK_SIZE > FILE_MAX)
            break;
        memset(to + at, 0, block);
        memcpy(to + at, SNAPSHOT_CHUNK_MAGIC, 4);
        store_u32(to + at + 8, len);
        store_u32(to + at + 12, entries);
        store_u64(to + at + 16, *chunks);
        memcpy(to + at + SNAPSHOT_CHUNK_HEAD, data + 3, len);
        uint32_t crc = snapshot_crc(snapshot_seed(&ID, at), to + at, block, SNAPSHOT_CHUNK_CRC);
        store_u32(to + at + SNAPSHOT_CHUNK_CRC, crc);
        *digest = snapshot_digest(*digest, *chunks, crc);
        ++*chunks;
        *bytes += len;
        at += block;
        data += 3 + len;
        size -= 3 + len;
    }
    return at;
}

static uint64_t make_file(uint8_t *to, uint64_t entries, const uint8_t *data, size_t size)
{
    uint64_t chunks = 0, bytes = 0, digest = 0;
    put_header(to);
    uint64_t at = put_chunks(to, data, size, &chunks, &bytes, &digest);
    uint8_t *b = to + at;
    memset(b, 0, BLOCK_SIZE);
    memcpy(b, SNAPSHOT_TRAILER_MAGIC, 8);
    store_u64(b + 16, entries);
    store_u64(b + 24, chunks);
    store_u64(b + 32, bytes);
    store_u64(b + 40, digest);
    store_u32(b + SNAPSHOT_TRAILER_CRC, snapshot_crc(snapshot_seed(&ID, at), b, BLOCK_SIZE, SNAPSHOT_TRAILER_CRC));
    return at + BLOCK_SIZE;
}

static void read_all(struct memory_disk *m)
{
    struct snapshot_reader *r;
    const char *why;
    if (snapshot_reader_open(&r, &m->disk, ID.set, ID.file, &ID.store, &why) != 0)
        return;
    struct snapshot_totals totals;
    snapshot_reader_totals(r, &totals);
    uint64_t entries = 0, bytes = 0;
    struct slice run;
    int got;
    while ((got = snapshot_reader_next(r, &run, &why)) == 0) {
        struct snapshot_entry e;
        const uint8_t *at = run.data;
        uint64_t left = run.len;
        bytes += run.len;
        for (int more; (more = snapshot_entry_next(&e, &at, &left)) != 1; entries++) {
            if (more != 0)
                abort(); // runs are whole entries
        }
    }
    if (bytes > m->len || (got == 1 && (entries != totals.entries || bytes != totals.bytes)))
        abort();
    snapshot_reader_free(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t file[FILE_MAX];
    struct memory_disk m = { .disk = { .ops = &OPS, .align = BLOCK_SIZE }, .bytes = file };
    if (size < 2 || size > FILE_MAX)
        return 0;
    if ((data[0] & 1) != 0) {
        m.len = make_file(file, data[1], data + 2, size - 2);
    } else {
        m.len = size - 1;
        memcpy(file, data + 1, m.len);
    }
    read_all(&m);
    return 0;
}
