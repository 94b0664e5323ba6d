// SPDX-License-Identifier: Apache-2.0
#include "bench/client.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "bench/client_internal.h"

enum { SENDS_PER_SUBMIT = 16 }; // the server should have work before we have written for everybody

#define WAIT_MAX_NS   100000000 // how late a stop or a stall may be noticed
#define WAIT_EARLY_NS 50000     // a sleep ends about so late: sleep shorter and poll the rest

enum token_kind { TOKEN_RECV, TOKEN_SEND };

uint64_t client_clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t thread_cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

// --- sending

static struct io_uring_sqe *sqe_get(struct client *c)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&c->ring);
    while (sqe == NULL) {
        io_uring_submit(&c->ring);
        sqe = io_uring_get_sqe(&c->ring);
    }
    return sqe;
}

static void token_set(struct client *c, struct io_uring_sqe *sqe, const struct connection *conn, enum token_kind kind)
{
    sqe->user_data = (uint64_t)(conn - c->connections) << 1 | (uint64_t)kind;
}

static void receive_arm(struct client *c, struct connection *conn)
{
    struct io_uring_sqe *sqe = sqe_get(c);
    // Of an echo only the length counts: TCP then drops the bytes without copying them.
    bool count_only = c->options->mix[OP_ECHO] > 0 && !c->options->verify && c->options->unix_path == NULL;
    io_uring_prep_recv_multishot(sqe, conn->fd, NULL, 0, count_only ? MSG_TRUNC : 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = CLIENT_BUFFER_GROUP;
    token_set(c, sqe, conn, TOKEN_RECV);
}

static void ready_push(struct client *c, struct connection *conn)
{
    if (conn->queued)
        return;
    conn->queued = true;
    uint32_t at = c->ready_first + c->ready_count++;
    c->ready[at >= c->connection_count ? at - c->connection_count : at] = (uint32_t)(conn - c->connections);
}

static struct connection *ready_pop(struct client *c)
{
    struct connection *conn = &c->connections[c->ready[c->ready_first]];
    c->ready_first = c->ready_first + 1 == c->connection_count ? 0 : c->ready_first + 1;
    c->ready_count--;
    conn->queued = false;
    return conn;
}

static bool open_loop(const struct client *c)
{
    return c->phase.interval_ns > 0;
}

static uint64_t quota_left(const struct client *c)
{
    return c->granted >= c->phase.quota ? 0 : c->phase.quota - c->granted;
}

// When arrival number i of this client is due.
static uint64_t arrival_ns(const struct client *c, uint64_t i)
{
    return c->phase.start_ns + (uint64_t)((double)i * c->phase.interval_ns);
}

// Requests that this connection may write now.
static uint64_t sendable(struct client *c, struct connection *conn)
{
    uint64_t room = c->phase.pipeline - conn->in_flight;
    if (open_loop(c))
        return conn->due < room ? conn->due : room;
    if (conn->batch_left == 0 && conn->in_flight == 0) {
        uint64_t left = quota_left(c);
        conn->batch_left = left < c->phase.pipeline ? (uint32_t)left : c->phase.pipeline;
        c->granted += c->measuring ? conn->batch_left : 0;
    }
    return conn->batch_left;
}

// Appends requests to `out` until `count` are written or it is full; returns how many.
static uint64_t requests_write(struct client *c, struct connection *conn, uint64_t count)
{
    uint64_t sent_ns = open_loop(c) ? 0 : client_clock_ns();
    uint64_t index = (uint64_t)(conn - c->connections), n = 0;
    c->source.shard = conn->shard;
    for (; n < count && conn->out_len + c->phase.workload->len_max <= c->out_size; n++) {
        struct request *r = &conn->slots[(conn->first + conn->in_flight++) & c->slot_mask];
        r->stamp_ns = sent_ns;
        if (open_loop(c))
            r->stamp_ns = arrival_ns(c, index + conn->due_next++ * c->connection_count);
        conn->out_len += workload_write(&c->source, conn->out + conn->out_len, r);
    }
    c->in_flight += n;
    if (open_loop(c))
        conn->due -= n;
    else
        conn->batch_left -= (uint32_t)n;
    return n;
}

static void out_submit(struct client *c, struct connection *conn, bool quiet)
{
    struct io_uring_sqe *sqe = sqe_get(c);
    io_uring_prep_send(sqe, conn->fd, conn->out + conn->out_sent, conn->out_len - conn->out_sent, MSG_WAITALL | MSG_NOSIGNAL);
    if (quiet)
        sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    conn->sending = !quiet;
    token_set(c, sqe, conn, TOKEN_SEND);
}

// True when something was sent. A whole closed-loop batch needs no completion: its last reply proves that it was sent.
static bool connection_send(struct client *c, struct connection *conn)
{
    if (conn->sending)
        return false;
    uint64_t count = sendable(c, conn);
    if (count == 0)
        return false;
    bool idle = conn->in_flight == 0;
    conn->out_len = 0;
    conn->out_sent = 0;
    requests_write(c, conn, count);
    if (c->measuring)
        c->measure.bytes_out += conn->out_len;
    out_submit(c, conn, idle && !open_loop(c) && conn->batch_left == 0);
    return true;
}

static int ready_send(struct client *c)
{
    for (uint32_t left = c->ready_count, sent = 0; left > 0; left--) {
        sent += connection_send(c, ready_pop(c));
        if (sent < SENDS_PER_SUBMIT)
            continue;
        int rc = io_uring_submit(&c->ring);
        if (rc < 0 && rc != -EBUSY && rc != -EAGAIN)
            return client_fail(c, rc, "cannot submit: %s", strerror(-rc));
        sent = 0;
    }
    return 0;
}

static void arrivals_take(struct client *c)
{
    while (quota_left(c) > 0 && arrival_ns(c, c->arrivals) <= c->now_ns) {
        struct connection *conn = &c->connections[c->arrivals++ % c->connection_count];
        conn->due++;
        c->granted += c->measuring;
        ready_push(c, conn);
    }
}

// --- completions

static int received(struct client *c, struct connection *conn, const struct io_uring_cqe *cqe)
{
    if (cqe->res <= 0) {
        if (cqe->res != 0 && cqe->res != -ENOBUFS)
            return client_fail(c, cqe->res, "connection lost: %s", strerror(-cqe->res));
        if (cqe->res == 0)
            return client_fail(c, -ECONNRESET, "the server closed a connection%s%s", conn->scan.text[0] != '\0' ? ": " : "",
                               conn->scan.text);
        receive_arm(c, conn); // buffers of this turn come back before the next enter
        return 0;
    }
    uint32_t id = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
    const uint8_t *bytes = c->buffer_memory + (size_t)id * c->buffer_size;
    uint64_t len = (uint64_t)cqe->res;
    int rc = client_replies_take(c, conn, bytes, len);
    if (c->measuring)
        c->measure.bytes_in += len;
    client_buffer_give(c, id, 0);
    io_uring_buf_ring_advance(c->buffers, 1);
    if ((cqe->flags & IORING_CQE_F_MORE) == 0)
        receive_arm(c, conn);
    c->progress_ns = c->now_ns;
    c->measure.last_reply_ns = c->now_ns;
    if (conn->in_flight == 0 || open_loop(c))
        ready_push(c, conn);
    return rc;
}

static int sent(struct client *c, struct connection *conn, int res)
{
    if (res < 0)
        return client_fail(c, res, "cannot send: %s", strerror(-res));
    conn->out_sent += (uint64_t)res;
    c->progress_ns = c->now_ns;
    if (conn->out_sent < conn->out_len) {
        out_submit(c, conn, false);
        return 0;
    }
    conn->sending = false;
    ready_push(c, conn);
    return 0;
}

static int completions_take(struct client *c)
{
    struct io_uring_cqe *cqe;
    unsigned head, count = 0;
    int rc = 0;
    io_uring_for_each_cqe(&c->ring, head, cqe)
    {
        struct connection *conn = &c->connections[cqe->user_data >> 1];
        count++;
        rc = (cqe->user_data & 1) == TOKEN_RECV ? received(c, conn, cqe) : sent(c, conn, cqe->res);
        if (rc != 0)
            break;
    }
    io_uring_cq_advance(&c->ring, count);
    return rc;
}

// --- the loop

static uint64_t wait_ns(const struct client *c)
{
    if (!open_loop(c) || quota_left(c) == 0)
        return WAIT_MAX_NS;
    uint64_t next = arrival_ns(c, c->arrivals), now = client_clock_ns();
    if (next <= now + WAIT_EARLY_NS)
        return 0;
    uint64_t wait = next - now - WAIT_EARLY_NS;
    return wait < WAIT_MAX_NS ? wait : WAIT_MAX_NS;
}

static int submit_and_wait(struct client *c)
{
    uint64_t wait = wait_ns(c);
    struct io_uring_cqe *cqe;
    struct __kernel_timespec limit = { .tv_nsec = (long long)wait };
    int rc = wait == 0 ? io_uring_submit_and_get_events(&c->ring) : io_uring_submit_and_wait_timeout(&c->ring, &cqe, 1, &limit, NULL);
    c->now_ns = client_clock_ns();
    if (rc >= 0 || rc == -ETIME || rc == -EINTR || rc == -EBUSY || rc == -EAGAIN)
        return 0;
    return client_fail(c, rc, "cannot wait for replies: %s", strerror(-rc));
}

static void measure_begin_when_due(struct client *c)
{
    if (c->measuring || c->now_ns < c->phase.measure_ns)
        return;
    c->measuring = true;
    c->cpu_start_ns = thread_cpu_ns();
}

static bool finished(const struct client *c)
{
    if (c->now_ns >= c->phase.end_ns || atomic_load_explicit(c->stop, memory_order_relaxed))
        return true;
    return quota_left(c) == 0 && c->in_flight == 0;
}

static int turn(struct client *c)
{
    if (open_loop(c))
        arrivals_take(c);
    int rc = ready_send(c);
    if (rc == 0)
        rc = submit_and_wait(c);
    if (rc != 0 || c->now_ns >= c->phase.end_ns)
        return rc;
    measure_begin_when_due(c);
    rc = completions_take(c);
    if (c->in_flight == 0)
        c->progress_ns = c->now_ns;
    if (rc == 0 && (double)(c->now_ns - c->progress_ns) > c->options->timeout_s * 1e9)
        return client_fail(c, -ETIMEDOUT, "no reply for %g s", c->options->timeout_s);
    return rc;
}

static void phase_begin(struct client *c, const struct phase *phase)
{
    c->phase = *phase;
    c->now_ns = client_clock_ns();
    c->progress_ns = c->now_ns;
    c->measuring = false;
    c->granted = 0;
    c->arrivals = 0;
    memset(&c->measure, 0, sizeof c->measure);
    histogram_init(&c->measure.latency);
    request_source_init(&c->source, phase->workload, c->options->seed * 1000003 + c->index);
    c->source.in_order = phase->in_order;
    c->source.next_key = phase->first_key;
    for (uint32_t i = 0; i < c->connection_count; i++) {
        c->connections[i].due = 0;
        c->connections[i].due_next = 0;
        ready_push(c, &c->connections[i]);
    }
}

int client_run(struct client *c, const struct phase *phase)
{
    bool first = c->phase.workload == NULL;
    phase_begin(c, phase);
    for (uint32_t i = 0; first && i < c->connection_count; i++)
        receive_arm(c, &c->connections[i]);
    measure_begin_when_due(c);
    while (!finished(c)) {
        int rc = turn(c);
        if (rc != 0)
            return rc;
    }
    if (c->measuring)
        c->measure.cpu_ns = thread_cpu_ns() - c->cpu_start_ns;
    return 0;
}
