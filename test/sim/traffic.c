// SPDX-License-Identifier: Apache-2.0
#include "test/sim/traffic.h"

#include "reactor/clock.h"
#include "test/history/check.h"
#include "test/sim/resp_reader.h"

#define ANY(p, ...) ((const uint32_t[]){ __VA_ARGS__ }[prng_below(p, sizeof(const uint32_t[]){ __VA_ARGS__ } / sizeof(uint32_t))])

static struct world *world(const struct traffic *t)
{
    return sim_world(t->sim);
}

static bool chance(struct traffic *t, uint32_t permille)
{
    return permille > 0 && prng_below(&t->prng, 1000) < permille;
}

void traffic_init(struct traffic *t, struct sim *sim, enum lie lie, uint64_t seed)
{
    *t = (struct traffic){ .sim = sim };
    prng_init(&t->prng, seed);
    struct prng *p = &t->prng;
    const struct workload_knobs *k = sim_workload(sim);
    t->count = ANY(p, 2, 3, 5, 8, TRAFFIC_CLIENTS_MAX);
    t->requests = ANY(p, 200, 500, 1000);
    struct workload_options o = {
        .registers = ANY(p, 2, 5, 16),
        .lists = ANY(p, 1, 3),
        .counters = ANY(p, 1, 2),
        .many = ANY(p, 0, 300, 300, 800),
        .multi = true,
        .abandon = ANY(p, 0, 500),
        .depth = ANY(p, 1, 4, 16, SESSION_PENDING_MAX),
        .value_max = k->value_max > 600 ? 600 : k->value_max,
        .lie = lie,
    };
    workload_init(&t->workload, &o, prng_next(p));
    for (uint32_t i = 0; i < t->count; i++) {
        struct traffic_client *c = &t->clients[i];
        c->state = CLIENT_AWAY;
        buf_init(&c->out, BUF_NO_LIMIT);
        buf_init(&c->in, BUF_NO_LIMIT);
        session_open(&c->session, &t->workload);
    }
}

void traffic_deinit(struct traffic *t)
{
    for (uint32_t i = 0; i < t->count; i++) {
        struct traffic_client *c = &t->clients[i];
        if (c->socket != NULL)
            socket_close(&world(t)->net, c->socket, true);
        buf_deinit(&c->out);
        buf_deinit(&c->in);
    }
    workload_deinit(&t->workload);
}

// ---- the connection

static void gone(struct traffic *t, struct traffic_client *c)
{
    session_cut(&c->session);
    session_open(&c->session, &t->workload);
    c->socket = NULL;
    c->out.len = c->out_sent = c->in.len = 0;
    c->finish_sent = c->finish_wanted = false;
    c->quiet_until_ns = 0;
    c->state = c->state == CLIENT_DONE ? CLIENT_DONE : CLIENT_AWAY;
    c->again_ns = world(t)->now_ns + prng_below(&t->prng, 3 * NS_PER_MS);
}

static void cut(struct traffic *t, struct traffic_client *c, bool reset)
{
    t->cuts++;
    sim_say(t->sim, "process %u is cut (%s), %u requests due", c->session.process, reset ? "RST" : "close", c->session.count);
    socket_close(&world(t)->net, c->socket, reset);
    gone(t, c);
}

static void on_end(struct traffic *t, struct traffic_client *c)
{
    bool excused = c->socket->lossy || sim_lenient(t->sim);
    if (!excused && (!c->finish_sent || c->session.count > 0 || c->in.len > 0))
        world_fail(world(t), "process %u: the server ended the connection with %u requests due", c->session.process, c->session.count);
    socket_close(&world(t)->net, c->socket, false);
    gone(t, c);
}

static void connect_again(struct traffic *t, struct traffic_client *c)
{
    const struct workload_knobs *k = sim_workload(t->sim);
    size_t send = 64 + prng_below(&t->prng, k->send_window), receive = 1 + prng_below(&t->prng, k->receive_window);
    c->socket = socket_connect(&world(t)->net, sim_listener(t->sim, &t->prng), send, receive + k->receive_window / 4);
    c->again_ns = world(t)->now_ns + NS_PER_MS;
    if (c->socket == NULL)
        return;
    sim_say(t->sim, "process %u connects (connection %u)", c->session.process, c->socket->number);
    c->state = CLIENT_ON;
}

// ---- reading and writing

static void parse(struct traffic *t, struct traffic_client *c)
{
    size_t used = 0;
    while (used < c->in.len && world(t)->failure[0] == '\0') {
        struct slice rest = slice_of(c->in.data + used, c->in.len - used);
        long len = reader_length(rest);
        if (len == READER_PARTIAL)
            break;
        if (len < 0) {
            world_fail(world(t), "process %u: bytes that are no reply: %.*s", c->session.process, rest.len < 40 ? (int)rest.len : 40,
                       (const char *)rest.data);
            break;
        }
        sim_say(t->sim, "process %u <- %.*s", c->session.process, len < 60 ? (int)len - 2 : 60, (const char *)rest.data);
        if (!session_reply(&c->session, slice_of(rest.data, (size_t)len)))
            world_fail(world(t), "%s", t->workload.failure);
        used += (size_t)len;
    }
    buf_consume(&c->in, used);
}

static void read_some(struct traffic *t, struct traffic_client *c)
{
    size_t want = 1 + prng_below(&t->prng, sim_workload(t->sim)->read_max);
    uint8_t *to = buf_reserve(&c->in, want);
    assert(to != NULL);
    long n = socket_read(&world(t)->net, c->socket, to, want);
    if (n < 0) {
        on_end(t, c);
        return;
    }
    buf_advance(&c->in, (size_t)n);
    if (n > 0)
        parse(t, c);
}

static bool wants_more(const struct traffic *t, const struct traffic_client *c)
{
    return c->state == CLIENT_ON && !world(t)->calm && t->workload.asked < t->requests && session_may_ask(&c->session);
}

static bool has_output(const struct traffic_client *c)
{
    return c->socket != NULL && c->out_sent < c->out.len && (c->socket->server_gone || pipe_room(&c->socket->in) > 0);
}

static bool reads(const struct traffic *t, const struct traffic_client *c)
{
    return world(t)->calm || c->quiet_until_ns <= world(t)->now_ns;
}

static void ask_some(struct traffic *t, struct traffic_client *c)
{
    uint64_t n = 1 + prng_below(&t->prng, t->workload.options.depth);
    while (n-- > 0 && wants_more(t, c)) {
        size_t from = c->out.len;
        (void)session_ask(&c->session, &c->out);
        size_t len = c->out.len - from;
        sim_say(t->sim, "process %u -> %.*s", c->session.process, len < 100 ? (int)len : 100, (const char *)c->out.data + from);
    }
    c->think_until_ns = world(t)->now_ns + prng_below(&t->prng, sim_workload(t->sim)->think_ns + 1);
}

static void write_some(struct traffic *t, struct traffic_client *c)
{
    size_t left = c->out.len - c->out_sent;
    size_t n = prng_below(&t->prng, 3) == 0 ? 1 + prng_below(&t->prng, left) : left;
    c->out_sent += socket_write(&world(t)->net, c->socket, c->out.data + c->out_sent, n);
    if (c->out_sent == c->out.len)
        c->out.len = c->out_sent = 0;
}

static bool abandons(const struct traffic_client *c)
{
    return c->state == CLIENT_ON && c->session.leaving && c->session.count == 0 && c->out.len == 0;
}

static bool wants_finish(const struct traffic_client *c)
{
    return c->finish_wanted && !c->finish_sent && c->out.len == 0;
}

static void mishap(struct traffic *t, struct traffic_client *c)
{
    const struct workload_knobs *k = sim_workload(t->sim);
    if (abandons(c)) {
        cut(t, c, prng_below(&t->prng, 2) == 0);
        return;
    }
    if (world(t)->calm)
        return;
    if (chance(t, k->slow))
        c->quiet_until_ns = world(t)->now_ns + prng_below(&t->prng, 200 * NS_PER_MS);
    if (!chance(t, k->cut))
        return;
    uint64_t how = prng_below(&t->prng, 3);
    if (how < 2) {
        cut(t, c, how == 0);
    } else if (c->state == CLIENT_ON) { // half: what is due must still come
        c->finish_wanted = true;
        c->state = CLIENT_FINISHED;
    }
}

void traffic_step(struct traffic *t, uint32_t client)
{
    struct traffic_client *c = &t->clients[client];
    if (c->state == CLIENT_AWAY && c->again_ns <= world(t)->now_ns)
        connect_again(t, c);
    if (c->socket == NULL)
        return;
    if (wants_more(t, c) && c->think_until_ns <= world(t)->now_ns)
        ask_some(t, c);
    if (has_output(c))
        write_some(t, c);
    if (wants_finish(c)) {
        c->finish_sent = true;
        socket_finish(&world(t)->net, c->socket);
    }
    if (reads(t, c))
        read_some(t, c);
    if (c->socket != NULL)
        mishap(t, c);
}

uint64_t traffic_next_ns(const struct traffic *t, uint32_t client)
{
    const struct traffic_client *c = &t->clients[client];
    if (c->state == CLIENT_DONE && c->socket == NULL)
        return NEVER;
    if (c->socket == NULL)
        return c->again_ns;
    if (has_output(c) || wants_finish(c) || abandons(c))
        return 0;
    uint64_t next = socket_next_ns(c->socket);
    if (!reads(t, c) && next < c->quiet_until_ns)
        next = c->quiet_until_ns;
    if (wants_more(t, c) && c->think_until_ns < next)
        next = c->think_until_ns;
    return next;
}

// ---- phases

static bool all_answered(const struct traffic *t)
{
    for (uint32_t i = 0; i < t->count; i++)
        if (t->clients[i].session.count > 0)
            return false;
    return true;
}

bool traffic_worked(const struct traffic *t)
{
    return t->count == 0 || (t->workload.asked >= t->requests && all_answered(t));
}

bool traffic_answered(const struct traffic *t)
{
    for (uint32_t i = 0; i < t->count; i++)
        if (t->clients[i].state != CLIENT_ON)
            return false;
    return all_answered(t);
}

void traffic_leave(struct traffic *t)
{
    for (uint32_t i = 0; i < t->count; i++) {
        struct traffic_client *c = &t->clients[i];
        bool cuts = prng_below(&t->prng, 3) == 0;
        c->finish_wanted = c->socket != NULL;
        c->state = CLIENT_DONE;
        if (c->socket != NULL && cuts)
            cut(t, c, true);
    }
}

bool traffic_left(const struct traffic *t)
{
    for (uint32_t i = 0; i < t->count; i++)
        if (t->clients[i].socket != NULL)
            return false;
    return true;
}

void traffic_check(struct traffic *t)
{
    struct verdict verdict;
    for (uint32_t i = 0; i < t->count; i++)
        session_cut(&t->clients[i].session);
    if (!history_check(&t->workload.history, &verdict))
        world_fail(world(t), "%s: %s", verdict.claim, verdict.text);
    sim_say(t->sim, "%u requests, %u cuts, %u lies; %s", (uint32_t)t->workload.asked, t->cuts, t->workload.lies,
            verdict.claim != NULL ? verdict.claim : "the history holds");
    verdict_deinit(&verdict);
}
