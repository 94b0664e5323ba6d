// SPDX-License-Identifier: Apache-2.0
#include "reactor/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int read_all(int fd, uint8_t *to, size_t max, size_t *len)
{
    *len = 0;
    while (*len < max) {
        ssize_t n = read(fd, to + *len, max - *len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return 0;
        *len += (size_t)n;
    }
    return 0;
}

static int read_open(int fd, size_t max, uint8_t **data, size_t *len)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -EINVAL;
    if ((uint64_t)st.st_size > max)
        return -EFBIG;
    // One byte more than it has: a file that grows meanwhile is noticed.
    size_t room = (size_t)st.st_size + 1;
    uint8_t *bytes = malloc(room);
    if (bytes == NULL)
        return -ENOMEM;
    int err = read_all(fd, bytes, room, len);
    if (err == 0 && *len == room)
        err = -EAGAIN;
    if (err < 0) {
        free(bytes);
        return err;
    }
    bytes[*len] = 0;
    *data = bytes;
    return 0;
}

int file_read_whole(const char *path, size_t max, uint8_t **data, size_t *len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    int err = read_open(fd, max, data, len);
    close(fd);
    return err;
}

static int write_all(int fd, struct slice content)
{
    while (content.len > 0) {
        ssize_t n = write(fd, content.data, content.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        content = slice_of(content.data + n, content.len - (size_t)n);
    }
    return 0;
}

// A rename is in the folder, and on the device only when the folder is.
static int sync_folder(const char *path)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t n = slash == NULL ? 0 : (size_t)(slash - path);
    if (slash == NULL)
        strcpy(folder, ".");
    else if (n == 0)
        strcpy(folder, "/");
    else
        snprintf(folder, sizeof folder, "%.*s", (int)n, path);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int err = fsync(fd) == 0 ? 0 : -errno;
    close(fd);
    return err;
}

static int write_new(const char *path, struct slice content, unsigned mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return -errno;
    int err = fchmod(fd, mode) == 0 ? write_all(fd, content) : -errno;
    if (err == 0 && fsync(fd) != 0)
        err = -errno;
    if (close(fd) != 0 && err == 0)
        err = -errno;
    return err;
}

int file_replace(const char *path, struct slice content, unsigned mode)
{
    char next[PATH_MAX];
    int n = snprintf(next, sizeof next, "%s.new.%d", path, (int)getpid());
    if (n < 0 || (size_t)n >= sizeof next)
        return -ENAMETOOLONG;
    struct stat st;
    if (stat(path, &st) == 0)
        mode = st.st_mode & 07777;
    (void)unlink(next); // of a dead process with our number
    int err = write_new(next, content, mode);
    if (err == 0 && rename(next, path) != 0)
        err = -errno;
    if (err < 0) {
        (void)unlink(next);
        return err;
    }
    return sync_folder(path);
}
