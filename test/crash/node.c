// SPDX-License-Identifier: Apache-2.0
#include "test/crash/node.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/crc32c.h"

#define SEGMENT 65536u

// ---- the reactor

static int no_buffers(struct reactor *r, const struct slice *buffers, uint32_t count)
{
    return -EOPNOTSUPP;
}

static const struct reactor_ops NODE_REACTOR = { .name = "node", .register_buffers = no_buffers };

static bool happens(struct node *n, uint32_t permille)
{
    return permille > 0 && prng_below(&n->prng, 1000) < permille;
}

static void op_begin(struct node *n, struct node_op *o)
{
    o->started = true;
    sim_disk_op_start(n->disk, o->op);
}

static void ops_take(struct node *n)
{
    bool linked = false;
    for (struct op *op = reactor_take_submitted(&n->r), *next; op != NULL; op = next) {
        next = op->next;
        assert(n->count < NODE_OPS);
        op->state = OP_IN_FLIGHT;
        struct node_op *o = &n->ops[n->count++];
        *o = (struct node_op){ .op = op, .link = (op->flags & OP_LINK) != 0, .waits = linked };
        linked = o->link;
        if (!o->waits)
            op_begin(n, o);
    }
}

static void op_end(struct node *n, uint32_t i, int32_t result)
{
    struct node_op o = n->ops[i];
    n->count--;
    memmove(&n->ops[i], &n->ops[i + 1], (n->count - i) * sizeof n->ops[0]);
    o.op->state = OP_IDLE;
    struct completion done = { .op = o.op, .result = result };
    log_on_completion(n->log, &done);
    if (!o.link || i == n->count || !n->ops[i].waits)
        return;
    n->ops[i].waits = false;
    if (result >= 0 && (uint32_t)result == o.op->len)
        op_begin(n, &n->ops[i]);
    else
        op_end(n, i, -ECANCELED);
}

static void op_finish(struct node *n, uint32_t i)
{
    struct op *op = n->ops[i].op;
    if (happens(n, n->knobs.errors)) {
        if (op->kind == OP_FSYNC)
            sim_disk_fail(n->disk, DISK_FAIL_SYNC, 1, false);
        else
            sim_disk_fail(n->disk, prng_below(&n->prng, 2) == 0 ? DISK_FAIL_WRITE : DISK_SHORT_WRITE, 1, false);
    }
    op_end(n, i, sim_disk_op_finish(n->disk, op));
}

// ---- calls that are left out

static struct node_disk *left_out_of; // of the node that runs

static int no_names(struct disk *d)
{
    return 0;
}

static int sync_if_kept(struct disk *d, int fd)
{
    return left_out_of->named[fd - SIM_DISK_FD_BASE] ? 0 : left_out_of->real->sync(d, fd);
}

static int open_and_look(struct disk *d, const char *name, int flags, uint64_t *size)
{
    static const char *const FRONTS[] = {
        [LEFT_OUT_SYNC_SNAPSHOT] = "snapshot-", [LEFT_OUT_SYNC_MANIFEST] = "MANIFEST", [LEFT_OUT_SYNC_SEGMENT] = "log-"
    };
    int fd = left_out_of->real->open(d, name, flags, size);
    const char *front = FRONTS[left_out_of->left_out];
    if (fd >= 0)
        left_out_of->named[fd - SIM_DISK_FD_BASE] = strncmp(name, front, strlen(front)) == 0;
    return fd;
}

static void leave_out(struct node *n, enum node_left_out what)
{
    n->before = (struct node_disk){ .ops = *n->disk->disk.ops, .real = n->disk->disk.ops, .left_out = what };
    if (what == LEFT_OUT_SYNC_NAMES) {
        n->before.ops.sync_names = no_names;
    } else if (what != LEFT_OUT_NONE) {
        n->before.ops.sync = sync_if_kept;
        n->before.ops.open = open_and_look;
    }
    left_out_of = &n->before;
    n->disk->disk.ops = &n->before.ops;
}

// ---- what is acknowledged

static void note(struct node *n)
{
    bool moved = false;
    for (uint32_t w = 0; w < n->knobs.workers; w++) {
        uint64_t durable = atomic_load(&n->ports[w].durable);
        moved |= durable != n->told[w];
        n->told[w] = durable;
    }
    if (!moved)
        return;
    if (n->note_count == n->note_cap) {
        n->note_cap = n->note_cap == 0 ? 64 : 2 * n->note_cap;
        n->notes = realloc(n->notes, n->note_cap * sizeof *n->notes);
        assert(n->notes != NULL);
    }
    for (uint32_t w = 0; w < PAST_WORKERS; w++)
        n->notes[n->note_count].turns[w] = n->base[w] + (uint32_t)n->told[w];
    sim_disk_note(n->disk, n->note_count++);
}

static void log_turn(struct node *n)
{
    log_step(n->log);
    ops_take(n);
    note(n);
}

// ---- turns

static uint32_t value_length(struct node *n)
{
    uint32_t most = SEGMENT - 2 * BLOCK_SIZE - FRAME_HEAD;
    if (!happens(n, n->knobs.large))
        return 8 + (uint32_t)prng_below(&n->prng, 200);
    return prng_below(&n->prng, 4) == 0 ? most / 2 + (uint32_t)prng_below(&n->prng, 2 * most) : (uint32_t)prng_below(&n->prng, 20000) + 8;
}

static void draw_record(struct node *n, struct past_record *r)
{
    uint64_t pick = prng_below(&n->prng, 10);
    *r = (struct past_record){ .op = RECORD_SET, .key = (uint8_t)prng_below(&n->prng, PAST_KEYS), .deadline_ms = -1 };
    if (pick == 0)
        r->op = RECORD_DELETE;
    else if (pick == 1)
        r->op = RECORD_EXPIRE;
    else
        r->len = value_length(n);
    if (r->op != RECORD_DELETE && prng_below(&n->prng, 3) == 0)
        r->deadline_ms = (int64_t)prng_below(&n->prng, 1000000);
}

// One record behind what the batch holds of this sub-batch; it goes into the past, too.
static void put_record(struct node *n, struct log_batch *b, uint32_t shard, uint64_t first)
{
    struct past_record said;
    char key[8];
    draw_record(n, &said);
    past_add(n->past, shard, &said);
    uint64_t sequence = n->past->shards[shard].count;
    past_key_name(said.key, key);
    uint8_t *value = malloc(said.len + 1);
    assert(value != NULL);
    past_value(shard, sequence, value, said.len);
    struct record r = {
        .op = said.op, .sequence = sequence, .deadline_ms = said.deadline_ms, .key = slice_cstr(key), .value = slice_of(value, said.len)
    };
    uint8_t *to = buf_reserve(&b->data, record_size(&r));
    assert(to != NULL);
    record_encode(&r, first, to);
    buf_advance(&b->data, record_size(&r));
    free(value);
}

static void put_sub_batch(struct node *n, struct log_batch *b, uint32_t shard, uint32_t count)
{
    size_t at = b->data.len;
    uint64_t first = n->past->shards[shard].count + 1;
    assert(buf_reserve(&b->data, SUB_BATCH_HEAD) != NULL);
    buf_advance(&b->data, SUB_BATCH_HEAD);
    for (uint32_t i = 0; i < count; i++)
        put_record(n, b, shard, first);
    struct sub_batch sub = {
        .shard = (uint16_t)shard, .count = (uint16_t)count, .bytes = (uint32_t)(b->data.len - at - SUB_BATCH_HEAD), .first = first
    };
    sub_batch_encode(&sub, b->data.data + at);
    b->batches++;
}

// A turn of worker w, with a marker of the transaction if there is one; `parts` 0: none.
static void send_turn(struct node *n, uint32_t w, uint64_t txn, uint32_t parts, bool empty)
{
    struct log_batch *b = log_batch_new();
    struct past_turn t = { .txn = txn, .life = n->past->life };
    uint32_t shards[PAST_SHARDS], count = 0, wanted = empty ? 0 : 1 + (uint32_t)prng_below(&n->prng, 2);
    assert(b != NULL);
    for (uint32_t s = 0; s < PAST_SHARDS; s++)
        if (past_worker_of(s, n->knobs.workers) == w)
            shards[count++] = s;
    for (; t.part_count < wanted && count > 0; t.part_count++) {
        uint32_t pick = (uint32_t)prng_below(&n->prng, count), shard = shards[pick], records = 1 + (uint32_t)prng_below(&n->prng, 3);
        shards[pick] = shards[--count];
        t.parts[t.part_count].shard = shard;
        t.parts[t.part_count].first = n->past->shards[shard].count + 1;
        t.parts[t.part_count].count = records;
        put_sub_batch(n, b, shard, records);
    }
    if (parts > 0) {
        b->markers = calloc(1, sizeof *b->markers);
        assert(b->markers != NULL);
        b->marker_count = b->marker_cap = 1;
        b->markers[0] = (struct log_marker){ .txn = txn, .parts = parts };
    }
    b->position = ++n->sent[w];
    b->built_ns = n->r.now_ns;
    b->crc = crc32c(0, b->data.data, b->data.len);
    b->sync = prng_below(&n->prng, 4) == 0;
    past_add_turn(n->past, w, &t);
    log_port_send(&n->ports[w], b);
}

static void recycle(struct node *n, uint32_t w)
{
    for (struct log_batch *b = log_port_recycle(&n->ports[w]), *next; b != NULL; b = next) {
        next = b->next;
        log_batch_free(b);
    }
}

static bool may_send(const struct node *n, uint32_t w)
{
    return atomic_load(&n->ports[w].state) == LOG_RUNS && n->sent[w] - atomic_load(&n->ports[w].written) < 20;
}

static void workers_step(struct node *n)
{
    uint32_t workers = n->knobs.workers, w = (uint32_t)prng_below(&n->prng, workers);
    recycle(n, w);
    if (!may_send(n, w))
        return;
    if (workers == 1 || !happens(n, n->knobs.txns)) {
        send_turn(n, w, 0, 0, false);
        return;
    }
    uint32_t other = (w + 1 + (uint32_t)prng_below(&n->prng, workers - 1)) % workers;
    uint64_t txn = ++n->txns;
    send_turn(n, other, txn, 2, false);
    if (prng_below(&n->prng, 2) == 0)
        log_turn(n); // the role sees one part before the other
    send_turn(n, w, txn, 2, prng_below(&n->prng, 3) == 0);
}

// ---- snapshots: everything at one moment, files as they come

static bool snapshot_lives(struct node *n)
{
    struct keeper_snapshot_status status;
    keeper_snapshot_status(n->k, &status);
    return status.state == SNAPSHOT_RUNS && status.id == n->set;
}

// A chunk with room; NULL: the set is no more.
static struct snapshot_chunk *room_for(struct node *n, uint32_t w, struct snapshot_chunk *c)
{
    if (c != NULL && !snapshot_chunk_full(c) && prng_below(&n->prng, 8) != 0)
        return c;
    if (c != NULL)
        keeper_chunk_give(n->k, n->set, w, c);
    c = keeper_chunk_take(n->k, n->set, w);
    while (c == NULL && snapshot_lives(n)) {
        (void)keeper_step(n->k);
        c = keeper_chunk_take(n->k, n->set, w);
    }
    return c;
}

static struct snapshot_chunk *put_entry(struct node *n, uint32_t w, struct snapshot_chunk *c, uint32_t shard, uint32_t key,
                                        const struct past_key *k)
{
    char name[8];
    past_key_name(key, name);
    uint32_t len = n->past->shards[shard].records[k->sequence - 1].len;
    uint8_t *value = malloc(len + 1);
    assert(value != NULL);
    past_value(shard, k->sequence, value, len);
    struct snapshot_entry e = { .db = (uint16_t)shard,
                                .flags = k->deadline_ms >= 0 ? RECORD_DEADLINE : 0,
                                .deadline_ms = k->deadline_ms,
                                .key = slice_cstr(name),
                                .value = slice_of(value, len) };
    for (uint64_t done = 0; done < snapshot_entry_size(&e) && (c = room_for(n, w, c)) != NULL;)
        done = snapshot_chunk_add(c, &e, done);
    free(value);
    return c;
}

static struct snapshot_chunk *walk(struct node *n, uint32_t w, struct snapshot_chunk *c)
{
    struct past_key keys[PAST_KEYS];
    for (uint32_t s = 0; s < PAST_SHARDS; s++) {
        if (past_worker_of(s, n->knobs.workers) != w)
            continue;
        past_state(n->past, s, n->saves[w].marks[s], keys);
        for (uint32_t k = 0; k < PAST_KEYS && c != NULL; k++)
            if (keys[k].sequence != 0)
                c = put_entry(n, w, c, s, k, &keys[k]);
    }
    return c;
}

static void snapshot_begin(struct node *n)
{
    n->set = keeper_snapshot_begin(n->k, 1000);
    for (uint32_t w = 0; w < n->knobs.workers && n->set != 0; w++) {
        n->saves[w] = (struct node_save){ .walks = true, .position = n->sent[w] };
        for (uint32_t s = 0; s < PAST_SHARDS; s++)
            n->saves[w].marks[s] = n->past->shards[s].count;
    }
}

static void snapshot_step(struct node *n)
{
    bool any = false;
    for (uint32_t w = 0; w < n->knobs.workers; w++) {
        struct node_save *save = &n->saves[w];
        if (!save->walks)
            continue;
        if (!snapshot_lives(n)) {
            keeper_file_drop(n->k, n->set, w);
            save->walks = false;
            continue;
        }
        struct snapshot_chunk *c = keeper_chunk_take(n->k, n->set, w);
        if (c == NULL || atomic_load(&n->ports[w].durable) < save->position) {
            if (c != NULL)
                keeper_chunk_give(n->k, n->set, w, c);
            any = true;
            continue;
        }
        struct snapshot_watermark marks[PAST_SHARDS];
        uint32_t count = 0;
        c = walk(n, w, c);
        if (c != NULL)
            keeper_chunk_give(n->k, n->set, w, c);
        for (uint32_t s = 0; s < PAST_SHARDS; s++)
            if (past_worker_of(s, n->knobs.workers) == w)
                marks[count++] = (struct snapshot_watermark){ s, save->marks[s] };
        keeper_file_end(n->k, n->set, w, marks, count);
        save->walks = false;
    }
    if (!any && !snapshot_lives(n))
        n->set = 0;
}

// ---- the node

static void on_say(void *context, int level, const char *text)
{
    struct node *n = context;
    snprintf(n->text, sizeof n->text, "%s", text);
}

struct node_knobs node_knobs_draw(struct prng *p)
{
    static const enum log_method METHODS[] = { LOG_METHOD_DSYNC, LOG_METHOD_FDATASYNC, LOG_METHOD_LINKED, LOG_METHOD_AUTO };
    static const enum log_sync SYNCS[] = { LOG_SYNC_ALWAYS, LOG_SYNC_ALWAYS, LOG_SYNC_EVERYSEC, LOG_SYNC_NO };
    // One after the other, so that every compiler draws the same.
    struct node_knobs k = { .workers = 1 + (uint32_t)prng_below(p, PAST_WORKERS) };
    k.method = METHODS[prng_below(p, 4)];
    k.sync = SYNCS[prng_below(p, 4)];
    k.frames = 1 + (uint32_t)prng_below(p, LOG_FRAMES_MAX);
    k.large = prng_below(p, 2) == 0 ? 0 : (uint32_t)prng_below(p, 60);
    k.txns = prng_below(p, 3) == 0 ? 0 : (uint32_t)prng_below(p, 400);
    k.snapshots = prng_below(p, 2) == 0 ? 0 : (uint32_t)prng_below(p, 30);
    k.errors = prng_below(p, 8) == 0 ? (uint32_t)prng_below(p, 30) : 0;
    return k;
}

static int load(struct node *n)
{
    bool waits;
    enum keeper_load state;
    while ((state = keeper_load_step(n->k, &waits)) == KEEPER_LOADING) {
        for (uint32_t w = 0; w < n->knobs.workers; w++) {
            struct load_piece *piece;
            while ((piece = keeper_piece_take(n->k, w)) != NULL) {
                if (w == 0)
                    past_apply(n->past, &n->found, &piece->item);
                keeper_piece_done(n->k, piece);
            }
        }
    }
    n->found.rc = 1;
    n->found.report = *keeper_report(n->k);
    if (state == KEEPER_REFUSED)
        return n->disk->cut ? -EIO : 1;
    const uint64_t *sequences = keeper_sequences(n->k);
    for (uint32_t s = 0; s < PAST_SHARDS; s++)
        n->found.sequences[s] = sequences == NULL ? 0 : sequences[s];
    return 0;
}

static void begin_life(struct node *n)
{
    past_cut(n->past, n->found.sequences);
    for (uint32_t w = 0; w < PAST_WORKERS; w++)
        n->base[w] = n->past->workers[w].count;
}

int node_start(struct node *n, struct sim_disk *disk, struct past *past, const struct node_knobs *knobs, uint64_t seed)
{
    *n = (struct node){ .knobs = *knobs, .disk = disk, .past = past };
    prng_init(&n->prng, seed);
    reactor_init(&n->r, &NODE_REACTOR, REACTOR_EPOLL);
    n->r.now_ns = 1000000000;
    disk->now_ns = &n->r.now_ns;
    leave_out(n, (enum node_left_out)knobs->left_out);
    for (uint32_t w = 0; w < PAST_WORKERS; w++)
        log_port_init(&n->ports[w]);
    struct keeper_options o = {
        .recover = { .segment_size = SEGMENT, .fault = knobs->recover_fault },
        .shards = PAST_SHARDS,
        .workers = knobs->workers,
        .segments_ready = 2,
        .segments_spare = 1,
        .log = true,
        .say = on_say,
        .context = n,
    };
    int rc = keeper_new(&n->k, &disk->disk, &o);
    if (rc != 0)
        return rc;
    rc = load(n);
    if (rc != 0)
        return rc;
    begin_life(n);
    struct log_options l = { .sync = knobs->sync,
                             .method = knobs->method,
                             .frames_in_flight = knobs->frames,
                             .ports = knobs->workers,
                             .buffer_limit = 1 << 20,
                             .owner = NODE_OWNER,
                             .fault = knobs->log_fault };
    rc = keeper_begin(n->k, &l.origin);
    if (rc != 0)
        return rc;
    struct log_port *ports[PAST_WORKERS];
    for (uint32_t w = 0; w < PAST_WORKERS; w++)
        ports[w] = &n->ports[w];
    rc = log_new(&n->log, &l, &n->r, ports);
    if (rc == 0)
        keeper_attach(n->k, n->log);
    return rc;
}

static void pass_time(struct node *n, uint64_t ns)
{
    n->r.now_ns += ns;
    n->r.wall_ms = (int64_t)(n->r.now_ns / 1000000);
}

static void finish_some(struct node *n)
{
    uint32_t started = 0, pick;
    for (uint32_t i = 0; i < n->count; i++)
        started += n->ops[i].started;
    if (started == 0)
        return;
    pick = (uint32_t)prng_below(&n->prng, started);
    for (uint32_t i = 0; i < n->count; i++)
        if (n->ops[i].started && pick-- == 0) {
            op_finish(n, i);
            return;
        }
}

static void keeper_turn(struct node *n)
{
    if (happens(n, n->knobs.errors / 4))
        sim_disk_fail(n->disk, DISK_FAIL_ALLOCATE, 1, false);
    (void)keeper_step(n->k);
}

void node_step(struct node *n)
{
    pass_time(n, prng_below(&n->prng, 300000));
    uint64_t pick = prng_below(&n->prng, 16);
    if (pick < 4)
        workers_step(n);
    else if (pick < 8)
        log_turn(n);
    else if (pick < 12)
        finish_some(n);
    else if (pick < 15)
        keeper_turn(n);
    else
        pass_time(n, prng_below(&n->prng, 2) == 0 ? 6000000 : 600000000);
    if (n->set == 0 && happens(n, n->knobs.snapshots))
        snapshot_begin(n);
    else if (n->set != 0)
        snapshot_step(n);
}

bool node_dead(const struct node *n)
{
    return log_state(n->log) == LOG_POISONED;
}

static bool turn_of_all(struct node *n)
{
    for (uint32_t w = 0; w < n->knobs.workers; w++)
        recycle(n, w);
    log_turn(n);
    finish_some(n);
    (void)keeper_step(n->k);
    pass_time(n, 1000000);
    return node_dead(n);
}

bool node_settle(struct node *n)
{
    for (int i = 0; i < 20000; i++) {
        bool all = true;
        for (uint32_t w = 0; w < n->knobs.workers; w++)
            all &= atomic_load(&n->ports[w].durable) == n->sent[w];
        if (all && n->count == 0)
            return true;
        if (turn_of_all(n))
            return true;
        if (n->knobs.sync == LOG_SYNC_NO)
            for (uint32_t w = 0; w < n->knobs.workers; w++)
                atomic_store(&n->ports[w].wants_sync, true);
    }
    return false;
}

bool node_idle(struct node *n, uint32_t ms)
{
    for (uint32_t i = 0; i < ms; i += 10) {
        (void)turn_of_all(n);
        pass_time(n, 9000000);
    }
    return n->count == 0;
}

bool node_stop(struct node *n)
{
    log_stop(n->log);
    for (int i = 0; i < 20000 && !log_stopped(n->log); i++)
        (void)turn_of_all(n);
    if (!log_stopped(n->log))
        return false;
    bool clean = log_stopped_clean(n->log);
    (void)keeper_step(n->k);
    return keeper_end(n->k, clean) == 0 || n->knobs.errors > 0 || node_dead(n);
}

// Nothing goes to the disk any more.
static void ops_fail(struct node *n)
{
    while (n->count > 0) { // those that are linked end with it
        n->ops[0].started = true;
        op_end(n, 0, -EIO);
    }
    for (struct op *op = reactor_take_submitted(&n->r), *next; op != NULL; op = next) {
        next = op->next;
        op->state = OP_IDLE;
        struct completion done = { .op = op, .result = -EIO };
        log_on_completion(n->log, &done);
    }
}

void node_free(struct node *n)
{
    if (n->log != NULL) {
        log_stop(n->log);
        log_segment_trouble(n->log, -EIO); // nobody makes any for it
        for (int i = 0; i < 8 && !log_stopped(n->log); i++) {
            ops_fail(n);
            log_step(n->log);
        }
        ops_fail(n);
        for (struct log_segment *s; (s = log_segment_take(n->log)) != NULL;) {
            n->disk->disk.ops->close(&n->disk->disk, s->fd);
            free(s);
        }
    }
    for (uint32_t w = 0; w < n->knobs.workers && n->set != 0; w++)
        if (n->saves[w].walks)
            keeper_file_drop(n->k, n->set, w);
    n->k = keeper_free(n->k);
    n->log = log_free(n->log);
    for (uint32_t w = 0; w < PAST_WORKERS; w++)
        log_port_deinit(&n->ports[w]);
    free(n->notes);
    n->notes = NULL;
    n->disk->now_ns = NULL;
    n->disk->disk.ops = n->before.real;
}
