// SPDX-License-Identifier: Apache-2.0
#include "test/sim/durable.h"

#include <stdlib.h>

#include "reactor/clock.h"
#include "test/sim/client.h"
#include "test/sim/durable_inside.h"
#include "test/sim/frames.h"
#include "test/sim/resp_reader.h"

void durable_init(struct durable *d, struct sim *sim, enum durable_level policy, uint64_t seed)
{
    *d = (struct durable){ .sim = sim, .policy = policy, .clean = true };
    prng_init(&d->prng, seed);
    struct prng *p = &d->prng;
    d->count = DURABLE_ANY(p, 1, 2, 4, DURABLE_CLIENTS_MAX);
    d->requests = DURABLE_ANY(p, 30, 100, 250);
    d->value_max = DURABLE_ANY(p, 30, 300, 3000, 3000, 40000);
    d->databases = sim_databases(sim) > DURABLE_CLIENTS_MAX && prng_below(p, 2) == 0;
    d->swaps = d->databases && sim_databases(sim) >= 2 * DURABLE_CLIENTS_MAX;
    d->snapshots = sim_asks_snapshots(sim);
    d->switches = sim_switches_log(sim);
    durable_log_begin(d, sim_logs(sim));
    for (uint32_t i = 0; i <= d->count; i++) {
        struct durable_client *c = &d->clients[i];
        c->id = i;
        prng_init(&c->prng, prng_next(p));
        buf_init(&c->out, BUF_NO_LIMIT);
        buf_init(&c->in, BUF_NO_LIMIT);
        for (uint32_t k = 0; k < DURABLE_OWN_KEYS; k++)
            c->own[k] = UINT32_MAX;
    }
}

void durable_deinit(struct durable *d)
{
    for (uint32_t i = 0; i <= d->count; i++) {
        struct durable_client *c = &d->clients[i];
        if (c->socket != NULL)
            socket_close(&durable_world(d)->net, c->socket, true);
        buf_deinit(&c->out);
        buf_deinit(&c->in);
    }
    for (uint32_t i = 0; i < d->key_count; i++) {
        free(d->keys[i].writes);
        buf_deinit(&d->keys[i].value);
    }
}

// ---- the auditor

static void end_audit(struct durable *d)
{
    struct durable_client *c = &d->clients[d->count];
    durable_check_audit(d);
    durable_log_begin(d, sim_logs(d->sim));
    sim_say(d->sim, "audit %u: %u keys, %u writes lost so far", d->audits, d->key_count, d->lost);
    d->phase = DURABLE_WORKS;
    socket_close(&durable_world(d)->net, c->socket, false);
    c->socket = NULL;
    c->out.len = c->out_sent = c->in.len = 0;
}

// ---- the connection

// What was not answered may still be done by a server that lives.
static void gone(struct durable *d, struct durable_client *c)
{
    while (c->due_count > 0) {
        durable_reply_never(d, c, &c->due[c->due_first]);
        c->due_first = (c->due_first + 1) % DURABLE_DUE_MAX;
        c->due_count--;
    }
    if (c->id == d->count) { // an audit that was cut begins again
        d->audited = 0;
        d->probed = false;
    }
    c->socket = NULL;
    c->out.len = c->out_sent = c->in.len = 0;
    c->again_ns = durable_world(d)->now_ns + 1 + prng_below(&c->prng, 3 * NS_PER_MS);
}

static void on_reply(struct durable *d, struct durable_client *c, struct slice reply)
{
    if (durable_reply(d, c, reply))
        return;
    socket_close(&durable_world(d)->net, c->socket, true);
    gone(d, c);
    c->again_ns = durable_world(d)->now_ns + 2 * NS_PER_MS;
}

static void connect_again(struct durable *d, struct durable_client *c)
{
    c->again_ns = durable_world(d)->now_ns + NS_PER_MS;
    c->shard = UINT32_MAX;
    int listener = sim_listener(d->sim, &c->prng);
    uint32_t shard = (uint32_t)prng_below(&c->prng, sim_shards(d->sim));
    if (c->id != d->count && !(c->id == 0 && d->switches) && sim_direct_listener(d->sim, shard) >= 0 && durable_chance(c, 300)) {
        c->shard = shard;
        listener = sim_direct_listener(d->sim, shard);
    }
    c->socket = socket_connect(&durable_world(d)->net, listener, 65536, 1024 * 1024);
    if (c->socket != NULL)
        durable_greet(d, c);
}

// A frame: what RESP would have said is looked at in its place. When the log fails, one error is said for all that waits, in the shape of
// the last of it (a frame of opcode 200 has it as a value), and it may stand where RESP was due.
static bool is_last_word(struct slice frame)
{
    static const char WORD[] = "-IOERR outcome unknown";
    return frame.data[2] == 4 && frame.len > 8 + sizeof WORD && memcmp(frame.data + 8, WORD, sizeof WORD - 1) == 0;
}

static void on_frame(struct durable *d, struct durable_client *c, struct slice frame)
{
    struct buf resp;
    enum frames_form form = c->due_count > 0 ? (enum frames_form)c->due[c->due_first].form : FRAMES_NOT;
    form = is_last_word(frame) ? FRAMES_RESP : form;
    buf_init(&resp, BUF_NO_LIMIT);
    bool due = form != FRAMES_NOT || frame.data[2] == 2;
    sim_say(d->sim, "client %u <- frame of status %u, %zu bytes", c->id, frame.data[2], frame.len);
    if (!due || !frames_to_resp(frame, form, &resp) || reader_length(buf_view(&resp)) != (long)resp.len)
        world_fail(durable_world(d), "client %u: a frame of status %u that is no answer", c->id, frame.data[2]);
    else
        on_reply(d, c, buf_view(&resp));
    buf_deinit(&resp);
}

static void parse(struct durable *d, struct durable_client *c)
{
    size_t used = 0;
    while (c->socket != NULL && used < c->in.len && durable_world(d)->failure[0] == '\0') {
        struct slice rest = slice_of(c->in.data + used, c->in.len - used);
        bool frame = rest.data[0] == 0xFB;
        long len = frame ? frames_length(rest) : reader_length(rest);
        if (len == READER_PARTIAL)
            break;
        if (len < 0) {
            world_fail(durable_world(d), "client %u: bytes that are no reply", c->id);
            return;
        }
        used += (size_t)len;
        if (frame) {
            on_frame(d, c, slice_of(rest.data, (size_t)len));
            continue;
        }
        sim_say(d->sim, "client %u <- %.*s", c->id, len < 60 ? (int)len - 2 : 60, (const char *)rest.data);
        on_reply(d, c, slice_of(rest.data, (size_t)len));
    }
    if (c->socket != NULL)
        buf_consume(&c->in, used);
}

static void read_some(struct durable *d, struct durable_client *c)
{
    uint8_t *to = buf_reserve(&c->in, 4096);
    assert(to != NULL);
    long n = socket_read(&durable_world(d)->net, c->socket, to, 4096);
    if (n < 0) {
        socket_close(&durable_world(d)->net, c->socket, false);
        gone(d, c);
        return;
    }
    buf_advance(&c->in, (size_t)n);
    if (n > 0)
        parse(d, c);
}

static bool nobody_else_is_on(const struct durable *d)
{
    for (uint32_t i = 0; i < d->count; i++)
        if (d->clients[i].socket != NULL)
            return false;
    return true;
}

// Whose turn it is to be connected.
static bool may_connect(const struct durable *d, const struct durable_client *c)
{
    if (c->id == d->count)
        return d->phase == DURABLE_AUDITS && nobody_else_is_on(d) && !sim_stopping(d->sim);
    return d->phase == DURABLE_WORKS && !sim_stopping(d->sim);
}

static bool wants_more(const struct durable *d, const struct durable_client *c)
{
    if (c->socket == NULL || sim_stopping(d->sim))
        return false;
    if (c->id == d->count)
        return d->phase == DURABLE_AUDITS && (!d->probed || d->audited < d->key_count) && c->due_count < 8;
    return d->phase == DURABLE_WORKS && c->asked < d->requests && c->due_count < DURABLE_DUE_MAX / 4;
}

static void write_some(struct durable *d, struct durable_client *c)
{
    c->out_sent += socket_write(&durable_world(d)->net, c->socket, c->out.data + c->out_sent, c->out.len - c->out_sent);
    if (c->out_sent == c->out.len)
        c->out.len = c->out_sent = 0;
}

static bool has_output(const struct durable_client *c)
{
    return c->socket != NULL && c->out_sent < c->out.len && (c->socket->server_gone || pipe_room(&c->socket->in) > 0);
}

static void ask_some(struct durable *d, struct durable_client *c)
{
    size_t from = c->out.len;
    if (c->id == d->count) {
        durable_audit_some(d, c);
        return;
    }
    for (uint64_t n = 1 + prng_below(&c->prng, 8); n > 0 && wants_more(d, c); n--)
        durable_ask(d, c);
    sim_say(d->sim, "client %u -> %.*s", c->id, (int)(c->out.len - from < 200 ? c->out.len - from : 200),
            c->out.len == 0 ? "" : (const char *)c->out.data + from);
    c->think_until_ns = durable_world(d)->now_ns + prng_below(&c->prng, sim_workload(d->sim)->think_ns + 1);
}

void durable_step(struct durable *d, uint32_t client)
{
    struct durable_client *c = &d->clients[client];
    if (c->socket == NULL && may_connect(d, c) && c->again_ns <= durable_world(d)->now_ns)
        connect_again(d, c);
    if (c->socket == NULL)
        return;
    if (wants_more(d, c) && c->think_until_ns <= durable_world(d)->now_ns)
        ask_some(d, c);
    if (has_output(c))
        write_some(d, c);
    read_some(d, c);
    bool audited = c->id == d->count && d->phase == DURABLE_AUDITS && d->probed && d->audited == d->key_count && c->due_count == 0;
    if (c->socket != NULL && audited && durable_world(d)->failure[0] == '\0')
        end_audit(d);
    else if (c->socket != NULL && d->phase == DURABLE_RESTS && c->due_count == 0) {
        socket_close(&durable_world(d)->net, c->socket, false);
        gone(d, c);
    }
}

uint64_t durable_next_ns(const struct durable *d, uint32_t client)
{
    const struct durable_client *c = &d->clients[client];
    if (c->socket == NULL)
        return may_connect(d, c) ? c->again_ns : NEVER;
    if (has_output(c) || (d->phase == DURABLE_RESTS && c->due_count == 0))
        return 0;
    if (c->id == d->count && d->probed && d->audited == d->key_count && c->due_count == 0)
        return 0;
    uint64_t next = socket_next_ns(c->socket);
    if (wants_more(d, c) && c->think_until_ns < next)
        next = c->think_until_ns;
    return next;
}

// ---- phases

void durable_crashed(struct durable *d, enum crash_kind kind, bool clean)
{
    bool again = d->phase == DURABLE_AUDITS; // before anybody could look: the worst of them counts
    d->crash_ns = again ? d->crash_ns : durable_world(d)->now_ns;
    d->crash = again && kind == CRASH_KILLED ? d->crash : kind;
    d->clean = clean && (!again || d->clean);
    d->phase = DURABLE_AUDITS;
    d->audited = 0;
    d->probed = false;
}

bool durable_audits(const struct durable *d)
{
    return d->phase == DURABLE_AUDITS;
}

bool durable_worked(const struct durable *d)
{
    for (uint32_t i = 0; i < d->count; i++)
        if (d->clients[i].asked < d->requests || d->clients[i].due_count > 0)
            return false;
    return d->phase == DURABLE_WORKS;
}

void durable_say(const struct durable *d)
{
    static const char *const KINDS[] = { [DUE_OK] = "OK",
                                         [DUE_QUEUED] = "QUEUED",
                                         [DUE_WRITES] = "a write",
                                         [DUE_EXEC] = "EXEC",
                                         [DUE_READS] = "a read",
                                         [DUE_WAITAOF] = "WAITAOF",
                                         [DUE_SWITCH] = "CONFIG SET appendonly",
                                         [DUE_BACKGROUND] = "something in the background" };
    for (uint32_t i = 0; i <= d->count; i++) {
        const struct durable_client *c = &d->clients[i];
        sim_say(d->sim, "client %u: %u of %u asked, %u replies due (first: %s)%s", i, c->asked, d->requests, c->due_count,
                c->due_count > 0 ? KINDS[c->due[c->due_first].kind] : "none", c->socket == NULL ? ", not connected" : "");
    }
}

void durable_rest(struct durable *d)
{
    d->phase = DURABLE_RESTS;
}

bool durable_left(const struct durable *d)
{
    return nobody_else_is_on(d) && d->clients[d->count].socket == NULL;
}
