// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/refs.h"

#include <stdlib.h>

bool refs_add(struct refs *r, uint64_t at, struct blob *b)
{
    if (r->count == r->cap) {
        uint32_t cap = r->cap == 0 ? 4 : r->cap * 2;
        struct ref *grown = realloc(r->items, cap * sizeof *grown);
        if (grown == NULL)
            return false;
        r->items = grown;
        r->cap = cap;
    }
    r->items[r->count++] = (struct ref){ .at = at, .blob = blob_pin(b) };
    r->bytes += b->len;
    return true;
}

void refs_deinit(struct refs *r)
{
    for (uint32_t i = 0; i < r->count; i++)
        blob_unpin(r->items[i].blob);
    free(r->items);
    *r = (struct refs){ 0 };
}

static uint32_t put(struct iovec *out, uint32_t count, const uint8_t *bytes, uint64_t len, uint64_t *skip)
{
    uint64_t skipped = *skip < len ? *skip : len;
    *skip -= skipped;
    if (skipped == len || count == REFS_PIECES)
        return count;
    out[count] = (struct iovec){ .iov_base = (void *)(uintptr_t)(bytes + skipped), .iov_len = len - skipped };
    return count + 1;
}

uint32_t refs_pieces(const struct refs *r, struct slice buffer, uint64_t from, struct iovec out[REFS_PIECES])
{
    uint32_t count = 0;
    uint64_t at = 0;
    for (uint32_t i = 0; i < r->count && count < REFS_PIECES; i++) {
        const struct ref *ref = &r->items[i];
        count = put(out, count, buffer.data + at, ref->at - at, &from);
        count = put(out, count, ref->blob->data, ref->blob->len, &from);
        at = ref->at;
    }
    return put(out, count, buffer.data + at, buffer.len - at, &from);
}
