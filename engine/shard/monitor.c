// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/monitor.h"

#include <inttypes.h>

#include "engine/shard/command_log.h"

void monitor_join(struct conn *c)
{
    struct worker *w = c->worker;
    if (c->client.flags & CLIENT_MONITOR)
        return;
    c->client.flags |= CLIENT_MONITOR;
    list_append(&w->monitors, &c->monitor);
    atomic_fetch_add_explicit(&w->server->monitors_of[w->id], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&w->server->monitors, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&w->server->attention, 1, memory_order_release);
}

void monitor_leave(struct conn *c)
{
    struct worker *w = c->worker;
    if (!(c->client.flags & CLIENT_MONITOR))
        return;
    c->client.flags &= ~(uint32_t)CLIENT_MONITOR;
    list_remove(&c->monitor);
    atomic_fetch_sub_explicit(&w->server->monitors_of[w->id], 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&w->server->monitors, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&w->server->attention, 1, memory_order_release);
}

// In double quotes, as redis-cli reads it back.
static void append_quoted(struct buf *out, struct slice word)
{
    static const char NAMED[256] = { ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't', ['\a'] = 'a', ['\b'] = 'b', ['"'] = '"', ['\\'] = '\\' };
    size_t shown = word.len < MONITOR_WORD_MAX ? word.len : MONITOR_WORD_MAX;
    buf_append(out, " \"", 2);
    for (size_t i = 0; i < shown; i++) {
        uint8_t byte = word.data[i];
        if (NAMED[byte] != '\0') {
            char pair[2] = { '\\', NAMED[byte] };
            buf_append(out, pair, 2);
        } else if (byte < ' ' || byte > '~') {
            buf_format(out, "\\x%02x", byte);
        } else {
            buf_append(out, &byte, 1);
        }
    }
    if (shown < word.len)
        buf_format(out, "... (%zu more bytes)", word.len - shown);
    buf_append(out, "\"", 1);
}

static void append_line(struct buf *out, const struct conn *c, const struct item *item)
{
    const struct client *client = &c->client;
    const struct request *rq = &item->request;
    int64_t now_ms = c->worker->now_ms;
    buf_format(out, "+%" PRId64 ".%06d [%" PRIu32 " ", now_ms / 1000, (int)(now_ms % 1000) * 1000, client->db);
    if (client->flags & CLIENT_UNIX)
        buf_append(out, "unix:", 5);
    buf_append_slice(out, slice_cstr(client->address));
    buf_append(out, "]", 1);
    if (rq->argc == 0) // a bare GET of FCNP: a hash instead of a key
        append_quoted(out, slice_cstr(item->command->name));
    for (uint32_t i = 0; i < rq->argc; i++)
        append_quoted(out, command_hides(item->command, rq->argv, rq->argc, i) ? slice_cstr("(redacted)") : rq->argv[i]);
    buf_append(out, "\r\n", 2);
}

// Not shown at once: the connection that runs has the turn's arena.
void monitor_feed(struct conn *c, const struct item *item)
{
    struct buf *lines = &c->worker->lines;
    if ((item->command->flags & (CMD_SKIP_MONITOR | CMD_ADMIN)) == 0)
        append_line(lines, c, item);
}

static void show(struct conn *c, struct slice lines)
{
    if (c->state != CONN_OPEN)
        return;
    if (c->pending != NULL) { // its own replies first
        buf_append_slice(&c->stash, lines);
        container_of(c->pending_tail, struct pending, next)->after += lines.len;
        return;
    }
    buf_append_slice(conn_out_begin(c), lines);
    conn_out_end(c);
}

void monitor_show(struct worker *w, struct slice lines)
{
    list_for_each_safe (node, &w->monitors)
        show(container_of(node, struct conn, monitor), lines);
}

static void send_lines(struct worker *w, uint32_t to, struct slice lines)
{
    struct mesh_reply *head = mesh_append(&w->mesh, to, MESH_REPLIES, sizeof *head + lines.len);
    if (head == NULL)
        return; // no memory: the monitors miss them
    *head = (struct mesh_reply){ .len = (uint32_t)lines.len, .heap = MESH_LINES };
    memcpy(head + 1, lines.data, lines.len);
}

void monitor_flush(struct worker *w)
{
    struct slice lines = buf_view(&w->lines);
    for (uint32_t t = 0; t < w->server->worker_count && !w->lines.failed && lines.len < UINT32_MAX / 2; t++) {
        if (atomic_load_explicit(&w->server->monitors_of[t], memory_order_relaxed) == 0)
            continue;
        if (t == w->id)
            monitor_show(w, lines);
        else
            send_lines(w, t, lines);
    }
    buf_deinit(&w->lines);
}
