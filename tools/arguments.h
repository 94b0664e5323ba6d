// SPDX-License-Identifier: Apache-2.0
// The command line of skerryd: [FILE] [--name value ...], and what only prints something.
#pragma once

#include "engine/shard/options.h"

enum arguments {
    ARGUMENTS_RUN,   // options are as the file and the flags say
    ARGUMENTS_DONE,  // help, version and the like was printed
    ARGUMENTS_WRONG, // the reason was printed on the standard error
};

// `config_file` (PATH_MAX bytes) becomes the absolute path of FILE, "" without one.
enum arguments arguments_read(struct options *o, int argc, char **argv, char *config_file);

// A line on the standard error, before there is a log. Returns -EINVAL.
int complain(const char *format, ...) printf_like(1, 2);
