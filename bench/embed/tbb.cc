// SPDX-License-Identifier: Apache-2.0
// oneTBB's concurrent_hash_map under the harness: std::string to std::string. It has no deadlines.
#include <string>
#include <tbb/concurrent_hash_map.h>

#define PEER_TTL 0

struct config;
typedef tbb::concurrent_hash_map<std::string, std::string> map;
struct peer {
    map table;
};
static peer *store;

static std::string key_of(const uint8_t *key)
{
    return std::string(reinterpret_cast<const char *>(key), 16);
}

static bool peer_owns(peer *, const uint8_t *)
{
    return true;
}

static void peer_set(peer *p, const uint8_t *key, const uint8_t *value, size_t len, bool)
{
    map::accessor a;
    p->table.insert(a, key_of(key));
    a->second.assign(reinterpret_cast<const char *>(value), len);
}

static bool peer_get_copy(peer *p, const uint8_t *key, uint8_t *to, size_t len)
{
    map::const_accessor a;
    if (!p->table.find(a, key_of(key)))
        return false;
    __builtin_memcpy(to, a->second.data(), a->second.size() < len ? a->second.size() : len);
    return true;
}

static int peer_get_view(peer *p, const uint8_t *key)
{
    map::const_accessor a;
    if (!p->table.find(a, key_of(key)))
        return -1;
    return uint8_t(a->second[0]) + uint8_t(a->second[a->second.size() - 1]);
}

static void peer_open(const config *)
{
    store = new peer;
}

static peer *peer_thread(unsigned)
{
    return store;
}

#include "bench/embed/harness.h"
