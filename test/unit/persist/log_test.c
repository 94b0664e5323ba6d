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

// ---- written, synced, durable

static void nothing_is_durable_before_its_flush_has_returned(void)
{
    struct lab *l = a_lab(LOG_METHOD_FDATASYNC, LOG_SYNC_ALWAYS);
    check_equal(lab_send(l, 0, 100), 1);
    lab_step(l);
    check_equal(l->count, 3); // two headers and the frame
    for (int i = 0; i < 3; i++) {
        check_equal(lab_written(l, 0), 0);
        lab_finish(l, 0);
        lab_step(l);
    }
    check_equal(lab_written(l, 0), 1);
    check_equal(lab_durable(l, 0), 0);
    check_equal(l->count, 1);
    check_equal(l->ops[0].op->kind, OP_FSYNC);
    check(log_told(l->log, 0) == 0);
    lab_finish(l, 0);
    check_equal(lab_durable(l, 0), 0);
    lab_step(l);
    check_equal(lab_durable(l, 0), 1);
    check(log_told(l->log, 0) == 1);
    check(log_told(l->log, 0) == 0);
    lab_check_crashes(l);
    lab_free(l);
}

static void a_synced_write_is_durable_when_it_and_its_headers_are_done(void)
{
    struct lab *l = a_lab(LOG_METHOD_DSYNC, LOG_SYNC_ALWAYS);
    lab_send(l, 2, 100);
    lab_step(l);
    check_equal(l->count, 3);
    for (uint32_t i = 0; i < 3; i++)
        check(l->ops[i].op->flags == OP_DSYNC && l->ops[i].op->kind == OP_WRITE);
    lab_finish(l, 2); // the frame first
    lab_step(l);
    check_equal(lab_durable(l, 2), 0);
    lab_finish(l, 1);
    lab_step(l);
    check_equal(lab_durable(l, 2), 0);
    lab_check_crashes(l);
    lab_finish(l, 0);
    lab_step(l);
    check_equal(lab_durable(l, 2), 1);
    check(log_told(l->log, 0) == 4);
    lab_check_crashes(l);
    lab_send(l, 2, 100);
    lab_step(l);
    check_equal(l->count, 1); // the headers are there
    lab_free(l);
}

static void a_linked_frame_is_a_chain_of_ops_that_ends_with_its_sync(void)
{
    struct lab *l = a_lab(LOG_METHOD_LINKED, LOG_SYNC_ALWAYS);
    lab_send(l, 1, 100);
    lab_step(l);
    check_equal(l->count, 4);
    check(l->ops[0].link && l->ops[1].link && l->ops[2].link && !l->ops[3].link && l->ops[3].op->kind == OP_FSYNC);
    check(!l->ops[1].started && !l->ops[3].started);
    lab_send(l, 1, 100);
    lab_step(l);
    check_equal(l->count, 4); // one frame at a time
    for (int i = 0; i < 3; i++)
        lab_finish(l, 0);
    lab_step(l);
    check_equal(lab_durable(l, 1), 0);
    lab_finish(l, 0);
    lab_step(l);
    check_equal(lab_durable(l, 1), 1);
    check_equal(l->count, 2);
    lab_settle(l);
    check_equal(lab_durable(l, 1), 2);
    lab_check_crashes(l);
    lab_free(l);
}

static void durable_is_a_prefix_whatever_the_order_of_completions(void)
{
    struct lab *l = a_lab(LOG_METHOD_DSYNC, LOG_SYNC_ALWAYS);
    lab_send(l, 0, 10);
    lab_settle(l);
    for (int i = 0; i < 4; i++) {
        lab_send(l, 0, 10);
        lab_later(l, 1000000);
        lab_step(l); // takes it
        lab_later(l, 1000000);
        lab_step(l); // it has waited for company long enough
    }
    check_equal(l->count, 4);
    lab_finish(l, 3);
    lab_finish(l, 1);
    lab_finish(l, 1);
    lab_step(l);
    check_equal(lab_durable(l, 0), 1);
    check_equal(lab_written(l, 0), 1);
    lab_check_crashes(l);
    lab_finish(l, 0);
    lab_step(l);
    check_equal(lab_durable(l, 0), 5);
    lab_check_crashes(l);
    lab_free(l);
}

static void no_more_frames_are_in_flight_than_allowed(void)
{
    for (uint32_t frames = 1; frames <= LOG_FRAMES_MAX; frames++) {
        struct lab *l = lab_new(&(struct lab_options){ .method = LOG_METHOD_DSYNC, .frames = frames, .segments = 6 });
        lab_send(l, 0, 10);
        lab_settle(l);
        for (uint32_t i = 0; i < 12; i++) {
            lab_send(l, i % 4, 10);
            lab_step(l);
            lab_later(l, 1000000);
            lab_step(l);
            check_equal(l->count, i + 1 < frames ? i + 1 : frames);
            check(log_next_ns(l->log) != 0);
        }
        check_equal(lab_durable(l, 0), 1);
        lab_settle(l);
        for (uint32_t p = 0; p < 4; p++)
            check_equal(lab_durable(l, p), l->sent[p]);
        lab_free(l);
    }
}

static void a_full_house_of_frames_waits_for_completions_alone(void)
{
    struct lab *l = lab_new(&(struct lab_options){ .method = LOG_METHOD_DSYNC, .frames = 1 });
    lab_send(l, 0, 10);
    lab_step(l);
    lab_send(l, 0, 10);
    lab_step(l);
    lab_later(l, 1000000);
    lab_step(l);
    check(log_next_ns(l->log) == UINT64_MAX && !log_wants_wake(l->log, true));
    lab_settle(l);
    lab_free(l);
}

static void a_flush_covers_what_was_written_before_it_and_nothing_else(void)
{
    struct lab *l = a_lab(LOG_METHOD_FDATASYNC, LOG_SYNC_ALWAYS);
    lab_send(l, 0, 10);
    lab_settle(l);
    lab_send(l, 0, 10); // 2
    lab_step(l);
    lab_finish(l, 0);
    lab_step(l);
    check_equal(lab_find(l, OP_FSYNC), 0); // of 2
    lab_send(l, 0, 10);                    // 3: written while that flush is under way
    lab_step(l);
    check_equal(l->count, 1);
    lab_later(l, 1000000);
    lab_step(l);
    check_equal(l->count, 2);
    lab_finish(l, 1);
    lab_step(l);
    check_equal(lab_written(l, 0), 3);
    check_equal(lab_durable(l, 0), 1);
    check_equal(l->count, 1); // one flush at a time
    lab_finish(l, 0);
    lab_step(l);
    check_equal(lab_durable(l, 0), 2);
    lab_check_crashes(l);
    check_equal(l->count, 1); // the next flush
    lab_finish(l, 0);
    lab_step(l);
    check_equal(lab_durable(l, 0), 3);
    lab_free(l);
}

// ---- group commit

static void what_comes_while_a_flush_is_under_way_goes_out_together(void)
{
    for (size_t m = 0; m < 3; m++) {
        struct lab *l = a_lab(METHODS[m], LOG_SYNC_ALWAYS);
        lab_send(l, 0, 10);
        lab_step(l);
        for (uint32_t i = 0; i < 64; i++) {
            lab_send(l, i % 4, 128);
            lab_step(l);
        }
        check_equal(atomic_load(&log_stats(l->log)->frames), 1);
        lab_settle(l);
        check_equal(atomic_load(&log_stats(l->log)->frames), 2);
        check_equal(atomic_load(&log_stats(l->log)->flushes), 2);
        check_equal(atomic_load(&log_stats(l->log)->batches), 65);
        check(atomic_load(&log_stats(l->log)->sync_ns_total) > 0 && atomic_load(&log_stats(l->log)->sync_ns_max) > 0);
        for (uint32_t p = 0; p < 4; p++)
            check_equal(lab_durable(l, p), l->sent[p]);
        lab_free(l);
    }
}

static void enough_bytes_for_a_frame_of_their_own_do_not_wait(void)
{
    struct lab *l = lab_new(&(struct lab_options){ .method = LOG_METHOD_DSYNC, .segment_size = 4 << 20 });
    lab_send(l, 0, 10);
    lab_step(l);
    lab_send(l, 0, 100000);
    lab_send(l, 1, 100000);
    lab_step(l);
    check_equal(l->count, 3);
    lab_send(l, 1, 100000);
    lab_step(l);
    check_equal(l->count, 4);
    check_equal(l->ops[3].op->len, 74 * 4096);
    lab_settle(l);
    lab_check_crashes(l);
    lab_free(l);
}

static void a_unit_ends_with_the_batch_that_makes_it_large_enough(void)
{
    struct lab *l = lab_new(&(struct lab_options){ .method = LOG_METHOD_DSYNC, .segment_size = 8 << 20 });
    for (uint32_t i = 0; i < 12; i++)
        lab_send(l, 0, 90000); // three make 256 KiB
    lab_send(l, 1, 10);
    lab_step(l);
    check_equal(l->count, 2 + 4);
    lab_settle(l);
    check_equal(atomic_load(&log_stats(l->log)->frames), 4);
    check_equal(lab_durable(l, 0), 12);
    check_equal(lab_durable(l, 1), 1);
    lab_free(l);
}

static void a_port_with_much_does_not_keep_the_others_waiting(void)
{
    struct lab *l = lab_new(&(struct lab_options){ .method = LOG_METHOD_DSYNC, .segment_size = 8 << 20, .frames = 1 });
    for (uint32_t i = 0; i < 20; i++)
        lab_send(l, 0, 300000);
    for (uint32_t p = 1; p < 4; p++)
        lab_send(l, p, 10);
    lab_step(l);
    for (int i = 0; i < 3; i++)
        lab_finish(l, 0);
    lab_step(l);
    lab_finish(l, 0);
    lab_step(l);
    check_equal(lab_durable(l, 0) <= 2, 1);
    for (uint32_t p = 1; p < 4; p++)
        check_equal(lab_durable(l, p), 1);
    lab_settle(l);
    lab_free(l);
}

static void a_lone_batch_waits_for_nothing(void)
{
    for (size_t m = 0; m < 3; m++) {
        struct lab *l = a_lab(METHODS[m], LOG_SYNC_ALWAYS);
        lab_send(l, 0, 10);
        lab_step(l);
        check(l->count > 0);
        lab_settle(l);
        lab_free(l);
    }
}

static void the_host_is_woken_only_when_it_would_not_look_by_itself(void)
{
    struct lab *l = a_lab(LOG_METHOD_DSYNC, LOG_SYNC_ALWAYS);
    lab_step(l);
    check(log_next_ns(l->log) == UINT64_MAX);
    check(log_wants_wake(l->log, false) && log_wants_wake(l->log, true) && !log_has_work(l->log));
    lab_send(l, 0, 10);
    check(log_has_work(l->log));
    lab_step(l);
    check(!log_wants_wake(l->log, true));
    check_equal(log_next_ns(l->log), 400000); // somebody might have come meanwhile
    lab_send(l, 0, 10);
    check(!log_has_work(l->log));
    lab_step(l);
    check_equal(log_next_ns(l->log), 200000);
    lab_later(l, 200000);
    check_equal(log_next_ns(l->log), 0);
    lab_step(l);
    check_equal(l->count, 4);
    lab_settle(l);
    check(log_wants_wake(l->log, false));
    // everysec: nobody waits, but for those whose batch says so.
    log_set_sync(l->log, LOG_SYNC_EVERYSEC);
    check(log_has_work(l->log));
    lab_step(l);
    check(!log_has_work(l->log) && log_wants_wake(l->log, false));
    lab_send(l, 0, 10);
    lab_step(l);
    check_equal(l->count, 0);
    check_equal(log_next_ns(l->log), 5000000);
    check(!log_wants_wake(l->log, false) && log_wants_wake(l->log, true) && !log_has_work(l->log));
    lab_send_synced(l, 1, 10);
    check(log_has_work(l->log));
    lab_step(l);
    check_equal(l->count, 1);
    check(log_wants_wake(l->log, false) && log_next_ns(l->log) == UINT64_MAX); // the write's return is an event
    lab_settle(l);
    check_equal(lab_durable(l, 1), 1);
    lab_send_part(l, 1, 10, 1, 2, false); // whose other part may come from anybody
    lab_step(l);
    lab_later(l, 5000000);
    lab_step(l);
    check(log_wants_wake(l->log, false));
    lab_free(l);
}

// ---- everysec, no, and whoever wants more

static void everysec_flushes_half_a_second_after_the_first_write(void)
{
    struct lab *l = a_lab(LOG_METHOD_DSYNC, LOG_SYNC_EVERYSEC);
    lab_send(l, 0, 10);
    lab_step(l);
    check_equal(l->count, 0); // waits for company
    uint64_t built = atomic_load(&log_stats(l->log)->oldest_ns);
    check_equal(built, l->r.now_ns);
    lab_later(l, 5000000);
    lab_step(l);
    check_equal(l->count, 3);
    check_equal(l->ops[0].op->flags, 0);
    for (int i = 0; i < 3; i++)
        lab_finish(l, 0);
    lab_step(l);
    check_equal(lab_written(l, 0), 1);
    check(log_told(l->log, 0) == 1);
    check_equal(l->count, 0);
    check_equal(log_next_ns(l->log), 500000000);
    lab_later(l, 499999999);
    lab_step(l);
    check_equal(l->count, 0);
    check_equal(atomic_load(&log_stats(l->log)->oldest_ns), built);
    lab_later(l, 1);
    lab_step(l);
    check_equal(lab_find(l, OP_FSYNC), 0);
    check_equal(atomic_load(&log_stats(l->log)->oldest_ns), built);
    lab_send(l, 0, 10);
    lab_later(l, 5000000);
    lab_step(l);
    lab_later(l, 5000000);
    lab_step(l);
    check_equal(l->count, 2);
    lab_finish(l, 1);
    lab_step(l);
    lab_finish(l, 0);
    lab_step(l);
    check_equal(lab_durable(l, 0), 1);
    check_equal(atomic_load(&log_stats(l->log)->oldest_ns), built + 505000000);
    lab_later(l, 500000000);
    lab_step(l);
    lab_finish(l, 0);
    lab_step(l);
    check_equal(lab_durable(l, 0), 2);
    check_equal(atomic_load(&log_stats(l->log)->oldest_ns), 0);
    lab_free(l);
}

static void a_flush_of_a_full_segment_does_not_put_off_what_is_due_in_the_next(void)
{
    for (int late = 0; late <= 1; late++) {
        struct lab *l = a_lab(LOG_METHOD_DSYNC, LOG_SYNC_EVERYSEC);
        lab_send(l, 0, 13 * 4096 - 200);
        lab_step(l);
        lab_later(l, 5000000);
        lab_settle(l);
        lab_later(l, late ? 490000000 : 10000000);
        lab_send(l, 0, 8000); // does not fit
        lab_step(l);
        lab_later(l, 5000000);
        lab_step(l);
        check_equal(l->count, 3);
        while (lab_find(l, OP_WRITE) >= 0)
            lab_finish(l, (uint32_t)lab_find(l, OP_WRITE));
        lab_step(l);
        check_equal(l->count, 1); // the first segment's flush, so that it can go back
        check_equal(l->ops[0].op->fd, l->segments[0]->s.fd);
        lab_later(l, 5000000);
        lab_finish(l, 0);
        lab_step(l);
        check_equal(lab_durable(l, 0), 1);
        check_equal(lab_take_back(l), 1);
        check_equal(lab_find(l, OP_FSYNC), late ? 0 : -1);
        check(late || log_next_ns(l->log) > 470000000);
        lab_later(l, 500000000);
        lab_settle(l);
        check_equal(lab_durable(l, 0), 2);
        lab_free(l);
    }
}

static void a_batch_that_somebody_waits_for_is_flushed_at_once(void)
{
    for (size_t m = 0; m < 3; m++) {
        for (int sync = LOG_SYNC_EVERYSEC; sync <= LOG_SYNC_NO; sync++) {
            struct lab *l = a_lab(METHODS[m], (enum log_sync)sync);
            lab_send(l, 0, 10);
            lab_send_synced(l, 1, 10);
            lab_settle(l);
            check_equal(lab_durable(l, 1), 1);
            check_equal(lab_durable(l, 0), 1);
            lab_send(l, 1, 10);
            lab_later(l, 10000000);
            lab_settle(l);
            lab_later(l, 10000000);
            lab_settle(l);
            check_equal(lab_written(l, 1), 2);
            check_equal(lab_durable(l, 1), 1);
            atomic_store(&l->ports[0].wants_sync, true); // all of its own is durable
            lab_settle(l);
            check_equal(lab_durable(l, 1), 1);
            atomic_store(&l->ports[1].wants_sync, true);
            lab_settle(l);
            check_equal(lab_durable(l, 1), 2);
            lab_free(l);
        }
    }
}

static void a_batch_says_it_by_itself_too(void)
{
    struct lab *l = a_lab(LOG_METHOD_DSYNC, LOG_SYNC_EVERYSEC);
    struct log_batch *b = lab_batch(l, 0, 10);
    b->sync = true;
    log_port_push(&l->ports[0].in, b); // the flag of its port is not seen yet
    lab_settle(l);
    check_equal(lab_durable(l, 0), 1);
    lab_free(l);
}

static void whoever_wants_a_sync_of_what_is_still_in_the_port_gets_it(void)
{
    struct lab *l = a_lab(LOG_METHOD_DSYNC, LOG_SYNC_EVERYSEC);
    lab_send(l, 0, 10);
    lab_step(l); // waits for company
    lab_send(l, 0, 10);
    atomic_store(&l->ports[0].wants_sync, true);
    lab_settle(l);
    check_equal(lab_durable(l, 0), 2);
    lab_free(l);
}

static void without_syncs_what_is_written_is_told(void)
{
    struct lab *l = a_lab(LOG_METHOD_DSYNC, LOG_SYNC_NO);
    lab_send(l, 3, 10);
    lab_step(l);
    check_equal(l->count, 3);
    lab_settle(l);
    check_equal(lab_written(l, 3), 1);
    check_equal(lab_durable(l, 3), 0);
    check(log_told(l->log, 0) == 8);
    check(log_next_ns(l->log) == UINT64_MAX);
    lab_later(l, UINT64_C(10000000000));
    lab_settle(l);
    check_equal(lab_durable(l, 3), 0);
    lab_free(l);
}

static void without_syncs_too_what_was_promised_is_flushed(void)
{
    struct lab *l = a_lab(LOG_METHOD_DSYNC, LOG_SYNC_NO);
    lab_send(l, 3, 10);
    lab_settle(l);
    struct log_batch *b = lab_batch(l, 2, 10);
    b->soon = true;
    log_port_send(&l->ports[2], b);
    lab_settle(l);
    check_equal(lab_written(l, 2), 1);
    uint64_t due = log_next_ns(l->log);
    check(due > 400000000 && due <= 500000000); // since the first write that is not flushed
    lab_later(l, due - 1);
    lab_step(l);
    check_equal(l->count, 0);
    lab_later(l, 1);
    lab_settle(l);
    check_equal(lab_durable(l, 2), 1);
    check_equal(lab_durable(l, 3), 1);
    lab_send(l, 2, 10); // promises nothing, and may use the memory of the one that did
    lab_settle(l);
    check(log_next_ns(l->log) == UINT64_MAX);
    lab_free(l);
}

static void what_everysec_promised_outlives_the_policy(void)
{
    struct lab *l = a_lab(LOG_METHOD_DSYNC, LOG_SYNC_EVERYSEC);
    struct log_batch *b = lab_batch(l, 0, 10);
    b->soon = true;
    log_port_send(&l->ports[0], b);
    lab_step(l);
    log_set_sync(l->log, LOG_SYNC_NO);
    lab_settle(l);
    check_equal(lab_written(l, 0), 1);
    check_equal(lab_durable(l, 0), 0);
    lab_later(l, 501000000);
    lab_settle(l);
    check_equal(lab_durable(l, 0), 1);
    lab_free(l);
}

static void a_change_of_policy_takes_effect_and_skips_nothing(void)
{
    for (size_t m = 0; m < 3; m++) {
        struct lab *l = a_lab(METHODS[m], LOG_SYNC_NO);
        lab_send(l, 0, 10);
        lab_settle(l);
        log_set_sync(l->log, LOG_SYNC_ALWAYS);
        check(log_has_work(l->log));
        lab_send(l, 1, 10); // synced by itself, and yet not durable before what lies before it
        lab_step(l);
        check_equal(atomic_load(&log_stats(l->log)->sync), LOG_SYNC_ALWAYS);
        int fsync = lab_find(l, OP_FSYNC);
        check_equal(fsync, 0);
        lab_later(l, 1000000);
        lab_step(l);
        while (l->count > 1)
            lab_finish(l, 1);
        lab_step(l);
        check_equal(lab_durable(l, 0), 0);
        check_equal(lab_durable(l, 1), 0);
        lab_check_crashes(l);
        lab_finish(l, 0);
        lab_step(l);
        check_equal(lab_durable(l, 0), 1);
        lab_settle(l);
        check_equal(lab_durable(l, 1), 1);
        lab_check_crashes(l);
        lab_free(l);
    }
}

// ---- witnesses

static void a_silence_of_five_milliseconds_is_sealed_once(void)
{
    for (size_t m = 0; m < 3; m++) {
        struct lab *l = a_lab(METHODS[m], LOG_SYNC_ALWAYS);
        lab_settle(l);
        lab_later(l, 1000000000);
        lab_settle(l);
        check_equal(atomic_load(&log_stats(l->log)->frames), 0); // nothing was told, nothing is sealed
        lab_send(l, 0, 10);
        lab_settle(l);
        uint64_t next = log_next_ns(l->log);
        check(next > 4000000 && next <= 5000000);
        lab_later(l, next - 1);
        lab_step(l);
        check_equal(l->count, 0);
        lab_later(l, 1);
        lab_step(l);
        check(l->count > 0);
        lab_settle(l);
        check_equal(atomic_load(&log_stats(l->log)->frames), 2);
        check(log_next_ns(l->log) == UINT64_MAX);
        lab_later(l, 1000000000);
        lab_settle(l);
        check_equal(atomic_load(&log_stats(l->log)->frames), 2);
        struct lab_found found;
        lab_read(l, l->disk, &found);
        check(found.wrong[0] == '\0' && found.seals == 1 && found.witness == 1 && found.lsn == 2);
        lab_free(l);
    }
}

static void what_a_later_frame_witnesses_needs_no_seal(void)
{
    struct lab *l = a_lab(LOG_METHOD_DSYNC, LOG_SYNC_ALWAYS);
    for (int i = 0; i < 5; i++) {
        lab_send(l, 0, 10);
        lab_settle(l);
        lab_later(l, 3000000);
        lab_settle(l);
    }
    check_equal(atomic_load(&log_stats(l->log)->frames), 5);
    lab_later(l, 3000000);
    lab_settle(l);
    check_equal(atomic_load(&log_stats(l->log)->frames), 6);
    lab_free(l);
}

static void what_is_not_durable_is_not_sealed(void)
{
    struct lab *l = a_lab(LOG_METHOD_DSYNC, LOG_SYNC_NO);
    lab_send(l, 0, 10);
    lab_settle(l);
    lab_later(l, 1000000000);
    lab_settle(l);
    check_equal(atomic_load(&log_stats(l->log)->frames), 1);
    lab_free(l);
}

static void a_seal_begins_no_segment(void)
{
    struct lab *l = a_lab(LOG_METHOD_DSYNC, LOG_SYNC_ALWAYS);
    lab_send(l, 0, 14 * 4096 - 200);
    lab_settle(l);
    check(log_next_ns(l->log) == UINT64_MAX);
    lab_later(l, 1000000000);
    lab_settle(l);
    check_equal(atomic_load(&log_stats(l->log)->frames), 1);
    lab_free(l);
}

// ---- beginning

static void a_log_goes_on_where_its_origin_says(void)
{
    struct lab *l = a_lab(LOG_METHOD_DSYNC, LOG_SYNC_ALWAYS);
    l->log = log_free(l->log);
    struct log_port *ports[LAB_PORTS] = { &l->ports[0], &l->ports[1], &l->ports[2], &l->ports[3] };
    l->options.origin.lsn = 41;
    l->options.origin.last_crc = 0x1234;
    l->options.origin.last_segment = 2;
    check_equal(log_new(&l->log, &l->options, &l->r, ports), 0);
    check_equal(atomic_load(&log_stats(l->log)->lsn), 41);
    log_segment_give(l->log, &l->segments[2]->s);
    lab_send(l, 0, 10);
    lab_settle(l);
    const struct segment_header *h = &l->segments[2]->s.header;
    check(h->first_lsn == 42 && h->previous_id == 2 && h->previous_lsn == 41 && h->previous_crc == 0x1234);
    check_equal(atomic_load(&log_stats(l->log)->lsn), 42);
    check_equal(atomic_load(&log_stats(l->log)->durable_lsn), 42);
    check_equal(lab_durable(l, 0), 1);
    lab_free(l);
}

static void a_reactor_that_registers_no_buffers_is_used_without(void)
{
    struct lab *l = lab_new(&(struct lab_options){ .method = LOG_METHOD_FDATASYNC, .no_buffers = true });
    check_equal(l->registered, 0);
    lab_send(l, 0, 10);
    lab_settle(l); // the lab looks at each op
    check_equal(lab_durable(l, 0), 1);
    lab_free(l);
    l = a_lab(LOG_METHOD_FDATASYNC, LOG_SYNC_ALWAYS);
    check_equal(l->registered, 1);
    lab_free(l);
}

static void what_was_never_written_is_freed_with_the_log(void)
{
    struct lab *l = lab_new(&(struct lab_options){ .method = LOG_METHOD_DSYNC, .segments = 1 });
    lab_send(l, 0, 14 * 4096 - 200);
    lab_settle(l);
    lab_send(l, 1, 200000); // a unit without a place
    lab_send_part(l, 2, 10, 4, 2, false);
    lab_settle(l);
    lab_free(l); // the leak checker is the judge
    check(log_free(NULL) == NULL);
}
TESTS(TEST(nothing_is_durable_before_its_flush_has_returned), TEST(a_synced_write_is_durable_when_it_and_its_headers_are_done),
      TEST(a_linked_frame_is_a_chain_of_ops_that_ends_with_its_sync), TEST(durable_is_a_prefix_whatever_the_order_of_completions),
      TEST(no_more_frames_are_in_flight_than_allowed), TEST(a_full_house_of_frames_waits_for_completions_alone),
      TEST(a_flush_covers_what_was_written_before_it_and_nothing_else), TEST(what_comes_while_a_flush_is_under_way_goes_out_together),
      TEST(enough_bytes_for_a_frame_of_their_own_do_not_wait), TEST(a_unit_ends_with_the_batch_that_makes_it_large_enough),
      TEST(a_port_with_much_does_not_keep_the_others_waiting), TEST(a_lone_batch_waits_for_nothing),
      TEST(the_host_is_woken_only_when_it_would_not_look_by_itself), TEST(everysec_flushes_half_a_second_after_the_first_write),
      TEST(a_flush_of_a_full_segment_does_not_put_off_what_is_due_in_the_next), TEST(a_batch_that_somebody_waits_for_is_flushed_at_once),
      TEST(a_batch_says_it_by_itself_too), TEST(whoever_wants_a_sync_of_what_is_still_in_the_port_gets_it),
      TEST(without_syncs_what_is_written_is_told), TEST(without_syncs_too_what_was_promised_is_flushed),
      TEST(what_everysec_promised_outlives_the_policy), TEST(a_change_of_policy_takes_effect_and_skips_nothing),
      TEST(a_silence_of_five_milliseconds_is_sealed_once), TEST(what_a_later_frame_witnesses_needs_no_seal),
      TEST(what_is_not_durable_is_not_sealed), TEST(a_seal_begins_no_segment), TEST(a_log_goes_on_where_its_origin_says),
      TEST(a_reactor_that_registers_no_buffers_is_used_without), TEST(what_was_never_written_is_freed_with_the_log))
