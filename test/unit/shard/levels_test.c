// SPDX-License-Identifier: Apache-2.0
// A request is answered at the level at which it was asked for, however long it takes and whatever its connection asks for meanwhile: two
// whole workers, whose log is the test.
#include "engine/shard/conn.h"
#include "reactor/clock.h"
#include "test/sim/frames.h"
#include "test/sim/world.h"
#include "test/unit/shard/rig.h"

#define WORKERS 2

struct town {
    struct world world;
    struct pages pages;
    struct server server;
    struct server_host host;
    struct log_port ports[WORKERS];
    struct worker *workers[WORKERS];
    struct reactor *reactors[WORKERS];
    int listeners[WORKERS];
    char keys[WORKERS]; // one of each worker
    uint8_t got[1024];  // by the socket that was read last
    size_t got_len;
};

static void stop_requested(struct server *server)
{
}

static void make_worker(struct town *t, uint32_t i)
{
    static const struct hash_secret SECRET = { 1, 2 };
    t->reactors[i] = world_reactor_new(&t->world);
    int rc = worker_new(&t->workers[i], &t->server, i, t->reactors[i], &t->pages.memory, i, &SECRET);
    assert(rc == 0);
    t->listeners[i] = net_listen(&t->world.net);
    rc = worker_listen(t->workers[i], t->listeners[i], false);
    assert(rc == 0);
    log_port_init(&t->ports[i]);
    atomic_store(&t->ports[i].room, UINT64_MAX);
    atomic_store(&t->ports[i].state, LOG_RUNS);
    effects_start(t->workers[i], &t->ports[i]);
    gate_refresh(t->workers[i]);
}

static void begin(struct town *t, int appendfsync)
{
    static const struct world_knobs KNOBS = { .net = { .segment_max = 4096 }, .buffers = 64, .buffer_size = 4096 };
    memset(t, 0, sizeof *t);
    world_init(&t->world, &KNOBS, 1);
    world_calm(&t->world);
    pages_init(&t->pages);
    struct server *s = &t->server;
    options_init(&s->options);
    s->options.appendfsync = appendfsync;
    t->host = (struct server_host){ .stop_requested = stop_requested, .os = "test", .compiler = "", .allocator = "libc", .pid = 1 };
    s->host = &t->host;
    s->executable = s->config_file = "";
    s->worker_count = WORKERS;
    s->workers = t->workers;
    s->logging.on = true;
    route_init(&s->route, WORKERS, ROUTE_FULL_KEY);
    s->rings = mesh_rings_new(WORKERS);
    assert(s->rings != NULL);
    for (uint32_t i = 0; i < WORKERS; i++)
        make_worker(t, i);
    for (uint32_t i = 0; i < WORKERS; i++)
        for (char key = 'a'; t->keys[i] == '\0'; key++)
            if (route_shard(&s->route, slice_of(&key, 1)) == i)
                t->keys[i] = key;
}

static void turn(struct town *t, uint32_t worker)
{
    t->world.now_ns += NS_PER_MS;
    (void)worker_turn(t->workers[worker]);
}

static void rounds(struct town *t)
{
    for (uint32_t i = 0; i < 8 * WORKERS; i++)
        turn(t, i % WORKERS);
}

static void end(struct town *t)
{
    atomic_store(&t->server.stop, SERVER_STOPS_NOW);
    rounds(t);
    for (uint32_t i = 0; i < WORKERS; i++) {
        worker_free(t->workers[i]);
        reactor_close_all(t->reactors[i]);
        log_port_deinit(&t->ports[i]);
    }
    mesh_rings_free(t->server.rings);
    options_deinit(&t->server.options);
    world_deinit(&t->world);
}

// The log has written, or made durable, all that it was sent.
static void log_says(struct town *t, bool durable)
{
    for (uint32_t i = 0; i < WORKERS; i++) {
        uint64_t position = t->workers[i]->effects.position;
        atomic_store(&t->ports[i].written, position);
        if (durable)
            atomic_store(&t->ports[i].durable, position);
    }
    rounds(t);
}

static struct socket *connect_to(struct town *t, uint32_t worker)
{
    struct socket *s = socket_connect(&t->world.net, t->listeners[worker], 65536, 65536);
    assert(s != NULL);
    return s;
}

static void say(struct town *t, struct socket *s, struct buf *bytes)
{
    check_equal(socket_write(&t->world.net, s, bytes->data, bytes->len), bytes->len);
    bytes->len = 0;
}

// A line goes as RESP, or as a frame of this level (enum gate_level) when it is not negative. @0: a key of worker 0.
static void add(const struct town *t, struct buf *out, int level, const char *line)
{
    struct slice argv[16];
    uint32_t argc = words_of(line, argv);
    for (uint32_t i = 0; i < argc; i++)
        if (argv[i].data[0] == '@')
            argv[i] = slice_of(&t->keys[argv[i].data[1] - '0'], 1);
    if (level >= 0) {
        (void)frames_put(out, argv, argc, (uint8_t)((uint32_t)(level + 1) << FRAMES_LEVEL_SHIFT), WORKERS);
        return;
    }
    buf_format(out, "*%u\r\n", argc);
    for (uint32_t i = 0; i < argc; i++)
        buf_format(out, "$%zu\r\n%.*s\r\n", argv[i].len, (int)argv[i].len, (const char *)argv[i].data);
}

// What has come since; how many bytes.
static size_t hears(struct town *t, struct socket *s)
{
    long n = socket_read(&t->world.net, s, t->got, sizeof t->got);
    t->got_len = n > 0 ? (size_t)n : 0;
    return t->got_len;
}

static bool heard(const struct town *t, const char *text)
{
    return t->got_len == strlen(text) && memcmp(t->got, text, t->got_len) == 0;
}

#define PLAIN (-1)
#define OK    "+OK\r\n"

// ---- a command on keys of both workers

static void mset_and_lower(struct town *t, struct socket *s)
{
    struct buf out;
    buf_init(&out, BUF_NO_LIMIT);
    add(t, &out, PLAIN, "CLIENT DURABILITY always");
    add(t, &out, PLAIN, "MSET @0 1 @1 1");
    add(t, &out, PLAIN, "CLIENT DURABILITY default");
    say(t, s, &out);
    buf_deinit(&out);
}

static void a_command_on_several_workers_keeps_the_level_of_its_beginning(void)
{
    struct town t;
    begin(&t, APPENDFSYNC_NO);
    struct socket *s = connect_to(&t, 0);
    mset_and_lower(&t, s);
    rounds(&t);
    log_says(&t, false);
    check_equal(hears(&t, s), 0);
    log_says(&t, true);
    hears(&t, s);
    check(heard(&t, OK OK OK));
    socket_close(&t.world.net, s, false);
    end(&t);
}

// Of HELLO, and that it was heard.
static struct socket *connect_with_levels(struct town *t, uint32_t worker)
{
    struct socket *s = connect_to(t, worker);
    struct buf out;
    buf_init(&out, BUF_NO_LIMIT);
    frames_hello(&out);
    say(t, s, &out);
    rounds(t);
    check(hears(t, s) > 0);
    buf_deinit(&out);
    return s;
}

static void a_frame_on_several_workers_keeps_its_level_though_the_next_asks_for_less(void)
{
    struct town t;
    begin(&t, APPENDFSYNC_NO);
    struct socket *s = connect_with_levels(&t, 0);
    struct buf out;
    buf_init(&out, BUF_NO_LIMIT);
    add(&t, &out, GATE_ALWAYS, "MSET @0 1 @1 1");
    add(&t, &out, GATE_NO, "GET @0");
    say(&t, s, &out);
    rounds(&t);
    log_says(&t, false);
    check_equal(hears(&t, s), 0);
    log_says(&t, true);
    check(hears(&t, s) > 0);
    buf_deinit(&out);
    socket_close(&t.world.net, s, false);
    end(&t);
}

static void values_of_several_workers_are_shown_at_the_level_of_their_frame(void)
{
    struct town t;
    begin(&t, APPENDFSYNC_NO);
    struct socket *writer = connect_to(&t, 0), *reader = connect_with_levels(&t, 0);
    struct buf out;
    buf_init(&out, BUF_NO_LIMIT);
    add(&t, &out, PLAIN, "SET @0 1");
    say(&t, writer, &out);
    rounds(&t);
    log_says(&t, false);
    hears(&t, writer);
    check(heard(&t, OK));
    add(&t, &out, GATE_ALWAYS, "MGET @0 @1");
    add(&t, &out, GATE_NO, "GET @1");
    say(&t, reader, &out);
    rounds(&t);
    check_equal(hears(&t, reader), 0);
    log_says(&t, true);
    check(hears(&t, reader) > 0);
    buf_deinit(&out);
    socket_close(&t.world.net, writer, false);
    socket_close(&t.world.net, reader, false);
    end(&t);
}

static void a_transaction_of_everysec_is_to_be_flushed_soon(void)
{
    struct town t;
    begin(&t, APPENDFSYNC_NO);
    struct socket *s = connect_with_levels(&t, 0);
    struct buf out;
    buf_init(&out, BUF_NO_LIMIT);
    add(&t, &out, GATE_EVERYSEC, "MSET @0 1 @1 1");
    say(&t, s, &out);
    rounds(&t);
    bool soon = false;
    for (struct log_batch *b = log_port_pull(&t.ports[0].in), *next; b != NULL; b = next) { // the coordinator's has the marker
        next = b->next;
        soon |= b->soon;
        log_batch_free(b);
    }
    check(soon);
    buf_deinit(&out);
    socket_close(&t.world.net, s, false);
    end(&t);
}

// ---- what waits for a transaction

static void a_frame_that_waits_for_a_transaction_keeps_its_level(void)
{
    struct town t;
    begin(&t, APPENDFSYNC_NO);
    struct socket *other = connect_to(&t, 1), *s = connect_with_levels(&t, 0);
    struct buf out;
    buf_init(&out, BUF_NO_LIMIT);
    rounds(&t);
    add(&t, &out, PLAIN, "MSET @0 1 @1 1");
    say(&t, other, &out);
    turn(&t, 1); // announces
    turn(&t, 0); // grants: from now on the key is the transaction's
    check(t.workers[0]->txns.intents.count > 0);
    add(&t, &out, GATE_ALWAYS, "SET @0 2");
    add(&t, &out, GATE_NO, "EXISTS none");
    say(&t, s, &out);
    turn(&t, 0);
    check(t.workers[0]->txns.intents.count > 1);
    rounds(&t);
    check_equal(t.workers[0]->txns.intents.count, 0);
    log_says(&t, false);
    check_equal(hears(&t, s), 0);
    check(hears(&t, other) > 0); // which asks for nothing
    log_says(&t, true);
    check(hears(&t, s) > 0);
    buf_deinit(&out);
    socket_close(&t.world.net, other, false);
    socket_close(&t.world.net, s, false);
    end(&t);
}

// ---- EXEC

static void a_transaction_is_answered_at_the_highest_level_that_one_of_its_commands_had(void)
{
    struct town t;
    begin(&t, APPENDFSYNC_NO);
    struct socket *s = connect_to(&t, 0);
    struct buf out;
    buf_init(&out, BUF_NO_LIMIT);
    add(&t, &out, PLAIN, "MULTI");
    add(&t, &out, PLAIN, "CLIENT DURABILITY always");
    add(&t, &out, PLAIN, "SET @0 1");
    add(&t, &out, PLAIN, "SET @1 1");
    add(&t, &out, PLAIN, "CLIENT DURABILITY default");
    add(&t, &out, PLAIN, "EXEC");
    say(&t, s, &out);
    rounds(&t);
    log_says(&t, false);
    check_equal(hears(&t, s), 0);
    log_says(&t, true);
    hears(&t, s);
    check(heard(&t, OK "+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*4\r\n" OK OK OK OK));
    buf_deinit(&out);
    socket_close(&t.world.net, s, false);
    end(&t);
}

TESTS(TEST(a_command_on_several_workers_keeps_the_level_of_its_beginning),
      TEST(a_frame_on_several_workers_keeps_its_level_though_the_next_asks_for_less),
      TEST(values_of_several_workers_are_shown_at_the_level_of_their_frame), TEST(a_transaction_of_everysec_is_to_be_flushed_soon),
      TEST(a_frame_that_waits_for_a_transaction_keeps_its_level),
      TEST(a_transaction_is_answered_at_the_highest_level_that_one_of_its_commands_had))
