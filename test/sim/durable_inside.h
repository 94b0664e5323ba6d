// SPDX-License-Identifier: Apache-2.0
// What the files of durable.h share (durable.c: connections and phases; durable_ask.c: requests; durable_reply.c: replies).
#pragma once

#include "test/sim/client.h"
#include "test/sim/durable.h"

#define DURABLE_ANY(p, ...) ((const uint32_t[]){ __VA_ARGS__ }[prng_below(p, sizeof(const uint32_t[]){ __VA_ARGS__ } / sizeof(uint32_t))])

static inline struct world *durable_world(const struct durable *d)
{
    return sim_world(d->sim);
}

static inline bool durable_chance(struct durable_client *c, uint32_t permille)
{
    return prng_below(&c->prng, 1000) < permille;
}

// ---- durable_ask.c

// What a client says first on a connection.
void durable_greet(struct durable *d, struct durable_client *c);
void durable_ask(struct durable *d, struct durable_client *c);
// The auditor's next reads.
void durable_audit_some(struct durable *d, struct durable_client *c);

// ---- durable_reply.c

// What is due first is answered; false: the auditor has to begin again, since the server has not loaded yet.
bool durable_reply(struct durable *d, struct durable_client *c, struct slice reply);
// This will not be answered. What it was may still be done by a server that lives.
void durable_reply_never(struct durable *d, struct durable_client *c, const struct durable_due *due);
