// SPDX-License-Identifier: Apache-2.0
// Every option of the server: options.def has one line each; the struct, the parser of files and flags, CONFIG GET/SET/REWRITE
// and the documentation come from it. Pure: reading and writing files is the program's.
//
//   file      `name value` a line, `#` comments, quotes as Redis reads them        options_load
//   flags     --name value, --name=value, --name (for yes)                         options_load_flags
//   running   CONFIG SET: all pairs or none                                        options_set_pairs
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/slice.h"

struct output_limit { // client-output-buffer-limit
    uint64_t hard;
    uint64_t soft;
    uint32_t soft_seconds;
};

enum output_class { OUTPUT_NORMAL, OUTPUT_REPLICA, OUTPUT_PUBSUB, OUTPUT_CLASSES };

// Values of the options that are a choice of words, in the order of options.c's lists. maxmemory-policy is enum store_policy,
// io is enum reactor_backend, route-mode is enum route_mode.
enum option_wal_export { WAL_EXPORT_OFF, WAL_EXPORT_CONNECT, WAL_EXPORT_LISTEN };
enum option_auto { OPTION_AUTO, OPTION_YES, OPTION_NO };
enum option_hugepages { HUGEPAGES_AUTO, HUGEPAGES_RESERVED, HUGEPAGES_NO };
enum option_index_hash { INDEX_HASH_KEYED, INDEX_HASH_PUBLIC };
enum option_debug_command { DEBUG_COMMAND_YES, DEBUG_COMMAND_LOCAL, DEBUG_COMMAND_NO };
enum option_appendfsync { APPENDFSYNC_ALWAYS, APPENDFSYNC_EVERYSEC, APPENDFSYNC_NO };
enum option_log_host { LOG_HOST_AUTO, LOG_HOST_THREAD, LOG_HOST_REACTOR };
enum option_log_error { LOG_ERROR_EXIT, LOG_ERROR_READ_ONLY };
enum option_loglevel { LOGLEVEL_DEBUG, LOGLEVEL_VERBOSE, LOGLEVEL_NOTICE, LOGLEVEL_WARNING, LOGLEVEL_NOTHING };

// Field names are the options' names with '_' for '-'. Texts are heap copies owned by the struct, never NULL.
struct options {
#define OPTION_BOOL(field, ...)   bool field;
#define OPTION_NUMBER(field, ...) int64_t field;
#define OPTION_BYTES(field, ...)  uint64_t field;
#define OPTION_TEXT(field, ...)   char *field;
#define OPTION_CHOICE(field, ...) int field;
#define OPTION_LIMITS(field, ...) struct output_limit field[OUTPUT_CLASSES];
#include "engine/shard/options.def"
#undef OPTION_BOOL
#undef OPTION_NUMBER
#undef OPTION_BYTES
#undef OPTION_TEXT
#undef OPTION_CHOICE
#undef OPTION_LIMITS
};

enum option_kind { OPTION_IS_BOOL, OPTION_IS_NUMBER, OPTION_IS_BYTES, OPTION_IS_TEXT, OPTION_IS_CHOICE, OPTION_IS_LIMITS };
enum option_flag { OPTION_START = 1, OPTION_MULTI = 2, OPTION_SECRET = 4, OPTION_OCTAL = 8, OPTION_OURS = 16 };
enum option_group {
    OPTION_GROUP_NETWORK,
    OPTION_GROUP_CLIENTS,
    OPTION_GROUP_MEMORY,
    OPTION_GROUP_CORES,
    OPTION_GROUP_FILES,
    OPTION_GROUP_DURABLE,
    OPTION_GROUP_EXPORT,
    OPTION_GROUP_OPERATOR,
    OPTION_GROUPS
};

struct option {
    const char *name;
    const char *initial; // as one would write it
    const char *help;
    const char *const *choices; // ends with NULL
    int64_t least, most;        // of a text: its length
    uint32_t offset;            // of the field in struct options
    uint8_t kind;
    uint8_t flags;
    uint8_t group;
};

uint32_t options_count(void);
const struct option *option_at(uint32_t index);
const struct option *option_find(struct slice name);                    // any case; NULL = unknown
bool option_matches(const struct option *option, struct slice pattern); // as CONFIG GET's globs, any case

void options_init(struct options *o); // defaults
void options_deinit(struct options *o);
void options_copy(struct options *to, const struct options *from); // deep; `to` is uninitialised

#define OPTIONS_ERROR_MAX 256
#define OPTIONS_WORDS_MAX 64

// 0, or -EINVAL and a reason as Redis words it. One word, or several for MULTI options.
int option_set(struct options *o, const struct option *option, const struct slice *words, uint32_t count,
               char error[OPTIONS_ERROR_MAX]) warn_unused;
// The same from one text; MULTI options split it at spaces.
int option_set_text(struct options *o, const struct option *option, struct slice text, char error[OPTIONS_ERROR_MAX]) warn_unused;
// Its value as CONFIG GET shows it.
void option_get(const struct options *o, const struct option *option, struct buf *out);
bool option_equal(const struct options *a, const struct options *b, const struct option *option);

// Name and value, in turn, `count` words. All or nothing. -EINVAL: `error` is the whole text of CONFIG SET's error reply.
int options_set_pairs(struct options *o, const struct slice *pairs, uint32_t count, char error[OPTIONS_ERROR_MAX]) warn_unused;

// Splits a line into words as Redis does: "..." with \n \r \t \b \a \xHH \\ \", '...' with \'. Words are views of `storage`,
// which holds their bytes. Returns how many, -EINVAL for unbalanced quotes, -E2BIG for more than `max`.
int options_split(struct slice line, struct buf *storage, struct slice *words, uint32_t max) warn_unused;

// A configuration file's text. -EINVAL: `error` is "file:line: reason".
int options_load(struct options *o, const char *file, struct slice text, char error[OPTIONS_ERROR_MAX]) warn_unused;
// Flags, argv[0] being the first of them.
int options_load_flags(struct options *o, int argc, char *const *argv, char error[OPTIONS_ERROR_MAX]) warn_unused;
// What holds between options. -EINVAL and a reason.
int options_check(const struct options *o, char error[OPTIONS_ERROR_MAX]) warn_unused;

// Port of shard 0; 0 = direct ports are off (or, before options_check, have no port).
uint32_t options_direct_base(const struct options *o);

// Strangers could connect and need no password, and protected-mode forbids that: options_check refuses with this text.
bool options_exposed(const struct options *o);
extern const char OPTIONS_EXPOSED[];

// The file's text with this struct's values: comments and order stay, lines of options get their value of now, options that
// are not their default and have no line are appended below a marker.
void options_rewrite(const struct options *o, struct slice old, struct buf *out);

// The table as docs/CONFIGURATION.md, as tools/skerry.conf, and as the list of --help-options.
void options_markdown(struct buf *out);
void options_sample(struct buf *out);
void options_help(struct buf *out);
