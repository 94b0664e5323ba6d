// SPDX-License-Identifier: Apache-2.0
// The epoll backend: one turn. An honest server on the same interface, for kernels and containers without io_uring, and so that
// a comparison means something.
//
//   start     sends happen here, one system call each; receives and accepts register their interest
//   files     what the helper thread has finished
//   events    one epoll_wait; every ready connection gives one buffer's worth, so that none can starve the others
//   wait      only when nothing came: spin on epoll_wait, then sleep in it
//
// Readiness is level-triggered: what one turn leaves is reported again.
#include "reactor/epoll.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "reactor/napi.h"
#include "reactor/ticks.h"

#define BUFFERS_DEFAULT     256
#define BUFFERS_MAX_DEFAULT 4096
#define BUFFERS_MAX         32768
#define BUFFER_SIZE_DEFAULT 16384

static int wait_events(struct epoll *e, uint64_t wait_ns)
{
    e->reactor.stats.enters++;
    e->reactor.stats.syscalls++;
    int n;
    if (wait_ns == 0) {
        n = epoll_wait(e->fd, e->events, EPOLL_EVENTS_MAX, 0);
    } else if (!e->no_pwait2) {
        struct timespec ts = { .tv_sec = (time_t)(wait_ns / NS_PER_SEC), .tv_nsec = (long)(wait_ns % NS_PER_SEC) };
        n = epoll_pwait2(e->fd, e->events, EPOLL_EVENTS_MAX, &ts, NULL);
        e->no_pwait2 = n < 0 && (errno == ENOSYS || errno == EPERM);
    } else {
        n = epoll_wait(e->fd, e->events, EPOLL_EVENTS_MAX, (int)((wait_ns + NS_PER_MS - 1) / NS_PER_MS));
    }
    e->event_count = n > 0 ? n : 0;
    e->reactor.stats.cqes += (uint64_t)e->event_count;
    return n < 0 ? -errno : 0;
}

static void take_files(struct epoll *e)
{
    struct op *next;
    for (struct op *op = epoll_files_take(&e->files); op != NULL; op = next) {
        next = op->next;
        epoll_finish(e, op, (int32_t)(uint32_t)op->backend);
    }
}

static void handle_all(struct epoll *e)
{
    for (int i = 0; i < e->event_count; i++)
        epoll_handle(e, &e->events[i]);
    e->event_count = 0;
    if (unlikely(epoll_files_done(&e->files)))
        take_files(e);
}

static bool ready(struct reactor *r)
{
    struct epoll *e = epoll_of(r);
    return wait_events(e, 0) < 0 || e->event_count > 0 || epoll_files_done(&e->files);
}

// Sleeps until something is ready, somebody wakes us, or time is up.
static void sleep_until(struct epoll *e, uint64_t deadline_ns)
{
    struct reactor *r = &e->reactor;
    e->woken = false;
    for (uint64_t now = r->now_ns; now < deadline_ns && e->done.count == 0 && !e->woken; now = clock_now_ns()) {
        if (!wait_lie_down(r))
            return;
        // The helper thread stores, then wakes, as any other sender.
        int err = epoll_files_done(&e->files) ? 0 : wait_events(e, deadline_ns - now);
        wait_get_up(r);
        handle_all(e);
        if (err == -EINTR)
            return;
    }
}

static void poll_busily(struct epoll *e, uint64_t deadline_ns)
{
    do {
        if (ready(&e->reactor) || wait_pending(&e->reactor))
            handle_all(e);
    } while (e->done.count == 0 && !wait_pending(&e->reactor) && clock_now_ns() < deadline_ns);
}

static void wait(struct epoll *e, uint64_t wait_ns, bool spin)
{
    struct reactor *r = &e->reactor;
    uint64_t start = wait_begin(r);
    if (e->busy_poll) {
        poll_busily(e, start + wait_ns);
    } else if (spin && wait_spin(&e->wait, r, start, wait_ns, ready)) {
        handle_all(e);
    } else {
        sleep_until(e, start + wait_ns);
    }
}

static uint32_t epoll_turn(struct reactor *r, uint64_t wait_ns, const struct completion **out)
{
    struct epoll *e = epoll_of(r);
    e->done.count = 0;
    epoll_start_submitted(e);
    take_files(e);
    bool may_wait = wait_ns > 0 && e->done.count == 0;
    bool spin = may_wait && !e->busy_poll && wait_wants_spin(&e->wait);
    // Without a spin before it, looking and sleeping are one system call.
    if (!may_wait || spin) {
        (void)wait_events(e, 0);
        handle_all(e);
    }
    bool waits = may_wait && e->done.count == 0;
    if (waits)
        wait(e, wait_ns < WAIT_MAX_NS ? wait_ns : WAIT_MAX_NS, spin);
    r->stats.completions += e->done.count;
    wait_turn_end(&e->wait, r, waits);
    *out = e->done.items;
    return e->done.count;
}

static int epoll_register_buffers(struct reactor *r, const struct slice *buffers, uint32_t count)
{
    return -EOPNOTSUPP;
}

static void epoll_close_fd(struct reactor *r, int fd)
{
    struct epoll *e = epoll_of(r);
    if ((uint32_t)fd < e->slot_count) {
        struct epoll_slot *slot = &e->slots[fd];
        assert(slot->in == NULL && slot->out == NULL);
        slot->events = 0;
    }
    r->stats.syscalls++;
    close(fd); // takes it out of the set too: nothing here is duplicated but listeners, which have left it already
}

static struct reactor *epoll_free(struct reactor *r)
{
    struct epoll *e = epoll_of(r);
    epoll_files_deinit(&e->files);
    pool_deinit(&e->pool);
    completions_deinit(&e->done);
    wait_close(r);
    close(e->fd);
    free(e->slots);
    free(e);
    return NULL;
}

static const struct reactor_ops EPOLL_OPS = {
    .name = "epoll",
    .turn = epoll_turn,
    .buffer_return = epoll_buffer_return,
    .wake = wait_wake,
    .register_buffers = epoll_register_buffers,
    .close_fd = epoll_close_fd,
    .free = epoll_free,
};

static int open_pool(struct epoll *e, const struct reactor_options *o)
{
    uint32_t max = o->buffers_max != 0 ? o->buffers_max : BUFFERS_MAX_DEFAULT;
    uint32_t active = o->buffers != 0 ? o->buffers : BUFFERS_DEFAULT;
    max = max < BUFFERS_MAX ? max : BUFFERS_MAX;
    return pool_init(&e->pool, o->memory, active < max ? active : max, max, o->buffer_size != 0 ? o->buffer_size : BUFFER_SIZE_DEFAULT);
}

// Edge-triggered, so that nobody has to read it: each wake-up is an edge.
static int watch_wake_fd(struct epoll *e)
{
    struct epoll_event event = { .events = EPOLLIN | EPOLLET, .data.fd = e->reactor.wake_fd };
    return epoll_ctl(e->fd, EPOLL_CTL_ADD, e->reactor.wake_fd, &event) == 0 ? 0 : -errno;
}

static int open_parts(struct epoll *e, const struct reactor_options *o, const char **why)
{
    *why = "epoll gets no descriptor (raise the limit of open files)";
    e->fd = epoll_create1(EPOLL_CLOEXEC);
    if (e->fd < 0)
        return -errno;
    int err = wait_open(&e->wait, &e->reactor, o->spin_us);
    if (err == 0)
        err = watch_wake_fd(e);
    if (err < 0)
        goto close_fds;
    *why = "no memory for receive buffers";
    err = open_pool(e, o);
    if (err < 0)
        goto close_fds;
    *why = "out of memory";
    err = completions_init(&e->done, 2 * EPOLL_EVENTS_MAX);
    if (err < 0)
        goto free_pool;
    return 0;

free_pool:
    pool_deinit(&e->pool);
close_fds:
    wait_close(&e->reactor);
    close(e->fd);
    return err;
}

int epoll_open(struct reactor **out, const struct reactor_options *options, const char **why)
{
    struct epoll *e = calloc(1, sizeof *e);
    if (e == NULL)
        return -ENOMEM;
    reactor_init(&e->reactor, &EPOLL_OPS, REACTOR_EPOLL);
    op_queue_init(&e->starved);
    const char *obstacle = NULL;
    int err = open_parts(e, options, &obstacle);
    if (err < 0) {
        *why = obstacle;
        free(e);
        return err;
    }
    epoll_files_init(&e->files, &e->reactor);
    e->busy_poll = options->busy_poll;
    if (e->busy_poll)
        (void)!napi_poll_epoll(e->fd);
    ticks_open(&e->reactor);
    e->reactor.now_ns = clock_now_ns();
    e->reactor.wall_ms = clock_wall_ms();
    *out = &e->reactor;
    return 0;
}
