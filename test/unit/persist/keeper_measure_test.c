// SPDX-License-Identifier: Apache-2.0
// Which way a device is written to is found by writing to it: here devices whose ops take the time that a test says.
#include "reactor/backend.h"
#include "test/unit/persist/keeper_world.h"

#define OWNER 7
#define US    UINT64_C(1000)

// What an op takes; ops of one turn take their times one after the other, or all at once.
struct device {
    struct reactor r; // first
    struct house *house;
    uint64_t write_ns, dsync_ns, sync_ns;
    bool together;
    int32_t dsync_result; // 0: as the disk says
    uint64_t begun_ns;
    uint64_t syncs, lowest, highest, writes;
    struct completion done[8];
};

static struct house house;
static struct device device;

static uint64_t cost_of(const struct device *v, const struct op *op)
{
    return op->kind == OP_FSYNC ? v->sync_ns : (op->flags & OP_DSYNC) != 0 ? v->dsync_ns : v->write_ns;
}

static void note(struct device *v, const struct op *op)
{
    check_equal(op->owner, OWNER);
    v->syncs += op->kind == OP_FSYNC;
    if (op->kind == OP_FSYNC)
        return;
    check(op->kind == OP_WRITE && op->len == BLOCK_SIZE && op->fixed_buffer == -1);
    v->lowest = v->writes == 0 || op->offset < v->lowest ? op->offset : v->lowest;
    v->highest = op->offset > v->highest ? op->offset : v->highest;
    v->writes++;
}

static uint32_t device_turn(struct reactor *r, uint64_t wait_ns, const struct completion **out)
{
    struct device *v = (struct device *)r;
    uint64_t longest = 0, sum = 0;
    uint32_t count = 0;
    (void)wait_ns;
    for (struct op *op = reactor_take_submitted(r), *next; op != NULL; op = next) {
        next = op->next;
        assert(count < sizeof v->done / sizeof v->done[0]);
        note(v, op);
        sim_disk_op_start(v->house->disk, op);
        int32_t result = sim_disk_op_finish(v->house->disk, op);
        bool dsync = op->kind == OP_WRITE && (op->flags & OP_DSYNC) != 0;
        op->state = OP_IDLE;
        v->done[count++] = (struct completion){ .op = op, .result = dsync && v->dsync_result != 0 ? v->dsync_result : result };
        sum += cost_of(v, op);
        longest = cost_of(v, op) > longest ? cost_of(v, op) : longest;
    }
    v->house->now_ns += v->together ? longest : sum;
    *out = v->done;
    return count;
}

static const struct reactor_ops DEVICE = { .name = "device", .turn = device_turn };

// A house whose log has a segment and has not been begun.
static struct sim_disk *begin(const struct device *like)
{
    struct sim_disk *d = sim_disk_new(3);
    struct log_origin origin;
    check_equal(house_open(&house, d, 1, true), 0);
    check_equal(house_load(&house), KEEPER_LOADED);
    check_equal(keeper_begin(house.k, &origin), 0);
    house_log(&house, &origin);
    device = *like;
    reactor_init(&device.r, &DEVICE, REACTOR_BLOCKING);
    device.house = &house;
    device.begun_ns = house.now_ns;
    return d;
}

static void end(struct sim_disk *d)
{
    check_equal(d->failure[0], 0);
    house_close(&house);
    sim_disk_free(d);
}

static char text[256];

static enum log_method measured(const struct device *like, uint32_t *flight)
{
    struct sim_disk *d = begin(like);
    enum log_method method = keeper_measure(house.k, &device.r, OWNER, flight, text, sizeof text);
    end(d);
    return method;
}

static void the_method_that_makes_one_frame_durable_soonest_is_taken(void)
{
    uint32_t flight = 0;
    check_equal(measured(&(struct device){ .write_ns = 20 * US, .dsync_ns = 150 * US, .sync_ns = 300 * US }, &flight), LOG_METHOD_DSYNC);
    check_equal(flight, 1);
    check_equal(measured(&(struct device){ .write_ns = 20 * US, .dsync_ns = 350 * US, .sync_ns = 300 * US }, &flight),
                LOG_METHOD_FDATASYNC);
    check(strstr(text, "fdatasync 320 us") != NULL && strstr(text, ", dsync 350 us") != NULL);
}

static void more_in_flight_only_where_the_device_does_them_together(void)
{
    uint32_t flight = 0;
    struct device v = { .write_ns = 20 * US, .dsync_ns = 150 * US, .sync_ns = 300 * US, .together = true };
    check_equal(measured(&v, &flight), LOG_METHOD_DSYNC);
    check_equal(flight, 4);
    v.together = false;
    check_equal(measured(&v, &flight), LOG_METHOD_DSYNC);
    check_equal(flight, 1);
    // A sync for four writes is most of what one for each costs.
    v = (struct device){ .write_ns = 20 * US, .dsync_ns = 900 * US, .sync_ns = 300 * US };
    check_equal(measured(&v, &flight), LOG_METHOD_FDATASYNC);
    check_equal(flight, 4);
    v.write_ns = 900 * US; // a write is what takes its time: a fifth more frames are not to be had
    v.dsync_ns = 2000 * US;
    check_equal(measured(&v, &flight), LOG_METHOD_FDATASYNC);
    check_equal(flight, 1);
}

static void a_method_that_fails_is_not_taken_however_quick(void)
{
    uint32_t flight = 0;
    struct device v = { .write_ns = 20 * US, .dsync_ns = 1 * US, .sync_ns = 300 * US, .dsync_result = -EOPNOTSUPP };
    check_equal(measured(&v, &flight), LOG_METHOD_FDATASYNC);
    char want[32];
    snprintf(want, sizeof want, ", dsync failed (%d)", EOPNOTSUPP);
    check(strstr(text, want) != NULL);
    v.dsync_result = 512; // of 4096
    check_equal(measured(&v, &flight), LOG_METHOD_FDATASYNC);
    snprintf(want, sizeof want, ", dsync failed (%d)", EIO);
    check(strstr(text, want) != NULL);
}

static void where_everything_fails_it_is_one_fdatasync(void)
{
    uint32_t flight = 0;
    struct sim_disk *d = begin(&(struct device){ .write_ns = 20 * US, .dsync_ns = 150 * US, .sync_ns = 300 * US });
    sim_disk_fail(d, DISK_FAIL_WRITE, 1, true);
    check_equal(keeper_measure(house.k, &device.r, OWNER, &flight, text, sizeof text), LOG_METHOD_FDATASYNC);
    check_equal(flight, 1);
    check(device.writes <= 12); // each way once
    end(d);
}

static void a_slow_device_is_measured_once_each_way_and_a_quick_one_no_longer_than_is_said(void)
{
    uint32_t flight;
    struct device v = { .write_ns = 1000 * US, .dsync_ns = 200000 * US, .sync_ns = 200000 * US };
    struct sim_disk *d = begin(&v);
    (void)keeper_measure(house.k, &device.r, OWNER, &flight, text, sizeof text);
    check_equal(device.writes, 1 + 4 + 1 + 2 + 4);
    check_equal(device.syncs, 2);
    end(d);
    v = (struct device){ .write_ns = 10 * US, .dsync_ns = 50 * US, .sync_ns = 40 * US };
    d = begin(&v);
    (void)keeper_measure(house.k, &device.r, OWNER, &flight, text, sizeof text);
    check(house.now_ns - device.begun_ns <= KEEPER_MEASURE_NS + 5 * 200 * US); // a round more of each
    check(house.now_ns - device.begun_ns > KEEPER_MEASURE_NS / 2);
    end(d);
}

static void a_text_that_is_too_small_is_cut(void)
{
    uint32_t flight;
    char small[24];
    struct sim_disk *d = begin(&(struct device){ .write_ns = 20 * US, .dsync_ns = 150 * US, .sync_ns = 300 * US });
    memset(small, 'x', sizeof small);
    (void)keeper_measure(house.k, &device.r, OWNER, &flight, small, 20);
    check(strlen(small) == 19 && strncmp(small, "fdatasync 320 us, 4 writes", 19) == 0);
    check_equal(small[20], 'x');
    end(d);
}

static void headers_stay_and_the_log_begins_there_as_if_nothing_had_been(void)
{
    uint32_t flight;
    struct prng p;
    prng_init(&p, 5);
    for (int kind = 0; kind < CRASH_KINDS; kind++) {
        struct sim_disk *d = begin(&(struct device){ .write_ns = 20 * US, .dsync_ns = 150 * US, .sync_ns = 300 * US });
        (void)keeper_measure(house.k, &device.r, OWNER, &flight, text, sizeof text);
        check_equal(device.lowest, BLOCK_SIZE);
        check_equal(device.highest, HOUSE_SEGMENT - 2 * BLOCK_SIZE); // round and round
        keeper_attach(house.k, &house.log);
        house_steps(&house, 200);
        for (uint32_t i = 0; i < 40; i++) {
            check_equal(log_append(&house.log, 0), 0);
            house_steps(&house, 100);
        }
        struct sim_disk *after = sim_disk_crash(d, &p, (enum crash_kind)kind);
        end(d);
        check_equal(house_open(&house, after, 1, true), 0);
        check_equal(house_load(&house), KEEPER_LOADED);
        for (uint32_t n = 1; n <= 40; n++)
            check(house.there[n]);
        check_equal(house_begin(&house), 0);
        house_steps(&house, 200);
        check(house_snapshot(&house, 40));
        end(after);
    }
}

TESTS(TEST(the_method_that_makes_one_frame_durable_soonest_is_taken), TEST(more_in_flight_only_where_the_device_does_them_together),
      TEST(a_method_that_fails_is_not_taken_however_quick), TEST(where_everything_fails_it_is_one_fdatasync),
      TEST(a_slow_device_is_measured_once_each_way_and_a_quick_one_no_longer_than_is_said), TEST(a_text_that_is_too_small_is_cut),
      TEST(headers_stay_and_the_log_begins_there_as_if_nothing_had_been))
