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

// ---- transactions

static void a_transaction_waits_for_all_its_parts(void)
{
    struct lab *l = a_lab(LOG_METHOD_DSYNC, LOG_SYNC_ALWAYS);
    lab_send_part(l, 0, 10, 77, 3, false);
    lab_send(l, 0, 10); // behind it on the same port
    lab_send(l, 1, 10); // has nothing to do with it
    lab_settle(l);
    check_equal(lab_durable(l, 0), 0);
    check_equal(lab_durable(l, 1), 1);
    lab_send_part(l, 1, 10, 77, 3, false);
    lab_settle(l);
    check_equal(lab_durable(l, 0), 0);
    check_equal(lab_durable(l, 1), 1);
    check(log_next_ns(l->log) == UINT64_MAX); // nothing but another batch helps
    check(log_wants_wake(l->log, false));
    lab_send_part(l, 2, 0, 77, 3, true);
    lab_settle(l);
    check_equal(lab_durable(l, 0), 2);
    check_equal(lab_durable(l, 1), 2);
    check_equal(lab_durable(l, 2), 1);
    lab_check_crashes(l);
    struct lab_found found;
    lab_read(l, l->disk, &found);
    check(found.wrong[0] == '\0' && found.units == 2);
    lab_free(l);
}

static void transactions_that_hang_together_are_cut_together(void)
{
    struct lab *l = a_lab(LOG_METHOD_DSYNC, LOG_SYNC_ALWAYS);
    // 1 needs 0 and 1, behind which lies 2 of 1 and 2, behind which lies 3 of 2 and 3.
    lab_send_part(l, 0, 10, 1, 2, false);
    lab_send_part(l, 1, 10, 2, 2, false);
    lab_send_part(l, 1, 10, 1, 2, false);
    lab_send_part(l, 2, 10, 3, 2, false);
    lab_send_part(l, 2, 10, 2, 2, false);
    lab_settle(l);
    for (uint32_t p = 0; p < 4; p++)
        check_equal(lab_written(l, p), 0);
    lab_send_part(l, 3, 10, 3, 2, false);
    lab_settle(l);
    check_equal(lab_durable(l, 0), 1);
    check_equal(lab_durable(l, 1), 2);
    check_equal(lab_durable(l, 2), 2);
    check_equal(lab_durable(l, 3), 1);
    struct lab_found found;
    lab_read(l, l->disk, &found);
    check(found.wrong[0] == '\0' && found.units == 1);
    lab_free(l);
}

static void transactions_without_any_record_need_no_frame(void)
{
    struct lab *l = a_lab(LOG_METHOD_DSYNC, LOG_SYNC_ALWAYS);
    lab_send_part(l, 0, 0, 1, 2, true);
    lab_send_part(l, 1, 0, 1, 2, true);
    lab_settle(l);
    check_equal(l->log != NULL, 1);
    check_equal(atomic_load(&log_stats(l->log)->frames), 0);
    check(lab_durable(l, 0) == 1 && lab_durable(l, 1) == 1 && lab_written(l, 1) == 1);
    lab_send(l, 2, 10);
    lab_step(l);
    lab_send_part(l, 0, 0, 2, 2, true);
    lab_send_part(l, 1, 0, 2, 2, true);
    lab_later(l, 1000000);
    lab_step(l);
    lab_later(l, 1000000);
    lab_step(l);
    check(lab_durable(l, 0) == 1 && lab_durable(l, 1) == 1); // what is before it is not durable yet
    lab_settle(l);
    check(lab_durable(l, 0) == 2 && lab_durable(l, 1) == 2 && lab_durable(l, 2) == 1);
    check_equal(atomic_load(&log_stats(l->log)->frames), 1);
    lab_free(l);
}

static void thousands_of_transactions_may_be_under_way(void)
{
    enum { COUNT = 3000 };
    struct lab *l = lab_new(&(struct lab_options){ .method = LOG_METHOD_DSYNC, .segments = 40 });
    for (uint32_t txn = 1; txn <= COUNT; txn++) {
        lab_send_part(l, 0, 10, txn, 2, false);
        if (txn % 500 == 0)
            lab_step(l);
    }
    for (uint32_t txn = COUNT; txn >= 1; txn--) { // each of them needs all that follow
        lab_send_part(l, 1, 10, txn, 2, false);
        if (txn % 500 == 2)
            lab_settle(l);
        check_equal(lab_durable(l, 0), 0);
    }
    lab_settle(l);
    check(lab_durable(l, 0) == COUNT && lab_durable(l, 1) == COUNT);
    struct lab_found found;
    lab_read(l, l->disk, &found);
    check(found.wrong[0] == '\0' && found.units == 1 && found.positions[1] == COUNT);
    for (uint32_t txn = 1; txn <= 1000; txn++) { // and their names are free again
        lab_send_part(l, 2, 10, txn, 2, false);
        lab_send_part(l, 3, 10, txn, 2, false);
    }
    lab_settle(l);
    check(lab_durable(l, 2) == 1000 && lab_durable(l, 3) == 1000);
    lab_free(l);
}

static void an_empty_transaction_behind_a_flush_is_durable_with_it(void)
{
    struct lab *l = a_lab(LOG_METHOD_FDATASYNC, LOG_SYNC_ALWAYS);
    lab_send(l, 2, 10);
    lab_step(l);
    while (lab_find(l, OP_WRITE) >= 0)
        lab_finish(l, 0);
    lab_step(l);
    check_equal(lab_find(l, OP_FSYNC), 0);
    lab_send_part(l, 0, 0, 2, 1, true);
    lab_step(l);
    lab_later(l, 1000000);
    lab_step(l);
    check_equal(lab_written(l, 0), 1);
    check_equal(lab_durable(l, 0), 0);
    lab_finish(l, 0);
    lab_step(l);
    check_equal(lab_durable(l, 0), 1);
    lab_free(l);
}

// Sends parts of random transactions over all ports, whose parts never wait for one another in a circle: each is begun and ended by itself.
static void send_random(struct lab *l, uint32_t *txns, uint32_t size_max)
{
    uint32_t size = (uint32_t)prng_below(&l->prng, 8) == 0 ? (uint32_t)prng_below(&l->prng, size_max) : (uint32_t)prng_below(&l->prng, 300);
    if (prng_below(&l->prng, 3) > 0 || *txns >= LAB_POSITIONS - 8) {
        lab_send(l, (uint32_t)prng_below(&l->prng, LAB_PORTS), size);
        return;
    }
    uint32_t ports = (uint32_t)prng_below(&l->prng, 15) + 1, txn = ++*txns;
    for (uint32_t p = 0; p < LAB_PORTS; p++) {
        if ((ports >> p & 1) == 0)
            continue;
        lab_send_part(l, p, size, txn, (uint32_t)__builtin_popcount(ports), prng_below(&l->prng, 5) == 0);
        if (prng_below(&l->prng, 3) == 0)
            lab_step(l); // takes a transaction by halves
    }
}

static void run_random(uint64_t seed)
{
    struct prng draw;
    prng_init(&draw, seed);
    struct lab_options o = { .method = METHODS[prng_below(&draw, 3)], .sync = (enum log_sync)prng_below(&draw, 3), .seed = seed };
    o.frames = 1 + (uint32_t)prng_below(&draw, LOG_FRAMES_MAX);
    o.segment_size = prng_below(&draw, 3) == 0 ? 4 * 4096 : 65536;
    struct lab *l = lab_new(&o);
    uint32_t txns = 0;
    uint64_t told[LAB_PORTS] = { 0 };
    for (int i = 0; i < 400; i++) {
        switch (prng_below(&l->prng, 10)) {
        case 0:
        case 1:
        case 2:
            send_random(l, &txns, 30000);
            break;
        case 3:
            lab_later(l, prng_below(&l->prng, 2000000));
            break;
        case 4:
            if (prng_below(&l->prng, 20) == 0)
                log_set_sync(l->log, (enum log_sync)prng_below(&l->prng, 3));
            if (prng_below(&l->prng, 20) == 0)
                lab_later(l, 600000000);
            if (prng_below(&l->prng, 20) == 0)
                atomic_store(&l->ports[prng_below(&l->prng, LAB_PORTS)].wants_sync, true);
            break;
        case 5:
            lab_take_back(l);
            if (log_segments_ready(l->log) < 2 && l->segment_count < 250)
                lab_give(l);
            break;
        default:
            if (l->count > 0) {
                uint32_t at = (uint32_t)prng_below(&l->prng, l->count);
                if (l->ops[at].started)
                    lab_finish(l, at);
            }
        }
        lab_step(l);
        bool moved = false;
        for (uint32_t p = 0; p < LAB_PORTS; p++) {
            check(lab_durable(l, p) >= told[p] && lab_written(l, p) >= lab_durable(l, p) && lab_written(l, p) <= l->sent[p]);
            moved |= lab_durable(l, p) > told[p];
            told[p] = lab_durable(l, p);
        }
        if (moved || i % 50 == 0)
            lab_check_crashes(l);
    }
    while (l->segment_count < 250)
        lab_give(l);
    log_stop(l->log);
    lab_settle(l);
    check(log_stopped_clean(l->log));
    lab_check_crashes(l);
    struct lab_found found;
    lab_read(l, l->disk, &found);
    for (uint32_t p = 0; p < LAB_PORTS; p++)
        check_equal(lab_durable(l, p), l->sent[p]);
    check(found.wrong[0] == '\0' && (found.stops == 1 || found.frames == 0));
    lab_take_back(l);
    for (uint32_t i = 0; i < l->segment_count; i++)
        check(l->segments[i]->returned);
    if (test_failures > 0)
        printf("seed %llu\n", (unsigned long long)seed);
    lab_free(l);
}

static void whatever_comes_in_whatever_order_what_was_told_survives_and_transactions_are_whole(void)
{
    for (uint64_t seed = 0; seed < 60 && test_failures == 0; seed++)
        run_random(seed);
}

// ---- chains

static void a_batch_larger_than_a_frame_is_a_chain_that_counts_when_it_is_whole(void)
{
    for (size_t m = 0; m < 3; m++) {
        struct lab *l = lab_new(&(struct lab_options){ .method = METHODS[m], .segments = 8, .frames = 2 });
        lab_send(l, 0, 10);
        lab_settle(l);
        lab_send(l, 0, 200000); // of 64 KiB segments
        lab_send(l, 1, 10);
        for (int i = 0; i < 200 && lab_durable(l, 0) < 2; i++) {
            lab_step(l);
            uint64_t lsn = atomic_load(&log_stats(l->log)->lsn); // of a unit, whoever asks
            check(lsn == 1 || lsn >= 5);
            check(atomic_load(&log_stats(l->log)->durable_lsn) <= lsn);
            lab_check_crashes(l);
            if (l->count > 0)
                lab_finish(l, 0);
        }
        lab_settle(l);
        check_equal(lab_durable(l, 0), 2);
        check_equal(lab_durable(l, 1), 1);
        struct lab_found found;
        lab_read(l, l->disk, &found);
        check(found.wrong[0] == '\0' && found.chains == 1 && found.units == 3);
        check_equal(found.positions[0], 2);
        lab_check_crashes(l);
        lab_free(l);
    }
}

static void a_chain_of_many_batches_of_a_transaction_is_one_unit(void)
{
    struct lab *l = lab_new(&(struct lab_options){ .method = LOG_METHOD_FDATASYNC, .segments = 8 });
    lab_send_part(l, 0, 50000, 5, 4, false);
    lab_send_part(l, 1, 60000, 5, 4, false);
    lab_send_part(l, 2, 0, 5, 4, true);
    lab_send(l, 3, 55000);
    lab_send_part(l, 3, 0, 5, 4, true);
    lab_settle(l);
    for (uint32_t p = 0; p < 4; p++)
        check_equal(lab_durable(l, p), l->sent[p]);
    struct lab_found found;
    lab_read(l, l->disk, &found);
    check(found.wrong[0] == '\0' && found.chains == 1 && found.units == 1);
    lab_free(l);
}

static void a_chain_that_fills_frames_exactly_has_no_empty_frame(void)
{
    // The first chain frame of a fresh 64 KiB segment holds 14 blocks less its head.
    uint32_t most = 14 * 4096 - FRAME_HEAD, head = SUB_BATCH_HEAD + RECORD_HEAD + 8; // key `port:0:1`
    for (uint32_t frames = 1; frames <= 3; frames++) {
        for (int more = -1; more <= 1; more++) {
            struct lab *l = lab_new(&(struct lab_options){ .method = LOG_METHOD_DSYNC, .segments = 8 });
            lab_send(l, 0, (uint32_t)((int)(frames * most - head) + more));
            lab_settle(l);
            check_equal(lab_durable(l, 0), 1);
            check_equal(atomic_load(&log_stats(l->log)->frames), frames + (more > 0));
            struct lab_found found;
            lab_read(l, l->disk, &found);
            check(found.wrong[0] == '\0' && found.positions[0] == 1);
            check_equal(found.chains, frames + (more > 0) > 1);
            lab_free(l);
        }
    }
}

static void a_chain_in_a_large_segment_is_made_of_whole_frames(void)
{
    struct lab *l = lab_new(&(struct lab_options){ .method = LOG_METHOD_DSYNC, .segments = 1, .segment_size = 4 << 20 });
    lab_send(l, 0, 2500000);
    lab_settle(l);
    check_equal(lab_durable(l, 0), 1);
    check_equal(atomic_load(&log_stats(l->log)->frames), 3);
    struct lab_found found;
    lab_read(l, l->disk, &found);
    check(found.wrong[0] == '\0' && found.chains == 1 && found.positions[0] == 1);
    lab_send(l, 1, 10);
    lab_settle(l);
    lab_check_crashes(l);
    lab_free(l);
}

static void the_durable_lsn_in_a_head_is_always_that_of_a_whole_unit(void)
{
    struct lab *l = lab_new(&(struct lab_options){ .method = LOG_METHOD_DSYNC, .segments = 8, .frames = 1 });
    lab_send(l, 0, 10);
    lab_settle(l);
    lab_send(l, 0, 200000);
    lab_settle(l);
    struct lab_found found;
    lab_read(l, l->disk, &found); // the reader holds each witness against the units it has read
    check(found.wrong[0] == '\0' && found.chains == 1);
    check_equal(atomic_load(&log_stats(l->log)->durable_lsn), found.lsn);
    lab_free(l);
}

TESTS(TEST(a_transaction_waits_for_all_its_parts), TEST(transactions_that_hang_together_are_cut_together),
      TEST(transactions_without_any_record_need_no_frame), TEST(thousands_of_transactions_may_be_under_way),
      TEST(an_empty_transaction_behind_a_flush_is_durable_with_it),
      TEST(whatever_comes_in_whatever_order_what_was_told_survives_and_transactions_are_whole),
      TEST(a_batch_larger_than_a_frame_is_a_chain_that_counts_when_it_is_whole), TEST(a_chain_of_many_batches_of_a_transaction_is_one_unit),
      TEST(a_chain_that_fills_frames_exactly_has_no_empty_frame), TEST(a_chain_in_a_large_segment_is_made_of_whole_frames),
      TEST(the_durable_lsn_in_a_head_is_always_that_of_a_whole_unit))
