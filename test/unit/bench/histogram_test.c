// SPDX-License-Identifier: Apache-2.0
#include "bench/histogram.h"

#include "base/prng.h"
#include "base/test.h"

static struct histogram h, other;

static void small_values_are_exact(void)
{
    histogram_init(&h);
    for (uint64_t i = 1; i <= 100; i++)
        histogram_record(&h, i, 1);
    check_equal(histogram_percentile(&h, 50), 50);
    check_equal(histogram_percentile(&h, 99), 99);
    check_equal(histogram_percentile(&h, 100), 100);
    check_equal(histogram_percentile(&h, 0), 1);
    check_equal((int)histogram_mean(&h), 50);
}

static void a_value_is_kept_to_one_part_in_128(void)
{
    for (uint64_t value = 1; value < UINT64_C(1) << 39; value = value * 3 / 2 + 1) {
        histogram_init(&h);
        histogram_record(&h, value, 1);
        histogram_record(&h, UINT64_C(1) << 39, 1); // so that the maximum does not cut the answer
        uint64_t got = histogram_percentile(&h, 50);
        check(got >= value && got - value <= value / 128);
    }
}

static void buckets_rise_with_values_and_have_no_gaps(void)
{
    uint32_t last = 0, gaps = 0;
    for (uint64_t value = 0; value < 1 << 20; value++) {
        uint32_t bucket = histogram_bucket(value);
        gaps += bucket != last && bucket != last + 1;
        last = bucket;
    }
    check_equal(gaps, 0);
    check(histogram_bucket(UINT64_MAX) == HISTOGRAM_BUCKETS - 1);
    check(histogram_bucket((UINT64_C(1) << HISTOGRAM_VALUE_BITS) - 1) == HISTOGRAM_BUCKETS - 1);
}

static void percentiles_of_many_match_a_sorted_list(void)
{
    struct prng p;
    prng_init(&p, 7);
    histogram_init(&h);
    for (int i = 0; i < 100000; i++)
        histogram_record(&h, prng_below(&p, 1000000), 1);
    double wanted[] = { 10, 50, 90, 99, 99.9 };
    for (int i = 0; i < 5; i++) {
        double got = (double)histogram_percentile(&h, wanted[i]) / 10000;
        check(got > wanted[i] * 0.98 - 0.5 && got < wanted[i] * 1.02 + 0.5);
    }
}

static void an_empty_histogram_answers_zero(void)
{
    histogram_init(&h);
    check_equal(histogram_percentile(&h, 50), 0);
    check_equal((int)histogram_mean(&h), 0);
}

static void values_beyond_the_range_keep_the_maximum_exact(void)
{
    histogram_init(&h);
    histogram_record(&h, UINT64_C(1) << 50, 1);
    check_equal(histogram_percentile(&h, 100), UINT64_C(1) << 50);
}

static void merging_equals_recording_in_one(void)
{
    struct histogram both;
    histogram_init(&h);
    histogram_init(&other);
    histogram_init(&both);
    for (uint64_t i = 0; i < 1000; i++) {
        histogram_record(i % 3 == 0 ? &h : &other, i * i, i % 5 + 1);
        histogram_record(&both, i * i, i % 5 + 1);
    }
    histogram_merge(&h, &other);
    check(memcmp(&h, &both, sizeof both) == 0);
}

TESTS(TEST(small_values_are_exact), TEST(a_value_is_kept_to_one_part_in_128), TEST(buckets_rise_with_values_and_have_no_gaps),
      TEST(percentiles_of_many_match_a_sorted_list), TEST(an_empty_histogram_answers_zero),
      TEST(values_beyond_the_range_keep_the_maximum_exact), TEST(merging_equals_recording_in_one))
