// SPDX-License-Identifier: Apache-2.0
// What a server's HELLO says about its shards (specification, section 7).
#pragma once

#include <skerry/client.h>
#include <stdbool.h>

enum { SHARDS_MAX = 4096 }; // more than any machine has cores; a bound for what a server may make us believe

struct topology {
    uint32_t shards;
    bool direct; // the server has direct ports and a route_mode that we know
    uint16_t direct_base_port;
    bool session_prefix;
    uint64_t epoch, frame_max;
};

// Reads the pairs of a HELLO reply. Unknown names are skipped. 0, or -1 with *why.
int skc_topology_read(struct topology *topology, const struct skerry_client_reply *hello, const char **why);

// Whether requests that were routed by the one may stay where they are under the other.
bool skc_topology_same(const struct topology *a, const struct topology *b);
