// SPDX-License-Identifier: Apache-2.0
// No wake-up is lost, and one that is not needed costs nothing. Two threads, each with a reactor.
#include <stdatomic.h>
#include <stdlib.h>

#include "reactor/clock.h"
#include "reactor/thread.h"
#include "test/unit/reactor/world.h"

#define ROUNDS  5000
#define LOST_NS (20 * NS_PER_SEC) // who slept so long was not woken

struct side {
    struct reactor *reactor;
    _Atomic uint64_t inbox; // written by the other side
    uint64_t taken;
    _Atomic bool open;
    uint64_t late; // rounds that took so long that a wake-up must have been lost
    uint64_t wakes_sent;
    struct side *other;
    struct reactor_options options;
    bool leads;
};

static bool has_mail(void *context)
{
    struct side *s = context;
    return atomic_load_explicit(&s->inbox, memory_order_acquire) != s->taken;
}

static void post(struct side *from)
{
    atomic_fetch_add_explicit(&from->other->inbox, 1, memory_order_release);
    reactor_wake(from->other->reactor, from->reactor);
}

static void play(void *arg)
{
    struct side *s = arg;
    const char *why;
    if (reactor_open(&s->reactor, &s->options, &why) < 0)
        abort();
    s->reactor->pending = has_mail;
    s->reactor->pending_context = s;
    atomic_store(&s->open, true);
    while (!atomic_load(&s->other->open))
        ;
    if (s->leads)
        post(s);
    while (s->taken < ROUNDS) {
        const struct completion *done;
        uint64_t start = clock_now_ns();
        (void)reactor_turn(s->reactor, LOST_NS, &done);
        if (clock_now_ns() - start >= LOST_NS)
            s->late++;
        if (!has_mail(s))
            continue;
        s->taken++;
        if (s->taken < ROUNDS || !s->leads)
            post(s);
    }
    s->wakes_sent = s->reactor->stats.wakes_sent;
}

static void ping_pong(uint32_t spin_a, uint32_t spin_b)
{
    static struct side a, b;
    a = (struct side){ .other = &b, .options = world_options(), .leads = true };
    b = (struct side){ .other = &a, .options = world_options() };
    a.options.spin_us = spin_a;
    b.options.spin_us = spin_b;
    struct thread ta, tb;
    check_equal(thread_start(&ta, "a", -1, play, &a), 0);
    check_equal(thread_start(&tb, "b", -1, play, &b), 0);
    thread_join(&ta);
    thread_join(&tb);
    check_equal(a.late + b.late, 0);
    check_equal(a.taken + b.taken, 2 * ROUNDS);
    check(a.wakes_sent <= ROUNDS && b.wakes_sent <= ROUNDS);
    reactor_close_all(a.reactor);
    reactor_close_all(b.reactor);
}

static void sleepers_are_always_woken(void)
{
    ping_pong(0, 0);
}

static void spinners_and_sleepers_find_each_other(void)
{
    ping_pong(20, 0);
    ping_pong(50, 50);
}

static bool always(void *context)
{
    return true;
}

static void a_reactor_with_work_of_its_own_does_not_sleep(void)
{
    for (uint32_t spin = 0; spin <= 50; spin += 50) {
        struct reactor_options o = world_options();
        o.spin_us = spin;
        world_open(o);
        world.r->pending = always;
        uint64_t start = clock_now_ns();
        for (int i = 0; i < 10; i++)
            check_equal(world_turn(5000), 0);
        check(clock_now_ns() - start < 40 * NS_PER_SEC); // had it slept: 50 s
        check_equal(world.r->stats.sleeps, 0);
        world_close();
    }
}

static void wake_later(void *arg)
{
    struct timespec t = { .tv_nsec = 30 * 1000 * 1000 };
    clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
    reactor_wake(arg, NULL);
}

static void a_sleep_ends_early_when_somebody_wakes_it(void)
{
    world_open(world_options());
    for (int i = 0; i < 3; i++) {
        struct thread t;
        uint64_t start = clock_now_ns();
        check_equal(thread_start(&t, "waker", -1, wake_later, world.r), 0);
        check_equal(world_turn(60000), 0);
        check(clock_now_ns() - start < 50 * NS_PER_SEC);
        thread_join(&t);
    }
    world_close();
}

TESTS(TEST(sleepers_are_always_woken), TEST(spinners_and_sleepers_find_each_other), TEST(a_reactor_with_work_of_its_own_does_not_sleep),
      TEST(a_sleep_ends_early_when_somebody_wakes_it))
