// SPDX-License-Identifier: Apache-2.0
#include "engine/store/route.h"

#include <stdlib.h>

#include "base/test.h"

struct vector {
    const char *key; // NULL: `repeat` times 'k'
    uint32_t repeat;
    uint64_t hash;
    uint32_t full[4]; // N = 2, 4, 16, 64
    uint32_t session[4];
};

// Section 3 of the FCNP specification.
static const struct vector VECTORS[] = {
    { "", 0, 0x2d06800538d394c2, { 1, 2, 8, 32 }, { 1, 2, 8, 32 } },
    { "a", 0, 0xe6c632b61e964e1f, { 0, 1, 6, 24 }, { 0, 1, 6, 24 } },
    { "alpha", 0, 0xbe6903b5f625ab5a, { 0, 0, 3, 13 }, { 0, 0, 3, 13 } },
    { "user:42", 0, 0x9fc1e605fa7174aa, { 1, 3, 14, 56 }, { 1, 3, 14, 56 } },
    { "owned-shard-key-1", 0, 0xaea5da1bc648453e, { 0, 1, 5, 20 }, { 0, 1, 5, 20 } },
    { "s:42:c:7", 0, 0x221c18680ed619a8, { 0, 0, 0, 3 }, { 0, 1, 6, 26 } },
    { "s:42", 0, 0x9ed7df9c1d9bd965, { 0, 1, 6, 26 }, { 0, 1, 6, 26 } },
    { NULL, 64, 0xea15a22731ab9dd3, { 0, 0, 0, 2 }, { 0, 0, 0, 2 } },
    { NULL, 300, 0x3e901c94ff54faa0, { 0, 1, 4, 18 }, { 0, 1, 4, 18 } },
};

static void every_vector_of_the_specification_routes_as_written(void)
{
    static const uint32_t COUNTS[] = { 2, 4, 16, 64 };
    for (size_t i = 0; i < sizeof VECTORS / sizeof VECTORS[0]; i++) {
        const struct vector *v = &VECTORS[i];
        char repeated[300];
        memset(repeated, 'k', sizeof repeated);
        struct slice key = v->key != NULL ? slice_cstr(v->key) : slice_of(repeated, v->repeat);
        check_equal(hash_route(key), v->hash);
        for (int n = 0; n < 4; n++) {
            struct route r;
            route_init(&r, COUNTS[n], ROUTE_FULL_KEY);
            check_equal(route_shard(&r, key), v->full[n]);
            route_init(&r, COUNTS[n], ROUTE_SESSION_PREFIX);
            check_equal(route_shard(&r, key), v->session[n]);
        }
        struct route one;
        route_init(&one, 1, ROUTE_FULL_KEY);
        check_equal(route_shard(&one, key), 0);
    }
}

static void the_last_c_ends_the_session_and_other_keys_are_whole(void)
{
    static const char *const CASES[][2] = {
        { "s:a:c:b:c:d", "s:a:c:b" }, { "s:a:c:", "s:a" }, { "s::c:", "s:" }, { "s:c:1", "s" }, { "s:a:c", "s:a:c" },
        { "t:a:c:1", "t:a:c:1" },     { "s", "s" },        { "", "" },        { "s:", "s:" },   { ":c:", ":c:" },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++)
        check(slice_equal(route_session_prefix(slice_cstr(CASES[i][0])), slice_cstr(CASES[i][1])));
}

TESTS(TEST(every_vector_of_the_specification_routes_as_written), TEST(the_last_c_ends_the_session_and_other_keys_are_whole))
