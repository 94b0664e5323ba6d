// SPDX-License-Identifier: Apache-2.0
// A worker that spins, or is pinned, where others want the core too only takes time from them, and from the kernel's own
// threads: so both are the rule only where the workers have the cores for it.
#include "tools/cores.h"

#include "reactor/thread.h"

#define SPIN_DEFAULT_US 20

static uint32_t power_of_two_from(uint32_t least)
{
    uint32_t n = 1;
    while (n < least)
        n *= 2;
    return n;
}

void cores_plan(struct cores *c, const struct options *o, uint32_t shards)
{
    int cpus[THREAD_CPUS_MAX];
    int found = thread_allowed_cpus(cpus, THREAD_CPUS_MAX);
    *c = (struct cores){ .allowed = found < 1 ? 1 : (uint32_t)found };
    c->workers = o->workers != 0 ? (uint32_t)o->workers : c->allowed;
    if (c->workers > CORES_MAX)
        c->workers = CORES_MAX;
    // Fewer shards than cores were asked for: then no more workers than shards.
    if (shards == 0)
        shards = (uint32_t)o->shards;
    if (o->workers == 0 && shards != 0 && shards < c->workers)
        c->workers = shards;
    c->shards = shards != 0 ? shards : power_of_two_from(c->workers);
    c->pinned = o->pin == OPTION_YES || (o->pin == OPTION_AUTO && c->workers > 1 && c->workers <= c->allowed);
    c->spin_us = o->spin_us >= 0 ? (uint32_t)o->spin_us : c->workers > 1 && c->workers < c->allowed ? SPIN_DEFAULT_US : 0;
    uint32_t known = c->allowed < THREAD_CPUS_MAX ? c->allowed : THREAD_CPUS_MAX;
    for (uint32_t w = 0; w < c->workers; w++)
        c->cpu[w] = c->pinned && found > 0 ? cpus[w % known] : -1;
}
