// SPDX-License-Identifier: Apache-2.0
#include "test/sim/client.h"

#include "reactor/clock.h"
#include "test/sim/frames.h"
#include "test/sim/resp_reader.h"

static struct world *world(const struct client_sim *c)
{
    return sim_world(c->sim);
}

static bool chance(struct client_sim *c, uint32_t permille)
{
    return permille > 0 && prng_below(&c->prng, 1000) < permille;
}

void client_sim_init(struct client_sim *c, struct sim *sim, uint32_t id, uint64_t seed)
{
    *c = (struct client_sim){ .sim = sim, .id = id, .state = CLIENT_AWAY, .protocol = 2 };
    prng_init(&c->prng, seed);
    buf_init(&c->out, BUF_NO_LIMIT);
    buf_init(&c->in, BUF_NO_LIMIT);
    c->due_tail = &c->due;
    c->key_count = sim_workload(sim)->keys;
    for (uint32_t i = 0; i < c->key_count; i++) {
        struct key *k = &c->keys[i];
        k->timed = i % 4 == 3;
        k->db = i % 4 == 1 && id + 1 < sim_databases(sim) ? id + 1 : 0;
        key_name(c, k, i);
    }
    c->private_lost = id + 1 >= sim_databases(sim);
}

static void drop_due(struct client_sim *c)
{
    for (struct expect *e = c->due, *next; e != NULL; e = next) {
        next = e->next;
        expect_free(e);
    }
    c->due = NULL;
    c->due_tail = &c->due;
    c->due_count = 0;
}

void client_sim_deinit(struct client_sim *c)
{
    drop_due(c);
    for (uint32_t i = 0; i < c->key_count; i++)
        value_drop(c->keys[i].value);
    for (struct lost_key *l = c->lost, *next; l != NULL; l = next) {
        next = l->next;
        for (uint32_t i = 0; i < l->count; i++)
            value_drop(l->values[i]);
        free(l->values);
        free(l);
    }
    if (c->socket != NULL)
        socket_close(&world(c)->net, c->socket, true);
    buf_deinit(&c->out);
    buf_deinit(&c->in);
}

// ---- the connection is gone, with commands unanswered

static void lost_value(struct lost_key *l, struct value *v)
{
    l->values = realloc(l->values, (l->count + 1) * sizeof(struct value *));
    assert(l->values != NULL);
    l->values[l->count++] = value_hold(v);
}

void lost_flushed(struct client_sim *c)
{
    for (struct lost_key *l = c->lost; l != NULL; l = l->next)
        if (l->db != 0)
            lost_value(l, NULL);
}

// The record of this key in this cut: made at its first unanswered write.
static struct lost_key *lost_record(struct client_sim *c, const struct touch *t, struct lost_key *until)
{
    for (struct lost_key *l = c->lost; l != until; l = l->next)
        if (l->db == t->key->db && strcmp(l->name, t->key->name) == 0)
            return l;
    struct lost_key *l = calloc(1, sizeof *l);
    assert(l != NULL);
    memcpy(l->name, t->key->name, sizeof l->name);
    l->db = t->key->db;
    lost_value(l, t->before);
    l->next = c->lost;
    c->lost = l;
    return l;
}

static void rename_lost(struct client_sim *c, struct lost_key *until)
{
    for (struct lost_key *l = c->lost; l != until; l = l->next)
        for (uint32_t i = 0; i < c->key_count; i++) {
            struct key *k = &c->keys[i];
            if (k->db != l->db || strcmp(k->name, l->name) != 0)
                continue;
            c->private_extra += k->db != 0;
            value_drop(k->value);
            key_name(c, k, i);
        }
}

static void give_up_due(struct client_sim *c)
{
    struct lost_key *until = c->lost;
    for (struct expect *e = c->due; e != NULL; e = e->next) {
        for (uint32_t i = 0; i < e->touch_count; i++)
            lost_value(lost_record(c, &e->touches[i], until), e->touches[i].after);
        c->private_lost |= e->flush;
    }
    rename_lost(c, until);
    for (uint32_t i = 0; i < c->key_count; i++) {
        struct key *k = &c->keys[i];
        if (!k->busy)
            continue;
        value_drop(k->value);
        key_name(c, k, i);
    }
    drop_due(c);
}

static void gone(struct client_sim *c)
{
    give_up_due(c);
    c->socket = NULL;
    c->out.len = c->out_sent = c->in.len = 0;
    c->due_bytes = 0;
    c->protocol = 2;
    c->db = 0;
    c->scanning = c->scan_waits = false;
    c->queueing = c->hung_up = c->finish_sent = c->finish_wanted = false;
    c->quiet_until_ns = 0;
    c->state = c->leaving ? CLIENT_DONE : CLIENT_AWAY;
    c->again_ns = world(c)->now_ns + prng_below(&c->prng, 3 * NS_PER_MS);
}

static void cut(struct client_sim *c, bool reset)
{
    world_trace(world(c), 0xc07 ^ c->id);
    sim_say(c->sim, "client %u cuts the connection (%s), %u replies due", c->id, reset ? "RST" : "close", c->due_count);
    socket_close(&world(c)->net, c->socket, reset);
    gone(c);
}

// The server ended the connection.
static void on_end(struct client_sim *c, bool reset)
{
    struct world *w = world(c);
    bool lossy = c->socket->lossy;
    sim_say(c->sim, "client %u: the server %s, %u replies due", c->id, reset ? "reset" : "closed", c->due_count);
    if (c->state != CLIENT_FINISHED && !c->hung_up && !lossy && !sim_lenient(c->sim))
        world_fail(w, "client %u: the server closed the connection, %u replies due", c->id, c->due_count);
    if (c->state == CLIENT_FINISHED && c->due_count > 0 && !lossy && !sim_lenient(c->sim))
        world_fail(w, "client %u: the server closed the connection with %u replies due (next: %s)", c->id, c->due_count, c->due->command);
    if (c->in.len > 0 && !lossy && !sim_lenient(c->sim))
        world_fail(w, "client %u: the connection ended inside a reply", c->id);
    socket_close(&w->net, c->socket, false);
    gone(c);
}

static void connect_again(struct client_sim *c)
{
    struct world *w = world(c);
    const struct workload_knobs *k = sim_workload(c->sim);
    size_t send = 1 + prng_below(&c->prng, k->send_window), receive = 1 + prng_below(&c->prng, k->receive_window);
    c->socket = socket_connect(&w->net, sim_listener(c->sim, &c->prng), send + 64, receive + k->receive_window / 4);
    c->again_ns = w->now_ns + NS_PER_MS;
    if (c->socket == NULL)
        return;
    sim_say(c->sim, "client %u connects (connection %u)", c->id, c->socket->number);
    c->state = CLIENT_ON;
    c->progress_ns = w->now_ns;
    if (prng_below(&c->prng, 3) == 0)
        generate_hello(c);
}

// ---- reading

static void on_reply(struct client_sim *c, struct slice bytes)
{
    struct expect *e = c->due;
    if (e == NULL) {
        world_fail(world(c), "client %u: a reply that nobody asked for: %.*s", c->id, bytes.len < 40 ? (int)bytes.len : 40,
                   (const char *)bytes.data);
        return;
    }
    c->due = e->next;
    if (c->due == NULL)
        c->due_tail = &c->due;
    c->due_count--;
    c->due_bytes -= e->bytes;
    sim_say(c->sim, "client %u: %s -> %.*s", c->id, e->command, bytes.len < 40 ? (int)bytes.len : 40, (const char *)bytes.data);
    check_reply(c, e, bytes);
    expect_free(e);
    c->progress_ns = world(c)->now_ns;
}

// A frame: what RESP would have said is checked in its place.
static void on_frame(struct client_sim *c, struct slice frame)
{
    struct buf resp;
    buf_init(&resp, BUF_NO_LIMIT);
    enum frames_form form = c->due != NULL ? (enum frames_form)c->due->form : FRAMES_NOT;
    if (form == FRAMES_NOT || !frames_to_resp(frame, form, &resp) || reader_length(buf_view(&resp)) != (long)resp.len)
        world_fail(world(c), "client %u: a frame of status %u that is no answer to %s", c->id, frame.data[2],
                   c->due != NULL ? c->due->command : "anything");
    else
        on_reply(c, buf_view(&resp));
    buf_deinit(&resp);
}

static void parse(struct client_sim *c)
{
    size_t used = 0;
    while (used < c->in.len && world(c)->failure[0] == '\0') {
        struct slice rest = slice_of(c->in.data + used, c->in.len - used);
        bool frame = rest.data[0] == 0xFB;
        long len = frame ? frames_length(rest) : reader_length(rest);
        if (len == READER_PARTIAL)
            break;
        if (len < 0 || (!frame && c->due != NULL && c->due->form != FRAMES_NOT)) {
            world_fail(world(c), "client %u: bytes that are no reply: %.*s (due: %s)", c->id, rest.len < 40 ? (int)rest.len : 40,
                       (const char *)rest.data, c->due != NULL ? c->due->command : "nothing");
            break;
        }
        if (frame)
            on_frame(c, slice_of(rest.data, (size_t)len));
        else
            on_reply(c, slice_of(rest.data, (size_t)len));
        used += (size_t)len;
    }
    buf_consume(&c->in, used);
}

static void read_some(struct client_sim *c)
{
    size_t want = 1 + prng_below(&c->prng, sim_workload(c->sim)->read_max);
    uint8_t *to = buf_reserve(&c->in, want);
    assert(to != NULL);
    long n = socket_read(&world(c)->net, c->socket, to, want);
    if (n < 0) {
        on_end(c, n == SOCKET_RESET);
        return;
    }
    buf_advance(&c->in, (size_t)n);
    if (n > 0)
        parse(c);
}

static bool reads(const struct client_sim *c)
{
    return world(c)->calm || c->quiet_until_ns <= world(c)->now_ns;
}

// ---- writing

static bool wants_more(const struct client_sim *c)
{
    return c->state == CLIENT_ON && !c->verifying && !world(c)->calm && c->queued < sim_workload(c->sim)->commands &&
           c->due_count < sim_workload(c->sim)->depth && c->out.len - c->out_sent < 256 * 1024;
}

static bool has_output(const struct client_sim *c)
{
    return c->socket != NULL && c->out_sent < c->out.len && (c->socket->server_gone || pipe_room(&c->socket->in) > 0);
}

static void add_bytes_due(struct client_sim *c)
{
    c->due_bytes = 0;
    for (struct expect *e = c->due; e != NULL; e = e->next)
        c->due_bytes += e->bytes;
}

static void generate_some(struct client_sim *c)
{
    uint64_t n = 1 + prng_below(&c->prng, sim_workload(c->sim)->depth);
    while (n-- > 0 && wants_more(c))
        generate_command(c);
    add_bytes_due(c);
    c->think_until_ns = world(c)->now_ns + prng_below(&c->prng, sim_workload(c->sim)->think_ns + 1);
}

static void write_some(struct client_sim *c)
{
    size_t left = c->out.len - c->out_sent;
    size_t n = prng_below(&c->prng, 3) == 0 ? 1 + prng_below(&c->prng, left) : left;
    c->out_sent += socket_write(&world(c)->net, c->socket, c->out.data + c->out_sent, n);
    if (c->out_sent == c->out.len)
        c->out.len = c->out_sent = 0;
}

static void finish_if_wanted(struct client_sim *c)
{
    if (!c->finish_wanted || c->finish_sent || c->out.len > 0)
        return;
    c->finish_sent = true;
    c->state = CLIENT_FINISHED;
    socket_finish(&world(c)->net, c->socket);
}

static void mishap(struct client_sim *c)
{
    const struct workload_knobs *k = sim_workload(c->sim);
    if (world(c)->calm)
        return;
    if (chance(c, k->slow))
        c->quiet_until_ns = world(c)->now_ns + prng_below(&c->prng, 200 * NS_PER_MS);
    if (!chance(c, k->cut))
        return;
    uint64_t how = prng_below(&c->prng, 3);
    if (how < 2) {
        cut(c, how == 0);
    } else if (c->state == CLIENT_ON) { // half: what is due must still come
        sim_say(c->sim, "client %u will send FIN, %u replies due", c->id, c->due_count);
        c->finish_wanted = true;
        c->state = CLIENT_FINISHED;
    }
}

void client_sim_step(struct client_sim *c)
{
    struct world *w = world(c);
    if (c->state == CLIENT_AWAY && c->again_ns <= w->now_ns)
        connect_again(c);
    if (c->socket == NULL)
        return;
    if (wants_more(c) && c->think_until_ns <= w->now_ns)
        generate_some(c);
    if (has_output(c))
        write_some(c);
    finish_if_wanted(c);
    if (reads(c))
        read_some(c);
    if (c->socket != NULL)
        mishap(c);
}

uint64_t client_sim_next_ns(const struct client_sim *c)
{
    if (c->state == CLIENT_DONE && c->socket == NULL)
        return NEVER;
    if (c->state == CLIENT_AWAY)
        return c->again_ns;
    if (has_output(c) || (c->finish_wanted && !c->finish_sent && c->out.len == 0))
        return 0;
    uint64_t next = socket_next_ns(c->socket);
    if (!reads(c) && next < c->quiet_until_ns)
        next = c->quiet_until_ns;
    if (wants_more(c) && c->think_until_ns < next)
        next = c->think_until_ns;
    return next;
}

// ---- the end

void client_sim_leave(struct client_sim *c, int how)
{
    c->leaving = true;
    if (c->socket == NULL) {
        c->state = CLIENT_DONE;
        return;
    }
    if (how == 2) {
        cut(c, true);
        return;
    }
    if (how == 1 && c->state == CLIENT_ON) {
        generate_quit(c);
        add_bytes_due(c);
    } else {
        c->finish_wanted = true;
    }
    c->state = CLIENT_FINISHED;
}

void client_sim_verify(struct client_sim *c)
{
    c->verifying = true;
    for (uint32_t i = 0; i < c->key_count; i++)
        if (!c->keys[i].timed && (c->keys[i].db == 0 || !c->private_lost))
            generate_get(c, &c->keys[i]);
    for (struct lost_key *l = c->lost; l != NULL; l = l->next)
        generate_lost(c, l);
    add_bytes_due(c);
}
