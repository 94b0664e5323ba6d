// SPDX-License-Identifier: Apache-2.0
// skerry-history: loads a server over many connections from one thread, records what every request found, and checks the history.
//
//   skerry-history --port 6379 [--operations 100000] [--connections 24] [--depth 8] [--many 300] [--multi 1] [--cut 2] [--seed 1] [--dump
//   FILE] skerry-history --port 6379 --lie stale-watch     as if the server had this bug: the check must fail skerry-history --check FILE
//   a history as --dump wrote it
//
// --many: permille of requests with several keys, --multi: also MULTI and WATCH. --cut: a connection is cut every so many thousand
// requests, in any state. The server's database is flushed first. Exit status: 0 holds, 1 does not, 2 could not be done.
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "test/history/check.h"
#include "test/history/workload.h"
#include "test/sim/resp_reader.h"

#define CONNECTIONS_MAX 128
#define PATIENCE_MS     60000

struct connection {
    int fd;
    bool finished; // half closed: what is due must still come, then the end
    struct session session;
    struct buf in, out;
};

static struct {
    uint16_t port;
    uint64_t operations, seed;
    uint32_t connections, cut;
    const char *dump, *check;
    struct workload_options workload;
} options = { .operations = 100000,
              .seed = 1,
              .connections = 24,
              .cut = 2,
              .workload = {
                  .registers = 16, .lists = 4, .counters = 2, .many = 300, .multi = true, .abandon = 100, .depth = 8, .value_max = 300 } };

static struct workload workload;
static struct connection connections[CONNECTIONS_MAX];
static struct prng chances;
static int epoll_fd;
static uint32_t cuts;

static int die(const char *what)
{
    perror(what);
    exit(2);
}

static int dial(void)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(options.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0)
        die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static void flush_server(void)
{
    char reply[64];
    int fd = dial();
    if (write(fd, "FLUSHALL\r\n", 10) != 10 || read(fd, reply, sizeof reply) < 3 || memcmp(reply, "+OK", 3) != 0)
        die("FLUSHALL");
    close(fd);
}

static void open_connection(struct connection *c)
{
    struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c };
    c->fd = dial();
    c->finished = false;
    buf_init(&c->in, BUF_NO_LIMIT);
    buf_init(&c->out, BUF_NO_LIMIT);
    session_open(&c->session, &workload);
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event) != 0)
        die("epoll_ctl");
}

static void close_connection(struct connection *c, bool reset)
{
    struct linger hard = { .l_onoff = 1, .l_linger = 0 };
    if (reset)
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    session_cut(&c->session);
    close(c->fd);
    buf_deinit(&c->in);
    buf_deinit(&c->out);
    c->fd = -1;
}

static void parse(struct connection *c)
{
    size_t used = 0;
    while (used < c->in.len && workload.failure[0] == '\0') {
        struct slice rest = slice_of(c->in.data + used, c->in.len - used);
        long len = reader_length(rest);
        if (len == READER_PARTIAL)
            break;
        if (len < 0)
            workload_fail(&workload, "bytes that are no reply: %.*s", rest.len < 60 ? (int)rest.len : 60, (const char *)rest.data);
        else if (session_reply(&c->session, slice_of(rest.data, (size_t)len)))
            used += (size_t)len;
    }
    buf_consume(&c->in, used);
}

// False: the connection has ended.
static bool receive(struct connection *c)
{
    for (;;) {
        uint8_t *to = buf_reserve(&c->in, 65536);
        assert(to != NULL);
        ssize_t n = recv(c->fd, to, 65536, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return true;
        if (n <= 0) {
            bool due = c->session.count > 0 || c->in.len > 0;
            if (!c->finished || due)
                workload_fail(&workload, "the server ended a connection (process %u) with %u requests due", c->session.process,
                              c->session.count);
            return false;
        }
        buf_advance(&c->in, (size_t)n);
        parse(c);
    }
}

static void transmit(struct connection *c)
{
    while (c->out.len > 0) {
        ssize_t n = send(c->fd, c->out.data, c->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n <= 0)
            return;
        buf_consume(&c->out, (size_t)n);
    }
}

// Cuts the connection as it is, or closes its half.
static void mishap(struct connection *c, bool torn)
{
    uint64_t how = prng_below(&chances, 4);
    cuts++;
    if (how == 3 && !c->session.leaving && c->out.len == 0 && !torn) {
        c->finished = true;
        c->session.leaving = true;
        shutdown(c->fd, SHUT_WR);
        return;
    }
    close_connection(c, how == 0);
    open_connection(c);
}

static void ask(struct connection *c)
{
    uint64_t many = 1 + prng_below(&chances, options.workload.depth);
    bool cut = false, torn = false;
    while (many-- > 0 && workload.asked < options.operations && session_ask(&c->session, &c->out))
        cut |= prng_below(&chances, 1000) * 1000 + prng_below(&chances, 1000) < (uint64_t)options.cut * 1000 / 2;
    if (cut && c->out.len > 1 && prng_below(&chances, 3) == 0) { // in the middle of a request
        c->out.len -= 1 + prng_below(&chances, c->out.len - 1);
        torn = true;
    }
    transmit(c);
    if ((cut || (c->session.leaving && c->session.count == 0)) && !c->finished)
        mishap(c, torn);
}

// Edge-triggered: everything is read before more is asked. A connection with nothing on its way asks again by itself.
static void serve(struct connection *c)
{
    transmit(c);
    if (!receive(c)) {
        close_connection(c, false);
        open_connection(c);
    }
    if (workload.failure[0] == '\0')
        ask(c);
}

static uint32_t due(void)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < options.connections; i++)
        sum += connections[i].session.count;
    return sum;
}

static void load(void)
{
    struct epoll_event events[CONNECTIONS_MAX];
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    for (uint32_t i = 0; i < options.connections; i++)
        open_connection(&connections[i]);
    while (workload.failure[0] == '\0' && (workload.asked < options.operations || due() > 0)) {
        int count = epoll_wait(epoll_fd, events, CONNECTIONS_MAX, PATIENCE_MS);
        if (count == 0)
            workload_fail(&workload, "no reply for %d s; %u requests are due", PATIENCE_MS / 1000, due());
        for (int i = 0; i < count && workload.failure[0] == '\0'; i++)
            serve(events[i].data.ptr);
    }
    for (uint32_t i = 0; i < options.connections; i++)
        close_connection(&connections[i], false);
    close(epoll_fd);
}

static int judge(const struct history *h)
{
    struct verdict verdict;
    if (!history_check(h, &verdict))
        printf("FAIL %s: %s", verdict.claim, verdict.text);
    bool good = verdict.claim == NULL;
    printf("%" PRIu64 " operations, %u keys, %u connections cut: %s\n", verdict.checked, h->key_count, cuts,
           good ? "the history holds" : "it does not hold");
    verdict_deinit(&verdict);
    return good ? 0 : 1;
}

static int check_file(const char *path)
{
    struct history h;
    FILE *from = fopen(path, "r");
    if (from == NULL)
        die(path);
    history_init(&h);
    long line = history_parse(&h, from);
    fclose(from);
    if (line != 0)
        printf("%s:%ld: no operation\n", path, line);
    int status = line != 0 ? 2 : judge(&h);
    history_deinit(&h);
    return status;
}

static int run(void)
{
    prng_init(&chances, ~options.seed);
    workload_init(&workload, &options.workload, options.seed);
    flush_server();
    load();
    if (options.dump != NULL) {
        FILE *to = fopen(options.dump, "w");
        if (to == NULL)
            die(options.dump);
        history_print(&workload.history, to);
        fclose(to);
    }
    int status = 1;
    if (workload.failure[0] != '\0')
        printf("FAIL %s\n", workload.failure);
    else
        status = judge(&workload.history);
    if (options.workload.lie != LIE_NONE)
        printf("lied %u times (%s)\n", workload.lies, lie_name(options.workload.lie));
    workload_deinit(&workload);
    return status;
}

static bool set_option(const char *name, const char *value)
{
    uint64_t number = strtoull(value, NULL, 10);
    if (strcmp(name, "--port") == 0)
        options.port = (uint16_t)number;
    else if (strcmp(name, "--operations") == 0)
        options.operations = number;
    else if (strcmp(name, "--connections") == 0)
        options.connections = number > CONNECTIONS_MAX ? CONNECTIONS_MAX : (uint32_t)number;
    else if (strcmp(name, "--depth") == 0)
        options.workload.depth = number > SESSION_PENDING_MAX ? SESSION_PENDING_MAX : (uint32_t)number;
    else if (strcmp(name, "--many") == 0)
        options.workload.many = (uint32_t)number;
    else if (strcmp(name, "--multi") == 0)
        options.workload.multi = number != 0;
    else if (strcmp(name, "--cut") == 0)
        options.cut = (uint32_t)number;
    else if (strcmp(name, "--seed") == 0)
        options.seed = number;
    else if (strcmp(name, "--dump") == 0)
        options.dump = value;
    else if (strcmp(name, "--check") == 0)
        options.check = value;
    else if (strcmp(name, "--lie") == 0)
        for (int lie = LIE_NONE + 1; lie < LIE_COUNT; lie++)
            options.workload.lie = strcmp(lie_name((enum lie)lie), value) == 0 ? (enum lie)lie : options.workload.lie;
    else
        return false;
    return true;
}

int main(int argc, char **argv)
{
    bool good = argc > 1;
    for (int i = 1; i < argc && good; i += 2)
        good = i + 1 < argc && set_option(argv[i], argv[i + 1]);
    if (!good || (options.port == 0 && options.check == NULL)) {
        fprintf(stderr,
                "usage: %s --port N [--operations N] [--connections N] [--depth N] [--many PERMILLE] [--multi 0|1] [--cut N] [--seed N] "
                "[--lie NAME] "
                "[--dump FILE] | --check FILE\n",
                argv[0]);
        return 2;
    }
    return options.check != NULL ? check_file(options.check) : run();
}
