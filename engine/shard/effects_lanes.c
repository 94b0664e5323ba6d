// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/effects_lanes.h"

#include <errno.h>
#include <stdlib.h>

int effects_lanes_init(struct effects_lanes *l, uint32_t own_shards)
{
    *l = (struct effects_lanes){ .lanes = calloc(own_shards + 1, sizeof *l->lanes) };
    return l->lanes != NULL ? 0 : -ENOMEM;
}

static void give_chunks(struct effects_lanes *l, struct lane *lane)
{
    for (struct lane_chunk *chunk = lane->first, *next; chunk != NULL; chunk = next) {
        next = chunk->next;
        free_list_keep(&l->free, chunk);
        l->chunks--;
    }
    lane->first = lane->last = NULL;
    lane->sub.count = 0;
}

void effects_lanes_deinit(struct effects_lanes *l)
{
    for (; l->used != NULL; l->used = l->used->next)
        give_chunks(l, l->used);
    free_list_deinit(&l->free);
    free(l->lanes);
    l->lanes = NULL;
}

static struct lane_chunk *add_chunk(struct effects_lanes *l, struct lane *lane)
{
    struct lane_chunk *chunk = l->chunks < LANES_CHUNKS ? free_list_new(&l->free, sizeof *chunk) : NULL;
    if (chunk == NULL)
        return NULL;
    chunk->next = NULL;
    chunk->len = 0;
    l->chunks++;
    if (lane->first == NULL) {
        lane->first = chunk;
        lane->next = l->used;
        l->used = lane;
    } else {
        lane->last->next = chunk;
    }
    lane->last = chunk;
    return chunk;
}

uint8_t *effects_lanes_room(struct effects_lanes *l, uint32_t index, uint64_t size, struct sub_batch **sub)
{
    struct lane *lane = &l->lanes[index];
    struct lane_chunk *chunk = lane->last;
    if (size > LANE_RECORD || lane->sub.count == UINT16_MAX)
        return NULL;
    if (unlikely(chunk == NULL || sizeof chunk->bytes - chunk->len < size) && (chunk = add_chunk(l, lane)) == NULL)
        return NULL;
    uint8_t *to = chunk->bytes + chunk->len;
    chunk->len += (uint32_t)size;
    *sub = &lane->sub;
    return to;
}

static void pour(const struct lane *lane, struct buf *out)
{
    uint8_t *to = buf_reserve(out, SUB_BATCH_HEAD + lane->sub.bytes);
    if (to == NULL)
        return;
    sub_batch_encode(&lane->sub, to);
    to += SUB_BATCH_HEAD;
    for (const struct lane_chunk *chunk = lane->first; chunk != NULL; chunk = chunk->next) {
        memcpy(to, chunk->bytes, chunk->len);
        to += chunk->len;
    }
    buf_advance(out, SUB_BATCH_HEAD + lane->sub.bytes);
}

uint32_t effects_lanes_pour(struct effects_lanes *l, struct buf *out)
{
    uint32_t count = 0;
    for (; l->used != NULL; l->used = l->used->next, count++) {
        pour(l->used, out);
        give_chunks(l, l->used);
    }
    l->generation++;
    return count;
}

void effects_lanes_trim(struct effects_lanes *l)
{
    while (l->free.count > LANES_KEPT)
        free(free_list_take(&l->free));
}
