// SPDX-License-Identifier: Apache-2.0
// libcuckoo (Li et al., "Algorithmic improvements for fast concurrent cuckoo hashing", 2014) under the harness: std::string to
// std::string. It has no deadlines.
#include <libcuckoo/cuckoohash_map.hh>
#include <string>

#define PEER_TTL 0

struct config;
typedef libcuckoo::cuckoohash_map<std::string, std::string> map;
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
    p->table.insert_or_assign(key_of(key), std::string(reinterpret_cast<const char *>(value), len));
}

static bool peer_get_copy(peer *p, const uint8_t *key, uint8_t *to, size_t len)
{
    return p->table.find_fn(key_of(key), [&](const std::string &v) { __builtin_memcpy(to, v.data(), v.size() < len ? v.size() : len); });
}

static int peer_get_view(peer *p, const uint8_t *key)
{
    int sum = -1;
    p->table.find_fn(key_of(key), [&](const std::string &v) { sum = uint8_t(v[0]) + uint8_t(v[v.size() - 1]); });
    return sum;
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
