// SPDX-License-Identifier: Apache-2.0
// What a key held at some point of its history; shared by all that remember it. NULL is the missing key.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/prng.h"
#include "base/slice.h"

struct value {
    uint32_t refs;
    size_t len;
    uint8_t bytes[];
};

static inline struct value *value_alloc(size_t len)
{
    struct value *v = malloc(sizeof *v + len + 1);
    assert(v != NULL);
    v->refs = 1;
    v->len = len;
    return v;
}

static inline struct value *value_of(struct slice s)
{
    struct value *v = value_alloc(s.len);
    if (s.len > 0)
        memcpy(v->bytes, s.data, s.len);
    return v;
}

static inline struct value *value_hold(struct value *v)
{
    if (v != NULL)
        v->refs++;
    return v;
}

static inline struct value *value_drop(struct value *v)
{
    if (v != NULL && --v->refs == 0)
        free(v);
    return NULL;
}

static inline struct slice value_view(const struct value *v)
{
    return v == NULL ? slice_of(NULL, 0) : slice_of(v->bytes, v->len);
}

static inline bool value_is(const struct value *v, struct slice s)
{
    return v != NULL && slice_equal(value_view(v), s);
}
