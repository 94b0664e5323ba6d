// SPDX-License-Identifier: Apache-2.0
// What the reactor folder knows of the machine: memory, threads, sockets, small files, randomness.
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/test.h"
#include "reactor/clock.h"
#include "reactor/entropy.h"
#include "reactor/file.h"
#include "reactor/memory.h"
#include "reactor/net.h"
#include "reactor/thread.h"

static void areas_are_zeroed_aligned_and_keep_their_bytes(void)
{
    for (int huge = MEMORY_HUGE_OFF; huge <= MEMORY_HUGE_TLB; huge++) {
        struct memory *m = memory_system(-1, (enum memory_hugepages)huge);
        size_t size = (size_t)4 << 20, align = (size_t)1 << 21;
        uint8_t *area = m->reserve(m, size, align);
        check(area != NULL && ((uintptr_t)area & (align - 1)) == 0);
        check(area[0] == 0 && area[size - 1] == 0);
        memset(area, 7, size);
        area = m->resize(m, area, size, size * 2);
        check(area != NULL && area[0] == 7 && area[size - 1] == 7 && area[size] == 0);
        area = m->resize(m, area, size * 2, size / 2);
        check(area != NULL && area[size / 2 - 1] == 7);
        m->discard(m, area, size / 2);
        check(area[0] == 0 && area[size / 2 - 1] == 0);
        m->release(m, area, size / 2);
    }
}

static void more_memory_than_there_is_addresses_for_is_refused(void)
{
    struct memory *m = memory_system(-1, MEMORY_HUGE_OFF);
    check(m->reserve(m, (size_t)1 << 60, 4096) == NULL);
    check(m->reserve(m, SIZE_MAX & ~(size_t)4095, (size_t)1 << 21) == NULL);
    check(memory_node_count() >= 1);
    check(memory_system(0, MEMORY_HUGE_OFF) == memory_system(0, MEMORY_HUGE_OFF));
}

static void note_cpu(void *arg)
{
    *(int *)arg = sched_getcpu();
}

static void a_thread_runs_where_it_was_told(void)
{
    int cpus[THREAD_CPUS_MAX];
    int count = thread_allowed_cpus(cpus, THREAD_CPUS_MAX);
    check(count >= 1);
    int ran = -1;
    struct thread t;
    check_equal(thread_start(&t, "a name longer than the kernel allows", cpus[count - 1], note_cpu, &ran), 0);
    thread_join(&t);
    check_equal(ran, cpus[count - 1]);
    check(thread_start(&t, "x", THREAD_CPUS_MAX, note_cpu, &ran) < 0);
    check(thread_pin_self(-1) < 0);
}

static void a_unix_socket_takes_a_dead_servers_place_only(void)
{
    char path[64];
    snprintf(path, sizeof path, "/tmp/net-test-%d", (int)getpid());
    int first = net_listen_unix(path, 0600, 5);
    check(first >= 0);
    struct stat st;
    check(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
    check_equal(net_listen_unix(path, 0600, 5), -EADDRINUSE);
    close(first);
    int second = net_listen_unix(path, 0660, 5);
    check(second >= 0);
    int client = net_connect_unix(path);
    check(client >= 0);
    char name[NET_NAME_MAX];
    check(net_peer_name(client, name, sizeof name) > 0 && strncmp(name, path, strlen(path)) == 0);
    close(client);
    close(second);
    unlink(path);
    struct slice text = slice_cstr("not a socket");
    check_equal(file_replace(path, text, 0600), 0);
    check_equal(net_listen_unix(path, 0600, 5), -EEXIST);
    unlink(path);
}

static void listeners_have_ports_and_names(void)
{
    int fd = net_listen_tcp("127.0.0.1", 0, 5, true);
    check(fd >= 0 && net_port(fd) != 0);
    int same = net_listen_tcp("127.0.0.1", net_port(fd), 5, true);
    check(same >= 0);
    close(same);
    check_equal(net_listen_tcp("127.0.0.1", net_port(fd), 5, false), -EADDRINUSE);
    check_equal(net_listen_tcp("localhost", 1, 5, false), -EINVAL);
    int client = net_connect_tcp("127.0.0.1", net_port(fd));
    char name[NET_NAME_MAX], want[NET_NAME_MAX];
    net_peer_name(client, name, sizeof name);
    snprintf(want, sizeof want, "127.0.0.1:%d", net_port(fd));
    check(strcmp(name, want) == 0);
    check_equal(net_set_nodelay(client), 0);
    check_equal(net_set_keepalive(client, 300), 0);
    int value = 0;
    socklen_t len = sizeof value;
    check(getsockopt(client, IPPROTO_TCP, TCP_KEEPIDLE, &value, &len) == 0 && value == 300);
    check_equal(net_set_keepalive(client, 0), 0);
    close(client);
    close(fd);
    fd = net_listen_tcp("::1", 0, 5, true);
    if (fd >= 0) {
        net_local_name(fd, name, sizeof name);
        check(strncmp(name, "[::1]:", 6) == 0);
        close(fd);
    }
    check(net_peer_name(-1, name, sizeof name) > 0 && strcmp(name, "?:0") == 0);
}

static void loopback_is_known(void)
{
    check(net_is_loopback("127.0.0.1") && net_is_loopback("127.9.9.9") && net_is_loopback("::1"));
    check(!net_is_loopback("0.0.0.0") && !net_is_loopback("::") && !net_is_loopback("10.0.0.1") && !net_is_loopback("x"));
    check(net_raise_files(64) >= 64);
}

static void a_replaced_file_is_whole_and_keeps_its_mode(void)
{
    char path[64];
    snprintf(path, sizeof path, "/tmp/file-test-%d", (int)getpid());
    unlink(path);
    check_equal(file_replace(path, slice_cstr("one"), 0600), 0);
    chmod(path, 0640);
    check_equal(file_replace(path, slice_cstr("second"), 0600), 0);
    struct stat st;
    check(stat(path, &st) == 0 && (st.st_mode & 07777) == 0640);
    uint8_t *data;
    size_t len;
    check_equal(file_read_whole(path, 100, &data, &len), 0);
    check(len == 6 && memcmp(data, "second", 7) == 0);
    free(data);
    check_equal(file_read_whole(path, 5, &data, &len), -EFBIG);
    check_equal(file_read_whole("/tmp", 5, &data, &len), -EINVAL);
    unlink(path);
    check_equal(file_read_whole(path, 5, &data, &len), -ENOENT);
    check_equal(file_replace("/nonexistent/x", slice_cstr("a"), 0600), -ENOENT);
}

static void randomness_and_clocks_move(void)
{
    check(entropy_u64() != entropy_u64());
    uint64_t a = clock_now_ns();
    struct clock_pair pair = { 0 };
    int64_t wall = clock_pair_wall_ms(&pair, a), now = clock_wall_ms();
    check(wall <= now && wall > now - 60 * 1000);
    check(clock_now_ns() >= a);
}

TESTS(TEST(areas_are_zeroed_aligned_and_keep_their_bytes), TEST(more_memory_than_there_is_addresses_for_is_refused),
      TEST(a_thread_runs_where_it_was_told), TEST(a_unix_socket_takes_a_dead_servers_place_only), TEST(listeners_have_ports_and_names),
      TEST(loopback_is_known), TEST(a_replaced_file_is_whole_and_keeps_its_mode), TEST(randomness_and_clocks_move))
