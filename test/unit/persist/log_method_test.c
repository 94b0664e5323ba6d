// SPDX-License-Identifier: Apache-2.0
// LOG_METHOD_AUTO: each frame by the way that has been quicker for its size.
#include "persist/log.h"

#include "base/test.h"
#include "test/unit/persist/log_lab.h"

#define US    UINT64_C(1000)
#define SMALL 100    // bytes of a value: a block
#define LARGE 20000  // six
#define HUGE  200000 // 49, as all from 16 on

static struct lab *a_lab(uint32_t frames)
{
    return lab_new(&(struct lab_options){
        .method = LOG_METHOD_AUTO, .sync = LOG_SYNC_ALWAYS, .frames = frames, .segment_size = 1 << 20, .segments = 16 });
}

static bool is_linked(const struct lab *l)
{
    return l->count > 0 && l->ops[l->count - 1].op->kind == OP_FSYNC;
}

// A frame that takes so long; did it go as a chain?
static bool one_frame(struct lab *l, uint32_t value, uint64_t dsync_ns, uint64_t linked_ns)
{
    lab_send(l, 0, value);
    lab_step(l);
    check(l->count > 0);
    bool linked = is_linked(l);
    lab_later(l, linked ? linked_ns : dsync_ns);
    while (l->count > 0)
        lab_finish(l, 0);
    lab_step(l);
    check_equal(lab_durable(l, 0), l->sent[0]);
    return linked;
}

static uint32_t chains_of(struct lab *l, uint32_t frames, uint32_t value, uint64_t dsync_ns, uint64_t linked_ns)
{
    uint32_t chains = 0;
    for (uint32_t i = 0; i < frames; i++)
        chains += one_frame(l, value, dsync_ns, linked_ns);
    return chains;
}

static void each_size_of_frames_goes_by_the_way_that_is_quicker_for_it(void)
{
    struct lab *l = a_lab(1);
    (void)chains_of(l, 4, SMALL, 300 * US, 200 * US); // both ways are new, and so is the segment
    (void)chains_of(l, 4, LARGE, 200 * US, 300 * US);
    for (int i = 0; i < 2; i++) {
        check_equal(chains_of(l, 64, SMALL, 300 * US, 200 * US), 63); // and once the other way
        check_equal(atomic_load(&log_stats(l->log)->method), LOG_METHOD_LINKED);
        check_equal(chains_of(l, 64, LARGE, 200 * US, 300 * US), 1);
        check_equal(atomic_load(&log_stats(l->log)->method), LOG_METHOD_DSYNC);
    }
    (void)chains_of(l, 4, HUGE, 300 * US, 200 * US);
    check_equal(chains_of(l, 20, HUGE, 300 * US, 200 * US), 20);
    lab_check_crashes(l);
    lab_free(l);
}

static void the_way_that_was_slower_is_taken_when_it_has_become_quicker(void)
{
    struct lab *l = a_lab(1);
    check(chains_of(l, 64, SMALL, 300 * US, 200 * US) >= 61);
    // One flush that takes ten times as long says little.
    (void)one_frame(l, SMALL, 3000 * US, 2000 * US);
    check(chains_of(l, 30, SMALL, 300 * US, 200 * US) >= 29);
    (void)chains_of(l, 320, SMALL, 150 * US, 250 * US);
    check(chains_of(l, 32, SMALL, 150 * US, 250 * US) <= 1);
    lab_free(l);
}

static void a_chain_is_in_flight_alone_and_others_beside_each_other(void)
{
    struct lab *l = a_lab(4);
    check(chains_of(l, 8, SMALL, 300 * US, 200 * US) >= 6);
    lab_send(l, 0, SMALL);
    lab_step(l);
    check(is_linked(l));
    uint32_t ops = l->count;
    lab_send(l, 1, SMALL);
    lab_later(l, 1000 * US);
    lab_step(l);
    check_equal(l->count, ops);
    lab_settle(l);
    (void)chains_of(l, 512, SMALL, 100 * US, 900 * US);
    lab_send(l, 0, SMALL);
    lab_step(l);
    check(!is_linked(l));
    for (uint32_t i = 1; i < 4; i++) {
        lab_send(l, i, SMALL);
        lab_later(l, 1000 * US);
        lab_step(l);
        lab_later(l, 1000 * US);
        lab_step(l);
        check(l->count == i + 1 && !is_linked(l));
    }
    lab_check_crashes(l);
    lab_settle(l);
    lab_free(l);
}

static void without_always_there_is_nothing_to_choose(void)
{
    struct lab *l = lab_new(&(struct lab_options){ .method = LOG_METHOD_AUTO, .sync = LOG_SYNC_NO });
    lab_send(l, 0, SMALL);
    lab_step(l);
    for (uint32_t i = 0; i < l->count; i++)
        check(l->ops[i].op->kind == OP_WRITE && l->ops[i].op->flags == 0);
    lab_settle(l);
    check_equal(lab_written(l, 0), 1);
    lab_free(l);
}

TESTS(TEST(each_size_of_frames_goes_by_the_way_that_is_quicker_for_it), TEST(the_way_that_was_slower_is_taken_when_it_has_become_quicker),
      TEST(a_chain_is_in_flight_alone_and_others_beside_each_other), TEST(without_always_there_is_nothing_to_choose))
