// SPDX-License-Identifier: Apache-2.0
#include "tools/arguments.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/host.h"

int complain(const char *format, ...)
{
    va_list args;
    fputs("skerryd: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return -EINVAL;
}

static void print_buf(struct buf *text)
{
    fwrite(text->data, 1, text->len, stdout);
    buf_deinit(text);
}

static void print_usage(void)
{
    struct buf text;
    buf_init(&text, BUF_NO_LIMIT);
    options_help(&text);
    puts("usage: skerryd [FILE] [--name value ...]\n\n"
         "Reads FILE, then the flags. Every option of the file is a flag too:\n");
    print_buf(&text);
    puts("\n  --check-config               Read everything, say whether it is right, and stop.\n"
         "  --print-options FORMAT       The options as documentation: markdown or sample.\n"
         "  --version, --help");
}

static enum arguments print_options(const char *format)
{
    struct buf text;
    buf_init(&text, BUF_NO_LIMIT);
    if (format != NULL && strcmp(format, "markdown") == 0)
        options_markdown(&text);
    else if (format != NULL && strcmp(format, "sample") == 0)
        options_sample(&text);
    else {
        complain("--print-options wants markdown or sample");
        return ARGUMENTS_WRONG;
    }
    print_buf(&text);
    return ARGUMENTS_DONE;
}

static int load_file(struct options *o, const char *path, char *config_file)
{
    char error[OPTIONS_ERROR_MAX];
    struct buf text;
    if (realpath(path, config_file) == NULL)
        return complain("%s: %s", path, strerror(errno));
    buf_init(&text, BUF_NO_LIMIT);
    int rc = host_read_file(config_file, &text);
    if (rc < 0)
        complain("%s: %s", path, strerror(-rc));
    else if ((rc = options_load(o, path, buf_view(&text), error)) < 0)
        complain("%s", error);
    buf_deinit(&text);
    return rc;
}

static int load_options(struct options *o, int argc, char **argv, char *config_file)
{
    char error[OPTIONS_ERROR_MAX];
    int first = 1;
    config_file[0] = '\0';
    if (argc > 1 && argv[1][0] != '-') {
        if (load_file(o, argv[1], config_file) < 0)
            return -EINVAL;
        first = 2;
    }
    if (options_load_flags(o, argc - first, argv + first, error) < 0 || options_check(o, error) < 0)
        return complain("%s", error);
    return 0;
}

// Removes the flag when it is there.
static bool take_flag(int *argc, char **argv, const char *flag)
{
    for (int i = 1; i < *argc; i++) {
        if (strcmp(argv[i], flag) != 0)
            continue;
        memmove(argv + i, argv + i + 1, sizeof *argv * (size_t)(*argc - i)); // with the NULL behind the last
        (*argc)--;
        return true;
    }
    return false;
}

enum arguments arguments_read(struct options *o, int argc, char **argv, char *config_file)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            print_usage();
            return ARGUMENTS_DONE;
        }
        if (strcmp(argv[i], "--version") == 0 || strcmp(argv[i], "-v") == 0) {
            puts("skerryd " SKERRY_VERSION);
            return ARGUMENTS_DONE;
        }
        if (strcmp(argv[i], "--print-options") == 0)
            return print_options(argv[i + 1]);
    }
    bool check_only = take_flag(&argc, argv, "--check-config");
    if (load_options(o, argc, argv, config_file) < 0)
        return ARGUMENTS_WRONG;
    if (check_only)
        puts("skerryd: the configuration is right");
    return check_only ? ARGUMENTS_DONE : ARGUMENTS_RUN;
}
