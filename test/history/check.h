// SPDX-License-Identifier: Apache-2.0
// Is a history one that a single Redis could have given: every operation at one moment between its call and its reply?
//
//   versions.c      who wrote what was found; values that nobody wrote, two that wrote one thing, lists that contradict each other
//   registers.c     one register at a time, in O(n log n): zones of operations that belong to one value
//   dependencies.c  all operations and keys at once: a graph of "must have happened before" without a cycle
//   search.c        small groups of keys: every order that the times allow
//   watch.c         EXEC that WATCH failed: did somebody change the key?
//
// docs/CHECKING.md says what each of them proves. All of them are sound: a history that they reject is no Redis's.
#pragma once

#include "test/history/history.h"

struct verdict {
    const char *claim; // NULL: nothing to complain about; else what does not hold, in a few words
    char *text;        // then the counter-example, several lines
    uint64_t checked;  // operations
};

// `out` is free to be dropped with verdict_deinit in both cases. True: it holds.
bool history_check(const struct history *h, struct verdict *out);
void verdict_deinit(struct verdict *v);

// ---- between the checkers

struct report {
    const struct history *h;
    const char *claim;
    char *text;
    size_t size;
    FILE *to;
};

// Begins the complaint: the caller prints the rest to the result. Only the first one is kept; NULL: there is one already.
FILE *report_begin(struct report *r, const char *claim);
// A line with the operation.
void report_operation(const struct report *r, FILE *to, uint32_t op);
