// SPDX-License-Identifier: Apache-2.0
// Catches what an action says.
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/admin/admin.h"

struct said {
    struct admin admin;
    char *text;
    size_t len;
};

static inline void said_begin(struct said *s, bool json)
{
    s->admin.out = s->admin.err = open_memstream(&s->text, &s->len);
    s->admin.json = json;
    if (s->admin.out == NULL)
        abort();
}

static inline bool said_has(const struct said *s, const char *part)
{
    fflush(s->admin.out);
    return strstr(s->text, part) != NULL;
}

static inline void said_end(struct said *s)
{
    fclose(s->admin.out);
    free(s->text);
}
