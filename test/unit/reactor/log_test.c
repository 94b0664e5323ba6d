// SPDX-License-Identifier: Apache-2.0
#include "reactor/log.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/test.h"
#include "reactor/file.h"
#include "reactor/thread.h"

static char path[64];

static char *open_log(enum log_level level)
{
    snprintf(path, sizeof path, "/tmp/log-test-%d", (int)getpid());
    unlink(path);
    check_equal(log_open(path, level), 0);
    return path;
}

static char *close_log(void)
{
    log_close();
    uint8_t *text = NULL;
    size_t len;
    check_equal(file_read_whole(path, 64 << 20, &text, &len), 0);
    unlink(path);
    return (char *)text;
}

static uint32_t lines_of(const char *text)
{
    uint32_t n = 0;
    for (; *text != '\0'; text++)
        n += *text == '\n';
    return n;
}

static void lines_look_as_redis_writes_them(void)
{
    open_log(LOG_VERBOSE);
    log_line(LOG_DEBUG, "not this");
    log_line(LOG_NOTICE, "hello %d", 42);
    log_set_role('S');
    log_line(LOG_WARNING, "forged\n1:M line");
    log_set_role('M');
    char *text = close_log();
    check_equal(lines_of(text), 2);
    char mark, role;
    int pid, ms;
    check_equal(sscanf(text, "%d:%c %*d %*s %*d %*d:%*d:%*d.%d %c hello 42\n", &pid, &role, &ms, &mark), 4);
    check(pid == (int)getpid() && (role == 'M' || role == 'S') && mark == '*');
    check(strstr(text, "# forged?1:M line\n") != NULL);
    free(text);
}

static void lines_outside_of_an_open_log_go_nowhere(void)
{
    log_line(LOG_WARNING, "nowhere");
    open_log(LOG_DEBUG);
    log_set_level(LOG_NOTHING);
    log_line(LOG_WARNING, "silent");
    log_set_level(LOG_NOTICE);
    log_line(LOG_NOTICE, "heard");
    char *text = close_log();
    log_line(LOG_WARNING, "nowhere");
    check_equal(lines_of(text), 1);
    free(text);
}

#define LINES 3000

static void write_many(void *arg)
{
    for (int i = 0; i < LINES; i++)
        log_line(LOG_NOTICE, "thread %s line %d", (const char *)arg, i);
}

// Every line is either in the file or counted.
static void no_line_is_lost_without_being_counted(void)
{
    uint64_t before = log_dropped();
    open_log(LOG_NOTICE);
    struct thread a, b;
    static char name_a[] = "a", name_b[] = "b";
    check_equal(thread_start(&a, "a", -1, write_many, name_a), 0);
    check_equal(thread_start(&b, "b", -1, write_many, name_b), 0);
    thread_join(&a);
    thread_join(&b);
    char *text = close_log();
    uint64_t written = 0;
    for (const char *at = text; (at = strstr(at, " line ")) != NULL; at++)
        written++;
    uint64_t dropped = log_dropped() - before;
    check_equal(written + dropped, 2 * LINES);
    check((dropped > 0) == (strstr(text, "log lines dropped") != NULL));
    free(text);
}

static void a_moved_file_is_left_at_reopening(void)
{
    char moved[80];
    open_log(LOG_NOTICE);
    snprintf(moved, sizeof moved, "%s.1", path);
    log_line(LOG_NOTICE, "old");
    log_close();
    check_equal(log_open(path, LOG_NOTICE), 0);
    check_equal(rename(path, moved), 0);
    check_equal(log_reopen(), 0);
    log_line(LOG_NOTICE, "new");
    char *text = close_log();
    check(strstr(text, "new") != NULL && strstr(text, "old") == NULL);
    unlink(moved);
    free(text);
}

static void an_impossible_path_is_an_error(void)
{
    check(log_open("/nonexistent/folder/log", LOG_NOTICE) < 0);
}

static void long_lines_are_cut(void)
{
    static char big[5000];
    memset(big, 'x', sizeof big - 1);
    open_log(LOG_NOTICE);
    log_line(LOG_NOTICE, "%s", big);
    char *text = close_log();
    check(strlen(text) > LOG_LINE_MAX && strlen(text) < LOG_LINE_MAX + 100);
    free(text);
}

TESTS(TEST(lines_look_as_redis_writes_them), TEST(lines_outside_of_an_open_log_go_nowhere), TEST(no_line_is_lost_without_being_counted),
      TEST(a_moved_file_is_left_at_reopening), TEST(an_impossible_path_is_an_error), TEST(long_lines_are_cut))
