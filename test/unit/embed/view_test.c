// SPDX-License-Identifier: Apache-2.0
// libskerry's views.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test/unit/embed/host.h"

static struct host host;

static void views_keep_their_bytes_whatever_becomes_of_the_key(void)
{
    static const size_t SIZES[] = { 0, 1, 64, 300, 4096, 65535, 65536, 300000 };
    static char bytes[300000], others[300000];
    memset(bytes, 'a', sizeof bytes);
    memset(others, 'b', sizeof others);
    for (int i = 0; i < 8; i++) {
        struct skerry_options o = host_options(&host, 2);
        struct skerry *s = host_open(&o);
        struct skerry_view before, after;
        size_t len = SIZES[i];
        check_equal(skerry_set(s, "k", 1, bytes, len, SKERRY_NO_TTL), SKERRY_OK);
        check_equal(skerry_get_view(s, "k", 1, &before), SKERRY_OK);
        check_equal(skerry_set(s, "k", 1, others, len, SKERRY_NO_TTL), SKERRY_OK);
        check_equal(skerry_get_view(s, "k", 1, &after), SKERRY_OK);
        check_equal(skerry_delete(s, "k", 1), SKERRY_OK);
        for (int j = 0; j < 2000; j++)
            check_equal(skerry_set(s, &j, sizeof j, others, len < 1000 ? len : 1000, SKERRY_NO_TTL), SKERRY_OK);
        check_equal(skerry_clear(s), SKERRY_OK);
        check_equal(skerry_maintain(s, 100000, NULL), SKERRY_OK);
        check(before.len == len && after.len == len);
        check(memcmp(before.data, bytes, len) == 0 && memcmp(after.data, others, len) == 0);
        check_equal(skerry_close(s), SKERRY_BUSY);
        check_equal(skerry_release(s, &before), SKERRY_OK);
        check_equal(skerry_release(s, &after), SKERRY_OK);
        check_equal(skerry_close(s), SKERRY_OK);
    }
}

static void a_view_is_released_once(void)
{
    struct skerry_options o = host_options(&host, 2);
    struct skerry *s = host_open(&o), *local;
    struct skerry_view view, none = { .opaque = { 77 } };
    check_equal(set_text(s, "a", "1"), SKERRY_OK);
    check_equal(skerry_get_view(s, "a", 1, &view), SKERRY_OK);
    check_equal(skerry_split(s, 1, &local), SKERRY_BUSY);
    check_equal(skerry_release(s, &view), SKERRY_OK);
    check(view.data == NULL);
    check_equal(skerry_release(s, &view), SKERRY_BAD_VIEW);
    check_equal(skerry_release(s, NULL), SKERRY_BAD_VIEW);
    check_equal(skerry_release(s, &none), SKERRY_BAD_VIEW);
    check_equal(skerry_get_view(s, "b", 1, &view), SKERRY_NOT_FOUND);
    check_equal(skerry_close(s), SKERRY_OK);
}

// In builds with audit:

static void a_copy_of_a_released_view_is_known(void)
{
    struct skerry_options o = host_options(&host, 1);
    struct skerry *s = host_open(&o);
    struct skerry_view view, copy, other;
    check_equal(set_text(s, "a", "1"), SKERRY_OK);
    check_equal(skerry_get_view(s, "a", 1, &view), SKERRY_OK);
    check_equal(skerry_get_view(s, "a", 1, &other), SKERRY_OK);
    copy = view;
    check_equal(skerry_release(s, &view), SKERRY_OK);
    if (SKERRY_AUDIT)
        check_equal(skerry_release(s, &copy), SKERRY_BAD_VIEW);
    check_equal(skerry_release(s, &other), SKERRY_OK);
    check_equal(skerry_close(s), SKERRY_OK);
}

static void who_reads_a_released_view_is_stopped(void)
{
    struct skerry_options o = host_options(&host, 1);
    struct skerry *s = host_open(&o);
    struct skerry_view views[2], copies[2];
    check_equal(set_text(s, "a", "1"), SKERRY_OK);
    for (int i = 0; i < 2; i++) {
        check_equal(skerry_get_view(s, "a", 1, &views[i]), SKERRY_OK);
        copies[i] = views[i];
    }
    check((views[0].data != views[1].data) == SKERRY_AUDIT); // one of two is guarded
    check_equal(skerry_release(s, &views[0]), SKERRY_OK);
    check_equal(skerry_release(s, &views[1]), SKERRY_OK);
    if (SKERRY_AUDIT) {
        fflush(stdout);
        pid_t child = fork();
        if (child == 0) {
            signal(SIGSEGV, SIG_DFL); // a sanitizer's handler would only say the same at length
            volatile const char *a = copies[0].data, *b = copies[1].data;
            _exit(a[0] + b[0] == 0 ? 1 : 0);
        }
        int status = 0;
        check_equal(waitpid(child, &status, 0), child);
        check(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    }
    check_equal(skerry_close(s), SKERRY_OK);
}

static void views_of_a_local_store_belong_to_it(void)
{
    struct skerry_options o = host_options(&host, 2);
    struct skerry *s = host_open(&o), *locals[2];
    struct skerry_view view;
    check_equal(set_text(s, "user:42", "1"), SKERRY_OK); // shard 1 of 2
    check_equal(skerry_split(s, 2, locals), SKERRY_OK);
    check_equal(skerry_get_view(locals[0], "user:42", 7, &view), SKERRY_WRONG_ROUTE);
    check_equal(skerry_get_view(locals[1], "user:42", 7, &view), SKERRY_OK);
    check_equal(skerry_release(locals[0], &view), SKERRY_WRONG_ROUTE);
    check_equal(skerry_close(locals[1]), SKERRY_BUSY);
    check_equal(skerry_close(locals[0]), SKERRY_OK);
    check_equal(skerry_release(locals[1], &view), SKERRY_OK);
    check_equal(skerry_close(locals[1]), SKERRY_OK);
}

TESTS(TEST(views_keep_their_bytes_whatever_becomes_of_the_key), TEST(a_view_is_released_once), TEST(a_copy_of_a_released_view_is_known),
      TEST(who_reads_a_released_view_is_stopped), TEST(views_of_a_local_store_belong_to_it))
