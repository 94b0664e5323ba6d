// SPDX-License-Identifier: Apache-2.0
#include "test/unit/persist/log_lab.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "persist/recover.h"

static const struct uuid STORE = { "lab-store-uuid!" }, HISTORY = { "lab-history!!!!" };

// ---- the reactor

static int lab_register(struct reactor *r, const struct slice *buffers, uint32_t count)
{
    struct lab *l = (struct lab *)r;
    if (count == 0) {
        assert(l->registered > 0);
        l->registered--;
        return 0;
    }
    assert(count == 1 && buffers[0].len > 0);
    l->registered += !l->refuse_buffers;
    return l->refuse_buffers ? -EOPNOTSUPP : 0;
}

static const struct reactor_ops LAB_REACTOR = { .name = "lab", .register_buffers = lab_register };

static void op_begin(struct lab *l, struct lab_op *o)
{
    o->started = true;
    sim_disk_op_start(l->disk, o->op);
}

static void ops_take(struct lab *l)
{
    bool linked = false;
    for (struct op *op = reactor_take_submitted(&l->r), *next; op != NULL; op = next) {
        next = op->next;
        assert(l->count < LAB_OPS && op->owner == 9);
        assert(op->kind != OP_WRITE || op->fixed_buffer == (l->refuse_buffers ? -1 : 0));
        op->state = OP_IN_FLIGHT;
        struct lab_op *o = &l->ops[l->count++];
        *o = (struct lab_op){ .op = op, .link = (op->flags & OP_LINK) != 0, .waits = linked };
        linked = o->link;
        if (!o->waits)
            op_begin(l, o);
    }
    assert(!linked); // a chain ends within its turn
}

static void op_remove(struct lab *l, uint32_t i)
{
    l->count--;
    memmove(&l->ops[i], &l->ops[i + 1], (l->count - i) * sizeof l->ops[0]);
}

static void op_end(struct lab *l, uint32_t i, int32_t result)
{
    struct lab_op o = l->ops[i];
    bool good = result >= 0 && (uint32_t)result == o.op->len;
    op_remove(l, i);
    o.op->state = OP_IDLE;
    struct completion done = { .op = o.op, .result = result };
    log_on_completion(l->log, &done);
    if (!o.link)
        return;
    assert(i < l->count && l->ops[i].waits);
    l->ops[i].waits = false;
    if (good)
        op_begin(l, &l->ops[i]);
    else
        op_end(l, i, -ECANCELED);
}

void lab_finish_as(struct lab *l, uint32_t i, int32_t result)
{
    assert(i < l->count && l->ops[i].started);
    op_end(l, i, result);
}

void lab_finish(struct lab *l, uint32_t i)
{
    lab_finish_as(l, i, sim_disk_op_finish(l->disk, l->ops[i].op));
}

int lab_find(const struct lab *l, enum op_kind kind)
{
    for (uint32_t i = 0; i < l->count; i++)
        if (l->ops[i].op->kind == kind && l->ops[i].started)
            return (int)i;
    return -1;
}

void lab_step(struct lab *l)
{
    log_step(l->log);
    ops_take(l);
}

void lab_later(struct lab *l, uint64_t ns)
{
    l->r.now_ns += ns;
    l->r.wall_ms += (int64_t)(ns / 1000000);
}

void lab_settle(struct lab *l)
{
    for (int calm = 0; calm < 2;) {
        lab_step(l);
        calm = l->count == 0 ? calm + 1 : 0;
        lab_later(l, 10000);
        if (l->count > 0)
            lab_finish(l, 0);
    }
}

uint64_t lab_written(const struct lab *l, uint32_t p)
{
    return atomic_load(&l->ports[p].written);
}

uint64_t lab_durable(const struct lab *l, uint32_t p)
{
    return atomic_load(&l->ports[p].durable);
}

// ---- segments

void lab_give(struct lab *l)
{
    struct lab_segment *s = calloc(1, sizeof *s);
    struct disk *d = &l->disk->disk;
    static _Alignas(BLOCK_SIZE) uint8_t block[BLOCK_SIZE];
    char name[SEGMENT_NAME_MAX];
    uint64_t id = l->segment_count + 1;
    uint64_t size = l->segment_size;
    assert(s != NULL && l->segment_count < 256);
    l->segments[l->segment_count++] = s;
    s->s.header = (struct segment_header){
        .store = STORE, .history = HISTORY, .id = id, .epoch = prng_next(&l->prng), .shards = LAB_PORTS, .size = size
    };
    segment_name(id, name);
    s->s.fd = d->ops->open(d, name, DISK_WRITE | DISK_CREATE, &size);
    assert(s->s.fd >= 0 && d->ops->allocate(d, s->s.fd, l->segment_size) == 0);
    segment_encode(&s->s.header, block);
    assert(d->ops->write(d, s->s.fd, block, sizeof block, 0) == 0);
    assert(d->ops->write(d, s->s.fd, block, sizeof block, l->segment_size - BLOCK_SIZE) == 0);
    assert(d->ops->sync(d, s->s.fd) == 0 && d->ops->sync_names(d) == 0);
    s->given = true;
    log_segment_give(l->log, &s->s);
}

uint32_t lab_take_back(struct lab *l)
{
    uint32_t count = 0;
    uint64_t before = 0;
    for (struct log_segment *s; (s = log_segment_take(l->log)) != NULL; count++) {
        struct lab_segment *mine = l->segments[s->header.id - 1];
        assert(&mine->s == s && mine->given && !mine->returned && s->header.id > before);
        mine->returned = true;
        before = s->header.id;
    }
    return count;
}

// ---- making

static void manifest_put(struct lab *l)
{
    uint8_t block[BLOCK_SIZE];
    struct manifest m = {
        .generation = 1,
        .store = STORE,
        .history = HISTORY,
        .shards = LAB_PORTS,
        .flags = MANIFEST_LOG,
        .first_segment = 1,
        .segment_size = l->segment_size,
    };
    manifest_encode(&m, block);
    sim_disk_put(l->disk, manifest_name(m.generation), block, sizeof block);
}

struct lab *lab_new(const struct lab_options *o)
{
    struct lab *l = calloc(1, sizeof *l);
    struct log_port *ports[LAB_PORTS];
    assert(l != NULL);
    reactor_init(&l->r, &LAB_REACTOR, REACTOR_EPOLL);
    l->r.now_ns = 1000000000;
    l->r.wall_ms = 1700000000000;
    l->disk = sim_disk_new(o->seed + 1);
    l->refuse_buffers = o->no_buffers;
    l->segment_size = o->segment_size == 0 ? 65536 : o->segment_size;
    prng_init(&l->prng, o->seed);
    for (uint32_t p = 0; p < LAB_PORTS; p++) {
        log_port_init(&l->ports[p]);
        ports[p] = &l->ports[p];
    }
    l->options = (struct log_options){
        .origin = { .store = STORE, .history = HISTORY, .shards = LAB_PORTS, .segment_size = l->segment_size },
        .sync = o->sync,
        .method = o->method,
        .frames_in_flight = o->frames == 0 ? 4 : o->frames,
        .ports = o->ports == 0 ? LAB_PORTS : o->ports,
        .buffer_limit = 1 << 20,
        .owner = 9,
    };
    int rc = log_new(&l->log, &l->options, &l->r, ports);
    assert(rc == 0);
    manifest_put(l);
    for (uint32_t i = 0; i < (o->segments == 0 ? 3 : o->segments); i++)
        lab_give(l);
    return l;
}

struct lab *lab_free(struct lab *l)
{
    while (l->count > 0)
        lab_finish(l, 0);
    assert(log_idle(l->log));
    l->log = log_free(l->log);
    for (uint32_t p = 0; p < LAB_PORTS; p++)
        log_port_deinit(&l->ports[p]);
    for (uint32_t i = 0; i < l->segment_count; i++)
        free(l->segments[i]);
    assert(l->disk->failure[0] == '\0');
    sim_disk_free(l->disk);
    free(l);
    return NULL;
}

// ---- sending

static void fill(uint8_t *to, size_t len, uint32_t p, uint64_t position)
{
    uint64_t word = (position * 4 + p) * UINT64_C(0x9e3779b97f4a7c15);
    for (size_t i = 0; i < len; i++)
        to[i] = (uint8_t)(word >> (i % 8 * 8)) ^ (uint8_t)(i / 8);
}

static void record_add(struct buf *data, uint32_t p, uint64_t position, uint64_t sequence, uint32_t value)
{
    char key[32];
    uint8_t *bytes = malloc(value + 1u);
    assert(bytes != NULL);
    fill(bytes, value, p, position);
    snprintf(key, sizeof key, "port:%u:%llu", p, (unsigned long long)position);
    struct record r = {
        .op = RECORD_SET, .sequence = sequence, .deadline_ms = -1, .key = slice_cstr(key), .value = slice_of(bytes, value)
    };
    struct sub_batch s = { .shard = (uint16_t)p, .count = 1, .first = sequence, .bytes = (uint32_t)record_size(&r) };
    uint8_t *to = buf_reserve(data, SUB_BATCH_HEAD + s.bytes);
    assert(to != NULL);
    sub_batch_encode(&s, to);
    record_encode(&r, sequence, to + SUB_BATCH_HEAD);
    buf_advance(data, SUB_BATCH_HEAD + s.bytes);
    free(bytes);
}

struct log_batch *lab_batch(struct lab *l, uint32_t p, uint32_t value)
{
    struct log_batch *spent = log_port_recycle(&l->ports[p]);
    struct log_batch *b = spent;
    if (b == NULL)
        b = log_batch_new();
    else
        for (struct log_batch *more = spent->next, *next; more != NULL; more = next) {
            next = more->next;
            log_batch_free(more);
        }
    assert(b != NULL && b->data.len == 0 && b->marker_count == 0 && b->batches == 0 && !b->sync);
    b->position = ++l->sent[p];
    b->built_ns = l->r.now_ns;
    if (value != UINT32_MAX) {
        record_add(&b->data, p, b->position, ++l->sequence[p], value);
        b->batches = 1;
    }
    b->crc = crc32c(0, b->data.data, b->data.len);
    return b;
}

uint64_t lab_send(struct lab *l, uint32_t p, uint32_t value)
{
    struct log_batch *b = lab_batch(l, p, value);
    log_port_send(&l->ports[p], b);
    return l->sent[p];
}

uint64_t lab_send_synced(struct lab *l, uint32_t p, uint32_t value)
{
    struct log_batch *b = lab_batch(l, p, value);
    b->sync = true;
    log_port_send(&l->ports[p], b);
    return l->sent[p];
}

uint64_t lab_send_part(struct lab *l, uint32_t p, uint32_t value, uint32_t txn, uint32_t parts, bool empty)
{
    struct log_batch *b = lab_batch(l, p, empty ? UINT32_MAX : value);
    if (b->marker_cap == 0) {
        b->markers = calloc(2, sizeof *b->markers);
        b->marker_cap = 2;
    }
    b->markers[b->marker_count++] = (struct log_marker){ .txn = txn, .parts = parts };
    assert(b->position < LAB_POSITIONS);
    l->parts[p][b->position].txn = (uint16_t)txn;
    l->parts[p][b->position].empty = empty;
    log_port_send(&l->ports[p], b);
    return l->sent[p];
}

// ---- reading

struct reading {
    const struct lab *lab;
    struct lab_found *found;
    struct buf unit;
    uint64_t next_lsn;
    uint32_t last_crc;
    bool chain, ended;
    uint32_t unit_batches;
    uint64_t good_lsn;
};

static void wrong(struct lab_found *f, const char *what, uint64_t lsn)
{
    if (f->wrong[0] == '\0')
        snprintf(f->wrong, sizeof f->wrong, "%s at LSN %llu", what, (unsigned long long)lsn);
}

static bool is_empty(const struct lab *l, uint32_t p, uint64_t position)
{
    return position < LAB_POSITIONS && l->parts[p][position].empty;
}

static uint64_t position_of(struct slice key)
{
    uint64_t position = 0;
    size_t at = sizeof "port:0:" - 1;
    for (; at < key.len && key.data[at] >= '0' && key.data[at] <= '9'; at++)
        position = position * 10 + (uint64_t)(key.data[at] - '0');
    return at == key.len ? position : 0;
}

static void read_record(struct reading *g, const struct sub_batch *b, const struct record *r)
{
    struct lab_found *f = g->found;
    const struct lab *l = g->lab;
    uint32_t p = b->shard;
    if (p >= LAB_PORTS || r->op != RECORD_SET) {
        wrong(f, "foreign record", g->next_lsn);
        return;
    }
    uint64_t position = position_of(r->key);
    for (uint64_t at = f->positions[p] + 1; at < position; at++)
        if (!is_empty(l, p, at))
            wrong(f, "a gap", g->next_lsn);
    if (position <= f->positions[p] || r->sequence != f->sequences[p] + 1)
        wrong(f, "out of order", g->next_lsn);
    f->positions[p] = position;
    f->sequences[p] = r->sequence;
    uint8_t *want = malloc(r->value.len + 1);
    char key[32];
    assert(want != NULL);
    fill(want, r->value.len, p, position);
    snprintf(key, sizeof key, "port:%u:%llu", p, (unsigned long long)position);
    if (!slice_equal(r->key, slice_cstr(key)) || memcmp(want, r->value.data, r->value.len) != 0)
        wrong(f, "wrong bytes", g->next_lsn);
    free(want);
}

static void read_unit(struct reading *g)
{
    const uint8_t *at = g->unit.data;
    uint64_t left = g->unit.len;
    struct sub_batch b;
    uint32_t batches = 0;
    int rc;
    for (; (rc = sub_batch_next(&b, &at, &left)) == 0; batches++) {
        const uint8_t *record = b.records;
        uint32_t taken = 0;
        struct record r;
        int more;
        while ((more = record_next(&r, &b, &record, &taken)) == 0)
            read_record(g, &b, &r);
        if (more != 1)
            wrong(g->found, "a record that does not parse", g->next_lsn);
    }
    if (rc != 1 || batches != g->unit_batches)
        wrong(g->found, "sub-batches that do not parse", g->next_lsn);
    g->unit.len = 0;
    g->found->units++;
    g->good_lsn = g->next_lsn;
}

static void read_frame(struct reading *g, const struct frame_head *h, const uint8_t *frame)
{
    struct lab_found *f = g->found;
    uint32_t chain = h->flags & (FRAME_FIRST | FRAME_MIDDLE | FRAME_LAST);
    if (g->ended)
        wrong(f, "a frame behind a clean stop", h->lsn);
    if (h->previous_crc != g->last_crc)
        wrong(f, "another frame's checksum", h->lsn);
    if (g->chain != (chain == FRAME_MIDDLE || chain == FRAME_LAST))
        wrong(f, "a chain that does not hold", h->lsn);
    if (h->durable > g->good_lsn)
        wrong(f, "a witness of something that is not there", h->lsn);
    if (h->durable > f->witness)
        f->witness = h->durable;
    f->frames++;
    f->seals += (h->flags & FRAME_SEAL) != 0;
    f->stops += (h->flags & FRAME_CLEAN_STOP) != 0;
    f->chains += chain == FRAME_LAST;
    g->ended = (h->flags & FRAME_CLEAN_STOP) != 0;
    g->last_crc = h->crc;
    if (!g->chain)
        g->unit_batches = h->batches;
    else if (h->batches != 0)
        wrong(f, "sub-batches counted twice", h->lsn);
    buf_append(&g->unit, frame + FRAME_HEAD, h->payload);
    g->chain = chain == FRAME_FIRST || chain == FRAME_MIDDLE;
    if (!g->chain)
        read_unit(g);
    f->lsn = g->good_lsn;
    g->next_lsn++;
}

// False: the log ends in this segment.
static bool read_segment(struct reading *g, struct sim_disk *disk, const char *name, uint8_t *bytes)
{
    const struct lab *l = g->lab;
    struct segment_header h;
    const char *why;
    sim_disk_peek(disk, name, 0, bytes, l->segment_size);
    bool first = segment_decode(&h, bytes, &why) == 0 && h.first_lsn != 0; // else it may be the one of before it was begun
    if (!first && segment_decode(&h, bytes + l->segment_size - BLOCK_SIZE, &why) != 0)
        return false;
    if (h.first_lsn != g->next_lsn)
        return false;
    if (h.previous_lsn != g->next_lsn - 1 || h.previous_crc != g->last_crc || h.previous_id != h.id - 1)
        wrong(g->found, "a header that names another segment before it", h.first_lsn);
    for (uint64_t offset = BLOCK_SIZE; offset < l->segment_size - BLOCK_SIZE;) {
        struct frame_head head;
        struct frame_place place = { .store = &h.store, .segment = h.id, .epoch = h.epoch, .offset = offset };
        if (frame_peek(&head, bytes + offset, h.epoch) != 0 || head.lsn != g->next_lsn)
            return true; // goes on in the next one, if anywhere
        if (offset + head.blocks * (uint64_t)BLOCK_SIZE > l->segment_size - BLOCK_SIZE) {
            wrong(g->found, "a frame over the end", head.lsn);
            return false;
        }
        if (frame_verify(&head, &place, bytes + offset) != 0)
            return false;
        read_frame(g, &head, bytes + offset);
        offset += head.blocks * (uint64_t)BLOCK_SIZE;
    }
    return true;
}

// One part of it was found: all others that have a record are there too.
static bool txn_whole(const struct lab *l, const struct lab_found *found, uint16_t txn)
{
    for (uint32_t p = 0; p < LAB_PORTS; p++)
        for (uint64_t at = found->positions[p] + 1; at <= l->sent[p] && at < LAB_POSITIONS; at++)
            if (l->parts[p][at].txn == txn && !l->parts[p][at].empty)
                return false;
    return true;
}

void lab_read(const struct lab *l, struct sim_disk *disk, struct lab_found *found)
{
    *found = (struct lab_found){ .units = 0 };
    struct reading g = { .lab = l, .found = found, .next_lsn = 1 };
    uint8_t *bytes = malloc(l->segment_size);
    assert(bytes != NULL);
    buf_init(&g.unit, BUF_NO_LIMIT);
    for (uint64_t id = 1; id <= l->segment_count; id++) {
        char name[SEGMENT_NAME_MAX];
        segment_name(id, name);
        if (!read_segment(&g, disk, name, bytes))
            break;
    }
    for (uint32_t p = 0; p < LAB_PORTS; p++)
        for (uint64_t at = 1; at <= found->positions[p] && at < LAB_POSITIONS; at++)
            if (l->parts[p][at].txn != 0 && !txn_whole(l, found, l->parts[p][at].txn))
                wrong(found, "half a transaction", found->lsn);
    buf_deinit(&g.unit);
    free(bytes);
}

static void check_recovery(struct sim_disk *disk, const struct lab_found *found)
{
    struct recover *r;
    struct recover_item item;
    int rc = recover_open(&r, &disk->disk, &(struct recover_options){ .shards = LAB_PORTS });
    assert(rc == 0);
    do {
        rc = recover_next(r, &item);
    } while (rc == 0);
    const struct recover_report *report = recover_report(r);
    bool refused = report->verdict != RECOVER_EMPTY && report->verdict != RECOVER_CLEAN && report->verdict != RECOVER_CUT;
    if (refused || report->lsn != found->lsn) {
        printf("recovery: verdict %d, rule %s, LSN %llu, not %llu: %s\n", (int)report->verdict, report->rule,
               (unsigned long long)report->lsn, (unsigned long long)found->lsn, report->text);
        abort();
    }
    for (uint32_t p = 0; p < LAB_PORTS && found->units > 0; p++)
        assert(recover_sequences(r)[p] == found->sequences[p]);
    recover_free(r);
}

void lab_check_crashes(struct lab *l)
{
    for (int kind = 0; kind < CRASH_KINDS; kind++) {
        struct sim_disk *after = sim_disk_crash(l->disk, &l->prng, (enum crash_kind)kind);
        struct lab_found found;
        lab_read(l, after, &found);
        if (found.wrong[0] != '\0') {
            printf("crash kind %d: %s\n", kind, found.wrong);
            abort();
        }
        for (uint32_t p = 0; p < LAB_PORTS; p++) {
            uint64_t durable = lab_durable(l, p);
            while (durable > found.positions[p] && is_empty(l, p, durable))
                durable--;
            if (durable > found.positions[p]) {
                printf("crash kind %d: port %u was told %llu and has %llu\n", kind, p, (unsigned long long)lab_durable(l, p),
                       (unsigned long long)found.positions[p]);
                abort();
            }
        }
        check_recovery(after, &found);
        sim_disk_free(after);
    }
}
