// SPDX-License-Identifier: Apache-2.0
// Names, entries and chunks: what writer and reader share.
#include "persist/snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "persist/snapshot_inside.h"

#define ENTRY_HEAD 12u // without deadline: bytes, flags, zero, database, key length
#define FLAGS      (RECORD_DEADLINE | RECORD_MARK | RECORD_TYPE)

void snapshot_name(uint64_t set, uint32_t file, char name[SNAPSHOT_NAME_MAX])
{
    (void)snprintf(name, SNAPSHOT_NAME_MAX, "snapshot-%020llu-%u.skry", (unsigned long long)set, file);
}

// Digits to the next other byte; false: none, or more than fit.
static bool digits(const char **at, uint64_t max, uint64_t *out)
{
    const char *from = *at;
    uint64_t value = 0;
    for (; **at >= '0' && **at <= '9'; ++*at) {
        uint64_t digit = (uint64_t)(**at - '0');
        if (value > (max - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *out = value;
    return *at != from;
}

bool snapshot_name_parse(const char *name, uint64_t *set, uint32_t *file)
{
    static const char PREFIX[] = "snapshot-";
    if (strncmp(name, PREFIX, sizeof PREFIX - 1) != 0)
        return false;
    const char *at = name + sizeof PREFIX - 1;
    uint64_t number = 0;
    if (!digits(&at, UINT64_MAX, set) || *at++ != '-' || !digits(&at, UINT32_MAX, &number))
        return false;
    *file = (uint32_t)number;
    // One spelling a file: what would be written otherwise is not ours.
    char same[SNAPSHOT_NAME_MAX];
    snapshot_name(*set, *file, same);
    return strcmp(at, ".skry") == 0 && strcmp(name, same) == 0;
}

// ---- entries

static uint32_t head_of(const struct snapshot_entry *e, uint8_t to[SNAPSHOT_ENTRY_HEAD_MAX])
{
    bool deadline = (e->flags & RECORD_DEADLINE) != 0;
    store_u32(to, (uint32_t)snapshot_entry_size(e));
    to[4] = e->flags;
    to[5] = 0;
    store_u16(to + 6, e->db);
    if (deadline)
        store_u64(to + 8, (uint64_t)e->deadline_ms);
    store_u32(to + (deadline ? 16 : 8), (uint32_t)e->key.len);
    return deadline ? ENTRY_HEAD + 8 : ENTRY_HEAD;
}

uint64_t snapshot_entry_size(const struct snapshot_entry *e)
{
    return ENTRY_HEAD + ((e->flags & RECORD_DEADLINE) != 0 ? 8 : 0) + (uint64_t)e->key.len + e->value.len;
}

int snapshot_entry_next(struct snapshot_entry *e, const uint8_t **at, uint64_t *left)
{
    if (*left == 0)
        return 1;
    if (*left < ENTRY_HEAD)
        return -EBADMSG;
    const uint8_t *p = *at;
    uint64_t bytes = load_u32(p);
    *e = (struct snapshot_entry){ .flags = p[4], .db = load_u16(p + 6), .deadline_ms = -1 };
    bool deadline = (e->flags & RECORD_DEADLINE) != 0;
    uint64_t head = deadline ? ENTRY_HEAD + 8 : ENTRY_HEAD;
    if (bytes < head || bytes > *left || bytes > SNAPSHOT_ENTRY_MAX)
        return -EBADMSG;
    if ((e->flags & ~FLAGS) != 0 || (e->flags & RECORD_TYPE) > SNAPSHOT_TYPE_MAX << 4 || p[5] != 0)
        return -EBADMSG;
    if (deadline)
        e->deadline_ms = (int64_t)load_u64(p + 8);
    uint64_t key = load_u32(p + head - 4);
    if (e->deadline_ms < -1 || (deadline && e->deadline_ms < 0) || key > bytes - head || key > RECORD_KEY_MAX)
        return -EBADMSG;
    if (bytes - head - key > RECORD_VALUE_MAX)
        return -EBADMSG;
    e->key = slice_of(p + head, key);
    e->value = slice_of(p + head + key, bytes - head - key);
    *at += bytes;
    *left -= bytes;
    return 0;
}

// ---- chunks

struct snapshot_chunk *snapshot_chunk_new(void)
{
    struct snapshot_chunk *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->memory = disk_memory(SNAPSHOT_CHUNK_MAX);
    if (c->memory == NULL) {
        free(c);
        return NULL;
    }
    return c;
}

struct snapshot_chunk *snapshot_chunk_free(struct snapshot_chunk *c)
{
    if (c == NULL)
        return NULL;
    disk_memory_free(c->memory, SNAPSHOT_CHUNK_MAX);
    free(c);
    return NULL;
}

// Bytes [done, ...) of what lies at [at, at + part.len) of the encoding.
static void copy_part(struct snapshot_chunk *c, uint64_t at, struct slice part, uint64_t *done)
{
    uint64_t room = SNAPSHOT_CHUNK_MAX - SNAPSHOT_CHUNK_HEAD - c->payload;
    if (*done < at || *done >= at + part.len || room == 0)
        return;
    uint64_t from = *done - at;
    uint64_t len = part.len - from < room ? part.len - from : room;
    memcpy(c->memory + SNAPSHOT_CHUNK_HEAD + c->payload, part.data + from, len);
    c->payload += (uint32_t)len;
    *done += len;
}

uint64_t snapshot_chunk_add(struct snapshot_chunk *c, const struct snapshot_entry *e, uint64_t done)
{
    assert(!snapshot_chunk_full(c) && snapshot_entry_size(e) <= SNAPSHOT_ENTRY_MAX);
    uint8_t head[SNAPSHOT_ENTRY_HEAD_MAX];
    uint32_t head_len = head_of(e, head);
    c->entries += done == 0;
    copy_part(c, 0, slice_of(head, head_len), &done);
    copy_part(c, head_len, e->key, &done);
    copy_part(c, head_len + e->key.len, e->value, &done);
    return done;
}

uint32_t snapshot_seed(const struct snapshot_identity *id, uint64_t offset)
{
    uint8_t seed[36];
    memcpy(seed, id->store.bytes, 16);
    store_u64(seed + 16, id->set);
    store_u32(seed + 24, id->file);
    store_u64(seed + 28, offset);
    return crc32c(0, seed, sizeof seed);
}

uint32_t snapshot_crc(uint32_t crc, const uint8_t *bytes, uint64_t len, uint32_t field)
{
    static const uint8_t ZERO[4];
    crc = crc32c(crc, bytes, field);
    crc = crc32c(crc, ZERO, sizeof ZERO);
    return crc32c(crc, bytes + field + 4, len - field - 4);
}

uint64_t snapshot_digest(uint64_t so_far, uint64_t chunk, uint32_t crc)
{
    uint8_t bytes[16];
    store_u64(bytes, so_far);
    store_u32(bytes + 8, (uint32_t)chunk);
    store_u32(bytes + 12, crc);
    return hash_route(slice_of(bytes, sizeof bytes));
}
