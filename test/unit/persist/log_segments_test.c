// SPDX-License-Identifier: Apache-2.0
#include "persist/log.h"

#include <errno.h>
#include <stdlib.h>

#include "base/test.h"
#include "test/unit/persist/log_lab.h"

static const enum log_method METHODS[] = { LOG_METHOD_DSYNC, LOG_METHOD_FDATASYNC, LOG_METHOD_LINKED };

static struct lab *a_lab(enum log_method method, enum log_sync sync)
{
    return lab_new(&(struct lab_options){ .method = method, .sync = sync });
}

// ---- segments

static void frames_end_anywhere_in_a_segment_and_the_next_one_goes_on(void)
{
    // Blocks that the first frames take up, and of the frame that may not fit any more.
    for (uint32_t before = 1; before <= 14; before++) {
        for (uint32_t blocks = 1; blocks <= 14; blocks++) {
            struct lab *l = a_lab(METHODS[(before + blocks) % 3], LOG_SYNC_ALWAYS);
            lab_send(l, 0, before * 4096 - 200);
            lab_settle(l);
            lab_send(l, 1, blocks * 4096 - 200);
            lab_settle(l);
            lab_send(l, 2, 1);
            lab_settle(l);
            check_equal(lab_durable(l, 0) + lab_durable(l, 1) + lab_durable(l, 2), 3);
            uint64_t want = before + blocks <= 14 ? 1 : 2;
            want += before + blocks == 14 || (want == 2 && blocks == 14);
            check_equal(atomic_load(&log_stats(l->log)->segments), want);
            check_equal(lab_take_back(l), want - 1);
            lab_check_crashes(l);
            struct lab_found found;
            lab_read(l, l->disk, &found);
            check(found.wrong[0] == '\0' && found.positions[0] == 1 && found.positions[1] == 1 && found.positions[2] == 1);
            lab_free(l);
        }
    }
}

static void a_new_segments_first_frame_is_not_durable_without_its_headers(void)
{
    for (size_t m = 0; m < 2; m++) {
        struct lab *l = a_lab(METHODS[m], LOG_SYNC_ALWAYS);
        lab_send(l, 0, 14 * 4096 - 200);
        lab_settle(l);
        lab_send(l, 0, 10);
        lab_step(l);
        check_equal(l->count, 3);
        check_equal(l->ops[0].op->offset, 0);
        check_equal(l->ops[1].op->offset, 65536 - 4096);
        check_equal(l->ops[2].op->offset, 4096);
        lab_finish(l, 2);
        lab_finish(l, 0);
        lab_step(l);
        check_equal(lab_written(l, 0), 1);
        check_equal(l->count, 1);
        lab_settle(l);
        check_equal(lab_durable(l, 0), 2);
        lab_free(l);
    }
}

static void a_full_segment_goes_back_when_all_in_it_is_durable(void)
{
    struct lab *l = a_lab(LOG_METHOD_FDATASYNC, LOG_SYNC_ALWAYS);
    lab_send(l, 0, 14 * 4096 - 200);
    lab_step(l);
    for (int i = 0; i < 3; i++)
        lab_finish(l, 0);
    lab_step(l); // flush of the first segment
    check_equal(lab_find(l, OP_FSYNC), 0);
    lab_send(l, 0, 14 * 4096 - 200);
    lab_step(l);
    lab_later(l, 1000000);
    lab_step(l);
    check_equal(l->count, 4);
    for (int i = 0; i < 3; i++)
        lab_finish(l, 1);
    lab_step(l);
    check_equal(lab_written(l, 0), 2);
    check_equal(lab_take_back(l), 0);
    lab_finish(l, 0);
    lab_step(l);
    check_equal(lab_durable(l, 0), 1);
    check_equal(lab_take_back(l), 1);
    check_equal(l->segments[0]->s.last_lsn, 1);
    check_equal(l->ops[0].op->fd, l->segments[1]->s.fd); // the second segment's flush
    lab_settle(l);
    check_equal(lab_durable(l, 0), 2);
    lab_free(l);
}

static void with_no_flushes_at_all_a_full_segment_is_synced_before_it_goes_back(void)
{
    struct lab *l = a_lab(LOG_METHOD_DSYNC, LOG_SYNC_NO);
    lab_send(l, 0, 14 * 4096 - 200);
    lab_settle(l);
    check_equal(lab_written(l, 0), 1);
    check_equal(lab_durable(l, 0), 0);
    check_equal(atomic_load(&log_stats(l->log)->flushes), 0);
    lab_send(l, 0, 10);
    lab_step(l);
    check_equal(lab_take_back(l), 0);
    check_equal(lab_find(l, OP_FSYNC), -1);
    lab_later(l, 5000000);
    lab_step(l);
    lab_settle(l);
    check_equal(atomic_load(&log_stats(l->log)->flushes), 1);
    check_equal(lab_take_back(l), 1);
    check_equal(lab_durable(l, 0), 1);
    check_equal(lab_written(l, 0), 2);
    lab_check_crashes(l);
    lab_free(l);
}

static void the_keeper_is_told_when_it_has_something_to_do(void)
{
    struct lab *l = a_lab(LOG_METHOD_DSYNC, LOG_SYNC_ALWAYS);
    check(log_segments_given(l->log));
    lab_step(l);
    check(!log_segments_given(l->log) && !log_told_keeper(l->log));
    lab_send(l, 0, 14 * 4096 - 200);
    lab_step(l);
    check(log_told_keeper(l->log) && !log_told_keeper(l->log)); // one is begun
    lab_settle(l);
    check(!log_told_keeper(l->log));
    lab_send(l, 0, 10);
    lab_settle(l);
    check(log_told_keeper(l->log)); // another, and the first is full
    check_equal(lab_take_back(l), 1);
    log_stop(l->log);
    lab_settle(l);
    check(log_told_keeper(l->log));
    lab_free(l);
}

static void segments_are_begun_in_the_order_of_their_ids(void)
{
    struct lab *l = lab_new(&(struct lab_options){ .method = LOG_METHOD_DSYNC, .segments = 1 });
    lab_step(l);
    lab_give(l);
    lab_give(l);
    check_equal(log_segments_ready(l->log), 3);
    check(log_has_work(l->log));
    lab_step(l);
    check(!log_has_work(l->log));
    for (int i = 0; i < 3; i++) {
        lab_send(l, 0, 14 * 4096 - 200);
        lab_settle(l);
        check_equal(log_segments_ready(l->log), 2 - i);
    }
    struct lab_found found;
    lab_read(l, l->disk, &found);
    check(found.wrong[0] == '\0' && found.positions[0] == 3);
    lab_free(l);
}

static void more_segments_than_may_be_open_wait_for_their_flushes(void)
{
    struct lab *l = lab_new(&(struct lab_options){
        .method = LOG_METHOD_FDATASYNC, .sync = LOG_SYNC_NO, .segments = 30, .segment_size = 4 * 4096, .frames = 8 });
    for (int i = 0; i < 24; i++)
        lab_send(l, 0, 6000); // two blocks: a segment each
    for (int i = 0; i < 400; i++) {
        lab_step(l);
        int write = lab_find(l, OP_WRITE);
        if (write < 0)
            break;
        lab_finish(l, (uint32_t)write);
    }
    check_equal(atomic_load(&log_stats(l->log)->segments), 16);
    check_equal(lab_find(l, OP_FSYNC), 0);
    lab_settle(l);
    check_equal(atomic_load(&log_stats(l->log)->segments), 24);
    check_equal(lab_written(l, 0), 24);
    lab_check_crashes(l);
    lab_free(l);
}

// ---- full

static void without_a_segment_the_log_waits_and_goes_on_when_there_is_one(void)
{
    struct lab *l = lab_new(&(struct lab_options){ .method = LOG_METHOD_DSYNC, .segments = 1 });
    lab_send(l, 0, 14 * 4096 - 200);
    lab_settle(l);
    lab_send(l, 1, 10);
    lab_settle(l);
    check_equal(lab_durable(l, 1), 0);
    check_equal(log_state(l->log), LOG_RUNS); // nobody said that there will be none
    check(log_next_ns(l->log) == UINT64_MAX && !log_wants_wake(l->log, true));
    check_equal(atomic_load(&log_stats(l->log)->pending_bytes), 16 + 16 + 8 + 10);
    check_equal(atomic_load(&l->ports[1].taken_bytes), 0);
    lab_give(l);
    check(log_has_work(l->log));
    lab_settle(l);
    check_equal(lab_durable(l, 1), 1);
    check_equal(atomic_load(&l->ports[1].taken_bytes), 16 + 16 + 8 + 10);
    check_equal(atomic_load(&log_stats(l->log)->pending_bytes), 0);
    lab_free(l);
}

static void trouble_is_told_when_the_last_segment_is_half_full_and_it_resumes_by_itself(void)
{
    struct lab *l = lab_new(&(struct lab_options){ .method = LOG_METHOD_DSYNC, .segments = 2 });
    lab_settle(l);
    check(atomic_load(&l->ports[0].room) == UINT64_MAX);
    log_told(l->log, 0);
    log_segment_trouble(l->log, -ENOSPC);
    check(log_segments_given(l->log));
    lab_step(l);
    check_equal(log_state(l->log), LOG_RUNS);
    check(!log_segments_given(l->log)); // told once
    check_equal(atomic_load(&l->ports[0].room), 28 * 4096 / 8);
    check_equal(atomic_load(&log_stats(l->log)->error), -ENOSPC);
    lab_send(l, 0, 14 * 4096 - 200);
    lab_settle(l);
    check_equal(log_state(l->log), LOG_RUNS);
    lab_send(l, 0, 4 * 4096 - 200);
    lab_settle(l);
    check_equal(log_state(l->log), LOG_RUNS);
    check_equal(atomic_load(&l->ports[3].state), LOG_RUNS);
    log_told(l->log, 0);
    lab_send(l, 0, 3 * 4096 - 200);
    lab_settle(l);
    check_equal(log_state(l->log), LOG_FULL);
    check_equal(atomic_load(&l->ports[3].state), LOG_FULL);
    check(log_told(l->log, 0) == 15);
    check_equal(atomic_load(&l->ports[3].room), 7 * 4096 / 8);
    lab_send(l, 1, 6 * 4096 - 200); // what was under way is written all the same
    lab_settle(l);
    check_equal(lab_durable(l, 1), 1);
    lab_give(l);
    lab_step(l);
    check_equal(log_state(l->log), LOG_RUNS);
    check(log_told(l->log, 0) == 15);
    log_segment_trouble(l->log, 0);
    lab_step(l);
    check(atomic_load(&l->ports[0].room) == UINT64_MAX);
    check_equal(atomic_load(&log_stats(l->log)->error), 0);
    lab_free(l);
}

static void a_disk_that_refuses_segments_for_good_ends_the_log_once_the_ready_ones_are_used_up(void)
{
    struct lab *l = lab_new(&(struct lab_options){ .method = LOG_METHOD_DSYNC, .segments = 1 });
    log_segment_trouble(l->log, -EROFS);
    check(log_segments_given(l->log));
    lab_send(l, 0, 11 * 4096 - 200);
    lab_settle(l);
    check_equal(lab_durable(l, 0), 1);
    check_equal(log_state(l->log), LOG_RUNS); // not full: no room will come
    lab_send(l, 1, 5 * 4096);
    lab_settle(l);
    check_equal(log_state(l->log), LOG_POISONED);
    check_equal(atomic_load(&log_stats(l->log)->error), -EROFS);
    check_equal(lab_durable(l, 1), 0);
    log_segment_trouble(l->log, -ENOSPC);
    check(!log_segments_given(l->log)); // nothing that is told wakes a log that has ended
    lab_free(l);
}

static void the_last_room_is_used_up_by_smaller_units(void)
{
    struct lab *l = lab_new(&(struct lab_options){ .method = LOG_METHOD_DSYNC, .segments = 1 });
    lab_send(l, 0, 11 * 4096 - 200);
    lab_settle(l);
    for (int i = 0; i < 8; i++) // 3 blocks are left
        lab_send(l, 1, 3000);
    lab_settle(l);
    check_equal(lab_durable(l, 1), 4);
    lab_give(l);
    lab_settle(l);
    check_equal(lab_durable(l, 1), 8);
    lab_free(l);
}

TESTS(TEST(frames_end_anywhere_in_a_segment_and_the_next_one_goes_on), TEST(a_new_segments_first_frame_is_not_durable_without_its_headers),
      TEST(a_full_segment_goes_back_when_all_in_it_is_durable), TEST(with_no_flushes_at_all_a_full_segment_is_synced_before_it_goes_back),
      TEST(the_keeper_is_told_when_it_has_something_to_do), TEST(segments_are_begun_in_the_order_of_their_ids),
      TEST(more_segments_than_may_be_open_wait_for_their_flushes), TEST(without_a_segment_the_log_waits_and_goes_on_when_there_is_one),
      TEST(trouble_is_told_when_the_last_segment_is_half_full_and_it_resumes_by_itself),
      TEST(a_disk_that_refuses_segments_for_good_ends_the_log_once_the_ready_ones_are_used_up),
      TEST(the_last_room_is_used_up_by_smaller_units))
