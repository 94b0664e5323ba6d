// SPDX-License-Identifier: Apache-2.0
#include "reactor/ticks.h"

#include <errno.h>
#include <pthread.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#define CALIBRATE_NS NS_PER_MS

static pthread_once_t once = PTHREAD_ONCE_INIT;
static double rate; // nanoseconds of a tick; 0 = the counter cannot be trusted

#if defined(__x86_64__)
// "Invariant TSC" (Intel SDM 3B 18.17.1, AMD APM 3 E.4.6): constant rate in every power state.
static bool counter_is_steady(void)
{
    uint32_t a, b, c, d;
    return __get_cpuid(0x80000007, &a, &b, &c, &d) != 0 && (d >> 8 & 1) != 0;
}
#elif defined(__aarch64__)
static bool counter_is_steady(void)
{
    return true;
}
#else
static bool counter_is_steady(void)
{
    return false;
}
#endif

static void calibrate(void)
{
    if (!counter_is_steady())
        return;
    uint64_t ns = clock_now_ns(), ticks = ticks_counter(), now;
    do
        now = clock_now_ns();
    while (now - ns < CALIBRATE_NS);
    uint64_t passed = ticks_counter() - ticks;
    if (passed > 0 && passed < UINT64_MAX / 2)
        rate = (double)(now - ns) / (double)passed;
}

void ticks_open(struct reactor *r)
{
    pthread_once(&once, calibrate);
    r->ns_per_tick = rate;
    r->tick_source = rate > 0 ? REACTOR_TICKS_COUNTER : REACTOR_TICKS_CLOCK;
}

void reactor_nap(struct reactor *r, uint64_t ns)
{
    if (r->tick_source == REACTOR_TICKS_TURN)
        return;
    struct timespec left = { .tv_sec = (time_t)(ns / NS_PER_SEC), .tv_nsec = (long)(ns % NS_PER_SEC) };
    while (clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left) == EINTR)
        ;
}
