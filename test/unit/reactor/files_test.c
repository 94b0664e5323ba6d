// SPDX-License-Identifier: Apache-2.0
// File ops, and waits without any, on whichever backend REACTOR_TEST names; "blocking" is for these alone.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "reactor/clock.h"
#include "test/unit/reactor/world.h"

static struct op op_file(enum op_kind kind, int fd, void *data, uint32_t len, uint64_t offset, uint8_t flags)
{
    return (struct op){ .kind = (uint8_t)kind, .fd = fd, .data = data, .len = len, .offset = offset, .flags = flags, .fixed_buffer = -1 };
}

static int temporary_file(void)
{
    char path[] = "/tmp/reactor-test-XXXXXX";
    int fd = mkostemp(path, O_CLOEXEC);
    check(fd >= 0);
    unlink(path);
    return fd;
}

static void files_are_written_synced_and_read(void)
{
    world_open(world_options());
    int fd = temporary_file();
    static uint8_t out[8192], in[8192];
    memset(out, 'a', sizeof out);
    struct op write_op = op_file(OP_WRITE, fd, out, sizeof out, 4096, OP_LINK);
    struct op sync_op = op_file(OP_FSYNC, fd, NULL, 0, 0, OP_LINK);
    struct op read_op = op_file(OP_READ, fd, in, sizeof in, 4096, 0);
    reactor_submit(world.r, &write_op);
    reactor_submit(world.r, &sync_op);
    reactor_submit(world.r, &read_op);
    world_until(3);
    check(world.seen[0].op == &write_op && world.seen[0].result == (int32_t)sizeof out);
    check(world.seen[1].op == &sync_op && world.seen[1].result == 0);
    check(world.seen[2].op == &read_op && world.seen[2].result == (int32_t)sizeof in);
    check(memcmp(in, out, sizeof in) == 0);
    struct op dsync = op_file(OP_WRITE, fd, out, 512, 0, OP_DSYNC);
    reactor_submit(world.r, &dsync);
    world_until_idle(&dsync);
    check_equal(world_last(&dsync)->result, 512);
    close(fd);
    world_close();
}

static void what_is_linked_to_a_failure_is_not_done(void)
{
    world_open(world_options());
    int fd = temporary_file();
    static uint8_t bytes[4096];
    struct op bad = op_file(OP_WRITE, -1, bytes, 16, 0, OP_LINK), behind = op_file(OP_WRITE, fd, bytes, 16, 0, OP_LINK);
    struct op last = op_file(OP_FSYNC, fd, NULL, 0, 0, 0), apart = op_file(OP_WRITE, fd, bytes, 8, 0, 0);
    reactor_submit(world.r, &bad);
    reactor_submit(world.r, &behind);
    reactor_submit(world.r, &last);
    reactor_submit(world.r, &apart);
    world_until(4);
    check_equal(world_last(&bad)->result, -EBADF);
    check_equal(world_last(&behind)->result, -ECANCELED);
    check_equal(world_last(&last)->result, -ECANCELED);
    check_equal(world_last(&apart)->result, 8);
    // A short read is no success in full.
    struct op part = op_file(OP_READ, fd, bytes, 4096, 0, OP_LINK), next = op_file(OP_FSYNC, fd, NULL, 0, 0, 0);
    reactor_submit(world.r, &part);
    reactor_submit(world.r, &next);
    world_until_idle(&next);
    world_until_idle(&part);
    check_equal(world_last(&part)->result, 8);
    check_equal(world_last(&next)->result, -ECANCELED);
    close(fd);
    world_close();
}

static void fixed_buffers_are_used_where_there_are_some(void)
{
    world_open(world_options());
    static _Alignas(4096) uint8_t area[2][4096];
    struct slice buffers[2] = { slice_of(area[0], 4096), slice_of(area[1], 4096) };
    int err = reactor_register_buffers(world.r, buffers, 2);
    if (!world_has(REACTOR_FIXED_BUFFERS)) {
        check(err < 0);
    } else {
        int fd = temporary_file();
        memset(area[0], 'f', 4096);
        struct op w = op_file(OP_WRITE, fd, area[0], 4096, 0, OP_LINK), s = op_file(OP_FSYNC, fd, NULL, 0, 0, OP_LINK);
        struct op r = op_file(OP_READ, fd, area[1], 4096, 0, 0);
        w.fixed_buffer = 0;
        r.fixed_buffer = 1;
        reactor_submit(world.r, &w);
        reactor_submit(world.r, &s);
        reactor_submit(world.r, &r);
        world_until(3);
        check_equal(world_last(&r)->result, 4096);
        check(memcmp(area[0], area[1], 4096) == 0);
        close(fd);
    }
    world_close();
}

static void links_are_not_torn_by_a_full_queue(void)
{
    struct reactor_options o = world_options();
    o.entries = 8;
    world_open(o);
    int fd = temporary_file();
    static uint8_t bytes[512];
    static struct op ops[60];
    for (int i = 0; i < 60; i++) {
        bool sync = i % 3 == 2;
        ops[i] = op_file(sync ? OP_FSYNC : OP_WRITE, i % 6 == 0 ? -1 : fd, bytes, sync ? 0 : 512, 0, sync ? 0 : OP_LINK);
        reactor_submit(world.r, &ops[i]);
    }
    world_until(60);
    for (int i = 0; i < 60; i++) {
        int32_t want = i / 3 % 2 == 0 ? (i % 3 == 0 ? -EBADF : -ECANCELED) : (i % 3 == 2 ? 0 : 512);
        check_equal(world_last(&ops[i])->result, want);
    }
    close(fd);
    world_close();
}

static void an_idle_wait_sleeps_as_long_as_it_was_told(void)
{
    world_open(world_options());
    uint64_t start = clock_now_ns(), cpu = clock_thread_cpu_ns();
    check_equal(world_turn(50), 0);
    uint64_t took = clock_now_ns() - start;
    check(took >= 49 * NS_PER_MS);
    check(world_options().busy_poll || clock_thread_cpu_ns() - cpu < 10 * NS_PER_MS);
    check_equal(world.r->stats.sleeps > 0, !world_options().busy_poll);
    start = clock_now_ns();
    for (int i = 0; i < 100; i++)
        check_equal(world_turn(0), 0);
    check(world.r->now_ns > start);
    int64_t wall = clock_wall_ms();
    check(world.r->wall_ms <= wall && world.r->wall_ms > wall - 60 * 1000);
    world_close();
}

static void a_write_goes_where_it_was_told(void)
{
    world_open(world_options());
    int fd = temporary_file();
    static uint8_t bytes[4][512], in[4 * 512];
    static struct op ops[4];
    for (int i = 3; i >= 0; i--) {
        memset(bytes[i], 'a' + i, 512);
        ops[i] = op_file(OP_WRITE, fd, bytes[i], 512, (uint64_t)i * 512, i % 2 == 0 ? OP_DSYNC : 0);
        reactor_submit(world.r, &ops[i]);
    }
    world_until(4);
    check_equal(pread(fd, in, sizeof in, 0), sizeof in);
    check(memcmp(in, bytes, sizeof in) == 0);
    // Behind the end there is nothing, and at the end little.
    struct op behind = op_file(OP_READ, fd, in, 512, 4096, 0), last = op_file(OP_READ, fd, in + 1024, 1024, 3 * 512, 0);
    reactor_submit(world.r, &behind);
    reactor_submit(world.r, &last);
    world_until_idle(&behind);
    world_until_idle(&last);
    check_equal(world_last(&behind)->result, 0);
    check_equal(world_last(&last)->result, 512);
    close(fd);
    world_close();
}

static void a_write_is_not_kept_back_by_what_is_submitted_behind_it(void)
{
    if (!world_is_uring())
        return; // elsewhere an op is a system call anyway
    world_open(world_options());
    int fd = temporary_file(), ends[2];
    static uint8_t bytes[512];
    check_equal(pipe2(ends, O_CLOEXEC), 0);
    check_equal(write(ends[1], bytes, 1), 1);
    struct op w = op_file(OP_WRITE, fd, bytes, 512, 0, 0), s = op_file(OP_FSYNC, fd, NULL, 0, 0, 0);
    struct op poll = { .kind = OP_POLL, .fd = ends[0], .fixed_buffer = -1 };
    (void)world_turn(0); // and with it what the reactor submits for itself
    uint64_t enters = world.r->stats.enters;
    reactor_submit(world.r, &w);
    reactor_submit(world.r, &s);
    reactor_submit(world.r, &poll);
    (void)world_turn(0);
    check(world.r->stats.enters >= enters + 2);
    world_until_idle(&w);
    world_until_idle(&s);
    world_until_idle(&poll);
    check_equal(world_last(&w)->result, 512);
    check_equal(world_last(&s)->result, 0);
    check(world_last(&poll)->result > 0);
    close(fd);
    close(ends[0]);
    close(ends[1]);
    world_close();
}

// Only files: whatever else is asked for ends at once, and what it is linked to as well.
static void the_blocking_backend_knows_only_files(void)
{
    if (!world_is_blocking())
        return;
    world_open(world_options());
    static uint8_t bytes[16];
    int ends[2];
    check_equal(pipe2(ends, O_CLOEXEC), 0);
    struct op poll = { .kind = OP_POLL, .fd = ends[0] }, cancel = { .kind = OP_CANCEL, .target = &poll };
    struct op recv = { .kind = OP_RECV, .fd = ends[0] };
    reactor_submit(world.r, &poll);
    reactor_submit(world.r, &recv);
    reactor_submit(world.r, &cancel);
    check_equal(world_turn(1000), 3);
    for (int i = 0; i < 3; i++)
        check_equal(world.seen[i].result, -EINVAL);
    // In the order of submission, in one turn, whatever the wait.
    struct op w = op_file(OP_WRITE, ends[1], bytes, 16, 0, 0), bad = op_file(OP_FSYNC, -1, NULL, 0, 0, 0);
    world_forget();
    reactor_submit(world.r, &bad);
    reactor_submit(world.r, &w);
    check_equal(world_turn(10000), 2);
    check(world.seen[0].op == &bad && world.seen[0].result == -EBADF);
    check(world.seen[1].op == &w && world.seen[1].result == -ESPIPE); // a pipe has no offsets
    check_equal(world.r->backend, REACTOR_BLOCKING);
    close(ends[0]);
    close(ends[1]);
    world_close();
}

TESTS(TEST(files_are_written_synced_and_read), TEST(what_is_linked_to_a_failure_is_not_done),
      TEST(fixed_buffers_are_used_where_there_are_some), TEST(links_are_not_torn_by_a_full_queue), TEST(a_write_goes_where_it_was_told),
      TEST(a_write_is_not_kept_back_by_what_is_submitted_behind_it), TEST(the_blocking_backend_knows_only_files),
      TEST(an_idle_wait_sleeps_as_long_as_it_was_told))
