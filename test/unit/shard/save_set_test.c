// SPDX-License-Identifier: Apache-2.0
// When sets begin and what follows from their end. (What is in them: save_test.c.)
#include "test/unit/shard/saving.h"

static char NO_POINTS[] = "", POINTS[] = "60 100 10 1000";

static void changes_told(uint64_t count)
{
    saved.w->save.changes += count;
}

static void what_changed_since_the_cut_is_not_saved(void)
{
    struct worker *w = saving_start(NO_POINTS, true);
    changes_told(30);
    check_equal(save_changes(w), 30);
    check(save_begin(w));
    changes_told(3); // the turn goes on
    save_turn(w);
    changes_told(5); // behind the cut
    check_equal(save_changes(w), 38);
    saving_run();
    check_equal(save_changes(w), 38); // until somebody looks
    check(save_settle(w));
    check_equal(save_changes(w), 5);
    saving_stop();
}

static void a_set_that_fails_saves_nothing(void)
{
    struct worker *w = saving_start(NO_POINTS, true);
    struct save_view v;
    changes_told(30);
    sim_disk_fail(saved.disk, DISK_FAIL_SYNC, 1, true);
    check(save_begin(w));
    saving_run();
    check(save_settle(w));
    check_equal(save_changes(w), 30);
    save_view(w, &v);
    check(v.failed && !v.runs && !v.scheduled && v.saves == 0 && v.took_ms == -1 && v.last_save_ms == STARTED);
    sim_disk_heal(saved.disk);
    w->now_ms += 7;
    check(save_begin(w));
    w->now_ms += 20;
    save_view(w, &v);
    check(v.runs && v.current_ms == 20);
    saving_run();
    save_view(w, &v);
    check(!v.failed && !v.runs && v.saves == 1 && v.changes == 0 && v.took_ms >= 0 && v.current_ms == -1 && v.last_save_ms >= NOW + 7);
    saving_stop();
}

static void one_set_at_a_time(void)
{
    struct worker *w = saving_start(NO_POINTS, true);
    check(save_begin(w));
    check(!save_begin(w)); // begins
    save_turn(w);
    check_equal(saving_phase(), SAVE_RUNS);
    check(!save_begin(w) && !save_settle(w));
    saving_run();
    check(!save_begin(w)); // it has ended, and nobody has said so
    check(save_settle(w));
    check(save_begin(w));
    saving_stop();
}

static void nothing_begins_where_it_could_not_end_well(void)
{
    struct worker *w = saving_start(NO_POINTS, false);
    check(!save_begin(w)); // nowhere to save to
    check(!save_counts(w));
    saving_stop();
    w = saving_start(NO_POINTS, true);
    check(save_counts(w));
    w->gate.loading = true;
    check(!save_begin(w));
    w->gate.loading = false;
    w->draining = true;
    check(!save_begin(w));
    w->draining = false;
    atomic_store(&saved.rig.server.logging.stage, LOGGING_MADE);
    check(!save_begin(w));
    atomic_store(&saved.rig.server.logging.stage, LOGGING_SERVES);
    atomic_store(&saved.rig.server.logging.turning.phase, SWITCH_NONE + 1);
    check(!save_begin(w)); // the next set is the log's base
    atomic_store(&saved.rig.server.logging.turning.phase, SWITCH_NONE);
    check(save_begin(w));
    saving_stop();
}

static void a_save_point_is_due_when_its_time_has_gone_by_and_its_changes_were_made(void)
{
    struct worker *w = saving_start(POINTS, true); // 60 s and 100, 10 s and 1000
    w->now_ms = STARTED;
    changes_told(999);
    saving_tick(10100);
    check_equal(saving_phase(), SAVE_IDLE);
    changes_told(1);
    saving_tick(100);
    check_equal(saving_phase(), SAVE_BEGINS);
    saving_run();
    saving_tick(100);
    check_equal(save_changes(w), 0);
    changes_told(100);
    saving_tick(59000); // since that one
    check_equal(saving_phase(), SAVE_IDLE);
    saving_tick(1100);
    check_equal(saving_phase(), SAVE_BEGINS);
    saving_run();
    saving_tick(1000000); // nothing has changed
    check_equal(saving_phase(), SAVE_IDLE);
    w->options.save = NO_POINTS;
    changes_told(100000);
    saving_tick(1000000);
    check_equal(saving_phase(), SAVE_IDLE);
    saving_stop();
}

static void a_set_that_failed_is_tried_again_five_seconds_later(void)
{
    struct worker *w = saving_start(POINTS, true);
    changes_told(1000);
    sim_disk_fail(saved.disk, DISK_FAIL_SYNC, 1, true);
    saving_tick(100);
    check_equal(saving_phase(), SAVE_BEGINS);
    saving_run();
    sim_disk_heal(saved.disk);
    saving_tick(4900);
    check_equal(saving_phase(), SAVE_IDLE);
    saving_tick(200);
    check_equal(saving_phase(), SAVE_BEGINS);
    saving_run();
    check(save_settle(w));
    check_equal(saving_status().state, SNAPSHOT_WRITTEN);
    saving_stop();
}

static void what_is_wanted_again_begins_with_the_next_tick(void)
{
    struct worker *w = saving_start(NO_POINTS, true);
    check(save_begin(w));
    save_turn(w);
    run_text(&saved.rig, 0, "SET a 1");
    run_text(&saved.rig, 0, "FLUSHDB"); // takes the ground from under it
    check(atomic_load(&saved.rig.server.saving.again));
    saving_run();
    check_equal(saving_status().state, SNAPSHOT_FAILED);
    saving_tick(100);
    check_equal(saving_phase(), SAVE_BEGINS);
    check(!atomic_load(&saved.rig.server.saving.again));
    saving_run();
    check_equal(saving_status().state, SNAPSHOT_WRITTEN);
    saving_stop();
}

static void one_that_is_not_wanted_any_more_when_it_begins_is_cancelled(void)
{
    struct worker *w = saving_start(NO_POINTS, true);
    check(save_begin(w));
    atomic_store(&saved.rig.server.saving.cancel, true);
    saving_run();
    check_equal(saving_status().state, SNAPSHOT_FAILED);
    check(strcmp(saving_status().error, SAVE_CANCELLED) == 0);
    check(save_settle(w));
    check(save_begin(w)); // and the next one is wanted
    saving_run();
    check_equal(saving_status().state, SNAPSHOT_WRITTEN);
    saving_stop();
}

// ---- the one at shutdown

static void only_a_server_with_save_points_saves_when_it_is_stopped(void)
{
    (void)saving_start(NO_POINTS, true);
    saving_tick(100);
    check(!save_stop_ask(&saved.rig.server));
    saving_stop();
    (void)saving_start(POINTS, false);
    saving_tick(100);
    check(!save_stop_ask(&saved.rig.server));
    saving_stop();
}

static void a_server_that_is_stopped_saves_keeps_changes_out_and_stops(void)
{
    struct worker *w = saving_start(POINTS, true);
    saving_tick(100);
    check(save_stop_ask(&saved.rig.server));
    check(!save_stop_ask(&saved.rig.server)); // a second signal does not wait
    saving_tick(100);
    txn_run_ready(w);
    check_equal(saving_phase(), SAVE_RUNS);
    check(w->save.held != NULL); // all keys, until the server has stopped
    saving_run();
    check_equal(saved.stops, 0);
    saving_tick(100);
    check_equal(saved.stops, 1);
    check_equal(atomic_load(&saved.rig.server.stop), SERVER_STOPS_NOW);
    check(w->save.held != NULL);
    save_let_go(w);
    check(w->save.held == NULL && w->txns.intents.count == 0);
    saving_stop();
}

static void a_snapshot_that_fails_keeps_the_server_unless_it_is_forced(void)
{
    for (int forced = 0; forced < 2; forced++) {
        struct worker *w = saving_start(POINTS, true);
        atomic_store(&saved.rig.server.saving.stop, forced ? SAVE_STOP_FORCED : SAVE_STOP_ASKED);
        sim_disk_fail(saved.disk, DISK_FAIL_SYNC, 1, true);
        saving_tick(100);
        saving_run();
        check(save_settle(w));
        check_equal(saved.stops, forced);
        check_equal(atomic_load(&saved.rig.server.saving.stopping), SAVE_STOP_NOT);
        if (!forced)
            check(save_stop_ask(&saved.rig.server)); // it may be asked again
        saving_stop();
    }
}

TESTS(TEST(what_changed_since_the_cut_is_not_saved), TEST(a_set_that_fails_saves_nothing), TEST(one_set_at_a_time),
      TEST(nothing_begins_where_it_could_not_end_well), TEST(a_save_point_is_due_when_its_time_has_gone_by_and_its_changes_were_made),
      TEST(a_set_that_failed_is_tried_again_five_seconds_later), TEST(what_is_wanted_again_begins_with_the_next_tick),
      TEST(one_that_is_not_wanted_any_more_when_it_begins_is_cancelled), TEST(only_a_server_with_save_points_saves_when_it_is_stopped),
      TEST(a_server_that_is_stopped_saves_keeps_changes_out_and_stops), TEST(a_snapshot_that_fails_keeps_the_server_unless_it_is_forced))
