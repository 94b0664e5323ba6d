// SPDX-License-Identifier: Apache-2.0
// KEYS, a piece at a time: each worker looks at some hundred of its keys and answers with what it found and where to go on, so that
// it serves others in between. No transaction holds the keys meanwhile: as with SCAN, a key that is there from begin to end is
// found, once; of others nothing is said. (Inside EXEC each worker's keys are taken in one pass.)
//
// A piece is KEYS itself with the cursor behind the pattern, which no client can send. Its reply: the next cursor, 0 = all is done,
// as an integer, then the array of keys.
#include <stdlib.h>

#include "engine/command/scan.h"
#include "engine/shard/gather.h"
#include "proto/number.h"

static void ask(struct worker *w, struct gather *g)
{
    char text[NUMBER_TEXT_MAX];
    size_t len = number_format_u64(text, g->cursor);
    struct slice argv[] = { g->args.argv[0], g->args.argv[1], slice_of(text, len) };
    uint32_t shard = (uint32_t)(g->cursor >> SCAN_SHARD_SHIFT);
    struct forward f = gather_forward(g, shard % w->server->worker_count, argv, 3);
    g->left = 1;
    gather_send(w, g, 0, &f);
}

void walk_begin(struct worker *w, struct gather *g)
{
    g->phase = GATHER_WALK;
    // What follows on the connection comes behind all of it.
    g->due->barrier = true;
    if (g->due->conn != NULL)
        g->due->conn->barrier = true;
    ask(w, g);
}

void walk_on(struct worker *w, struct gather *g)
{
    ask(w, g);
}

// The number of a line such as "*12\r\n" and where the next one begins. The piece is ours, so it is well formed.
static uint64_t line(const struct part *p, uint64_t *at)
{
    uint64_t n = 0;
    for (++*at; p->bytes[*at] != '\r'; ++*at)
        n = n * 10 + (uint64_t)(p->bytes[*at] - '0');
    *at += 2;
    return n;
}

static void finish(struct worker *w, struct gather *g)
{
    struct buf answer;
    buf_init(&answer, BUF_NO_LIMIT);
    struct reply reply = { .out = &answer, .protocol = g->protocol };
    reply_array(&reply, g->found);
    reply_raw(&reply, buf_view(&g->reply));
    answer.failed |= g->reply.failed;
    gather_finish(w, g, &answer);
}

void walk_answered(struct worker *w, struct gather *g)
{
    struct part *p = &g->part[0];
    if (p->len == 0 || p->bytes[0] != ':') {
        g->reply.len = 0;
        buf_append(&g->reply, p->bytes, p->len);
        g->reply.failed |= p->len == 0;
        gather_finish(w, g, &g->reply);
        return;
    }
    uint64_t at = 0;
    g->cursor = line(p, &at);
    g->found += line(p, &at);
    buf_append(&g->reply, p->bytes + at, p->len - at);
    free(p->bytes);
    p->bytes = NULL;
    if (g->cursor == 0 || g->due->conn == NULL || g->reply.failed) {
        finish(w, g);
        return;
    }
    if ((g->cursor >> SCAN_SHARD_SHIFT) % w->server->worker_count == w->id)
        list_append(&w->slices, &g->slice);
    else
        ask(w, g);
}
