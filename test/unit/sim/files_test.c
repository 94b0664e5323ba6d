// SPDX-License-Identifier: Apache-2.0
// File ops in the simulated world keep the rules of reactor.h, and use the freedom that they leave.
#include <errno.h>

#include "base/test.h"
#include "reactor/clock.h"
#include "test/sim/world.h"

#define BLOCK  4096u
#define ROUNDS 200

static struct world world;
static struct reactor *reactor;
static int file;
static uint32_t seen; // completions since begin
static struct op *order[16];
static int32_t results[16];
static _Alignas(4096) uint8_t area[4][BLOCK];

static void begin(uint64_t seed, struct world_knobs knobs)
{
    world_init(&world, &knobs, seed);
    world.disk = sim_disk_new(seed);
    world.disk->now_ns = &world.now_ns;
    reactor = world_reactor_new(&world);
    file = world.disk->disk.ops->open(&world.disk->disk, "f", DISK_WRITE | DISK_CREATE, NULL);
    check(world.disk->disk.ops->allocate(&world.disk->disk, file, 4 * BLOCK) == 0);
    check(world.disk->disk.ops->sync(&world.disk->disk, file) == 0);
    check(world.disk->disk.ops->sync_names(&world.disk->disk) == 0);
    seen = 0;
}

static void end(void)
{
    reactor_close_all(reactor);
    sim_disk_free(world.disk);
    check_equal(strlen(world.failure), 0);
    world_deinit(&world);
}

static uint32_t turn(uint64_t wait_ns)
{
    const struct completion *done;
    uint32_t n = reactor_turn(reactor, wait_ns, &done);
    for (uint32_t i = 0; i < n && seen < 16; i++) {
        order[seen] = done[i].op;
        results[seen++] = done[i].result;
    }
    return n;
}

// The clock goes from one thing that happens to the next.
static void until(uint32_t count)
{
    for (int i = 0; i < 1000 && seen < count; i++) {
        turn(NS_PER_SEC);
        uint64_t next = world_awake_ns(&world, 0);
        if (next > world.now_ns && next != UINT64_MAX)
            world.now_ns = next;
    }
    check_equal(seen, count);
}

static struct op write_of(int i, uint8_t fill, uint8_t flags)
{
    memset(area[i], fill, BLOCK);
    return (struct op){ .kind = OP_WRITE, .fd = file, .data = area[i], .len = BLOCK, .offset = (uint64_t)i * BLOCK, .flags = flags };
}

static uint8_t after_drop(uint64_t offset)
{
    struct prng p;
    uint8_t byte;
    prng_init(&p, 1);
    struct sim_disk *after = sim_disk_crash(world.disk, &p, CRASH_DROP);
    sim_disk_peek(after, "f", offset, &byte, 1);
    sim_disk_free(after);
    return byte;
}

static void writes_in_flight_together_end_in_any_order(void)
{
    int first[3] = { 0 };
    for (uint64_t seed = 0; seed < ROUNDS; seed++) {
        begin(seed, (struct world_knobs){ .file_ns = NS_PER_MS });
        struct op ops[3] = { write_of(0, 'a', OP_DSYNC), write_of(1, 'b', OP_DSYNC), write_of(2, 'c', OP_DSYNC) };
        for (int i = 0; i < 3; i++)
            reactor_submit(reactor, &ops[i]);
        until(3);
        for (int i = 0; i < 3; i++) {
            first[i] += order[0] == &ops[i];
            check_equal(results[i], BLOCK);
            check_equal(after_drop((uint64_t)i * BLOCK), 'a' + i);
        }
        end();
    }
    check(first[0] > 0 && first[1] > 0 && first[2] > 0);
}

static void nothing_is_durable_before_it_is_said(void)
{
    begin(1, (struct world_knobs){ .file_ns = NS_PER_MS });
    struct op w = write_of(0, 'a', OP_LINK), s = { .kind = OP_FSYNC, .fd = file };
    reactor_submit(reactor, &w);
    reactor_submit(reactor, &s);
    until(1);
    check(order[0] == &w);
    check_equal(after_drop(0), 0);
    until(2);
    check(order[1] == &s && results[1] == 0);
    check_equal(after_drop(0), 'a');
    end();
}

static void a_chain_ends_with_its_first_failure(void)
{
    begin(1, (struct world_knobs){ .file_ns = NS_PER_MS });
    struct op a = write_of(0, 'a', OP_LINK), b = write_of(1, 'b', OP_LINK), s = { .kind = OP_FSYNC, .fd = file };
    struct op apart = write_of(2, 'c', OP_DSYNC);
    sim_disk_fail(world.disk, DISK_SHORT_WRITE, 1, false);
    reactor_submit(reactor, &a);
    reactor_submit(reactor, &b);
    reactor_submit(reactor, &s);
    reactor_submit(reactor, &apart);
    until(4);
    for (int i = 0; i < 4; i++) {
        if (order[i] == &a)
            check(results[i] > 0 && results[i] < (int32_t)BLOCK);
        else
            check_equal(results[i], order[i] == &apart ? (int32_t)BLOCK : -ECANCELED);
    }
    check_equal(after_drop(BLOCK), 0);
    check_equal(after_drop(2 * BLOCK), 'c');
    end();
}

static void a_sleeper_wakes_when_its_op_is_done(void)
{
    begin(3, (struct world_knobs){ .file_ns = 20 * NS_PER_MS });
    struct op r = { .kind = OP_READ, .fd = file, .data = area[3], .len = BLOCK, .offset = 3 * BLOCK };
    memset(area[3], 'x', BLOCK);
    reactor_submit(reactor, &r);
    check_equal(turn(3600 * NS_PER_SEC), 0);
    check(!world_awake(&world, 0));
    world.now_ns = world_awake_ns(&world, 0);
    check(world.now_ns < 2 * NS_PER_SEC);
    check_equal(turn(3600 * NS_PER_SEC), 1);
    check_equal(results[0], BLOCK);
    check_equal(area[3][77], 0);
    end();
}

static void a_device_fails_as_often_as_the_knobs_say(void)
{
    int32_t bad_writes = 0, short_writes = 0, bad_syncs = 0;
    for (uint64_t seed = 0; seed < ROUNDS; seed++) {
        begin(seed, (struct world_knobs){ .file_ns = 1000, .write_error = 200, .short_write = 200, .sync_error = 300 });
        struct op w = write_of(0, 'a', 0), s = { .kind = OP_FSYNC, .fd = file };
        reactor_submit(reactor, &w);
        until(1);
        bad_writes += results[0] == -EIO;
        short_writes += results[0] > 0 && results[0] < (int32_t)BLOCK;
        reactor_submit(reactor, &s);
        until(2);
        bad_syncs += results[1] == -EIO;
        world_calm(&world);
        reactor_submit(reactor, &w);
        until(3);
        check_equal(results[2], BLOCK);
        end();
    }
    check(bad_writes > 10 && bad_writes < ROUNDS / 2);
    check(short_writes > 10 && short_writes < ROUNDS / 2);
    check(bad_syncs > 10 && bad_syncs < ROUNDS / 2);
}

static void a_crash_in_flight_keeps_what_it_likes(void)
{
    int kept = 0;
    struct prng p;
    prng_init(&p, 5);
    begin(1, (struct world_knobs){ .file_ns = NS_PER_SEC });
    struct op w = write_of(0, 'a', OP_DSYNC);
    reactor_submit(reactor, &w);
    check_equal(turn(0), 0);
    for (int i = 0; i < ROUNDS; i++) {
        uint8_t byte;
        struct sim_disk *after = sim_disk_crash(world.disk, &p, CRASH_SUBSET);
        sim_disk_peek(after, "f", 0, &byte, 1);
        check(byte == 0 || byte == 'a');
        kept += byte == 'a';
        sim_disk_free(after);
    }
    check(kept > 0 && kept < ROUNDS);
    until(1);
    end();
}

static void what_changes_under_a_write_is_found(void)
{
    begin(1, (struct world_knobs){ .file_ns = NS_PER_MS });
    struct op w = write_of(0, 'a', OP_DSYNC);
    reactor_submit(reactor, &w);
    turn(0);
    area[0][9] = 'z';
    until(1);
    check(strstr(world.failure, "changed while it was in flight") != NULL);
    world.failure[0] = '\0';
    end();
}

TESTS(TEST(writes_in_flight_together_end_in_any_order), TEST(nothing_is_durable_before_it_is_said),
      TEST(a_chain_ends_with_its_first_failure), TEST(a_sleeper_wakes_when_its_op_is_done), TEST(a_device_fails_as_often_as_the_knobs_say),
      TEST(a_crash_in_flight_keeps_what_it_likes), TEST(what_changes_under_a_write_is_found))
