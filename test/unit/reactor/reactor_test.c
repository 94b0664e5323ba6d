// SPDX-License-Identifier: Apache-2.0
// The rules of reactor.h, on whichever backend REACTOR_TEST names.
#include "reactor/reactor.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <unistd.h>

#include "reactor/clock.h"
#include "reactor/net.h"
#include "test/unit/reactor/world.h"

static int port_listener(void)
{
    int fd = net_listen_tcp("127.0.0.1", 0, 512, true);
    check(fd >= 0);
    return fd;
}

static struct op op_recv(int fd)
{
    return (struct op){ .kind = OP_RECV, .fd = fd };
}

static struct op op_send(int fd, const void *data, uint32_t len, uint8_t flags)
{
    return (struct op){ .kind = OP_SEND, .fd = fd, .data = (void *)(uintptr_t)data, .len = len, .flags = flags };
}

static void connections_are_accepted_as_long_as_they_come(void)
{
    world_open(world_options());
    int listener = port_listener();
    struct op op = { .kind = OP_ACCEPT, .fd = listener };
    reactor_submit(world.r, &op);
    int clients[50];
    for (int i = 0; i < 50; i++)
        clients[i] = net_connect_tcp("127.0.0.1", net_port(listener));
    world_until(50);
    for (uint32_t i = 0; i < world.count; i++) {
        check(world.seen[i].result >= 0 && (world.seen[i].flags & COMPLETION_MORE));
        check(fcntl(world.seen[i].result, F_GETFL) & O_NONBLOCK);
        check(fcntl(world.seen[i].result, F_GETFD) & FD_CLOEXEC);
        reactor_close(world.r, world.seen[i].result);
        close(clients[i]);
    }
    world_cancel(&op);
    check_equal(world_last(&op)->result, -ECANCELED);
    reactor_close(world.r, listener);
    world_close();
}

static void bytes_arrive_in_order_until_the_stream_ends(void)
{
    world_open(world_options());
    struct pair p = pair_open();
    struct op recv = op_recv(p.server);
    reactor_submit(world.r, &recv);
    check_equal(world_turn(1), 0);
    for (int i = 0; i < 10; i++) {
        check_equal(write(p.client, "0123456789", 10), 10);
        world_until_bytes((uint32_t)(i + 1) * 10);
    }
    check(memcmp(world.bytes, "01234567890123456789", 20) == 0);
    check_equal(write(p.client, "last", 4), 4);
    shutdown(p.client, SHUT_WR);
    world_until_idle(&recv);
    check_equal(world.byte_count, 104);
    check_equal(world_last(&recv)->result, 0);
    check_equal(world_last(&recv)->flags, 0);
    // Half-closed: our direction still works.
    struct op send = op_send(p.server, "bye", 3, OP_QUIET);
    reactor_submit(world.r, &send);
    check_equal(world_turn(0), 0);
    char text[4] = { 0 };
    check_equal(read(p.client, text, 3), 3);
    check(strcmp(text, "bye") == 0);
    pair_close(&p);
    world_close();
}

static void large_streams_arrive_whole(void)
{
    world_open(world_options());
    struct pair p = pair_open();
    struct op recv = op_recv(p.server);
    reactor_submit(world.r, &recv);
    static uint8_t block[1 << 20];
    for (uint32_t i = 0; i < sizeof block; i++)
        block[i] = (uint8_t)(i * 7 + (i >> 8));
    uint32_t sent = 0;
    fcntl(p.client, F_SETFL, O_NONBLOCK);
    while (sent < sizeof block) {
        ssize_t n = send(p.client, block + sent, sizeof block - sent, 0);
        sent += n > 0 ? (uint32_t)n : 0;
        world_turn(0);
        if (recv.state == OP_IDLE && world_last(&recv)->result == -ENOBUFS)
            reactor_submit(world.r, &recv);
    }
    world_until_bytes(sizeof block);
    check(memcmp(world.bytes, block, sizeof block) == 0);
    world_cancel(&recv);
    pair_close(&p);
    world_close();
}

static void a_reset_ends_a_receive_with_its_error(void)
{
    world_open(world_options());
    struct pair p = pair_open();
    struct op recv = op_recv(p.server);
    reactor_submit(world.r, &recv);
    world_turn(0);
    struct linger linger = { .l_onoff = 1, .l_linger = 0 };
    setsockopt(p.client, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    close(p.client);
    p.client = -1;
    world_until_idle(&recv);
    check_equal(world_last(&recv)->result, -ECONNRESET);
    check_equal(world_last(&recv)->flags, 0);
    check_equal(world_turn(20), 0);
    pair_close(&p);
    world_close();
}

static void a_quiet_send_that_fits_says_nothing(void)
{
    world_open(world_options());
    struct pair p = pair_open();
    for (int i = 0; i < 100; i++) {
        struct op send = op_send(p.server, "abcdefgh", 8, OP_QUIET);
        reactor_submit(world.r, &send);
        check_equal(world_turn(0), 0);
        check_equal(send.state, OP_IDLE);
        char text[8];
        check_equal(read(p.client, text, 8), 8);
    }
    check_equal(world.r->stats.send_bytes, 800);
    pair_close(&p);
    world_close();
}

// A peer that never reads: the short count comes in the very turn that sent.
static void a_quiet_send_that_does_not_fit_says_so_at_once(void)
{
    world_open(world_options());
    struct pair p = pair_open();
    uint32_t size = 16 << 20;
    uint8_t *bytes = calloc(1, size);
    struct op send = op_send(p.server, bytes, size, OP_QUIET);
    reactor_submit(world.r, &send);
    check_equal(world_turn(0), 1);
    check(world.seen[0].op == &send && world.seen[0].result > 0 && world.seen[0].result < (int32_t)size);
    check_equal(world.seen[0].flags, 0);
    check_equal(send.state, OP_IDLE);
    uint64_t sent = (uint64_t)world.seen[0].result;
    int32_t last = 0;
    for (int i = 0; i < 1000 && last != -EAGAIN; i++) {
        world_forget();
        reactor_submit(world.r, &send);
        check_equal(world_turn(0), 1);
        last = world.seen[0].result;
        sent += last > 0 ? (uint64_t)last : 0;
    }
    check_equal(last, -EAGAIN);
    check_equal(world.r->stats.send_bytes, sent);
    free(bytes);
    pair_close(&p);
    world_close();
}

static void a_plain_send_completes_when_all_is_sent(void)
{
    world_open(world_options());
    struct pair p = pair_open();
    uint32_t size = 16 << 20;
    uint8_t *bytes = malloc(size), *got = malloc(size);
    for (uint32_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(i * 13 + (i >> 12));
    struct op send = op_send(p.server, bytes, size, 0);
    reactor_submit(world.r, &send);
    check_equal(world_turn(20), 0);
    check_equal(send.state, OP_IN_FLIGHT);
    fcntl(p.client, F_SETFL, O_NONBLOCK);
    uint32_t received = 0;
    for (uint64_t end = clock_now_ns() + PATIENCE_NS; received < size && clock_now_ns() < end;) {
        ssize_t n = read(p.client, got + received, size - received);
        received += n > 0 ? (uint32_t)n : 0;
        world_turn(0);
    }
    world_until_idle(&send);
    check_equal(received, size);
    check_equal(world_last(&send)->result, (int32_t)size);
    check(memcmp(bytes, got, size) == 0);
    free(bytes);
    free(got);
    pair_close(&p);
    world_close();
}

static void sending_to_one_who_left_fails_without_a_signal(void)
{
    world_open(world_options());
    struct pair p = pair_open();
    close(p.client);
    p.client = -1;
    struct op send = op_send(p.server, "x", 1, 0);
    int32_t result = 1;
    for (int i = 0; i < 20 && result > 0; i++) {
        reactor_submit(world.r, &send);
        world_until_idle(&send);
        result = world_last(&send)->result;
    }
    check(result == -EPIPE || result == -ECONNRESET);
    send.flags = OP_QUIET;
    world_forget();
    reactor_submit(world.r, &send);
    check_equal(world_turn(0), 1);
    check_equal(world.seen[0].result, -EPIPE);
    pair_close(&p);
    world_close();
}

static void a_cancelled_send_ends_once_and_before_its_cancel(void)
{
    world_open(world_options());
    struct pair p = pair_open();
    uint32_t size = 16 << 20;
    uint8_t *bytes = calloc(1, size);
    struct op send = op_send(p.server, bytes, size, 0);
    reactor_submit(world.r, &send);
    check_equal(world_turn(10), 0);
    struct op cancel = { .kind = OP_CANCEL, .target = &send };
    reactor_submit(world.r, &cancel);
    world_until_idle(&cancel);
    check_equal(world.count, 2);
    check(world.seen[0].op == &send && world.seen[0].result == -ECANCELED);
    check(world.seen[1].op == &cancel);
    free(bytes);
    pair_close(&p);
    world_close();
}

static void a_cancel_completes_after_its_target(void)
{
    world_open(world_options());
    for (int i = 0; i < 50; i++) {
        struct pair p = pair_open();
        struct op recv = op_recv(p.server), cancel = { .kind = OP_CANCEL, .target = &recv };
        world_forget();
        reactor_submit(world.r, &recv);
        world_turn(0);
        if (i % 2 == 1)
            check_equal(write(p.client, "x", 1), 1);
        reactor_submit(world.r, &cancel);
        world_until_idle(&cancel);
        check(world.seen[world.count - 1].op == &cancel);
        check(world.seen[world.count - 2].op == &recv);
        check_equal(world.seen[world.count - 2].result, -ECANCELED);
        check_equal(world.seen[world.count - 2].flags, 0);
        check_equal(recv.state, OP_IDLE);
        pair_close(&p);
    }
    world_close();
}

static void cancel_in_the_turn_of_submission_works(void)
{
    world_open(world_options());
    struct pair p = pair_open();
    struct op recv = op_recv(p.server), cancel = { .kind = OP_CANCEL, .target = &recv };
    reactor_submit(world.r, &recv);
    reactor_submit(world.r, &cancel);
    world_until_idle(&cancel);
    check_equal(world.count, 2);
    check(world.seen[0].op == &recv && world.seen[0].result == -ECANCELED);
    check(world.seen[1].op == &cancel && world.seen[1].result == 0);
    pair_close(&p);
    world_close();
}

static void cancelling_what_is_idle_finds_nothing(void)
{
    world_open(world_options());
    struct op recv = op_recv(0), cancel = { .kind = OP_CANCEL, .target = &recv };
    reactor_submit(world.r, &cancel);
    world_until_idle(&cancel);
    check_equal(world_last(&cancel)->result, -ENOENT);
    world_close();
}

static void a_descriptor_can_be_used_again_after_cancel_and_close(void)
{
    world_open(world_options());
    for (int i = 0; i < 20; i++) {
        struct pair p = pair_open();
        struct op recv = op_recv(p.server);
        world_forget();
        reactor_submit(world.r, &recv);
        check_equal(write(p.client, "abc", 3), 3);
        world_until_bytes(3);
        world_cancel(&recv);
        pair_close(&p);
    }
    world_close();
}

static void closing_sends_the_end_of_the_stream(void)
{
    world_open(world_options());
    struct pair p = pair_open();
    struct op recv = op_recv(p.server);
    reactor_submit(world.r, &recv);
    world_turn(0);
    world_cancel(&recv);
    reactor_close(world.r, p.server);
    p.server = -1;
    struct pollfd pollfd = { .fd = p.client, .events = POLLIN };
    check_equal(poll(&pollfd, 1, 2000), 1);
    char c;
    check_equal(read(p.client, &c, 1), 0);
    pair_close(&p);
    world_close();
}

static void shutdown_ends_a_receive(void)
{
    world_open(world_options());
    struct pair p = pair_open();
    struct op recv = op_recv(p.server);
    reactor_submit(world.r, &recv);
    world_turn(0);
    reactor_shutdown(world.r, p.server);
    world_until_idle(&recv);
    check_equal(world_last(&recv)->result, 0);
    pair_close(&p);
    world_close();
}

static void receiving_into_ones_own_memory(void)
{
    world_open(world_options());
    struct pair p = pair_open();
    static uint8_t bytes[100];
    struct op into = { .kind = OP_RECV_INTO, .fd = p.server, .data = bytes, .len = 100 };
    reactor_submit(world.r, &into);
    check_equal(world_turn(5), 0);
    check_equal(write(p.client, "hello", 5), 5);
    world_until_idle(&into);
    check_equal(world_last(&into)->result, 5);
    check(memcmp(bytes, "hello", 5) == 0);

    into.flags = OP_ALL;
    world_forget();
    reactor_submit(world.r, &into);
    for (int i = 0; i < 10; i++) {
        check_equal(world.count, 0);
        check_equal(write(p.client, "0123456789", 10), 10);
        world_turn(2);
    }
    world_until_idle(&into);
    check_equal(world_last(&into)->result, 100);
    check(memcmp(bytes + 90, "0123456789", 10) == 0);

    reactor_submit(world.r, &into);
    check_equal(write(p.client, "short", 5), 5);
    world_turn(2);
    shutdown(p.client, SHUT_WR);
    world_until_idle(&into);
    check_equal(world_last(&into)->result, 5);
    pair_close(&p);
    world_close();
}

static void receiving_goes_over_to_ones_own_memory_and_back(void)
{
    world_open(world_options());
    struct pair p = pair_open();
    struct op recv = op_recv(p.server), cancel = { .kind = OP_CANCEL, .target = &recv };
    static uint8_t bytes[4];
    struct op into = { .kind = OP_RECV_INTO, .fd = p.server, .data = bytes, .len = 4, .flags = OP_ALL };
    for (int i = 0; i < 10; i++) {
        world_forget();
        reactor_submit(world.r, &recv);
        check_equal(write(p.client, "head", 4), 4);
        world_until_bytes(4);
        reactor_submit(world.r, &cancel);
        world_until_idle(&cancel);
        reactor_submit(world.r, &into);
        check_equal(write(p.client, "tail", 4), 4);
        world_until_idle(&into);
        check_equal(world.byte_count, 4);
        check_equal(world_last(&into)->result, 4);
        check(memcmp(bytes, "tail", 4) == 0);
    }
    pair_close(&p);
    world_close();
}

static struct op op_connect(int fd, const struct sockaddr_in *to)
{
    return (struct op){ .kind = OP_CONNECT, .fd = fd, .data = (void *)(uintptr_t)to, .len = sizeof *to };
}

static void connecting_succeeds_or_is_refused(void)
{
    world_open(world_options());
    int listener = port_listener();
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(net_port(listener)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct op connect = op_connect(fd, &to);
    reactor_submit(world.r, &connect);
    world_until_idle(&connect);
    check_equal(world_last(&connect)->result, 0);
    struct op send = op_send(fd, "x", 1, OP_QUIET);
    reactor_submit(world.r, &send);
    check_equal(world_turn(0), 0);
    reactor_close(world.r, fd);
    close(listener);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    connect = op_connect(fd, &to);
    reactor_submit(world.r, &connect);
    world_until_idle(&connect);
    check_equal(world_last(&connect)->result, -ECONNREFUSED);
    reactor_close(world.r, fd);
    world_close();
}

static void a_poll_ends_when_it_is_readable(void)
{
    world_open(world_options());
    struct pair p = pair_open();
    struct op poll_op = { .kind = OP_POLL, .fd = p.server };
    reactor_submit(world.r, &poll_op);
    check_equal(world_turn(5), 0);
    check_equal(write(p.client, "x", 1), 1);
    world_until_idle(&poll_op);
    check(world_last(&poll_op)->result & POLLIN);
    check_equal(world_turn(5), 0);
    pair_close(&p);
    world_close();
}

// The ring of one buffer that its owner keeps: the receive ends with -ENOBUFS, waits when it is submitted again, without
// spinning, and goes on when the buffer comes back.
static void without_buffers_a_receive_waits_and_goes_on(void)
{
    struct reactor_options o = world_options();
    o.buffers = 1;
    o.buffers_max = 1;
    o.buffer_size = 64;
    o.spin_us = 0;
    world_open(o);
    struct pair p = pair_open();
    struct op recv = op_recv(p.server);
    reactor_submit(world.r, &recv);
    world.hold_buffers = true;
    char text[200];
    memset(text, 'z', sizeof text);
    check_equal(write(p.client, text, sizeof text), sizeof text);
    world_until_bytes(64);
    uint16_t held = world.seen[0].buffer;
    uint64_t enters = world.r->stats.enters;
    for (int i = 0; i < 5; i++) {
        world_turn(20);
        if (recv.state == OP_IDLE) {
            check_equal(world_last(&recv)->result, -ENOBUFS);
            reactor_submit(world.r, &recv);
        }
    }
    check(world_options().busy_poll || world.r->stats.enters - enters < 40);
    check(world.r->stats.buffers_empty > 0);
    check_equal(world.byte_count, 64);
    world.hold_buffers = false;
    reactor_buffer_return(world.r, held);
    for (uint64_t end = clock_now_ns() + PATIENCE_NS; world.byte_count < 200 && clock_now_ns() < end;) {
        world_turn(20);
        if (recv.state == OP_IDLE)
            reactor_submit(world.r, &recv);
    }
    check_equal(world.byte_count, 200);
    if (recv.state != OP_IDLE)
        world_cancel(&recv);
    pair_close(&p);
    world_close();
}

static void a_receive_that_waits_for_a_buffer_can_be_cancelled(void)
{
    struct reactor_options o = world_options();
    o.buffers = 1;
    o.buffers_max = 1;
    world_open(o);
    struct pair p = pair_open(), q = pair_open();
    struct op recv = op_recv(p.server), other = op_recv(q.server), cancel = { .kind = OP_CANCEL, .target = &other };
    world.hold_buffers = true;
    reactor_submit(world.r, &recv);
    check_equal(write(p.client, "x", 1), 1);
    world_until_bytes(1);
    reactor_submit(world.r, &other);
    world_turn(0);
    world_forget();
    reactor_submit(world.r, &cancel);
    world_until_idle(&cancel);
    check_equal(world_last(&other)->result, -ECANCELED);
    check(world.seen[world.count - 1].op == &cancel);
    world_cancel(&recv);
    pair_close(&p);
    pair_close(&q);
    world_close();
}

static void buffers_become_more_when_they_run_out(void)
{
    struct reactor_options o = world_options();
    o.buffers = 1;
    o.buffers_max = 64;
    o.buffer_size = 64;
    world_open(o);
    struct pair p = pair_open();
    struct op recv = op_recv(p.server);
    reactor_submit(world.r, &recv);
    world.hold_buffers = true;
    static char text[64 * 40];
    check_equal(write(p.client, text, sizeof text), sizeof text);
    for (uint64_t end = clock_now_ns() + PATIENCE_NS; world.byte_count < sizeof text && clock_now_ns() < end;) {
        world_turn(20);
        if (recv.state == OP_IDLE)
            reactor_submit(world.r, &recv);
    }
    check_equal(world.byte_count, sizeof text);
    check(world.r->stats.buffers_empty > 0);
    if (recv.state != OP_IDLE)
        world_cancel(&recv);
    pair_close(&p);
    world_close();
}

#define MANY 200

// More ops in a turn than the submission queue has entries.
static void a_turn_takes_more_ops_than_its_queue(void)
{
    struct reactor_options o = world_options();
    o.entries = 8;
    world_open(o);
    static struct pair pairs[MANY];
    static struct op recvs[MANY], sends[MANY];
    for (int i = 0; i < MANY; i++) {
        pairs[i] = pair_open_local();
        recvs[i] = op_recv(pairs[i].server);
        sends[i] = op_send(pairs[i].server, "answer", 6, OP_QUIET);
        reactor_submit(world.r, &recvs[i]);
        reactor_submit(world.r, &sends[i]);
    }
    check_equal(world_turn(0), 0);
    for (int i = 0; i < MANY; i++) {
        char text[6];
        check_equal(read(pairs[i].client, text, 6), 6);
        check_equal(write(pairs[i].client, "ask", 3), 3);
    }
    world_until_bytes(3 * MANY);
    for (int i = 0; i < MANY; i++) {
        world_cancel(&recvs[i]);
        pair_close(&pairs[i]);
    }
    world_close();
}

// More completions in a turn than the completion queue has entries: none is lost, and failed quiet sends come in their turn.
static void an_overflowing_completion_queue_loses_nothing(void)
{
    struct reactor_options o = world_options();
    o.entries = 8;
    o.completions = 16;
    world_open(o);
    static struct pair pairs[MANY];
    static struct op sends[MANY];
    for (int i = 0; i < MANY; i++) {
        pairs[i] = pair_open_local();
        shutdown(pairs[i].server, SHUT_WR);
        sends[i] = op_send(pairs[i].server, "x", 1, OP_QUIET);
        reactor_submit(world.r, &sends[i]);
    }
    check_equal(world_turn(0), MANY);
    for (uint32_t i = 0; i < world.count; i++)
        check_equal(world.seen[i].result, -EPIPE);
    static struct op recvs[MANY];
    world_forget();
    for (int i = 0; i < MANY; i++) {
        recvs[i] = op_recv(pairs[i].server);
        reactor_submit(world.r, &recvs[i]);
        check_equal(write(pairs[i].client, "y", 1), 1);
    }
    world_until_bytes(MANY);
    check(!world_is_uring() || !world_has(REACTOR_BATCHED_ENTER) || world.r->stats.overflows > 0);
    for (int i = 0; i < MANY; i++) {
        world_cancel(&recvs[i]);
        pair_close(&pairs[i]);
    }
    world_close();
}

static void without_descriptors_accepting_ends_and_can_be_resumed(void)
{
    world_open(world_options());
    int listener = port_listener();
    struct op op = { .kind = OP_ACCEPT, .fd = listener };
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(net_port(listener)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int first = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct rlimit before, none;
    getrlimit(RLIMIT_NOFILE, &before);
    none = before;
    none.rlim_cur = 3;
    setrlimit(RLIMIT_NOFILE, &none); // io_uring reads the limit when the op is submitted
    reactor_submit(world.r, &op);
    world_turn(0); // io_uring wants a descriptor before there is a connection, and may end here
    check_equal(connect(first, (struct sockaddr *)&to, sizeof to), 0);
    world_until_idle(&op);
    check_equal(world_last(&op)->result, -EMFILE);
    check_equal(world_last(&op)->flags, 0);
    check_equal(world_turn(20), 0);
    setrlimit(RLIMIT_NOFILE, &before);
    world_forget();
    reactor_submit(world.r, &op);
    int second = net_connect_tcp("127.0.0.1", net_port(listener));
    world_until(1);
    check(world.seen[0].result >= 0 && (world.seen[0].flags & COMPLETION_MORE));
    world_turn(20);
    world_cancel(&op);
    for (uint32_t i = 0; i < world.count; i++)
        if (world.seen[i].op == &op && world.seen[i].result >= 0)
            reactor_close(world.r, world.seen[i].result);
    close(first);
    close(second);
    reactor_close(world.r, listener);
    world_close();
}

#define CROWD 600

// Many speak at once, more than there are buffers: all are heard, again and again.
static void a_crowd_is_heard(void)
{
    struct reactor_options o = world_options();
    o.buffers = 16;
    o.buffers_max = 64;
    if (net_raise_files(2 * CROWD + 100) < 2 * CROWD + 100)
        return;
    world_open(o);
    static struct pair pairs[CROWD];
    static struct op recvs[CROWD];
    for (int i = 0; i < CROWD; i++) {
        pairs[i] = pair_open_local();
        recvs[i] = op_recv(pairs[i].server);
        reactor_submit(world.r, &recvs[i]);
    }
    for (uint32_t round = 1; round <= 3; round++) {
        world.count = 0;
        for (int i = 0; i < CROWD; i++)
            check_equal(write(pairs[i].client, "hear me", 7), 7);
        for (uint64_t end = clock_now_ns() + PATIENCE_NS; world.byte_count < round * CROWD * 7 && clock_now_ns() < end;) {
            world_turn(10);
            for (int i = 0; i < CROWD; i++)
                if (recvs[i].state == OP_IDLE)
                    reactor_submit(world.r, &recvs[i]);
        }
        check_equal(world.byte_count, round * CROWD * 7);
    }
    for (int i = 0; i < CROWD; i++) {
        world.count = 0;
        world_cancel(&recvs[i]);
        pair_close(&pairs[i]);
    }
    world_close();
}

static void two_reactors_share_a_listener(void)
{
    world_open(world_options());
    struct reactor_options o = world_options();
    struct reactor *other;
    const char *why;
    check_equal(reactor_open(&other, &o, &why), 0);
    int listener = port_listener();
    struct op a = { .kind = OP_ACCEPT, .fd = listener }, b = a;
    reactor_submit(world.r, &a);
    reactor_submit(other, &b);
    world_turn(0);
    const struct completion *done;
    uint32_t n = reactor_turn(other, 0, &done);
    int clients[10];
    for (int i = 0; i < 10; i++)
        clients[i] = net_connect_tcp("127.0.0.1", net_port(listener));
    for (uint64_t end = clock_now_ns() + PATIENCE_NS; world.count + n < 10 && clock_now_ns() < end;) {
        world_turn(1);
        uint32_t more = reactor_turn(other, NS_PER_MS, &done);
        for (uint32_t i = 0; i < more; i++)
            reactor_close(other, done[i].result);
        n += more;
    }
    check_equal(world.count + n, 10);
    for (uint32_t i = 0; i < world.count; i++)
        reactor_close(world.r, world.seen[i].result);
    for (int i = 0; i < 10; i++)
        close(clients[i]);
    world_cancel(&a);
    struct op cancel = { .kind = OP_CANCEL, .target = &b };
    reactor_submit(other, &cancel);
    for (int i = 0; i < 1000 && cancel.state != OP_IDLE; i++)
        (void)reactor_turn(other, 50 * NS_PER_MS, &done);
    check_equal(b.state, OP_IDLE);
    close(listener);
    reactor_close_all(other);
    world_close();
}

TESTS(TEST(connections_are_accepted_as_long_as_they_come), TEST(bytes_arrive_in_order_until_the_stream_ends),
      TEST(large_streams_arrive_whole), TEST(a_reset_ends_a_receive_with_its_error), TEST(a_quiet_send_that_fits_says_nothing),
      TEST(a_quiet_send_that_does_not_fit_says_so_at_once), TEST(a_plain_send_completes_when_all_is_sent),
      TEST(sending_to_one_who_left_fails_without_a_signal), TEST(a_cancelled_send_ends_once_and_before_its_cancel),
      TEST(a_cancel_completes_after_its_target), TEST(cancel_in_the_turn_of_submission_works), TEST(cancelling_what_is_idle_finds_nothing),
      TEST(a_descriptor_can_be_used_again_after_cancel_and_close), TEST(closing_sends_the_end_of_the_stream), TEST(shutdown_ends_a_receive),
      TEST(receiving_into_ones_own_memory), TEST(receiving_goes_over_to_ones_own_memory_and_back), TEST(connecting_succeeds_or_is_refused),
      TEST(a_poll_ends_when_it_is_readable), TEST(without_buffers_a_receive_waits_and_goes_on),
      TEST(a_receive_that_waits_for_a_buffer_can_be_cancelled), TEST(buffers_become_more_when_they_run_out),
      TEST(a_turn_takes_more_ops_than_its_queue), TEST(an_overflowing_completion_queue_loses_nothing),
      TEST(without_descriptors_accepting_ends_and_can_be_resumed), TEST(a_crowd_is_heard), TEST(two_reactors_share_a_listener))
