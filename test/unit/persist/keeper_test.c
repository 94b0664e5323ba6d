// SPDX-License-Identifier: Apache-2.0
#include "persist/keeper.h"

#include "test/unit/persist/keeper_world.h"

#define SECOND UINT64_C(1000000000)

static struct house house;

static void all_there(const struct house *h, uint64_t from, uint64_t to)
{
    for (uint64_t n = from; n <= to; n++)
        check(h->there[n]);
}

static bool has(const struct sim_disk *d, const char *format, uint64_t a, uint32_t b)
{
    char name[64];
    if (strchr(format, '-') != NULL && strncmp(format, "snapshot", 8) == 0)
        snapshot_name(a, b, name);
    else
        segment_name(a, name);
    return sim_disk_find(d, name) != NULL;
}

static uint32_t count_names(const struct sim_disk *d, const char *prefix)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < d->names.count; i++)
        n += strncmp(d->names.items[i].name, prefix, strlen(prefix)) == 0;
    return n;
}

static void open_good(struct sim_disk *d, uint32_t workers, bool logs)
{
    check_equal(house_open(&house, d, workers, logs), 0);
    check_equal(house_load(&house), KEEPER_LOADED);
    if (keeper_load_state(house.k) == KEEPER_REFUSED)
        printf("%s\n", keeper_report(house.k)->text);
    check_equal(house_begin(&house), 0);
    house_steps(&house, 200);
}

static void append(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        check_equal(log_append(&house.log, 0), 0);
        house_steps(&house, 100);
    }
}

static void stop_clean(void)
{
    check_equal(log_append(&house.log, FRAME_CLEAN_STOP), 0);
    log_queue(&house.log.back, house.log.current);
    house.log.current = NULL;
    while (house.log.ready != NULL) {
        struct log_segment *s = house.log.ready;
        house.log.ready = s->next;
        log_queue(&house.log.back, s);
    }
    check_equal(keeper_end(house.k, true), 0);
    house_close(&house);
}

static void a_new_directory_gets_an_identity_and_segments(void)
{
    struct sim_disk *d = sim_disk_new(1);
    open_good(d, 1, true);
    check_equal(keeper_report(house.k)->verdict, RECOVER_EMPTY);
    check(keeper_sequences(house.k) == NULL);
    check_equal(house.log.origin.lsn, 0);
    check_equal(house.log.origin.shards, HOUSE_SHARDS);
    check(house.log.origin.store.bytes[0] != 0 || house.log.origin.store.bytes[1] != 0);
    check_equal(log_segments_ready(&house.log), 2);
    check(has(d, "log", 1, 0) && has(d, "log", 2, 0));
    check_equal(count_names(d, "MANIFEST."), 2); // a disk that fills up later has room for both
    check_equal(sim_disk_pending_writes(d), 0);
    check_equal(sim_disk_pending_names(d), 0);
    house_close(&house);
    check(d->failure[0] == '\0');
    sim_disk_free(d);
}

static void what_was_logged_is_loaded_by_every_worker(void)
{
    struct sim_disk *d = sim_disk_new(2);
    open_good(d, 1, true);
    append(50);
    struct uuid store = house.log.origin.store;
    stop_clean();
    for (uint32_t workers = 1; workers <= 4; workers++) {
        open_good(d, workers, true);
        check_equal(keeper_report(house.k)->verdict, RECOVER_CLEAN);
        all_there(&house, 1, 50);
        check_equal(keeper_sequences(house.k)[0], 50);
        check(uuid_equal(&store, &house.log.origin.store));
        check_equal(house.log.origin.lsn, 50 + workers);
        uint64_t done, total;
        keeper_load_progress(house.k, &done, &total);
        check(done > 0 && done == total);
        stop_clean();
    }
    sim_disk_free(d);
}

static void a_snapshot_lets_old_segments_go_and_they_become_new_ones(void)
{
    struct sim_disk *d = sim_disk_new(3);
    open_good(d, 2, true);
    append(60); // more than four segments
    check(has(d, "log", 1, 0));
    check(house_snapshot(&house, 60));
    house_steps(&house, 100);
    struct keeper_snapshot_status status;
    keeper_snapshot_status(house.k, &status);
    check_equal(status.entries, 60);
    check_equal(status.last_save_ms, 1750000000060);
    check_equal(status.count, 1);
    check_equal(atomic_load(&keeper_stats(house.k)->first_segment), 5);
    check_equal(count_names(d, "log-"), 5); // one in use, two ready, two to be made new
    append(80);
    check(atomic_load(&keeper_stats(house.k)->segments_recycled) >= 2);
    check(house_snapshot(&house, 140));
    check_equal(count_names(d, "snapshot-"), 2);
    stop_clean();
    open_good(d, 1, true);
    all_there(&house, 1, 140);
    keeper_snapshot_status(house.k, &status);
    check_equal(status.last_save_ms, 1750000000140);
    stop_clean();
    check(d->failure[0] == '\0');
    sim_disk_free(d);
}

static void old_segments_beyond_the_spare_ones_are_removed(void)
{
    struct sim_disk *d = sim_disk_new(4);
    open_good(d, 1, true);
    append(14 * 9);
    check(count_names(d, "log-") >= 9);
    check(house_snapshot(&house, 14 * 9));
    house_steps(&house, 100);
    for (int i = 0; i < 20; i++)
        (void)keeper_step(house.k);
    check(count_names(d, "log-") <= 2 + 2 + 2);
    check(atomic_load(&keeper_stats(house.k)->segments_removed) > 3);
    stop_clean();
    sim_disk_free(d);
}

static void without_a_log_there_are_snapshots_only(void)
{
    struct sim_disk *d = sim_disk_new(5);
    open_good(d, 1, false);
    check(house_snapshot(&house, 100));
    check_equal(count_names(d, "log-"), 0);
    check_equal(keeper_end(house.k, true), 0);
    house_close(&house);
    open_good(d, 1, false);
    all_there(&house, 1, 100);
    check_equal(keeper_end(house.k, true), 0);
    house_close(&house);
    sim_disk_free(d);
}

// The log was in use, then it was not, then it is again.
static void a_log_may_be_left_and_taken_up_again(void)
{
    struct sim_disk *d = sim_disk_new(6);
    open_good(d, 1, true);
    append(40);
    stop_clean();
    open_good(d, 1, false);
    all_there(&house, 1, 40);
    check(count_names(d, "log-") > 0);
    check(house_snapshot(&house, 100));
    house_steps(&house, 50);
    check_equal(count_names(d, "log-"), 0);
    check_equal(keeper_end(house.k, true), 0);
    house_close(&house);
    open_good(d, 1, true);
    all_there(&house, 1, 100);
    check(house.log.origin.lsn >= 41);
    house_close(&house);
    sim_disk_free(d);
}

// ---- power cuts

// A life with everything in it. It ends when the disk does not answer any more; *durable: frames that were acknowledged; *sets: snapshots.
static void live(struct house *h, uint64_t *durable)
{
    if (house_load(h) != KEEPER_LOADED || house_begin(h) != 0)
        return;
    house_steps(h, 100);
    for (uint32_t i = 0; i < 60; i++) {
        if (log_append(&h->log, 0) != 0)
            break;
        *durable = h->log.lsn;
        h->now_ns += i % 7 == 0 ? SECOND : 1;
        house_steps(h, 40);
        if (i != 20 && i != 45)
            continue;
        h->during = true;
        (void)house_snapshot(h, (uint32_t)h->log.lsn);
        *durable = h->log.lsn;
    }
}

static void check_after(struct sim_disk *after, uint64_t durable)
{
    static struct house later;
    check_equal(house_open(&later, after, 2, true), 0);
    enum keeper_load state = house_load(&later);
    check_equal(state, KEEPER_LOADED);
    if (state != KEEPER_LOADED)
        printf("%s: %s\n", keeper_report(later.k)->rule, keeper_report(later.k)->text);
    all_there(&later, 1, durable);
    if (state == KEEPER_LOADED) {
        check_equal(house_begin(&later), 0);
        house_steps(&later, 100);
        check_equal(log_append(&later.log, 0), 0);
    }
    house_close(&later);
    check(after->failure[0] == '\0');
}

static uint32_t crash_life(struct sim_disk *base, uint64_t cut, struct prng *p, bool *whole)
{
    uint64_t durable = 0;
    struct sim_disk *d = sim_disk_clone(base);
    sim_disk_cut(d, cut);
    if (house_open(&house, d, 1, true) == 0) {
        all_there(&house, 1, 0);
        live(&house, &durable);
        house_close(&house);
    }
    *whole = !d->cut;
    for (uint32_t i = 0; i < CRASH_KINDS; i++) {
        struct sim_disk *after = sim_disk_crash(d, p, (enum crash_kind)i);
        check_after(after, durable);
        sim_disk_free(after);
    }
    sim_disk_free(d);
    return (uint32_t)durable;
}

static void a_crash_at_any_operation_leaves_a_directory_that_starts(void)
{
    struct prng p;
    prng_init(&p, 77);
    struct sim_disk *empty = sim_disk_new(7);
    bool whole = false;
    uint32_t cuts = 0, durable = 0;
    for (uint64_t cut = 1; !whole && test_failures == 0; cut++, cuts++) {
        durable = crash_life(empty, cut, &p, &whole);
        if (test_failures > 0)
            printf("power cut at operation %llu\n", (unsigned long long)cut);
    }
    check_equal(durable, 66);
    check(cuts > 200);
    sim_disk_free(empty);
}

// The same in a second life, on what a crash left.
static void also_in_the_life_after_a_crash(void)
{
    struct prng p;
    prng_init(&p, 78);
    for (uint64_t seed = 1; seed <= 6; seed++) {
        uint64_t durable = 0;
        struct sim_disk *d = sim_disk_new(seed);
        sim_disk_cut(d, 100 + seed * 37);
        if (house_open(&house, d, 1, true) == 0) {
            live(&house, &durable);
            house_close(&house);
        }
        struct sim_disk *base = sim_disk_crash(d, &p, (enum crash_kind)(seed % CRASH_KINDS));
        bool whole = false;
        for (uint64_t cut = 1 + seed % 5; !whole && test_failures == 0; cut += 5) {
            (void)crash_life(base, cut, &p, &whole);
            if (test_failures > 0)
                printf("seed %llu, power cut at operation %llu\n", (unsigned long long)seed, (unsigned long long)cut);
        }
        sim_disk_free(base);
        sim_disk_free(d);
    }
}

// What lies behind the end goes at the next start, and no crash meanwhile may leave a segment that was begun without the one before it.
static void segments_behind_the_end_go_without_a_gap(void)
{
    struct sim_disk *base = sim_disk_new(19);
    struct prng p;
    prng_init(&p, 80);
    open_good(base, 1, true);
    append(30); // into the third one, of which a power cut leaves the headers
    house_close(&house);
    char name[SEGMENT_NAME_MAX];
    for (uint64_t id = 1; id <= 3; id++) {
        segment_name(id, name);
        uint64_t from = id == 1 ? 4 * BLOCK_SIZE : BLOCK_SIZE;
        sim_disk_zero(base, name, from, HOUSE_SEGMENT - BLOCK_SIZE - from);
    }
    bool whole = false;
    for (uint64_t cut = 1; !whole && test_failures == 0; cut++) {
        struct sim_disk *d = sim_disk_crash(base, &p, CRASH_KEEP);
        sim_disk_cut(d, cut);
        if (house_open(&house, d, 1, true) == 0) {
            if (house_load(&house) == KEEPER_LOADED && house_begin(&house) == 0)
                house_steps(&house, 100);
            house_close(&house);
        }
        whole = !d->cut;
        for (uint32_t i = 0; i < 30; i++) {
            struct sim_disk *after = sim_disk_crash(d, &p, CRASH_SUBSET);
            check_after(after, 3);
            sim_disk_free(after);
        }
        sim_disk_free(d);
    }
    sim_disk_free(base);
}

// Without a log, what SAVE has said is there.
static void a_written_snapshot_survives_a_crash_at_any_operation(void)
{
    struct prng p;
    prng_init(&p, 79);
    bool whole = false;
    for (uint64_t cut = 1; !whole && test_failures == 0; cut++) {
        struct sim_disk *d = sim_disk_new(cut);
        uint32_t written = 0;
        sim_disk_cut(d, cut);
        if (house_open(&house, d, 2, false) == 0) {
            if (house_load(&house) == KEEPER_LOADED && house_begin(&house) == 0)
                for (uint32_t top = 50; top <= 150 && (top == 50 || written > 0); top += 50)
                    written = house_snapshot(&house, top) ? top : written;
            house_close(&house);
        }
        whole = !d->cut;
        for (uint32_t i = 0; i < CRASH_KINDS; i++) {
            struct sim_disk *after = sim_disk_crash(d, &p, (enum crash_kind)i);
            static struct house later;
            check_equal(house_open(&later, after, 1, false), 0);
            check_equal(house_load(&later), KEEPER_LOADED);
            all_there(&later, 1, written);
            house_close(&later);
            sim_disk_free(after);
        }
        if (test_failures > 0)
            printf("power cut at operation %llu\n", (unsigned long long)cut);
        sim_disk_free(d);
    }
}

// ---- a disk that fails

static void a_full_disk_is_told_and_tried_again_every_second(void)
{
    struct sim_disk *d = sim_disk_new(8);
    open_good(d, 1, true);
    sim_disk_fail(d, DISK_FAIL_ALLOCATE, 1, true);
    uint32_t frames = 0;
    while (log_append(&house.log, 0) == 0 && frames++ < 100)
        house_steps(&house, 50);
    check(frames >= 28 && frames < 100); // two segments
    check_equal(house.log.trouble, -ENOSPC);
    check_equal(house.log.troubles, 1);
    check_equal(house.warnings, 1);
    uint64_t before = d->operations;
    (void)keeper_step(house.k);
    check_equal(d->operations, before); // not before a second is over
    house.now_ns += SECOND;
    (void)keeper_step(house.k);
    check_equal(house.log.troubles, 2); // a log that stops counts on it
    check_equal(house.warnings, 1);
    sim_disk_heal(d);
    house.now_ns += SECOND;
    house_steps(&house, 100);
    check_equal(house.log.trouble, 0);
    check_equal(house.log.troubles, 3);
    append(20);
    house_close(&house);
    sim_disk_free(d);
}

static void a_start_on_a_full_disk_has_no_segment_until_there_is_room(void)
{
    struct sim_disk *d = sim_disk_new(9);
    open_good(d, 1, true);
    sim_disk_fail(d, DISK_FAIL_ALLOCATE, 1, true);
    uint32_t frames = 0;
    while (log_append(&house.log, 0) == 0 && frames++ < 100)
        house_steps(&house, 50);
    house_close(&house);
    open_good(d, 1, true);
    all_there(&house, 1, frames);
    check_equal(house.log.trouble, -ENOSPC); // told by the first step
    check_equal(log_append(&house.log, 0), -ENOSPC);
    sim_disk_heal(d);
    house.now_ns += SECOND;
    house_steps(&house, 100);
    check_equal(house.log.trouble, 0);
    append(3);
    house_close(&house);
    open_good(d, 1, true);
    all_there(&house, 1, frames + 3);
    house_close(&house);
    sim_disk_free(d);
}

static void an_end_without_all_that_was_sent_says_how_much_is_missing(void)
{
    static const char *const WHY[] = { "transactions that were never whole", "No space left on device" };
    for (int full = 0; full < 2; full++) {
        struct sim_disk *d = sim_disk_new(20);
        open_good(d, 1, true);
        append(1);
        atomic_store(&house.log.stats.pending_bytes, 345);
        atomic_store(&house.log.stats.error, full ? -ENOSPC : 0);
        house.log.stopped = true;
        check_equal(keeper_end(house.k, false), 0);
        check_equal(house.warnings, 1);
        check(strstr(house.text, " 345 bytes ") != NULL && strstr(house.text, WHY[full]) != NULL);
        house_close(&house);
        sim_disk_free(d);
    }
}

static void any_failure_of_the_disk_leaves_a_directory_that_starts(void)
{
    static const enum sim_disk_fault FAULTS[] = { DISK_FAIL_OPEN, DISK_FAIL_WRITE, DISK_FAIL_SYNC, DISK_FAIL_NAMES, DISK_FAIL_ALLOCATE };
    for (size_t f = 0; f < sizeof FAULTS / sizeof FAULTS[0]; f++) {
        for (uint64_t nth = 1; nth < 60 && test_failures == 0; nth += 1 + nth / 8) {
            struct sim_disk *d = sim_disk_new(nth);
            uint64_t durable = 0;
            sim_disk_fail(d, FAULTS[f], nth, false);
            if (house_open(&house, d, 1, true) == 0) {
                live(&house, &durable);
                house_close(&house);
            }
            struct prng p;
            prng_init(&p, nth);
            sim_disk_heal(d);
            for (int kind = 0; kind < CRASH_KINDS; kind++) {
                struct sim_disk *after = sim_disk_crash(d, &p, (enum crash_kind)kind);
                check_after(after, durable);
                sim_disk_free(after);
            }
            sim_disk_free(d);
            if (test_failures > 0)
                printf("fault %zu, time %llu\n", f, (unsigned long long)nth);
        }
    }
}

static void a_snapshot_that_fails_leaves_the_one_before(void)
{
    static const enum sim_disk_fault FAULTS[] = { DISK_FAIL_OPEN, DISK_FAIL_READ, DISK_FAIL_WRITE, DISK_FAIL_SYNC, DISK_FAIL_NAMES };
    uint32_t failures = 0;
    for (size_t f = 0; f < sizeof FAULTS / sizeof FAULTS[0]; f++) {
        for (uint64_t nth = 1; nth < 8; nth++) {
            struct sim_disk *d = sim_disk_new(nth);
            open_good(d, 2, false);
            check(house_snapshot(&house, 50));
            sim_disk_fail(d, FAULTS[f], nth, false);
            bool good = house_snapshot(&house, 120);
            struct keeper_snapshot_status status;
            keeper_snapshot_status(house.k, &status);
            check_equal(status.last_save_ms, good ? 1750000000120 : 1750000000050);
            check((status.error[0] == '\0') == good);
            failures += !good;
            sim_disk_heal(d);
            check(count_names(d, "snapshot-") == 2 || FAULTS[f] == DISK_FAIL_NAMES); // what could not be removed goes at the next start
            check(house_snapshot(&house, 130));                                      // and the next one is fine
            house_close(&house);
            open_good(d, 1, false);
            check_equal(count_names(d, "snapshot-"), 2);
            all_there(&house, 1, 130);
            house_close(&house);
            sim_disk_free(d);
        }
    }
    check(failures > 15);
}

static void what_cannot_be_read_back_does_not_count(void)
{
    struct sim_disk *d = sim_disk_new(9);
    open_good(d, 1, false);
    check(house_snapshot(&house, 50));
    sim_disk_fail(d, DISK_LOST_WRITE, 3, false); // a chunk, or the trailer
    check(!house_snapshot(&house, 120));
    house_close(&house);
    open_good(d, 1, false);
    all_there(&house, 1, 50);
    check(!house.there[120]);
    house_close(&house);
    sim_disk_free(d);
}

// ---- snapshots, the workers' side

static void one_snapshot_at_a_time(void)
{
    struct sim_disk *d = sim_disk_new(10);
    open_good(d, 2, false);
    uint64_t set = keeper_snapshot_begin(house.k, 5);
    check_equal(set, 1);
    check_equal(keeper_snapshot_begin(house.k, 6), 0);
    check(keeper_chunk_take(house.k, set, 0) == NULL); // not before the keeper had its turn
    house_steps(&house, 10);
    struct snapshot_chunk *c = keeper_chunk_take(house.k, set, 0);
    check(c != NULL);
    keeper_snapshot_cancel(house.k, set, "because");
    house_steps(&house, 10);
    struct keeper_snapshot_status status;
    keeper_snapshot_status(house.k, &status);
    check_equal(status.state, SNAPSHOT_FAILED);
    check(strcmp(status.error, "because") == 0);
    check(keeper_chunk_take(house.k, set, 1) == NULL);
    check_equal(keeper_snapshot_begin(house.k, 6), 0); // workers have not left
    keeper_chunk_give(house.k, set, 0, c);
    keeper_file_drop(house.k, set, 0);
    keeper_file_end(house.k, set, 1, NULL, 0);
    house_steps(&house, 10);
    check_equal(count_names(d, "snapshot-"), 0);
    check(house_snapshot(&house, 70));
    house_close(&house);
    sim_disk_free(d);
}

static void chunks_of_a_set_that_is_no_more_are_thrown_away(void)
{
    struct sim_disk *d = sim_disk_new(11);
    open_good(d, 1, false);
    uint64_t set = keeper_snapshot_begin(house.k, 5);
    house_steps(&house, 10);
    struct snapshot_chunk *c = keeper_chunk_take(house.k, set, 0);
    struct snapshot_entry e = { .deadline_ms = -1, .key = slice_cstr("4000"), .value = slice_cstr("stale") };
    (void)snapshot_chunk_add(c, &e, 0);
    keeper_file_drop(house.k, set, 0);
    house_steps(&house, 10);
    keeper_chunk_give(house.k, set, 0, c); // late
    check(house_snapshot(&house, 70));
    house_close(&house);
    open_good(d, 1, false);
    all_there(&house, 1, 70);
    check(!house.there[4000]);
    house_close(&house);
    sim_disk_free(d);
}

static void chunks_on_their_way_are_bounded(void)
{
    struct sim_disk *d = sim_disk_new(12);
    open_good(d, 1, false);
    uint64_t set = keeper_snapshot_begin(house.k, 5);
    (void)keeper_step(house.k);
    struct snapshot_chunk *c[8];
    uint32_t n = 0;
    while (n < 8 && (c[n] = keeper_chunk_take(house.k, set, 0)) != NULL)
        n++;
    check_equal(n, 3);
    for (uint32_t i = 0; i < n; i++)
        keeper_chunk_give(house.k, set, 0, c[i]);
    check(keeper_chunk_take(house.k, set, 0) == NULL);
    (void)keeper_step(house.k);
    check((c[0] = keeper_chunk_take(house.k, set, 0)) != NULL);
    keeper_chunk_give(house.k, set, 0, c[0]);
    keeper_file_drop(house.k, set, 0);
    house_close(&house);
    sim_disk_free(d);
}

// ---- loading

static void pieces_on_their_way_are_bounded_by_bytes(void)
{
    struct sim_disk *d = sim_disk_new(13);
    open_good(d, 1, false);
    uint64_t set = keeper_snapshot_begin(house.k, 5);
    uint8_t *big = calloc(1, 900000);
    for (uint32_t n = 0; n < 120; n++) {
        struct snapshot_chunk *c;
        char key[8];
        struct snapshot_entry e = { .deadline_ms = -1, .value = slice_of(big, 900000) };
        e.key = slice_of(key, (size_t)snprintf(key, sizeof key, "%u", n));
        while ((c = keeper_chunk_take(house.k, set, 0)) == NULL)
            (void)keeper_step(house.k);
        check_equal(snapshot_chunk_add(c, &e, 0), snapshot_entry_size(&e));
        keeper_chunk_give(house.k, set, 0, c);
    }
    struct snapshot_watermark marks[HOUSE_SHARDS] = { { 0, 1 }, { 1, 0 }, { 2, 0 }, { 3, 0 } };
    keeper_file_end(house.k, set, 0, marks, HOUSE_SHARDS);
    for (int i = 0; i < 400; i++)
        (void)keeper_step(house.k);
    house_close(&house);
    free(big);

    check_equal(house_open(&house, d, 2, false), 0);
    bool waits = false;
    uint32_t steps = 0, got[2] = { 0, 0 };
    while (keeper_load_step(house.k, &waits) == KEEPER_LOADING && !waits)
        steps++;
    check(waits && steps >= 74 && steps < 76); // 64 MiB
    struct load_piece *p;
    while ((p = keeper_piece_take(house.k, 0)) != NULL) {
        got[0]++;
        keeper_piece_done(house.k, p);
    }
    check_equal(got[0], steps);
    check_equal(keeper_load_step(house.k, &waits), KEEPER_LOADING);
    check(waits); // the other worker is behind
    check(house_load(&house) == KEEPER_LOADED);
    house_close(&house);
    sim_disk_free(d);
}

static void a_piece_that_a_worker_cannot_apply_ends_the_load(void)
{
    struct sim_disk *d = sim_disk_new(14);
    open_good(d, 1, true);
    append(5);
    stop_clean();
    check_equal(house_open(&house, d, 1, true), 0);
    bool waits;
    (void)keeper_load_step(house.k, &waits);
    keeper_piece_refused(house.k, "no such effect");
    keeper_piece_refused(house.k, "later");
    check_equal(keeper_load_step(house.k, &waits), KEEPER_REFUSED);
    check_equal(keeper_load_state(house.k), KEEPER_REFUSED);
    check_equal(keeper_report(house.k)->verdict, RECOVER_BROKEN);
    check(strcmp(keeper_report(house.k)->text, "no such effect") == 0);
    house_close(&house);
    sim_disk_free(d);
}

static void a_directory_that_recovery_refuses_is_refused(void)
{
    struct sim_disk *d = sim_disk_new(15);
    open_good(d, 1, true);
    append(30);
    stop_clean();
    char name[SEGMENT_NAME_MAX];
    segment_name(1, name);
    sim_disk_flip(d, name, 5 * BLOCK_SIZE + 100, 1);
    check_equal(house_open(&house, d, 1, true), 0);
    check_equal(house_load(&house), KEEPER_REFUSED);
    check_equal(keeper_report(house.k)->verdict, RECOVER_ROT);
    house_close(&house);
    sim_disk_free(d);
}

// ---- manifest and rot

static void the_witness_is_written_once_a_second_at_most(void)
{
    struct sim_disk *d = sim_disk_new(16);
    open_good(d, 1, true);
    house.now_ns += SECOND;
    append(1);
    uint64_t generation = atomic_load(&keeper_stats(house.k)->manifest_generation);
    append(10);
    check(atomic_load(&keeper_stats(house.k)->manifest_generation) == generation);
    house.now_ns += SECOND;
    (void)keeper_step(house.k);
    check(atomic_load(&keeper_stats(house.k)->manifest_generation) == generation + 1);
    house.now_ns += 5 * SECOND;
    (void)keeper_step(house.k);
    check(atomic_load(&keeper_stats(house.k)->manifest_generation) == generation + 1); // nothing new
    house_close(&house);
    sim_disk_free(d);
}

static void scrub_round(uint32_t steps)
{
    for (uint32_t i = 0; i < steps; i++) {
        (void)keeper_step(house.k);
        house.now_ns += SECOND;
    }
}

static void rot_in_cold_files_is_said_and_counted(void)
{
    struct sim_disk *d = sim_disk_new(17);
    char name[SNAPSHOT_NAME_MAX];
    open_good(d, 1, true);
    append(20);
    check(house_snapshot(&house, 20));
    append(60);
    house.now_ns += 700 * SECOND; // the first round found nothing
    scrub_round(40);
    check_equal(atomic_load(&keeper_stats(house.k)->scrub_errors), 0);
    check(atomic_load(&keeper_stats(house.k)->scrubbed_bytes) > 4 * 13 * BLOCK_SIZE);
    segment_name(atomic_load(&keeper_stats(house.k)->first_segment) + 1, name);
    sim_disk_flip(d, name, 3 * BLOCK_SIZE + 9, 4);
    house.now_ns += 700 * SECOND;
    scrub_round(40);
    check_equal(atomic_load(&keeper_stats(house.k)->scrub_errors), 1);
    check(strstr(house.text, name) != NULL);
    snapshot_name(1, 0, name);
    sim_disk_flip(d, name, BLOCK_SIZE + 99, 4);
    house.now_ns += 700 * SECOND;
    scrub_round(40);
    check_equal(atomic_load(&keeper_stats(house.k)->scrub_errors), 3);
    check(strstr(house.text, name) != NULL);
    check(house_snapshot(&house, 80)); // written anew, and all is well
    house.now_ns += 700 * SECOND;
    scrub_round(40);
    check_equal(atomic_load(&keeper_stats(house.k)->scrub_errors), 3);
    house_close(&house);
    sim_disk_free(d);
}

static void a_bad_header_is_written_anew_from_its_twin(void)
{
    for (uint64_t side = 0; side < 2; side++) {
        struct sim_disk *d = sim_disk_new(40 + side);
        uint64_t bad = side == 0 ? 0 : HOUSE_SEGMENT - BLOCK_SIZE, other = side == 0 ? HOUSE_SEGMENT - BLOCK_SIZE : 0;
        uint8_t before[BLOCK_SIZE], after[BLOCK_SIZE];
        char name[SEGMENT_NAME_MAX];
        open_good(d, 1, true);
        append(30);
        house_close(&house);
        segment_name(1, name);
        sim_disk_peek(d, name, bad, before, BLOCK_SIZE);
        sim_disk_flip(d, name, bad + 70, 1);
        open_good(d, 1, true);
        house_close(&house);
        sim_disk_peek(d, name, bad, after, BLOCK_SIZE);
        check(memcmp(before, after, BLOCK_SIZE) == 0);
        sim_disk_flip(d, name, other + 70, 1); // now the other one may go
        open_good(d, 1, true);
        all_there(&house, 1, 30);
        house_close(&house);
        sim_disk_free(d);
    }
}

static void what_an_interrupted_life_left_is_removed(void)
{
    struct sim_disk *d = sim_disk_new(18);
    open_good(d, 1, true);
    append(3);
    house.log.stopped = true; // no more segments are made
    struct log_segment *ready = house.log.ready;
    house.log.ready = NULL;
    house_steps(&house, 100);
    check(house.log.ready == NULL);
    house.log.ready = ready;
    stop_clean();
    sim_disk_put(d, "snapshot-00000000000000000009-0.skry", "junk", 4);
    sim_disk_put(d, "snapshot-00000000000000000009-1.skry.part", "junk", 4);
    sim_disk_put(d, "log-00000000000000000077.skry.part", "junk", 4);
    sim_disk_put(d, "readme.part", "not ours", 8);
    open_good(d, 1, true);
    check_equal(count_names(d, "snapshot-"), 0);
    check(sim_disk_find(d, "log-00000000000000000077.skry.part") == NULL);
    check(sim_disk_find(d, "readme.part") != NULL);
    check(house_snapshot(&house, 3));
    check(has(d, "snapshot-", 10, 0)); // the number is not used again
    stop_clean();
    sim_disk_free(d);
}

// A stop without a record says that the next number is the first needed; files of lower numbers that were made ahead may be gone since.
static void no_segment_gets_a_number_below_the_first_one_that_is_needed(void)
{
    struct sim_disk *d = sim_disk_new(19);
    open_good(d, 1, true);
    house.log.stopped = true;
    house.log.back = house.log.ready;
    house.log.ready = NULL;
    (void)keeper_step(house.k);
    check_equal(keeper_end(house.k, true), 0);
    house_close(&house);
    while (count_names(d, "log-") > 0)
        for (uint32_t i = 0; i < d->names.count; i++)
            if (strncmp(d->names.items[i].name, "log-", 4) == 0)
                sim_disk_remove(d, d->names.items[i].name);
    open_good(d, 1, true);
    append(3);
    house_close(&house);
    struct prng p;
    prng_init(&p, 1);
    struct sim_disk *after = sim_disk_crash(d, &p, CRASH_DROP);
    open_good(after, 1, true);
    all_there(&house, 1, 3);
    stop_clean();
    sim_disk_free(after);
    sim_disk_free(d);
}

TESTS(TEST(a_new_directory_gets_an_identity_and_segments), TEST(what_was_logged_is_loaded_by_every_worker),
      TEST(a_snapshot_lets_old_segments_go_and_they_become_new_ones), TEST(old_segments_beyond_the_spare_ones_are_removed),
      TEST(without_a_log_there_are_snapshots_only), TEST(a_log_may_be_left_and_taken_up_again),
      TEST(a_crash_at_any_operation_leaves_a_directory_that_starts), TEST(also_in_the_life_after_a_crash),
      TEST(segments_behind_the_end_go_without_a_gap), TEST(a_written_snapshot_survives_a_crash_at_any_operation),
      TEST(a_full_disk_is_told_and_tried_again_every_second), TEST(a_start_on_a_full_disk_has_no_segment_until_there_is_room),
      TEST(an_end_without_all_that_was_sent_says_how_much_is_missing), TEST(any_failure_of_the_disk_leaves_a_directory_that_starts),
      TEST(a_snapshot_that_fails_leaves_the_one_before), TEST(what_cannot_be_read_back_does_not_count), TEST(one_snapshot_at_a_time),
      TEST(chunks_of_a_set_that_is_no_more_are_thrown_away), TEST(chunks_on_their_way_are_bounded),
      TEST(pieces_on_their_way_are_bounded_by_bytes), TEST(a_piece_that_a_worker_cannot_apply_ends_the_load),
      TEST(a_directory_that_recovery_refuses_is_refused), TEST(the_witness_is_written_once_a_second_at_most),
      TEST(rot_in_cold_files_is_said_and_counted), TEST(what_an_interrupted_life_left_is_removed),
      TEST(a_bad_header_is_written_anew_from_its_twin), TEST(no_segment_gets_a_number_below_the_first_one_that_is_needed))
