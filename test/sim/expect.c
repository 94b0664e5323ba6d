// SPDX-License-Identifier: Apache-2.0
// The reply that is due for a command, and what becomes of the keys if it ran.
#include <stdio.h>
#include <stdlib.h>

#include "test/sim/generate_inside.h"

struct expect *expect_new(struct client_sim *c, enum expect_kind kind, const struct words *w)
{
    struct expect *e = calloc(1, sizeof *e);
    assert(e != NULL);
    e->kind = (uint8_t)kind;
    e->form = c->form;
    e->bytes = 64;
    e->queued_ms = world_wall_ms(sim_world(c->sim));
    int n = w->word[0].len < sizeof e->command - 1 ? (int)w->word[0].len : (int)sizeof e->command - 1;
    snprintf(e->command, sizeof e->command, "%.*s", n, (const char *)w->word[0].data);
    *c->due_tail = e;
    c->due_tail = &e->next;
    c->due_count++;
    c->queued++;
    return e;
}

struct expect *expect_free(struct expect *e)
{
    for (uint32_t i = 0; i < e->value_count; i++)
        value_drop(e->values[i]);
    for (uint32_t i = 0; i < e->touch_count; i++) {
        value_drop(e->touches[i].before);
        value_drop(e->touches[i].after);
    }
    free(e->values);
    free(e->touches);
    free(e);
    return NULL;
}

struct expect *expect_text(struct client_sim *c, const struct words *w, const char *reply)
{
    struct expect *e = expect_new(c, EXPECT_TEXT, w);
    snprintf(e->text, sizeof e->text, "%s", reply);
    return e;
}

struct expect *expect_prefix(struct client_sim *c, const struct words *w, const char *reply)
{
    struct expect *e = expect_text(c, w, reply);
    e->kind = EXPECT_PREFIX;
    return e;
}

struct expect *expect_integer(struct client_sim *c, const struct words *w, int64_t low, int64_t high)
{
    struct expect *e = expect_new(c, EXPECT_INTEGER, w);
    e->low = low;
    e->high = high;
    return e;
}

void expect_value(struct client_sim *c, struct expect *e, struct value *v)
{
    e->values = realloc(e->values, (e->value_count + 1) * sizeof(struct value *));
    assert(e->values != NULL);
    e->values[e->value_count++] = value_hold(v);
    e->bytes += 32 + (v != NULL ? v->len : 0);
}

// Takes `after`.
void expect_write(struct expect *e, struct key *k, struct value *after)
{
    e->touches = realloc(e->touches, (e->touch_count + 1) * sizeof *e->touches);
    assert(e->touches != NULL);
    e->touches[e->touch_count++] = (struct touch){ .key = k, .before = value_hold(k->value), .after = value_hold(after) };
    value_drop(k->value);
    k->value = after;
    if (after == NULL)
        k->scan_due = false;
}

// Its state decides what the command does, should that run late, after the connection is long gone.
void expect_read(struct expect *e, struct key *k)
{
    expect_write(e, k, value_hold(k->value));
}
