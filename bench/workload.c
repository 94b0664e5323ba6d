// SPDX-License-Identifier: Apache-2.0
#include "bench/workload.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "bench/zipf.h"

static const char digit_pairs[] =
    "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748495051525354555657"
    "585960616263646566676869707172737475767778798081828384858687888990919293949596979899";

// Writes `number` so that it ends before `end`; what is left of it are the template's zeros.
static inline void digits_write(uint8_t *end, uint64_t number)
{
    while (number >= 10) {
        end -= 2;
        memcpy(end, &digit_pairs[number % 100 * 2], 2);
        number /= 100;
    }
    if (number > 0)
        end[-1] = (uint8_t)('0' + number);
}

static inline uint64_t key_mix(uint64_t key)
{
    return prng_splitmix(&key);
}

// As memcpy, but for short pieces of lengths known only now: no call, steps of a constant size that may run over the end.
static inline void slack_copy(uint8_t *to, const uint8_t *from, uint64_t len)
{
    if (len > 8 * WORKLOAD_SLACK) {
        memcpy(to, from, len);
        return;
    }
    for (uint64_t at = 0; at < len; at += WORKLOAD_SLACK)
        memcpy(to + at, from + at, WORKLOAD_SLACK);
}

// The part of a value after its first 8 bytes, from offset `at` of the value on.
static inline void noise_copy(const struct workload *w, uint64_t mixed, uint64_t at, uint8_t *to, uint64_t len)
{
    while (len > 0) {
        uint64_t from = (mixed + at) % WORKLOAD_NOISE;
        uint64_t n = len < WORKLOAD_NOISE ? len : WORKLOAD_NOISE;
        slack_copy(to, w->noise + from, n);
        to += n;
        at += n;
        len -= n;
    }
}

static inline void value_write(const struct workload *w, uint64_t key, uint8_t *to, uint64_t len)
{
    uint64_t mixed = key_mix(key);
    store_u64(to, mixed); // a shorter value: into the slack
    if (len > 8)
        noise_copy(w, mixed, 8, to + 8, len - 8);
}

bool workload_value_matches(const struct workload *w, uint64_t key, uint64_t at, const uint8_t *bytes, uint64_t len)
{
    uint64_t mixed = key_mix(key);
    uint8_t first[8];
    store_u64(first, mixed);
    if (at < 8 && len > 0) {
        uint64_t n = len < 8 - at ? len : 8 - at;
        if (memcmp(first + at, bytes, n) != 0)
            return false;
        at += n;
        bytes += n;
        len -= n;
    }
    while (len > 0) {
        uint64_t n = len < WORKLOAD_NOISE ? len : WORKLOAD_NOISE;
        if (memcmp(w->noise + (mixed + at) % WORKLOAD_NOISE, bytes, n) != 0)
            return false;
        at += n;
        bytes += n;
        len -= n;
    }
    return true;
}

bool workload_size_known(const struct workload *w, uint64_t len)
{
    for (uint32_t i = 0; i < w->options->size_count; i++)
        if (w->options->sizes[i].bytes == len)
            return true;
    return false;
}

// One template per operation, or per operation and value size where it carries values; their weights multiply.
static int templates_build(struct workload *w, const uint32_t *mix, uint64_t *weights)
{
    const struct options *o = w->options;
    uint64_t all_sizes = 0;
    for (uint32_t i = 0; i < o->size_count; i++)
        all_sizes += o->sizes[i].weight;
    for (int kind = 0; kind < OP_COUNT; kind++) {
        if (mix[kind] == 0)
            continue;
        bool valued = kind == OP_SET || kind == OP_MSET || kind == OP_ECHO;
        for (uint32_t i = 0; i < (valued ? o->size_count : 1); i++) {
            struct template *t = &w->templates[w->template_count];
            weights[w->template_count++] = mix[kind] * (valued ? o->sizes[i].weight : all_sizes);
            int rc = template_build(t, o, (enum op_kind)kind, o->sizes[i].bytes, WORKLOAD_SLACK);
            if (rc != 0)
                return rc;
            if (kind == OP_ECHO)
                value_write(w, 0, t->bytes, t->value_len);
            if (t->len > w->len_max)
                w->len_max = t->len;
        }
    }
    return 0;
}

static void choices_build(struct workload *w, const uint64_t *weights)
{
    uint64_t all = 0, seen = 0;
    for (uint32_t i = 0; i < w->template_count; i++)
        all += weights[i];
    uint32_t slot = 0;
    for (uint32_t i = 0; i < w->template_count; i++) {
        seen += weights[i];
        uint32_t until = i + 1 == w->template_count ? WORKLOAD_CHOICES : (uint32_t)(seen * WORKLOAD_CHOICES / all);
        while (slot < until)
            w->choices[slot++] = (uint8_t)i;
    }
}

// Popular ranks are strewn over the key space by a multiplication with a prime beyond any key count: a permutation.
static int ranks_build(struct workload *w)
{
    const struct options *o = w->options;
    struct zipf z;
    struct prng random;
    w->ranks = malloc(WORKLOAD_RANKS * sizeof *w->ranks);
    if (w->ranks == NULL)
        return -ENOMEM;
    zipf_init(&z, o->keys, o->zipf);
    prng_init(&random, o->seed ^ 0x7a697066);
    for (uint32_t i = 0; i < WORKLOAD_RANKS; i++)
        w->ranks[i] = (uint32_t)((unsigned __int128)zipf_draw(&z, &random) * 68718952447u % o->keys);
    return 0;
}

int workload_init(struct workload *w, const struct options *o, bool load)
{
    static const uint32_t only_set[OP_COUNT] = { [OP_SET] = 1 };
    uint64_t weights[WORKLOAD_TEMPLATES_MAX];
    struct prng random;
    memset(w, 0, sizeof *w);
    w->options = o;
    prng_init(&random, 1); // never the seed: values stay what they are from run to run
    for (uint32_t i = 0; i < WORKLOAD_NOISE; i++)
        w->noise[i] = w->noise[i + WORKLOAD_NOISE] = (uint8_t)prng_next(&random);
    int rc = templates_build(w, load ? only_set : o->mix, weights);
    if (rc == 0 && o->zipf > 0 && !load)
        rc = ranks_build(w);
    if (rc != 0) {
        workload_deinit(w);
        return rc;
    }
    choices_build(w, weights);
    return 0;
}

static uint64_t key_hash(const struct workload *w, uint8_t *key, uint64_t number)
{
    uint32_t size = w->options->key_size;
    const struct template *first = &w->templates[0];
    memcpy(key, first->bytes + first->head_len + first->key_end - size, size);
    digits_write(key + size, number);
    return hash_route(slice_of(key, size));
}

static int shard_add(struct shard_keys *s, struct shard_key key)
{
    if (s->count == 0 || (s->count >= 256 && is_power_of_two(s->count))) {
        struct shard_key *larger = realloc(s->keys, (s->count == 0 ? 256 : 2 * s->count) * sizeof *larger);
        if (larger == NULL)
            return -ENOMEM;
        s->keys = larger;
    }
    s->keys[s->count++] = key;
    return 0;
}

static void shard_shuffle(struct shard_keys *s, struct prng *random)
{
    for (uint64_t i = s->count; i > 1; i--) {
        uint64_t other = prng_next(random) % i;
        struct shard_key key = s->keys[i - 1];
        s->keys[i - 1] = s->keys[other];
        s->keys[other] = key;
    }
}

int workload_shard(struct workload *w, const struct topology *t)
{
    uint64_t count = w->ranks != NULL ? WORKLOAD_RANKS : w->options->keys;
    uint8_t *key = malloc(w->options->key_size);
    w->shards = calloc(t->shards, sizeof *w->shards);
    w->shard_count = w->shards == NULL ? 0 : t->shards;
    int rc = key == NULL || w->shards == NULL ? -ENOMEM : 0;
    for (uint64_t i = 0; i < count && rc == 0; i++) {
        uint32_t number = w->ranks != NULL ? w->ranks[i] : (uint32_t)i;
        uint64_t hash = key_hash(w, key, number);
        rc = shard_add(&w->shards[topology_shard(t, hash)], (struct shard_key){ hash, number });
    }
    struct prng random;
    prng_init(&random, w->options->seed ^ 0x73687566);
    for (uint32_t i = 0; i < w->shard_count && w->ranks == NULL; i++)
        shard_shuffle(&w->shards[i], &random);
    for (uint32_t i = 0; i < w->shard_count && rc == 0; i++)
        rc = w->shards[i].count == 0 ? -EINVAL : 0;
    free(key);
    return rc;
}

void workload_deinit(struct workload *w)
{
    for (uint32_t i = 0; i < w->template_count; i++)
        template_free(&w->templates[i]);
    w->template_count = 0;
    free(w->ranks);
    w->ranks = NULL;
    for (uint32_t i = 0; i < w->shard_count; i++)
        free(w->shards[i].keys);
    free(w->shards);
    w->shards = NULL;
    w->shard_count = 0;
}

void request_source_init(struct request_source *s, const struct workload *w, uint64_t seed)
{
    memset(s, 0, sizeof *s);
    s->workload = w;
    prng_init(&s->random, seed);
    s->next_rank = prng_next(&s->random);
}

static inline const struct shard_key *next_of_shard(struct request_source *s, uint64_t draw)
{
    const struct shard_keys *own = &s->workload->shards[s->shard];
    if (s->workload->ranks != NULL)
        return &own->keys[s->next_rank++ % own->count];
    if (s->run_left == 0 || s->run_shard != s->shard) {
        s->run_shard = s->shard;
        s->run_left = WORKLOAD_RUN;
        s->run_next = (uint64_t)(((unsigned __int128)draw * own->count) >> 64);
    }
    s->run_left--;
    s->run_next = s->run_next + 1 < own->count ? s->run_next + 1 : 0;
    return &own->keys[s->run_next];
}

static inline uint64_t next_key(struct request_source *s, uint64_t draw, uint64_t *hash)
{
    const struct workload *w = s->workload;
    if (s->in_order)
        return s->next_key++;
    if (w->shards != NULL) {
        const struct shard_key *key = next_of_shard(s, draw);
        *hash = key->hash;
        return key->number;
    }
    if (w->ranks != NULL)
        return w->ranks[s->next_rank++ % WORKLOAD_RANKS];
    // The draw's high bits: its ten low ones chose the template.
    return (uint64_t)(((unsigned __int128)draw * w->options->keys) >> 64);
}

// The unit's bytes are there already: the key's digits and the value follow.
static inline uint8_t *unit_finish(const struct workload *w, const struct template *t, uint64_t key, uint8_t *to)
{
    digits_write(to + t->key_end, key);
    to += t->unit_len;
    if (!t->has_value)
        return to;
    value_write(w, key, to, t->value_len);
    to += t->value_len;
    if (t->line_ends) {
        *to++ = '\r';
        *to++ = '\n';
    }
    return to;
}

// FCNP's routing prefix, for the key that has just been written. `hash`: of it; 0: not known.
static inline void prefix_write(const struct request_source *s, const struct template *t, uint8_t *request, uint64_t hash)
{
    const uint8_t *key_end = request + t->head_len + t->key_end;
    if (t->flags == TEMPLATE_SHARD) {
        store_u32(request + TEMPLATE_PREFIX_AT, s->shard);
        return;
    }
    if (hash == 0)
        hash = hash_route(slice_of(key_end - s->workload->options->key_size, s->workload->options->key_size));
    store_u64(request + TEMPLATE_PREFIX_AT, hash);
    if (t->flags == TEMPLATE_HASH)
        return;
    store_u32(request + TEMPLATE_SHARD_AT, s->shard);
    store_u64(request + TEMPLATE_TAG_AT, hash >> 56);
}

uint64_t workload_write(struct request_source *s, uint8_t *to, struct request *r)
{
    const struct workload *w = s->workload;
    uint64_t draw = prng_next(&s->random);
    uint8_t choice = w->choices[draw % WORKLOAD_CHOICES];
    const struct template *t = &w->templates[choice];
    r->template = choice;
    r->key = 0;
    slack_copy(to, t->bytes, t->kind == OP_ECHO ? t->len : t->head_len + t->unit_len);
    if (t->keys == 0)
        return t->len;
    uint64_t hash = 0, key = next_key(s, draw, &hash);
    r->key = key & 0xffffffffffffff;
    uint8_t *request = to;
    to = unit_finish(w, t, key, to + t->head_len);
    if (t->flags != 0)
        prefix_write(s, t, request, hash);
    for (uint32_t i = 1; i < t->keys; i++) {
        slack_copy(to, t->bytes + t->head_len, t->unit_len);
        to = unit_finish(w, t, workload_key(w, key, i), to);
    }
    return t->len;
}
