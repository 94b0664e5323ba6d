// SPDX-License-Identifier: Apache-2.0
#include "base/hash.h"
#include "reactor/clock.h"
#include "test/sim/client.h"
#include "test/sim/durable.h"

#define EVERYSEC_NS NS_PER_SEC

static struct world *world_of(const struct durable *d)
{
    return sim_world(d->sim);
}

uint32_t durable_low(const struct durable_key *k)
{
    uint32_t low = k->base;
    low = k->replied > low ? k->replied : low;
    return k->seen > low ? k->seen : low;
}

static bool shows(const struct durable *d, const struct durable_key *k, uint32_t state, const struct slice *bytes, uint64_t hash)
{
    if (state == 0)
        return bytes == NULL;
    const struct durable_write *w = &k->writes[state - 1];
    bool gone = w->hash == 0 || (w->deadline_ms != 0 && w->deadline_ms <= world_wall_ms(world_of(d)));
    return bytes == NULL ? gone : w->hash == hash;
}

// What the auditor has found may be this state.
static bool is_found(const struct durable *d, const struct durable_key *k, uint32_t state)
{
    struct slice bytes = buf_view(&k->value);
    return shows(d, k, state, k->found != 0 ? &bytes : NULL, k->found);
}

// The states from `low` on that look so: false: none.
static bool match(const struct durable *d, const struct durable_key *k, const struct slice *bytes, uint32_t low, uint32_t *first,
                  uint32_t *last)
{
    uint64_t hash = bytes != NULL ? XXH3_64bits(bytes->data, bytes->len) | 1 : 0;
    bool any = false;
    for (uint32_t i = low; i <= k->count; i++) {
        if (!shows(d, k, i, bytes, hash))
            continue;
        *first = any ? *first : i;
        *last = i;
        any = true;
    }
    return any;
}

static void complain(struct durable *d, const struct durable_key *k, const char *what, const struct slice *bytes, uint32_t low)
{
    world_fail(world_of(d), "%s: key %s (shard %u) holds %.*s%s; states %u to %u are possible, %u was acknowledged, %u read", what, k->name,
               k->shard,
               bytes != NULL && bytes->len < 60 ? (int)bytes->len
               : bytes != NULL                  ? 60
                                                : 0,
               bytes != NULL ? (const char *)bytes->data : "", bytes != NULL ? "" : "nothing", low, k->count, k->replied, k->seen);
}

void durable_check_read(struct durable *d, struct durable_key *k, struct slice *bytes, uint32_t low, bool counts, uint8_t level)
{
    uint32_t first, last;
    if (k->refused)
        return;
    if (!match(d, k, bytes, low, &first, &last)) {
        // A write may have been refused (no space) while those behind it were done; its owner will hear so.
        k->doubt = k->count;
        if (durable_low(k) == k->count)
            complain(d, k, "a read shows what no write left there", bytes, low);
        return;
    }
    if (first > k->seen)
        k->seen = first;
    if (counts && first > k->shown)
        k->shown = first;
    if (counts && level == LEVEL_ALWAYS && first > k->held)
        k->held = first;
}

// The first state that this crash had to leave because of what was acknowledged.
static uint32_t acknowledged(const struct durable *d, const struct durable_key *k)
{
    uint32_t low = k->base > k->safe ? k->base : k->safe;
    bool kept = d->clean || (d->policy == LEVEL_NO && d->crash == CRASH_KILLED);
    bool all = d->policy == LEVEL_ALWAYS || (kept && !d->unclean);
    return all && k->promised > low ? k->promised : low;
}

// And because of what was read.
static uint32_t required(const struct durable *d, const struct durable_key *k)
{
    uint32_t low = acknowledged(d, k);
    low = k->held > low ? k->held : low;
    if (((d->clean && !d->unclean) || d->policy == LEVEL_ALWAYS) && k->shown > low)
        low = k->shown;
    return low;
}

void durable_check_found(struct durable *d, struct durable_key *k, struct slice *bytes)
{
    uint64_t hash = bytes != NULL ? XXH3_64bits(bytes->data, bytes->len) | 1 : 0;
    uint32_t low = required(d, k);
    k->low = k->high = k->count;
    if (k->refused)
        return;
    bool expired = k->deadline_ms != 0;
    for (uint32_t i = k->base; i < k->count; i++)
        expired |= k->writes[i].deadline_ms != 0;
    if (!d->written && d->audits > 0 && hash != k->found && !(bytes == NULL && expired))
        complain(d, k, "the same disk was found to hold something else before", bytes, k->base);
    k->found = hash;
    if (match(d, k, bytes, low, &k->low, &k->high)) {
        k->value.len = 0;
        if (bytes != NULL)
            buf_append(&k->value, bytes->data, bytes->len);
        k->deadline_ms = k->high > 0 ? k->writes[k->high - 1].deadline_ms : 0;
        return;
    }
    if (!match(d, k, bytes, k->base, &k->low, &k->high))
        complain(d, k, "O5: after a crash a key holds what was never written there, or was lost before", bytes, k->base);
    else if (k->high < acknowledged(d, k))
        complain(d, k, d->clean ? "after a clean stop something is missing" : "O1: an acknowledged write is lost", bytes, low);
    else
        complain(d, k, "O4: what was read is lost", bytes, low);
}

// ---- what was lost, and what was not

static bool survived(const struct durable_key *k, uint32_t state)
{
    return state <= k->low;
}

// It was done for certain: not if nobody was told so, on a connection that had ended when what may be there was asked for on another one.
// (Many states can look alike, as that nothing is there: all that what was found may be have to be of its connection.)
static bool was_done(const struct durable *d, const struct durable_key *k, uint32_t state)
{
    const struct durable_write *w = &k->writes[state - 1];
    if (!survived(k, state) || w->replied_ns != NEVER)
        return survived(k, state);
    if (d->refuses)
        return false; // one worker may have refused it, and another one done what was asked for behind it
    for (uint32_t s = k->low; s <= k->high; s++)
        if (k->writes[s - 1].connection != w->connection && is_found(d, k, s))
            return false;
    return true;
}

static bool lost(const struct durable_key *k, uint32_t state)
{
    return state > k->high;
}

// Of one transaction, something of `k` is there and something of another key is not.
static void check_group(struct durable *d, const struct durable_key *k, uint32_t state)
{
    uint64_t group = k->writes[state - 1].group;
    for (uint32_t i = 0; i < d->key_count; i++) {
        const struct durable_key *other = &d->keys[i];
        for (uint32_t s = other->count; other->owner == k->owner && !other->refused && s > other->base; s--) {
            if (other->writes[s - 1].group == group && lost(other, s))
                world_fail(world_of(d), "half a transaction survived: state %u of %s (database %u), and not state %u of %s (%u)", state,
                           k->name, k->db, s, other->name, other->db);
        }
    }
}

// A write that was lost, and one of its shard that began after it was over, and was not.
static void check_hole(struct durable *d, const struct durable_key *k, uint32_t state)
{
    const struct durable_write *gone = &k->writes[state - 1];
    for (uint32_t i = 0; i < d->key_count; i++) {
        const struct durable_key *other = &d->keys[i];
        if (other->refused || other->shard != k->shard || other->low <= other->base)
            continue;
        const struct durable_write *there = &other->writes[other->low - 1];
        if (gone->replied_ns < there->sent_ns)
            world_fail(world_of(d), "O2: shard %u has a hole: state %u of %s is lost, the later state %u of %s is there", k->shard, state,
                       k->name, other->low, other->name);
    }
}

// When the shard's last acknowledgement at level everysec came; the way to the client may have taken long. One that has waited for the
// device itself may come long after others', and keeps those beside it: they say nothing of what was acknowledged meanwhile.
static uint64_t last_acknowledged_ns(const struct durable *d, uint32_t shard)
{
    uint64_t last = 0;
    for (uint32_t i = 0; i < d->key_count; i++) {
        const struct durable_key *k = &d->keys[i];
        for (uint32_t s = k->base + 1; k->shard == shard && s <= k->count; s++) {
            const struct durable_write *w = &k->writes[s - 1];
            if (w->promised && w->level == LEVEL_EVERYSEC && !w->mixed && w->replied_ns > last)
                last = w->replied_ns;
        }
    }
    return last;
}

static void check_window(struct durable *d, const struct durable_key *k, uint32_t state)
{
    const struct net_knobs *net = &world_of(d)->net.knobs;
    const struct durable_write *w = &k->writes[state - 1];
    uint64_t acknowledged = w->replied_ns, last = last_acknowledged_ns(d, k->shard);
    uint64_t most = EVERYSEC_NS + net->delay_ns + (net->spike_permille > 0 ? net->spike_ns : 0);
    if (!w->promised || w->level == LEVEL_NO)
        return;
    if (sim_disk_is_quick(d->sim) && acknowledged + EVERYSEC_NS < d->crash_ns)
        world_fail(world_of(d), "O3: state %u of %s was acknowledged %llu ms before the crash, and is lost", state, k->name,
                   (unsigned long long)((d->crash_ns - acknowledged) / NS_PER_MS));
    if (acknowledged + most < last)
        world_fail(world_of(d), "O3: state %u of %s was acknowledged %llu ms before the last one of its shard, and is lost", state, k->name,
                   (unsigned long long)((last - acknowledged) / NS_PER_MS));
}

static void check_lost(struct durable *d, const struct durable_key *k, uint32_t state)
{
    d->lost++;
    check_window(d, k, state);
    check_hole(d, k, state);
}

void durable_check_audit(struct durable *d)
{
    for (uint32_t i = 0; i < d->key_count; i++) {
        const struct durable_key *k = &d->keys[i];
        for (uint32_t s = k->base + 1; !k->refused && s <= k->count; s++) {
            if (lost(k, s))
                check_lost(d, k, s);
            else if (k->writes[s - 1].group != 0 && was_done(d, k, s))
                check_group(d, k, s);
        }
    }
    // What is lost may never come back; what is there stays.
    for (uint32_t i = 0; i < d->key_count; i++) {
        struct durable_key *k = &d->keys[i];
        k->base = k->safe = k->replied = k->seen = k->promised = k->shown = k->held = k->low;
        k->count = k->high;
        for (uint32_t s = k->base; s < k->count; s++)
            k->writes[s].group = 0; // that all of it is there has just been looked at; which of these states it is in is not known
        k->given_up = false;
        k->doubt = 0;
    }
    d->written = d->refuses = false;
    d->audits++;
}
