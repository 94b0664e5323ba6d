// SPDX-License-Identifier: Apache-2.0
// One connection of the load: requests as bytes, replies back into the history. Knows no sockets, no clock and no randomness of its own, so
// that the simulation's clients and the program that loads a real server are the same.
//
//   workload.c   which keys and values there are, and what a session asks next
//   session.c    what its replies say about the steps, and what becomes of them when the connection is cut
//
// Times are numbers that the workload counts up at every call and every reply: one thread drives all sessions, so their order is real.
#pragma once

#include "base/buf.h"
#include "base/prng.h"
#include "test/history/history.h"

#define SESSION_PENDING_MAX  64
#define REQUEST_COMMANDS_MAX 8
#define SESSION_WATCHES_MAX  2

// What the reply of one command tells about its steps.
enum want {
    WANT_OK,
    WANT_QUEUED,
    WANT_VALUE,  // READ, LIST: a string or null
    WANT_VALUES, // an array of them
    WANT_OLD,    // READ, then WRITE: the value before
    WANT_LENGTH, // APPEND
    WANT_SUM,    // ADD
    WANT_FLAG,   // EXISTS and what follows, 1 as the steps say, 0 the opposite and nothing of what follows
    WANT_UNLESS, // the same, but 0 says "no" without saying which of the keys was in the way
    WANT_NUMBER, // this number
    WANT_EXEC,   // an array with the replies of the commands before it, or null: refused because of WATCH
    WANT_ABORT,  // EXEC after a command that could not be queued
    WANT_ERROR,
};

struct demand_command {
    uint8_t want;
    uint8_t first, count; // steps
    uint16_t number;
};

struct demand {
    const char *name;
    uint64_t invoke;
    bool silent;      // claims nothing: not recorded
    bool transaction; // the commands between the first and the last are answered twice
    uint8_t command_count, replied;
    uint8_t step_count;
    uint32_t group; // slot of the small group, or none
    struct demand_command commands[REQUEST_COMMANDS_MAX];
    struct step steps[HISTORY_STEPS_MAX];
    // EXEC under WATCH.
    bool watching;
    uint64_t watch_invoke;
    // WATCH: the session remembers what was found.
    bool watches;
};

struct workload;

struct session {
    struct workload *workload;
    uint32_t process;
    uint32_t first, count; // ring of requests whose replies are due
    struct demand pending[SESSION_PENDING_MAX];
    bool watch_due, watch_held; // WATCH and its reads are asked; answered
    uint32_t watch_count;
    struct step watched[SESSION_WATCHES_MAX]; // what was found
    uint64_t watch_invoke;
    uint32_t watch_group;
    uint32_t staged, staged_twin; // keys of kind t that were set by this session; NO_KEY
    uint64_t staged_value;
    bool leaving; // the connection is to be cut once what was written has left
};

// A new connection.
void session_open(struct session *s, struct workload *w);
bool session_may_ask(const struct session *s);
// Writes a request to `out`; false: it waits for replies first, or wants to be cut.
bool session_ask(struct session *s, struct buf *out);
// One whole reply (test/sim/resp_reader.h). False: the workload's failure says what is wrong with it.
bool session_reply(struct session *s, struct slice reply);
// The connection is gone: what was not answered may have happened.
void session_cut(struct session *s);
