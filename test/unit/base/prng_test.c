// SPDX-License-Identifier: Apache-2.0
#include "base/prng.h"
#include "base/test.h"

// From the authors' C program with the state 1, 2, 3, 4.
static void the_generator_gives_the_reference_numbers(void)
{
    static const uint64_t WANT[] = { 11520u, 0u, 1509978240u, 1215971899390074240u };
    struct prng p = { .state = { 1, 2, 3, 4 } };
    for (int i = 0; i < 4; i++)
        check(prng_next(&p) == WANT[i]);
}

static void the_seeding_gives_the_reference_numbers(void)
{
    static const uint64_t WANT[] = { 6457827717110365317u, 3203168211198807973u, 9817491932198370423u, 4593380528125082431u };
    uint64_t seed = 1234567;
    for (int i = 0; i < 4; i++)
        check(prng_splitmix(&seed) == WANT[i]);
    struct prng p;
    prng_init(&p, 1234567);
    check(memcmp(p.state, WANT, sizeof WANT) == 0);
}

static void one_seed_gives_one_sequence(void)
{
    struct prng a, b, c;
    prng_init(&a, 7);
    prng_init(&b, 7);
    prng_init(&c, 8);
    int same = 0;
    for (int i = 0; i < 1000; i++) {
        uint64_t value = prng_next(&a);
        check(value == prng_next(&b));
        same += value == prng_next(&c);
    }
    check_equal(same, 0);
}

static void numbers_stay_below_their_bound_and_reach_all_of_it(void)
{
    struct prng p;
    prng_init(&p, 1);
    int seen[10] = { 0 };
    for (int i = 0; i < 100000; i++) {
        uint64_t value = prng_below(&p, 10);
        check(value < 10);
        seen[value % 10]++;
    }
    for (int i = 0; i < 10; i++)
        check(seen[i] > 9500 && seen[i] < 10500);
    for (int i = 0; i < 100; i++) {
        check(prng_below(&p, 1) == 0);
        check(prng_below(&p, UINT64_MAX) < UINT64_MAX);
    }
}

static void units_lie_in_the_half_open_interval(void)
{
    struct prng p;
    prng_init(&p, 1);
    double sum = 0;
    for (int i = 0; i < 100000; i++) {
        double unit = prng_unit(&p);
        check(unit >= 0 && unit < 1);
        sum += unit;
    }
    check(sum > 49000 && sum < 51000);
}

TESTS(TEST(the_generator_gives_the_reference_numbers), TEST(the_seeding_gives_the_reference_numbers), TEST(one_seed_gives_one_sequence),
      TEST(numbers_stay_below_their_bound_and_reach_all_of_it), TEST(units_lie_in_the_half_open_interval))
