// SPDX-License-Identifier: Apache-2.0
#include "reactor/timer.h"

#include "base/prng.h"
#include "base/test.h"

static struct timers wheel;

static void a_timer_is_never_early_and_at_most_a_tick_late(void)
{
    struct prng p;
    prng_init(&p, 7);
    uint64_t now = UINT64_C(123456789012);
    timers_init(&wheel, now);
    for (int i = 0; i < 2000; i++) {
        struct timer t;
        timer_init(&t, 3);
        uint64_t at = now + prng_below(&p, UINT64_C(1) << (10 + i % 34));
        timers_arm(&wheel, &t, at);
        check(timer_armed(&t));
        if (at > now)
            check(timers_expired(&wheel, at - 1) == NULL);
        check(timers_next_ns(&wheel) <= at + TIMER_TICK_NS);
        now = at + TIMER_TICK_NS;
        check(timers_expired(&wheel, now) == &t);
        check(!timer_armed(&t) && t.owner == 3);
        check(timers_expired(&wheel, now) == NULL);
        check(timers_next_ns(&wheel) == TIMER_NEVER);
    }
}

#define MODEL 300

// Against an array that is searched.
static void many_timers_expire_as_a_plain_list_would(void)
{
    static struct timer timers[MODEL];
    struct prng p;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        prng_init(&p, seed);
        uint64_t now = prng_below(&p, UINT64_C(1) << 50);
        timers_init(&wheel, now);
        for (int i = 0; i < MODEL; i++)
            timer_init(&timers[i], 0);
        for (int step = 0; step < 3000; step++) {
            struct timer *t = &timers[prng_below(&p, MODEL)];
            if (prng_below(&p, 3) == 0)
                timers_disarm(&wheel, t);
            else
                timers_arm(&wheel, t, now + prng_below(&p, UINT64_C(1) << (15 + prng_below(&p, 25))));
            now += prng_below(&p, UINT64_C(1) << (10 + prng_below(&p, 22)));
            for (struct timer *x; (x = timers_expired(&wheel, now)) != NULL;)
                check(x->at_ns <= now);
            uint64_t first = TIMER_NEVER;
            for (int i = 0; i < MODEL; i++) {
                if (!timer_armed(&timers[i]))
                    continue;
                check(timers[i].at_ns + TIMER_TICK_NS > now);
                first = timers[i].at_ns < first ? timers[i].at_ns : first;
            }
            uint64_t next = timers_next_ns(&wheel);
            check(first == TIMER_NEVER ? next == TIMER_NEVER : next <= first + TIMER_TICK_NS);
        }
    }
}

// Waiting for what timers_next_ns says gets there in few steps, whatever the distance.
static void following_the_next_expiry_reaches_a_far_timer(void)
{
    timers_init(&wheel, 0);
    struct timer t;
    timer_init(&t, 0);
    uint64_t at = UINT64_C(86400) * 1000000000 * 30;
    timers_arm(&wheel, &t, at);
    uint64_t now = 0;
    int steps = 0;
    while (timers_expired(&wheel, now) == NULL && steps < 20) {
        uint64_t next = timers_next_ns(&wheel);
        check(next > now);
        now = next;
        steps++;
    }
    check(steps < 20 && now >= at && now < at + 2 * TIMER_TICK_NS);
}

static void disarming_twice_is_harmless(void)
{
    timers_init(&wheel, 0);
    struct timer t;
    timer_init(&t, 0);
    timers_disarm(&wheel, &t);
    timers_arm(&wheel, &t, 5 * TIMER_TICK_NS);
    timers_arm(&wheel, &t, 9 * TIMER_TICK_NS);
    check(timers_expired(&wheel, 8 * TIMER_TICK_NS) == NULL);
    timers_disarm(&wheel, &t);
    timers_disarm(&wheel, &t);
    check(timers_expired(&wheel, 100 * TIMER_TICK_NS) == NULL);
}

TESTS(TEST(a_timer_is_never_early_and_at_most_a_tick_late), TEST(many_timers_expire_as_a_plain_list_would),
      TEST(following_the_next_expiry_reaches_a_far_timer), TEST(disarming_twice_is_harmless))
