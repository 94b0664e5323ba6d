// SPDX-License-Identifier: Apache-2.0
#include "reactor/wait.h"

#include <errno.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/relax.h"

#define WAIT_YIELD_NS (5 * NS_PER_US)
#define WAIT_LOST_NS  (4 * NS_PER_US) // a yield that takes longer let somebody else run
#define WAIT_MIN_NS   (2 * NS_PER_US)
#define WAIT_LOOKS    16 // between two looks at the clock

int wait_open(struct wait *w, struct reactor *r, uint32_t spin_us)
{
    *w = (struct wait){ .spin_max_ns = spin_us * NS_PER_US, .spin_ns = spin_us * NS_PER_US };
    r->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return r->wake_fd < 0 ? -errno : 0;
}

void wait_close(struct reactor *r)
{
    if (r->wake_fd >= 0)
        close(r->wake_fd);
    r->wake_fd = -1;
}

void wait_wake(struct reactor *target, struct reactor *from)
{
    if (atomic_exchange_explicit(&target->asleep, 0, memory_order_acq_rel) == 0)
        return;
    if (from != NULL) {
        from->stats.wakes_sent++;
        from->stats.syscalls++;
    }
    (void)eventfd_write(target->wake_fd, 1);
}

static void spin_found(struct wait *w)
{
    w->spin_ns = w->spin_max_ns;
}

static void spin_in_vain(struct wait *w)
{
    w->spin_ns = w->spin_ns / 2 >= WAIT_MIN_NS ? w->spin_ns / 2 : 0;
    w->unspun = 0;
}

// The core is shared: somebody ran while we offered it.
static bool lost_core(uint64_t *last_yield_ns)
{
    uint64_t before = clock_now_ns();
    if (before - *last_yield_ns < WAIT_YIELD_NS)
        return false;
    sched_yield();
    *last_yield_ns = clock_now_ns();
    return *last_yield_ns - before > WAIT_LOST_NS;
}

bool wait_spin(struct wait *w, struct reactor *r, uint64_t from_ns, uint64_t limit_ns, wait_ready_fn *ready)
{
    uint64_t length = w->spin_ns < limit_ns ? w->spin_ns : limit_ns;
    uint64_t yielded = from_ns;
    do {
        for (int i = 0; i < WAIT_LOOKS; i++) {
            if (ready(r) || wait_pending(r)) {
                spin_found(w);
                return true;
            }
            cpu_relax();
        }
        if (lost_core(&yielded)) {
            w->spin_ns = 0;
            w->unspun = 0;
            return false;
        }
    } while (clock_now_ns() - from_ns < length);
    // A wait shorter than the spin says nothing about the spin.
    if (length == w->spin_ns)
        spin_in_vain(w);
    return false;
}
