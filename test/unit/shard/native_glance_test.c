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

static void begin(struct hall *h)
{
    rig_start(&h->r, 0, false);
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

TESTS(TEST(frames_of_the_receives_to_come_are_taken_meanwhile), TEST(a_set_is_seen_by_the_frames_behind_it_which_had_been_taken),
      TEST(what_was_taken_is_forgotten_when_something_else_runs), TEST(a_receive_that_is_passed_over_is_not_taken_for_the_one_behind_it),
      TEST(the_pass_ends_at_what_is_not_plain_and_the_next_begins_behind_it), TEST(a_frame_may_say_no_more_than_its_shard))
