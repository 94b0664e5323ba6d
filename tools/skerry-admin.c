// SPDX-License-Identifier: Apache-2.0
// The command line of skerry-admin: which action, on which directories, and whether somebody uses them.
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tools/admin/admin.h"
#include "tools/admin/text.h"

enum argument {
    TAKES_JSON = 1,
    TAKES_RANGE = 2,  // --from, --to
    TAKES_POINT = 4,  // --to-time, --to-lsn
    TAKES_SHARDS = 8, // --shards, --route-mode
};

struct arguments {
    struct admin admin;
    const char *from, *to; // paths
    struct dump_range range;
    struct restore_point point;
    struct import_options import;
};

typedef int action_fn(struct arguments *a);
action_fn act_check, act_dump, act_salvage, act_backup, act_restore, act_import_fast_cache, act_import_rdb;

static const struct action {
    const char *name;
    const char *usage;
    uint32_t paths;
    uint32_t takes; // enum argument
    action_fn *run;
    const char *help;
} ACTIONS[] = {
    { "check", "DIR [--json]", 1, TAKES_JSON, act_check, "Read all that the manifest lists and say whether it holds." },
    { "dump", "DIR|FILE [--json] [--from LSN] [--to LSN]", 1, TAKES_JSON | TAKES_RANGE, act_dump,
      "Print manifest, snapshot and records; with --from or --to only the log." },
    { "salvage", "DIR OUT", 2, 0, act_salvage, "Write what can be read of a damaged directory to a new one, and list what is lost." },
    { "backup", "DIR OUT", 2, 0, act_backup, "Copy a directory, also one in use, and verify the copy." },
    { "restore", "BACKUP DIR [--to-time TIME | --to-lsn LSN]", 2, TAKES_POINT, act_restore,
      "Make a directory of a backup, as of its end or of a point." },
    { "import-fast-cache", "SRC DIR [--shards N] [--route-mode MODE]", 2, TAKES_SHARDS, act_import_fast_cache,
      "Make a directory of fast-cache's." },
    { "import-rdb", "FILE DIR [--shards N] [--route-mode MODE]", 2, TAKES_SHARDS, act_import_rdb,
      "Make a directory of Redis' or Valkey's RDB file." },
};

#define ACTION_COUNT (sizeof ACTIONS / sizeof ACTIONS[0])

static void print_help(void)
{
    puts("usage: skerry-admin ACTION ...\n");
    for (size_t i = 0; i < ACTION_COUNT; i++)
        printf("  %s %s\n      %s\n", ACTIONS[i].name, ACTIONS[i].usage, ACTIONS[i].help);
    puts("\nDIR is what the server's option `appenddirname` names. OUT and the directory of restore and of imports are made, or must be "
         "empty.\n"
         "TIME is 2026-11-28T14:05:00Z or milliseconds since 1970. Exit status: 0 good, 1 damage, 2 wrong usage or trouble with the disk.\n"
         "\n  --version, --help");
}

static int usage(const struct action *action, const char *format, ...) printf_like(2, 3);
static int usage(const struct action *action, const char *format, ...)
{
    va_list args;
    fputs("skerry-admin: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    if (action != NULL)
        fprintf(stderr, "\nusage: skerry-admin %s %s\n", action->name, action->usage);
    else
        fputs(" (--help lists what there is)\n", stderr);
    return ADMIN_TROUBLE;
}

// ---- directories

// NULL: it could not be opened, and that was said.
static struct disk *open_disk(struct arguments *a, const char *path, bool make)
{
    struct disk *d;
    const char *why;
    int rc = make ? disk_make(path) : 0;
    if (rc != 0) {
        admin_trouble(&a->admin, "%s: %s", path, strerror(-rc));
        return NULL;
    }
    rc = disk_open(&d, path, &why);
    if (rc == 0)
        return d;
    admin_trouble(&a->admin, "%s: %s (%s)", path, why, strerror(-rc));
    return NULL;
}

// The lock's descriptor; -1: there is nothing to lock, or it may not be written to; -EWOULDBLOCK: a server uses it, and that was said.
static int lock_disk(struct arguments *a, struct disk *d, bool make)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/LOCK", d->path) >= (int)sizeof path || (!make && access(path, F_OK) != 0))
        return -1;
    int fd = disk_lock(d);
    if (fd == -EWOULDBLOCK)
        admin_trouble(&a->admin, "%s is in use: stop the server, or back it up first and look at the backup", d->path);
    return fd >= 0 || fd == -EWOULDBLOCK ? fd : -1;
}

static void unlock_disk(struct disk *d, int fd)
{
    if (fd >= 0)
        disk_unlock(d, fd);
}

// ---- actions

int act_check(struct arguments *a)
{
    struct disk *d = open_disk(a, a->from, false);
    if (d == NULL)
        return ADMIN_TROUBLE;
    int lock = lock_disk(a, d, false), status = lock == -EWOULDBLOCK ? ADMIN_TROUBLE : admin_check(&a->admin, d);
    unlock_disk(d, lock);
    disk_close(d);
    return status;
}

// A file's directory and its name in it; false: it is no file.
static bool split_path(const char *path, char *folder, char *name)
{
    const char *slash = strrchr(path, '/');
    const char *base = slash == NULL ? path : slash + 1;
    if (*base == '\0' || strlen(path) >= PATH_MAX)
        return false;
    strcpy(name, base);
    size_t len = slash == NULL ? 0 : (size_t)(slash - path) + (slash == path);
    memcpy(folder, len == 0 ? "." : path, len == 0 ? 1 : len);
    folder[len == 0 ? 1 : len] = '\0';
    return true;
}

static bool is_folder(const char *path)
{
    struct disk *d;
    const char *why;
    if (disk_open(&d, path, &why) != 0)
        return false;
    disk_close(d);
    return true;
}

int act_dump(struct arguments *a)
{
    char folder[PATH_MAX], name[PATH_MAX];
    bool whole = is_folder(a->from) || !split_path(a->from, folder, name);
    struct disk *d = open_disk(a, whole ? a->from : folder, false);
    if (d == NULL)
        return ADMIN_TROUBLE;
    int status = whole ? admin_dump(&a->admin, d, &a->range) : admin_dump_file(&a->admin, d, name, &a->range);
    disk_close(d);
    return status;
}

typedef int pair_fn(struct arguments *a, struct disk *from, struct disk *to, const char *name);

// From `source` (and a file in it) into the directory `a->to`, which nobody may be using.
static int with_both(struct arguments *a, const char *source, const char *name, bool lock_source, pair_fn *fn)
{
    int status = ADMIN_TROUBLE, from_lock = -1, to_lock = -1;
    struct disk *from = open_disk(a, source, false), *to = from == NULL ? NULL : open_disk(a, a->to, true);
    if (to != NULL && lock_source)
        from_lock = lock_disk(a, from, false);
    if (to != NULL && from_lock != -EWOULDBLOCK)
        to_lock = lock_disk(a, to, true);
    if (to != NULL && from_lock != -EWOULDBLOCK && to_lock != -EWOULDBLOCK)
        status = fn(a, from, to, name);
    if (from != NULL)
        unlock_disk(from, from_lock);
    if (to != NULL)
        unlock_disk(to, to_lock);
    disk_close(to);
    disk_close(from);
    return status;
}

static int salvage(struct arguments *a, struct disk *from, struct disk *to, const char *name)
{
    return admin_salvage(&a->admin, from, to);
}

static int backup(struct arguments *a, struct disk *from, struct disk *to, const char *name)
{
    return admin_backup(&a->admin, from, to);
}

static int restore(struct arguments *a, struct disk *from, struct disk *to, const char *name)
{
    return admin_restore(&a->admin, from, to, &a->point);
}

static int import_fast_cache(struct arguments *a, struct disk *from, struct disk *to, const char *name)
{
    return admin_import_fast_cache(&a->admin, from, to, &a->import);
}

static int import_rdb(struct arguments *a, struct disk *from, struct disk *to, const char *name)
{
    return admin_import_rdb(&a->admin, from, name, to, &a->import);
}

int act_salvage(struct arguments *a)
{
    return with_both(a, a->from, NULL, true, salvage);
}

int act_backup(struct arguments *a)
{
    return with_both(a, a->from, NULL, false, backup);
}

int act_restore(struct arguments *a)
{
    return with_both(a, a->from, NULL, false, restore);
}

int act_import_fast_cache(struct arguments *a)
{
    return with_both(a, a->from, NULL, false, import_fast_cache);
}

int act_import_rdb(struct arguments *a)
{
    char folder[PATH_MAX], name[PATH_MAX];
    if (!split_path(a->from, folder, name))
        return admin_trouble(&a->admin, "%s: not a file", a->from);
    return with_both(a, folder, name, false, import_rdb);
}

// ---- the command line

static bool number(const char *text, uint64_t *out)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    *out = value;
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0;
}

// 0: taken; 1: no option of this action; ADMIN_TROUBLE.
static int take_option(struct arguments *a, const struct action *action, const char *name, const char *value)
{
    uint64_t n = 0;
    bool is_number = value != NULL && number(value, &n);
    if ((action->takes & TAKES_RANGE) && (strcmp(name, "--from") == 0 || strcmp(name, "--to") == 0)) {
        *(name[2] == 'f' ? &a->range.from : &a->range.to) = n;
        a->range.log_only = true;
        return is_number ? 0 : usage(action, "%s wants an LSN", name);
    }
    if ((action->takes & TAKES_POINT) && strcmp(name, "--to-lsn") == 0) {
        a->point.lsn = n;
        return is_number ? 0 : usage(action, "--to-lsn wants an LSN");
    }
    if ((action->takes & TAKES_POINT) && strcmp(name, "--to-time") == 0)
        return value != NULL && text_time_parse(value, &a->point.time_ms)
                   ? 0
                   : usage(action, "--to-time wants a time like 2026-11-28T14:05:00Z");
    if ((action->takes & TAKES_SHARDS) && strcmp(name, "--shards") == 0) {
        a->import.shards = (uint32_t)n;
        return is_number && n <= SHARDS_MAX && is_power_of_two(n) ? 0 : usage(action, "--shards wants a power of two up to %u", SHARDS_MAX);
    }
    if ((action->takes & TAKES_SHARDS) && strcmp(name, "--route-mode") == 0) {
        bool full = value != NULL && strcmp(value, "full-key") == 0, prefix = value != NULL && strcmp(value, "session-prefix") == 0;
        a->import.route_mode = prefix ? ROUTE_SESSION_PREFIX : ROUTE_FULL_KEY;
        return full || prefix ? 0 : usage(action, "--route-mode wants full-key or session-prefix");
    }
    return 1;
}

static int take_argument(struct arguments *a, const struct action *action, int argc, char **argv, int *at, uint32_t *paths)
{
    const char *word = argv[*at], *value = *at + 1 < argc ? argv[*at + 1] : NULL;
    if (word[0] != '-') {
        if (*paths == action->paths)
            return usage(action, "one path too many: %s", word);
        *(*paths == 0 ? &a->from : &a->to) = word;
        (*paths)++;
        return 0;
    }
    if ((action->takes & TAKES_JSON) && strcmp(word, "--json") == 0) {
        a->admin.json = true;
        return 0;
    }
    int rc = take_option(a, action, word, value);
    (*at)++;
    return rc == 1 ? usage(action, "unknown option %s", word) : rc;
}

// As the server does without being told: the next power of two above its cores.
static uint32_t default_shards(void)
{
    cpu_set_t cores;
    uint32_t shards = 1;
    int count = sched_getaffinity(0, sizeof cores, &cores) == 0 ? CPU_COUNT(&cores) : 1;
    while (shards < (uint32_t)count && shards < SHARDS_MAX)
        shards *= 2;
    return shards;
}

static const struct action *find_action(const char *name)
{
    for (size_t i = 0; i < ACTION_COUNT; i++)
        if (strcmp(name, ACTIONS[i].name) == 0)
            return &ACTIONS[i];
    return NULL;
}

int main(int argc, char **argv)
{
    struct arguments a = {
        .admin = { .out = stdout, .err = stderr },
        .range = { .to = UINT64_MAX },
        .point = { .lsn = UINT64_MAX, .time_ms = RESTORE_ALL },
        .import = { .shards = default_shards() },
    };
    if (argc < 2)
        return usage(NULL, "what is to be done?");
    if (strcmp(argv[1], "--help") == 0) {
        print_help();
        return ADMIN_GOOD;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("skerry-admin " SKERRY_VERSION);
        return ADMIN_GOOD;
    }
    const struct action *action = find_action(argv[1]);
    if (action == NULL)
        return usage(NULL, "unknown action %s", argv[1]);
    uint32_t paths = 0;
    for (int at = 2; at < argc; at++) {
        int rc = take_argument(&a, action, argc, argv, &at, &paths);
        if (rc != 0)
            return rc;
    }
    if (paths < action->paths)
        return usage(action, "a path is missing");
    if (a.point.lsn != UINT64_MAX && a.point.time_ms != RESTORE_ALL)
        return usage(action, "--to-lsn and --to-time are two ways to say one thing");
    int status = action->run(&a);
    if (fflush(stdout) != 0)
        return admin_trouble(&a.admin, "standard output: %s", strerror(errno));
    return status;
}
