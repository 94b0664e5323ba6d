// SPDX-License-Identifier: Apache-2.0
#include "reactor/feature_names.h"

#include <errno.h>
#include <string.h>

#include "reactor/reactor.h"

static const struct {
    const char *name;
    uint32_t bit;
} FEATURES[] = {
    { "multishot-accept", REACTOR_MULTISHOT_ACCEPT },
    { "multishot-recv", REACTOR_MULTISHOT_RECV },
    { "provided-buffers", REACTOR_BUFFER_RING },
    { "registered-ring", REACTOR_REGISTERED_RING },
    { "defer-taskrun", REACTOR_DEFER_TASKRUN },
    { "coop-taskrun", REACTOR_COOP_TASKRUN },
    { "batching", REACTOR_BATCHED_ENTER },
};

#define COUNT (sizeof FEATURES / sizeof FEATURES[0])

uint32_t feature_names_find(struct slice name)
{
    for (size_t i = 0; i < COUNT; i++)
        if (slice_is(name, FEATURES[i].name))
            return FEATURES[i].bit;
    return 0;
}

static size_t word_len(const uint8_t *at, const uint8_t *end)
{
    const uint8_t *from = at;
    while (at < end && *at != ' ' && *at != ',')
        at++;
    return (size_t)(at - from);
}

int feature_names_parse(struct slice names, uint32_t *out, struct slice *unknown)
{
    *out = 0;
    for (const uint8_t *at = names.data, *end = at + names.len; at < end;) {
        struct slice word = slice_of(at, word_len(at, end));
        at += word.len + 1;
        if (word.len == 0)
            continue;
        uint32_t bit = feature_names_find(word);
        if (bit == 0) {
            *unknown = word;
            return -EINVAL;
        }
        *out |= bit;
    }
    return 0;
}

void feature_names_text(uint32_t features, struct buf *out)
{
    for (size_t i = 0; i < COUNT; i++) {
        if (!(features & FEATURES[i].bit))
            continue;
        if (out->len > 0)
            buf_append(out, " ", 1);
        buf_append(out, FEATURES[i].name, strlen(FEATURES[i].name));
    }
}
