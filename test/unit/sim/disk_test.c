// SPDX-License-Identifier: Apache-2.0
// The simulation's disk is what tests of durability rest on: that it loses what it may lose, and nothing else.
#include "test/sim/disk.h"

#include <errno.h>
#include <time.h>

#include "base/test.h"

#define BLOCK 4096u
#define TRIES 400

static _Alignas(4096) uint8_t area[16][BLOCK];

static uint8_t *block(int i, uint8_t fill)
{
    memset(area[i], fill, BLOCK);
    return area[i];
}

static int open_new(struct sim_disk *d, const char *name)
{
    uint64_t size;
    int fd = d->disk.ops->open(&d->disk, name, DISK_WRITE | DISK_CREATE, &size);
    check(fd >= 0);
    return fd;
}

// A file of two blocks of 'o', durable with its name.
static int open_old(struct sim_disk *d, const char *name)
{
    int fd = open_new(d, name);
    check_equal(d->disk.ops->write(&d->disk, fd, block(0, 'o'), BLOCK, 0), 0);
    check_equal(d->disk.ops->write(&d->disk, fd, block(0, 'o'), BLOCK, BLOCK), 0);
    check_equal(d->disk.ops->sync(&d->disk, fd), 0);
    check_equal(d->disk.ops->sync_names(&d->disk), 0);
    return fd;
}

static uint8_t byte_of(const struct sim_disk *d, const char *name, uint64_t offset)
{
    uint8_t byte;
    sim_disk_peek(d, name, offset, &byte, 1);
    return byte;
}

static bool whole(const struct sim_disk *d, const char *name, uint64_t offset, size_t len, uint8_t want)
{
    for (uint64_t at = offset; at < offset + len; at++)
        if (byte_of(d, name, at) != want)
            return false;
    return true;
}

static struct op op_of(enum op_kind kind, int fd, void *data, uint32_t len, uint64_t offset, uint8_t flags)
{
    return (struct op){ .kind = (uint8_t)kind, .fd = fd, .data = data, .len = len, .offset = offset, .flags = flags, .fixed_buffer = -1 };
}

static void what_is_synced_survives_every_crash(void)
{
    struct sim_disk *d = sim_disk_new(1);
    struct prng p;
    prng_init(&p, 1);
    open_old(d, "a");
    check_equal(sim_disk_pending_writes(d), 0);
    for (int i = 0; i < TRIES; i++) {
        struct sim_disk *after = sim_disk_crash(d, &p, (enum crash_kind)(i % CRASH_KINDS));
        check(sim_disk_find(after, "a") != NULL && whole(after, "a", 0, 2 * BLOCK, 'o'));
        check(sim_disk_equal(d, after));
        sim_disk_free(after);
    }
    sim_disk_free(d);
}

static void what_is_not_synced_may_vanish_sector_by_sector(void)
{
    struct sim_disk *d = sim_disk_new(1);
    struct prng p;
    prng_init(&p, 2);
    int fd = open_old(d, "a"), seen[4] = { 0 };
    check_equal(d->disk.ops->write(&d->disk, fd, block(1, 'n'), BLOCK, 0), 0);
    for (int i = 0; i < TRIES; i++) {
        struct sim_disk *after = sim_disk_crash(d, &p, CRASH_SUBSET);
        uint8_t first = byte_of(after, "a", 0), last = byte_of(after, "a", BLOCK - 1);
        seen[(first == 'n') * 2 + (last == 'n')]++;
        for (uint32_t s = 0; s < BLOCK / SIM_SECTOR; s++)
            check(whole(after, "a", s * SIM_SECTOR, SIM_SECTOR, 'o') || whole(after, "a", s * SIM_SECTOR, SIM_SECTOR, 'n'));
        check(whole(after, "a", BLOCK, BLOCK, 'o'));
        sim_disk_free(after);
    }
    for (int i = 0; i < 4; i++)
        check(seen[i] > 0);
    sim_disk_free(d);
}

static void dropping_and_keeping_are_exact(void)
{
    struct sim_disk *d = sim_disk_new(1);
    struct prng p;
    prng_init(&p, 3);
    int fd = open_old(d, "a");
    check_equal(d->disk.ops->write(&d->disk, fd, block(1, 'n'), BLOCK, 0), 0);
    open_new(d, "b");
    struct sim_disk *dropped = sim_disk_crash(d, &p, CRASH_DROP), *kept = sim_disk_crash(d, &p, CRASH_KEEP);
    check(whole(dropped, "a", 0, BLOCK, 'o') && sim_disk_find(dropped, "b") == NULL);
    check(whole(kept, "a", 0, BLOCK, 'n') && sim_disk_find(kept, "b") != NULL);
    sim_disk_free(dropped);
    sim_disk_free(kept);
    sim_disk_free(d);
}

static void only_some_crashes_leave_garbage(void)
{
    struct sim_disk *d = sim_disk_new(1);
    struct prng p;
    prng_init(&p, 4);
    int fd = open_old(d, "a"), torn[2] = { 0 };
    check_equal(d->disk.ops->write(&d->disk, fd, block(1, 'n'), BLOCK, 0), 0);
    for (int i = 0; i < TRIES; i++) {
        struct sim_disk *after = sim_disk_crash(d, &p, i % 2 == 0 ? CRASH_SUBSET : CRASH_GARBAGE);
        for (uint32_t s = 0; s < BLOCK / SIM_SECTOR; s++)
            torn[i % 2] += !whole(after, "a", s * SIM_SECTOR, SIM_SECTOR, 'o') && !whole(after, "a", s * SIM_SECTOR, SIM_SECTOR, 'n');
        sim_disk_free(after);
    }
    check_equal(torn[0], 0);
    check(torn[1] > 0);
    sim_disk_free(d);
}

static void a_sync_covers_what_was_done_when_it_began(void)
{
    struct sim_disk *d = sim_disk_new(1);
    struct prng p;
    prng_init(&p, 5);
    int fd = open_old(d, "a");
    struct op early = op_of(OP_WRITE, fd, block(1, 'e'), BLOCK, 0, 0), late = op_of(OP_WRITE, fd, block(2, 'l'), BLOCK, BLOCK, 0);
    struct op sync = op_of(OP_FSYNC, fd, NULL, 0, 0, 0);
    sim_disk_op_start(d, &late);
    sim_disk_op_start(d, &early);
    check_equal(sim_disk_op_finish(d, &early), BLOCK);
    sim_disk_op_start(d, &sync);
    check_equal(sim_disk_op_finish(d, &late), BLOCK); // in flight when the sync began
    check_equal(sim_disk_op_finish(d, &sync), 0);
    struct sim_disk *after = sim_disk_crash(d, &p, CRASH_DROP);
    check(whole(after, "a", 0, BLOCK, 'e'));
    check(whole(after, "a", BLOCK, BLOCK, 'o'));
    check_equal(d->failure[0], 0);
    sim_disk_free(after);
    sim_disk_free(d);
}

static void a_write_of_its_own_sync_is_durable_alone(void)
{
    struct sim_disk *d = sim_disk_new(1);
    struct prng p;
    prng_init(&p, 6);
    int fd = open_old(d, "a");
    struct op plain = op_of(OP_WRITE, fd, block(1, 'p'), BLOCK, BLOCK, 0), over = op_of(OP_WRITE, fd, block(2, 'x'), BLOCK, 0, 0);
    struct op durable = op_of(OP_WRITE, fd, block(3, 'd'), BLOCK, 0, OP_DSYNC);
    sim_disk_op_start(d, &plain);
    check_equal(sim_disk_op_finish(d, &plain), BLOCK);
    sim_disk_op_start(d, &over);
    check_equal(sim_disk_op_finish(d, &over), BLOCK);
    sim_disk_op_start(d, &durable);
    check_equal(sim_disk_op_finish(d, &durable), BLOCK);
    int lost = 0;
    for (int i = 0; i < TRIES; i++) {
        struct sim_disk *after = sim_disk_crash(d, &p, CRASH_GARBAGE);
        check(whole(after, "a", 0, BLOCK, 'd')); // what lay under it does not come back
        lost += !whole(after, "a", BLOCK, BLOCK, 'p');
        sim_disk_free(after);
    }
    check(lost > 0);
    sim_disk_free(d);
}

static void a_failed_sync_is_reported_once_and_never_made_good(void)
{
    struct sim_disk *d = sim_disk_new(1);
    struct prng p;
    prng_init(&p, 7);
    int fd = open_old(d, "a");
    check_equal(d->disk.ops->write(&d->disk, fd, block(1, 'n'), BLOCK, 0), 0);
    sim_disk_fail(d, DISK_FAIL_SYNC, 1, false);
    check_equal(d->disk.ops->sync(&d->disk, fd), -EIO);
    check_equal(d->disk.ops->sync(&d->disk, fd), 0);
    check(whole(d, "a", 0, BLOCK, 'n')); // and reads show it
    struct sim_disk *after = sim_disk_crash(d, &p, CRASH_DROP);
    check(whole(after, "a", 0, BLOCK, 'o'));
    sim_disk_free(after);
    sim_disk_free(d);
}

static void names_are_durable_when_the_directory_is(void)
{
    struct sim_disk *d = sim_disk_new(1);
    struct prng p;
    prng_init(&p, 8);
    int fd = open_old(d, "a"), old_name = 0, new_name = 0, ghosts = 0;
    d->disk.ops->close(&d->disk, fd);
    check_equal(d->disk.ops->rename(&d->disk, "a", "b"), 0);
    fd = open_new(d, "c"); // synced, but for its name
    check_equal(d->disk.ops->write(&d->disk, fd, block(1, 'c'), BLOCK, 0), 0);
    check_equal(d->disk.ops->sync(&d->disk, fd), 0);
    for (int i = 0; i < TRIES; i++) {
        struct sim_disk *after = sim_disk_crash(d, &p, CRASH_SUBSET);
        bool a = sim_disk_find(after, "a") != NULL, b = sim_disk_find(after, "b") != NULL;
        check(a != b); // a rename is not halved
        check(whole(after, a ? "a" : "b", 0, 2 * BLOCK, 'o'));
        old_name += a;
        new_name += b;
        ghosts += sim_disk_find(after, "c") == NULL;
        sim_disk_free(after);
    }
    check(old_name > 0 && new_name > 0 && ghosts > 0 && ghosts < TRIES);
    check_equal(d->disk.ops->sync_names(&d->disk), 0);
    struct sim_disk *after = sim_disk_crash(d, &p, CRASH_DROP);
    check(sim_disk_find(after, "a") == NULL && sim_disk_find(after, "b") != NULL && whole(after, "c", 0, BLOCK, 'c'));
    sim_disk_free(after);
    sim_disk_free(d);
}

static void changes_of_one_name_keep_their_order(void)
{
    struct sim_disk *d = sim_disk_new(1);
    struct prng p;
    prng_init(&p, 9);
    d->disk.ops->close(&d->disk, open_old(d, "a"));
    check_equal(d->disk.ops->rename(&d->disk, "a", "b"), 0);
    d->disk.ops->close(&d->disk, open_new(d, "a"));
    for (int i = 0; i < TRIES; i++) {
        struct sim_disk *after = sim_disk_crash(d, &p, CRASH_SUBSET);
        const struct sim_file *a = sim_disk_find(after, "a"), *b = sim_disk_find(after, "b");
        check((a != NULL && a->now.size > 0) != (b != NULL)); // the old file is never lost, nor there twice
        sim_disk_free(after);
    }
    sim_disk_free(d);
}

static void a_rename_does_not_wait_for_the_bytes(void)
{
    struct sim_disk *d = sim_disk_new(1);
    struct prng p;
    prng_init(&p, 10);
    d->disk.ops->close(&d->disk, open_old(d, "live"));
    int fd = open_new(d, "next");
    check_equal(d->disk.ops->write(&d->disk, fd, block(1, 'n'), BLOCK, 0), 0);
    check_equal(d->disk.ops->rename(&d->disk, "next", "live"), 0);
    check_equal(d->disk.ops->sync_names(&d->disk), 0);
    struct sim_disk *after = sim_disk_crash(d, &p, CRASH_DROP);
    check_equal(sim_disk_find(after, "live")->now.size, 0); // the classic
    sim_disk_free(after);
    sim_disk_free(d);
}

static void what_is_unlinked_may_come_back(void)
{
    struct sim_disk *d = sim_disk_new(1);
    struct prng p;
    prng_init(&p, 11);
    int fd = open_old(d, "a"), back = 0;
    check_equal(d->disk.ops->unlink(&d->disk, "a"), 0);
    check_equal(d->disk.ops->unlink(&d->disk, "a"), -ENOENT);
    check_equal(d->disk.ops->read(&d->disk, fd, area[2], BLOCK, 0), 0); // who has it open still reads
    for (int i = 0; i < TRIES; i++) {
        struct sim_disk *after = sim_disk_crash(d, &p, CRASH_SUBSET);
        back += sim_disk_find(after, "a") != NULL && whole(after, "a", 0, BLOCK, 'o');
        sim_disk_free(after);
    }
    check(back > 0 && back < TRIES);
    check_equal(d->disk.ops->sync_names(&d->disk), 0);
    struct sim_disk *after = sim_disk_crash(d, &p, CRASH_KEEP);
    check(sim_disk_find(after, "a") == NULL);
    sim_disk_free(after);
    d->disk.ops->close(&d->disk, fd);
    check_equal(d->failure[0], 0);
    sim_disk_free(d);
}

static void a_killed_process_leaves_what_the_kernel_has(void)
{
    struct sim_disk *d = sim_disk_new(1);
    struct prng p;
    prng_init(&p, 12);
    int fd = open_old(d, "a"), landed = 0, taken = 0;
    check_equal(d->disk.ops->write(&d->disk, fd, block(1, 'n'), BLOCK, 0), 0);
    struct op flying = op_of(OP_WRITE, fd, block(2, 'f'), BLOCK, BLOCK, 0);
    sim_disk_op_start(d, &flying);
    for (int i = 0; i < TRIES; i++) {
        struct sim_disk *after = sim_disk_crash(d, &p, CRASH_KILLED);
        check(whole(after, "a", 0, BLOCK, 'n'));
        landed += whole(after, "a", BLOCK, BLOCK, 'f');
        struct sim_disk *later = sim_disk_crash(after, &p, CRASH_DROP); // nobody has synced it since
        taken += whole(later, "a", 0, BLOCK, 'o');
        sim_disk_free(later);
        sim_disk_free(after);
    }
    check(landed > 0 && landed < TRIES);
    check_equal(taken, TRIES);
    sim_disk_free(d);
}

static void faults_strike_when_they_are_due(void)
{
    struct sim_disk *d = sim_disk_new(1);
    int fd = open_old(d, "a");
    sim_disk_fail(d, DISK_FAIL_READ, 2, false);
    check_equal(d->disk.ops->read(&d->disk, fd, area[1], BLOCK, 0), 0);
    check_equal(d->disk.ops->read(&d->disk, fd, area[1], BLOCK, 0), -EIO);
    check_equal(d->disk.ops->read(&d->disk, fd, area[1], BLOCK, 0), 0);
    sim_disk_fail(d, DISK_FAIL_WRITE, 1, true);
    check_equal(d->disk.ops->write(&d->disk, fd, block(1, 'n'), BLOCK, 0), -EIO);
    check_equal(d->disk.ops->write(&d->disk, fd, block(1, 'n'), BLOCK, 0), -EIO);
    sim_disk_heal(d);
    check_equal(d->disk.ops->write(&d->disk, fd, block(1, 'n'), BLOCK, 0), 0);
    sim_disk_fail(d, DISK_FAIL_NAMES, 1, false);
    check_equal(d->disk.ops->sync_names(&d->disk), -EIO);
    sim_disk_fail(d, DISK_FAIL_OPEN, 1, false);
    check_equal(d->disk.ops->open(&d->disk, "a", DISK_READ, NULL), -EIO);
    sim_disk_free(d);
}

static void a_full_disk_says_so_and_recovers(void)
{
    struct sim_disk *d = sim_disk_new(1);
    d->budget = 8 * BLOCK;
    int fd = open_new(d, "a"), other = open_new(d, "b");
    check_equal(d->disk.ops->allocate(&d->disk, fd, 6 * BLOCK), 0);
    check_equal(d->disk.ops->room(&d->disk), 2 * BLOCK);
    check_equal(d->disk.ops->allocate(&d->disk, other, 3 * BLOCK), -ENOSPC);
    check_equal(sim_disk_find(d, "b")->now.size, 0);
    check_equal(d->disk.ops->write(&d->disk, other, block(1, 'n'), BLOCK, 2 * BLOCK), -ENOSPC);
    check_equal(d->disk.ops->allocate(&d->disk, fd, 2 * BLOCK), 0); // not less
    check_equal(d->disk.ops->truncate(&d->disk, fd, 2 * BLOCK), 0);
    check_equal(d->disk.ops->allocate(&d->disk, other, 3 * BLOCK), 0);
    d->disk.ops->close(&d->disk, fd);
    check_equal(d->disk.ops->unlink(&d->disk, "a"), 0);
    check_equal(d->disk.ops->sync_names(&d->disk), 0);
    check_equal(d->disk.ops->room(&d->disk), 5 * BLOCK);
    sim_disk_free(d);
}

static void writes_that_lie_are_answered_with_success(void)
{
    struct sim_disk *d = sim_disk_new(3);
    struct prng p;
    prng_init(&p, 13);
    int fd = open_old(d, "a");
    struct op w = op_of(OP_WRITE, fd, block(1, 'n'), BLOCK, 0, 0);
    sim_disk_fail(d, DISK_LOST_WRITE, 1, false);
    sim_disk_op_start(d, &w);
    check_equal(sim_disk_op_finish(d, &w), BLOCK);
    check(whole(d, "a", 0, 2 * BLOCK, 'o'));
    bool elsewhere = false;
    for (int i = 0; i < 20; i++) {
        sim_disk_fail(d, DISK_MISDIRECT_WRITE, 1, false);
        check_equal(d->disk.ops->write(&d->disk, fd, block(1, (uint8_t)i), BLOCK, 0), 0);
        elsewhere |= whole(d, "a", BLOCK, BLOCK, (uint8_t)i);
    }
    check(elsewhere);
    check_equal(d->disk.ops->write(&d->disk, fd, block(1, 'n'), BLOCK, 0), 0);
    sim_disk_fail(d, DISK_LYING_SYNC, 1, false);
    check_equal(d->disk.ops->sync(&d->disk, fd), 0);
    struct sim_disk *after = sim_disk_crash(d, &p, CRASH_DROP);
    check(whole(after, "a", 0, BLOCK, 'o'));
    sim_disk_free(after);
    sim_disk_free(d);
}

static void a_short_write_writes_so_much(void)
{
    struct sim_disk *d = sim_disk_new(4);
    int fd = open_old(d, "a");
    struct op w = op_of(OP_WRITE, fd, block(1, 'n'), BLOCK, 0, 0);
    sim_disk_fail(d, DISK_SHORT_WRITE, 1, false);
    sim_disk_op_start(d, &w);
    int32_t n = sim_disk_op_finish(d, &w);
    check(n > 0 && n < (int32_t)BLOCK && n % (int32_t)SIM_SECTOR == 0);
    check(whole(d, "a", 0, (size_t)n, 'n') && byte_of(d, "a", (uint64_t)n) == 'o');
    sim_disk_free(d);
}

static void a_bad_sector_cannot_be_read_until_it_is_written(void)
{
    struct sim_disk *d = sim_disk_new(1);
    struct prng p;
    prng_init(&p, 14);
    open_old(d, "a");
    sim_disk_bad_sector(d, "a", BLOCK + 600);
    struct sim_disk *after = sim_disk_crash(d, &p, CRASH_DROP);
    int fd = after->disk.ops->open(&after->disk, "a", DISK_WRITE, NULL);
    check_equal(after->disk.ops->read(&after->disk, fd, area[1], BLOCK, 0), 0);
    check_equal(after->disk.ops->read(&after->disk, fd, area[1], BLOCK, BLOCK), -EIO);
    check_equal(after->disk.ops->write(&after->disk, fd, area[1], BLOCK, BLOCK), 0);
    check_equal(after->disk.ops->read(&after->disk, fd, area[1], BLOCK, BLOCK), 0);
    sim_disk_free(after);
    sim_disk_free(d);
}

static void what_rots_at_rest_is_read_as_it_is(void)
{
    struct sim_disk *d = sim_disk_new(1);
    struct prng p;
    prng_init(&p, 15);
    open_old(d, "a");
    sim_disk_flip(d, "a", 7, 0x10);
    sim_disk_zero(d, "a", BLOCK, 100);
    sim_disk_patch(d, "a", 200, "xyz", 3);
    struct sim_disk *after = sim_disk_crash(d, &p, CRASH_DROP);
    check_equal(byte_of(after, "a", 7), 'o' ^ 0x10);
    check(whole(after, "a", BLOCK, 100, 0) && byte_of(after, "a", BLOCK + 100) == 'o' && byte_of(after, "a", 202) == 'z');
    sim_disk_resize(after, "a", 10);
    check_equal(sim_disk_find(after, "a")->now.size, 10);
    sim_disk_remove(after, "a");
    check(sim_disk_find(after, "a") == NULL);
    sim_disk_free(after);
    sim_disk_free(d);
}

static void the_power_goes_in_the_middle_of_an_operation(void)
{
    struct sim_disk *d = sim_disk_new(1);
    struct prng p;
    prng_init(&p, 16);
    int fd = open_old(d, "a");
    sim_disk_cut(d, 2);
    check_equal(d->disk.ops->write(&d->disk, fd, block(1, '1'), BLOCK, 0), 0);
    check_equal(d->disk.ops->write(&d->disk, fd, block(2, '2'), BLOCK, BLOCK), -EIO);
    check_equal(d->disk.ops->write(&d->disk, fd, block(3, '3'), BLOCK, 0), -EIO);
    check_equal(d->disk.ops->sync(&d->disk, fd), -EIO);
    check_equal(d->disk.ops->rename(&d->disk, "a", "b"), -EIO);
    check(d->cut);
    struct sim_disk *kept = sim_disk_crash(d, &p, CRASH_KEEP);
    check(whole(kept, "a", 0, BLOCK, '1') && whole(kept, "a", BLOCK, BLOCK, '2'));
    sim_disk_free(kept);
    sim_disk_free(d);
}

static void what_the_product_may_not_do_is_refused_or_remembered(void)
{
    struct sim_disk *d = sim_disk_new(1);
    int fd = open_old(d, "a");
    check_equal(d->disk.ops->write(&d->disk, fd, area[1] + 1, BLOCK, 0), -EINVAL);
    check_equal(d->disk.ops->write(&d->disk, fd, area[1], 100, 0), -EINVAL);
    check_equal(d->disk.ops->read(&d->disk, fd, area[1], BLOCK, 512), -EINVAL);
    check_equal(d->disk.ops->read(&d->disk, fd, area[1], BLOCK, 2 * BLOCK), -ENODATA);
    int reader = d->disk.ops->open(&d->disk, "a", DISK_READ | DISK_BUFFERED, NULL);
    check_equal(d->disk.ops->read(&d->disk, reader, area[1] + 1, 10, 3), 0);
    check_equal(d->disk.ops->write(&d->disk, reader, area[1], BLOCK, 0), -EBADF);
    check_equal(d->disk.ops->open(&d->disk, "a", DISK_WRITE | DISK_CREATE, NULL), -EEXIST);
    check_equal(d->disk.ops->open(&d->disk, "none", DISK_READ, NULL), -ENOENT);
    check_equal(d->disk.ops->open(&d->disk, "../a", DISK_READ, NULL), -EINVAL);
    sim_disk_put_odd(d, "folder", -EINVAL);
    sim_disk_put_odd(d, "link", -ELOOP);
    check_equal(d->disk.ops->open(&d->disk, "folder", DISK_READ, NULL), -EINVAL);
    check_equal(d->disk.ops->open(&d->disk, "link", DISK_READ, NULL), -ELOOP);
    check_equal(d->failure[0], 0);
    struct sim_disk *c = sim_disk_clone(d), *e = sim_disk_clone(d);
    sim_disk_free(d);
    // Memory that changes under a write.
    fd = c->disk.ops->open(&c->disk, "a", DISK_WRITE, NULL);
    struct op w = op_of(OP_WRITE, fd, block(1, 'n'), BLOCK, 0, 0);
    sim_disk_op_start(c, &w);
    area[1][77] = 'x';
    check_equal(sim_disk_op_finish(c, &w), BLOCK);
    check(strstr(c->failure, "changed while it was in flight") != NULL);
    sim_disk_free(c);
    // Two writes of one place, and a close in their middle.
    fd = e->disk.ops->open(&e->disk, "a", DISK_WRITE, NULL);
    struct op x = op_of(OP_WRITE, fd, area[1], BLOCK, 0, 0), y = x;
    sim_disk_op_start(e, &x);
    sim_disk_op_start(e, &y);
    check(strstr(e->failure, "same bytes") != NULL);
    e->failure[0] = 0;
    e->disk.ops->close(&e->disk, fd);
    check(strstr(e->failure, "in flight") != NULL);
    sim_disk_free(e);
}

static void count_names(void *context, const char *name)
{
    (*(int *)context)++;
}

static void every_name_is_listed(void)
{
    struct sim_disk *d = sim_disk_new(1);
    int names = 0;
    check_equal(d->disk.ops->list(&d->disk, count_names, &names), 0);
    check_equal(names, 0);
    open_new(d, "a");
    open_new(d, "b");
    sim_disk_put(d, "c", "hello", 5);
    check_equal(d->disk.ops->list(&d->disk, count_names, &names), 0);
    check_equal(names, 3);
    sim_disk_free(d);
}

// A run of everything: the replay ends where the run did, and its crashes are those of the run.
static void a_recording_happens_again(void)
{
    struct sim_disk *d = sim_disk_new(1);
    struct prng p, q;
    open_old(d, "a");
    sim_disk_record(d);
    int fd = open_new(d, "b");
    check_equal(d->disk.ops->allocate(&d->disk, fd, 16 * BLOCK), 0);
    for (uint64_t i = 0; i < 16; i++) {
        check_equal(d->disk.ops->write(&d->disk, fd, block(1, (uint8_t)i), BLOCK, i * BLOCK), 0);
        if (i % 5 == 4)
            check_equal(d->disk.ops->sync(&d->disk, fd), 0);
        sim_disk_note(d, i);
    }
    check_equal(d->disk.ops->rename(&d->disk, "a", "c"), 0);
    check_equal(d->disk.ops->unlink(&d->disk, "c"), 0);
    check_equal(d->disk.ops->sync_names(&d->disk), 0);
    check_equal(d->disk.ops->write(&d->disk, fd, block(1, 'z'), BLOCK, 0), 0);
    struct sim_recording *r = sim_disk_record_end(d);
    struct sim_replay replay;
    sim_replay_init(&replay, r);
    uint64_t notes = 0;
    for (const struct sim_event *e; (e = sim_replay_step(&replay)) != NULL;)
        notes += e->kind == EVENT_NOTE && e->value == notes;
    check_equal(notes, 16);
    check(sim_disk_equal(replay.disk, d));
    check_equal(sim_disk_pending_writes(replay.disk), sim_disk_pending_writes(d));
    for (uint64_t seed = 0; seed < 50; seed++) {
        prng_init(&p, seed);
        prng_init(&q, seed);
        struct sim_disk *one = sim_disk_crash(d, &p, CRASH_GARBAGE), *two = sim_disk_crash(replay.disk, &q, CRASH_GARBAGE);
        check(sim_disk_equal(one, two));
        sim_disk_free(one);
        sim_disk_free(two);
    }
    sim_replay_deinit(&replay);
    sim_recording_free(r);
    sim_disk_free(d);
}

#define SEGMENT_BLOCKS 64

// Every sector of every write of a segment: the state is just that, and they come quickly.
static void a_sweep_cuts_each_write_at_each_sector(void)
{
    struct sim_disk *d = sim_disk_new(1);
    int fd = open_new(d, "log");
    check_equal(d->disk.ops->allocate(&d->disk, fd, SEGMENT_BLOCKS * BLOCK), 0);
    check_equal(d->disk.ops->sync(&d->disk, fd), 0);
    check_equal(d->disk.ops->sync_names(&d->disk), 0);
    sim_disk_record(d);
    for (uint64_t i = 0; i < SEGMENT_BLOCKS; i++) {
        check_equal(d->disk.ops->write(&d->disk, fd, block(1, (uint8_t)(i + 1)), BLOCK, i * BLOCK), 0);
        check_equal(d->disk.ops->sync(&d->disk, fd), 0);
    }
    struct sim_recording *r = sim_disk_record_end(d);
    struct sim_replay replay;
    sim_replay_init(&replay, r);
    struct prng p;
    prng_init(&p, 17);
    uint64_t states = 0;
    clock_t start = clock();
    for (const struct sim_event *e; (e = sim_replay_step(&replay)) != NULL;) {
        if (e->kind != EVENT_WRITE)
            continue;
        for (uint32_t s = 0; s <= e->len / SIM_SECTOR; s++) {
            struct sim_cut cut = { .id = e->write, .sectors = s, .torn = true };
            struct sim_disk *after = sim_disk_crash_cut(replay.disk, &p, CRASH_DROP, &cut);
            uint64_t there = e->value + s * SIM_SECTOR;
            check(there == 0 || byte_of(after, "log", there - 1) != 0);
            check(there >= SEGMENT_BLOCKS * BLOCK || s + 1 >= e->len / SIM_SECTOR || byte_of(after, "log", there + SIM_SECTOR) == 0);
            sim_disk_free(after);
            states++;
        }
    }
    double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    printf("%.0f states of 256 KiB a second\n", (double)states / seconds);
    check_equal(states, SEGMENT_BLOCKS * 9);
    sim_replay_deinit(&replay);
    sim_recording_free(r);
    sim_disk_free(d);
}

TESTS(TEST(what_is_synced_survives_every_crash), TEST(what_is_not_synced_may_vanish_sector_by_sector), TEST(dropping_and_keeping_are_exact),
      TEST(only_some_crashes_leave_garbage), TEST(a_sync_covers_what_was_done_when_it_began),
      TEST(a_write_of_its_own_sync_is_durable_alone), TEST(a_failed_sync_is_reported_once_and_never_made_good),
      TEST(names_are_durable_when_the_directory_is), TEST(changes_of_one_name_keep_their_order), TEST(a_rename_does_not_wait_for_the_bytes),
      TEST(what_is_unlinked_may_come_back), TEST(a_killed_process_leaves_what_the_kernel_has), TEST(faults_strike_when_they_are_due),
      TEST(a_full_disk_says_so_and_recovers), TEST(writes_that_lie_are_answered_with_success), TEST(a_short_write_writes_so_much),
      TEST(a_bad_sector_cannot_be_read_until_it_is_written), TEST(what_rots_at_rest_is_read_as_it_is),
      TEST(the_power_goes_in_the_middle_of_an_operation), TEST(what_the_product_may_not_do_is_refused_or_remembered),
      TEST(every_name_is_listed), TEST(a_recording_happens_again), TEST(a_sweep_cuts_each_write_at_each_sector))
