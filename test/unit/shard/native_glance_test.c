// SPDX-License-Identifier: Apache-2.0
// Frames in one pass: whichever receive a frame is taken from ahead of its time, the answer is that of the moment when its turn comes.
#include "engine/shard/native_glance.h"

#include "base/bytes.h"
#include "engine/shard/conn.h"
#include "engine/shard/native.h"
#include "proto/fcnp_reply.h"
#include "test/unit/shard/rig.h"

#define CONNS  4
#define FRAMES 16 // of each receive, which is longer than ahead.h looks at

struct hall {
    struct rig r;
    struct conn conns[CONNS];
    struct completion done[CONNS];
    uint8_t in[CONNS][2048];
};

static void key_of(char key[17], uint32_t number)
{
    snprintf(key, 17, "key:%012u", number);
}

// Behind what the connection has received; `flags` as on the wire, `shard` what the frame names.
static void add(struct hall *h, uint32_t conn, uint32_t number, const char *value, uint8_t flags, uint32_t shard)
{
    struct completion *done = &h->done[conn];
    uint8_t *frame = h->in[conn] + done->result, *to = frame + FCNP_HEADER;
    char key[17];
    key_of(key, number);
    uint64_t hash = hash_route(slice_of(key, 16));
    if (flags & FCNP_HASH) {
        store_u64(to, hash);
        to += 8;
    }
    if (flags & FCNP_SHARD) {
        store_u32(to, shard);
        to += 4;
    }
    if (flags & FCNP_TAG) {
        store_u64(to, hash >> 56);
        to += 8;
    }
    store_u32(to, 16);
    to += 4;
    if (value != NULL) {
        store_u32(to, 4);
        to += 4;
    }
    memcpy(to, key, 16);
    to += 16;
    if (value != NULL) {
        memcpy(to, value, 4);
        to += 4;
    }
    uint32_t opcode = value != NULL ? FCNP_SET : FCNP_GET;
    uint32_t head = FCNP_MAGIC | FCNP_VERSION << 8 | opcode << 16 | (uint32_t)flags << 24;
    store_u32(frame, head);
    store_u32(frame + 4, (uint32_t)(to - frame - FCNP_HEADER));
    done->result = (int32_t)(to - h->in[conn]);
}

static uint32_t shard_of(struct hall *h, uint32_t number)
{
    char key[17];
    key_of(key, number);
    return route_shard(&h->r.w->route, slice_of(key, 16));
}

static void begin_with(struct hall *h, bool logs)
{
    rig_start(&h->r, 0, logs);
    struct worker *w = h->r.w;
    native_commands_init(w->native_commands);
    w->options.proto_max_bulk_len = 1 << 20;
    w->watch.slow_ticks = w->watch.reply_min = w->watch.request_min = UINT64_MAX;
    w->watch.until_sample = UINT32_MAX;
    list_init(&w->dirty);
    for (int i = 0; i < 2; i++)
        w->arenas[i].memory = malloc(TURN_ARENA_SIZE);
    for (uint32_t i = 0; i < CONNS; i++) {
        h->conns[i] = (struct conn){ .worker = w, .state = CONN_OPEN, .only_shard = NO_SHARD, .recv.owner = OWNER_CONN_RECV };
        h->conns[i].client.flags = CLIENT_AUTHENTICATED;
        list_init(&h->conns[i].dirty);
        h->done[i] = (struct completion){ .op = &h->conns[i].recv, .flags = COMPLETION_BUFFER, .data = h->in[i] };
    }
    for (uint32_t i = 0; i < 64; i++) {
        char line[64], key[17];
        key_of(key, i);
        snprintf(line, sizeof line, "SET %s %04u", key, i);
        run_text(&h->r, 0, line);
    }
}

static void begin(struct hall *h)
{
    begin_with(h, false);
}

// What was set until here is durable.
static void begin_logged(struct hall *h, int appendfsync)
{
    begin_with(h, true);
    struct worker *w = h->r.w;
    w->options.appendfsync = appendfsync;
    w->options.log_buffer_limit = 1 << 20;
    h->r.server.workers = &h->r.w;
    atomic_store(&h->r.port.state, LOG_RUNS);
    gate_refresh(w);
    effects_flush(w);
    atomic_store(&h->r.port.durable, w->effects.position);
    gate_turn(w);
}

static void end(struct hall *h)
{
    for (int i = 0; i < 2; i++)
        free(h->r.w->arenas[i].memory);
    rig_stop(&h->r);
}

static void gets(struct hall *h, uint32_t conn, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        add(h, conn, (conn * FRAMES + i) % 64, NULL, FCNP_FLAGS, shard_of(h, (conn * FRAMES + i) % 64));
}

static size_t handle(struct hall *h, uint32_t conn)
{
    h->r.w->native_glance.now = conn;
    return native_glance_run(&h->conns[conn], slice_of(h->in[conn], (size_t)h->done[conn].result));
}

static bool answered(const struct hall *h, uint32_t conn, uint32_t at, const char *value)
{
    const uint8_t *reply = h->conns[conn].out.data + at * (FCNP_HEADER + 4);
    uint8_t head[FCNP_HEADER];
    fcnp_reply_header(head, FCNP_VALUE, 4);
    return memcmp(reply, head, FCNP_HEADER) == 0 && memcmp(reply + FCNP_HEADER, value, 4) == 0;
}

static void frames_of_the_receives_to_come_are_taken_meanwhile(void)
{
    struct hall h;
    begin(&h);
    for (uint32_t i = 0; i < CONNS; i++)
        gets(&h, i, FRAMES);
    const struct native_glance *g = &h.r.w->native_glance;
    native_glance_over(h.r.w, h.done, CONNS);
    for (uint32_t i = 0; i < CONNS; i++) {
        check_equal(handle(&h, i), (uint64_t)h.done[i].result);
        uint32_t left = (CONNS - 1 - i) * FRAMES, ahead = g->taken - g->served;
        check_equal(ahead, left < GLANCE_TAKE ? left : GLANCE_TAKE);
        for (uint32_t k = 0; k < FRAMES; k++) {
            char value[8];
            snprintf(value, sizeof value, "%04u", i * FRAMES + k);
            check(answered(&h, i, k, value));
        }
    }
    check_equal(h.r.w->stats.native_frames, CONNS * FRAMES);
    native_glance_over(h.r.w, NULL, 0);
    check(g->front == g->back);
    end(&h);
}

static void a_set_is_seen_by_the_frames_behind_it_which_had_been_taken(void)
{
    struct hall h;
    begin(&h);
    for (uint32_t i = 0; i < FRAMES; i++)
        add(&h, 0, 5, i == FRAMES - 1 ? "new!" : "newe", FCNP_FLAGS, shard_of(&h, 5));
    for (uint32_t i = 0; i < FRAMES; i++)
        add(&h, 1, 5, NULL, FCNP_FLAGS, shard_of(&h, 5));
    native_glance_over(h.r.w, h.done, 2);
    check_equal(handle(&h, 0), (uint64_t)h.done[0].result);
    check(h.r.w->native_glance.taken != h.r.w->native_glance.served);
    check_equal(handle(&h, 1), (uint64_t)h.done[1].result);
    check(answered(&h, 1, 0, "new!") && answered(&h, 1, FRAMES - 1, "new!"));
    end(&h);
}

// Entries are freed, and their memory is others': what had been taken would lead there.
static void what_was_taken_is_forgotten_when_something_else_runs(void)
{
    struct hall h;
    begin(&h);
    gets(&h, 0, FRAMES);
    gets(&h, 1, FRAMES);
    native_glance_over(h.r.w, h.done, 2);
    check_equal(handle(&h, 0), (uint64_t)h.done[0].result);
    native_glance_forget(h.r.w);
    run_text(&h.r, 0, "FLUSHALL");
    run_text(&h.r, 0, "SET another 1");
    check_equal(handle(&h, 1), 0);
    check_equal(h.conns[1].out.len, 0);
    end(&h);
}

static void a_receive_that_is_passed_over_is_not_taken_for_the_one_behind_it(void)
{
    struct hall h;
    begin(&h);
    for (uint32_t i = 0; i < CONNS; i++)
        gets(&h, i, FRAMES);
    native_glance_over(h.r.w, h.done, CONNS);
    check_equal(handle(&h, 0), (uint64_t)h.done[0].result);
    h.conns[1].paused = true; // as when its replies are not taken
    check_equal(handle(&h, 1), 0);
    check_equal(handle(&h, 2), (uint64_t)h.done[2].result);
    check(answered(&h, 2, 0, "0032") && answered(&h, 2, FRAMES - 1, "0047"));
    check_equal(handle(&h, 3), (uint64_t)h.done[3].result);
    check(answered(&h, 3, 0, "0048") && answered(&h, 3, FRAMES - 1, "0063"));
    end(&h);
}

static void the_pass_ends_at_what_is_not_plain_and_the_next_begins_behind_it(void)
{
    struct hall h;
    begin(&h);
    gets(&h, 0, 3);
    uint64_t until = (uint64_t)h.done[0].result;
    add(&h, 0, 1000, NULL, FCNP_FLAGS, shard_of(&h, 1000)); // is missing
    size_t behind = (size_t)h.done[0].result;
    gets(&h, 0, FRAMES);
    native_glance_over(h.r.w, h.done, 1);
    check_equal(handle(&h, 0), until);
    struct slice rest = slice_of(h.in[0] + behind, (size_t)h.done[0].result - behind);
    check_equal(native_glance_run(&h.conns[0], rest), rest.len);
    check(answered(&h, 0, 3, "0000") && answered(&h, 0, 3 + FRAMES - 1, "0015"));
    end(&h);
}

static void a_frame_may_say_no_more_than_its_shard(void)
{
    struct hall h;
    begin(&h);
    uint32_t shard = shard_of(&h, 7);
    h.conns[0].only_shard = h.conns[1].only_shard = shard;
    add(&h, 0, 7, NULL, FCNP_SHARD, shard);
    add(&h, 0, 7, "then", FCNP_SHARD, shard);
    add(&h, 0, 7, NULL, FCNP_SHARD, shard);
    add(&h, 2, 7, NULL, FCNP_SHARD, shard); // any port
    add(&h, 1, 7, NULL, FCNP_HASH, 0);      // a direct port wants the shard
    add(&h, 3, 7, NULL, FCNP_SHARD, shard ^ 1);
    native_glance_over(h.r.w, h.done, CONNS);
    check_equal(handle(&h, 0), (uint64_t)h.done[0].result);
    check(answered(&h, 0, 0, "0007") && memcmp(h.conns[0].out.data + 2 * (FCNP_HEADER + 4) - 4 + FCNP_HEADER, "then", 4) == 0);
    check_equal(handle(&h, 2), (uint64_t)h.done[2].result);
    check(answered(&h, 2, 0, "then"));
    check_equal(handle(&h, 1), 0);
    check_equal(handle(&h, 3), 0); // and not somebody else's value: the command layer says what is wrong
    h.done[0].result = 0;
    add(&h, 0, 7, NULL, FCNP_SHARD, SHARDS); // there is no such shard
    h.conns[0].only_shard = NO_SHARD;
    check_equal(handle(&h, 0), 0);
    end(&h);
}

static bool set_answered(const struct hall *h, uint32_t conn, uint32_t at)
{
    uint8_t head[FCNP_HEADER];
    fcnp_reply_header(head, FCNP_OK, 0);
    return memcmp(h->conns[conn].out.data + at * FCNP_HEADER, head, FCNP_HEADER) == 0;
}

// What the log was sent, made into a store of its own.
static void apply(struct hall *h, struct rig *to)
{
    char why[EFFECTS_WHY_MAX] = "";
    effects_flush(h->r.w);
    for (struct log_batch *b = log_port_pull(&h->r.port.in), *next; b != NULL; b = next) {
        next = b->next;
        check_equal(effects_apply_unit(to->w, buf_view(&b->data), NULL, why), 0);
        log_port_push(&h->r.port.spent, b);
    }
}

static void a_set_becomes_a_record_whichever_shard_it_is_of(void)
{
    struct hall h;
    struct rig copy;
    begin_logged(&h, APPENDFSYNC_EVERYSEC);
    rig_start(&copy, 0, false);
    struct worker *w = h.r.w;
    uint64_t records = w->effects.records, changes = w->save.changes;
    uint32_t shard = shard_of(&h, 40);
    for (uint32_t i = 0; i < FRAMES; i++)
        add(&h, 0, i, "new!", FCNP_FLAGS, shard_of(&h, i));
    h.conns[1].only_shard = shard;
    add(&h, 1, 40, "anew", FCNP_SHARD, shard);
    native_glance_over(w, h.done, 2);
    check_equal(handle(&h, 0), (uint64_t)h.done[0].result);
    check_equal(handle(&h, 1), (uint64_t)h.done[1].result);
    check(set_answered(&h, 0, 0) && set_answered(&h, 0, FRAMES - 1) && set_answered(&h, 1, 0));
    check(!h.conns[0].gated && !h.conns[1].gated && h.conns[0].frame == 0);
    check_equal(w->effects.records - records, FRAMES + 1);
    check_equal(w->save.changes - changes, FRAMES + 1);
    apply(&h, &copy);
    run_text(&copy, 0, "MGET key:000000000000 key:000000000015 key:000000000016 key:000000000040");
    check(strcmp(copy.said, "*4\r\n$4\r\nnew!\r\n$4\r\nnew!\r\n$4\r\n0016\r\n$4\r\nanew\r\n") == 0);
    rig_stop(&copy);
    end(&h);
}

static void under_always_replies_wait_and_what_would_show_a_set_is_left_to_its_command(void)
{
    struct hall h;
    begin_logged(&h, APPENDFSYNC_ALWAYS);
    struct worker *w = h.r.w;
    gets(&h, 0, FRAMES);
    add(&h, 1, 5, "new!", FCNP_FLAGS, shard_of(&h, 5));
    add(&h, 1, 6, "new!", FCNP_FLAGS, shard_of(&h, 6));
    size_t until = (size_t)h.done[1].result;
    add(&h, 1, 5, NULL, FCNP_FLAGS, shard_of(&h, 5));
    add(&h, 2, 5, NULL, FCNP_FLAGS, shard_of(&h, 5));
    native_glance_over(w, h.done, 3);
    check_equal(handle(&h, 0), (uint64_t)h.done[0].result); // nothing is on its way yet
    check(!h.conns[0].gated);
    check_equal(handle(&h, 1), until);
    check(h.conns[1].gated && h.conns[1].gate_frame == FCNP_PLAIN + 1 && h.conns[1].frame == 0);
    check_equal(h.conns[1].need.durable, effects_building(&w->effects));
    check_equal(handle(&h, 2), 0);
    end(&h);
}

static void a_connection_may_ask_for_more_than_the_server(void)
{
    struct hall h;
    begin_logged(&h, APPENDFSYNC_EVERYSEC);
    h.conns[0].client.level = GATE_ALWAYS;
    add(&h, 0, 5, "new!", FCNP_FLAGS, shard_of(&h, 5));
    add(&h, 1, 5, NULL, FCNP_FLAGS, shard_of(&h, 5));
    native_glance_over(h.r.w, h.done, 2);
    check_equal(handle(&h, 0), (uint64_t)h.done[0].result);
    check_equal(h.conns[0].need.durable, effects_building(&h.r.w->effects));
    check_equal(handle(&h, 1), (uint64_t)h.done[1].result);
    check(answered(&h, 1, 0, "new!") && !h.conns[1].gated);
    end(&h);
}

// Nothing of it has happened then.
static bool is_left(struct hall *h)
{
    uint64_t records = h->r.w->effects.records;
    h->conns[0].out.len = 0;
    native_glance_over(h->r.w, h->done, 1);
    return handle(h, 0) == 0 && h->r.w->effects.records == records && !h->conns[0].gated;
}

static void a_set_that_the_log_may_not_take_is_left_to_its_command(void)
{
    struct hall h;
    begin_logged(&h, APPENDFSYNC_EVERYSEC);
    struct worker *w = h.r.w;
    add(&h, 0, 5, "new!", FCNP_FLAGS, shard_of(&h, 5));
    w->gate.state = LOG_FULL;
    check(is_left(&h));
    w->gate.state = LOG_RUNS;
    w->gate.loading = true;
    check(is_left(&h));
    w->gate.loading = false;
    w->effects.open = true; // a transaction holds everything
    check(is_left(&h));
    w->effects.open = false;
    w->watches.keys.count++;
    check(is_left(&h));
    w->watches.keys.count--;
    run_text(&h.r, 0, "DEL key:000000000005");
    run_text(&h.r, 0, "SET key:000000000005 0005"); // it has changed already in this turn
    check(is_left(&h));
    effects_flush(w);
    check(!is_left(&h));
    end(&h);
}

TESTS(TEST(frames_of_the_receives_to_come_are_taken_meanwhile), TEST(a_set_is_seen_by_the_frames_behind_it_which_had_been_taken),
      TEST(what_was_taken_is_forgotten_when_something_else_runs), TEST(a_receive_that_is_passed_over_is_not_taken_for_the_one_behind_it),
      TEST(the_pass_ends_at_what_is_not_plain_and_the_next_begins_behind_it), TEST(a_frame_may_say_no_more_than_its_shard),
      TEST(a_set_becomes_a_record_whichever_shard_it_is_of),
      TEST(under_always_replies_wait_and_what_would_show_a_set_is_left_to_its_command), TEST(a_connection_may_ask_for_more_than_the_server),
      TEST(a_set_that_the_log_may_not_take_is_left_to_its_command))
