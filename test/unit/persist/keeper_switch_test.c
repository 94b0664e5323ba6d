// SPDX-License-Identifier: Apache-2.0
// A log that is switched on and off while the keeper runs. Numbers below 1000 are frames, those above are what the base holds.
#include "test/unit/persist/keeper_world.h"

#define SECOND UINT64_C(1000000000)
#define OLD    1000u // what was there without a log
#define BASE   2000u // and what the base holds
#define COUNT  30u

static struct house house;

static enum keeper_load opened(struct house *h, struct sim_disk *d, uint32_t workers, bool logs)
{
    check_equal(house_open(h, d, workers, logs), 0);
    enum keeper_load state = house_load(h);
    if (state == KEEPER_LOADED) {
        check_equal(house_begin(h), 0);
        house_steps(h, 200);
    }
    return state;
}

// COUNT numbers above `above`, and no log behind them.
static bool save_without_log(struct house *h, uint32_t above)
{
    h->above = above;
    return house_snapshot(h, COUNT);
}

static int switch_on(struct house *h)
{
    struct log_origin origin = { .lsn = 0 };
    int failed = keeper_log_begin(h->k, &origin);
    if (failed != 0)
        return failed;
    house_log(h, &origin);
    keeper_attach(h->k, &h->log);
    house_steps(h, 200);
    return 0;
}

static bool take_base(struct house *h)
{
    h->above = BASE;
    h->base = true;
    bool good = house_snapshot(h, COUNT);
    h->base = false;
    return good;
}

static bool append(struct house *h, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (log_append(&h->log, 0) != 0)
            return false;
        h->now_ns += SECOND;
        house_steps(h, 40);
    }
    return true;
}

// The log stops and gives its segments back.
static bool stop_log(struct house *h)
{
    struct log *l = &h->log;
    if (l->current != NULL && log_append(l, FRAME_CLEAN_STOP) != 0)
        return false;
    if (l->current != NULL)
        log_queue(&l->back, l->current);
    l->current = NULL;
    for (struct log_segment *s; (s = l->ready) != NULL;) {
        l->ready = s->next;
        log_queue(&l->back, s);
    }
    l->stopped = true;
    return true;
}

static void switch_off(struct house *h)
{
    check(stop_log(h));
    keeper_log_end(h->k);
    house_steps(h, 100);
}

static uint32_t names(const struct sim_disk *d, const char *prefix)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < d->names.count; i++)
        n += strncmp(d->names.items[i].name, prefix, strlen(prefix)) == 0;
    return n;
}

static uint32_t there(const struct house *h, uint32_t from, uint32_t count)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < count; i++)
        n += h->there[from + i];
    return n;
}

static void a_log_that_was_switched_on_counts_with_its_base(void)
{
    for (uint32_t logs = 0; logs < 2; logs++) {
        struct sim_disk *d = sim_disk_new(1);
        check_equal(opened(&house, d, 1, false), KEEPER_LOADED);
        check(save_without_log(&house, OLD));
        check_equal(switch_on(&house), 0);
        check(append(&house, 3)); // before the base
        check(take_base(&house));
        check(append(&house, 40));
        house_close(&house); // no end
        check_equal(opened(&house, d, 1, logs != 0), KEEPER_LOADED);
        check_equal(there(&house, BASE + 1, COUNT), COUNT);
        check_equal(there(&house, 4, 40), 40);
        check_equal(there(&house, OLD + 1, COUNT), 0);
        house_close(&house);
        sim_disk_free(d);
    }
}

static void before_its_base_counts_no_start_looks_at_it(void)
{
    for (uint32_t logs = 0; logs < 2; logs++) {
        struct sim_disk *d = sim_disk_new(2);
        check_equal(opened(&house, d, 1, false), KEEPER_LOADED);
        check(save_without_log(&house, OLD));
        check_equal(switch_on(&house), 0);
        check(append(&house, 40));
        house_close(&house);
        check_equal(opened(&house, d, 1, logs != 0), KEEPER_LOADED);
        check_equal(there(&house, OLD + 1, COUNT), COUNT);
        check_equal(there(&house, 1, 40), 0);
        check_equal(names(d, "log-"), logs != 0 ? 2 : 0);
        if (logs != 0)
            check(append(&house, 5));
        house_close(&house);
        check_equal(opened(&house, d, 1, true), KEEPER_LOADED); // and they do not come back
        check_equal(there(&house, 1, 40), logs != 0 ? 5 : 0);
        house_close(&house);
        sim_disk_free(d);
    }
}

static void the_end_of_one_that_never_counted_leaves_nothing_of_it(void)
{
    struct sim_disk *d = sim_disk_new(3);
    check_equal(opened(&house, d, 1, false), KEEPER_LOADED);
    check(save_without_log(&house, OLD));
    check_equal(switch_on(&house), 0);
    check(append(&house, 40));
    switch_off(&house);
    check_equal(names(d, "log-"), 0);
    check_equal(switch_on(&house), 0); // again
    check(append(&house, 2));
    check(take_base(&house));
    check(append(&house, 2));
    house_close(&house);
    check_equal(opened(&house, d, 1, true), KEEPER_LOADED);
    check_equal(there(&house, BASE + 1, COUNT), COUNT);
    check_equal(there(&house, 3, 2), 2);
    check_equal(there(&house, OLD + 1, COUNT), 0);
    house_close(&house);
    sim_disk_free(d);
}

static void switched_off_the_directory_is_what_it_was_then(void)
{
    for (uint32_t logs = 0; logs < 2; logs++) {
        struct sim_disk *d = sim_disk_new(4);
        check_equal(opened(&house, d, 1, false), KEEPER_LOADED);
        check_equal(switch_on(&house), 0);
        check(take_base(&house));
        check(append(&house, 40));
        switch_off(&house);
        check_equal(house.warnings, 0);
        house_close(&house);
        check_equal(opened(&house, d, 1, logs != 0), KEEPER_LOADED);
        check_equal(there(&house, BASE + 1, COUNT), COUNT);
        check_equal(there(&house, 1, 40), 40);
        house_close(&house);
        sim_disk_free(d);
    }
}

static void a_snapshot_behind_it_takes_the_place_of_its_log(void)
{
    struct sim_disk *d = sim_disk_new(5);
    check_equal(opened(&house, d, 1, false), KEEPER_LOADED);
    check_equal(switch_on(&house), 0);
    check(take_base(&house));
    check(append(&house, 40));
    switch_off(&house);
    check(save_without_log(&house, OLD));
    house_steps(&house, 100);
    check_equal(names(d, "log-"), 0);
    check_equal(switch_on(&house), 0); // LSNs go on
    check_equal(house.log.lsn, 41);
    check(take_base(&house));
    check(append(&house, 5));
    house_close(&house);
    check_equal(opened(&house, d, 1, true), KEEPER_LOADED);
    check_equal(there(&house, BASE + 1, COUNT), COUNT);
    check_equal(there(&house, 42, 5), 5);
    check_equal(there(&house, 1, 41), 0);
    house_close(&house);
    sim_disk_free(d);
}

static void without_its_base_the_log_is_refused(void)
{
    struct sim_disk *d = sim_disk_new(6);
    char name[SNAPSHOT_NAME_MAX];
    check_equal(opened(&house, d, 1, false), KEEPER_LOADED);
    check_equal(switch_on(&house), 0);
    check(take_base(&house)); // of LSN 0: the log goes back to the first record ever, and that is not all there was
    check(append(&house, 5));
    house_close(&house);
    snapshot_name(1, 0, name);
    sim_disk_flip(d, name, BLOCK_SIZE + 60, 1);
    check_equal(opened(&house, d, 1, true), KEEPER_REFUSED);
    check_equal(keeper_report(house.k)->verdict, RECOVER_SNAPSHOT);
    house_close(&house);
    sim_disk_free(d);
}

// Whatever call of the disk fails, and all behind it.
static void a_disk_that_fails_leaves_it_off(void)
{
    static const enum sim_disk_fault FAULTS[] = { DISK_FAIL_ALLOCATE, DISK_FAIL_OPEN, DISK_FAIL_WRITE, DISK_FAIL_SYNC, DISK_FAIL_NAMES };
    uint32_t failures = 0;
    for (uint64_t i = 0; i < 5 * 8; i++) {
        struct sim_disk *d = sim_disk_new(7);
        check_equal(opened(&house, d, 1, false), KEEPER_LOADED);
        check(save_without_log(&house, OLD));
        sim_disk_fail(d, FAULTS[i / 8], 1 + i % 8, true);
        struct log_origin origin;
        int failed = keeper_log_begin(house.k, &origin);
        sim_disk_heal(d);
        failures += failed != 0;
        house_steps(&house, 100);
        if (failed != 0 && i % 2 == 0) {
            check_equal(switch_on(&house), 0);
            check(append(&house, 2));
            switch_off(&house);
        }
        house_close(&house);
        check_equal(opened(&house, d, 1, true), KEEPER_LOADED);
        check_equal(there(&house, OLD + 1, COUNT), COUNT);
        check_equal(there(&house, 1, 2), 0);
        house_close(&house);
        sim_disk_free(d);
    }
    check(failures > 10);
}

// ---- power cuts

struct told {
    bool saved, counts, off; // acknowledged: the snapshot before it; the log; its end
    uint64_t durable;        // frames
};

static void live(struct house *h, struct told *t)
{
    if (house_load(h) != KEEPER_LOADED || house_begin(h) != 0)
        return;
    house_steps(h, 100);
    t->saved = save_without_log(h, OLD);
    if (!t->saved || switch_on(h) != 0 || !append(h, 20))
        return;
    t->counts = take_base(h);
    if (!t->counts)
        return;
    for (uint32_t i = 0; i < 20; i++) {
        if (!append(h, 1))
            return;
        t->durable = h->log.lsn;
    }
    if (!stop_log(h))
        return;
    keeper_log_end(h->k);
    if (h->disk->cut)
        return;
    t->off = true;
    house_steps(h, 100);
    (void)save_without_log(h, 3000);
}

static void check_after(struct sim_disk *after, const struct told *t, bool logs)
{
    static struct house later;
    check_equal(house_open(&later, after, 2, logs), 0);
    enum keeper_load state = house_load(&later);
    check_equal(state, KEEPER_LOADED);
    if (state != KEEPER_LOADED)
        printf("%s: %s\n", keeper_report(later.k)->rule, keeper_report(later.k)->text);
    uint32_t old = there(&later, OLD + 1, COUNT), base = there(&later, BASE + 1, COUNT), last = there(&later, 3001, COUNT);
    uint32_t frames = there(&later, 21, 20), early = there(&later, 1, 20);
    check_equal(old == COUNT || base == COUNT || last == COUNT, t->saved || old + base + last > 0);
    check_equal((old > 0) + (base > 0) + (last > 0) <= 1, true);
    check_equal(early, 0); // the base holds them
    if (t->counts)
        check(old == 0);
    if (base == COUNT)
        check(frames >= (t->durable > 20 ? t->durable - 20 : 0));
    else
        check_equal(frames, 0);
    if (state == KEEPER_LOADED) {
        check_equal(house_begin(&later), 0);
        house_steps(&later, 100);
        if (logs)
            check_equal(log_append(&later.log, 0), 0);
    }
    house_close(&later);
    check(after->failure[0] == '\0');
}

static void a_crash_at_any_operation_leaves_what_was_there_before_or_the_base_with_its_log(void)
{
    struct prng p;
    prng_init(&p, 78);
    bool whole = false;
    struct told told = { .saved = false };
    uint64_t cuts = 0;
    for (uint64_t cut = 1; !whole && test_failures == 0; cut++, cuts++) {
        struct sim_disk *d = sim_disk_new(8);
        sim_disk_cut(d, cut);
        told = (struct told){ .saved = false };
        if (house_open(&house, d, 1, false) == 0) {
            live(&house, &told);
            house_close(&house);
        }
        whole = !d->cut;
        for (uint32_t i = 0; i < CRASH_KINDS * 2 && test_failures == 0; i++) {
            struct sim_disk *after = sim_disk_crash(d, &p, (enum crash_kind)(i / 2));
            check_after(after, &told, i % 2 == 0);
            sim_disk_free(after);
        }
        if (test_failures > 0)
            printf("power cut at operation %llu\n", (unsigned long long)cut);
        sim_disk_free(d);
    }
    check(told.counts && told.off && told.durable == 40);
    check(cuts > 200);
}

TESTS(TEST(a_log_that_was_switched_on_counts_with_its_base), TEST(before_its_base_counts_no_start_looks_at_it),
      TEST(the_end_of_one_that_never_counted_leaves_nothing_of_it), TEST(switched_off_the_directory_is_what_it_was_then),
      TEST(a_snapshot_behind_it_takes_the_place_of_its_log), TEST(without_its_base_the_log_is_refused),
      TEST(a_disk_that_fails_leaves_it_off), TEST(a_crash_at_any_operation_leaves_what_was_there_before_or_the_base_with_its_log))
