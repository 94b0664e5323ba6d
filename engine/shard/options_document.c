// SPDX-License-Identifier: Apache-2.0
// The table of options as text for people: a page of documentation, a sample file, a list for the terminal.
#include <inttypes.h>
#include <string.h>

#include "engine/shard/options.h"

static const char *const GROUPS[OPTION_GROUPS] = {
    [OPTION_GROUP_NETWORK] = "Network",         [OPTION_GROUP_CLIENTS] = "Clients",
    [OPTION_GROUP_MEMORY] = "Memory",           [OPTION_GROUP_CORES] = "Cores and the kernel",
    [OPTION_GROUP_FILES] = "Files and the log", [OPTION_GROUP_DURABLE] = "What survives",
    [OPTION_GROUP_EXPORT] = "Live export",      [OPTION_GROUP_OPERATOR] = "Looking inside",
};

static void append_bytes(struct buf *out, const struct option *option)
{
    buf_format(out, "bytes");
    if (option->least > 0)
        buf_format(out, ", at least %" PRId64, option->least);
    if (option->most < INT64_MAX)
        buf_format(out, ", at most %" PRId64, option->most);
}

static void append_range(struct buf *out, const struct option *option)
{
    switch ((enum option_kind)option->kind) {
    case OPTION_IS_BOOL:
        buf_format(out, "yes or no");
        break;
    case OPTION_IS_NUMBER:
        if (option->flags & OPTION_OCTAL)
            buf_format(out, "%" PRIo64 " to %" PRIo64 " (octal)", option->least, option->most);
        else
            buf_format(out, "%" PRId64 " to %" PRId64, option->least, option->most);
        break;
    case OPTION_IS_BYTES:
        append_bytes(out, option);
        break;
    case OPTION_IS_TEXT:
        buf_format(out, option->flags & OPTION_MULTI ? "words" : "text");
        break;
    case OPTION_IS_CHOICE:
        for (int i = 0; option->choices[i] != NULL; i++)
            buf_format(out, "%s%s", i == 0 ? "" : ", ", option->choices[i]);
        break;
    case OPTION_IS_LIMITS:
        buf_format(out, "class hard soft seconds ...; classes normal, slave (or replica), pubsub");
        break;
    }
}

static const char *initial(const struct option *option)
{
    return option->initial[0] == '\0' ? "\"\"" : option->initial;
}

void options_markdown(struct buf *out)
{
    buf_format(
        out,
        "# Configuration\n\n"
        "Generated from `engine/shard/options.def` by `tools/document.sh`; change it there.\n\n"
        "`skerryd [FILE] [--name value ...]` reads FILE first, flags after it. A line of the file is `name value`; `#` begins a comment\n"
        "line; words with spaces stand in double or single quotes. Sizes take a unit: `k m g` count in thousands, `kb mb gb` in 1024s.\n"
        "A flag is `--name value` or `--name=value`, and `--name` alone for yes. `skerryd --check-config` reads everything and stops.\n\n"
        "CONFIG SET changes an option while the server runs unless the table says *start*; CONFIG REWRITE writes the values of now\n"
        "into FILE. Options marked *ours* are not options of Redis; the others mean what they mean there.\n");
    for (int group = 0; group < OPTION_GROUPS; group++) {
        buf_format(out, "\n## %s\n\n| option | default | values | | meaning |\n|---|---|---|---|---|\n", GROUPS[group]);
        for (uint32_t i = 0; i < options_count(); i++) {
            const struct option *option = option_at(i);
            if (option->group != group)
                continue;
            buf_format(out, "| `%s` | `%s` | ", option->name, initial(option));
            append_range(out, option);
            buf_format(out, " | %s%s%s | %s |\n", option->flags & OPTION_START ? "start" : "",
                       (option->flags & OPTION_START) && (option->flags & OPTION_OURS) ? ", " : "",
                       option->flags & OPTION_OURS ? "ours" : "", option->help);
        }
    }
}

// Breaks a text at spaces into comment lines.
static void append_comment(struct buf *out, const char *text)
{
    size_t left = strlen(text);
    while (left > 0) {
        size_t len = left;
        if (len > 100)
            for (len = 100; len > 0 && text[len] != ' '; len--)
                ;
        buf_format(out, "# %.*s\n", (int)len, text);
        text += len;
        left -= len;
        if (left > 0 && *text == ' ')
            text++, left--;
    }
}

void options_sample(struct buf *out)
{
    buf_format(out, "# Sample configuration of skerryd: every option with its default. Uncomment what you change.\n"
                    "# Generated from engine/shard/options.def by tools/document.sh.\n");
    for (int group = 0; group < OPTION_GROUPS; group++) {
        buf_format(out, "\n## %s\n", GROUPS[group]);
        for (uint32_t i = 0; i < options_count(); i++) {
            const struct option *option = option_at(i);
            if (option->group != group)
                continue;
            buf_format(out, "\n");
            append_comment(out, option->help);
            buf_format(out, "# Values: ");
            append_range(out, option);
            buf_format(out, ".\n# %s %s\n", option->name, initial(option));
        }
    }
}

void options_help(struct buf *out)
{
    for (uint32_t i = 0; i < options_count(); i++) {
        const struct option *option = option_at(i);
        buf_format(out, "  --%-26s %s\n      ", option->name, option->help);
        append_range(out, option);
        buf_format(out, "; default %s\n", initial(option));
    }
}
