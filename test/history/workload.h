// SPDX-License-Identifier: Apache-2.0
// The load whose history is checked: the keys that all sessions share, and what is still to be asked of a server.
#pragma once

#include "test/history/session.h"

#define WORKLOAD_GROUPS    3
#define WORKLOAD_LISTS     6
#define WORKLOAD_REGISTERS 24
#define WORKLOAD_COUNTERS  3
#define WORKLOAD_STAGED    4
#define NO_KEY             UINT32_MAX
#define NO_GROUP           UINT32_MAX

// Tests of the tests: what the server is told differs from what the history says, as if the server had a bug.
enum lie {
    LIE_NONE,
    LIE_HALF_APPLIED,  // one write of a transaction goes to another key
    LIE_STALE_WATCH,   // WATCH looks at another key
    LIE_REORDERED,     // two replies of a pipeline change places
    LIE_LOST_WRITE,    // a write is answered but goes to another key
    LIE_NOT_DISCARDED, // DISCARD runs the transaction
    LIE_COUNT
};
const char *lie_name(enum lie lie);

struct workload_options {
    uint32_t registers, lists, counters; // at most the arrays' lengths
    uint32_t many;                       // permille: several keys; 0 = none
    bool multi;                          // MULTI and WATCH are among them
    uint32_t abandon;                    // permille of these: MULTI without EXEC, then the connection is cut
    uint32_t depth;                      // requests on their way per session, at most SESSION_PENDING_MAX
    uint32_t value_max;                  // bytes of padding of some values
    enum lie lie;
};

struct small_group {
    uint32_t keys[3]; // of kind s: two registers, a counter
    uint32_t asked, pending;
};

struct workload {
    struct workload_options options;
    struct history history;
    struct prng prng;
    uint64_t clock, next_value, asked;
    uint32_t next_process, generation, lies;
    uint32_t registers[WORKLOAD_REGISTERS], counters[WORKLOAD_COUNTERS];
    struct {
        uint32_t key, appends;
    } lists[WORKLOAD_LISTS];
    struct small_group groups[WORKLOAD_GROUPS];
    struct {
        uint32_t key, twin, target;
    } staged[WORKLOAD_STAGED]; // the latest, for readers
    uint32_t staged_at;
    char failure[512]; // "" = none
};

void workload_init(struct workload *w, const struct workload_options *options, uint64_t seed);
void workload_deinit(struct workload *w);
void workload_fail(struct workload *w, const char *format, ...) printf_like(2, 3);
// The slot gets keys that nobody used: too many operations of unknown outcome make a search long.
void workload_renew_group(struct workload *w, uint32_t group);
