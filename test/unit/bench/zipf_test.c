// SPDX-License-Identifier: Apache-2.0
#include "bench/zipf.h"

#include <math.h>

#include "base/test.h"

enum { DRAWS = 200000 };

static void the_first_ranks_have_their_share(void)
{
    static uint32_t seen[1000];
    struct zipf z;
    struct prng p;
    double sum = 0;
    zipf_init(&z, 1000, 0.99);
    prng_init(&p, 1);
    memset(seen, 0, sizeof seen);
    for (int i = 0; i < DRAWS; i++)
        seen[zipf_draw(&z, &p)]++;
    for (int i = 1; i <= 1000; i++)
        sum += pow(i, -0.99);
    for (int rank = 0; rank < 2; rank++) { // these two are exact in the method, the rest follows a curve
        double expected = DRAWS * pow(rank + 1, -0.99) / sum;
        check(fabs(seen[rank] - expected) < 5 * sqrt(expected));
    }
    double first_ten = 0, expected_ten = 0;
    for (int rank = 0; rank < 10; rank++) {
        first_ten += seen[rank];
        expected_ten += DRAWS * pow(rank + 1, -0.99) / sum;
    }
    check(fabs(first_ten - expected_ten) < 0.06 * expected_ten);
}

static void every_rank_is_within_the_count(void)
{
    uint64_t counts[] = { 1, 2, 3, 10, UINT64_C(1) << 32 };
    struct prng p;
    uint32_t beyond = 0;
    prng_init(&p, 2);
    for (int c = 0; c < 5; c++) {
        struct zipf z;
        zipf_init(&z, counts[c], 0.99);
        for (int i = 0; i < 20000; i++)
            beyond += zipf_draw(&z, &p) >= counts[c];
    }
    check_equal(beyond, 0);
}

static void the_tail_taken_from_its_integral_is_close(void)
{
    struct zipf z;
    double sum = 0;
    zipf_init(&z, 3000000, 0.8);
    for (int i = 3000000; i > 0; i--)
        sum += pow(i, -0.8);
    check(fabs(z.zeta - sum) < sum * 1e-7);
}

TESTS(TEST(the_first_ranks_have_their_share), TEST(every_rank_is_within_the_count), TEST(the_tail_taken_from_its_integral_is_close))
