// SPDX-License-Identifier: Apache-2.0
// Reads one snapshot file from the trailer backwards to its header, then chunk by chunk. No length is believed before the bytes that it
// speaks of are known to be there; what is cut into several chunks is gathered as it arrives.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "persist/snapshot.h"
#include "persist/snapshot_inside.h"

#define WINDOW (2 * SNAPSHOT_CHUNK_MAX)

struct snapshot_reader {
    struct disk *disk;
    struct snapshot_totals totals; // as the trailer has them
    struct snapshot_watermark *watermarks;
    int fd;
    uint64_t digest, digest_wanted; // so far; the trailer's
    uint64_t end;                   // where the trailer begins
    uint64_t at;                    // offset of the next chunk
    uint64_t chunk;                 // its number
    uint64_t entries, bytes;        // seen
    uint8_t *window;                // the file, or WINDOW bytes of it
    uint64_t window_size, window_from, window_len;
    struct buf cut;   // an entry that goes on in the next chunk
    uint64_t cut_len; // its length, 0: nothing is being gathered
    bool cut_out;     // it was handed out: forget it
};

static int bad(const char **why, const char *text)
{
    *why = text;
    return -EBADMSG;
}

static bool all_zero(const uint8_t *p, uint64_t len)
{
    for (uint64_t i = 0; i < len; i++) {
        if (p[i] != 0)
            return false;
    }
    return true;
}

// ---- header and trailer

static int decode_header(struct snapshot_reader *r, const uint8_t *b, uint64_t set, uint32_t file, const struct uuid *store,
                         const char **why)
{
    struct snapshot_identity *id = &r->totals.id;
    if (memcmp(b, SNAPSHOT_HEADER_MAGIC, 8) != 0)
        return bad(why, "not a snapshot: header magic");
    if (load_u32(b + SNAPSHOT_HEADER_CRC) != snapshot_crc(0, b, BLOCK_SIZE, SNAPSHOT_HEADER_CRC))
        return bad(why, "header checksum");
    if (load_u32(b + 8) != SNAPSHOT_FORMAT)
        return bad(why, "unknown format");
    memcpy(id->store.bytes, b + 16, 16);
    memcpy(id->history.bytes, b + 32, 16);
    id->set = load_u64(b + 48);
    id->file = load_u32(b + 56);
    id->files = load_u32(b + 60);
    id->shards = load_u32(b + 64);
    id->made_ms = (int64_t)load_u64(b + 72);
    if (!uuid_equal(&id->store, store))
        return bad(why, "of another store");
    if (id->set != set || id->file != file)
        return bad(why, "of another set, or another file of it");
    if (id->file >= id->files || id->files > SHARDS_MAX)
        return bad(why, "number of files");
    if (!is_power_of_two(id->shards) || id->shards > SHARDS_MAX)
        return bad(why, "shard count");
    if (!all_zero(b + 68, 4) || !all_zero(b + 80, BLOCK_SIZE - 80))
        return bad(why, "header padding");
    return 0;
}

static int decode_watermarks(struct snapshot_reader *r, const uint8_t *at, uint32_t count, const char **why)
{
    r->watermarks = calloc((size_t)count + 1, sizeof *r->watermarks);
    if (r->watermarks == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < count; i++, at += SNAPSHOT_WATERMARK) {
        r->watermarks[i] = (struct snapshot_watermark){ .shard = load_u32(at), .sequence = load_u64(at + 4) };
        if (r->watermarks[i].shard >= r->totals.id.shards)
            return bad(why, "watermark of a shard that there is not");
        if (i > 0 && r->watermarks[i].shard <= r->watermarks[i - 1].shard)
            return bad(why, "watermarks out of order");
    }
    r->totals.watermarks = r->watermarks;
    r->totals.watermark_count = count;
    return 0;
}

static int decode_trailer(struct snapshot_reader *r, const uint8_t *b, uint64_t size, const char **why)
{
    uint32_t count = load_u32(b + 48);
    if (!all_zero(b + 12, 4) || !all_zero(b + SNAPSHOT_TRAILER_HEAD + (uint64_t)SNAPSHOT_WATERMARK * count,
                                          size - SNAPSHOT_TRAILER_HEAD - (uint64_t)SNAPSHOT_WATERMARK * count))
        return bad(why, "trailer padding");
    r->totals.entries = load_u64(b + 16);
    r->totals.chunks = load_u64(b + 24);
    r->totals.bytes = load_u64(b + 32);
    r->digest_wanted = load_u64(b + 40);
    return decode_watermarks(r, b + SNAPSHOT_TRAILER_HEAD, count, why);
}

// The trailer is as long as its watermarks make it: it begins at the block from where on everything to the file's end verifies.
static int find_trailer(struct snapshot_reader *r, uint64_t size, const char **why)
{
    uint64_t most = size - BLOCK_SIZE < SNAPSHOT_TRAILER_MAX ? size - BLOCK_SIZE : SNAPSHOT_TRAILER_MAX;
    int failed = r->disk->ops->read(r->disk, r->fd, r->window, most, size - most);
    if (failed != 0)
        return failed;
    for (uint64_t len = BLOCK_SIZE; len <= most; len += BLOCK_SIZE) {
        const uint8_t *b = r->window + most - len;
        if (memcmp(b, SNAPSHOT_TRAILER_MAGIC, 8) != 0 || load_u32(b + 48) > r->totals.id.shards)
            continue;
        if (snapshot_trailer_size(load_u32(b + 48)) != len)
            continue;
        uint32_t crc = snapshot_crc(snapshot_seed(&r->totals.id, size - len), b, len, SNAPSHOT_TRAILER_CRC);
        if (crc != load_u32(b + SNAPSHOT_TRAILER_CRC))
            continue;
        r->end = size - len;
        return decode_trailer(r, b, len, why);
    }
    return bad(why, "no trailer: unfinished, cut off or damaged");
}

static int open_file(struct snapshot_reader *r, uint64_t set, uint32_t file, const struct uuid *store, const char **why)
{
    char name[SNAPSHOT_NAME_MAX];
    snapshot_name(set, file, name);
    uint64_t size = 0;
    r->fd = r->disk->ops->open(r->disk, name, DISK_READ | snapshot_open_flags(r->disk), &size);
    if (r->fd < 0)
        return r->fd;
    if (size % BLOCK_SIZE != 0 || size < 2 * BLOCK_SIZE)
        return bad(why, "length");
    r->window_size = size < WINDOW ? size : WINDOW;
    r->window = disk_memory(r->window_size);
    if (r->window == NULL)
        return -ENOMEM;
    int failed = r->disk->ops->read(r->disk, r->fd, r->window, BLOCK_SIZE, 0);
    if (failed == 0)
        failed = decode_header(r, r->window, set, file, store, why);
    return failed != 0 ? failed : find_trailer(r, size, why);
}

int snapshot_reader_open(struct snapshot_reader **out, struct disk *disk, uint64_t set, uint32_t file, const struct uuid *store,
                         const char **why)
{
    struct snapshot_reader *r = calloc(1, sizeof *r);
    if (r == NULL)
        return -ENOMEM;
    r->disk = disk;
    r->fd = -1;
    r->at = BLOCK_SIZE;
    buf_init(&r->cut, SNAPSHOT_ENTRY_MAX);
    *why = "";
    int failed = open_file(r, set, file, store, why);
    if (failed != 0) {
        snapshot_reader_free(r);
        return failed;
    }
    *out = r;
    return 0;
}

void snapshot_reader_totals(const struct snapshot_reader *r, struct snapshot_totals *out)
{
    *out = r->totals;
}

struct snapshot_reader *snapshot_reader_free(struct snapshot_reader *r)
{
    if (r == NULL)
        return NULL;
    if (r->fd >= 0)
        r->disk->ops->close(r->disk, r->fd);
    disk_memory_free(r->window, r->window_size);
    buf_deinit(&r->cut);
    free(r->watermarks);
    free(r);
    return NULL;
}

// ---- chunks

// `len` bytes from r->at on are in the window; they lie before r->end.
static int window_hold(struct snapshot_reader *r, uint64_t len)
{
    assert(len <= r->window_size && len <= r->end - r->at);
    uint64_t have = r->at >= r->window_from && r->at < r->window_from + r->window_len ? r->window_from + r->window_len - r->at : 0;
    if (have >= len)
        return 0;
    if (have > 0)
        memmove(r->window, r->window + (r->at - r->window_from), have);
    uint64_t more = r->end - r->at - have < r->window_size - have ? r->end - r->at - have : r->window_size - have;
    r->window_from = r->at;
    r->window_len = 0;
    int failed = r->disk->ops->read(r->disk, r->fd, r->window + have, more, r->at + have);
    if (failed == 0)
        r->window_len = have + more;
    return failed;
}

// The next chunk, verified as far as its checksum goes.
static int take_chunk(struct snapshot_reader *r, struct slice *payload, uint32_t *entries, const char **why)
{
    int failed = window_hold(r, BLOCK_SIZE);
    if (failed != 0)
        return failed;
    const uint8_t *head = r->window + (r->at - r->window_from);
    uint32_t len = load_u32(head + 8);
    if (memcmp(head, SNAPSHOT_CHUNK_MAGIC, 4) != 0)
        return bad(why, "chunk magic");
    if (len == 0 || len > SNAPSHOT_CHUNK_MAX - SNAPSHOT_CHUNK_HEAD || snapshot_chunk_size(len) > r->end - r->at)
        return bad(why, "chunk length");
    uint64_t size = snapshot_chunk_size(len);
    failed = window_hold(r, size);
    if (failed != 0)
        return failed;
    head = r->window + (r->at - r->window_from);
    uint32_t crc = load_u32(head + SNAPSHOT_CHUNK_CRC);
    if (crc != snapshot_crc(snapshot_seed(&r->totals.id, r->at), head, size, SNAPSHOT_CHUNK_CRC))
        return bad(why, "chunk checksum");
    if (load_u64(head + 16) != r->chunk)
        return bad(why, "chunk number");
    if (!all_zero(head + SNAPSHOT_CHUNK_HEAD + len, size - SNAPSHOT_CHUNK_HEAD - len))
        return bad(why, "chunk padding");
    r->digest = snapshot_digest(r->digest, r->chunk, crc);
    *payload = slice_of(head + SNAPSHOT_CHUNK_HEAD, len);
    *entries = load_u32(head + 12);
    r->at += size;
    r->chunk++;
    r->bytes += len;
    return 0;
}

static int at_end(struct snapshot_reader *r, const char **why)
{
    if (r->cut_len != 0)
        return bad(why, "the last entry is cut off");
    if (r->chunk != r->totals.chunks || r->bytes != r->totals.bytes || r->entries != r->totals.entries)
        return bad(why, "totals differ");
    if (r->digest != r->digest_wanted)
        return bad(why, "digest differs");
    return 1;
}

// How many whole entries there are, and how many bytes they take. What is behind them is the beginning of one that goes on.
static int count_whole(struct slice payload, uint64_t *whole, uint32_t *count, const char **why)
{
    const uint8_t *at = payload.data;
    uint64_t left = payload.len;
    struct snapshot_entry e;
    *count = 0;
    while (left >= 4 && load_u32(at) <= left) {
        if (snapshot_entry_next(&e, &at, &left) != 0)
            return bad(why, "an entry is not valid");
        ++*count;
    }
    *whole = payload.len - left;
    return 0;
}

static int begin_cut(struct snapshot_reader *r, struct slice rest, uint32_t entries, const char **why)
{
    if (rest.len < 4)
        return bad(why, "an entry's length is cut");
    r->cut_len = load_u32(rest.data);
    if (r->cut_len > SNAPSHOT_ENTRY_MAX || r->cut_len - rest.len > r->end - r->at)
        return bad(why, "an entry's length");
    if (entries != 1)
        return bad(why, "entries of a chunk");
    buf_append_slice(&r->cut, rest);
    return r->cut.failed ? -ENOMEM : 0;
}

// A chunk that goes on with the entry being gathered: 0: it is whole; 2: not yet.
static int go_on(struct snapshot_reader *r, struct slice payload, uint32_t entries, const char **why)
{
    if (entries != 0 || payload.len > r->cut_len - r->cut.len)
        return bad(why, "a cut entry does not go on");
    buf_append_slice(&r->cut, payload);
    if (r->cut.failed)
        return -ENOMEM;
    if (r->cut.len < r->cut_len)
        return 2;
    struct snapshot_entry e;
    const uint8_t *at = r->cut.data;
    uint64_t left = r->cut.len;
    if (snapshot_entry_next(&e, &at, &left) != 0 || left != 0)
        return bad(why, "an entry is not valid");
    r->cut_len = 0;
    r->cut_out = true;
    r->entries++;
    return 0;
}

int snapshot_reader_next(struct snapshot_reader *r, struct slice *entries, const char **why)
{
    if (r->cut_out) {
        r->cut_out = false;
        buf_deinit(&r->cut);
    }
    while (r->at < r->end) {
        struct slice payload;
        uint32_t count, found;
        uint64_t whole;
        int failed = take_chunk(r, &payload, &count, why);
        if (failed != 0)
            return failed;
        if (r->cut_len != 0) {
            failed = go_on(r, payload, count, why);
            *entries = buf_view(&r->cut);
            if (failed != 2)
                return failed;
            continue;
        }
        failed = count_whole(payload, &whole, &found, why);
        if (failed != 0)
            return failed;
        if (found > count || (found < count && whole == payload.len))
            return bad(why, "entries of a chunk");
        if (whole < payload.len)
            failed = begin_cut(r, slice_of(payload.data + whole, payload.len - whole), count - found, why);
        if (failed != 0)
            return failed;
        r->entries += found;
        *entries = slice_of(payload.data, whole);
        if (whole > 0)
            return 0;
    }
    return at_end(r, why);
}
