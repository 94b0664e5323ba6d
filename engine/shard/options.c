// SPDX-License-Identifier: Apache-2.0
// The table of options and the value of one option: parse, show, copy, compare.
#include "engine/shard/options.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/command/glob.h"
#include "engine/shard/save.h"
#include "proto/number.h"
#include "reactor/feature_names.h"
#include "reactor/reactor.h"

static const char *const MAXMEMORY_POLICIES[] = {
    "noeviction",     "allkeys-lru",     "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl",
    "allkeys-s3fifo", "volatile-s3fifo", NULL
};
static const char *const WAL_EXPORT_NAMES[] = { "off", "connect", "listen", NULL };
static const char *const HUGEPAGES_NAMES[] = { "auto", "reserved", "no", NULL };
static const char *const INDEX_HASH_NAMES[] = { "keyed", "public", NULL };
static const char *const ROUTE_MODE_NAMES[] = { "full-key", "session-prefix", NULL };
static const char *const IO_NAMES[] = { "auto", "uring", "epoll", NULL };
static const char *const AUTO_NAMES[] = { "auto", "yes", "no", NULL };
static const char *const LOGLEVEL_NAMES[] = { "debug", "verbose", "notice", "warning", "nothing", NULL };
static const char *const DEBUG_COMMAND_NAMES[] = { "yes", "local", "no", NULL };
static const char *const APPENDFSYNC_NAMES[] = { "always", "everysec", "no", NULL };
static const char *const LOG_HOST_NAMES[] = { "auto", "thread", "reactor", NULL };
static const char *const LOG_METHOD_NAMES[] = { "auto", "dsync", "fdatasync", "linked", NULL }; // enum log_method
static const char *const LOG_ERROR_NAMES[] = { "exit", "read-only", NULL };
static const char *const OUTPUT_NAMES[] = { "normal", "slave", "pubsub" };

enum { START = OPTION_START, MULTI = OPTION_MULTI, SECRET = OPTION_SECRET, OCTAL = OPTION_OCTAL, OURS = OPTION_OURS };

#define OPTION_ROW(id, row_name, row_kind, text, row_choices, low, high, row_flags, row_group, row_help)                                   \
    { .name = row_name,                                                                                                                    \
      .initial = text,                                                                                                                     \
      .help = row_help,                                                                                                                    \
      .choices = row_choices,                                                                                                              \
      .least = low,                                                                                                                        \
      .most = high,                                                                                                                        \
      .offset = offsetof(struct options, id),                                                                                              \
      .kind = row_kind,                                                                                                                    \
      .flags = row_flags,                                                                                                                  \
      .group = OPTION_GROUP_##row_group },
#define OPTION_BOOL(id, name, text, low, high, flags, group, help)                                                                         \
    OPTION_ROW(id, name, OPTION_IS_BOOL, text, NULL, low, high, flags, group, help)
#define OPTION_NUMBER(id, name, text, low, high, flags, group, help)                                                                       \
    OPTION_ROW(id, name, OPTION_IS_NUMBER, text, NULL, low, high, flags, group, help)
#define OPTION_BYTES(id, name, text, low, high, flags, group, help)                                                                        \
    OPTION_ROW(id, name, OPTION_IS_BYTES, text, NULL, low, high, flags, group, help)
#define OPTION_TEXT(id, name, text, low, high, flags, group, help)                                                                         \
    OPTION_ROW(id, name, OPTION_IS_TEXT, text, NULL, low, high, flags, group, help)
#define OPTION_CHOICE(id, name, text, list, none, flags, group, help)                                                                      \
    OPTION_ROW(id, name, OPTION_IS_CHOICE, text, list, none, none, flags, group, help)
#define OPTION_LIMITS(id, name, text, low, high, flags, group, help)                                                                       \
    OPTION_ROW(id, name, OPTION_IS_LIMITS, text, NULL, low, high, flags, group, help)

static const struct option OPTIONS[] = {
#include "engine/shard/options.def"
};

#define COUNT (sizeof OPTIONS / sizeof OPTIONS[0])

uint32_t options_count(void)
{
    return COUNT;
}

const struct option *option_at(uint32_t index)
{
    return index < COUNT ? &OPTIONS[index] : NULL;
}

// Valkey 8.1 renamed these; both names are understood.
static struct slice real_name(struct slice name)
{
    static const struct {
        const char *alias, *name;
    } ALIASES[] = { { "commandlog-execution-slower-than", "slowlog-log-slower-than" },
                    { "commandlog-slow-execution-max-len", "slowlog-max-len" } };
    for (size_t i = 0; i < sizeof ALIASES / sizeof ALIASES[0]; i++)
        if (slice_is(name, ALIASES[i].alias))
            return slice_cstr(ALIASES[i].name);
    return name;
}

const struct option *option_find(struct slice name)
{
    name = real_name(name);
    for (size_t i = 0; i < COUNT; i++)
        if (slice_is(name, OPTIONS[i].name))
            return &OPTIONS[i];
    return NULL;
}

bool option_matches(const struct option *option, struct slice pattern)
{
    return glob_match(pattern, slice_cstr(option->name), true);
}

static void *field(struct options *o, const struct option *option)
{
    return (char *)o + option->offset;
}

static const void *field_view(const struct options *o, const struct option *option)
{
    return (const char *)o + option->offset;
}

static char *text_copy(struct slice text)
{
    char *copy = malloc(text.len + 1);
    assert(copy != NULL);
    if (text.len > 0)
        memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    return copy;
}

void options_init(struct options *o)
{
    char error[OPTIONS_ERROR_MAX];
    *o = (struct options){ 0 };
    for (size_t i = 0; i < COUNT; i++) {
        int rc = option_set_text(o, &OPTIONS[i], slice_cstr(OPTIONS[i].initial), error);
        assert(rc == 0);
    }
}

void options_deinit(struct options *o)
{
    for (size_t i = 0; i < COUNT; i++) {
        if (OPTIONS[i].kind != OPTION_IS_TEXT)
            continue;
        char **text = field(o, &OPTIONS[i]);
        free(*text);
        *text = NULL;
    }
}

void options_copy(struct options *to, const struct options *from)
{
    *to = *from;
    for (size_t i = 0; i < COUNT; i++) {
        if (OPTIONS[i].kind != OPTION_IS_TEXT)
            continue;
        char **text = field(to, &OPTIONS[i]);
        *text = text_copy(slice_cstr(*text));
    }
}

static int refuse(char *error, const char *reason)
{
    snprintf(error, OPTIONS_ERROR_MAX, "%s", reason);
    return -EINVAL;
}

static int refuse_range(char *error, const struct option *option)
{
    bool octal = (option->flags & OPTION_OCTAL) != 0;
    const char *format = octal ? "argument must be between %" PRIo64 " and %" PRIo64 " inclusive"
                               : "argument must be between %" PRId64 " and %" PRId64 " inclusive";
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(error, OPTIONS_ERROR_MAX, format, option->least, option->most);
#pragma GCC diagnostic pop
    return -EINVAL;
}

static int set_bool(bool *to, struct slice text, char *error)
{
    if (!slice_is(text, "yes") && !slice_is(text, "no"))
        return refuse(error, "argument must be 'yes' or 'no'");
    *to = slice_is(text, "yes");
    return 0;
}

static bool parse_octal(struct slice text, int64_t *out)
{
    int64_t value = 0;
    if (text.len == 0 || text.len > 7)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '7')
            return false;
        value = value * 8 + (text.data[i] - '0');
    }
    *out = value;
    return true;
}

static int set_number(int64_t *to, const struct option *option, struct slice text, char *error)
{
    int64_t value;
    if (option->flags & OPTION_OCTAL) {
        if (!parse_octal(text, &value))
            return refuse(error, "argument couldn't be parsed as an octal number");
    } else if (!number_parse_i64(text, &value)) {
        return refuse(error, "argument couldn't be parsed into an integer");
    }
    if (value < option->least || value > option->most)
        return refuse_range(error, option);
    *to = value;
    return 0;
}

// Digits and a unit: none or b, k m g in powers of 1000, kb mb gb in powers of 1024.
static bool parse_bytes(struct slice text, uint64_t *out)
{
    static const struct {
        const char *name;
        uint64_t factor;
    } UNITS[] = { { "", 1 },           { "b", 1 },
                  { "k", 1000 },       { "kb", UINT64_C(1) << 10 },
                  { "m", 1000000 },    { "mb", UINT64_C(1) << 20 },
                  { "g", 1000000000 }, { "gb", UINT64_C(1) << 30 } };
    size_t digits = 0;
    while (digits < text.len && text.data[digits] >= '0' && text.data[digits] <= '9')
        digits++;
    uint64_t value = 0;
    if (digits == 0)
        return false;
    for (size_t i = 0; i < digits; i++)
        if (__builtin_mul_overflow(value, UINT64_C(10), &value) || __builtin_add_overflow(value, (uint64_t)(text.data[i] - '0'), &value))
            return false;
    struct slice unit = slice_of(text.data + digits, text.len - digits);
    for (size_t i = 0; i < sizeof UNITS / sizeof UNITS[0]; i++)
        if (slice_is(unit, UNITS[i].name))
            return !__builtin_mul_overflow(value, UNITS[i].factor, out);
    return false;
}

static int set_bytes(uint64_t *to, const struct option *option, struct slice text, char *error)
{
    uint64_t value;
    if (!parse_bytes(text, &value))
        return refuse(error, "argument must be a memory value");
    if (value < (uint64_t)option->least || value > (uint64_t)option->most)
        return refuse_range(error, option);
    *to = value;
    return 0;
}

static int set_text(char **to, const struct option *option, struct slice text, char *error)
{
    if (text.len < (size_t)option->least)
        return refuse(error, "argument may not be empty");
    if (text.len > (size_t)option->most) {
        snprintf(error, OPTIONS_ERROR_MAX, "argument may have at most %" PRId64 " bytes", option->most);
        return -EINVAL;
    }
    if (text.len > 0 && memchr(text.data, '\0', text.len) != NULL)
        return refuse(error, "argument may not hold a NUL byte");
    char *copy = text_copy(text);
    free(*to);
    *to = copy;
    return 0;
}

static int set_choice(int *to, const struct option *option, struct slice text, char *error)
{
    for (int i = 0; option->choices[i] != NULL; i++) {
        if (slice_is(text, option->choices[i])) {
            *to = i;
            return 0;
        }
    }
    size_t used = (size_t)snprintf(error, OPTIONS_ERROR_MAX, "argument(s) must be one of the following: ");
    for (int i = 0; option->choices[i] != NULL && used < OPTIONS_ERROR_MAX; i++)
        used += (size_t)snprintf(error + used, OPTIONS_ERROR_MAX - used, "%s%s", i == 0 ? "" : ", ", option->choices[i]);
    return -EINVAL;
}

static int output_class(struct slice name)
{
    if (slice_is(name, "replica"))
        return OUTPUT_REPLICA;
    for (int i = 0; i < OUTPUT_CLASSES; i++)
        if (slice_is(name, OUTPUT_NAMES[i]))
            return i;
    return -1;
}

// class hard soft seconds, any number of times; classes that are not named keep their limits.
static int set_limits(struct output_limit *to, const struct slice *words, uint32_t count, char *error)
{
    struct output_limit limits[OUTPUT_CLASSES];
    memcpy(limits, to, sizeof limits);
    if (count % 4 != 0)
        return refuse(error, "Wrong number of arguments in buffer limit configuration.");
    for (uint32_t i = 0; i < count; i += 4) {
        int class = output_class(words[i]);
        int64_t seconds;
        if (class < 0)
            return refuse(error, "Invalid client class specified in buffer limit configuration.");
        struct output_limit *limit = &limits[class];
        if (!parse_bytes(words[i + 1], &limit->hard) || !parse_bytes(words[i + 2], &limit->soft) ||
            !number_parse_i64(words[i + 3], &seconds) || seconds < 0 || seconds > INT32_MAX)
            return refuse(error, "Error in hard, soft or soft_seconds setting in buffer limit configuration.");
        limit->soft_seconds = (uint32_t)seconds;
    }
    memcpy(to, limits, sizeof limits);
    return 0;
}

static int set_words(char **to, const struct option *option, const struct slice *words, uint32_t count, char *error)
{
    struct buf joined;
    buf_init(&joined, 64 * 1024);
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0)
            buf_append(&joined, " ", 1);
        buf_append_slice(&joined, words[i]);
    }
    buf_append(&joined, "", 1);
    int rc;
    if (joined.failed)
        rc = refuse(error, "argument is too long");
    else if (strcmp(option->name, "save") == 0 && !save_points_valid((const char *)joined.data))
        rc = refuse(error, "Invalid save parameters");
    else
        rc = set_text(to, option, slice_of(joined.data, joined.len - 1), error);
    buf_deinit(&joined);
    return rc;
}

int option_set(struct options *o, const struct option *option, const struct slice *words, uint32_t count, char error[OPTIONS_ERROR_MAX])
{
    void *to = field(o, option);
    if (option->kind == OPTION_IS_LIMITS)
        return set_limits(to, words, count, error);
    if (option->kind == OPTION_IS_TEXT && (option->flags & OPTION_MULTI))
        return set_words(to, option, words, count, error);
    if (count != 1)
        return refuse(error, "wrong number of arguments");
    switch ((enum option_kind)option->kind) {
    case OPTION_IS_BOOL:
        return set_bool(to, words[0], error);
    case OPTION_IS_NUMBER:
        return set_number(to, option, words[0], error);
    case OPTION_IS_BYTES:
        return set_bytes(to, option, words[0], error);
    case OPTION_IS_TEXT:
        return set_text(to, option, words[0], error);
    case OPTION_IS_CHOICE:
        return set_choice(to, option, words[0], error);
    case OPTION_IS_LIMITS:
        break;
    }
    return refuse(error, "wrong kind");
}

int option_set_text(struct options *o, const struct option *option, struct slice text, char error[OPTIONS_ERROR_MAX])
{
    if (!(option->flags & OPTION_MULTI))
        return option_set(o, option, &text, 1, error);
    struct slice words[OPTIONS_WORDS_MAX];
    struct buf storage;
    buf_init(&storage, 64 * 1024);
    int count = options_split(text, &storage, words, OPTIONS_WORDS_MAX);
    int rc = count < 0 ? refuse(error, count == -E2BIG ? "too many words" : "unbalanced quotes")
                       : option_set(o, option, words, (uint32_t)count, error);
    buf_deinit(&storage);
    return rc;
}

static void get_limits(const struct output_limit *limits, struct buf *out)
{
    for (int i = 0; i < OUTPUT_CLASSES; i++)
        buf_format(out, "%s%s %" PRIu64 " %" PRIu64 " %" PRIu32, i == 0 ? "" : " ", OUTPUT_NAMES[i], limits[i].hard, limits[i].soft,
                   limits[i].soft_seconds);
}

void option_get(const struct options *o, const struct option *option, struct buf *out)
{
    const void *from = field_view(o, option);
    switch ((enum option_kind)option->kind) {
    case OPTION_IS_BOOL:
        buf_format(out, "%s", *(const bool *)from ? "yes" : "no");
        break;
    case OPTION_IS_NUMBER:
        if (option->flags & OPTION_OCTAL)
            buf_format(out, "%" PRIo64, (uint64_t) * (const int64_t *)from);
        else
            buf_format(out, "%" PRId64, *(const int64_t *)from);
        break;
    case OPTION_IS_BYTES:
        buf_format(out, "%" PRIu64, *(const uint64_t *)from);
        break;
    case OPTION_IS_TEXT:
        buf_append_slice(out, slice_cstr(*(char *const *)from));
        break;
    case OPTION_IS_CHOICE:
        buf_format(out, "%s", option->choices[*(const int *)from]);
        break;
    case OPTION_IS_LIMITS:
        get_limits(from, out);
        break;
    }
}

bool option_equal(const struct options *a, const struct options *b, const struct option *option)
{
    struct buf left, right;
    buf_init(&left, BUF_NO_LIMIT);
    buf_init(&right, BUF_NO_LIMIT);
    option_get(a, option, &left);
    option_get(b, option, &right);
    bool equal = slice_equal(buf_view(&left), buf_view(&right));
    buf_deinit(&left);
    buf_deinit(&right);
    return equal;
}

static const struct option *pair_option(const struct slice *pairs, uint32_t at, char *error)
{
    const struct option *option = option_find(pairs[at]);
    if (option == NULL) {
        snprintf(error, OPTIONS_ERROR_MAX, "Unknown option or number of arguments for CONFIG SET - '%.*s'",
                 (int)(pairs[at].len < 128 ? pairs[at].len : 128), (const char *)pairs[at].data);
        return NULL;
    }
    const char *reason = option->flags & OPTION_START ? "can't set immutable config" : NULL;
    for (uint32_t earlier = 0; earlier < at && reason == NULL; earlier += 2)
        if (option_find(pairs[earlier]) == option)
            reason = "duplicate parameter";
    if (reason == NULL)
        return option;
    snprintf(error, OPTIONS_ERROR_MAX, "CONFIG SET failed (possibly related to argument '%s') - %s", option->name, reason);
    return NULL;
}

static int set_pairs(struct options *o, const struct slice *pairs, uint32_t count, char *error)
{
    for (uint32_t i = 0; i < count; i += 2) {
        const struct option *option = option_find(pairs[i]);
        char reason[OPTIONS_ERROR_MAX];
        if (option_set_text(o, option, pairs[i + 1], reason) == 0)
            continue;
        snprintf(error, OPTIONS_ERROR_MAX, "CONFIG SET failed (possibly related to argument '%s') - %.*s", option->name, 180, reason);
        return -EINVAL;
    }
    char reason[OPTIONS_ERROR_MAX];
    if (options_check(o, reason) == 0)
        return 0;
    snprintf(error, OPTIONS_ERROR_MAX, "CONFIG SET failed - %.200s", reason);
    return -EINVAL;
}

int options_set_pairs(struct options *o, const struct slice *pairs, uint32_t count, char error[OPTIONS_ERROR_MAX])
{
    assert(count % 2 == 0);
    for (uint32_t i = 0; i < count; i += 2)
        if (pair_option(pairs, i, error) == NULL)
            return -EINVAL;
    struct options changed;
    options_copy(&changed, o);
    if (set_pairs(&changed, pairs, count, error) != 0) {
        options_deinit(&changed);
        return -EINVAL;
    }
    options_deinit(o);
    *o = changed;
    return 0;
}

const char OPTIONS_EXPOSED[] = "an address other than the loopback would be served without a password: set requirepass, bind 127.0.0.1, "
                               "or say protected-mode no";

static bool is_loopback(struct slice host)
{
    return (host.len > 4 && memcmp(host.data, "127.", 4) == 0) || slice_is(host, "::1");
}

bool options_exposed(const struct options *o)
{
    const char *at = o->bind;
    if (!o->protected_mode || o->requirepass[0] != '\0' || (o->port == 0 && !o->direct_ports))
        return false;
    for (;;) {
        at += strspn(at, " -");
        size_t len = strcspn(at, " ");
        if (len == 0)
            return false;
        if (!is_loopback(slice_of(at, len)))
            return true;
        at += len;
    }
}

static int check_features(const struct options *o, char *error)
{
    struct slice unknown;
    uint32_t without;
    if (feature_names_parse(slice_cstr(o->io_without), &without, &unknown) < 0) {
        snprintf(error, OPTIONS_ERROR_MAX, "io-without: io_uring has no feature '%.*s' that could be switched off",
                 (int)(unknown.len < 64 ? unknown.len : 64), (const char *)unknown.data);
        return -EINVAL;
    }
    if (without != 0 && o->io == REACTOR_EPOLL)
        return refuse(error, "io-without: epoll has none of these features");
    return 0;
}

uint32_t options_direct_base(const struct options *o)
{
    if (!o->direct_ports)
        return 0;
    return (uint32_t)(o->direct_base_port != 0 || o->port == 0 ? o->direct_base_port : o->port + 1);
}

int options_check(const struct options *o, char error[OPTIONS_ERROR_MAX])
{
    if (o->shards != 0 && !is_power_of_two((uint64_t)o->shards))
        return refuse(error, "shards must be a power of two");
    if (o->shards != 0 && o->shards < o->workers)
        return refuse(error, "shards must not be fewer than workers");
    if (o->wal_export_mode == WAL_EXPORT_LISTEN && o->wal_export_token[0] == '\0')
        return refuse(error, "wal-export-mode listen needs wal-export-token");
    if (options_exposed(o))
        return refuse(error, OPTIONS_EXPOSED);
    if (o->direct_ports && options_direct_base(o) == 0)
        return refuse(error, "direct-ports without a port need direct-base-port");
    return check_features(o, error);
}
