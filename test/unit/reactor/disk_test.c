// SPDX-License-Identifier: Apache-2.0
// The kernel's disk, in a directory of its own under the one that DISK_TEST names.
#include "reactor/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/test.h"
#include "reactor/clock.h"
#include "reactor/reactor.h"

#define BLOCK       4096u
#define LARGE       (1u << 20)
#define PATIENCE_NS (60 * NS_PER_SEC)

static char folder[256];
static uint8_t *memory; // LARGE, for direct I/O

static struct disk *disk_here(void)
{
    struct disk *d = NULL;
    const char *why;
    check_equal(disk_open(&d, folder, &why), 0);
    return d;
}

static const char *path_of(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static int open_new(struct disk *d, const char *name)
{
    (void)unlink(path_of(name));
    int fd = d->ops->open(d, name, DISK_WRITE | DISK_CREATE, NULL);
    check(fd >= 0);
    return fd;
}

static void what_is_written_is_read_again(void)
{
    struct disk *d = disk_here();
    check(d->align >= BLOCK && (d->align & (d->align - 1)) == 0);
    int fd = open_new(d, "a");
    memset(memory, 'a', LARGE);
    check_equal(d->ops->write(d, fd, memory, LARGE, d->align), 0);
    check_equal(d->ops->sync(d, fd), 0);
    check_equal(d->ops->sync_names(d), 0);
    d->ops->close(d, fd);
    uint64_t size = 0;
    fd = d->ops->open(d, "a", DISK_READ, &size);
    check_equal(size, LARGE + d->align);
    memset(memory, 0, LARGE);
    check_equal(d->ops->read(d, fd, memory, LARGE, d->align), 0);
    check(memory[0] == 'a' && memory[LARGE - 1] == 'a');
    check_equal(d->ops->read(d, fd, memory, d->align, 0), 0);
    check_equal(memory[17], 0);
    check_equal(d->ops->read(d, fd, memory, d->align, LARGE + d->align), -ENODATA);
    check_equal(d->ops->read(d, fd, memory, 2 * d->align, LARGE), -ENODATA);
    d->ops->close(d, fd);
    // Buffered, any bytes will do.
    fd = d->ops->open(d, "a", DISK_WRITE | DISK_BUFFERED, NULL);
    check_equal(d->ops->write(d, fd, "xyz", 3, 5), 0);
    check_equal(d->ops->read(d, fd, memory + 1, 3, 5), 0);
    check(memcmp(memory + 1, "xyz", 3) == 0);
    check_equal(d->ops->truncate(d, fd, 7), 0);
    check_equal(d->ops->read(d, fd, memory, 3, 5), -ENODATA);
    d->ops->close(d, fd);
    disk_close(d);
}

static bool is_direct(int fd)
{
    return (fcntl(fd, F_GETFL) & O_DIRECT) != 0;
}

static void files_are_direct_where_that_is_to_be_had_and_wanted(void)
{
    struct disk *d = disk_here();
    printf("%s: %s, align %u\n", d->path, d->direct ? "direct" : "buffered", d->align);
    int fd = open_new(d, "a");
    check_equal(is_direct(fd), d->direct);
    check(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    check_equal(fcntl(fd, F_GETFL) & O_NONBLOCK, 0); // the ring would answer -EAGAIN
    d->ops->close(d, fd);
    fd = d->ops->open(d, "a", DISK_READ | DISK_BUFFERED, NULL);
    check(!is_direct(fd));
    d->ops->close(d, fd);
    d->direct = false;
    fd = d->ops->open(d, "a", DISK_WRITE, NULL);
    check(!is_direct(fd));
    d->ops->close(d, fd);
    struct stat st;
    check_equal(stat(path_of("a"), &st), 0);
    check_equal(st.st_mode & 07777, 0600);
    disk_close(d);
}

static void what_is_no_regular_file_is_refused(void)
{
    struct disk *d = disk_here();
    d->ops->close(d, open_new(d, "file"));
    check_equal(symlink("file", path_of("link")), 0);
    check_equal(mkfifo(path_of("fifo"), 0600), 0);
    check_equal(mkdir(path_of("folder"), 0700), 0);
    for (int how = DISK_READ; how <= DISK_WRITE; how++) {
        check_equal(d->ops->open(d, "link", how, NULL), -ELOOP);
        check_equal(d->ops->open(d, "fifo", how, NULL), -EINVAL);
        check_equal(d->ops->open(d, "folder", how, NULL), -EINVAL);
        check_equal(d->ops->open(d, "nothing", how, NULL), -ENOENT);
    }
    check_equal(d->ops->open(d, "link", DISK_WRITE | DISK_CREATE, NULL), -EEXIST);
    check_equal(d->ops->open(d, "file", DISK_WRITE | DISK_CREATE, NULL), -EEXIST);
    static const char *const NO_NAMES[] = { "", ".", "..", "../file", "folder/file", "/etc/passwd" };
    for (size_t i = 0; i < sizeof NO_NAMES / sizeof *NO_NAMES; i++) {
        check_equal(d->ops->open(d, NO_NAMES[i], DISK_READ, NULL), -EINVAL);
        check_equal(d->ops->rename(d, "file", NO_NAMES[i]), -EINVAL);
        check_equal(d->ops->unlink(d, NO_NAMES[i]), -EINVAL);
    }
    check(d->ops->unlink(d, "folder") < 0);
    check_equal(d->ops->unlink(d, "link"), 0);
    check_equal(access(path_of("file"), F_OK), 0);
    disk_close(d);
}

static void note_name(void *context, const char *name)
{
    strcat(context, name);
    strcat(context, " ");
}

static void names_come_and_go(void)
{
    struct disk *d = disk_here();
    uint64_t size = 0;
    int fd = open_new(d, "next");
    check_equal(d->ops->write(d, fd, memory, d->align, 0), 0);
    d->ops->close(d, fd);
    d->ops->close(d, open_new(d, "live"));
    check_equal(d->ops->rename(d, "next", "live"), 0);
    check_equal(d->ops->rename(d, "next", "live"), -ENOENT);
    fd = d->ops->open(d, "live", DISK_READ, &size);
    check_equal(size, d->align);
    d->ops->close(d, fd);
    char names[4096] = "";
    check_equal(d->ops->list(d, note_name, names), 0);
    check(strstr(names, "live ") != NULL && strstr(names, "next ") == NULL && strstr(names, ". ") == NULL);
    names[0] = '\0';
    check_equal(d->ops->unlink(d, "live"), 0);
    check_equal(d->ops->unlink(d, "live"), -ENOENT);
    check_equal(d->ops->sync_names(d), 0);
    check_equal(d->ops->list(d, note_name, names), 0); // from the beginning again
    check(strstr(names, "live ") == NULL && strstr(names, "probe") == NULL);
    disk_close(d);
}

static void the_directory_is_the_one_that_was_opened(void)
{
    struct disk *d = disk_here();
    char moved[300];
    snprintf(moved, sizeof moved, "%s-moved", folder);
    d->ops->close(d, open_new(d, "mine"));
    check_equal(rename(folder, moved), 0);
    check_equal(mkdir(folder, 0700), 0);
    int fd = d->ops->open(d, "mine", DISK_READ, NULL);
    check(fd >= 0);
    d->ops->close(d, fd);
    check_equal(rmdir(folder), 0);
    check_equal(rename(moved, folder), 0);
    disk_close(d);
    const char *why = "";
    check_equal(disk_open(&d, path_of("no/such"), &why), -ENOENT);
    check(strlen(why) > 0);
    check_equal(disk_open(&d, path_of("mine"), &why), -ENOTDIR);
    check_equal(disk_make(path_of("made")), 0);
    check_equal(disk_make(path_of("made")), 0);
    check_equal(disk_make(path_of("no/such")), -ENOENT);
    check_equal(disk_open(&d, path_of("made"), &why), 0);
    disk_close(d);
}

static void room_is_made_and_counted(void)
{
    struct disk *d = disk_here();
    uint64_t size = 0;
    int fd = open_new(d, "room");
    check(d->ops->room(d) > LARGE);
    check_equal(d->ops->allocate(d, fd, LARGE), 0);
    struct stat st;
    check_equal(fstat(fd, &st), 0);
    check_equal(st.st_size, LARGE);
    check(st.st_blocks * 512 >= LARGE);
    check_equal(d->ops->read(d, fd, memory, LARGE, 0), 0);
    check_equal(memory[LARGE / 2], 0);
    check_equal(d->ops->allocate(d, fd, BLOCK), 0); // less changes nothing
    // More than there is: not even part of it.
    check(d->ops->allocate(d, fd, UINT64_C(1) << 60) < 0);
    d->ops->close(d, fd);
    fd = d->ops->open(d, "room", DISK_READ, &size);
    check_equal(size, LARGE);
    d->ops->close(d, fd);
    disk_close(d);
}

// A limit of file sizes lets a write through in part, and then refuses.
static void a_write_that_was_cut_goes_on_or_fails(void)
{
    struct disk *d = disk_here();
    int fd = open_new(d, "limited");
    struct rlimit before, low;
    getrlimit(RLIMIT_FSIZE, &before);
    low = before;
    low.rlim_cur = 5 * BLOCK;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &low);
    memset(memory, 'c', LARGE);
    int err = d->ops->write(d, fd, memory, LARGE, 0);
    setrlimit(RLIMIT_FSIZE, &before);
    check_equal(err, -EFBIG);
    check_equal(d->ops->write(d, fd, memory, LARGE, 0), 0);
    d->ops->close(d, fd);
    check_equal(d->ops->read(d, -1, memory, BLOCK, 0), -EBADF);
    check_equal(d->ops->write(d, -1, memory, BLOCK, 0), -EBADF);
    check_equal(d->ops->sync(d, -1), -EBADF);
    disk_close(d);
}

// ---- file systems of our own

// In a child with a mount of its own over the folder; says so when that is not permitted.
static void on_mount(const char *type, const char *options, void (*run)(void))
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        bool apart = unshare(CLONE_NEWNS) == 0 || unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0;
        if (!apart || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 || mount("none", folder, type, 0, options) != 0) {
            printf("SKIP %s: it cannot be mounted here: %s\n", type, strerror(errno));
            _exit(0);
        }
        test_failures = 0;
        run();
        fflush(stdout);
        _exit(test_failures);
    }
    int status = 0;
    check_equal(waitpid(child, &status, 0), child);
    check_equal(status, 0);
}

static void buffered(void)
{
    struct disk *d = disk_here();
    check(!d->direct && d->align == BLOCK);
    int fd = open_new(d, "a");
    check(!is_direct(fd));
    check_equal(d->ops->write(d, fd, memory, BLOCK, 0), 0);
    check_equal(d->ops->allocate(d, fd, LARGE), 0); // by writing zeros
    uint64_t size = 0;
    d->ops->close(d, fd);
    d->direct = true; // a file that refuses though the directory did not
    fd = d->ops->open(d, "a", DISK_READ, &size);
    check(fd >= 0 && !is_direct(fd));
    check_equal(size, LARGE);
    check_equal(d->ops->read(d, fd, memory, LARGE, 0), 0);
    d->ops->close(d, fd);
    fd = d->ops->open(d, "b", DISK_WRITE | DISK_CREATE, NULL);
    check(fd >= 0 && !is_direct(fd));
    disk_close(d);
}

static void a_file_system_that_refuses_direct_io_is_used_without(void)
{
    on_mount("ramfs", NULL, buffered);
}

static void full(void)
{
    struct disk *d = disk_here();
    uint64_t size = 0;
    check(d->ops->room(d) <= LARGE);
    int fd = open_new(d, "a");
    check_equal(d->ops->allocate(d, fd, 10 * LARGE), -ENOSPC);
    check_equal(d->ops->allocate(d, fd, LARGE / 2), 0);
    check_equal(d->ops->write(d, fd, memory, LARGE / 2, 0), 0);
    check_equal(d->ops->allocate(d, fd, 2 * LARGE), -ENOSPC);
    int other = open_new(d, "b");
    check_equal(d->ops->write(d, other, memory, LARGE, 0), -ENOSPC);
    d->ops->close(d, other);
    d->ops->close(d, fd);
    fd = d->ops->open(d, "a", DISK_WRITE, &size);
    check_equal(size, LARGE / 2); // nothing changed
    check_equal(d->ops->unlink(d, "b"), 0);
    check_equal(d->ops->allocate(d, fd, LARGE * 3 / 4), 0); // and there is room again
    disk_close(d);
}

static void a_full_disk_says_so_and_nothing_changed(void)
{
    on_mount("tmpfs", "size=1m", full);
}

// ---- the lock

static void one_at_a_time_has_the_lock(void)
{
    struct disk *d = disk_here(), *other = disk_here();
    int fd = disk_lock(d);
    check(fd >= 0);
    check_equal(disk_lock(other), -EWOULDBLOCK);
    disk_unlock(d, fd);
    fd = disk_lock(other);
    check(fd >= 0);
    disk_unlock(other, fd);
    check_equal(unlink(path_of("LOCK")), 0);
    check_equal(symlink("elsewhere", path_of("LOCK")), 0);
    check_equal(disk_lock(d), -ELOOP);
    check_equal(unlink(path_of("LOCK")), 0);
    disk_close(d);
    disk_close(other);
}

// ---- reactor_hold

#define BACKENDS 3
static const enum reactor_backend BACKEND[BACKENDS] = { REACTOR_URING, REACTOR_EPOLL, REACTOR_BLOCKING };

static struct reactor *reactor_of(enum reactor_backend backend)
{
    struct reactor_options o = { .backend = backend, .features = REACTOR_FEATURES_ALL, .cpu = -1 };
    struct reactor *r = NULL;
    const char *why = "";
    int err = reactor_open(&r, &o, &why);
    if (err < 0)
        printf("SKIP backend %d: %s\n", (int)backend, why);
    return err < 0 ? NULL : r;
}

static int lock_within(struct disk *d, uint64_t ns)
{
    int fd;
    for (uint64_t end = clock_now_ns() + ns; (fd = disk_lock(d)) == -EWOULDBLOCK && clock_now_ns() < end;)
        usleep(1000);
    return fd;
}

static void what_a_reactor_holds_stays_locked_until_it_is_closed(void)
{
    struct disk *d = disk_here(), *other = disk_here();
    for (int i = 0; i < BACKENDS; i++) {
        struct reactor *r = reactor_of(BACKEND[i]);
        if (r == NULL)
            continue;
        int fd = disk_lock(d);
        check(fd >= 0);
        check_equal(reactor_hold(r, fd), 0);
        disk_unlock(d, fd);
        check_equal(disk_lock(other), -EWOULDBLOCK);
        reactor_close_all(r);
        fd = lock_within(other, PATIENCE_NS); // the ring is taken apart in the background
        check(fd >= 0);
        disk_unlock(other, fd);
    }
    disk_close(d);
    disk_close(other);
}

// The test above can fail (docs/PLANTED.md, 19).
static void without_a_reactor_that_holds_it_the_lock_is_free_at_once(void)
{
    struct disk *d = disk_here(), *other = disk_here();
    struct reactor *r = reactor_of(REACTOR_EPOLL);
    int fd = disk_lock(d);
    check(fd >= 0);
    disk_unlock(d, fd);
    fd = disk_lock(other);
    check(fd >= 0);
    disk_unlock(other, fd);
    reactor_close_all(r);
    disk_close(d);
    disk_close(other);
}

#define FLYING 8

// Writes without end, until it is killed.
static void write_for_ever(enum reactor_backend backend, int ready)
{
    struct disk *d = disk_here();
    struct reactor *r = reactor_of(backend);
    int lock = disk_lock(d), fd = d->ops->open(d, "flying", DISK_WRITE, NULL);
    if (r == NULL || lock < 0 || fd < 0 || reactor_hold(r, lock) != 0)
        _exit(1);
    disk_unlock(d, lock);
    static struct op ops[FLYING];
    for (uint8_t round = 1;; round++) {
        memset(memory, round, LARGE);
        for (int i = 0; i < FLYING; i++) {
            ops[i] =
                (struct op){ .kind = OP_WRITE, .fd = fd, .data = memory, .len = LARGE, .offset = (uint64_t)i * LARGE, .fixed_buffer = -1 };
            reactor_submit(r, &ops[i]);
        }
        if (round == 2)
            (void)!write(ready, "x", 1);
        const struct completion *done;
        for (uint32_t n = 0; n < FLYING;)
            n += reactor_turn(r, NS_PER_SEC, &done);
    }
}

// What the kernel still writes for a dead process is over when its lock is free.
static void after_a_kill_the_lock_is_free_when_the_writes_are_over(void)
{
    struct disk *d = disk_here();
    int file = open_new(d, "flying");
    check_equal(d->ops->allocate(d, file, FLYING * LARGE), 0);
    for (int i = 0; i < BACKENDS; i++) {
        int ends[2];
        check_equal(pipe2(ends, O_CLOEXEC), 0);
        pid_t child = fork();
        if (child == 0)
            write_for_ever(BACKEND[i], ends[1]);
        close(ends[1]);
        char byte;
        bool runs = read(ends[0], &byte, 1) == 1;
        close(ends[0]);
        kill(child, SIGKILL);
        check_equal(waitpid(child, NULL, 0), child);
        int lock = lock_within(d, PATIENCE_NS);
        check(lock >= 0);
        uint8_t first[FLYING], later[FLYING];
        for (uint64_t k = 0; k < FLYING; k++, first[k - 1] = memory[0])
            check_equal(d->ops->read(d, file, memory, BLOCK, (k + 1) * LARGE - BLOCK), 0);
        usleep(runs ? 200000 : 0);
        for (uint64_t k = 0; k < FLYING; k++, later[k - 1] = memory[0])
            check_equal(d->ops->read(d, file, memory, BLOCK, (k + 1) * LARGE - BLOCK), 0);
        check(memcmp(first, later, FLYING) == 0);
        disk_unlock(d, lock);
    }
    d->ops->close(d, file);
    disk_close(d);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *walk)
{
    return remove(path);
}

static const struct test ALL[] = {
    TEST(what_is_written_is_read_again),
    TEST(files_are_direct_where_that_is_to_be_had_and_wanted),
    TEST(what_is_no_regular_file_is_refused),
    TEST(names_come_and_go),
    TEST(the_directory_is_the_one_that_was_opened),
    TEST(room_is_made_and_counted),
    TEST(a_write_that_was_cut_goes_on_or_fails),
    TEST(a_file_system_that_refuses_direct_io_is_used_without),
    TEST(a_full_disk_says_so_and_nothing_changed),
    TEST(one_at_a_time_has_the_lock),
    TEST(what_a_reactor_holds_stays_locked_until_it_is_closed),
    TEST(without_a_reactor_that_holds_it_the_lock_is_free_at_once),
    TEST(after_a_kill_the_lock_is_free_when_the_writes_are_over),
};

int main(int argc, char **argv)
{
    const char *place = getenv("DISK_TEST");
    snprintf(folder, sizeof folder, "%s/skerry-disk-XXXXXX", place != NULL ? place : "/var/tmp");
    if (mkdtemp(folder) == NULL) {
        printf("SKIP: no directory can be made in %s: %s\n", place != NULL ? place : "/var/tmp", strerror(errno));
        return 77;
    }
    memory = disk_memory(LARGE);
    check(memory != NULL);
    int rc = test_main(ALL, (int)(sizeof ALL / sizeof *ALL), argc, argv);
    disk_memory_free(memory, LARGE);
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return rc;
}
