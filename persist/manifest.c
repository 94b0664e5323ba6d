// SPDX-License-Identifier: Apache-2.0
#include "persist/manifest.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"

static const char MAGIC[8] = "SKRYMAN1";

enum {
    AT_FORMAT = 8,
    AT_CRC = 12,
    AT_GENERATION = 16,
    AT_STORE = 24,
    AT_HISTORY = 40,
    AT_SHARDS = 56,
    AT_FLAGS = 60,
    AT_FIRST_SEGMENT = 64,
    AT_WITNESS = 72,
    AT_SEGMENT_SIZE = 80,
    AT_ROUTE_MODE = 88,
    AT_SET_COUNT = 92,
    AT_SETS = 96,
    SET_BYTES = 48,
    AT_HIDDEN = AT_SETS + MANIFEST_SETS * SET_BYTES,
    AT_END = AT_HIDDEN + 8,
    FORMAT = 1
};

static_assert(AT_HIDDEN == 288 && AT_END <= BLOCK_SIZE, "a manifest is one block");

static uint32_t crc_of(const uint8_t block[BLOCK_SIZE])
{
    static const uint8_t NOUGHT[4];
    uint32_t crc = crc32c(0, block, AT_CRC);
    crc = crc32c(crc, NOUGHT, sizeof NOUGHT);
    return crc32c(crc, block + AT_GENERATION, BLOCK_SIZE - AT_GENERATION);
}

static void set_encode(const struct snapshot_set *set, uint8_t *to)
{
    store_u64(to, set->id);
    store_u64(to + 8, set->lsn);
    store_u32(to + 16, set->files);
    store_u64(to + 24, set->bytes);
    store_u64(to + 32, (uint64_t)set->made_ms);
    store_u64(to + 40, set->entries);
}

static void set_decode(struct snapshot_set *set, const uint8_t *from)
{
    *set = (struct snapshot_set){
        .id = load_u64(from),
        .lsn = load_u64(from + 8),
        .files = load_u32(from + 16),
        .bytes = load_u64(from + 24),
        .made_ms = (int64_t)load_u64(from + 32),
        .entries = load_u64(from + 40),
    };
}

void manifest_encode(const struct manifest *m, uint8_t block[BLOCK_SIZE])
{
    assert(m->set_count <= MANIFEST_SETS && m->generation > 0);
    memset(block, 0, BLOCK_SIZE);
    memcpy(block, MAGIC, sizeof MAGIC);
    store_u32(block + AT_FORMAT, FORMAT);
    store_u64(block + AT_GENERATION, m->generation);
    memcpy(block + AT_STORE, m->store.bytes, sizeof m->store.bytes);
    memcpy(block + AT_HISTORY, m->history.bytes, sizeof m->history.bytes);
    store_u32(block + AT_SHARDS, m->shards);
    store_u32(block + AT_FLAGS, m->flags);
    store_u64(block + AT_FIRST_SEGMENT, m->first_segment);
    store_u64(block + AT_WITNESS, m->witness);
    store_u64(block + AT_SEGMENT_SIZE, m->segment_size);
    store_u32(block + AT_ROUTE_MODE, m->route_mode);
    store_u32(block + AT_SET_COUNT, m->set_count);
    for (uint32_t i = 0; i < m->set_count; i++)
        set_encode(&m->sets[i], block + AT_SETS + i * SET_BYTES);
    store_u64(block + AT_HIDDEN, m->hidden_segment);
    store_u32(block + AT_CRC, crc_of(block));
}

static bool all_zero(const uint8_t *from, size_t len)
{
    return len == 0 || (from[0] == 0 && memcmp(from, from + 1, len - 1) == 0);
}

// What a valid CRC does not say; NULL: good.
static const char *objection(const struct manifest *m, const uint8_t block[BLOCK_SIZE])
{
    if (m->generation == 0)
        return "its generation is 0";
    if (!is_power_of_two(m->shards) || m->shards > SHARDS_MAX)
        return "its shard count is not a power of two, or too large";
    if (m->segment_size % BLOCK_SIZE != 0 || m->segment_size < 4 * BLOCK_SIZE)
        return "its segment size is not a multiple of a block, or too small";
    if (m->set_count > MANIFEST_SETS)
        return "it lists too many snapshots";
    for (uint32_t i = 0; i < m->set_count; i++) {
        if (m->sets[i].id == 0 || m->sets[i].files == 0 || load_u32(block + AT_SETS + i * SET_BYTES + 20) != 0)
            return "a snapshot has no id or no files";
        if (i > 0 && m->sets[i].id >= m->sets[i - 1].id)
            return "its snapshots are not in falling order";
    }
    size_t used = AT_SETS + m->set_count * SET_BYTES;
    if (!all_zero(block + used, AT_HIDDEN - used) || !all_zero(block + AT_END, BLOCK_SIZE - AT_END))
        return "there is something behind its snapshots";
    return NULL;
}

int manifest_decode(struct manifest *m, const uint8_t block[BLOCK_SIZE], const char **why)
{
    *why = "its magic is wrong";
    if (memcmp(block, MAGIC, sizeof MAGIC) != 0)
        return -EBADMSG;
    *why = "its format is unknown";
    if (load_u32(block + AT_FORMAT) != FORMAT)
        return -EBADMSG;
    *why = "its checksum is wrong";
    if (load_u32(block + AT_CRC) != crc_of(block))
        return -EBADMSG;
    *m = (struct manifest){
        .generation = load_u64(block + AT_GENERATION),
        .shards = load_u32(block + AT_SHARDS),
        .flags = load_u32(block + AT_FLAGS),
        .first_segment = load_u64(block + AT_FIRST_SEGMENT),
        .witness = load_u64(block + AT_WITNESS),
        .segment_size = load_u64(block + AT_SEGMENT_SIZE),
        .route_mode = load_u32(block + AT_ROUTE_MODE),
        .set_count = load_u32(block + AT_SET_COUNT),
        .hidden_segment = load_u64(block + AT_HIDDEN),
    };
    memcpy(m->store.bytes, block + AT_STORE, sizeof m->store.bytes);
    memcpy(m->history.bytes, block + AT_HISTORY, sizeof m->history.bytes);
    for (uint32_t i = 0; i < m->set_count && i < MANIFEST_SETS; i++)
        set_decode(&m->sets[i], block + AT_SETS + i * SET_BYTES);
    *why = objection(m, block);
    return *why == NULL ? 0 : -EBADMSG;
}

int manifest_pick(struct manifest *m, const uint8_t *a, const uint8_t *b, const char **why)
{
    const uint8_t *copies[2] = { a, b };
    const char *wrong = NULL;
    int found = 0;
    for (int i = 0; i < 2; i++) {
        struct manifest copy;
        const char *reason;
        if (copies[i] == NULL)
            continue;
        if (manifest_decode(&copy, copies[i], &reason) != 0) {
            wrong = reason;
            continue;
        }
        if (found++ == 0 || copy.generation > m->generation)
            *m = copy;
    }
    *why = wrong;
    if (found > 0)
        return 0;
    return wrong == NULL ? 1 : -EBADMSG;
}
