// SPDX-License-Identifier: Apache-2.0
// One command, several workers.
//
//   SPREAD_EACH, SUM, ALL_OK   the keys are dealt to their workers, each runs the command on its share; the answers are merged
//   SPREAD_JOIN, keyless       every worker runs the command; the answers are merged
//   SPREAD_STEPS               fetch every key's value -> run the command here on copies -> put back what it changed
//
// A gather lives until its last part has answered, also when the connection is long gone.
#include "engine/shard/fanout.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "engine/shard/run.h"
#include "proto/number.h"

enum gather_phase { GATHER_PARTS, GATHER_FETCH, GATHER_PUT };

struct part {
    uint8_t *bytes; // heap
    uint64_t len;
    uint64_t cursor; // of the merge
};

struct gather {
    struct pending *due;
    const struct command *command;
    uint32_t db;
    uint8_t protocol;
    uint8_t phase;
    uint32_t left;
    uint32_t parts;
    struct part *part; // [parts]
    struct command_keys keys;
    uint32_t *part_of_key; // [keys], EACH
    uint32_t argc;
    struct slice *argv; // copies, STEPS
    uint8_t *argv_bytes;
    uint32_t db_second; // STEPS: of the second key (COPY ... DB n), else `db`
    struct buf reply;   // STEPS: what the command answered
};

static uint32_t key_count(const struct command_keys *k)
{
    return (k->last - k->first) / k->step + 1;
}

static void gather_free(struct gather *g)
{
    for (uint32_t i = 0; g->part != NULL && i < g->parts; i++)
        free(g->part[i].bytes);
    free(g->part);
    free(g->part_of_key);
    free(g->argv);
    free(g->argv_bytes);
    buf_deinit(&g->reply);
    free(g);
}

// ---- merging RESP answers (ours, so they are well formed)

// The decimal number of a header line such as "$12\r\n", and where the line ends.
static int64_t header(const struct part *p, uint64_t at, uint64_t *behind)
{
    uint64_t end = at + 1;
    while (end < p->len && p->bytes[end] != '\r')
        end++;
    int64_t n = 0;
    if (!number_parse_i64(slice_of(p->bytes + at + 1, end - at - 1), &n))
        n = 0;
    *behind = end + 2 < p->len ? end + 2 : p->len;
    return n;
}

static bool is_error(const struct part *p)
{
    return p->len == 0 || p->bytes[0] == '-';
}

static const struct part *first_error(const struct gather *g)
{
    for (uint32_t i = 0; i < g->parts; i++)
        if (is_error(&g->part[i]))
            return &g->part[i];
    return NULL;
}

static void merge_each(struct gather *g, struct reply *out)
{
    for (uint32_t i = 0; i < g->parts; i++)
        header(&g->part[i], 0, &g->part[i].cursor);
    uint32_t keys = key_count(&g->keys);
    reply_array(out, keys);
    for (uint32_t k = 0; k < keys; k++) {
        struct part *p = &g->part[g->part_of_key[k]];
        uint64_t from = p->cursor, behind;
        int64_t len = header(p, from, &behind);
        bool null = p->bytes[from] == '_' || len < 0;
        p->cursor = null ? behind : behind + (uint64_t)len + 2;
        reply_raw(out, slice_of(p->bytes + from, p->cursor - from));
    }
}

command_fn cmd_client_kill;

static void merge_sum(struct worker *w, struct gather *g, struct reply *out)
{
    int64_t sum = 0;
    for (uint32_t i = 0; i < g->parts; i++) {
        uint64_t behind;
        sum += header(&g->part[i], 0, &behind);
    }
    if (g->command->run != cmd_client_kill) {
        reply_integer(out, sum);
        return;
    }
    // What its reply looks like depends on how it was asked.
    struct conn *c = g->due->conn;
    struct call call = { .command = g->command, .argc = g->argc, .argv = g->argv, .reply = out, .worker = w };
    call.client = c != NULL ? &c->client : NULL;
    client_kill_reply(&call, sum);
}

static void merge_join(struct gather *g, struct reply *out)
{
    bool aggregate = g->part[0].bytes[0] == '*' || g->part[0].bytes[0] == '~';
    bool verbatim = g->part[0].bytes[0] == '=';
    uint64_t total = 0;
    struct buf text;
    buf_init(&text, BUF_NO_LIMIT);
    for (uint32_t i = 0; i < g->parts; i++) {
        struct part *p = &g->part[i];
        int64_t n = header(p, 0, &p->cursor);
        total += n > 0 ? (uint64_t)n : 0;
        if (aggregate)
            buf_append(&text, p->bytes + p->cursor, p->len - p->cursor);
        else if (n > 0)
            buf_append(&text, p->bytes + p->cursor + (verbatim ? 4 : 0), (uint64_t)n - (verbatim ? 4 : 0));
    }
    if (aggregate) {
        if (g->part[0].bytes[0] == '~')
            reply_set(out, total);
        else
            reply_array(out, total);
        reply_raw(out, buf_view(&text));
    } else if (verbatim) {
        reply_verbatim(out, "txt", buf_view(&text));
    } else {
        reply_bulk(out, buf_view(&text));
    }
    buf_deinit(&text);
}

// RANDOMKEY: one of the keys that the workers drew, each worker weighed by how many keys it holds.
static void merge_random(struct worker *w, struct gather *g, struct reply *out)
{
    uint64_t total = 0;
    const struct part *chosen = NULL;
    for (uint32_t i = 0; i < g->parts; i++) {
        const struct part *p = &g->part[i];
        if (p->len < 2 || p->bytes[0] == '_' || p->bytes[1] == '-')
            continue;
        uint64_t weight = w->server->workers[i]->stats.keys + 1;
        total += weight;
        if (prng_below(&w->prng, total) < weight)
            chosen = p;
    }
    if (chosen != NULL)
        reply_raw(out, slice_of(chosen->bytes, chosen->len));
    else
        reply_null(out);
}

static void merge(struct worker *w, struct gather *g, struct reply *out)
{
    const struct part *error = first_error(g);
    if (error != NULL) {
        reply_raw(out, slice_of(error->bytes, error->len));
    } else if (g->command->spread == SPREAD_SUM) {
        merge_sum(w, g, out);
    } else if (g->command->spread == SPREAD_EACH) {
        merge_each(g, out);
    } else if (g->command->spread == SPREAD_JOIN) {
        merge_join(g, out);
    } else if (g->command->spread == SPREAD_STEPS) {
        merge_random(w, g, out);
    } else {
        reply_raw(out, slice_of(g->part[0].bytes, g->part[0].len));
    }
}

static void finish(struct worker *w, struct gather *g, struct buf *answer)
{
    // A failed buffer means out of memory: the connection cannot be kept in step, so it ends.
    struct conn *c = g->due->conn;
    if (answer->failed && c != NULL)
        conn_close(c);
    if (answer->borrowed || answer->data == NULL) {
        conn_deliver(w, g->due, NULL, NULL, answer->data, answer->len);
    } else {
        conn_deliver(w, g->due, NULL, answer->data, answer->data, answer->len);
        *answer = (struct buf){ .limit = BUF_NO_LIMIT };
    }
    gather_free(g);
}

// ---- sending parts

static void to_worker(struct worker *w, struct gather *g, uint32_t part, const struct forward *f)
{
    if (f->target == w->id) {
        struct buf out;
        buf_init(&out, BUF_NO_LIMIT);
        if (f->command >= FANOUT_FIRST) {
            struct mesh_request head = { .shard = (uint16_t)f->shard, .db = (uint16_t)f->db, .command = f->command };
            fanout_serve(w, &head, f->argv, &out);
        } else {
            struct conn *c = g->due->conn;
            run_here(w, c != NULL ? &c->client : NULL, command_at(f->command), f->argv, f->argc, f->db, f->protocol, &out);
        }
        fanout_part(w, g, part, out.data, out.data, out.len);
        return;
    }
    struct pending *p = pending_new(w);
    if (p != NULL) {
        p->gather = g;
        p->part = part;
    }
    if (p == NULL || !run_forward(w, f, p)) {
        static const char text[] = "-ERR out of memory\r\n";
        fanout_part(w, g, part, NULL, (const uint8_t *)text, sizeof text - 1);
        return;
    }
    w->stats.requests_forwarded++;
}

static struct gather *gather_new(struct conn *c, const struct item *item, uint32_t parts, enum gather_phase phase)
{
    struct gather *g = calloc(1, sizeof *g);
    struct pending *due = g != NULL ? conn_expect(c) : NULL;
    if (due == NULL) {
        free(g);
        return NULL;
    }
    due->silent = (c->client.flags & (CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP)) != 0;
    *g = (struct gather){
        .due = due,
        .command = item->command,
        .db = c->client.db,
        .protocol = c->client.protocol,
        .phase = (uint8_t)phase,
        .left = parts,
        .parts = parts,
        .part = calloc(parts, sizeof *g->part),
    };
    buf_init(&g->reply, BUF_NO_LIMIT);
    return g;
}

static struct forward forward_of(const struct gather *g, uint32_t target, const struct slice *argv, uint32_t argc)
{
    return (struct forward){
        .target = target,
        .shard = NO_SHARD,
        .db = g->db,
        .command = (uint16_t)command_index(g->command),
        .protocol = g->protocol,
        .argc = argc,
        .argv = argv,
    };
}

static bool copy_request(struct gather *g, const struct request *rq)
{
    size_t bytes = 1;
    for (uint32_t i = 0; i < rq->argc; i++)
        bytes += rq->argv[i].len;
    g->argv = malloc(rq->argc * sizeof *g->argv);
    g->argv_bytes = malloc(bytes);
    if (g->argv == NULL || g->argv_bytes == NULL)
        return false;
    uint8_t *to = g->argv_bytes;
    for (uint32_t i = 0; i < rq->argc; i++) {
        if (rq->argv[i].len > 0)
            memcpy(to, rq->argv[i].data, rq->argv[i].len);
        g->argv[i] = slice_of(to, rq->argv[i].len);
        to += rq->argv[i].len;
    }
    g->argc = rq->argc;
    return true;
}

static void every_worker(struct conn *c, struct item *item)
{
    struct worker *w = c->worker;
    uint32_t count = w->server->worker_count;
    struct gather *g = gather_new(c, item, count, GATHER_PARTS);
    if (g == NULL || g->part == NULL || !copy_request(g, &item->request)) {
        conn_close(c);
        return;
    }
    // The gather is gone when the last part has been answered here.
    for (uint32_t t = 0; t < count; t++) {
        struct forward f = forward_of(g, t, g->argv, g->argc);
        to_worker(w, g, t, &f);
    }
}

// Who has which key: chains per worker, in key order.
struct deal {
    uint32_t *worker_of_key;
    uint32_t *keys_of_worker; // counts
    uint32_t *part_of_worker;
    struct slice *argv;
};

static bool deal_init(struct deal *d, struct worker *w, const struct item *item, const struct command_keys *keys)
{
    uint32_t n = key_count(keys), workers = w->server->worker_count;
    d->worker_of_key = malloc(n * sizeof(uint32_t));
    d->keys_of_worker = calloc(workers, sizeof(uint32_t));
    d->part_of_worker = calloc(workers, sizeof(uint32_t));
    d->argv = malloc(item->request.argc * sizeof *d->argv);
    if (d->worker_of_key == NULL || d->keys_of_worker == NULL || d->part_of_worker == NULL || d->argv == NULL)
        return false;
    for (uint32_t k = 0; k < n; k++) {
        uint32_t shard = route_shard(&w->route, item->request.argv[keys->first + k * keys->step]);
        d->worker_of_key[k] = shard % workers;
        d->keys_of_worker[shard % workers]++;
    }
    return true;
}

static void deal_deinit(struct deal *d)
{
    free(d->worker_of_key);
    free(d->keys_of_worker);
    free(d->part_of_worker);
    free(d->argv);
}

// argv of worker t's share: the name, then its keys with what belongs to each (MSET: the value).
static uint32_t share(const struct deal *d, const struct item *item, const struct command_keys *keys, uint32_t t)
{
    uint32_t argc = 0, n = key_count(keys);
    const struct slice *argv = item->request.argv;
    d->argv[argc++] = argv[0];
    for (uint32_t k = 0; k < n; k++)
        for (uint32_t j = 0; d->worker_of_key[k] == t && j < keys->step; j++)
            d->argv[argc++] = argv[keys->first + k * keys->step + j];
    return argc;
}

static void by_key(struct conn *c, struct item *item, const struct command_keys *keys)
{
    struct worker *w = c->worker;
    struct deal d;
    if (!deal_init(&d, w, item, keys)) {
        deal_deinit(&d);
        conn_close(c);
        return;
    }
    uint32_t parts = 0, workers = w->server->worker_count, n = key_count(keys);
    for (uint32_t t = 0; t < workers; t++)
        if (d.keys_of_worker[t] > 0)
            d.part_of_worker[t] = parts++;
    struct gather *g = gather_new(c, item, parts, GATHER_PARTS);
    uint32_t *part_of_key = malloc(n * sizeof *part_of_key);
    if (g == NULL || g->part == NULL || part_of_key == NULL) {
        free(part_of_key);
        deal_deinit(&d);
        conn_close(c);
        return;
    }
    for (uint32_t k = 0; k < n; k++)
        part_of_key[k] = d.part_of_worker[d.worker_of_key[k]];
    g->keys = *keys;
    g->part_of_key = part_of_key;
    // Whole keys and values of the same request: MSET k v on another worker is the same command with fewer arguments.
    for (uint32_t t = 0, sent = 0; t < workers && sent < parts; t++) {
        if (d.keys_of_worker[t] == 0)
            continue;
        uint32_t argc = share(&d, item, keys, t);
        struct forward f = forward_of(g, t, d.argv, argc);
        sent++;
        to_worker(w, g, d.part_of_worker[t], &f);
    }
    deal_deinit(&d);
}

// ---- steps: copies of foreign values

// u8 present, u8 type, u8 mark, 5 zero bytes, i64 deadline, value
#define FETCHED_HEAD 16

static void fetched_append(struct buf *out, const struct entry *e)
{
    uint8_t head[FETCHED_HEAD] = { 0 };
    if (e != NULL) {
        head[0] = 1;
        head[1] = (uint8_t)entry_type(e);
        head[2] = entry_mark(e);
        store_u64(head + 8, (uint64_t)entry_deadline(e));
    }
    buf_append(out, head, sizeof head);
    if (e != NULL)
        buf_append_slice(out, entry_value(e));
}

static bool fetched_put(struct keyspace *ks, struct slice key, struct slice bytes, int64_t now_ms)
{
    uint64_t hash = keyspace_hash(ks, key);
    if (bytes.len < FETCHED_HEAD || bytes.data[0] == 0) {
        keyspace_delete(ks, key, hash, now_ms);
        return true;
    }
    struct slice value = slice_of(bytes.data + FETCHED_HEAD, bytes.len - FETCHED_HEAD);
    int64_t deadline = (int64_t)load_u64(bytes.data + 8);
    struct entry *e = keyspace_set(ks, key, hash, (enum entry_type)bytes.data[1], value, deadline, now_ms);
    if (e != NULL && bytes.data[2] != 0)
        entry_set_mark(e, true);
    return e != NULL;
}

void fanout_serve(struct worker *w, const struct mesh_request *head, const struct slice *argv, struct buf *out)
{
    struct keyspace *ks = store_keyspace(w->store, head->shard, head->db);
    if (head->command == FANOUT_FETCH) {
        fetched_append(out, keyspace_find(ks, argv[1], keyspace_hash(ks, argv[1]), w->now_ms));
        return;
    }
    bool room = argv[2].len < FETCHED_HEAD || w->options.maxmemory == 0 || store_make_room(w->store, w->now_ms);
    struct reply reply = { .out = out, .protocol = PROTOCOL_RESP2 };
    if (room && fetched_put(ks, argv[1], argv[2], w->now_ms))
        reply_ok(&reply);
    else
        reply_error(&reply, REPLY_OUT_OF_MEMORY);
}

static uint32_t steps_db(const struct gather *g, uint32_t k)
{
    return k == 1 ? g->db_second : g->db;
}

static void steps_send(struct worker *w, struct gather *g, uint32_t part, struct slice key, const struct slice *value)
{
    struct slice argv[3] = { slice_of(NULL, 0), key, value != NULL ? *value : slice_of(NULL, 0) };
    uint32_t shard = route_shard(&w->route, key);
    struct forward f = forward_of(g, shard % w->server->worker_count, argv, value != NULL ? 3 : 2);
    f.shard = shard;
    f.db = steps_db(g, part);
    f.command = value != NULL ? FANOUT_PUT : FANOUT_FETCH;
    to_worker(w, g, part, &f);
}

command_fn cmd_copy;

// COPY may name the database of its destination. One that makes no sense is the command's to refuse.
static uint32_t second_db(const struct worker *w, const struct gather *g)
{
    for (uint32_t i = 3; g->command->run == cmd_copy && i + 1 < g->argc; i++) {
        int64_t db;
        if (slice_is(g->argv[i], "db") && number_parse_i64(g->argv[i + 1], &db) && db >= 0 && db < w->options.databases)
            return (uint32_t)db;
    }
    return g->db;
}

static void steps_start(struct conn *c, struct item *item, const struct command_keys *keys)
{
    struct worker *w = c->worker;
    uint32_t n = key_count(keys);
    struct gather *g = gather_new(c, item, n, GATHER_FETCH);
    if (g == NULL || g->part == NULL || !copy_request(g, &item->request)) {
        conn_close(c);
        return;
    }
    g->keys = *keys;
    g->db_second = second_db(w, g);
    g->due->barrier = c->barrier = true;
    for (uint32_t k = 0; k < n; k++) {
        struct slice key = g->argv[keys->first + k * keys->step];
        steps_send(w, g, k, key, NULL);
    }
}

static struct slice steps_key(const struct gather *g, uint32_t k)
{
    return g->argv[g->keys.first + k * g->keys.step];
}

static struct keyspace *scratch_of(struct worker *w, uint32_t db)
{
    if (w->scratch == NULL) {
        struct store_options o = { .worker = 0, .workers = 1, .databases = (uint32_t)w->options.databases, .memory = w->memory };
        route_init(&o.route, 1, ROUTE_FULL_KEY);
        o.secret = (struct hash_secret){ prng_next(&w->prng), prng_next(&w->prng) };
        o.seed = prng_next(&w->prng);
        if (store_new(&w->scratch, &o) != 0)
            return NULL;
    }
    return store_keyspace(w->scratch, 0, db);
}

// A part that is no value says that there was no memory for it; acting on what is missing would be wrong.
static bool steps_copy_values(struct worker *w, const struct gather *g)
{
    for (uint32_t k = 0; k < g->parts; k++) {
        const struct part *p = &g->part[k];
        struct keyspace *ks = scratch_of(w, steps_db(g, k));
        if (ks == NULL || p->len < FETCHED_HEAD || p->bytes[0] > 1)
            return false;
        if (!fetched_put(ks, steps_key(g, k), slice_of(p->bytes, p->len), w->now_ms))
            return false;
    }
    return true;
}

static void steps_clear(struct worker *w, const struct gather *g)
{
    if (w->scratch == NULL)
        return;
    keyspace_clear(scratch_of(w, g->db));
    keyspace_clear(scratch_of(w, g->db_second));
    while (store_maintain(w->scratch, w->now_ms, 1024))
        ;
}

// The values are here: run the command on copies, and find out what it changed.
static void steps_run(struct worker *w, struct gather *g)
{
    struct reply reply = { .out = &g->reply, .protocol = g->protocol };
    if (!steps_copy_values(w, g)) {
        steps_clear(w, g);
        reply_error(&reply, REPLY_OUT_OF_MEMORY);
        finish(w, g, &g->reply);
        return;
    }
    struct keyspace *ks = scratch_of(w, g->db);
    struct route route;
    route_init(&route, 1, ROUTE_FULL_KEY);
    struct slice first = steps_key(g, 0);
    struct call call = {
        .command = g->command,
        .argc = g->argc,
        .argv = g->argv,
        .reply = &reply,
        .store = w->scratch,
        .route = &route,
        .db = g->db,
        .keyspace = ks,
        .hash = keyspace_hash(ks, first),
        .now_ms = w->now_ms,
        .prng = &w->prng,
        .bulk_max = w->options.proto_max_bulk_len,
        .worker = w,
    };
    w->stats.commands++;
    g->command->run(&call);
    w->commands[command_index(g->command)].calls++;
    w->commands[command_index(g->command)].failed += reply.errors;

    // Each part's bytes become what is to be put; a part without bytes needs no put.
    uint32_t changed = 0;
    for (uint32_t k = 0; k < g->parts; k++) {
        struct buf now;
        buf_init(&now, BUF_NO_LIMIT);
        struct slice key = steps_key(g, k);
        struct keyspace *own = scratch_of(w, steps_db(g, k));
        fetched_append(&now, keyspace_peek(own, key, keyspace_hash(own, key), w->now_ms));
        struct part *p = &g->part[k];
        bool same = now.len == p->len && memcmp(now.data, p->bytes, now.len) == 0;
        free(p->bytes);
        *p = (struct part){ .bytes = same ? NULL : now.data, .len = same ? 0 : now.len };
        if (same)
            buf_deinit(&now);
        else
            changed++;
    }
    steps_clear(w, g);
    if (changed == 0) {
        finish(w, g, &g->reply);
        return;
    }
    g->phase = GATHER_PUT;
    g->left = changed;
    uint32_t parts = g->parts;
    for (uint32_t k = 0; k < parts && changed > 0; k++) {
        struct part put = g->part[k];
        if (put.bytes == NULL)
            continue;
        g->part[k] = (struct part){ .bytes = NULL };
        changed--;
        struct slice value = slice_of(put.bytes, put.len);
        steps_send(w, g, k, steps_key(g, k), &value);
        free(put.bytes);
    }
}

static void steps_finish(struct worker *w, struct gather *g)
{
    for (uint32_t k = 0; k < g->parts; k++) {
        struct part *p = &g->part[k];
        if (p->bytes == NULL || p->bytes[0] != '-')
            continue;
        g->reply.len = 0;
        buf_append(&g->reply, p->bytes, p->len);
        break;
    }
    finish(w, g, &g->reply);
}

// ---- both

void fanout_part(struct worker *w, struct gather *g, uint32_t part, uint8_t *heap, const uint8_t *bytes, uint64_t len)
{
    struct part *p = &g->part[part];
    p->bytes = heap;
    if (heap == NULL) {
        p->bytes = malloc(len > 0 ? len : 1);
        if (p->bytes != NULL)
            memcpy(p->bytes, bytes, len);
    }
    p->len = p->bytes != NULL ? len : 0;
    if (--g->left > 0)
        return;
    switch ((enum gather_phase)g->phase) {
    case GATHER_PARTS: {
        struct buf answer;
        buf_init(&answer, BUF_NO_LIMIT);
        struct reply reply = { .out = &answer, .protocol = g->protocol };
        merge(w, g, &reply);
        finish(w, g, &answer);
        break;
    }
    case GATHER_FETCH:
        steps_run(w, g);
        break;
    case GATHER_PUT:
        steps_finish(w, g);
        break;
    }
}

void fanout_start(struct conn *c, struct item *item)
{
    struct command_keys keys;
    c->client.last_command = item->command;
    if (!command_keys(item->command, item->request.argv, item->request.argc, &keys))
        every_worker(c, item);
    else if (item->command->spread == SPREAD_STEPS)
        steps_start(c, item, &keys);
    else
        by_key(c, item, &keys);
}
