// SPDX-License-Identifier: Apache-2.0
// A session's pack is one entry of the shard's second database, under the session's name:
//
//   | magic 4 | count 4 | count x { name's hash 4, name's place 4, name's length 4, value's place 4, value's length 4 } | names | values |
//
// Places count from the pack's begin. Values stand in their order without gaps, so that all of them are one copy.
#include <string.h>

#include "engine/embed/point.h"
#include "engine/embed/view.h"

#define PACK_MAGIC UINT32_C(0x4b504b53)
#define PACK_HEAD  8u
#define PACK_ROW   20u
#define CHUNKS_MAX ((size_t)1 << 20)

struct row {
    uint32_t name_hash;
    struct slice name;
    struct slice value;
};

static uint32_t name_hash(struct slice name)
{
    return (uint32_t)hash_route(name);
}

static uint32_t pack_count(struct slice pack)
{
    if (pack.len < PACK_HEAD || load_u32(pack.data) != PACK_MAGIC)
        return 0;
    uint32_t count = load_u32(pack.data + 4);
    return count <= (pack.len - PACK_HEAD) / PACK_ROW ? count : 0;
}

static struct row pack_row(struct slice pack, size_t i)
{
    const uint8_t *at = pack.data + PACK_HEAD + i * PACK_ROW;
    return (struct row){
        .name_hash = load_u32(at),
        .name = slice_of(pack.data + load_u32(at + 4), load_u32(at + 8)),
        .value = slice_of(pack.data + load_u32(at + 12), load_u32(at + 16)),
    };
}

// Where the values begin; they end with the pack.
static size_t values_begin(struct slice pack)
{
    return pack_count(pack) == 0 ? pack.len : load_u32(pack.data + PACK_HEAD + 12);
}

// Readers mostly ask in the pack's order: the search begins behind the last one found.
static bool pack_find(struct slice pack, struct slice name, size_t *near, struct row *found)
{
    size_t count = pack_count(pack);
    uint32_t hash = name_hash(name);
    for (size_t tries = 0; tries < count; tries++) {
        size_t i = *near + tries < count ? *near + tries : *near + tries - count;
        struct row r = pack_row(pack, i);
        if (r.name_hash != hash || !slice_equal(r.name, name))
            continue;
        *near = i + 1 < count ? i + 1 : 0;
        *found = r;
        return true;
    }
    return false;
}

static bool pack_size(const struct skerry_chunk *chunks, size_t count, size_t *size)
{
    size_t total = PACK_HEAD + count * PACK_ROW;
    for (size_t i = 0; i < count; i++) {
        if (chunks[i].name.len > SKERRY_VALUE_MAX || chunks[i].value.len > SKERRY_VALUE_MAX)
            return false;
        total += chunks[i].name.len + chunks[i].value.len;
    }
    *size = total;
    return total <= SKERRY_VALUE_MAX;
}

static uint8_t *put(uint8_t *to, struct skerry_slice bytes)
{
    if (bytes.len > 0)
        memcpy(to, bytes.data, bytes.len);
    return to + bytes.len;
}

static void pack_write(uint8_t *pack, const struct skerry_chunk *chunks, size_t count)
{
    uint8_t *row = pack + PACK_HEAD, *name = row + count * PACK_ROW, *value = name;
    store_u32(pack, PACK_MAGIC);
    store_u32(pack + 4, (uint32_t)count);
    for (size_t i = 0; i < count; i++)
        value += chunks[i].name.len;
    for (size_t i = 0; i < count; i++, row += PACK_ROW) {
        const struct skerry_chunk *c = &chunks[i];
        store_u32(row, name_hash(slice_of(c->name.data, c->name.len)));
        store_u32(row + 4, (uint32_t)(name - pack));
        store_u32(row + 8, (uint32_t)c->name.len);
        store_u32(row + 12, (uint32_t)(value - pack));
        store_u32(row + 16, (uint32_t)c->value.len);
        name = put(name, c->name);
        value = put(value, c->value);
    }
}

#define ENTER_SESSION                                                                                                                      \
    if (unlikely(session_len > SKERRY_KEY_MAX))                                                                                            \
        return SKERRY_TOO_LONG;                                                                                                            \
    struct slice name = slice_of(session, session_len);                                                                                    \
    struct place p = core_session_place(s->core, name);                                                                                    \
    enum skerry_status status = SKERRY_OK;                                                                                                 \
    struct shard *sh = shard_enter(s, p.shard, &status);                                                                                   \
    if (unlikely(sh == NULL))                                                                                                              \
    return status

static enum skerry_status write_pack(struct core *c, struct shard *sh, struct slice name, uint64_t hash, const struct skerry_chunk *chunks,
                                     size_t count, size_t size, int64_t ttl_ms)
{
    int64_t now_ms, deadline_ms;
    enum skerry_status status = point_begin_write(c, sh, ttl_ms, &now_ms, &deadline_ms);
    if (status != SKERRY_OK)
        return status;
    struct entry *e = keyspace_set_len(sh->packs, name, hash, ENTRY_STRING, size, deadline_ms, now_ms);
    if (e == NULL)
        return SKERRY_NO_MEMORY;
    uint8_t *pack = entry_value_bytes(e);
    assert(pack != NULL); // nobody can have pinned it yet
    pack_write(pack, chunks, count);
    return SKERRY_OK;
}

enum skerry_status skerry_session_put(struct skerry *s, const void *session, size_t session_len, const struct skerry_chunk *chunks,
                                      size_t count, int64_t ttl_ms)
{
    size_t size;
    if (count > CHUNKS_MAX)
        return SKERRY_INVALID;
    if (!pack_size(chunks, count, &size))
        return SKERRY_TOO_LONG;
    ENTER_SESSION;
    status = write_pack(s->core, sh, name, p.hash, chunks, count, size, ttl_ms);
    shard_unlock(s, sh);
    return status;
}

enum skerry_status skerry_session_delete(struct skerry *s, const void *session, size_t session_len)
{
    ENTER_SESSION;
    sh->now_ms = core_now_ms(s->core);
    status = keyspace_delete(sh->packs, name, p.hash, sh->now_ms) ? SKERRY_OK : SKERRY_NOT_FOUND;
    shard_unlock(s, sh);
    return status;
}

static enum skerry_status copy_all(struct slice pack, size_t *room, struct skerry_packed *out)
{
    size_t count = pack_count(pack), begin = values_begin(pack), places = *room;
    *room = count;
    out->used = pack.len - begin;
    out->hits = count;
    if (count > places || out->used > out->capacity)
        return SKERRY_TOO_SMALL;
    copy_short(out->buffer, pack.data + begin, out->used);
    for (size_t i = 0; i < count; i++) {
        struct row r = pack_row(pack, i);
        out->offsets[i] = (size_t)(r.value.data - pack.data) - begin;
        out->lengths[i] = r.value.len;
    }
    return SKERRY_OK;
}

static enum skerry_status copy_named(struct slice pack, const struct skerry_slice *names, size_t count, struct skerry_packed *out)
{
    size_t near = 0;
    out->used = 0;
    out->hits = 0;
    for (size_t i = 0; i < count; i++) {
        struct row r;
        out->offsets[i] = out->used;
        out->lengths[i] = SKERRY_MISSING;
        if (!pack_find(pack, slice_of(names[i].data, names[i].len), &near, &r))
            continue;
        out->lengths[i] = r.value.len;
        out->used += r.value.len;
        out->hits++;
        if (out->used <= out->capacity)
            copy_short((uint8_t *)out->buffer + out->offsets[i], r.value.data, r.value.len);
    }
    return out->used <= out->capacity ? SKERRY_OK : SKERRY_TOO_SMALL;
}

enum skerry_status skerry_session_count(struct skerry *s, const void *session, size_t session_len, size_t *count)
{
    ENTER_SESSION;
    const struct entry *e = point_find(s->core, sh->packs, name, p.hash);
    if (e != NULL)
        *count = pack_count(entry_value(e));
    else
        status = SKERRY_NOT_FOUND;
    shard_unlock(s, sh);
    return status;
}

enum skerry_status skerry_session_get(struct skerry *s, const void *session, size_t session_len, size_t *count,
                                      struct skerry_packed *packed)
{
    ENTER_SESSION;
    const struct entry *e = point_find(s->core, sh->packs, name, p.hash);
    status = e != NULL ? copy_all(entry_value(e), count, packed) : SKERRY_NOT_FOUND;
    shard_unlock(s, sh);
    return status;
}

enum skerry_status skerry_session_get_chunks(struct skerry *s, const void *session, size_t session_len, const struct skerry_slice *names,
                                             size_t count, struct skerry_packed *packed)
{
    ENTER_SESSION;
    const struct entry *e = point_find(s->core, sh->packs, name, p.hash);
    status = e != NULL ? copy_named(entry_value(e), names, count, packed) : SKERRY_NOT_FOUND;
    shard_unlock(s, sh);
    return status;
}

enum skerry_status skerry_session_view(struct skerry *s, const void *session, size_t session_len, struct skerry_view *view)
{
    ENTER_SESSION;
    struct entry *e = point_find(s->core, sh->packs, name, p.hash);
    status = e != NULL ? view_take(sh, sh->packs, e, view) : SKERRY_NOT_FOUND;
    shard_unlock(s, sh);
    return status;
}

size_t skerry_pack_count(const struct skerry_view *pack)
{
    return pack_count(slice_of(pack->data, pack->len));
}

enum skerry_status skerry_pack_chunk(const struct skerry_view *pack, size_t i, struct skerry_chunk *chunk)
{
    struct slice bytes = slice_of(pack->data, pack->len);
    if (i >= pack_count(bytes))
        return SKERRY_NOT_FOUND;
    // A view of a plain value may look like a pack.
    const uint8_t *row = bytes.data + PACK_HEAD + i * PACK_ROW;
    for (uint32_t at = 4; at < PACK_ROW; at += 8) {
        if ((uint64_t)load_u32(row + at) + load_u32(row + at + 4) > bytes.len)
            return SKERRY_NOT_FOUND;
    }
    struct row r = pack_row(bytes, i);
    *chunk = (struct skerry_chunk){ .name = { r.name.data, r.name.len }, .value = { r.value.data, r.value.len } };
    return SKERRY_OK;
}
