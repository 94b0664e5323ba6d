// SPDX-License-Identifier: Apache-2.0
// io_uring forbidden, or given too little memory: in child processes, because neither can be undone.
#include <errno.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "reactor/net.h"
#include "test/unit/reactor/world.h"

static void forbid_io_uring(uint32_t with_errno)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | with_errno),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { .len = sizeof filter / sizeof *filter, .filter = filter };
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        _exit(77);
}

// Echoes once over whatever backend there is.
static bool serves(struct reactor *r)
{
    world.r = r;
    world_forget();
    struct pair p = pair_open();
    struct op recv = { .kind = OP_RECV, .fd = p.server };
    reactor_submit(r, &recv);
    bool sent = write(p.client, "abc", 3) == 3;
    world_until_bytes(3);
    struct op send = { .kind = OP_SEND, .fd = p.server, .data = world.bytes, .len = 3, .flags = OP_QUIET };
    reactor_submit(r, &send);
    world_turn(0);
    char text[3];
    return sent && read(p.client, text, 3) == 3 && memcmp(text, "abc", 3) == 0;
}

static bool denied(uint32_t with_errno, const char *word)
{
    forbid_io_uring(with_errno);
    struct reactor_options o = { .features = REACTOR_FEATURES_ALL, .cpu = -1, .backend = REACTOR_URING };
    struct reactor *r;
    const char *why = "";
    if (reactor_open(&r, &o, &why) != -(int)with_errno || strstr(why, word) == NULL)
        return false;
    o.backend = REACTOR_AUTO;
    if (reactor_open(&r, &o, &why) != 0 || r->backend != REACTOR_EPOLL || strstr(why, word) == NULL)
        return false;
    return serves(r);
}

static bool eperm(void)
{
    return denied(EPERM, "forbidden");
}

static bool enosys(void)
{
    return denied(ENOSYS, "not there");
}

static bool tiny_memlock(void)
{
    struct rlimit none = { .rlim_cur = 64 << 10, .rlim_max = 64 << 10 };
    if (setrlimit(RLIMIT_MEMLOCK, &none) != 0 || setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0)
        _exit(77);
    struct reactor_options o = { .features = REACTOR_FEATURES_ALL, .cpu = -1, .backend = REACTOR_AUTO };
    struct reactor *r;
    const char *why = "";
    int err = reactor_open(&r, &o, &why);
    printf("as nobody: %s: %s\n", err == 0 && r->backend == REACTOR_URING ? "io_uring" : "epoll", why);
    return err == 0 && serves(r);
}

// True when the child says so; a child that may not play the part (77) proves nothing.
static bool in_child(bool (*part)(void))
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        bool good = part();
        fflush(stdout);
        _exit(good && test_failures == 0 ? 0 : 1);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        printf("skipped: this user may not set the scene\n");
    return WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 77);
}

static void a_filter_that_forbids_io_uring_leads_to_epoll(void)
{
    check(in_child(eperm));
    check(in_child(enosys));
}

static void little_lockable_memory_gives_smaller_rings_or_epoll(void)
{
    check(in_child(tiny_memlock));
}

static void auto_says_why(void)
{
    struct reactor_options o = { .features = REACTOR_FEATURES_ALL, .cpu = -1, .backend = REACTOR_AUTO };
    struct reactor *r;
    const char *why = NULL;
    check_equal(reactor_open(&r, &o, &why), 0);
    check(why != NULL && why[0] != '\0');
    check(serves(r));
}

TESTS(TEST(a_filter_that_forbids_io_uring_leads_to_epoll), TEST(little_lockable_memory_gives_smaller_rings_or_epoll), TEST(auto_says_why))
