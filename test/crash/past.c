// SPDX-License-Identifier: Apache-2.0
#include "test/crash/past.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/hash.h"

const char *check_name(enum crash_check check)
{
    static const char *const NAMES[CHECKS] = {
        [CHECK_NONE] = "none",
        [CHECK_REFUSED] = "refused after a mere crash",
        [CHECK_LOST] = "acknowledged and lost",
        [CHECK_HALVED] = "halved",
        [CHECK_WRONG] = "a wrong value",
        [CHECK_TWICE] = "another answer the second time",
        [CHECK_SILENT] = "silent",
        [CHECK_BROKEN] = "broken",
    };
    return NAMES[check];
}

static void *grown(void *items, uint64_t count, size_t size)
{
    void *more = realloc(items, count * size);
    assert(more != NULL);
    return more;
}

struct past *past_new(void)
{
    struct past *p = calloc(1, sizeof *p);
    assert(p != NULL);
    return p;
}

struct past *past_free(struct past *p)
{
    for (uint32_t i = 0; p != NULL && i < PAST_SHARDS; i++)
        free(p->shards[i].records);
    for (uint32_t i = 0; p != NULL && i < PAST_WORKERS; i++)
        free(p->workers[i].turns);
    free(p);
    return NULL;
}

struct past *past_clone(const struct past *p)
{
    struct past *c = past_new();
    *c = *p;
    for (uint32_t i = 0; i < PAST_SHARDS; i++) {
        c->shards[i].cap = p->shards[i].count;
        c->shards[i].records = c->shards[i].cap == 0 ? NULL : grown(NULL, c->shards[i].cap, sizeof *p->shards[i].records);
        if (c->shards[i].cap > 0)
            memcpy(c->shards[i].records, p->shards[i].records, c->shards[i].cap * sizeof *p->shards[i].records);
    }
    for (uint32_t i = 0; i < PAST_WORKERS; i++) {
        c->workers[i].cap = p->workers[i].count;
        c->workers[i].turns = c->workers[i].cap == 0 ? NULL : grown(NULL, c->workers[i].cap, sizeof *p->workers[i].turns);
        if (c->workers[i].cap > 0)
            memcpy(c->workers[i].turns, p->workers[i].turns, c->workers[i].cap * sizeof *p->workers[i].turns);
    }
    return c;
}

void past_value(uint32_t shard, uint64_t sequence, uint8_t *to, uint32_t len)
{
    uint64_t seed = sequence * PAST_SHARDS + shard + 1;
    for (uint32_t at = 0; at < len; at += 8) {
        uint64_t word = at == 0 ? sequence : prng_splitmix(&seed);
        uint32_t n = len - at < 8 ? len - at : 8;
        memcpy(to + at, &word, n);
    }
}

void past_key_name(uint32_t key, char name[8])
{
    snprintf(name, 8, "key%u", (unsigned)key % 1000);
}

void past_add(struct past *p, uint32_t shard, struct past_record *r)
{
    static uint8_t *value;
    static uint32_t cap;
    if (p->shards[shard].count == p->shards[shard].cap) {
        p->shards[shard].cap = p->shards[shard].cap == 0 ? 256 : 2 * p->shards[shard].cap;
        p->shards[shard].records = grown(p->shards[shard].records, p->shards[shard].cap, sizeof *r);
    }
    if (r->len > cap) {
        value = grown(value, r->len, 1);
        cap = r->len;
    }
    if (r->len > 0)
        past_value(shard, p->shards[shard].count + 1, value, r->len);
    r->hash = r->len > 0 ? hash_route(slice_of(value, r->len)) : 0;
    p->shards[shard].records[p->shards[shard].count++] = *r;
}

void past_add_turn(struct past *p, uint32_t worker, const struct past_turn *t)
{
    if (p->workers[worker].count == p->workers[worker].cap) {
        p->workers[worker].cap = p->workers[worker].cap == 0 ? 128 : 2 * p->workers[worker].cap;
        p->workers[worker].turns = grown(p->workers[worker].turns, p->workers[worker].cap, sizeof *t);
    }
    p->workers[worker].turns[p->workers[worker].count++] = *t;
}

void past_state(const struct past *p, uint32_t shard, uint64_t sequence, struct past_key keys[PAST_KEYS])
{
    memset(keys, 0, PAST_KEYS * sizeof *keys);
    for (uint64_t i = 0; i < sequence; i++) {
        const struct past_record *r = &p->shards[shard].records[i];
        struct past_key *k = &keys[r->key];
        if (r->op == RECORD_SET)
            *k = (struct past_key){ .sequence = i + 1, .deadline_ms = r->deadline_ms };
        else if (r->op == RECORD_DELETE)
            *k = (struct past_key){ 0 };
        else if (k->sequence != 0)
            k->deadline_ms = r->deadline_ms;
    }
}

static bool turn_survives(const struct past_turn *t, const uint64_t *sequences)
{
    for (uint32_t i = 0; i < t->part_count; i++)
        if (t->parts[i].first + t->parts[i].count - 1 > sequences[t->parts[i].shard])
            return false;
    return true;
}

void past_cut(struct past *p, const uint64_t sequences[PAST_SHARDS])
{
    for (uint32_t w = 0; w < PAST_WORKERS; w++) {
        uint32_t kept = 0;
        for (uint32_t i = 0; i < p->workers[w].count; i++)
            if (turn_survives(&p->workers[w].turns[i], sequences))
                p->workers[w].turns[kept++] = p->workers[w].turns[i];
        p->workers[w].count = kept;
    }
    for (uint32_t s = 0; s < PAST_SHARDS; s++)
        p->shards[s].count = sequences[s];
    p->life++;
}

// ---- reading

static void wrong(struct past_found *f, enum crash_check check, uint32_t shard, uint64_t sequence, const char *what)
{
    if (f->wrong != CHECK_NONE)
        return;
    f->wrong = check;
    snprintf(f->text, sizeof f->text, "shard %" PRIu32 ", sequence %" PRIu64 ": %.200s", shard, sequence, what);
}

static uint32_t key_number(struct slice key)
{
    for (uint32_t i = 0; i < PAST_KEYS; i++) {
        char name[8];
        past_key_name(i, name);
        if (slice_equal(key, slice_cstr(name)))
            return i;
    }
    return PAST_KEYS;
}

static uint64_t value_hash(struct slice value)
{
    return value.len > 0 ? hash_route(value) : 0;
}

static void apply_record(const struct past *p, struct past_found *f, uint32_t shard, const struct record *r)
{
    uint32_t key = key_number(r->key);
    if (r->sequence > p->shards[shard].count) {
        wrong(f, CHECK_WRONG, shard, r->sequence, "never sent");
        return;
    }
    const struct past_record *want = &p->shards[shard].records[r->sequence - 1];
    if (want->op != r->op || want->key != key || want->deadline_ms != r->deadline_ms || want->hash != value_hash(r->value)) {
        wrong(f, CHECK_WRONG, shard, r->sequence, "another record was sent");
        return;
    }
    if (r->sequence != f->sequences[shard] + 1)
        wrong(f, CHECK_HALVED, shard, r->sequence, "the record before it is missing");
    f->sequences[shard] = r->sequence;
    struct past_key *k = &f->keys[shard][key];
    if (r->op == RECORD_SET)
        *k = (struct past_key){ .sequence = r->sequence, .deadline_ms = r->deadline_ms };
    else if (r->op == RECORD_DELETE)
        *k = (struct past_key){ 0 };
    else if (k->sequence != 0)
        k->deadline_ms = r->deadline_ms;
}

// An entry's database is its shard's number, its value begins with the sequence that it is from.
static void apply_entry(const struct past *p, struct past_found *f, const struct snapshot_entry *e)
{
    uint32_t shard = e->db, key = key_number(e->key);
    uint64_t sequence = e->value.len >= 8 ? load_u64(e->value.data) : 0;
    if (shard >= PAST_SHARDS || key == PAST_KEYS || sequence == 0 || sequence > p->shards[shard].count) {
        wrong(f, CHECK_WRONG, shard, sequence, "an entry that never was");
        return;
    }
    const struct past_record *want = &p->shards[shard].records[sequence - 1];
    if (want->op != RECORD_SET || want->key != key || want->hash != value_hash(e->value))
        wrong(f, CHECK_WRONG, shard, sequence, "an entry with another value");
    f->keys[shard][key] = (struct past_key){ .sequence = sequence, .deadline_ms = e->deadline_ms };
}

void past_apply(const struct past *p, struct past_found *f, const struct recover_item *item)
{
    const uint8_t *at = item->bytes.data;
    uint64_t left = item->bytes.len;
    struct snapshot_entry e;
    struct sub_batch b;
    struct record r;
    if (item->piece == RECOVER_RESTART)
        memset(f->keys, 0, sizeof f->keys);
    for (uint32_t s = 0; s < PAST_SHARDS && item->piece != RECOVER_UNIT; s++)
        f->sequences[s] = item->watermarks[s];
    while (item->piece == RECOVER_ENTRY_RUN && snapshot_entry_next(&e, &at, &left) == 0)
        apply_entry(p, f, &e);
    while (item->piece == RECOVER_UNIT && sub_batch_next(&b, &at, &left) == 0) {
        const uint8_t *records = b.records;
        uint32_t taken = 0;
        if (b.shard >= PAST_SHARDS) {
            wrong(f, CHECK_WRONG, b.shard, b.first, "no such shard");
            return;
        }
        if (f->sequences[b.shard] < item->watermarks[b.shard])
            f->sequences[b.shard] = item->watermarks[b.shard]; // a snapshot without entries
        while (record_next(&r, &b, &records, &taken) == 0)
            if (r.sequence > item->watermarks[b.shard])
                apply_record(p, f, b.shard, &r);
    }
}

void past_read(const struct past *p, struct past_found *f, struct sim_disk *disk, uint32_t fault)
{
    struct recover *r;
    struct recover_item item;
    struct recover_options options = { .segment_size = 65536, .fault = fault };
    struct manifest m;
    memset(f, 0, sizeof *f);
    f->rc = recover_open(&r, &disk->disk, &options);
    if (f->rc != 0)
        return;
    while ((f->rc = recover_next(r, &item)) == 0)
        past_apply(p, f, &item);
    f->report = *recover_report(r);
    recover_origin(r, &f->origin, &m);
    f->generation = m.generation;
    for (uint32_t s = 0; s < PAST_SHARDS && f->origin.shards == PAST_SHARDS && f->report.verdict <= RECOVER_CUT && m.generation > 0; s++) {
        if (f->sequences[s] != 0 && f->sequences[s] != recover_sequences(r)[s])
            wrong(f, CHECK_WRONG, s, recover_sequences(r)[s], "recovery counts otherwise");
        f->sequences[s] = recover_sequences(r)[s];
    }
    recover_free(r);
    if (disk->failure[0] != '\0')
        wrong(f, CHECK_BROKEN, 0, 0, disk->failure);
}

bool past_found_equal(const struct past_found *a, const struct past_found *b)
{
    return a->rc == b->rc && a->report.verdict == b->report.verdict && a->origin.lsn == b->origin.lsn &&
           memcmp(a->sequences, b->sequences, sizeof a->sequences) == 0 && memcmp(a->keys, b->keys, sizeof a->keys) == 0;
}

// ---- checking

struct txn_seen {
    uint64_t name;
    bool whole;
};

// All turns there or not there; of a transaction all of them.
static void check_turns(const struct past *p, struct past_found *f, uint32_t workers)
{
    struct txn_seen txns[256];
    uint32_t count = 0;
    for (uint32_t w = 0; w < workers; w++) {
        bool ended = false;
        for (uint32_t i = 0; i < p->workers[w].count; i++) {
            const struct past_turn *t = &p->workers[w].turns[i];
            if (t->part_count == 0)
                continue;
            bool whole = turn_survives(t, f->sequences), none = true;
            for (uint32_t k = 0; k < t->part_count; k++)
                none &= t->parts[k].first > f->sequences[t->parts[k].shard];
            if (!whole && !none)
                wrong(f, CHECK_HALVED, t->parts[0].shard, t->parts[0].first, "half a turn");
            if (whole && ended)
                wrong(f, CHECK_HALVED, t->parts[0].shard, t->parts[0].first, "an earlier turn of its worker is missing");
            ended |= !whole;
            if (t->txn == 0 || t->life != p->life)
                continue;
            uint32_t at = 0;
            while (at < count && txns[at].name != t->txn)
                at++;
            if (at == count && count < 256)
                txns[count++] = (struct txn_seen){ t->txn, whole };
            else if (at < count && txns[at].whole != whole)
                wrong(f, CHECK_HALVED, t->parts[0].shard, t->parts[0].first, "half a transaction");
        }
    }
}

static void check_state(const struct past *p, struct past_found *f)
{
    for (uint32_t s = 0; s < PAST_SHARDS; s++) {
        struct past_key want[PAST_KEYS];
        if (f->sequences[s] > p->shards[s].count) {
            wrong(f, CHECK_WRONG, s, f->sequences[s], "never sent");
            return;
        }
        past_state(p, s, f->sequences[s], want);
        for (uint32_t k = 0; k < PAST_KEYS; k++)
            if (want[k].sequence != f->keys[s][k].sequence || want[k].deadline_ms != f->keys[s][k].deadline_ms)
                wrong(f, CHECK_WRONG, s, want[k].sequence, "a key has another value or deadline");
    }
}

enum crash_check past_check_truth(const struct past *p, struct past_found *f, uint32_t workers)
{
    if (f->wrong == CHECK_NONE)
        check_state(p, f);
    if (f->wrong == CHECK_NONE)
        check_turns(p, f, workers);
    return f->wrong;
}

enum crash_check past_check(const struct past *p, struct past_found *f, const struct past_due *due)
{
    if (f->rc != 1 || f->report.verdict > RECOVER_CUT) {
        f->wrong = CHECK_REFUSED;
        snprintf(f->text, sizeof f->text, "rc %d, %s: %.200s", f->rc, f->report.rule, f->report.text);
        return f->wrong;
    }
    for (uint32_t s = 0; s < PAST_SHARDS; s++)
        if (f->sequences[s] < due->sequences[s])
            wrong(f, CHECK_LOST, s, f->sequences[s] + 1, "it was acknowledged");
    return past_check_truth(p, f, due->workers);
}
