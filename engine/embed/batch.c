// SPDX-License-Identifier: Apache-2.0
#include "engine/embed/lanes.h"
#include "engine/embed/point.h"
#include "engine/embed/view.h"

static struct slice slice_in(struct skerry_slice s)
{
    return slice_of(s.data, s.len);
}

static struct slice key_of(const struct skerry_op *op)
{
    return slice_in(op->prepared != NULL ? op->prepared->key : op->key);
}

static enum skerry_status take_view(struct core *c, struct shard *sh, struct slice key, uint64_t hash, struct skerry_view *view)
{
    struct entry *e = point_find(c, sh->keys, key, hash);
    return e != NULL ? view_take(sh, sh->keys, e, view) : SKERRY_NOT_FOUND;
}

static enum skerry_status run_op(struct core *c, struct shard *sh, uint64_t hash, struct skerry_op *op)
{
    struct slice key = key_of(op);
    if (unlikely(op->value.len > SKERRY_VALUE_MAX && (op->kind == SKERRY_OP_SET || op->kind == SKERRY_OP_CAS)))
        return SKERRY_TOO_LONG;
    switch (op->kind) {
    case SKERRY_OP_GET:
        return point_get(c, sh, key, hash, op->buffer, op->capacity, &op->len);
    case SKERRY_OP_SET:
        return point_set(c, sh, key, hash, slice_in(op->value), op->number);
    case SKERRY_OP_DELETE:
        return point_delete(c, sh, key, hash);
    case SKERRY_OP_EXISTS:
        return point_exists(c, sh, key, hash);
    case SKERRY_OP_TTL:
        return point_ttl(c, sh, key, hash, &op->number);
    case SKERRY_OP_EXPIRE:
        return point_expire(c, sh, key, hash, op->number);
    case SKERRY_OP_EXPIRE_AT:
        return point_expire_at(c, sh, key, hash, op->number);
    case SKERRY_OP_PERSIST:
        return point_persist(c, sh, key, hash);
    case SKERRY_OP_INCR:
        return point_incr(c, sh, key, hash, op->number, &op->number);
    case SKERRY_OP_CAS:
        return point_cas(c, sh, key, hash, slice_in(op->expected), slice_in(op->value));
    case SKERRY_OP_VIEW:
        return take_view(c, sh, key, hash, op->view);
    }
    return SKERRY_INVALID;
}

struct batch {
    struct core *core;
    struct skerry_op *ops;
    size_t done;
};

static void run_lane(void *context, size_t i, struct shard *sh, uint64_t hash, enum skerry_status status)
{
    struct batch *b = context;
    struct skerry_op *op = &b->ops[i];
    op->status = likely(sh != NULL) ? run_op(b->core, sh, hash, op) : status;
    b->done += op->status == SKERRY_OK;
}

size_t skerry_batch(struct skerry *s, struct skerry_op *ops, size_t count)
{
    struct batch b = { .core = s->core, .ops = ops };
    struct lanes l;
    if (!handle_usable(s)) {
        for (size_t i = 0; i < count; i++)
            ops[i].status = SKERRY_WRONG_THREAD;
        return 0;
    }
    l.store = s;
    l.run = run_lane;
    l.context = &b;
    l.first = 0;
    l.count = 0;
    for (size_t i = 0; i < count; i++)
        lanes_add(&l, slice_in(ops[i].key), ops[i].prepared);
    lanes_flush(&l);
    return b.done;
}

// Packed reads

struct packing {
    struct core *core;
    const struct skerry_slice *keys;
    struct skerry_packed *out;
    enum skerry_status worst; // of keys that could not be asked for
};

static void pack_lane(void *context, size_t i, struct shard *sh, uint64_t hash, enum skerry_status status)
{
    struct packing *p = context;
    struct skerry_packed *out = p->out;
    out->offsets[i] = 0;
    out->lengths[i] = SKERRY_MISSING;
    if (sh == NULL) {
        p->worst = status;
        return;
    }
    const struct entry *e = keyspace_find_here(sh->keys, slice_in(p->keys[i]), hash, &p->core->clock.clock);
    if (e == NULL)
        return;
    struct slice value = entry_value(e);
    size_t at = out->used;
    out->used += value.len;
    out->offsets[i] = at;
    out->lengths[i] = value.len;
    out->hits++;
    if (likely(out->used <= out->capacity))
        copy_short((uint8_t *)out->buffer + at, value.data, value.len);
}

enum skerry_status skerry_get_packed(struct skerry *s, const struct skerry_slice *keys, size_t count, struct skerry_packed *packed)
{
    struct packing p = { .core = s->core, .keys = keys, .out = packed, .worst = SKERRY_OK };
    struct lanes l;
    if (!handle_usable(s))
        return SKERRY_WRONG_THREAD;
    packed->used = 0;
    packed->hits = 0;
    l.store = s;
    l.run = pack_lane;
    l.context = &p;
    l.first = 0;
    l.count = 0;
    for (size_t i = 0; i < count; i++)
        lanes_add(&l, slice_in(keys[i]), NULL);
    lanes_flush(&l);
    if (p.worst != SKERRY_OK)
        return p.worst;
    return packed->used <= packed->capacity ? SKERRY_OK : SKERRY_TOO_SMALL;
}
