// SPDX-License-Identifier: Apache-2.0
// Records of the log (and of who replicates to us) become what they say.
#include <errno.h>
#include <stdio.h>

#include "engine/shard/effects.h"
#include "engine/shard/worker.h"
#include "proto/number.h"

#define NEVER_EXPIRED INT64_MIN
#define ARGS_MAX      8

// What a record is applied to.
struct target {
    struct store *store;
    uint32_t shard;
    struct keyspace *keyspace;
    uint64_t hash;
    const struct record *record;
    int64_t now_ms;
    char *why;
};

static int refuse(const struct target *t, const char *what)
{
    snprintf(t->why, EFFECTS_WHY_MAX, "record %llu of shard %u: %s", (unsigned long long)t->record->sequence, t->shard, what);
    return -EBADMSG;
}

// ---- effects

static int apply_setrange(const struct target *t, const struct slice *argv)
{
    uint64_t offset;
    struct slice bytes = argv[2];
    if (!number_parse_u64(argv[1], &offset) || offset > RECORD_VALUE_MAX || bytes.len > RECORD_VALUE_MAX - offset)
        return refuse(t, "SETRANGE reaches beyond the longest value");
    struct slice key = t->record->key;
    struct entry *e = keyspace_peek(t->keyspace, key, t->hash, NEVER_EXPIRED);
    if (e == NULL || entry_type(e) != ENTRY_STRING)
        return refuse(t, "SETRANGE of a key that holds no string");
    size_t end = (size_t)(offset + bytes.len);
    if (entry_value(e).len < end)
        e = keyspace_resize(t->keyspace, e, end);
    uint8_t *to = e != NULL ? entry_value_bytes(e) : NULL;
    if (to == NULL)
        return -ENOMEM;
    if (bytes.len > 0)
        memcpy(to + offset, bytes.data, bytes.len);
    entry_set_mark(e, (t->record->flags & RECORD_MARK) != 0);
    keyspace_wrote(t->keyspace, key, t->hash, offset, end);
    return 0;
}

static int apply_flushdb(const struct target *t, const struct slice *argv)
{
    keyspace_clear(t->keyspace);
    return 0;
}

static int apply_swapdb(const struct target *t, const struct slice *argv)
{
    uint64_t a, b;
    uint32_t databases = store_databases(t->store);
    if (!number_parse_u64(argv[1], &a) || !number_parse_u64(argv[2], &b) || a >= databases || b >= databases)
        return refuse(t, "SWAPDB names a database that is not there");
    store_swap_shard(t->store, t->shard, (uint32_t)a, (uint32_t)b);
    return 0;
}

typedef int apply_fn(const struct target *t, const struct slice *argv);

static const struct effect {
    const char *name;
    apply_fn *apply;
    int argc;
} EFFECTS[] = {
#define EFFECT(name, function, argc) { name, apply_##function, argc },
#include "engine/shard/effects.def"
#undef EFFECT
};

static int apply_effect(const struct target *t)
{
    struct slice argv[ARGS_MAX];
    int argc = effect_args(t->record->value, argv, ARGS_MAX);
    if (argc < 1)
        return refuse(t, "an effect without a name");
    for (size_t i = 0; i < sizeof EFFECTS / sizeof EFFECTS[0]; i++) {
        if (!slice_equal(argv[0], slice_cstr(EFFECTS[i].name)))
            continue;
        return argc == EFFECTS[i].argc ? EFFECTS[i].apply(t, argv) : refuse(t, "an effect with a wrong number of arguments");
    }
    char text[96];
    snprintf(text, sizeof text, "unknown effect '%.*s'", argv[0].len < 40 ? (int)argv[0].len : 40, (const char *)argv[0].data);
    return refuse(t, text);
}

// ---- records

static int apply_set(const struct target *t)
{
    const struct record *r = t->record;
    uint32_t type = (r->flags & RECORD_TYPE) >> 4;
    if (type != ENTRY_STRING) {
        char text[48];
        snprintf(text, sizeof text, "unknown type %u", type);
        return refuse(t, text);
    }
    struct entry *e = keyspace_set(t->keyspace, r->key, t->hash, (enum entry_type)type, r->value, r->deadline_ms, t->now_ms);
    if (e == NULL)
        return -ENOMEM;
    entry_set_mark(e, (r->flags & RECORD_MARK) != 0);
    return 0;
}

static int apply_expire(const struct target *t)
{
    struct entry *e = keyspace_peek(t->keyspace, t->record->key, t->hash, NEVER_EXPIRED);
    if (e == NULL)
        return refuse(t, "a deadline for a key that is not there");
    return keyspace_set_deadline(t->keyspace, e, t->record->deadline_ms) != NULL ? 0 : -ENOMEM;
}

int effects_apply(struct store *s, uint32_t shard, const struct record *r, int64_t now_ms, char why[EFFECTS_WHY_MAX])
{
    struct target t = { .store = s, .shard = shard, .record = r, .now_ms = now_ms, .why = why };
    if (r->db >= store_databases(s))
        return refuse(&t, "a database that is not there (option databases)");
    if ((r->flags & RECORD_DEADLINE) != 0 && r->deadline_ms < 0)
        return refuse(&t, "a deadline before 1970");
    t.keyspace = store_keyspace(s, shard, r->db);
    assert(t.keyspace != NULL);
    t.hash = keyspace_hash(t.keyspace, r->key);
    switch ((enum record_op)r->op) {
    case RECORD_SET:
        return apply_set(&t);
    case RECORD_DELETE:
        (void)keyspace_delete(t.keyspace, r->key, t.hash, NEVER_EXPIRED);
        return 0;
    case RECORD_EXPIRE:
        return apply_expire(&t);
    case RECORD_EFFECT:
        return apply_effect(&t);
    }
    return refuse(&t, "unknown operation");
}

struct effects_cursor effects_cursor(struct slice unit)
{
    return (struct effects_cursor){ .at = unit.data, .left = unit.len };
}

static int apply_next(struct worker *w, struct effects_cursor *c, uint64_t watermark, char why[EFFECTS_WHY_MAX])
{
    struct record r;
    uint32_t shard = c->batch.shard;
    uint64_t *last = &w->effects.sequences[shard / w->server->worker_count];
    int rc = record_next(&r, &c->batch, &c->record, &c->taken);
    if (rc == 1)
        c->inside = false;
    if (rc < 0)
        snprintf(why, EFFECTS_WHY_MAX, "shard %u: a record behind %llu is not well formed", shard, (unsigned long long)*last);
    if (rc != 0 || r.sequence <= watermark)
        return rc < 0 ? rc : 0;
    if (r.sequence != (*last > watermark ? *last : watermark) + 1) {
        snprintf(why, EFFECTS_WHY_MAX, "shard %u goes on with record %llu behind %llu", shard, (unsigned long long)r.sequence,
                 (unsigned long long)*last);
        return -EBADMSG;
    }
    rc = effects_apply(w->store, shard, &r, w->now_ms, why);
    *last = rc == 0 ? r.sequence : *last;
    return rc;
}

// Into the next sub-batch: 0; 1: there is none.
static int next_batch(struct worker *w, struct effects_cursor *c, char why[EFFECTS_WHY_MAX])
{
    int rc = sub_batch_next(&c->batch, &c->at, &c->left);
    if (rc == 0 && c->batch.shard >= w->route.shards)
        rc = -EBADMSG;
    if (rc < 0)
        snprintf(why, EFFECTS_WHY_MAX, "a batch is not well formed, or of a shard that is not there");
    if (rc != 0)
        return rc;
    c->inside = c->batch.shard % w->server->worker_count == w->id;
    c->record = c->batch.records;
    c->taken = 0;
    return 0;
}

int effects_apply_some(struct worker *w, struct effects_cursor *c, const uint64_t *watermarks, uint32_t *budget, char why[EFFECTS_WHY_MAX])
{
    int rc = 0;
    while (*budget > 0 && rc == 0) {
        rc = c->inside ? apply_next(w, c, watermarks != NULL ? watermarks[c->batch.shard] : 0, why) : next_batch(w, c, why);
        --*budget;
    }
    return rc == 1 ? 0 : rc < 0 ? rc : 1;
}

int effects_apply_unit(struct worker *w, struct slice unit, const uint64_t *watermarks, char why[EFFECTS_WHY_MAX])
{
    struct effects_cursor c = effects_cursor(unit);
    int rc;
    do {
        uint32_t budget = UINT32_MAX;
        rc = effects_apply_some(w, &c, watermarks, &budget, why);
    } while (rc == 1);
    return rc;
}
