// SPDX-License-Identifier: Apache-2.0
// Tests as a table of functions, each named after the claim that it tests; "N passed, N failed" is the last line.
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct claim {
    const char *name;
    void (*test)(void);
};

static int wrong; // checks of the running test that failed

#define CHECK(condition)                                                                                                                   \
    do {                                                                                                                                   \
        if (!(condition)) {                                                                                                                \
            printf("    %s:%d: %s\n", __FILE__, __LINE__, #condition);                                                                     \
            wrong++;                                                                                                                       \
        }                                                                                                                                  \
    } while (0)

#define CHECK_EQUAL(got, want)                                                                                                             \
    do {                                                                                                                                   \
        long long claim_got = (long long)(got), claim_want = (long long)(want);                                                            \
        if (claim_got != claim_want) {                                                                                                     \
            printf("    %s:%d: %s is %lld, not %lld\n", __FILE__, __LINE__, #got, claim_got, claim_want);                                  \
            wrong++;                                                                                                                       \
        }                                                                                                                                  \
    } while (0)

static inline int claims_run(const struct claim *claims, size_t count, const char *only)
{
    int passed = 0, failed = 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (size_t i = 0; i < count; i++) {
        if (only != NULL && strcmp(only, claims[i].name) != 0)
            continue;
        wrong = 0;
        claims[i].test();
        printf("%s %s\n", wrong == 0 ? "ok  " : "FAIL", claims[i].name);
        passed += wrong == 0;
        failed += wrong != 0;
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed > 0 || passed == 0;
}
