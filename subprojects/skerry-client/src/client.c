// SPDX-License-Identifier: Apache-2.0
// The client as a whole: options, the round over all lanes, timers, and the replies in their order.
#include "state.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define TEXT_OF(number)     #number
#define VERSION_OF(a, b, c) TEXT_OF(a) "." TEXT_OF(b) "." TEXT_OF(c)

static _Thread_local char failure[512] = "no failure";

const char *skerry_client_version(void)
{
    return VERSION_OF(SKERRY_CLIENT_VERSION_MAJOR, SKERRY_CLIENT_VERSION_MINOR, SKERRY_CLIENT_VERSION_PATCH);
}

const char *skerry_client_failure(void)
{
    return failure;
}

const char *skerry_client_error(const struct skerry_client *c)
{
    return c->error;
}

const char *skerry_client_status_name(int status)
{
    static const char *const names[] = {
        [SKERRY_CLIENT_OK] = "ok",
        [SKERRY_CLIENT_MISSING] = "missing",
        [SKERRY_CLIENT_AGAIN] = "again",
        [SKERRY_CLIENT_EMPTY] = "empty",
        [SKERRY_CLIENT_INVALID] = "invalid",
        [SKERRY_CLIENT_BUSY] = "busy",
        [SKERRY_CLIENT_FULL] = "full",
        [SKERRY_CLIENT_TOO_LARGE] = "too large",
        [SKERRY_CLIENT_MEMORY] = "memory",
        [SKERRY_CLIENT_ADDRESS] = "address",
        [SKERRY_CLIENT_UNREACHABLE] = "unreachable",
        [SKERRY_CLIENT_CLOSED] = "closed",
        [SKERRY_CLIENT_TIMEOUT] = "timeout",
        [SKERRY_CLIENT_PROTOCOL] = "protocol",
        [SKERRY_CLIENT_REFUSED] = "refused",
        [SKERRY_CLIENT_TOPOLOGY] = "topology",
        [SKERRY_CLIENT_MOVED] = "moved",
        [SKERRY_CLIENT_SERVER] = "server",
    };
    bool known = status >= 0 && (size_t)status < sizeof names / sizeof names[0] && names[status] != NULL;
    return known ? names[status] : "unknown";
}

int skc_error(struct skerry_client *c, int status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(c->error, sizeof c->error, format, arguments);
    va_end(arguments);
    return status;
}

int64_t skc_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// ---- making and ending

static int fail_new(int status, const char *what, const char *name, const char *why)
{
    snprintf(failure, sizeof failure, "%s%s%s: %s", what, name[0] != 0 ? " " : "", name, why);
    return status;
}

static void set_default(int *option, int value)
{
    if (*option == 0)
        *option = value;
}

static void set_default_size(size_t *option, size_t value)
{
    if (*option == 0)
        *option = value;
}

static int read_options(struct skerry_client_options *o, const struct skerry_client_options *given)
{
    *o = (struct skerry_client_options){ 0 };
    if (given != NULL) {
        if (given->size < offsetof(struct skerry_client_options, mode) || given->size > 4096)
            return fail_new(SKERRY_CLIENT_INVALID, "options", "", "size is not set: begin with SKERRY_CLIENT_OPTIONS");
        memcpy(o, given, given->size < sizeof *o ? given->size : sizeof *o);
    }
    o->size = sizeof *o;
    if (o->address == NULL)
        o->address = "127.0.0.1:6380";
    if (o->user == NULL)
        o->user = "default";
    set_default(&o->connect_timeout_ms, 2000);
    set_default(&o->request_timeout_ms, 5000);
    set_default(&o->backoff_min_ms, 10);
    set_default(&o->backoff_max_ms, 1000);
    set_default_size(&o->requests_max, 65536);
    set_default_size(&o->send_max, (size_t)4 << 20);
    set_default_size(&o->receive_max, (size_t)1 << 20);
    set_default_size(&o->reply_max, (size_t)512 << 20);
    set_default_size(&o->memory_max, (size_t)1 << 30);
    if (o->resize == NULL)
        o->resize = skc_memory_libc;
    if (o->mode < SKERRY_CLIENT_AUTO || o->mode > SKERRY_CLIENT_DIRECT)
        return fail_new(SKERRY_CLIENT_INVALID, "options", "", "mode is none of auto, fanout and direct");
    if (o->backoff_min_ms < 0 || o->backoff_max_ms < o->backoff_min_ms)
        return fail_new(SKERRY_CLIENT_INVALID, "options", "", "backoff_max_ms is below backoff_min_ms, or one is negative");
    if (strlen(o->user) >= HOST_MAX)
        return fail_new(SKERRY_CLIENT_INVALID, "options", "", "user is longer than 255 bytes");
    if (o->password != NULL && strlen(o->password) > 65535)
        return fail_new(SKERRY_CLIENT_INVALID, "options", "", "password is longer than 65535 bytes");
    return SKERRY_CLIENT_OK;
}

static int read_addresses(struct skerry_client *c)
{
    const struct skerry_client_options *o = &c->options;
    const char *why;
    if (skc_address_parse(&c->address, o->address, &why) != 0 || skc_address_resolve(&c->address, &why) != 0)
        return fail_new(SKERRY_CLIENT_ADDRESS, "address", o->address, why);
    c->direct_host = o->direct_host != NULL;
    if (c->direct_host) {
        if (skc_address_parse(&c->direct_address, o->direct_host, &why) != 0 || skc_address_resolve(&c->direct_address, &why) != 0)
            return fail_new(SKERRY_CLIENT_ADDRESS, "direct_host", o->direct_host, why);
        if (c->direct_address.local)
            return fail_new(SKERRY_CLIENT_ADDRESS, "direct_host", o->direct_host, "direct ports are not unix sockets");
    }
    bool reachable = !c->address.local || c->direct_host;
    if (!reachable && o->mode == SKERRY_CLIENT_DIRECT)
        return fail_new(SKERRY_CLIENT_INVALID, "address", o->address, "a unix socket has no direct ports: set direct_host");
    c->discovers = o->mode != SKERRY_CLIENT_FANOUT && reachable;
    return SKERRY_CLIENT_OK;
}

static int copy_secrets(struct skerry_client *c)
{
    struct skerry_client_options *o = &c->options;
    memcpy(c->user, o->user, strlen(o->user) + 1);
    if (o->password != NULL) {
        c->password_size = strlen(o->password) + 1;
        c->password = skc_memory_resize(&c->memory, NULL, 0, c->password_size);
        if (c->password == NULL)
            return fail_new(SKERRY_CLIENT_MEMORY, "password", "", "no memory for it within memory_max");
        memcpy(c->password, o->password, c->password_size);
    }
    o->address = o->direct_host = o->user = o->password = NULL;
    return SKERRY_CLIENT_OK;
}

static int open_descriptors(struct skerry_client *c)
{
    c->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (c->epoll < 0)
        return fail_new(SKERRY_CLIENT_MEMORY, "epoll", "", strerror(errno));
    c->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (c->timer < 0)
        return fail_new(SKERRY_CLIENT_MEMORY, "timerfd", "", strerror(errno));
    struct epoll_event event = { .events = EPOLLIN };
    if (epoll_ctl(c->epoll, EPOLL_CTL_ADD, c->timer, &event) != 0)
        return fail_new(SKERRY_CLIENT_MEMORY, "epoll_ctl", "", strerror(errno));
    return SKERRY_CLIENT_OK;
}

int skerry_client_new(struct skerry_client **out, const struct skerry_client_options *given)
{
    struct skerry_client_options options;
    *out = NULL;
    int status = read_options(&options, given);
    if (status != SKERRY_CLIENT_OK)
        return status;
    struct memory memory = { .resize = options.resize, .context = options.resize_context, .max = options.memory_max };
    struct skerry_client *c = skc_memory_resize(&memory, NULL, 0, sizeof *c);
    if (c == NULL)
        return fail_new(SKERRY_CLIENT_MEMORY, "client", "", "no memory for it within memory_max");
    *c = (struct skerry_client){ .memory = memory, .options = options, .epoll = -1, .timer = -1 };
    c->next_timer = c->armed_timer = NEVER;
    c->batch.memory = &c->memory;
    skc_lane_init(&c->discovery, c, LANE_DISCOVERY, 0);
    skc_lane_init(&c->fanout, c, LANE_FANOUT, 0);
    skc_lane_init(&c->limbo, c, LANE_LIMBO, 0);
    snprintf(c->error, sizeof c->error, "no error");
    status = read_addresses(c);
    if (status == SKERRY_CLIENT_OK)
        status = copy_secrets(c);
    if (status == SKERRY_CLIENT_OK)
        status = open_descriptors(c);
    if (status != SKERRY_CLIENT_OK) {
        skerry_client_free(c);
        return status;
    }
    *out = c;
    return SKERRY_CLIENT_OK;
}

struct skerry_client *skerry_client_free(struct skerry_client *c)
{
    if (c == NULL)
        return NULL;
    skc_lane_deinit(&c->discovery);
    skc_lane_deinit(&c->fanout);
    skc_lane_deinit(&c->limbo);
    for (uint32_t i = 0; i < c->lane_count; i++)
        if (c->shards[i] != NULL) {
            skc_lane_deinit(c->shards[i]);
            skc_memory_resize(&c->memory, c->shards[i], sizeof *c->shards[i], 0);
        }
    for (struct lane *lane = c->retired; lane != NULL; lane = lane->next_retired)
        lane->untaken_count = 0;
    c->held = NULL;
    skc_sweep(c);
    if (c->shards != NULL)
        skc_memory_resize(&c->memory, c->shards, c->lane_count * sizeof *c->shards, 0);
    if (c->requests != NULL)
        skc_memory_resize(&c->memory, c->requests, c->ring_size * sizeof *c->requests, 0);
    skc_buffer_deinit(&c->batch);
    if (c->password != NULL) {
        explicit_bzero(c->password, c->password_size);
        skc_memory_resize(&c->memory, c->password, c->password_size, 0);
    }
    if (c->timer >= 0)
        close(c->timer);
    if (c->epoll >= 0)
        close(c->epoll);
    c->memory.resize(c->memory.context, c, sizeof *c, 0);
    return NULL;
}

// ---- the round

void skc_timer(struct skerry_client *c, int64_t at)
{
    if (at < c->next_timer)
        c->next_timer = at;
}

typedef void lane_work(struct lane *lane, int64_t now);

static void each_lane(struct skerry_client *c, lane_work *work, int64_t now)
{
    work(&c->discovery, now);
    work(&c->fanout, now);
    for (uint32_t i = 0; i < c->lane_count; i++)
        if (c->shards[i] != NULL)
            work(c->shards[i], now);
    for (struct lane *lane = c->retired; lane != NULL; lane = lane->next_retired)
        work(lane, now);
}

static void note_timer(struct lane *lane, int64_t now)
{
    (void)now;
    skc_timer(lane->client, skc_lane_timer(lane));
}

static void run_timers(struct skerry_client *c, int64_t now)
{
    if (now < c->next_timer)
        return;
    each_lane(c, skc_lane_time, now);
    skc_ring_expire_unsent(&c->limbo, now);
    each_lane(c, skc_lane_drive, now);
    c->next_timer = NEVER;
    each_lane(c, note_timer, now);
    skc_timer(c, skc_lane_timer(&c->limbo));
}

void skc_pump(struct skerry_client *c, int64_t until)
{
    enum { EVENTS = 64 };
    struct epoll_event events[EVENTS];
    int64_t now = skc_now();
    each_lane(c, skc_lane_drive, now);
    int64_t wake = c->next_timer < until ? c->next_timer : until;
    int timeout = wake == NEVER ? -1 : wake <= now ? 0 : wake - now > INT_MAX ? INT_MAX : (int)(wake - now);
    int count = epoll_wait(c->epoll, events, EVENTS, timeout);
    now = skc_now();
    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr != NULL) {
            skc_lane_event(events[i].data.ptr, events[i].events, now);
            continue;
        }
        uint64_t expirations;
        if (read(c->timer, &expirations, sizeof expirations) > 0)
            c->armed_timer = NEVER;
    }
    run_timers(c, now);
    skc_sweep(c); // after the events, which may name a lane that has just been retired
}

void skc_arm(struct skerry_client *c)
{
    if (c->next_timer >= c->armed_timer)
        return;
    int64_t at = c->next_timer > 0 ? c->next_timer : 1; // 0 would disarm it
    struct itimerspec when = { .it_value = { .tv_sec = at / 1000, .tv_nsec = at % 1000 * 1000000 } };
    if (timerfd_settime(c->timer, TFD_TIMER_ABSTIME, &when, NULL) == 0)
        c->armed_timer = c->next_timer;
}

void skc_release(struct skerry_client *c)
{
    struct lane *lane = c->held;
    if (lane == NULL)
        return;
    c->held = NULL;
    lane->answered_bytes -= c->held_bytes;
    skc_buffer_consume(&lane->in, c->held_bytes);
    skc_lane_resume(lane);
}

void skerry_client_step(struct skerry_client *c)
{
    skc_release(c);
    skc_pump(c, 0);
    skc_arm(c);
}

void skerry_client_flush(struct skerry_client *c)
{
    skc_release(c);
    each_lane(c, skc_lane_drive, skc_now());
    skc_arm(c);
}

int skerry_client_fd(const struct skerry_client *c)
{
    return c->epoll;
}

size_t skerry_client_outstanding(const struct skerry_client *c)
{
    return (size_t)(c->tail - c->head);
}

size_t skerry_client_memory(const struct skerry_client *c)
{
    return c->memory.used;
}

void skerry_client_topology(const struct skerry_client *c, struct skerry_client_topology *out)
{
    struct skerry_client_topology t = {
        .size = out->size,
        .shards = c->topology.shards,
        .direct = c->topology.direct,
        .direct_base_port = c->topology.direct_base_port,
        .session_prefix = c->topology.session_prefix,
        .epoch = c->topology.epoch,
        .frame_max = c->topology.frame_max,
        .refreshed = c->generation,
    };
    memcpy(out, &t, t.size < sizeof t ? t.size : sizeof t);
}

// ---- connecting at once

int skerry_client_connect(struct skerry_client *c)
{
    skc_release(c);
    struct lane *lane = c->discovers ? &c->discovery : &c->fanout;
    uint64_t rounds = lane->rounds;
    lane->try_at = 0;
    c->connecting = true;
    for (;;) {
        skc_lane_drive(lane, skc_now()); // a unix socket is connected at once
        if (lane->rounds != rounds || (c->discovers ? !skc_discovery_needed(c) : lane->state == LANE_READY))
            break;
        skc_pump(c, NEVER);
    }
    c->connecting = false;
    if (lane->rounds == rounds)
        return SKERRY_CLIENT_OK;
    char name[HOST_MAX + 32];
    skc_lane_name(lane, name, sizeof name);
    bool number = lane->lost_errno != 0;
    return skc_error(c, lane->lost_status, "%s: %s%s%s", name, lane->lost_why, number ? ": " : "",
                     number ? strerror(lane->lost_errno) : "");
}

// ---- replies in order

static void describe_failure(struct skerry_client *c, const struct request *r)
{
    char name[HOST_MAX + 32], opcode[16];
    const struct lane *lane = r->lane->role == LANE_LIMBO ? &c->discovery : r->lane;
    const char *known = skc_wire_name(r->opcode);
    skc_lane_name(lane, name, sizeof name);
    snprintf(opcode, sizeof opcode, "opcode %u", r->opcode);
    skc_error(c, r->status, "%s to %s: %s%s%s", known != NULL ? known : opcode, name, r->why, r->error_number != 0 ? ": " : "",
              r->error_number != 0 ? strerror(r->error_number) : "");
}

// The server's words against one request, and what they mean to us.
static int status_of_error(struct skerry_client *c, const struct request *r)
{
    static const char mismatch[] = "ERR FCNP route shard mismatch";
    struct skerry_client_bytes text = c->reply.bytes;
    size_t length = text.length < sizeof c->error - 1 ? text.length : sizeof c->error - 1;
    if (length > 0)
        memcpy(c->error, text.data, length);
    c->error[length] = 0;
    if (r->routed && strncmp(c->error, mismatch, sizeof mismatch - 1) == 0)
        return SKERRY_CLIENT_MOVED;
    return strncmp(c->error, "NOAUTH", 6) == 0 ? SKERRY_CLIENT_REFUSED : SKERRY_CLIENT_SERVER;
}

static void fill_reply(struct skerry_client *c, const struct request *r)
{
    struct skerry_client_reply *reply = &c->reply;
    const char *why = "";
    *reply = (struct skerry_client_reply){ .kind = SKERRY_CLIENT_KIND_NONE, .tag = r->tag };
    if (r->state == REQUEST_FAILED) {
        reply->status = r->status;
        describe_failure(c, r);
        reply->error = c->error;
        return;
    }
    struct lane *lane = r->lane;
    c->held = lane;
    c->held_bytes = (size_t)r->frame_length;
    (void)skc_wire_reply(lane->in.data + lane->in.start, r->frame_length, reply, &why); // it was read when it came: it is right
    if (reply->kind == SKERRY_CLIENT_KIND_ERROR) {
        reply->status = status_of_error(c, r);
        reply->error = c->error;
    } else if (reply->kind == SKERRY_CLIENT_KIND_NULL) {
        reply->status = SKERRY_CLIENT_MISSING;
    }
}

int skerry_client_next(struct skerry_client *c, const struct skerry_client_reply **reply)
{
    skc_release(c);
    *reply = NULL;
    if (c->head == c->tail)
        return SKERRY_CLIENT_EMPTY;
    struct request *r = skc_request(c, c->head);
    if (r->state != REQUEST_ANSWERED && r->state != REQUEST_FAILED)
        return SKERRY_CLIENT_AGAIN;
    fill_reply(c, r);
    r->lane->untaken_count--;
    c->head++;
    *reply = &c->reply;
    return SKERRY_CLIENT_OK;
}

int skerry_client_wait(struct skerry_client *c, const struct skerry_client_reply **reply)
{
    int status;
    while ((status = skerry_client_next(c, reply)) == SKERRY_CLIENT_AGAIN)
        skc_pump(c, NEVER);
    return status;
}
