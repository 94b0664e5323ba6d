// SPDX-License-Identifier: Apache-2.0
// What BGSAVE, BGREWRITEAOF, LASTSAVE and SAVE answer, and what they leave behind.
#include "engine/shard/multi.h"
#include "test/unit/shard/saving.h"

static char NO_POINTS[] = "";
static struct conn conn;
static struct multi running;

// The reply to a line of the connection.
static const char *said(const char *line)
{
    static char text[160];
    struct slice argv[4];
    uint32_t argc = words_of(line, argv);
    struct buf out;
    buf_init(&out, BUF_NO_LIMIT);
    struct reply reply = { .out = &out, .protocol = PROTOCOL_RESP2 };
    struct call c = { .command = command_find(argv, argc), .argc = argc, .argv = argv, .reply = &reply, .worker = saved.w };
    c.client = &conn.client;
    c.command->run(&c);
    (void)snprintf(text, sizeof text, "%.*s", (int)out.len, (const char *)out.data);
    buf_deinit(&out);
    return text;
}

static struct worker *begin(bool keeps)
{
    struct worker *w = saving_start(NO_POINTS, keeps);
    memset(&conn, 0, sizeof conn);
    conn.worker = w;
    running = (struct multi){ .conn = &conn, .state = MULTI_RUNNING };
    return w;
}

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static bool again(void)
{
    return atomic_load(&saved.rig.server.saving.again);
}

static bool last_save_is(int64_t ms)
{
    char want[32];
    snprintf(want, sizeof want, ":%lld\r\n", (long long)ms / 1000);
    return strcmp(said("LASTSAVE"), want) == 0;
}

static void without_a_directory_there_is_nowhere_to_save_to(void)
{
    static const char *const LINES[] = { "SAVE", "BGSAVE", "BGSAVE SCHEDULE", "BGREWRITEAOF" };
    begin(false);
    for (size_t i = 0; i < sizeof LINES / sizeof LINES[0]; i++)
        check(begins(said(LINES[i]), "-ERR there is nowhere to save to"));
    check(begins(said("BGSAVE CANCEL"), "-ERR Background saving is currently not in progress"));
    check(!again());
    check(last_save_is(STARTED));
    saving_stop();
}

static void bgsave_begins_one_and_says_when_one_is_under_way(void)
{
    begin(true);
    check(begins(said("BGSAVE now"), "-ERR syntax"));
    check(begins(said("BGSAVE SCHEDULE now"), "-ERR syntax"));
    check_equal(saving_phase(), SAVE_IDLE);
    check(begins(said("BGSAVE"), "+Background saving started"));
    check(begins(said("BGSAVE"), "-ERR Background save already in progress"));
    check(begins(said("SAVE"), "-ERR Background save already in progress"));
    saving_run();
    check(save_settle(saved.w));
    check_equal(saving_status().count, 1);
    check(last_save_is(NOW));
    saving_stop();
}

static void a_rewrite_behind_another_is_scheduled(void)
{
    begin(true);
    check(begins(said("BGREWRITEAOF"), "+Background append only file rewriting started"));
    check(!again());
    check(begins(said("BGREWRITEAOF"), "+Background append only file rewriting scheduled"));
    check(again());
    saving_run();
    saving_tick(100);
    check_equal(saving_phase(), SAVE_BEGINS);
    saving_stop();
}

// A transaction holds keys that the cut waits for.
static void in_a_transaction_it_comes_behind_it(void)
{
    begin(true);
    conn.multi = &running;
    check(begins(said("BGSAVE"), "+Background saving scheduled"));
    check(begins(said("BGREWRITEAOF"), "+Background append only file rewriting scheduled"));
    check_equal(saving_phase(), SAVE_IDLE);
    check(again());
    conn.multi = NULL;
    saving_tick(100);
    check_equal(saving_phase(), SAVE_BEGINS);
    saving_stop();
}

static void cancel_ends_what_runs_what_begins_and_what_is_scheduled(void)
{
    begin(true);
    check(begins(said("BGSAVE CANCEL"), "-ERR Background saving is currently not in progress or scheduled"));
    check(begins(said("BGSAVE"), "+"));
    check(begins(said("bgsave cancel"), "+Background saving cancelled")); // begins
    saving_run();
    check(strcmp(saving_status().error, SAVE_CANCELLED) == 0);
    check(save_settle(saved.w));
    check(begins(said("BGSAVE"), "+"));
    save_turn(saved.w);
    check(begins(said("BGREWRITEAOF"), "+Background append only file rewriting scheduled"));
    check(begins(said("BGSAVE CANCEL"), "+Background saving cancelled")); // runs, and the one behind it too
    saving_run();
    check_equal(saving_status().count, 0);
    saving_tick(100);
    check_equal(saving_phase(), SAVE_IDLE);
    atomic_store(&saved.rig.server.saving.again, true);
    check(begins(said("BGSAVE CANCEL"), "+Scheduled background saving cancelled"));
    check(!again());
    saving_stop();
}

// It is of the log, not of BGSAVE.
static void the_base_of_a_log_that_is_switched_on_is_not_cancelled(void)
{
    begin(true);
    check(begins(said("BGSAVE"), "+"));
    save_turn(saved.w);
    atomic_store(&saved.rig.server.logging.turning.phase, SWITCH_NONE + 1);
    check(begins(said("BGSAVE CANCEL"), "-ERR"));
    saving_run();
    check_equal(saving_status().state, SNAPSHOT_WRITTEN);
    atomic_store(&saved.rig.server.logging.turning.phase, SWITCH_NONE);
    saving_stop();
}

static void a_frame_cannot_wait_for_save(void)
{
    begin(true);
    conn.frame = 1;
    check(begins(said("SAVE"), "-ERR SAVE is not part of FCNP"));
    check_equal(saving_phase(), SAVE_IDLE);
    saving_stop();
}

TESTS(TEST(without_a_directory_there_is_nowhere_to_save_to), TEST(bgsave_begins_one_and_says_when_one_is_under_way),
      TEST(a_rewrite_behind_another_is_scheduled), TEST(in_a_transaction_it_comes_behind_it),
      TEST(cancel_ends_what_runs_what_begins_and_what_is_scheduled), TEST(the_base_of_a_log_that_is_switched_on_is_not_cancelled),
      TEST(a_frame_cannot_wait_for_save))
