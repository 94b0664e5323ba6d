// SPDX-License-Identifier: Apache-2.0
// RDB files of Redis and Valkey, versions 1 to 11 (to Redis 7.2, Valkey 8.1), read piece by piece. Strings are handed out; keys of other
// types are passed over by their structure, and counted. What cannot be passed over (modules of before version 9, types of newer
// servers) ends the reading with the offset.
//
//   `REDIS` and four digits, then opcodes, the last one EOF and (from version 5 on) the CRC-64 of all before it, or zero: not computed
//
// Valid: a version of 1 to 11; known opcodes and types; lengths in one of five forms; strings plain, as integers, or LZF; a value within
// 512 MiB; the CRC.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/slice.h"
#include "persist/source.h"

#define RDB_VERSION_MAX 11
#define RDB_VALUE_MAX   (512u * 1024 * 1024)

// What keys are, as TYPE calls them.
enum rdb_kind { RDB_STRING, RDB_LIST, RDB_SET, RDB_ZSET, RDB_HASH, RDB_STREAM, RDB_MODULE, RDB_KINDS };

struct rdb_entry {
    uint64_t db;
    int64_t deadline_ms; // Unix ms, -1: none
    struct slice key, value;
};

struct rdb_totals {
    uint32_t version;
    uint64_t keys[RDB_KINDS];
    uint64_t functions; // libraries, not taken over
    uint64_t auxiliary; // of modules, not taken over
    bool unchecked;     // the file carries no checksum
};

struct rdb;

// `s`: the file from its beginning; outlives the reader.
int rdb_new(struct rdb **out, struct source *s) warn_unused;
struct rdb *rdb_free(struct rdb *r);
// The next string, valid until the next call: 0; 1: the end, all of it verified; -EBADMSG: rdb_why; -ENOTSUP: what only a newer server, or
// a module, can read: rdb_why; other -errno of the source.
int rdb_next(struct rdb *r, struct rdb_entry *out) warn_unused;
// With the offset at which the reading ended.
const char *rdb_why(const struct rdb *r);
uint64_t rdb_offset(const struct rdb *r);
const struct rdb_totals *rdb_totals(const struct rdb *r);
const char *rdb_kind_name(enum rdb_kind kind);

// LZF (Lehmann, liblzf): exactly `size` bytes to `out`; false: the input says otherwise.
bool rdb_lzf(struct slice packed, uint8_t *out, size_t size) warn_unused;
