// SPDX-License-Identifier: Apache-2.0
// Which shard owns a key (specification of FCNP, section 3).
#include <skerry/client.h>
#include <string.h>
#include <xxhash.h>

uint64_t skerry_client_hash(const void *key, size_t key_length)
{
    return XXH3_64bits(key_length > 0 ? key : "", key_length);
}

uint64_t skerry_client_session_hash(const void *key, size_t key_length)
{
    const unsigned char *bytes = key;
    if (key_length < 4 || bytes[0] != 's' || bytes[1] != ':')
        return skerry_client_hash(key, key_length);
    for (size_t at = key_length - 3; at > 0; at--) // the last one decides; at 0 there is the 's'
        if (memcmp(bytes + at, ":c:", 3) == 0)
            return skerry_client_hash(key, at);
    return skerry_client_hash(key, key_length);
}

uint32_t skerry_client_shard(uint64_t route_hash, uint32_t shards)
{
    unsigned bits = 0;
    while (bits < 31 && (UINT32_C(1) << bits) < shards)
        bits++;
    return bits == 0 ? 0 : (uint32_t)((route_hash << 7) >> (64 - bits));
}
