// SPDX-License-Identifier: Apache-2.0
// Whether the log counts, as the clients know it, and what follows from its being switched on and off.
#include "test/sim/client.h"
#include "test/sim/durable.h"

static void set_counts(struct durable *d, bool counts)
{
    d->log += d->counts != counts;
    d->counts = counts;
}

void durable_log_begin(struct durable *d, bool on)
{
    d->turning = d->unclean = false;
    d->off = !on;
    set_counts(d, on);
}

void durable_log_ask(struct durable *d, bool on)
{
    d->turning = true;
    sim_say(d->sim, "the log is to be switched %s", on ? "on" : "off");
    if (!on)
        set_counts(d, false);
    for (uint32_t i = 0; on && i < d->key_count; i++)
        d->keys[i].before = d->keys[i].replied;
}

static uint32_t later(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

// What was acknowledged or seen up to now is durable, or waited for the log.
static void now_counts(struct durable *d)
{
    for (uint32_t i = 0; i < d->key_count; i++) {
        struct durable_key *k = &d->keys[i];
        if (d->off) // else it may have been there all the time, and nothing became durable because of this
            k->safe = later(k->safe, k->before);
        k->promised = k->replied;
        k->shown = k->seen;
        for (uint32_t s = k->base; s < k->count; s++)
            k->writes[s].promised |= k->writes[s].replied_ns != NEVER;
    }
    set_counts(d, true);
}

// What the log took is durable.
static void has_left(struct durable *d)
{
    if (!sim_log_left_clean(d->sim)) {
        d->unclean = true;
        return;
    }
    for (uint32_t i = 0; i < d->key_count; i++)
        d->keys[i].safe = later(d->keys[i].safe, d->keys[i].promised);
}

void durable_log_reply(struct durable *d, bool on, bool good)
{
    d->turning = false;
    sim_say(d->sim, "the log %s switched %s", good ? "has been" : "could not be", on ? "on" : "off");
    if (!good)
        return;
    d->switched++;
    if (on)
        now_counts(d);
    else
        has_left(d);
    d->off = !on;
}

void durable_log_lose(struct durable *d)
{
    d->turning = d->off = false;
    set_counts(d, false);
    d->switches_cut++;
}
