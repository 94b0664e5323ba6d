// SPDX-License-Identifier: Apache-2.0
#include "tools/host.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#ifdef __clang__
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif

#define FILE_MAX_SIZE ((size_t)16 << 20)

extern void mi_collect(bool force) __attribute__((weak)); // of mimalloc, where that is the allocator

// What has been freed goes back half a second later, and only when the thread calls its allocator again: who has become idle does not.
static void give_back(void)
{
    mi_collect(false);
}

void host_describe(struct server_host *h)
{
    static char os[256];
    struct utsname name;
    if (uname(&name) == 0)
        snprintf(os, sizeof os, "%.60s %.60s %.60s", name.sysname, name.release, name.machine);
    h->os = os;
    h->compiler = COMPILER;
    h->allocator = SKERRY_ALLOCATOR;
    h->pid = getpid();
    h->usage = host_usage;
    h->give_back = mi_collect != NULL ? give_back : NULL;
}

static uint64_t microseconds(struct timeval t)
{
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_usec;
}

static uint64_t resident(void)
{
    char text[128];
    uint64_t pages = 0;
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t len = read(fd, text, sizeof text - 1);
    close(fd);
    text[len < 0 ? 0 : len] = '\0';
    if (sscanf(text, "%*u %" SCNu64, &pages) != 1)
        return 0;
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

void host_usage(struct process_usage *out)
{
    struct rusage r;
    *out = (struct process_usage){ .resident = resident() };
    out->memory_total = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    if (getrusage(RUSAGE_SELF, &r) != 0)
        return;
    out->resident_peak = (uint64_t)r.ru_maxrss * 1024;
    out->user_us = microseconds(r.ru_utime);
    out->system_us = microseconds(r.ru_stime);
}

int host_read_file(const char *path, struct buf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int rc = 0;
    for (;;) {
        uint8_t *to = out->len < FILE_MAX_SIZE ? buf_reserve(out, 4096) : NULL;
        if (to == NULL) {
            rc = -EFBIG;
            break;
        }
        ssize_t n = read(fd, to, 4096);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            rc = n < 0 ? -errno : 0;
            break;
        }
        buf_advance(out, (size_t)n);
    }
    close(fd);
    return rc;
}

static int write_all(int fd, struct slice text)
{
    while (text.len > 0) {
        ssize_t n = write(fd, text.data, text.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        text = slice_of(text.data + n, text.len - (size_t)n);
    }
    return 0;
}

static int sync_folder_of(const char *path)
{
    char copy[4096];
    if (strlen(path) >= sizeof copy)
        return -ENAMETOOLONG;
    strcpy(copy, path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int rc = fsync(fd) == 0 ? 0 : -errno;
    close(fd);
    return rc;
}

int host_replace_file(const char *path, struct slice text)
{
    char fresh[4200];
    struct stat old;
    mode_t mode = stat(path, &old) == 0 ? old.st_mode & 0777 : 0600;
    int len = snprintf(fresh, sizeof fresh, "%s.%d.new", path, (int)getpid());
    if (len < 0 || (size_t)len >= sizeof fresh)
        return -ENAMETOOLONG;
    int fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    int rc = write_all(fd, text);
    if (rc == 0 && (fchmod(fd, mode) != 0 || fsync(fd) != 0))
        rc = -errno;
    close(fd);
    if (rc == 0 && rename(fresh, path) != 0)
        rc = -errno;
    if (rc < 0) {
        unlink(fresh);
        return rc;
    }
    return sync_folder_of(path);
}
