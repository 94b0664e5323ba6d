// SPDX-License-Identifier: Apache-2.0
// One reply of the parts' replies. They are ours, so they are well formed.
#include "base/bytes.h"
#include "engine/shard/gather.h"
#include "engine/shard/statistics.h"
#include "proto/number.h"

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
    uint32_t keys = keys_count(&g->keys);
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
    struct call call = { .command = g->command, .argc = g->args.argc, .argv = g->args.argv, .reply = out, .worker = w };
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
        uint64_t weight = statistics_load(&w->server->workers[i]->stats.keys) + 1;
        total += weight;
        if (prng_below(&w->prng, total) < weight)
            chosen = p;
    }
    if (chosen != NULL)
        reply_raw(out, slice_of(chosen->bytes, chosen->len));
    else
        reply_null(out);
}

void merge_parts(struct worker *w, struct gather *g, struct reply *out)
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
