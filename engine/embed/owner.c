// SPDX-License-Identifier: Apache-2.0
// An owner's GET of a short key in as few instructions as can be. Where the data is not in the caches such a GET waits for two lines of
// memory, one after the other, and what hides that is the next GETs, which the processor begins as far as its window of some 300
// instructions reaches: each instruction less is a part of the next GET begun. So nothing is found out that can be known beforehand,
// there is no loop and no call, and the code is for processors with AVX2 and BMI2; what it does not do is done by single_get from the
// start.
#include "engine/embed/embed.h"
#include "engine/embed/point.h"

#if defined(__x86_64__)
#define OWNER_TARGET __attribute__((__target__("avx2,bmi,bmi2")))

static bool has_target(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
}
#else
#define OWNER_TARGET

static bool has_target(void)
{
    return true;
}
#endif

typedef uint8_t piece32 __attribute__((__vector_size__(32), __aligned__(1), __may_alias__));

static always_inline void copy_32(uint8_t *to, const uint8_t *from)
{
    *(piece32 *)(void *)to = *(const piece32 *)(const void *)from;
}

// 16 to 128 bytes. Places follow from the way taken, not from the length, as long as it is a multiple of 16 (copy_short says why).
static always_inline void copy_value(uint8_t *to, const uint8_t *from, size_t len)
{
    size_t at = 0;
    if (len >= 32) {
        copy_32(to, from);
        at = 32;
        if (len >= 64) {
            copy_32(to + 32, from + 32);
            at = 64;
            if (len >= 96) {
                copy_32(to + 64, from + 64);
                at = 96;
                if (len == 128) {
                    copy_32(to + 96, from + 96);
                    return;
                }
            }
        }
    }
    if ((len & 31) == 0)
        return;
    if ((len & 16) != 0)
        __builtin_memcpy(to + at, from + at, 16);
    if ((len & 15) != 0)
        __builtin_memcpy(to + len - 16, from + len - 16, 16);
}

static __attribute__((__noinline__)) enum skerry_status copy_other(uint8_t *to, const uint8_t *from, size_t len)
{
    if (len > 0)
        memcpy(to, from, len);
    return SKERRY_OK;
}

static always_inline enum skerry_status get(struct skerry *s, const void *key, size_t key_len, void *buffer, size_t capacity, size_t *len,
                                            bool public_hash)
{
    if (unlikely(key_len - 8 > 8) || unlikely(!thread_is_owner(s)))
        return single_get(s, key, key_len, buffer, capacity, len);
    struct slice k = slice_of(key, key_len);
    uint64_t hash = public_hash ? route_mix(hash_route(k)) : hash_aes(&s->core->hash_keys, k);
    const struct entry *e;
    if (unlikely(!keyspace_first(s->plain, hash, &e)))
        return single_get(s, key, key_len, buffer, capacity, len);
    const uint8_t *value;
    size_t value_len;
    if (likely(entry_first_is(e, k, 0))) {
        value = e->rest + 2 + key_len;
        value_len = e->rest[1];
    } else if (entry_first_is(e, k, 1)) {
        value = e->rest + 3 + key_len;
        value_len = load_u16(e->rest + 1);
    } else {
        return single_get(s, key, key_len, buffer, capacity, len);
    }
    if (unlikely(value_len > capacity))
        return single_get(s, key, key_len, buffer, capacity, len);
    s->plain->stats.hits++;
    *len = value_len;
    if (unlikely(value_len - 16 > 112))
        return copy_other(buffer, value, value_len);
    copy_value(buffer, value, value_len);
    return SKERRY_OK;
}

static OWNER_TARGET enum skerry_status get_keyed(struct skerry *s, const void *key, size_t key_len, void *buffer, size_t capacity,
                                                 size_t *len)
{
    return get(s, key, key_len, buffer, capacity, len, false);
}

static OWNER_TARGET enum skerry_status get_public(struct skerry *s, const void *key, size_t key_len, void *buffer, size_t capacity,
                                                  size_t *len)
{
    return get(s, key, key_len, buffer, capacity, len, true);
}

void owner_choose_get(struct skerry *s)
{
    const struct core *c = s->core;
    s->get = single_get;
    if (!s->local || c->route.shards != 1 || s->shards[0] == NULL || !has_target() || !(c->public_hash || c->hash_keys.aes))
        return;
    if (store_notes_reads(s->shards[0]->store))
        return;
    s->plain = s->shards[0]->keys;
    s->get = c->public_hash ? get_public : get_keyed;
}
