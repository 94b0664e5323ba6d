// SPDX-License-Identifier: Apache-2.0
// The versions that keys went through, and which operation made and which found each.
//
// A register's version is its value, a list's its length, a counter's its sum; version 0 is the beginning. Values are unique per key, so
// a read names the write that it saw. Registers that are removed (kind t) are set once and removed once: whether a read that found
// nothing came before or after is told by the times, or left open.
#pragma once

#include "test/history/check.h"

#define NO_OP      UINT32_MAX
#define NO_VERSION UINT32_MAX
#define VALUE_GONE UINT64_MAX // of a register of kind t after its removal

struct version {
    uint32_t key;
    uint32_t writer; // NO_OP: the beginning, or not known
    uint64_t value;
    bool passing; // overwritten by the same operation: nobody may see it
};

// What an operation had to do with a version of a key from outside; reads of its own writes are not among them.
struct access {
    uint32_t op;
    uint32_t version;
    bool write;
};

struct versions {
    const struct history *h;
    struct version *all;
    uint32_t count, cap;
    struct table *of_key;    // [key]: value -> version
    uint64_t **tokens;       // [key]: of lists, by position; 0 = not known
    uint64_t *token_count;   // [key]
    struct table *positions; // [key]: of lists, token -> position
    uint32_t *setter;        // [key]: of kind t, who set it; NO_OP
    struct access *accesses; // of what happened
    uint64_t access_count, access_cap;
    bool *happened; // [operation]: answered, or its effect was seen
    // Of registers, made by check_registers.
    uint32_t *block_of; // [version]
    uint32_t *next;     // [version]: the operation that found it and wrote the next one; NO_OP
    struct block *blocks;
    uint32_t block_count;
};

// Versions of a register that follow each other without a gap, because each one's writer found the one before (GETSET, compare-and-set).
// No operation of another block of the key can come between theirs. `first_end` < another block's `last_call`: this block comes first.
struct block {
    uint32_t key;
    uint32_t root;                 // its first version
    uint64_t first_end, last_call; // the earliest reply and the latest call of all its operations
    uint32_t first_op, last_op;    // whose they are; NO_OP: the beginning of time
};

// True: nothing wrong so far.
bool versions_init(struct versions *v, struct report *r);
void versions_deinit(struct versions *v);

static inline bool is_register(const struct history *h, uint32_t key)
{
    return h->keys[key].kind == 'r' || h->keys[key].kind == 't';
}

static inline bool is_small(const struct history *h, uint32_t key)
{
    return h->keys[key].kind == 's';
}

bool check_registers(struct versions *v, struct report *r);
bool check_dependencies(struct versions *v, struct report *r);
bool check_search(const struct history *h, struct report *r);
bool check_watch(const struct history *h, struct report *r);
