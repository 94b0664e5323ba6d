// SPDX-License-Identifier: Apache-2.0
// The words of a command, on their way to the server: RESP, a line, or an FCNP frame.
#include <stdio.h>

#include "test/sim/frames.h"
#include "test/sim/generate_inside.h"

static bool is_plain(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] <= ' ' || s.data[i] >= 0x7f || s.data[i] == '"' || s.data[i] == '\'' || s.data[i] == '\\')
            return false;
    return s.len > 0 && s.len < 1000;
}

static bool all_plain(const struct words *w)
{
    for (uint32_t i = 0; i < w->count; i++)
        if (!is_plain(w->word[i]))
            return false;
    return w->word[0].data[0] != '*';
}

static void say_words(struct client_sim *c, const struct words *w)
{
    char line[160];
    size_t len = 0;
    for (uint32_t i = 0; i < w->count && len + 30 < sizeof line; i++) {
        struct slice s = w->word[i];
        line[len++] = ' ';
        for (size_t b = 0; b < s.len && b < 24; b++)
            line[len++] = s.data[b] > ' ' && s.data[b] < 0x7f ? (char)s.data[b] : '.';
    }
    line[len] = '\0';
    sim_say(c->sim, "client %u writes%s", c->id, line);
}

void words_send(struct client_sim *c, const struct words *w)
{
    char head[32];
    say_words(c, w);
    c->form = FRAMES_NOT;
    if (slice_is(w->word[0], "multi")) // whose commands are no frames
        c->queueing = true;
    else if (slice_is(w->word[0], "exec") || slice_is(w->word[0], "discard"))
        c->queueing = false;
    if (!c->queueing && chance(c, sim_workload(c->sim)->frames) && frames_may(w->word, w->count)) {
        uint8_t flags = (const uint8_t[]){ 0, 1, 7, 7, 2, 3, 4, 5, 6 }[draw(c, 9)];
        flags = frames_one_key(w->word, w->count) ? flags : 0;
        c->form = (uint8_t)frames_put(&c->out, w->word, w->count, flags, sim_shards(c->sim));
        return;
    }
    if (chance(c, sim_workload(c->sim)->inline_permille) && all_plain(w)) {
        for (uint32_t i = 0; i < w->count; i++) {
            emit_text(c, i == 0 ? "" : " ");
            buf_append_slice(&c->out, w->word[i]);
        }
        emit_text(c, draw(c, 2) == 0 ? "\n" : "\r\n");
        return;
    }
    snprintf(head, sizeof head, "*%u\r\n", w->count);
    emit_text(c, head);
    for (uint32_t i = 0; i < w->count; i++) {
        snprintf(head, sizeof head, "$%zu\r\n", w->word[i].len);
        emit_text(c, head);
        buf_append_slice(&c->out, w->word[i]);
        emit_text(c, "\r\n");
    }
}

void words_select(struct client_sim *c, uint32_t db)
{
    if (c->db == db)
        return;
    char number[16];
    snprintf(number, sizeof number, "%u", db);
    struct words w = { .count = 0 };
    text(&w, "SELECT");
    text(&w, number);
    words_send(c, &w);
    expect_text(c, &w, "+OK\r\n");
    c->db = db;
}

void words_begin(struct client_sim *c, struct words *w, const char *name, struct key *k)
{
    words_select(c, k->db);
    text(w, name);
    word(w, name_of(k));
}
