// SPDX-License-Identifier: Apache-2.0
// Requests at a glance at a worker that logs: a SET is the record that its command would have made, and whoever would have waited waits.
#include "engine/shard/glance.h"
#include "test/unit/shard/rig.h"

#define KEY "a:key:of:12"

struct desk {
    struct rig r;
    struct conn conn;
    struct item items[4];
    struct slice argv[4][3];
    uint32_t count;
};

static void begin(struct desk *d, int appendfsync)
{
    rig_start(&d->r, 0, true);
    struct worker *w = d->r.w;
    w->options.appendfsync = appendfsync;
    w->options.log_buffer_limit = 1 << 20;
    d->r.server.workers = &d->r.w;
    native_commands_init(w->native_commands);
    atomic_store(&d->r.port.state, LOG_RUNS);
    gate_refresh(w);
    gate_turn(w);
    d->conn = (struct conn){ .worker = w, .state = CONN_OPEN };
    buf_init(&d->conn.out, BUF_NO_LIMIT);
    d->count = 0;
    check(buf_reserve(&d->conn.out, 4096) != NULL);
    run_text(&d->r, 0, "SET " KEY " 0000");
    effects_flush(w);
}

static void end(struct desk *d)
{
    buf_deinit(&d->conn.out);
    rig_stop(&d->r);
}

static void add(struct desk *d, const char *value)
{
    struct worker *w = d->r.w;
    struct slice *argv = d->argv[d->count], key = slice_cstr(KEY);
    argv[0] = slice_cstr(value != NULL ? "SET" : "GET");
    argv[1] = key;
    argv[2] = value != NULL ? slice_cstr(value) : key;
    struct item *item = &d->items[d->count++];
    *item = (struct item){ .request = { .argv = argv, .argc = value != NULL ? 3 : 2 }, .hot = HOT_GLANCE };
    item->command = w->native_commands[value != NULL ? FCNP_SET : FCNP_GET];
    item->shard = route_shard(&w->route, key);
    item->keyspace = store_keyspace(w->store, item->shard, 0);
    item->hash = keyspace_hash(item->keyspace, key);
}

// How many of what was added were answered.
static uint32_t answered(struct desk *d)
{
    uint32_t n = glance_logged(&d->conn, d->items, 0, d->count, 4, d->count, false);
    d->count = 0;
    return n;
}

static uint32_t sets(struct desk *d, const char *value)
{
    add(d, value);
    return answered(d);
}

static void apply(struct rig *from, struct rig *to)
{
    char why[EFFECTS_WHY_MAX] = "";
    for (struct log_batch *b = log_port_pull(&from->port.in), *next; b != NULL; b = next) {
        next = b->next;
        check_equal(effects_apply_unit(to->w, buf_view(&b->data), NULL, why), 0);
        log_port_push(&from->port.spent, b);
    }
}

static void a_set_is_the_record_that_its_command_would_have_made(void)
{
    struct desk d;
    struct rig copy;
    begin(&d, APPENDFSYNC_EVERYSEC);
    rig_start(&copy, 0, false);
    struct effects *e = &d.r.w->effects;
    uint64_t records = e->records, changes = d.r.w->save.changes;
    add(&d, "1111");
    add(&d, NULL);
    add(&d, "2222");
    check_equal(answered(&d), 3);
    check(slice_equal(buf_view(&d.conn.out), slice_cstr("+OK\r\n$4\r\n1111\r\n+OK\r\n")));
    check_equal(e->records, records + 1); // the second is written over the first
    check_equal(d.r.w->save.changes, changes + 2);
    effects_flush(d.r.w);
    apply(&d.r, &copy);
    run_text(&copy, 0, "GET " KEY);
    check(strcmp(copy.said, "$4\r\n2222\r\n") == 0);
    rig_stop(&copy);
    end(&d);
}

static void under_always_it_waits_and_so_does_who_reads_it(void)
{
    struct desk d;
    begin(&d, APPENDFSYNC_ALWAYS);
    atomic_store(&d.r.port.durable, 1);
    gate_turn(d.r.w);
    add(&d, NULL);
    add(&d, "1111");
    add(&d, NULL);
    check_equal(answered(&d), 2);
    check_equal(d.conn.need.durable, 2);
    check(d.conn.gated);
    check_equal(sets(&d, NULL), 0); // its command finds out for what it has to wait
    run_text(&d.r, 0, "GET " KEY);
    check_equal(d.r.w->gate.serve.durable, 2);
    end(&d);
}

static void under_everysec_nobody_waits_and_under_no_for_the_system(void)
{
    struct desk d;
    begin(&d, APPENDFSYNC_EVERYSEC);
    check_equal(sets(&d, "1111"), 1);
    check(!d.conn.gated);
    d.conn.client.level = GATE_ALWAYS; // but who asks for it
    check_equal(sets(&d, "2222"), 1);
    check_equal(d.conn.need.durable, 2);
    end(&d);
    begin(&d, APPENDFSYNC_NO);
    check_equal(sets(&d, "1111"), 1);
    check(d.conn.need.written == 2 && d.conn.need.durable == 0);
    end(&d);
}

static void a_frame_asks_for_no_more_than_the_server_does(void)
{
    struct desk d;
    begin(&d, APPENDFSYNC_EVERYSEC);
    d.conn.level = GATE_ALWAYS; // the frame before asked for it
    add(&d, "1111");
    check_equal(glance_logged(&d.conn, d.items, 0, 1, 4, 1, true), 1);
    check(!d.conn.gated);
    check_equal(d.conn.frame, FCNP_PLAIN + 1);
    end(&d);
}

static void what_is_not_plainly_accepted_is_left_to_its_command(void)
{
    struct desk d;
    begin(&d, APPENDFSYNC_EVERYSEC);
    struct worker *w = d.r.w;
    check_equal(sets(&d, "another length"), 0);
    run_text(&d.r, 0, "DEL " KEY);
    run_text(&d.r, 0, "SET " KEY " 0000"); // a change of the key that is not settled yet
    check_equal(sets(&d, "1111"), 0);
    effects_flush(w);
    run_text(&d.r, 0, "INCR counter"); // one of another key
    check_equal(sets(&d, "1111"), 1);
    effects_flush(w);
    uint64_t coalesced = w->effects.coalesced;
    w->options.maxmemory = 1 << 20;
    check_equal(sets(&d, "2222"), 0);
    w->options.maxmemory = 0;
    w->watches.keys.count++;
    check_equal(sets(&d, "2222"), 0);
    w->watches.keys.count--;
    w->effects.open = true;
    check_equal(sets(&d, "2222"), 0);
    w->effects.open = false;
    w->gate.state = LOG_FULL;
    check_equal(sets(&d, "2222"), 0);
    w->gate.state = LOG_RUNS;
    w->effects.failed = true;
    check_equal(sets(&d, "2222"), 0);
    w->effects.failed = false;
    w->gate.loading = true;
    check_equal(sets(&d, "2222"), 0);
    check_equal(sets(&d, NULL), 0);
    w->gate.loading = false;
    check_equal(sets(&d, "2222"), 1);
    check_equal(w->effects.coalesced, coalesced);
    end(&d);
}

TESTS(TEST(a_set_is_the_record_that_its_command_would_have_made), TEST(under_always_it_waits_and_so_does_who_reads_it),
      TEST(under_everysec_nobody_waits_and_under_no_for_the_system), TEST(a_frame_asks_for_no_more_than_the_server_does),
      TEST(what_is_not_plainly_accepted_is_left_to_its_command))
