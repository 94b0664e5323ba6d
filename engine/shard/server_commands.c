// SPDX-License-Identifier: Apache-2.0
// TIME SHUTDOWN LOLWUT, and what containers of subcommands share.
#include "engine/shard/server_commands.h"

#include <stdio.h>

#include "engine/shard/client.h"
#include "engine/shard/worker.h"
#include "proto/number.h"

void reply_unknown_subcommand(struct call *c, const char *container)
{
    struct slice name = c->argc > 1 ? c->argv[1] : slice_of("", 0);
    int shown = name.len < 128 ? (int)name.len : 128;
    reply_error_format(c->reply, "ERR unknown subcommand '%.*s'. Try %s HELP.", shown, (const char *)name.data, container);
}

void reply_help(struct call *c, const char *container, const char *const *lines)
{
    uint32_t count = 0;
    while (lines[count] != NULL)
        count++;
    reply_array(c->reply, count + 3);
    char title[128];
    snprintf(title, sizeof title, "%s <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", container);
    reply_simple(c->reply, title);
    for (uint32_t i = 0; i < count; i++)
        reply_simple(c->reply, lines[i]);
    reply_simple(c->reply, "HELP");
    reply_simple(c->reply, "    Print this help.");
}

void reply_text(struct call *c, struct buf *text)
{
    if (text->failed)
        reply_error(c->reply, REPLY_OUT_OF_MEMORY);
    else
        reply_verbatim(c->reply, "txt", buf_view(text));
    buf_deinit(text);
}

// The turn's clock: whole milliseconds.
void cmd_time(struct call *c)
{
    reply_array(c->reply, 2);
    reply_bulk_integer(c->reply, c->now_ms / 1000);
    reply_bulk_integer(c->reply, c->now_ms % 1000 * 1000);
}

struct shutdown {
    bool save, no_save, now, force, abort;
};

static bool shutdown_parse(const struct call *c, struct shutdown *s)
{
    for (uint32_t i = 1; i < c->argc; i++) {
        struct slice word = c->argv[i];
        if (slice_is(word, "save"))
            s->save = true;
        else if (slice_is(word, "nosave"))
            s->no_save = true;
        else if (slice_is(word, "now"))
            s->now = true;
        else if (slice_is(word, "force"))
            s->force = true;
        else if (slice_is(word, "abort"))
            s->abort = true;
        else
            return false;
    }
    if (s->abort && (s->save || s->no_save || s->now || s->force))
        return false;
    return !(s->save && s->no_save);
}

void cmd_shutdown(struct call *c)
{
    struct shutdown s = { 0 };
    struct server *server = c->worker->server;
    if (!shutdown_parse(c, &s)) {
        reply_error(c->reply, REPLY_SYNTAX);
    } else if (s.abort) { // a shutdown that began is over within a turn: there is never one to abort
        reply_error(c->reply, "ERR No shutdown in progress.");
    } else if (s.save && !s.force && server->logging.keeper == NULL) { // there is nowhere to save to
        reply_error(c->reply, "ERR Errors trying to SHUTDOWN. Check logs.");
    } else if (s.no_save || !save_shutdown(c, s.save, s.force)) {
        atomic_store(&server->stop, s.now ? SERVER_STOPS_NOW : SERVER_STOPS);
        c->client->flags |= CLIENT_CLOSE_AFTER_REPLY;
        if (server->host->stop_requested != NULL)
            server->host->stop_requested(server);
    }
}

#define ART_COLUMNS_MAX 160
#define ART_ROWS_MAX    40

struct art {
    char cells[ART_ROWS_MAX][ART_COLUMNS_MAX];
    uint32_t columns, rows, sea; // `sea`: the row of the surface
};

static void draw_sea(struct art *a, struct prng *prng)
{
    static const char WAVES[] = "~~~-~~ ~-~~";
    for (uint32_t y = 0; y < a->rows; y++) {
        uint64_t shift = prng_next(prng) % (sizeof WAVES - 1);
        for (uint32_t x = 0; x < a->columns; x++)
            a->cells[y][x] = y < a->sea ? ' ' : WAVES[(x + shift) % (sizeof WAVES - 1)];
    }
}

// A rock of random height; its feet stand in the water.
static void draw_skerry(struct art *a, struct prng *prng, uint32_t middle)
{
    uint32_t height = 1 + (uint32_t)prng_below(prng, a->sea);
    uint32_t left = middle, right = middle;
    for (uint32_t y = a->sea - height; y <= a->sea; y++) {
        for (uint32_t x = left; x <= right && x < a->columns; x++)
            a->cells[y][x] = prng_below(prng, 4) == 0 ? '.' : '#';
        if (left < a->columns)
            a->cells[y][left] = left == right ? '^' : '/';
        if (right < a->columns && left != right)
            a->cells[y][right] = '\\';
        uint32_t grows = 1 + (uint32_t)prng_below(prng, 2);
        left = left < grows ? 0 : left - grows;
        right += grows;
    }
}

// False: not a number, and the error is written.
static bool art_size(struct call *c, uint32_t arg, uint32_t least, uint32_t most, uint32_t *size)
{
    int64_t value;
    if (arg >= c->argc)
        return true;
    if (!number_parse_i64(c->argv[arg], &value)) {
        reply_error(c->reply, REPLY_NOT_INTEGER);
        return false;
    }
    *size = value < least ? least : value > most ? most : (uint32_t)value;
    return true;
}

// LOLWUT [VERSION n] [columns] [rows] [skerries]: some rocks in the sea, another picture each time.
void cmd_lolwut(struct call *c)
{
    struct art a = { .columns = 66, .rows = 9 };
    uint32_t first = c->argc > 2 && slice_is(c->argv[1], "version") ? 3 : 1;
    uint32_t version = 0, rocks = c->route->shards < 8 ? c->route->shards : 8;
    if ((first == 3 && !art_size(c, 2, 0, 100, &version)) || !art_size(c, first, 16, ART_COLUMNS_MAX, &a.columns) ||
        !art_size(c, first + 1, 4, ART_ROWS_MAX, &a.rows) || !art_size(c, first + 2, 1, 64, &rocks))
        return;
    a.sea = a.rows - 3;
    draw_sea(&a, c->prng);
    for (uint32_t i = 0; i < rocks; i++)
        draw_skerry(&a, c->prng, (uint32_t)prng_below(c->prng, a.columns));
    struct buf text;
    buf_init(&text, BUF_NO_LIMIT);
    for (uint32_t y = 0; y < a.rows; y++) {
        buf_append(&text, a.cells[y], a.columns);
        buf_append(&text, "\n", 1);
    }
    static const char SIGNED[] = "\nEvery core is an island. skerry ver. " SKERRY_VERSION "\n";
    buf_append(&text, SIGNED, sizeof SIGNED - 1);
    reply_verbatim(c->reply, "txt", buf_view(&text));
    buf_deinit(&text);
}
