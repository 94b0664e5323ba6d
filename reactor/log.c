// SPDX-License-Identifier: Apache-2.0
// The ring is a bounded queue of many producers and one consumer (Vyukov, "Bounded MPMC queue", 2010): each slot has a turn
// number; a producer claims a position by compare-and-swap and hands the slot over by moving its turn on.
//
//   slot.turn == position          free, for the producer of that position
//   slot.turn == position + 1      full, for the consumer
//
// Failure modes: ring full -> dropped and counted; the file cannot be written (disk full) -> that line is lost, the server goes on.
#include "reactor/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "reactor/clock.h"
#include "reactor/thread.h"

#define SLOTS 512

struct slot {
    _Atomic uint64_t turn;
    int64_t wall_ms;
    enum log_level level;
    char text[LOG_LINE_MAX];
};

static struct {
    _Atomic int level;
    _Atomic char role;
    _Atomic uint64_t dropped;
    _Atomic uint64_t tail;
    uint64_t head;     // the writer's
    uint64_t reported; // the writer's: drops already told
    sem_t lines;
    _Atomic bool stopping;
    struct thread writer;
    pthread_mutex_t file_lock;
    int fd;
    bool open;
    char path[4096];
    struct slot slots[SLOTS];
} ring = { .level = LOG_NOTHING, .role = 'M', .file_lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1 };

// NULL when the ring is full.
static struct slot *claim(uint64_t *position)
{
    uint64_t tail = atomic_load_explicit(&ring.tail, memory_order_relaxed);
    for (;;) {
        struct slot *s = &ring.slots[tail % SLOTS];
        uint64_t turn = atomic_load_explicit(&s->turn, memory_order_acquire);
        if (turn < tail)
            return NULL;
        if (turn > tail)
            tail = atomic_load_explicit(&ring.tail, memory_order_relaxed);
        else if (atomic_compare_exchange_weak_explicit(&ring.tail, &tail, tail + 1, memory_order_relaxed, memory_order_relaxed)) {
            *position = tail;
            return s;
        }
    }
}

void log_line(enum log_level level, const char *format, ...)
{
    if ((int)level < atomic_load_explicit(&ring.level, memory_order_relaxed))
        return;
    uint64_t position;
    struct slot *s = claim(&position);
    if (s == NULL) {
        atomic_fetch_add_explicit(&ring.dropped, 1, memory_order_relaxed);
        return;
    }
    s->level = level;
    s->wall_ms = clock_wall_ms();
    va_list args;
    va_start(args, format);
    vsnprintf(s->text, sizeof s->text, format, args);
    va_end(args);
    atomic_store_explicit(&s->turn, position + 1, memory_order_release);
    sem_post(&ring.lines);
}

static void write_all(const char *text, size_t len)
{
    pthread_mutex_lock(&ring.file_lock);
    while (len > 0) {
        ssize_t n = write(ring.fd, text, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        text += n;
        len -= (size_t)n;
    }
    pthread_mutex_unlock(&ring.file_lock);
}

static void write_line(enum log_level level, int64_t wall_ms, const char *message)
{
    static const char MARKS[] = { [LOG_DEBUG] = '.', [LOG_VERBOSE] = '-', [LOG_NOTICE] = '*', [LOG_WARNING] = '#' };
    char line[LOG_LINE_MAX + 96];
    char date[64];
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;
    localtime_r(&seconds, &tm);
    strftime(date, sizeof date, "%d %b %Y %H:%M:%S", &tm);
    char mark = level < LOG_NOTHING ? MARKS[level] : '#';
    int start = snprintf(line, sizeof line, "%d:%c %s.%03d %c ", (int)getpid(), atomic_load(&ring.role), date, (int)(wall_ms % 1000), mark);
    size_t len = (size_t)start;
    for (; *message != '\0' && len < sizeof line - 1; message++)
        line[len++] = (unsigned char)*message < 0x20 || *message == 0x7f ? '?' : *message;
    line[len++] = '\n';
    write_all(line, len);
}

static void report_drops(void)
{
    uint64_t dropped = atomic_load_explicit(&ring.dropped, memory_order_relaxed);
    if (dropped == ring.reported)
        return;
    char text[96];
    snprintf(text, sizeof text, "%llu log lines dropped: they came faster than they could be written",
             (unsigned long long)(dropped - ring.reported));
    ring.reported = dropped;
    write_line(LOG_WARNING, clock_wall_ms(), text);
}

// False when the next line is not there (yet).
static bool write_next(void)
{
    struct slot *s = &ring.slots[ring.head % SLOTS];
    if (atomic_load_explicit(&s->turn, memory_order_acquire) != ring.head + 1)
        return false;
    write_line(s->level, s->wall_ms, s->text);
    atomic_store_explicit(&s->turn, ring.head + SLOTS, memory_order_release);
    ring.head++;
    return true;
}

static void writer_main(void *arg)
{
    for (;;) {
        while (sem_wait(&ring.lines) != 0)
            ;
        while (write_next())
            ;
        report_drops();
        if (atomic_load_explicit(&ring.stopping, memory_order_acquire))
            return;
    }
}

static int open_file(const char *path)
{
    if (path[0] == '\0')
        return STDOUT_FILENO;
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    return fd < 0 ? -errno : fd;
}

static void close_file(int fd)
{
    if (fd > STDERR_FILENO)
        close(fd);
}

static void ring_init(void)
{
    uint64_t tail = atomic_load(&ring.tail);
    ring.head = tail;
    for (uint64_t i = tail; i < tail + SLOTS; i++)
        atomic_store(&ring.slots[i % SLOTS].turn, i);
    atomic_store(&ring.stopping, false);
    sem_init(&ring.lines, 0, 0);
}

int log_open(const char *path, enum log_level level)
{
    assert(!ring.open);
    if (strlen(path) >= sizeof ring.path)
        return -ENAMETOOLONG;
    int fd = open_file(path);
    if (fd < 0)
        return fd;
    strcpy(ring.path, path);
    ring.fd = fd;
    ring_init();
    int err = thread_start(&ring.writer, "skerry-log", -1, writer_main, NULL);
    if (err < 0) {
        close_file(fd);
        return err;
    }
    static bool at_exit;
    if (!at_exit)
        at_exit = atexit(log_close) == 0;
    ring.open = true;
    log_set_level(level);
    return 0;
}

int log_reopen(void)
{
    int fd = open_file(ring.path);
    if (fd < 0)
        return fd;
    pthread_mutex_lock(&ring.file_lock);
    int old = ring.fd;
    ring.fd = fd;
    pthread_mutex_unlock(&ring.file_lock);
    if (old != fd)
        close_file(old);
    return 0;
}

void log_close(void)
{
    if (!ring.open)
        return;
    ring.open = false;
    log_set_level(LOG_NOTHING);
    atomic_store_explicit(&ring.stopping, true, memory_order_release);
    sem_post(&ring.lines);
    thread_join(&ring.writer);
    close_file(ring.fd);
    ring.fd = -1;
}

void log_set_level(enum log_level level)
{
    // The level LOG_NOTHING is above every line.
    atomic_store_explicit(&ring.level, (int)level, memory_order_relaxed);
}

void log_set_role(char role)
{
    atomic_store_explicit(&ring.role, role, memory_order_relaxed);
}

uint64_t log_dropped(void)
{
    return atomic_load_explicit(&ring.dropped, memory_order_relaxed);
}
