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

// ---- failures

static void check_poisoned(struct lab *l, int error)
{
    lab_step(l);
    check_equal(log_state(l->log), LOG_POISONED);
    check_equal(atomic_load(&log_stats(l->log)->error), error);
    for (uint32_t p = 0; p < 4; p++)
        check_equal(atomic_load(&l->ports[p].state), LOG_POISONED);
    check(log_told(l->log, 0) == 15);
    uint64_t durable = lab_durable(l, 0);
    lab_send(l, 0, 10);
    lab_send_part(l, 1, 10, 9, 2, false);
    lab_later(l, 1000000000);
    while (l->count > 0) {
        lab_step(l);
        uint32_t begun = 0;
        while (!l->ops[begun].started)
            begun++;
        lab_finish(l, begun);
    }
    lab_settle(l); // ends: nothing is submitted any more
    check_equal(lab_durable(l, 0), durable);
    check(log_next_ns(l->log) == UINT64_MAX);
    struct log_batch *spent = log_port_recycle(&l->ports[1]); // nothing piles up
    check(spent != NULL);
    while (spent != NULL) {
        struct log_batch *next = spent->next;
        log_batch_free(spent);
        spent = next;
    }
    lab_check_crashes(l);
    log_stop(l->log);
    check(!log_stopped(l->log));
    lab_step(l);
    check(log_stopped(l->log) && !log_stopped_clean(l->log));
    check_equal(lab_take_back(l), 3);
}

// What the op at `at` of a fresh segment's frame answers: with two headers, the frame, and the sync where there is one.
static void fail_op(enum log_method method, uint32_t at, int32_t result, int error)
{
    struct lab *l = a_lab(method, LOG_SYNC_ALWAYS);
    lab_send(l, 0, 10);
    lab_step(l);
    for (uint32_t i = 0; i < at; i++) {
        lab_finish(l, 0);
        if (l->count == 0)
            lab_step(l); // then the flush
    }
    lab_finish_as(l, 0, result);
    check_poisoned(l, error);
    check_equal(lab_durable(l, 0), 0);
    lab_free(l);
}

static void any_error_of_any_write_or_sync_poisons_the_log(void)
{
    static const int ERRORS[] = { -EIO, -ENOSPC, -ECANCELED, -EINTR, -EAGAIN, -EINVAL, -EBADF, -EFBIG, -EDQUOT, -EOPNOTSUPP, -ENXIO };
    for (size_t i = 0; i < sizeof ERRORS / sizeof ERRORS[0]; i++) {
        for (size_t m = 0; m < 3; m++) {
            uint32_t ops = METHODS[m] == LOG_METHOD_DSYNC ? 3 : 4;
            for (uint32_t at = 0; at < ops; at++)
                fail_op(METHODS[m], at, ERRORS[i], ERRORS[i]);
        }
    }
}

static void a_short_write_of_any_length_poisons_the_log(void)
{
    for (int32_t result = 0; result < 4096; result += result < 2 || result > 4090 ? 1 : 409)
        for (size_t m = 0; m < 3; m++)
            for (uint32_t at = 0; at < 3; at++)
                fail_op(METHODS[m], at, result, -EIO);
    for (size_t m = 0; m < 3; m++)
        fail_op(METHODS[m], 2, 4097, -EIO);
}

static void a_sync_that_answers_anything_but_zero_is_not_done(void)
{
    fail_op(LOG_METHOD_FDATASYNC, 3, 1, -EIO);
    fail_op(LOG_METHOD_LINKED, 3, 4096, -EIO);
}

static void a_sync_cancelled_by_its_link_is_no_success(void)
{
    struct lab *l = a_lab(LOG_METHOD_LINKED, LOG_SYNC_ALWAYS);
    lab_send(l, 0, 10);
    lab_settle(l);
    lab_send(l, 0, 10);
    lab_step(l);
    check_equal(l->count, 2);
    lab_finish_as(l, 0, 512); // short: the kernel cancels the sync, as the lab does
    check_equal(l->count, 0);
    check_poisoned(l, -EIO);
    check_equal(lab_durable(l, 0), 1);
    lab_free(l);
    // And if nothing but the cancelled sync were seen.
    fail_op(LOG_METHOD_LINKED, 3, -ECANCELED, -ECANCELED);
}

static void the_first_failure_is_final_whatever_the_others_say(void)
{
    struct lab *l = a_lab(LOG_METHOD_DSYNC, LOG_SYNC_ALWAYS);
    lab_send(l, 0, 10);
    lab_settle(l);
    for (int i = 0; i < 3; i++) {
        lab_send(l, 0, 10);
        lab_step(l);
        lab_later(l, 1000000);
        lab_step(l);
    }
    check_equal(l->count, 3);
    lab_finish(l, 0);
    lab_finish_as(l, 0, -EIO);
    lab_finish_as(l, 0, -ENOSPC);
    check_poisoned(l, -EIO);
    check_equal(lab_durable(l, 0), 1); // also of the frame that was whole: nothing is told any more
    lab_free(l);
}

static void a_flush_that_returns_after_a_failed_write_tells_nothing(void)
{
    struct lab *l = a_lab(LOG_METHOD_FDATASYNC, LOG_SYNC_ALWAYS);
    lab_send(l, 0, 10);
    lab_settle(l);
    lab_send(l, 0, 10);
    lab_step(l);
    lab_finish(l, 0);
    lab_step(l);
    lab_send(l, 0, 10);
    lab_step(l);
    lab_later(l, 1000000);
    lab_step(l);
    check_equal(l->count, 2);
    lab_finish_as(l, 1, -EIO);
    lab_finish(l, 0);
    check_poisoned(l, -EIO);
    check_equal(lab_durable(l, 0), 1);
    lab_free(l);
}

static void bytes_that_change_behind_their_checksum_make_no_valid_frame(void)
{
    struct lab *l = a_lab(LOG_METHOD_DSYNC, LOG_SYNC_ALWAYS);
    lab_send(l, 0, 10);
    lab_settle(l);
    struct log_batch *b = lab_batch(l, 0, 1000);
    b->data.data[500] ^= 4;
    log_port_send(&l->ports[0], b);
    lab_settle(l);
    struct lab_found found;
    lab_read(l, l->disk, &found);
    check_equal(found.positions[0], 1); // the frame does not verify
    lab_free(l);
}

static void a_chain_whose_bytes_changed_is_never_completed(void)
{
    static const uint32_t PLACES[] = { 0, 100, 60000, 150000, 199999 };
    for (size_t i = 0; i < sizeof PLACES / sizeof PLACES[0]; i++) {
        struct lab *l = lab_new(&(struct lab_options){ .method = LOG_METHOD_DSYNC, .segments = 8 });
        lab_send(l, 0, 10);
        lab_settle(l);
        struct log_batch *b = lab_batch(l, 0, 200000);
        b->data.data[PLACES[i]] ^= 1;
        log_port_send(&l->ports[0], b);
        lab_settle(l);
        check_equal(log_state(l->log), LOG_POISONED);
        check_equal(atomic_load(&log_stats(l->log)->error), -EBADMSG);
        check_equal(lab_durable(l, 0), 1);
        struct lab_found found;
        lab_read(l, l->disk, &found);
        check(found.wrong[0] == '\0' && found.positions[0] == 1 && found.chains == 0);
        lab_check_crashes(l);
        lab_free(l);
    }
}

// ---- stopping

static void a_stop_writes_and_syncs_everything_and_says_so_in_a_last_frame(void)
{
    for (size_t m = 0; m < 3; m++) {
        for (int sync = LOG_SYNC_ALWAYS; sync <= LOG_SYNC_NO; sync++) {
            struct lab *l = a_lab(METHODS[m], (enum log_sync)sync);
            lab_send(l, 0, 10);
            lab_step(l);
            lab_send(l, 0, 10);
            lab_send(l, 1, 20000);
            log_stop(l->log);
            check(log_has_work(l->log));
            check(!log_stopped(l->log));
            lab_step(l);
            check(!log_has_work(l->log) && !log_stopped(l->log));
            lab_settle(l);
            check(log_stopped(l->log) && log_stopped_clean(l->log));
            check(lab_durable(l, 0) == 2 && lab_durable(l, 1) == 1);
            check(log_next_ns(l->log) == UINT64_MAX && !log_has_work(l->log));
            lab_check_crashes(l);
            struct sim_disk *after = sim_disk_crash(l->disk, &l->prng, CRASH_DROP);
            struct lab_found found;
            lab_read(l, after, &found);
            check(found.wrong[0] == '\0' && found.stops == 1 && found.lsn == atomic_load(&log_stats(l->log)->lsn));
            check_equal(found.witness, found.lsn - 1);
            sim_disk_free(after);
            check_equal(lab_take_back(l), 3);
            check_equal(l->segments[0]->s.last_lsn, found.lsn);
            check_equal(l->segments[2]->s.header.first_lsn, 0);
            lab_free(l);
        }
    }
}

// Switched off and on again: ports, positions, LSNs go on, and the segments follow each other.
static void another_log_goes_on_where_one_ended(void)
{
    for (size_t m = 0; m < 3; m++) {
        struct lab *l = a_lab(METHODS[m], LOG_SYNC_ALWAYS);
        struct log_port *ports[LAB_PORTS] = { &l->ports[0], &l->ports[1], &l->ports[2], &l->ports[3] };
        lab_send(l, 0, 10);
        lab_send(l, 0, 10);
        lab_send(l, 2, 10);
        log_stop(l->log);
        lab_settle(l);
        check(log_stopped_clean(l->log));
        check_equal(lab_take_back(l), 3);
        uint64_t lsn = atomic_load(&log_stats(l->log)->lsn);
        log_end(l->log, &l->options.origin);
        check_equal(l->options.origin.lsn, lsn);
        check_equal(l->options.origin.last_segment, 1);
        log_free(l->log);
        check_equal(l->registered, 0);
        check_equal(log_new(&l->log, &l->options, &l->r, ports), 0);
        check(lab_durable(l, 0) == 2 && lab_durable(l, 1) == 0 && lab_durable(l, 2) == 1);
        lab_give(l);
        lab_send(l, 0, 10);
        lab_send_part(l, 1, 10, 7, 2, false);
        lab_send_part(l, 2, 10, 7, 2, false);
        lab_settle(l);
        check(lab_durable(l, 0) == 3 && lab_durable(l, 1) == 1 && lab_durable(l, 2) == 2);
        check_equal(l->segments[3]->s.header.previous_id, 1);
        check_equal(l->segments[3]->s.header.first_lsn, lsn + 1);
        log_stop(l->log);
        lab_settle(l);
        check(log_stopped_clean(l->log));
        lab_free(l);
    }
}

static void a_stop_of_a_log_that_wrote_nothing_writes_nothing(void)
{
    struct lab *l = a_lab(LOG_METHOD_DSYNC, LOG_SYNC_ALWAYS);
    log_stop(l->log);
    lab_step(l);
    check(log_stopped_clean(l->log));
    check_equal(atomic_load(&log_stats(l->log)->frames), 0);
    check_equal(lab_take_back(l), 3);
    lab_free(l);
}

static void a_stop_without_room_for_the_last_frame_is_clean_all_the_same(void)
{
    struct lab *l = lab_new(&(struct lab_options){ .method = LOG_METHOD_DSYNC, .segments = 1 });
    lab_send(l, 0, 14 * 4096 - 200);
    log_stop(l->log);
    lab_settle(l);
    check(log_stopped_clean(l->log));
    struct lab_found found;
    lab_read(l, l->disk, &found);
    check(found.positions[0] == 1 && found.stops == 0);
    lab_free(l);
}

// A log whose only segment is full, with a batch of port 1 that has no room; `before`: the disk is full when it is told to stop.
static struct lab *stopping_without_room(bool before)
{
    struct lab *l = lab_new(&(struct lab_options){ .method = LOG_METHOD_DSYNC, .segments = 1 });
    lab_send(l, 0, 14 * 4096 - 200);
    lab_settle(l);
    lab_send(l, 1, 10);
    if (before)
        log_segment_trouble(l->log, -ENOSPC);
    lab_settle(l);
    log_stop(l->log);
    lab_settle(l);
    check(!log_stopped(l->log));
    return l;
}

static void a_stop_waits_for_a_segment_unless_there_will_be_none(void)
{
    for (int before = 0; before < 2; before++) {
        struct lab *l = stopping_without_room(before);
        log_segment_trouble(l->log, -ENOSPC);
        check(log_segments_given(l->log)); // its host is to be woken
        lab_settle(l);
        check(!log_segments_given(l->log) && !log_stopped(l->log)); // that may have been tried before
        log_segment_trouble(l->log, -ENOSPC);
        lab_settle(l);
        check(log_stopped(l->log) && !log_stopped_clean(l->log));
        check(lab_durable(l, 0) == 1 && lab_durable(l, 1) == 0);
        check(atomic_load(&log_stats(l->log)->pending_bytes) > 0); // so much was not written
        lab_free(l);
    }
}

// It gave up at once while the disk was said to be full, and what was acknowledged in the last second was lost, with room there again.
static void a_stop_on_a_full_disk_writes_what_was_acknowledged_when_room_comes_back(void)
{
    for (int refused = 0; refused < 2; refused++) {
        struct lab *l = stopping_without_room(true);
        if (refused > 0)
            log_segment_trouble(l->log, -ENOSPC);
        lab_settle(l);
        log_segment_trouble(l->log, 0);
        lab_give(l);
        lab_settle(l);
        check(log_stopped_clean(l->log));
        check(lab_durable(l, 0) == 1 && lab_durable(l, 1) == 1);
        lab_check_crashes(l);
        lab_free(l);
    }
}

static void a_stop_does_not_wait_for_a_disk_that_refuses_for_good(void)
{
    struct lab *l = stopping_without_room(false);
    log_segment_trouble(l->log, -EROFS);
    lab_settle(l);
    check(log_stopped(l->log) && !log_stopped_clean(l->log));
    check_equal(lab_durable(l, 1), 0);
    lab_free(l);
}

static void a_stop_does_not_wait_for_a_transaction_that_never_was_whole(void)
{
    struct lab *l = a_lab(LOG_METHOD_DSYNC, LOG_SYNC_ALWAYS);
    lab_send(l, 1, 10);
    lab_send_part(l, 0, 10, 4, 2, false);
    log_stop(l->log);
    lab_settle(l);
    check(log_stopped(l->log) && !log_stopped_clean(l->log));
    check(lab_durable(l, 0) == 0 && lab_durable(l, 1) == 1);
    struct lab_found found;
    lab_read(l, l->disk, &found);
    check(found.wrong[0] == '\0' && found.stops == 0);
    lab_free(l);
}

// ---- memory

static int takes_until_failure; // of those that log_new and log_batch_new make; 0: none fails

static bool take_fails(void)
{
    return takes_until_failure > 0 && --takes_until_failure == 0;
}

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size)
{
    return take_fails() ? NULL : __real_calloc(count, size);
}

void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return take_fails() ? NULL : __real_aligned_alloc(alignment, size);
}

static void without_memory_there_is_no_log_and_nothing_is_lost(void)
{
    struct lab *l = a_lab(LOG_METHOD_DSYNC, LOG_SYNC_ALWAYS);
    struct log_port *ports[LAB_PORTS] = { &l->ports[0], &l->ports[1], &l->ports[2], &l->ports[3] };
    int rc = -ENOMEM, failed = 0;
    for (int nth = 1; rc == -ENOMEM && nth < 20; nth++) {
        struct log *log = l->log;
        takes_until_failure = nth;
        rc = log_new(&log, &l->options, &l->r, ports);
        takes_until_failure = 0;
        check(rc == 0 ? log != NULL : rc == -ENOMEM && log == NULL);
        failed += rc != 0;
        log_free(log);
    }
    check_equal(rc, 0);
    check_equal(failed, 6);
    takes_until_failure = 1;
    check(log_batch_new() == NULL);
    takes_until_failure = 0;
    lab_free(l);
}

TESTS(TEST(without_memory_there_is_no_log_and_nothing_is_lost), TEST(any_error_of_any_write_or_sync_poisons_the_log),
      TEST(a_short_write_of_any_length_poisons_the_log), TEST(a_sync_that_answers_anything_but_zero_is_not_done),
      TEST(a_sync_cancelled_by_its_link_is_no_success), TEST(the_first_failure_is_final_whatever_the_others_say),
      TEST(a_flush_that_returns_after_a_failed_write_tells_nothing), TEST(bytes_that_change_behind_their_checksum_make_no_valid_frame),
      TEST(a_chain_whose_bytes_changed_is_never_completed), TEST(a_stop_writes_and_syncs_everything_and_says_so_in_a_last_frame),
      TEST(another_log_goes_on_where_one_ended), TEST(a_stop_of_a_log_that_wrote_nothing_writes_nothing),
      TEST(a_stop_without_room_for_the_last_frame_is_clean_all_the_same), TEST(a_stop_waits_for_a_segment_unless_there_will_be_none),
      TEST(a_stop_on_a_full_disk_writes_what_was_acknowledged_when_room_comes_back),
      TEST(a_stop_does_not_wait_for_a_disk_that_refuses_for_good), TEST(a_stop_does_not_wait_for_a_transaction_that_never_was_whole))
