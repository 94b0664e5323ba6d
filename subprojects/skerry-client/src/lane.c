// SPDX-License-Identifier: Apache-2.0
// One connection: connecting, greeting (AUTH, HELLO), then requests out and replies in.
#include "state.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { RECEIVE_ROOM = 16384 }; // bytes: what a read has room for at least

void skc_lane_init(struct lane *lane, struct skerry_client *c, enum lane_role role, uint32_t shard)
{
    *lane = (struct lane){ .client = c, .role = role, .shard = shard, .fd = -1 };
    lane->out.memory = lane->in.memory = lane->greeting.memory = &c->memory;
}

void skc_lane_deinit(struct lane *lane)
{
    if (lane->fd >= 0)
        close(lane->fd);
    lane->fd = -1;
    skc_buffer_deinit(&lane->out);
    skc_buffer_deinit(&lane->in);
    skc_buffer_deinit(&lane->greeting);
}

void skc_lane_name(const struct lane *lane, char *out, size_t size)
{
    char host[INET6_ADDRSTRLEN] = "";
    char shard[24] = "";
    if (lane->role == LANE_SHARD)
        snprintf(shard, sizeof shard, " (shard %u)", lane->shard);
    const struct address *address = &lane->client->address;
    switch (lane->peer.any.sa_family) {
    case AF_INET:
        inet_ntop(AF_INET, &lane->peer.v4.sin_addr, host, sizeof host);
        snprintf(out, size, "%s:%u%s", host, ntohs(lane->peer.v4.sin_port), shard);
        break;
    case AF_INET6:
        inet_ntop(AF_INET6, &lane->peer.v6.sin6_addr, host, sizeof host);
        snprintf(out, size, "[%s]:%u%s", host, ntohs(lane->peer.v6.sin6_port), shard);
        break;
    default: // a unix socket, or never connected yet
        snprintf(out, size, address->local ? "unix:%s" : "%s", address->host);
    }
}

static void want(struct lane *lane, uint32_t events)
{
    if (lane->interest == events)
        return;
    struct epoll_event event = { .events = events, .data.ptr = lane };
    // A hang-up is reported even to those who asked for nothing, so a lane that is not to be read leaves the set.
    int op = events == 0 ? EPOLL_CTL_DEL : lane->interest == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    if (epoll_ctl(lane->client->epoll, op, lane->fd, &event) == 0)
        lane->interest = events;
}

static bool paused(const struct lane *lane)
{
    return lane->answered_bytes > lane->client->options.receive_max;
}

static void want_what_is_needed(struct lane *lane)
{
    if (lane->state == LANE_CONNECTING) {
        want(lane, EPOLLOUT);
        return;
    }
    bool unsent = lane->state == LANE_GREETING ? skc_buffer_length(&lane->greeting) > 0 : lane->unsent_count > 0;
    want(lane, (paused(lane) ? 0 : (uint32_t)EPOLLIN) | (unsent ? (uint32_t)EPOLLOUT : 0));
}

void skc_lane_close(struct lane *lane)
{
    if (lane->fd >= 0)
        close(lane->fd); // leaves the epoll set with it
    lane->fd = -1;
    lane->interest = 0;
    lane->state = LANE_IDLE;
    lane->sent_of_front = 0;
    lane->greeting_left = 0;
    lane->proven = false;
    lane->in.end = lane->in.start + lane->answered_bytes;
    skc_buffer_consume(&lane->in, 0);
    skc_buffer_deinit(&lane->greeting);
}

static int64_t backoff(const struct lane *lane)
{
    const struct skerry_client_options *o = &lane->client->options;
    int64_t delay = o->backoff_min_ms;
    for (unsigned i = 1; i < lane->failures && delay < o->backoff_max_ms; i++)
        delay *= 2;
    if (delay > o->backoff_max_ms)
        delay = o->backoff_max_ms;
    // Up to a quarter less, so that many clients do not come back in the same moment.
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return delay - now.tv_nsec / 64 % (delay / 4 + 1);
}

void skc_lane_lost(struct lane *lane, int status, int error_number, const char *why, int64_t now)
{
    struct skerry_client *c = lane->client;
    bool proven = lane->proven;
    skc_lane_close(lane);
    skc_ring_fail_sent(lane, status == SKERRY_CLIENT_UNREACHABLE ? SKERRY_CLIENT_CLOSED : status, error_number, why);
    lane->lost_status = status;
    lane->lost_errno = error_number;
    lane->lost_why = why;
    lane->failures = proven ? 0 : lane->failures + 1;
    lane->try_at = proven ? now : now + backoff(lane);
    if (!proven)
        lane->rounds++;
    if (lane->role != LANE_DISCOVERY && c->discovers)
        c->stale = true; // who ended may have come back as somebody else
    skc_timer(c, lane->try_at);
}

// ---- connecting

static const struct address *addresses_of(const struct lane *lane)
{
    return lane->role == LANE_SHARD ? &lane->client->direct_address : &lane->client->address;
}

static void connect_failed(struct lane *lane, int error_number, const char *why, int64_t now)
{
    struct skerry_client *c = lane->client;
    if (lane->address_at + 1 < addresses_of(lane)->count) {
        skc_lane_close(lane);
        lane->address_at++;
        lane->try_at = now;
        lane->lost_status = SKERRY_CLIENT_UNREACHABLE;
        lane->lost_errno = error_number;
        lane->lost_why = why;
        skc_timer(c, now);
        return;
    }
    lane->address_at = 0;
    const char *unresolved; // then the old addresses stay
    if (lane->role != LANE_SHARD)
        (void)skc_address_resolve(&c->address, &unresolved);
    else if (c->direct_host)
        (void)skc_address_resolve(&c->direct_address, &unresolved);
    skc_lane_lost(lane, SKERRY_CLIENT_UNREACHABLE, error_number, why, now);
}

static int append_frame(struct buffer *out, const struct wire_request *wire)
{
    uint64_t length = skc_wire_length(wire);
    if (skc_buffer_reserve(out, length) != 0)
        return -ENOMEM;
    skc_wire_write(wire, out->data + out->end);
    out->end += length;
    return 0;
}

// What is said before the first request. 0, or -ENOMEM.
static int prepare_greeting(struct lane *lane)
{
    struct skerry_client *c = lane->client;
    if (c->password != NULL) {
        struct wire_request auth = {
            .opcode = WIRE_AUTH, .layout = WIRE_TWO, .key = { c->user, strlen(c->user) }, .value = { c->password, c->password_size - 1 }
        };
        if (append_frame(&lane->greeting, &auth) != 0)
            return -ENOMEM;
        lane->greeting_left++;
    }
    if (lane->role == LANE_DISCOVERY) {
        struct wire_request hello = { .opcode = WIRE_HELLO, .layout = WIRE_REST };
        if (append_frame(&lane->greeting, &hello) != 0)
            return -ENOMEM;
        lane->greeting_left++;
    }
    return 0;
}

static void connected(struct lane *lane, int64_t now)
{
    if (prepare_greeting(lane) != 0) {
        skc_lane_lost(lane, SKERRY_CLIENT_MEMORY, 0, "no memory for AUTH and HELLO", now);
        return;
    }
    lane->state = lane->greeting_left > 0 ? LANE_GREETING : LANE_READY;
    skc_lane_send(lane, now);
}

static void start(struct lane *lane, int64_t now)
{
    const struct skerry_client_options *o = &lane->client->options;
    const struct address *address = addresses_of(lane);
    int at = lane->address_at < address->count ? lane->address_at : 0;
    lane->address_at = at;
    lane->peer = address->list[at];
    if (lane->role == LANE_SHARD)
        skc_address_set_port(&lane->peer, (uint16_t)(lane->client->topology.direct_base_port + lane->shard));
    lane->fd = socket(lane->peer.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (lane->fd < 0) {
        connect_failed(lane, errno, "no socket", now);
        return;
    }
    int yes = 1;
    if (lane->peer.any.sa_family != AF_UNIX)
        setsockopt(lane->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    lane->state = LANE_CONNECTING;
    lane->connect_deadline = o->connect_timeout_ms < 0 ? NEVER : now + o->connect_timeout_ms;
    skc_timer(lane->client, lane->connect_deadline);
    int done;
    do
        done = connect(lane->fd, &lane->peer.any, skc_address_length(&lane->peer));
    while (done < 0 && errno == EINTR);
    if (done == 0) {
        connected(lane, now);
    } else if (errno == EINPROGRESS) {
        want_what_is_needed(lane);
        if (lane->interest == 0)
            connect_failed(lane, errno, "it could not be watched", now);
    } else {
        connect_failed(lane, errno, "connect", now);
    }
}

// ---- greeting

static bool says(struct skerry_client_bytes text, const char *words)
{
    return text.length >= strlen(words) && memcmp(text.data, words, strlen(words)) == 0;
}

// One reply to AUTH or HELLO. Afterwards the lane may be ready, closed, or wait for one more.
static void take_greeting(struct lane *lane, const struct skerry_client_reply *reply, int64_t now)
{
    struct skerry_client *c = lane->client;
    bool hello = lane->role == LANE_DISCOVERY && lane->greeting_left == 1;
    lane->greeting_left--;
    if (reply->kind == SKERRY_CLIENT_KIND_ERROR) {
        if (hello && says(reply->bytes, "ERR unsupported command")) { // a server of the original protocol: it has no HELLO
            skc_discovery_done(c, &(struct topology){ .frame_max = UINT32_MAX }, now);
            return;
        }
        skc_refuse(lane, !hello || says(reply->bytes, "NOAUTH") ? SKERRY_CLIENT_REFUSED : SKERRY_CLIENT_SERVER, reply->bytes, now);
        return;
    }
    if ((skc_wire_answers(hello ? WIRE_HELLO : WIRE_AUTH) & (1u << reply->kind)) == 0) {
        skc_lane_lost(lane, SKERRY_CLIENT_PROTOCOL, 0, "the reply to AUTH or HELLO is of a kind that it cannot be", now);
        return;
    }
    if (hello) {
        struct topology topology;
        const char *why;
        if (skc_topology_read(&topology, reply, &why) != 0)
            skc_refuse(lane, SKERRY_CLIENT_TOPOLOGY, (struct skerry_client_bytes){ why, strlen(why) }, now);
        else
            skc_discovery_done(c, &topology, now);
    } else if (lane->greeting_left == 0) {
        lane->state = LANE_READY;
    }
}

// ---- bytes

void skc_lane_send(struct lane *lane, int64_t now)
{
    bool greeting = lane->state == LANE_GREETING;
    // Nothing is under way: has the other side gone meanwhile? Then what is sent now would be lost without need.
    if (lane->state == LANE_READY && lane->unanswered_count == lane->unsent_count && lane->unsent_count > 0 && lane->sent_of_front == 0) {
        skc_lane_receive(lane, now);
        if (lane->state != LANE_READY)
            return;
    }
    while (greeting ? skc_buffer_length(&lane->greeting) > 0 : lane->unsent_count > 0) {
        struct buffer *out = greeting ? &lane->greeting : &lane->out;
        size_t skip = greeting ? 0 : lane->sent_of_front;
        size_t length = skc_buffer_length(out) - skip;
        ssize_t n = send(lane->fd, out->data + out->start + skip, length, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0) {
            int error_number = errno;
            skc_lane_receive(lane, now); // its last words may say why
            if (lane->fd >= 0)
                skc_lane_lost(lane, SKERRY_CLIENT_CLOSED, error_number, "send", now);
            return;
        }
        if (greeting)
            skc_buffer_consume(out, (size_t)n);
        else
            skc_ring_sent(lane, (size_t)n);
        if ((size_t)n < length)
            break;
    }
    want_what_is_needed(lane);
}

// Looks at what has arrived behind the answered bytes; ends the lane when it is wrong.
static void scan(struct lane *lane, int64_t now)
{
    struct skerry_client *c = lane->client;
    const char *why = NULL;
    while (lane->fd >= 0) {
        const unsigned char *frame = lane->in.data + lane->in.start + lane->answered_bytes;
        size_t length = skc_buffer_length(&lane->in) - lane->answered_bytes;
        uint64_t frame_length = 0;
        struct skerry_client_reply reply;
        if (length == 0)
            return;
        bool greeting = lane->state == LANE_GREETING;
        if (greeting ? lane->greeting_left == 0 : lane->unanswered_count == lane->unsent_count) {
            skc_lane_lost(lane, SKERRY_CLIENT_PROTOCOL, 0, "a reply to no request", now);
            return;
        }
        int header = skc_wire_frame(frame, length, &frame_length, &why);
        if (header < 0 && frame[0] == '-' && memchr(frame, '\r', length) != NULL) { // who refuses everybody does it in RESP
            size_t words = (size_t)((const unsigned char *)memchr(frame, '\r', length) - frame) - 1;
            skc_refuse(lane, SKERRY_CLIENT_SERVER, (struct skerry_client_bytes){ frame + 1, words }, now);
            return;
        }
        if (header < 0) {
            skc_lane_lost(lane, SKERRY_CLIENT_PROTOCOL, 0, why, now);
            return;
        }
        if (header > 0 && frame_length - WIRE_HEADER > c->options.reply_max) {
            skc_lane_lost(lane, SKERRY_CLIENT_TOO_LARGE, 0, "a reply is larger than reply_max", now);
            return;
        }
        if (header == 0 || length < frame_length)
            return;
        if (skc_wire_reply(frame, frame_length, &reply, &why) != 0) {
            skc_lane_lost(lane, SKERRY_CLIENT_PROTOCOL, 0, why, now);
            return;
        }
        if (greeting) {
            take_greeting(lane, &reply, now);
            if (lane->fd < 0)
                return;
            // Taken out of the middle: before it may lie replies of an earlier connection.
            unsigned char *gap = lane->in.data + lane->in.start + lane->answered_bytes;
            memmove(gap, gap + frame_length, length - (size_t)frame_length);
            lane->in.end -= frame_length;
            skc_buffer_consume(&lane->in, 0);
            if (lane->state == LANE_READY)
                skc_lane_send(lane, now);
            continue;
        }
        struct request *r = skc_request(c, lane->unanswered);
        if (reply.kind != SKERRY_CLIENT_KIND_ERROR && (skc_wire_answers(r->opcode) & (1u << reply.kind)) == 0) {
            skc_lane_lost(lane, SKERRY_CLIENT_PROTOCOL, 0, "a reply is of a kind that its request cannot have", now);
            return;
        }
        if (reply.kind == SKERRY_CLIENT_KIND_ERROR && r->routed && r->generation == c->generation &&
            says(reply.bytes, "ERR FCNP route shard mismatch"))
            c->stale = true;
        lane->proven = true;
        lane->failures = 0;
        skc_ring_answer(lane, frame_length);
        lane->answered_bytes += frame_length;
    }
}

// Room for the next bytes: little at first, then as much again as has arrived of the frame.
static size_t room_for(const struct lane *lane)
{
    size_t part = skc_buffer_length(&lane->in) - lane->answered_bytes;
    uint64_t frame_length = 0;
    const char *why;
    size_t room = part > RECEIVE_ROOM ? part : RECEIVE_ROOM;
    if (part >= WIRE_HEADER && skc_wire_frame(lane->in.data + lane->in.start + lane->answered_bytes, part, &frame_length, &why) == 1 &&
        frame_length - part < room)
        room = frame_length - part > 0 ? (size_t)(frame_length - part) : 1;
    return room;
}

void skc_lane_receive(struct lane *lane, int64_t now)
{
    while (lane->fd >= 0 && !paused(lane)) {
        if (skc_buffer_reserve(&lane->in, room_for(lane)) != 0) {
            skc_lane_lost(lane, SKERRY_CLIENT_MEMORY, 0, "no memory for replies within memory_max", now);
            return;
        }
        size_t room = lane->in.capacity - lane->in.end;
        ssize_t n = recv(lane->fd, lane->in.data + lane->in.end, room, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n <= 0) {
            bool part = skc_buffer_length(&lane->in) > lane->answered_bytes;
            skc_lane_lost(lane, SKERRY_CLIENT_CLOSED, n < 0 ? errno : 0,
                          part ? "the server closed in the middle of a reply" : "the server closed the connection", now);
            return;
        }
        lane->in.end += (size_t)n;
        scan(lane, now);
        if ((size_t)n < room)
            break;
    }
    if (lane->fd >= 0)
        want_what_is_needed(lane);
}

void skc_lane_resume(struct lane *lane)
{
    if (lane->fd >= 0 && lane->state != LANE_CONNECTING)
        want_what_is_needed(lane);
}

// ---- what drives it

void skc_lane_event(struct lane *lane, uint32_t events, int64_t now)
{
    if (lane->fd < 0)
        return;
    if (lane->state == LANE_CONNECTING) {
        int error_number = 0;
        socklen_t size = sizeof error_number;
        if (getsockopt(lane->fd, SOL_SOCKET, SO_ERROR, &error_number, &size) != 0)
            error_number = errno;
        if (error_number != 0)
            connect_failed(lane, error_number, "connect", now);
        else
            connected(lane, now);
        return;
    }
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
        skc_lane_receive(lane, now);
    if (lane->fd >= 0 && (events & EPOLLOUT) != 0)
        skc_lane_send(lane, now);
}

void skc_lane_drive(struct lane *lane, int64_t now)
{
    // Each round ends connected, waiting, or has gone one address further.
    for (int i = 0; i <= ADDRESSES_MAX && lane->state == LANE_IDLE && now >= lane->try_at && skc_lane_wanted(lane); i++)
        start(lane, now);
    if (lane->state == LANE_READY && lane->unsent_count > 0 && (lane->interest & EPOLLOUT) == 0)
        skc_lane_send(lane, now);
}

void skc_lane_time(struct lane *lane, int64_t now)
{
    if ((lane->state == LANE_CONNECTING || lane->state == LANE_GREETING) && now >= lane->connect_deadline) {
        if (lane->state == LANE_CONNECTING)
            connect_failed(lane, ETIMEDOUT, "no connection within connect_timeout_ms", now);
        else
            skc_lane_lost(lane, SKERRY_CLIENT_UNREACHABLE, ETIMEDOUT, "no reply to AUTH or HELLO within connect_timeout_ms", now);
    }
    if (lane->unanswered_count == 0 || skc_request(lane->client, lane->unanswered)->deadline > now)
        return;
    // A late reply could not be told from that of a later request, so the connection ends with the request.
    if (lane->unanswered_count > lane->unsent_count)
        skc_lane_lost(lane, SKERRY_CLIENT_TIMEOUT, 0, "no reply within request_timeout_ms to it or to one before it", now);
    else if (lane->sent_of_front > 0)
        skc_lane_lost(lane, SKERRY_CLIENT_TIMEOUT, 0, "the server did not read it within request_timeout_ms", now);
    skc_ring_expire_unsent(lane, now);
}

int64_t skc_lane_timer(const struct lane *lane)
{
    int64_t at = NEVER;
    if (lane->state == LANE_CONNECTING || lane->state == LANE_GREETING)
        at = lane->connect_deadline;
    else if (lane->state == LANE_IDLE && skc_lane_wanted(lane))
        at = lane->try_at;
    if (lane->unanswered_count > 0) {
        int64_t deadline = skc_request(lane->client, lane->unanswered)->deadline;
        if (deadline < at)
            at = deadline;
    }
    return at;
}
