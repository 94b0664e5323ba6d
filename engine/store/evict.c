// SPDX-License-Identifier: Apache-2.0
#include "engine/store/evict.h"

#include <string.h>

#include "engine/store/inside.h"

#define SAMPLES        5u  // Redis' maxmemory-samples
#define PLACE_TRIES    24u // places looked at for one sample
#define KEYSPACE_TRIES 8u
#define LFU_START      5u
#define LFU_LOG_FACTOR 10u
#define WHEEL_SAMPLES  8u
#define AGE_MASK       ((1u << ENTRY_RECENCY_BITS) - 1)
#define MINUTE_MASK    (AGE_MASK >> 8)

enum evict_by { BY_NOTHING, BY_AGE, BY_COUNT, BY_CHANCE, BY_DEADLINE, BY_ORDER };

struct policy {
    uint8_t by;
    bool only_volatile;
};

static const struct policy POLICIES[] = {
    [STORE_NOEVICTION] = { BY_NOTHING, false },    [STORE_ALLKEYS_LRU] = { BY_AGE, false },
    [STORE_ALLKEYS_LFU] = { BY_COUNT, false },     [STORE_ALLKEYS_RANDOM] = { BY_CHANCE, false },
    [STORE_VOLATILE_LRU] = { BY_AGE, true },       [STORE_VOLATILE_LFU] = { BY_COUNT, true },
    [STORE_VOLATILE_RANDOM] = { BY_CHANCE, true }, [STORE_VOLATILE_TTL] = { BY_DEADLINE, true },
    [STORE_ALLKEYS_S3FIFO] = { BY_ORDER, false },  [STORE_VOLATILE_S3FIFO] = { BY_ORDER, true },
};
static_assert(sizeof POLICIES / sizeof POLICIES[0] == STORE_POLICIES, "a line for every policy");

bool evict_policy_has_recency(uint32_t policy)
{
    return POLICIES[policy].by == BY_AGE || POLICIES[policy].by == BY_COUNT || POLICIES[policy].by == BY_ORDER;
}

static uint32_t lru_clock(int64_t now_ms)
{
    return (uint32_t)(now_ms >> 8) & AGE_MASK;
}

static uint32_t lfu_minute(int64_t now_ms)
{
    return (uint32_t)(now_ms / 60000) & MINUTE_MASK;
}

static uint32_t lfu_decayed(uint32_t field, int64_t now_ms)
{
    uint32_t minutes = (lfu_minute(now_ms) - (field >> 8)) & MINUTE_MASK;
    uint32_t counter = field & 0xff;
    return counter > minutes ? counter - minutes : 0;
}

static uint32_t lfu_access(struct store *s, uint32_t field, int64_t now_ms)
{
    uint32_t counter = lfu_decayed(field, now_ms);
    uint32_t above = counter > LFU_START ? counter - LFU_START : 0;
    if (counter < 255 && prng_next(&s->prng) % (above * LFU_LOG_FACTOR + 1) == 0)
        counter++;
    return lfu_minute(now_ms) << 8 | counter;
}

uint32_t evict_recency(struct store *s, int64_t before, int64_t now_ms)
{
    if (POLICIES[s->options.policy].by != BY_COUNT)
        return lru_clock(now_ms);
    return before < 0 ? lfu_minute(now_ms) << 8 | LFU_START : lfu_access(s, (uint32_t)before, now_ms);
}

static bool knows(const struct keyspace *ks, const struct entry *e, enum evict_by by)
{
    return POLICIES[ks->store->options.policy].by == by && entry_recency_len(e) == 3;
}

int64_t keyspace_idle_ms(const struct keyspace *ks, const struct entry *e, int64_t now_ms)
{
    return knows(ks, e, BY_AGE) ? (int64_t)((lru_clock(now_ms) - entry_recency_load(entry_recency(e))) & AGE_MASK) << 8 : 0;
}

uint32_t keyspace_frequency(const struct keyspace *ks, const struct entry *e, int64_t now_ms)
{
    return knows(ks, e, BY_COUNT) ? lfu_decayed(entry_recency_load(entry_recency(e)), now_ms) : 0;
}

static uint64_t score_of(struct store *s, const struct entry *e, int64_t now_ms)
{
    enum evict_by by = (enum evict_by)POLICIES[s->options.policy].by;
    if (by == BY_DEADLINE)
        return UINT64_MAX - (uint64_t)entry_deadline(e);
    if (entry_recency_len(e) != 3)
        return UINT64_MAX;
    uint32_t field = entry_recency_load(entry_recency(e));
    return by == BY_AGE ? (lru_clock(now_ms) - field) & AGE_MASK : 255 - lfu_decayed(field, now_ms);
}

// Drawing

static uint64_t weight(const struct keyspace *ks, bool only_volatile)
{
    return only_volatile ? ks->deadline_count : ks->index.count;
}

// A keyspace by chance, the larger the likelier; NULL: all are empty.
static struct keyspace *draw_keyspace(struct store *s, bool only_volatile)
{
    size_t count = (size_t)s->local_shards * s->options.databases;
    struct keyspace *best = NULL;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < KEYSPACE_TRIES && count > 0; i++) {
        struct keyspace *ks = &s->keyspaces[prng_next(&s->prng) % count];
        uint64_t w = weight(ks, only_volatile);
        sum += w;
        if (w > 0 && prng_next(&s->prng) % sum < w)
            best = ks;
    }
    size_t start = count > 0 ? prng_next(&s->prng) % count : 0;
    for (size_t i = 0; best == NULL && i < count; i++) {
        struct keyspace *ks = &s->keyspaces[(start + i) % count];
        if (weight(ks, only_volatile) > 0)
            best = ks;
    }
    return best;
}

// An entry by chance from the index, the first place looked at being that of `random`; 0 = none found in a few tries (few have deadlines).
static uint32_t draw_ref(struct store *s, const struct keyspace *ks, bool only_volatile, uint64_t random)
{
    for (uint32_t i = 0; i < PLACE_TRIES; i++, random = prng_next(&s->prng)) {
        uint32_t ref = index_random(&s->world, &ks->index, random);
        if (ref != 0 && (!only_volatile || (store_entry(s, ref)->head & ENTRY_HEAD_DEADLINE) != 0))
            return ref;
    }
    return 0;
}

// All their buckets are asked for before the first is looked at, and their entries likewise. Fewer than SAMPLES: none found.
static uint32_t draw_refs(struct store *s, const struct keyspace *ks, bool only_volatile, uint32_t refs[SAMPLES])
{
    uint64_t random[SAMPLES];
    uint32_t count = 0;
    for (uint32_t i = 0; i < SAMPLES; i++) {
        random[i] = prng_next(&s->prng);
        keyspace_prefetch(ks, random[i]);
    }
    for (uint32_t i = 0; i < SAMPLES; i++) {
        refs[count] = draw_ref(s, ks, only_volatile, random[i]);
        if (refs[count] == 0)
            break;
        entry_prefetch(store_entry(s, refs[count++]));
    }
    return count;
}

// The pool

static void pool_add(struct evict_pool *p, struct evict_candidate c)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < p->count; i++) {
        if (p->candidates[i].ref == c.ref)
            return;
        at += p->candidates[i].score < c.score;
    }
    if (p->count == EVICT_POOL) {
        if (at == 0)
            return;
        at--;
        memmove(&p->candidates[0], &p->candidates[1], at * sizeof c);
    } else {
        memmove(&p->candidates[at + 1], &p->candidates[at], (p->count - at) * sizeof c);
        p->count++;
    }
    p->candidates[at] = c;
}

static void pool_offer(struct store *s, struct keyspace *ks, uint32_t ref, uint64_t hash, int64_t now_ms)
{
    uint64_t score = score_of(s, store_entry(s, ref), now_ms);
    pool_add(&s->pool, (struct evict_candidate){ .score = score, .hash = hash, .keyspace = ks, .ref = ref });
}

// Entries from the wheel: where few keys have deadlines, and for the nearest deadlines.
static void fill_from_wheel(struct store *s, bool nearest, int64_t now_ms)
{
    uint32_t refs[WHEEL_SAMPLES];
    uint64_t start = nearest ? 0 : prng_next(&s->prng);
    uint32_t count = deadline_sample(&s->deadlines, start, refs, WHEEL_SAMPLES);
    for (uint32_t i = 0; i < count; i++) {
        struct owner o = store_owner(s, refs[i]);
        if (o.keyspace != NULL)
            pool_offer(s, o.keyspace, refs[i], o.hash, now_ms);
    }
}

struct any {
    struct store *store;
    struct keyspace *keyspace;
    int64_t now_ms;
};

static void offer_any(void *context, uint32_t ref)
{
    const struct any *any = context;
    pool_offer(any->store, any->keyspace, ref, keyspace_hash(any->keyspace, entry_key(store_entry(any->store, ref))), any->now_ms);
}

// The keyspace is so empty that chance does not find its entries: those behind a random place.
static void pool_offer_any(struct store *s, struct keyspace *ks, int64_t now_ms)
{
    struct any any = { .store = s, .keyspace = ks, .now_ms = now_ms };
    uint64_t cursor = prng_next(&s->prng) >> 16;
    for (int laps = 0; laps < 2 && s->pool.count == 0; laps += cursor == 0)
        cursor = index_scan(&s->world, &ks->index, cursor, SAMPLES, offer_any, &any);
}

static void fill_pool(struct store *s, const struct policy *policy, int64_t now_ms)
{
    // The wheel's nearest place has the nearest deadlines, but may be as wide as all there are: chance draws beside it.
    if (policy->by == BY_DEADLINE)
        fill_from_wheel(s, true, now_ms);
    struct keyspace *ks = draw_keyspace(s, policy->only_volatile);
    uint32_t refs[SAMPLES], drawn = ks != NULL ? draw_refs(s, ks, policy->only_volatile, refs) : 0;
    for (uint32_t i = 0; i < drawn; i++)
        pool_offer(s, ks, refs[i], keyspace_hash(ks, entry_key(store_entry(s, refs[i]))), now_ms);
    if (drawn == 0 && policy->only_volatile)
        fill_from_wheel(s, false, now_ms);
    else if (drawn == 0 && ks != NULL)
        pool_offer_any(s, ks, now_ms);
}

// Takes the best candidate that is still there.
static bool evict_best(struct store *s)
{
    struct evict_pool *p = &s->pool;
    while (p->count > 0) {
        struct evict_candidate c = p->candidates[--p->count];
        struct spot spot = index_find_ref(&s->world, &c.keyspace->index, c.hash, c.ref);
        if (spot.bucket == NULL)
            continue;
        keyspace_remove_spot(c.keyspace, c.hash, spot);
        c.keyspace->stats.evicted++;
        return true;
    }
    return false;
}

static bool evict_random(struct store *s, const struct policy *policy, int64_t now_ms)
{
    s->pool.count = 0;
    fill_pool(s, policy, now_ms);
    return evict_best(s);
}

bool evict_one(struct store *s, int64_t now_ms, uint32_t *budget)
{
    const struct policy *policy = &POLICIES[s->options.policy];
    if (policy->by == BY_NOTHING)
        return false;
    if (policy->by == BY_ORDER)
        return s3fifo_evict(s, now_ms, budget);
    --*budget;
    if (policy->by == BY_CHANCE)
        return evict_random(s, policy, now_ms);
    fill_pool(s, policy, now_ms);
    return evict_best(s);
}
