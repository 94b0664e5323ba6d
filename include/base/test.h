// SPDX-License-Identifier: Apache-2.0
// Unit tests: a table of functions named after the claim that each one tests.
//
//   static void a_ring_gives_back_what_was_pushed(void) { check(spsc_pop(&q) == &x); }
//   TESTS(TEST(a_ring_gives_back_what_was_pushed), TEST(...))
//
// Prints a line per test and "N passed, N failed" last; exit status 1 when one failed. An argument runs only that test.
#pragma once

#include <stdio.h>
#include <string.h>

struct test {
    const char *name;
    void (*run)(void);
};

static int test_failures; // of the running test

#define check(condition)                                                                                                                   \
    do {                                                                                                                                   \
        if (!(condition)) {                                                                                                                \
            printf("%s:%d: failed: %s\n", __FILE__, __LINE__, #condition);                                                                 \
            test_failures++;                                                                                                               \
        }                                                                                                                                  \
    } while (0)

#define check_equal(got, want)                                                                                                             \
    do {                                                                                                                                   \
        long long test_got = (long long)(got), test_want = (long long)(want);                                                              \
        if (test_got != test_want) {                                                                                                       \
            printf("%s:%d: %s is %lld, not %lld\n", __FILE__, __LINE__, #got, test_got, test_want);                                        \
            test_failures++;                                                                                                               \
        }                                                                                                                                  \
    } while (0)

#define TEST(function)                                                                                                                     \
    {                                                                                                                                      \
#function, function                                                                                                                \
    }

static inline int test_main(const struct test *tests, int count, int argc, char **argv)
{
    int passed = 0, failed = 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 0; i < count; i++) {
        if (argc > 1 && strcmp(argv[1], tests[i].name) != 0)
            continue;
        test_failures = 0;
        tests[i].run();
        printf("%s %s\n", test_failures == 0 ? "ok  " : "FAIL", tests[i].name);
        if (test_failures == 0)
            passed++;
        else
            failed++;
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed > 0 || passed == 0;
}

#define TESTS(...)                                                                                                                         \
    int main(int argc, char **argv)                                                                                                        \
    {                                                                                                                                      \
        static const struct test tests[] = { __VA_ARGS__ };                                                                                \
        return test_main(tests, (int)(sizeof tests / sizeof tests[0]), argc, argv);                                                        \
    }
