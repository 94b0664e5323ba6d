// SPDX-License-Identifier: Apache-2.0
// Lists inside the table's texts: words between spaces, parts between "; ".
#pragma once

#include <string.h>

#include "engine/command/command.h"

// The next word, and *text behind it and its space; empty at the end.
static inline struct slice words_next(const char **text)
{
    size_t len = strcspn(*text, " ;");
    struct slice word = slice_of(*text, len);
    *text += len;
    while (**text == ' ')
        ++*text;
    return word;
}

// Words up to the part's or text's end.
static inline uint32_t words_count(const char *text)
{
    uint32_t count = 0;
    while (*text != '\0' && *text != ';') {
        words_next(&text);
        count++;
    }
    return count;
}

static inline uint32_t words_parts(const char *text)
{
    uint32_t parts = *text != '\0';
    for (; *text != '\0'; text++)
        parts += *text == ';';
    return parts;
}

// Part number `index`; the last one when there are fewer.
static inline const char *words_part(const char *text, uint32_t index)
{
    for (const char *end; index > 0 && (end = strchr(text, ';')) != NULL; index--)
        for (text = end + 1; *text == ' '; text++)
            ;
    return text;
}
