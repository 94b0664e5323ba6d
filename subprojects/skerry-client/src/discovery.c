// SPDX-License-Identifier: Apache-2.0
// From HELLO to lanes: when the topology is asked for, and what happens to requests when it is learnt or has changed.
#include "state.h"

#include <stdio.h>
#include <string.h>

bool skc_discovery_needed(const struct skerry_client *c)
{
    return c->discovers && (!c->known || c->stale);
}

static bool shards_wait(const struct skerry_client *c)
{
    for (uint32_t i = 0; i < c->lane_count; i++)
        if (c->shards[i] != NULL && c->shards[i]->state == LANE_IDLE && c->shards[i]->unsent_count > 0)
            return true;
    return false;
}

bool skc_lane_wanted(const struct lane *lane)
{
    const struct skerry_client *c = lane->client;
    switch (lane->role) {
    case LANE_DISCOVERY:
        return skc_discovery_needed(c) && (c->connecting || c->limbo.unsent_count > 0 || shards_wait(c));
    case LANE_FANOUT:
        return lane->unsent_count > 0 || (c->connecting && !c->discovers);
    case LANE_SHARD: // whose port it is may have changed since
        return lane->unsent_count > 0 && !skc_discovery_needed(c);
    case LANE_LIMBO:
        break;
    }
    return false;
}

void skc_refuse(struct lane *lane, int status, struct skerry_client_bytes text, int64_t now)
{
    struct skerry_client *c = lane->client;
    size_t length = text.length < sizeof c->refusal - 1 ? text.length : sizeof c->refusal - 1;
    if (length > 0)
        memcpy(c->refusal, text.data, length);
    c->refusal[length] = 0;
    skc_lane_lost(lane, status, 0, c->refusal, now);
    skc_ring_fail_unsent(lane, status, 0, c->refusal);
    if (lane->role != LANE_DISCOVERY)
        return;
    skc_ring_fail_unsent(&c->limbo, status, 0, c->refusal);
    for (uint32_t i = 0; i < c->lane_count; i++)
        if (c->shards[i] != NULL && c->shards[i]->state == LANE_IDLE)
            skc_ring_fail_unsent(c->shards[i], status, 0, c->refusal);
}

// ---- lanes of shards

static struct lane *new_lane(struct skerry_client *c, uint32_t shard)
{
    struct lane *lane = skc_memory_resize(&c->memory, NULL, 0, sizeof *lane);
    if (lane != NULL)
        skc_lane_init(lane, c, LANE_SHARD, shard);
    return lane;
}

static struct lane *shard_lane(struct skerry_client *c, uint32_t shard)
{
    if (shard >= c->lane_count) {
        size_t old = c->lane_count * sizeof *c->shards, size = c->topology.shards * sizeof *c->shards;
        struct lane **shards = skc_memory_resize(&c->memory, c->shards, old, size);
        if (shards == NULL)
            return NULL;
        c->shards = shards;
        memset(shards + c->lane_count, 0, size - old);
        c->lane_count = c->topology.shards;
    }
    if (c->shards[shard] == NULL)
        c->shards[shard] = new_lane(c, shard);
    return c->shards[shard];
}

struct lane *skc_lane_for(struct skerry_client *c, uint64_t full_hash, uint64_t session_hash)
{
    if (skc_discovery_needed(c))
        return &c->limbo;
    if (!c->discovers || !c->topology.direct)
        return &c->fanout;
    return shard_lane(c, skerry_client_shard(c->topology.session_prefix ? session_hash : full_hash, c->topology.shards));
}

// A request leaves limbo: its frame names the shard, or loses its prefix.
static struct lane *choose(struct skerry_client *c, struct request *r, unsigned char *frame)
{
    struct lane *lane = skc_lane_for(c, skc_wire_hash(frame), r->session_hash);
    if (lane == NULL)
        return NULL;
    r->generation = c->generation;
    if (lane->role == LANE_SHARD) {
        skc_wire_set_shard(frame, lane->shard);
        return lane;
    }
    skc_wire_strip(frame);
    r->frame_length -= WIRE_PREFIX;
    r->routed = false;
    return lane;
}

// Requests that were routed by the old topology and not sent must not go out by it.
static void unroute(struct lane *lane)
{
    static const char why[] = "the server's topology changed";
    if (lane->unsent_count == 0)
        return;
    if (lane->sent_of_front > 0) { // half a frame is out: the connection is of no more use
        skc_lane_close(lane);
        skc_ring_fail_sent(lane, SKERRY_CLIENT_CLOSED, 0, why);
    }
    skc_ring_fail_unsent(lane, SKERRY_CLIENT_MOVED, 0, why);
}

static void retire(struct skerry_client *c, uint32_t shard)
{
    struct lane *lane = c->shards[shard];
    if (lane == NULL)
        return;
    unroute(lane);
    c->shards[shard] = NULL; // the next request makes a new one
    lane->retired = true;
    lane->next_retired = c->retired;
    c->retired = lane;
}

void skc_sweep(struct skerry_client *c)
{
    struct lane **at = &c->retired;
    while (*at != NULL) {
        struct lane *lane = *at;
        if (lane->untaken_count > 0 || lane == c->held) {
            at = &lane->next_retired;
            continue;
        }
        *at = lane->next_retired;
        skc_lane_deinit(lane);
        skc_memory_resize(&c->memory, lane, sizeof *lane, 0);
    }
}

void skc_discovery_done(struct skerry_client *c, const struct topology *topology, int64_t now)
{
    struct lane *discovery = &c->discovery;
    if (!topology->direct && c->options.mode == SKERRY_CLIENT_DIRECT) {
        static const char text[] = "the server has no direct ports, and the mode is direct";
        skc_refuse(discovery, SKERRY_CLIENT_TOPOLOGY, (struct skerry_client_bytes){ text, sizeof text - 1 }, now);
        return;
    }
    if (!c->direct_host) {
        c->direct_address.count = 1;
        c->direct_address.list[0] = discovery->peer;
    }
    skc_lane_close(discovery);
    discovery->failures = 0;
    discovery->try_at = now;
    bool changed = c->known && !skc_topology_same(&c->topology, topology);
    c->topology = *topology;
    c->known = true;
    c->stale = false;
    c->generation++;
    if (changed) {
        for (uint32_t i = 0; i < c->lane_count; i++)
            retire(c, i);
        unroute(&c->fanout);
    }
    skc_ring_move(&c->limbo, choose);
    skc_timer(c, now); // what came out of limbo is to be sent
}
