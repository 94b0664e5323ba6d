// SPDX-License-Identifier: Apache-2.0
// What a reply waits for, at every level, as a request of another worker sees it (gate.serve).
#include "test/unit/shard/rig.h"

static void begin(struct rig *r, int appendfsync)
{
    rig_start(r, 0, true);
    r->w->options.appendfsync = appendfsync;
    r->w->options.log_buffer_limit = 1 << 20;
    r->server.workers = &r->w;
    atomic_store(&r->port.state, LOG_RUNS);
    gate_refresh(r->w);
    r->w->gated = true;
    gate_turn(r->w);
}

static void turn(struct rig *r)
{
    effects_flush(r->w);
    gate_turn(r->w);
}

// The log says so.
static void is_durable(struct rig *r, uint64_t position)
{
    atomic_store(&r->port.written, position);
    atomic_store(&r->port.durable, position);
    gate_turn(r->w);
}

static struct gate_need ran(struct rig *r, const char *line)
{
    run_text(r, 0, line);
    return r->w->gate.serve;
}

static void under_always_a_write_waits_for_its_flush(void)
{
    struct rig r;
    begin(&r, APPENDFSYNC_ALWAYS);
    check_equal(ran(&r, "SET a 1").durable, 1);
    check_equal(ran(&r, "SET b 1").durable, 1); // the same turn
    turn(&r);
    check_equal(ran(&r, "SET c 1").durable, 2);
    turn(&r);
    is_durable(&r, 2);
    check_equal(ran(&r, "SETNX a 2").durable, 0); // changes nothing, and `a` is safe
    rig_stop(&r);
}

static void a_reader_waits_for_the_keys_that_it_shows(void)
{
    struct rig r;
    begin(&r, APPENDFSYNC_ALWAYS);
    ran(&r, "SET a 1");
    check_equal(ran(&r, "GET a").durable, 1); // not even sent
    check_equal(ran(&r, "GET b").durable, 0);
    turn(&r);
    ran(&r, "SET b 1");
    turn(&r);
    check_equal(ran(&r, "GET a").durable, 1);
    check_equal(ran(&r, "MGET c a b").durable, 2);
    check_equal(ran(&r, "SETNX b 2").durable, 2);
    check_equal(ran(&r, "DBSIZE").durable, 2);
    is_durable(&r, 1);
    check_equal(ran(&r, "GET a").durable, 0);
    check_equal(ran(&r, "GET b").durable, 2);
    ran(&r, "DEL a");
    turn(&r);
    check_equal(ran(&r, "EXISTS a").durable, 3); // that it is gone is something to see too
    is_durable(&r, 3);
    check_equal(ran(&r, "MGET a b c").durable, 0);
    check_equal(ran(&r, "DBSIZE").durable, 0);
    rig_stop(&r);
}

static void behind_a_clear_every_reader_waits(void)
{
    struct rig r;
    begin(&r, APPENDFSYNC_ALWAYS);
    ran(&r, "SET a 1");
    turn(&r);
    is_durable(&r, 1);
    check_equal(ran(&r, "FLUSHDB").durable, 2);
    turn(&r);
    check_equal(ran(&r, "GET a").durable, 2);
    check_equal(ran(&r, "GET never").durable, 2);
    is_durable(&r, 2);
    check_equal(ran(&r, "GET a").durable, 0);
    check_equal(ran(&r, "FLUSHDB").durable, 0); // nothing is there: nothing is logged
    turn(&r);
    check_equal(r.w->effects.position, 2);
    rig_stop(&r);
}

static void a_policy_that_becomes_stricter_knows_no_keys_of_before(void)
{
    struct rig r;
    begin(&r, APPENDFSYNC_EVERYSEC);
    check_equal(ran(&r, "SET a 1").durable, 0);
    turn(&r);
    r.w->options.appendfsync = APPENDFSYNC_ALWAYS;
    gate_refresh(r.w);
    check(ran(&r, "GET a").durable >= 1);
    rig_stop(&r);
}

static void under_everysec_nobody_waits_until_the_oldest_change_is_old(void)
{
    struct rig r;
    begin(&r, APPENDFSYNC_EVERYSEC);
    r.reactor.now_ns = 1;
    check_equal(ran(&r, "SET a 1").durable, 0);
    turn(&r);
    r.reactor.now_ns += GATE_STALL_NS - 1;
    check_equal(ran(&r, "SET b 1").durable, 0);
    turn(&r);
    r.reactor.now_ns += 1;
    struct gate_need need = ran(&r, "SET c 1");
    // b too: it would be old when the reply goes (found by the simulation, seed 276).
    check_equal(need.durable, 2);
    check_equal(ran(&r, "GET a").durable, 0); // readers never
    turn(&r);
    is_durable(&r, 1);
    check_equal(ran(&r, "SET d 1").durable, 0); // what is left is young
    check_equal(r.w->gate.stalls, 1);
    rig_stop(&r);
}

static void who_stalls_asks_for_the_flush_that_it_waits_for(void)
{
    struct rig r;
    begin(&r, APPENDFSYNC_EVERYSEC);
    r.reactor.now_ns = 1;
    ran(&r, "SET a 1");
    turn(&r);
    r.reactor.now_ns += GATE_STALL_NS;
    check(!atomic_load(&r.port.wants_sync));
    check_equal(ran(&r, "SET b 1").durable, 1);
    check(atomic_exchange(&r.port.wants_sync, false));
    check_equal(ran(&r, "SET c 1").durable, 1); // for nothing more than `b`
    check(!atomic_load(&r.port.wants_sync));
    turn(&r);
    check_equal(ran(&r, "SET d 1").durable, 2);
    check(atomic_load(&r.port.wants_sync));
    rig_stop(&r);
}

static void under_no_a_write_waits_until_the_system_has_it(void)
{
    struct rig r;
    begin(&r, APPENDFSYNC_NO);
    struct gate_need need = ran(&r, "SET a 1");
    check(need.written == 1 && need.durable == 0);
    turn(&r);
    need = ran(&r, "GET a");
    check(need.written == 0 && need.durable == 0);
    rig_stop(&r);
}

static void a_client_may_ask_for_more(void)
{
    struct rig r;
    begin(&r, APPENDFSYNC_NO);
    r.w->gate.asked = GATE_ALWAYS;
    check_equal(ran(&r, "SET a 1").durable, 1);
    check(!atomic_load(&r.port.wants_sync));
    turn(&r); // the batch says it
    check(atomic_load(&r.port.wants_sync));
    check_equal(ran(&r, "GET b").durable, 1); // there is no table of keys: everything so far
    r.w->gate.asked = GATE_NO;
    check_equal(ran(&r, "GET b").durable, 0);
    rig_stop(&r);
}

static void who_asks_for_more_still_gets_what_the_server_gives(void)
{
    struct rig r;
    begin(&r, APPENDFSYNC_NO);
    r.w->gate.asked = GATE_EVERYSEC;
    check_equal(ran(&r, "SET a 1").written, 1);
    turn(&r);
    r.reactor.now_ns += GATE_STALL_NS;
    struct gate_need need = ran(&r, "SET b 1");
    check_equal(need.written, 2);
    check_equal(need.durable, 1);
    rig_stop(&r);
}

static void a_log_hears_of_a_promise_that_its_policy_does_not_know(void)
{
    struct rig r;
    begin(&r, APPENDFSYNC_NO);
    ran(&r, "SET a 1");
    turn(&r);
    struct log_batch *b = log_port_pull(&r.port.in);
    check(b != NULL && !b->soon);
    log_batch_free(b);
    r.w->gate.asked = GATE_EVERYSEC;
    ran(&r, "SET a 2");
    turn(&r);
    b = log_port_pull(&r.port.in);
    check(b != NULL && b->soon && !b->sync);
    log_batch_free(b);
    r.w->gate.asked = GATE_NO;
    ran(&r, "SET a 3");
    turn(&r);
    b = log_port_pull(&r.port.in);
    check(b != NULL && !b->soon);
    log_batch_free(b);
    r.w->options.appendfsync = APPENDFSYNC_EVERYSEC; // which the log may be told otherwise before it flushes
    gate_refresh(r.w);
    ran(&r, "SET a 4");
    turn(&r);
    b = log_port_pull(&r.port.in);
    check(b != NULL && b->soon);
    log_batch_free(b);
    rig_stop(&r);
}

static void a_log_that_has_failed_takes_no_writes(void)
{
    struct rig r;
    begin(&r, APPENDFSYNC_ALWAYS);
    static const struct server_host HOST = { .pid = 1 };
    r.server.host = &HOST;
    ran(&r, "SET a 1");
    turn(&r);
    atomic_store(&r.port.state, LOG_POISONED);
    gate_turn(r.w);
    ran(&r, "SET b 1");
    check(strcmp(r.said, "-" GATE_FAILED "\r\n") == 0);
    check_equal(ran(&r, "GET a").durable, 1); // not safe, and will not be
    check(atomic_load(&r.server.logging.failed));
    rig_stop(&r);
}

// Switched on while the server runs: until it counts replies leave as without it, and its failure is nobody's business.
static void a_log_that_does_not_count_yet_holds_nothing_up(void)
{
    struct rig r;
    begin(&r, APPENDFSYNC_ALWAYS);
    static const struct server_host HOST = { .pid = 1 };
    r.server.host = &HOST;
    r.w->gate.on = false;
    check_equal(ran(&r, "SET a 1").durable, 0);
    turn(&r);
    check_equal(ran(&r, "GET a").durable, 0);
    atomic_store(&r.port.state, LOG_FULL);
    gate_turn(r.w);
    ran(&r, "SET b 1");
    check(strcmp(r.said, "+OK\r\n") == 0);
    atomic_store(&r.port.state, LOG_RUNS);
    turn(&r);
    gate_begin(r.w);
    check_equal(ran(&r, "GET b").durable, 2); // what changed before counts too
    check_equal(ran(&r, "SET c 1").durable, 3);
    turn(&r);
    gate_end(r.w);
    check(!gate_stops_writers(r.w));
    check_equal(ran(&r, "GET c").durable, 0);
    r.w->gate.on = true;
    rig_stop(&r);
}

static void a_log_that_failed_before_it_counts_is_noticed_when_it_does(void)
{
    struct rig r;
    begin(&r, APPENDFSYNC_ALWAYS);
    static const struct server_host HOST = { .pid = 1 };
    r.server.host = &HOST;
    r.w->gate.on = false;
    atomic_store(&r.port.state, LOG_POISONED);
    gate_turn(r.w);
    ran(&r, "SET a 1");
    check(strcmp(r.said, "+OK\r\n") == 0);
    check(!atomic_load(&r.server.logging.failed));
    gate_begin(r.w);
    check(atomic_load(&r.server.logging.failed));
    ran(&r, "SET b 1");
    check(strcmp(r.said, "-" GATE_FAILED "\r\n") == 0);
    rig_stop(&r);
}

static void a_full_disk_takes_no_writes_until_there_is_room(void)
{
    struct rig r;
    begin(&r, APPENDFSYNC_ALWAYS);
    atomic_store(&r.port.state, LOG_FULL);
    gate_turn(r.w);
    ran(&r, "SET a 1");
    check(strcmp(r.said, "-" GATE_FULL "\r\n") == 0);
    atomic_store(&r.port.state, LOG_RUNS);
    gate_turn(r.w);
    ran(&r, "SET a 1");
    check(strcmp(r.said, "+OK\r\n") == 0);
    rig_stop(&r);
}

static void writers_wait_while_the_log_is_behind(void)
{
    struct rig r;
    begin(&r, APPENDFSYNC_EVERYSEC);
    r.w->options.log_buffer_limit = 100;
    check(!gate_stops_writers(r.w));
    for (int i = 0; i < 4; i++) {
        ran(&r, "APPEND a 0123456789012345678901234567890123456789");
        turn(&r);
    }
    check(gate_stops_writers(r.w));
    atomic_store(&r.port.taken_bytes, r.w->effects.sent_bytes - 60); // still more than half the limit
    gate_turn(r.w);
    check(gate_stops_writers(r.w));
    atomic_store(&r.port.taken_bytes, r.w->effects.sent_bytes - 40);
    gate_turn(r.w);
    check(!gate_stops_writers(r.w));
    atomic_store(&r.port.room, 10); // no more is sure to find a segment
    gate_turn(r.w);
    check(gate_stops_writers(r.w));
    atomic_store(&r.port.state, LOG_FULL); // then they are refused instead
    gate_turn(r.w);
    check(!gate_stops_writers(r.w));
    rig_stop(&r);
}

static void while_loading_nothing_is_shown(void)
{
    struct rig r;
    begin(&r, APPENDFSYNC_ALWAYS);
    r.w->gate.loading = true;
    ran(&r, "GET a");
    check(strcmp(r.said, "-" GATE_LOADING "\r\n") == 0);
    atomic_store(&r.server.logging.serving, 1); // all workers are done
    ran(&r, "GET a");
    check(strcmp(r.said, "$-1\r\n") == 0);
    rig_stop(&r);
}

TESTS(TEST(under_always_a_write_waits_for_its_flush), TEST(a_reader_waits_for_the_keys_that_it_shows),
      TEST(behind_a_clear_every_reader_waits), TEST(a_policy_that_becomes_stricter_knows_no_keys_of_before),
      TEST(under_everysec_nobody_waits_until_the_oldest_change_is_old), TEST(who_stalls_asks_for_the_flush_that_it_waits_for),
      TEST(under_no_a_write_waits_until_the_system_has_it), TEST(a_client_may_ask_for_more),
      TEST(who_asks_for_more_still_gets_what_the_server_gives), TEST(a_log_hears_of_a_promise_that_its_policy_does_not_know),
      TEST(a_log_that_has_failed_takes_no_writes), TEST(a_log_that_does_not_count_yet_holds_nothing_up),
      TEST(a_log_that_failed_before_it_counts_is_noticed_when_it_does), TEST(a_full_disk_takes_no_writes_until_there_is_room),
      TEST(writers_wait_while_the_log_is_behind), TEST(while_loading_nothing_is_shown))
