// SPDX-License-Identifier: Apache-2.0
// Commands worth remembering: SLOWLOG, and COMMANDLOG as in Valkey 8.1. Three logs of the whole server, newest first.
//
// One list each for all workers, behind a guard, instead of one a worker: entries are made before the guard is taken and shown
// after it was released (they are counted references), so that it is held for a few instructions, and only for commands that
// were slow or large anyway. In return numbers are unique and rise with time, GET costs no message, and the length is exact.
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/buf.h"
#include "engine/command/command.h"
#include "engine/shard/guard.h"

enum command_log_kind { LOG_SLOW, LOG_LARGE_REQUEST, LOG_LARGE_REPLY, LOG_KINDS };

struct command_entry {
    struct command_entry *older, *newer;
    _Atomic uint32_t refs;
    uint64_t id;
    int64_t time_ms;
    uint64_t value;   // microseconds, or bytes
    uint32_t argc;    // of `words`
    struct buf words; // each: u32 length, bytes
    struct buf address;
    struct buf name;
};

struct command_log {
    struct guard guard;
    struct command_entry *newest, *oldest;
    uint32_t count;
    uint64_t next_id;
};

struct client;

// An entry that no log has yet: the words cut as Redis cuts them, passwords left out. Of a word of
// `bytes_gone` bytes or more only the length is shown: its bytes may be elsewhere by now. NULL: out of memory.
struct command_entry *command_entry_new(const struct command *command, const struct slice *argv, uint32_t argc, uint64_t value,
                                        int64_t now_ms, size_t bytes_gone);
// Who sent it; NULL when nobody knows (the connection is gone).
void command_entry_sender(struct command_entry *e, const struct client *client);
struct command_entry *command_entry_free(struct command_entry *e);

// Takes the entry. The oldest beyond `length_max` are forgotten.
void command_log_add(struct command_log *l, struct command_entry *e, uint64_t length_max);
void command_log_reset(struct command_log *l);
uint32_t command_log_length(struct command_log *l);
// At most `count` of the newest, each borrowed until command_entry_free. Returns how many.
uint32_t command_log_take(struct command_log *l, struct command_entry **out, uint32_t count);

// Is argv[arg] a secret (a password of AUTH, HELLO, CONFIG SET ...)?
bool command_hides(const struct command *command, const struct slice *argv, uint32_t argc, uint32_t arg);
