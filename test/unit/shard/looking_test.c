// SPDX-License-Identifier: Apache-2.0
// What an operator looks at, piece by piece: durations, the logs of commands, latency events.
#include "base/test.h"
#include "engine/shard/command_log.h"
#include "engine/shard/durations.h"
#include "engine/shard/latency.h"

static struct durations d;

static void every_duration_is_in_a_bucket_that_ends_above_it(void)
{
    for (uint64_t ns = 0; ns < 100000; ns++)
        check(durations_above(durations_bucket(ns)) > ns);
    for (uint64_t ns = 8; ns < UINT64_C(1) << 41; ns += ns / 7 + 1)
        check(durations_above(durations_bucket(ns)) > ns && durations_above(durations_bucket(ns)) <= ns + ns / 8 + 1);
    check_equal(durations_bucket(UINT64_MAX), DURATIONS_BUCKETS - 1);
}

static void buckets_lie_side_by_side(void)
{
    for (uint32_t i = 0; i + 1 < DURATIONS_BUCKETS; i++)
        check_equal(durations_bucket(durations_above(i)), i + 1);
}

static void a_percentile_is_at_most_an_eighth_too_high(void)
{
    d = (struct durations){ 0 };
    check_equal(durations_percentile(&d, 0.5), 0);
    for (uint64_t i = 1; i <= 1000; i++)
        durations_add(&d, i * 1000, 1);
    uint64_t half = durations_percentile(&d, 0.5), most = durations_percentile(&d, 1);
    check(half >= 500000 && half <= 563000);
    check(most >= 1000000 && most <= 1126000);
    check_equal(durations_below(&d, UINT64_C(1) << 40), 1000);
}

static void a_weight_counts_for_many(void)
{
    struct durations sum = { 0 };
    d = (struct durations){ 0 };
    durations_add(&d, 100, 64);
    durations_add(&d, 1000000, 1);
    durations_gather(&sum, &d);
    durations_gather(&sum, &d);
    check_equal(sum.count, 130);
    check_equal(sum.total_ns, 2 * (6400 + 1000000));
    check(durations_percentile(&sum, 0.9) < 200);
}

static struct command_entry *entry(const char *name, const struct slice *argv, uint32_t argc)
{
    return command_entry_new(command_find_name(slice_cstr(name)), argv, argc, 7, 1000, SIZE_MAX);
}

static void a_log_keeps_the_newest_and_counts_on(void)
{
    struct command_log log = { .count = 0 };
    struct command_entry *taken[10];
    struct slice argv[1] = { slice_cstr("ping") };
    for (int i = 0; i < 7; i++)
        command_log_add(&log, entry("ping", argv, 1), 3);
    check_equal(command_log_length(&log), 3);
    check_equal(command_log_take(&log, taken, 10), 3);
    check(taken[0]->id == 6 && taken[1]->id == 5 && taken[2]->id == 4);
    command_log_reset(&log);
    check_equal(command_log_length(&log), 0);
    check_equal(taken[2]->value, 7); // borrowed entries outlive the log's
    for (int i = 0; i < 3; i++)
        command_entry_free(taken[i]);
    command_log_add(&log, entry("ping", argv, 1), 0);
    check_equal(command_log_length(&log), 0);
    command_log_add(&log, entry("ping", argv, 1), 1);
    check_equal(command_log_take(&log, taken, 1), 1);
    check_equal(taken[0]->id, 8);
    command_entry_free(taken[0]);
    command_log_reset(&log);
}

static bool hides(const char *name, const char *const *words, uint32_t argc, uint32_t arg)
{
    struct slice argv[8];
    for (uint32_t i = 0; i < argc; i++)
        argv[i] = slice_cstr(words[i]);
    return command_hides(command_find_name(slice_cstr(name)), argv, argc, arg);
}

static void secrets_are_hidden_and_nothing_else(void)
{
    static const char *const AUTH[] = { "auth", "user", "pass" }, *const HELLO[] = { "hello", "3", "AUTH", "user", "pass", "SETNAME", "x" };
    static const char *const SET[] = { "config", "set", "requirepass", "pass", "timeout", "3" }, *const GET[] = { "get", "auth" };
    check(!hides("auth", AUTH, 3, 0) && hides("auth", AUTH, 3, 1) && hides("auth", AUTH, 3, 2));
    check(hides("hello", HELLO, 7, 3) && hides("hello", HELLO, 7, 4) && !hides("hello", HELLO, 7, 2) && !hides("hello", HELLO, 7, 6));
    check(hides("config|set", SET, 6, 3) && !hides("config|set", SET, 6, 2) && !hides("config|set", SET, 6, 5));
    check(!hides("get", GET, 2, 1));
}

static void samples_of_one_second_are_one(void)
{
    static struct latency_monitor m;
    latency_add(&m, LATENCY_COMMAND, 1000, 5);
    latency_add(&m, LATENCY_COMMAND, 1999, 9);
    latency_add(&m, LATENCY_COMMAND, 2000, 3);
    struct latency_series s = latency_series_of(&m, LATENCY_COMMAND);
    check_equal(s.count, 2);
    check(latency_sample_at(&s, 0)->ms == 9 && latency_sample_at(&s, 1)->ms == 3 && s.worst_ms == 9);
    for (int64_t i = 0; i < 1000; i++)
        latency_add(&m, LATENCY_COMMAND, 5000 + i * 1000, (uint64_t)i);
    s = latency_series_of(&m, LATENCY_COMMAND);
    check_equal(s.count, LATENCY_SAMPLES);
    check_equal(latency_sample_at(&s, 0)->ms, 1000 - LATENCY_SAMPLES);
    check_equal(latency_sample_at(&s, LATENCY_SAMPLES - 1)->ms, 999);
    check(latency_reset(&m, LATENCY_COMMAND) && !latency_reset(&m, LATENCY_COMMAND));
}

TESTS(TEST(every_duration_is_in_a_bucket_that_ends_above_it), TEST(buckets_lie_side_by_side),
      TEST(a_percentile_is_at_most_an_eighth_too_high), TEST(a_weight_counts_for_many), TEST(a_log_keeps_the_newest_and_counts_on),
      TEST(secrets_are_hidden_and_nothing_else), TEST(samples_of_one_second_are_one))
