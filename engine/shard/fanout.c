// SPDX-License-Identifier: Apache-2.0
// One command, several workers.
//
//   SPREAD_EACH, SUM, ALL_OK   the keys are dealt to their workers, each runs the command on its share; the answers are merged
//   SPREAD_JOIN, keyless       every worker runs the command; the answers are merged
//   SPREAD_STEPS               steps.c
//
// A share of more than SLICE_KEYS keys goes in slices, each when the one before has been answered, so that a worker serves others
// between them; the transaction holds the keys meanwhile. Otherwise RELEASE follows the shares at once, in the same block.
#include "engine/shard/fanout.h"

#include <stdlib.h>

#include "engine/shard/gather.h"
#include "engine/shard/multi.h"
#include "engine/shard/server_commands.h"

#define SLICE_KEYS 128

// ---- keyless

static void every_worker(struct worker *w, struct gather *g)
{
    uint32_t count = w->server->worker_count;
    g->phase = GATHER_PARTS;
    g->left = count + 1;
    for (uint32_t t = 0; t < count; t++) {
        struct forward f = gather_forward(g, t, g->args.argv, g->args.argc);
        gather_send(w, g, t, &f);
    }
    gather_release(w, g);
    gather_landed(w, g);
}

// ---- shares

// Deals the keys: `order` has them by worker, `part` the slices of each worker's. False: out of memory.
static bool deal(struct worker *w, struct gather *g)
{
    uint32_t n = keys_count(&g->keys), workers = w->server->worker_count;
    uint32_t *worker_of = malloc(n * sizeof *worker_of), *begin = calloc(workers + 1, sizeof *begin);
    g->order = malloc(n * sizeof *g->order);
    g->part_of_key = malloc(n * sizeof *g->part_of_key);
    if (worker_of == NULL || begin == NULL || g->order == NULL || g->part_of_key == NULL ||
        !gather_parts(g, workers + n / SLICE_KEYS + 1)) {
        free(worker_of);
        free(begin);
        return false;
    }
    for (uint32_t k = 0; k < n; k++) {
        worker_of[k] = route_shard(&w->route, gather_key(g, k)) % workers;
        begin[worker_of[k] + 1]++;
    }
    for (uint32_t t = 0; t < workers; t++)
        begin[t + 1] += begin[t];
    uint32_t parts = 0;
    for (uint32_t t = 0; t < workers; t++)
        for (uint32_t from = begin[t]; from < begin[t + 1]; from += SLICE_KEYS) {
            uint32_t to = begin[t + 1] - from > SLICE_KEYS ? from + SLICE_KEYS : begin[t + 1];
            g->part[parts++] = (struct part){ .worker = t, .from = from, .to = to, .more = to < begin[t + 1] };
        }
    g->parts = parts;
    for (uint32_t k = 0; k < n; k++)
        g->order[begin[worker_of[k]]++] = k;
    for (uint32_t p = 0; p < parts; p++)
        for (uint32_t i = g->part[p].from; i < g->part[p].to; i++)
            g->part_of_key[g->order[i]] = p;
    free(worker_of);
    free(begin);
    return true;
}

// MSET k v on another worker is the same command with fewer arguments.
static void send_share(struct worker *w, struct gather *g, uint32_t part)
{
    struct slice argv[1 + SLICE_KEYS * 2];
    const struct part *p = &g->part[part];
    uint32_t argc = 0, step = g->keys.step;
    assert(step <= 2);
    argv[argc++] = g->args.argv[0];
    for (uint32_t i = p->from; i < p->to; i++)
        for (uint32_t j = 0; j < step; j++)
            argv[argc++] = g->args.argv[g->keys.first + g->order[i] * step + j];
    struct forward f = gather_forward(g, p->worker, argv, argc);
    gather_send(w, g, part, &f);
}

static void by_key(struct worker *w, struct gather *g)
{
    if (!deal(w, g)) {
        g->reply.failed = true;
        gather_finish(w, g, &g->reply);
        return;
    }
    g->phase = GATHER_PARTS;
    g->left = g->parts + 1;
    bool sliced = false;
    for (uint32_t p = 0; p < g->parts; p++) {
        sliced |= g->part[p].more;
        if (p == 0 || !g->part[p - 1].more)
            send_share(w, g, p);
    }
    if (!sliced)
        gather_release(w, g);
    gather_landed(w, g);
}

void fanout_answered(struct worker *w, struct gather *g, uint32_t part)
{
    if (g->part[part].worker != w->id) {
        send_share(w, g, part + 1);
        return;
    }
    g->next = part + 1;
    list_append(&w->slices, &g->slice);
}

void fanout_run_slices(struct worker *w)
{
    struct list now;
    list_init(&now);
    struct list *node;
    while ((node = list_take_first(&w->slices)) != NULL)
        list_append(&now, node);
    while ((node = list_take_first(&now)) != NULL) {
        struct gather *g = container_of(node, struct gather, slice);
        if (g->phase == GATHER_WALK)
            walk_on(w, g);
        else
            send_share(w, g, g->next);
    }
}

// ---- beginning

static void run(struct worker *w, struct gather *g)
{
    if (g->command->run == cmd_keys && g->owns_txn) {
        gather_release(w, g); // it was a fence: what the connection asked for before has been done everywhere
        walk_begin(w, g);
    } else if (g->keys.step == 0) {
        every_worker(w, g);
    } else if (g->command->spread == SPREAD_STEPS) {
        steps_begin(w, g);
    } else {
        by_key(w, g);
    }
}

static void granted(struct worker *w, struct txn *t)
{
    struct gather *g = container_of(t, struct gather, txn);
    bool walks = g->command->run == cmd_keys && t->outcome == TXN_GOOD; // then the connection waits until the end
    // Behind WATCH nothing runs before it has been answered (multi_watching).
    if (g->due->conn != NULL && !walks && !g->due->barrier)
        conn_pass(g->due->conn);
    if (t->outcome == TXN_GOOD) {
        run(w, g);
        return;
    }
    struct reply reply = { .out = &g->reply, .protocol = g->protocol };
    reply_error(&reply, t->outcome == TXN_NO_ROOM ? REPLY_OUT_OF_MEMORY : "ERR out of memory");
    run_count_error(w, &reply);
    gather_finish(w, g, &g->reply);
}

static struct gather *gather_new(struct conn *c, const struct item *item)
{
    struct gather *g = calloc(1, sizeof *g);
    if (g == NULL)
        return NULL;
    const struct request *rq = &item->request;
    if (!args_copy(&g->args, rq->argv, rq->argc, c->blobs, c->blobs_cap) || (g->due = conn_expect(c)) == NULL) {
        args_deinit(&g->args);
        free(g);
        return NULL;
    }
    g->due->silent = conn_silent(c);
    g->command = item->command;
    g->db = g->db_second = c->client.db;
    g->protocol = c->client.protocol;
    g->watcher = g->command->run == cmd_watch ? c->client.id : 0;
    txn_init(&g->txn, granted);
    g->txn.level = gate_asked(c);
    list_init(&g->slice);
    buf_init(&g->reply, BUF_NO_LIMIT);
    if (!command_keys(g->command, g->args.argv, g->args.argc, &g->keys))
        g->keys = (struct command_keys){ .step = 0 };
    return g;
}

// Who takes part, and with what.
static bool announce(struct worker *w, struct gather *g)
{
    bool exclusive = (g->command->flags & CMD_WRITE) != 0;
    g->txn.needs_room = (g->command->flags & CMD_DENYOOM) != 0;
    bool good = true;
    if (g->keys.step == 0) {
        g->txn.whole = true;
        for (uint32_t t = 0; good && t < w->server->worker_count; t++)
            good = txn_add_worker(&g->txn, t, exclusive);
        return good;
    }
    for (uint32_t k = 0; good && k < keys_count(&g->keys); k++)
        good = txn_add_key(w, &g->txn, gather_key(g, k), exclusive);
    return good;
}

void fanout_start(struct conn *c, struct item *item)
{
    struct worker *w = c->worker;
    c->client.last_command = item->command;
    struct gather *g = gather_new(c, item);
    if (g == NULL) {
        conn_close(c);
        return;
    }
    bool steps = g->keys.step > 0 && g->command->spread == SPREAD_STEPS;
    uint32_t parts = g->keys.step == 0 ? w->server->worker_count : steps ? keys_count(&g->keys) : 0;
    bool good = parts == 0 || gather_parts(g, parts);
    if (steps)
        g->db_second = steps_second_db(w, g);
    if (good && !multi_running(c) && g->command->run == cmd_keys && w->server->worker_count == 1) {
        walk_begin(w, g);
        return;
    }
    if (good && multi_running(c)) {
        g->due->barrier = c->barrier = true; // what EXEC runs behind it must see all of it
        run(w, g);
        return;
    }
    if (good && g->keys.step == 0 && (g->command->flags & (CMD_READONLY | CMD_WRITE)) == 0) {
        bool on;
        // It is answered when the log has been switched, and what is behind it comes behind that.
        if (g->command->run == cmd_config_set && logging_switch_wanted(w, g->args.argv, g->args.argc, &on))
            g->due->barrier = c->barrier = g->due->slow = true;
        run(w, g);
        return;
    }
    g->owns_txn = true;
    c->barrier = true;
    if (good && announce(w, g) && txn_start(w, &g->txn))
        return;
    conn_close(c);
    gather_finish(w, g, &g->reply);
}
