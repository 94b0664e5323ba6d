// SPDX-License-Identifier: Apache-2.0
// A store of one keyspace under a limit of 4 MiB: what the tests of eviction share.
#pragma once

#include "base/test.h"
#include "engine/store/inside.h"
#include "test/unit/store/pages.h"

#define NOW   INT64_C(1750000000000)
#define LIMIT (UINT64_C(4) << 20)

struct world {
    struct pages pages;
    struct store *store;
    struct keyspace *ks;
};

static inline void world_start(struct world *w, enum store_policy policy)
{
    pages_init(&w->pages);
    struct store_options o = { .workers = 1, .databases = 4, .memory = &w->pages.memory, .policy = policy, .memory_max = LIMIT };
    route_init(&o.route, 1, ROUTE_FULL_KEY);
    check_equal(store_new(&w->store, &o), 0);
    w->ks = store_keyspace(w->store, 0, 0);
}

static inline void world_stop(struct world *w)
{
    store_free(w->store);
    check_equal(w->pages.held, 0);
}
